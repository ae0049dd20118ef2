import { addressPart } from '../../src/model/address.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import type { StoreName } from '../../src/ports/secret-store.ts';

/** What is asked for: where it is, and what it is for people. */
export interface Wanted {
  readonly key: string;
  /** The beginning of a sentence. */
  readonly what: string;
}

export function wantedKeyring({ secret, key }: StoreName): Wanted {
  return { key, what: `The keyring of ${secret}` };
}

/**
 * The path of a key below the store's prefix. Throws `store-denied` for a key that could lead elsewhere; `what` is the
 * beginning of a sentence, `outside` what it would lead to.
 */
export function pathOf(key: string, prefix: string | null, what: string, outside: string): string {
  const parts = key.split('/');
  if (parts.every((part) => addressPart.test(part))) return [...(prefix === null ? [] : [prefix]), ...parts].join('/');
  throw new KeyturnError('store-denied', `${what} is refused: its key could lead to ${outside}.`, {
    hint: 'Use a key of parts between slashes, each of letters, digits, ".", "_" and "-" with a letter or digit at both ends, at most 64.',
    details: { key },
  });
}
