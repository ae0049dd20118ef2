import type { KeyturnError } from '../model/errors.ts';
import { emptyKeyring, type Keyring } from '../model/keyring.ts';
import type { StoreRead } from '../ports/secret-store.ts';
import type { UsageEvidence } from '../ports/usage-log.ts';

/** The keyring that was read; an empty one where the store has none. */
export function keyringIn(read: Exclude<StoreRead, { readonly state: 'failed' }>, secret: string): Keyring {
  return read.state === 'present' ? read.keyring : emptyKeyring(secret);
}

export type UsageRead =
  | { readonly state: 'read'; readonly evidence: UsageEvidence }
  | { readonly state: 'failed'; readonly error: KeyturnError };

/** Everything that `decide` looks at, read in one go. */
export interface Observation {
  /** Id of the journal that the run is in. */
  readonly journal: string;
  /** The fencing token of whoever looks; null for somebody who only looks. */
  readonly token: number | null;
  readonly keyring: StoreRead;
  /** How long after a commit a reader of the store may still get the old document, ms. */
  readonly propagationLagMs: number;
  readonly usage: UsageRead;
  /**
   * Epoch ms: failures of the upstream from before it no longer count, because a person has asked for another try.
   * Null: every failure counts.
   */
  readonly retrySince: number | null;
}
