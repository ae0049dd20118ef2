import type { AcceptedVersion } from '../model/keyring.ts';

/** Why a message was refused. Closed, and explained one by one in the docs. */
export type Reason =
  | 'header-missing'
  | 'header-malformed'
  | 'prefix-wrong'
  | 'algorithm-refused'
  | 'signature-mismatch'
  | 'timestamp-malformed'
  | 'timestamp-stale'
  | 'replayed'
  | 'body-already-parsed'
  | 'body-too-large'
  | 'unknown-tenant'
  | 'no-accepted-version'
  | 'store-unreachable'
  | 'switch-window';

export interface Matched {
  readonly ok: true;
  readonly versionId: string;
  readonly stage: AcceptedVersion['stage'];
  /** Other accepted versions that a second signature of the same message matched. */
  readonly alsoMatched: readonly string[];
  /**
   * True for keyturn's own question whether this version is taken: answer it with 2xx, and hand it to nobody. It counts as
   * no delivery.
   */
  readonly canary: boolean;
}

export interface Refused {
  readonly ok: false;
  readonly reason: Reason;
  readonly status: 401 | 403 | 413 | 421 | 432 | 500 | 503;
  readonly retryAfterSeconds?: number;
}

export type Result = Matched | Refused;

/** When an upstream may try again: long enough for a refetch to have budget, short enough for every retry horizon. */
export const retryAfterSeconds = 5;

/** "Try again" is never final: the sender keeps the message. */
export function tryLater(reason: Reason): Refused {
  return Object.freeze({ ok: false, reason, status: 503, retryAfterSeconds });
}

export function refused(reason: Reason, status: Refused['status']): Refused {
  return Object.freeze({ ok: false, reason, status });
}
