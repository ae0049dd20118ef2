import { KeyturnError } from '../model/errors.ts';

/** The errors that every secret store words alike. `place` names where the keyring is; `details` are facts for programs. */

type Details = Readonly<Record<string, unknown>>;

/** Who lost a race observes again. `now` says what is there instead, for the end of a sentence. */
export function storeConflict(secret: string, place: string, details: Details, now?: string): KeyturnError {
  return new KeyturnError(
    'store-conflict',
    `The keyring of ${secret} in ${place} was changed since it was read${now === undefined ? '.' : `: now ${now}.`}`,
    { hint: 'Read it again and decide anew.', details: { secret, ...details } },
  );
}

/** What was deleted and can come back: neither taken for absent, which would make a new value, nor brought back by itself. */
export function storeDeleted(
  secret: string,
  place: string,
  details: Details,
  hint = 'Bring it back in the store, or remove it there for good; until then nothing is written.',
): KeyturnError {
  return new KeyturnError(
    'store-deleted',
    `The keyring of ${secret} in ${place} was deleted, and can still come back.`,
    {
      hint,
      details: { secret, ...details },
    },
  );
}

/** Who is throttled keeps what it has. `retryAfterMs` is null where the store does not say how long. */
export function storeThrottled(
  what: string,
  place: string,
  retryAfterMs: number | null,
  cause?: unknown,
): KeyturnError {
  const wait = retryAfterMs === null ? 'asks to wait' : `asks to wait ${String(Math.ceil(retryAfterMs / 1_000))}s`;
  return new KeyturnError('store-throttled', `${what} is put off: ${place} ${wait}.`, {
    hint: 'It is tried again; where it goes on, refresh less often or raise the quota of the store.',
    details: { retryAfterMs },
    ...(cause === undefined ? {} : { cause }),
  });
}
