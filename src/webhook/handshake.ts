import { createHash, timingSafeEqual } from 'node:crypto';
import type { SecretCache } from '../cache/types.ts';
import type { AcceptedVersion } from '../model/keyring.ts';
import type { Clock } from '../ports/system.ts';
import type { UsageReporter } from '../usage/types.ts';
import { settleMiss, withoutVersion } from './miss.ts';
import { refused, type Refused } from './result.ts';

/** Meta proves by a GET that an endpoint knows its verify token, and wants its challenge back. */
export interface HandshakeParts {
  readonly cache: SecretCache;
  readonly usage: UsageReporter;
  readonly clock: Clock;
  /** The secret whose accepted versions are the verify tokens. */
  readonly secret: string;
}

export type HandshakeAnswer =
  | { readonly ok: true; readonly challenge: string; readonly versionId: string }
  | { readonly ok: false; readonly status: 400; readonly reason: 'handshake-malformed' }
  | { readonly ok: false; readonly status: 403; readonly reason: 'handshake-refused' }
  | (Refused & { readonly status: 503 });

/** Meta's challenges are short numbers; what is sent back must not be able to become anything else. */
const maxChallengeLength = 1_024;
const printable = /^[\x20-\x7e]+$/;

const malformed: HandshakeAnswer = { ok: false, status: 400, reason: 'handshake-malformed' };
const wrongToken: HandshakeAnswer = { ok: false, status: 403, reason: 'handshake-refused' };
const tokenMismatch = refused('signature-mismatch', 403);

/**
 * Judges a handshake by the query of `url`. The token may be any accepted version; one that is not known gets the same
 * refetch as an unexplained signature. Nothing of the query comes back but the challenge of one who knows a token.
 */
export async function answerHandshake(parts: HandshakeParts, url: string): Promise<HandshakeAnswer> {
  const { cache, usage, clock, secret } = parts;
  const arrivedAt = clock.monotonic();
  const query = queryOf(url);
  const token = onlyValue(query, 'hub.verify_token');
  if (onlyValue(query, 'hub.mode') !== 'subscribe' || token === null || token === '') return wrongToken;

  const find = (): AcceptedVersion | null => findToken(cache.accepted(secret), token);
  if (cache.accepted(secret).length === 0) return later(withoutVersion(cache, secret));
  const found = find() ?? (await settleMiss({ cache, clock, secret, arrivedAt, forGood: tokenMismatch }, find));
  if ('ok' in found) return found.status === 503 ? later(found) : wrongToken;

  const challenge = onlyValue(query, 'hub.challenge');
  const answerable = challenge !== null && challenge.length <= maxChallengeLength && printable.test(challenge);
  usage.matched(secret, found.id, true);
  usage.answered(secret, found.id, answerable);
  return answerable ? { ok: true, challenge, versionId: found.id } : malformed;
}

function later(refusal: Refused): HandshakeAnswer {
  return { ...refusal, status: 503 };
}

/** Compares digests, so that neither length nor content of a token shows in the time, and looks at every version. */
function findToken(accepted: readonly AcceptedVersion[], token: string): AcceptedVersion | null {
  const given = digestOf(token);
  let found: AcceptedVersion | null = null;
  for (const version of accepted) {
    if (timingSafeEqual(digestOf(version.value), given)) found ??= version;
  }
  return found;
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** `url` is a path with a query or a whole URL; only the query is read, so neither can fail to parse. */
function queryOf(url: string): URLSearchParams {
  const begin = url.indexOf('?');
  if (begin === -1) return new URLSearchParams();
  const end = url.indexOf('#', begin);
  return new URLSearchParams(url.slice(begin + 1, end === -1 ? undefined : end));
}

/** Null when the parameter is missing or doubled: two readers might pick different ones. */
function onlyValue(query: URLSearchParams, name: string): string | null {
  const values = query.getAll(name);
  return values.length === 1 ? (values[0] ?? null) : null;
}
