import { KeyturnError } from '../model/errors.ts';

/** How a message says that it is from whom it claims: enough to sign and to verify, without code of its own. */
export interface HmacScheme {
  readonly name: string;
  readonly kind: 'hmac';
  readonly hash: 'sha256';
  readonly encoding: 'hex';
  /** The header of the signature, in lower case. */
  readonly header: string;
  /** What stands before the signature in the header; matched exactly. */
  readonly prefix: string;
  /** A header that the same upstream fills by an algorithm keyturn refuses; null where there is none. */
  readonly legacyHeader: string | null;
}

export type Scheme = HmacScheme;

/** Both sign the raw body, and still send a SHA-1 signature that must not count. */
const hubSignature = {
  kind: 'hmac',
  hash: 'sha256',
  encoding: 'hex',
  header: 'x-hub-signature-256',
  prefix: 'sha256=',
  legacyHeader: 'x-hub-signature',
} as const;

const catalogue: readonly Scheme[] = [
  { name: 'github', ...hubSignature },
  { name: 'meta', ...hubSignature },
];

/** The names of the catalogue. */
export const schemeNames: readonly string[] = catalogue.map((scheme) => scheme.name);

/** The scheme of that name, or the descriptor itself. Throws `not-in-this-version` for a name it does not have. */
export function schemeOf(scheme: string | Scheme): Scheme {
  if (typeof scheme !== 'string') return scheme;
  const found = catalogue.find((each) => each.name === scheme);
  if (found !== undefined) return found;
  throw new KeyturnError(
    'not-in-this-version',
    `The signature scheme ${JSON.stringify(scheme.slice(0, 80))} is not in this version of keyturn; it has ${schemeNames.join(' and ')}.`,
    { hint: `Use one of ${schemeNames.join(', ')}.`, details: { schemes: schemeNames } },
  );
}
