import type { KeyturnError } from '../model/errors.ts';
import type { AcceptedVersion } from '../model/keyring.ts';

/** What the cache knows of one secret at one moment; immutable, replaced as a whole. */
export interface Snapshot {
  readonly secret: string;
  readonly revision: number;
  /** Newest first; the same array until it changes. */
  readonly accepted: readonly AcceptedVersion[];
  readonly primary: AcceptedVersion | null;
  /** True when the keyring showed no claim, one primary and nothing else accepted: no rotation is under way. */
  readonly settled: boolean;
  /** When the load of it began, by the clock's monotonic time: nothing older than this is missing from it. */
  readonly loadBeganAt: number;
}

/** For people and metrics; holds no value. */
export interface CacheStatus {
  readonly secret: string;
  /** `absent`: the store says that there is no keyring; `unknown`: it has never been reached. */
  readonly state: 'fresh' | 'stale' | 'absent' | 'unknown';
  readonly revision: number | null;
  readonly holds: readonly string[];
  readonly ageMs: number | null;
  /** The last failure since the last success. */
  readonly error: KeyturnError | null;
  /** Where the store contradicts what is held: a lower revision, or a version that vanished without its tombstone. */
  readonly drift: string | null;
}

/**
 * `loaded`: a load that began after the call succeeded. `limited`: no budget for one now. `failed`: the store did not answer.
 */
export type Refetch = 'loaded' | 'limited' | 'failed';

export interface SecretCache {
  readonly secrets: readonly string[];
  readonly refreshIntervalMs: number;
  /** Resolves when every secret has its first snapshot. Throws `store-absent`, `store-denied`, `store-unreachable`, … and may be called again. */
  ready(): Promise<void>;
  /** Synchronous. Newest first, the same array until it changes; empty before the first snapshot. Throws `secret-unknown`. */
  accepted(secret: string): readonly AcceptedVersion[];
  /** Synchronous. Primary first, for other verifiers. Throws `secret-unknown`. */
  values(secret: string): readonly string[];
  /** Synchronous. What a signer uses. Throws `secret-unknown`, or `secret-absent` where there is none. */
  primary(secret: string): AcceptedVersion;
  snapshot(secret: string): Snapshot | null;
  /** Loads all secrets now; single-flight with the timer's. Resolves when done, failures included: see `status`. */
  refresh(): Promise<void>;
  /** One secret, because a signature matched nothing: shared by all who wait, limited per secret and per process. */
  refetch(secret: string): Promise<Refetch>;
  status(secret: string): CacheStatus;
  /** Called after a snapshot was replaced; returns how to stop it. */
  onChange(listener: (secret: string) => void): () => void;
  close(): Promise<void>;
}
