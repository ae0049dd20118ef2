import type { KeyturnError } from '../model/errors.ts';
import type { Keyring } from '../model/keyring.ts';

/** Where a secret's keyring is. */
export interface StoreName {
  readonly secret: string;
  readonly key: string;
}

/** The store's own compare-and-set token of what was read; opaque, only for `commit`. `null` stands for *absent*. */
export type StoreToken = string | null;

/**
 * Absent (never existed), empty (somebody made a place without a value in it), broken and present are different results;
 * one secret's failure never hides another's. What was deleted and could come back is a failure, `store-deleted`: a person
 * decides what becomes of it.
 */
export type StoreRead =
  | { readonly state: 'present'; readonly keyring: Keyring; readonly token: StoreToken }
  | { readonly state: 'absent'; readonly token: null }
  /** A commit on that token is the first one. */
  | { readonly state: 'empty'; readonly token: StoreToken }
  | { readonly state: 'failed'; readonly error: KeyturnError };

/** What differs between stores: it drives the conformance suite and the gates, and people are shown it. */
export interface StoreCapabilities {
  /** How long after a commit a reader elsewhere may still get the old document, ms. */
  readonly propagationLagMs: number;
  /** How many names one call to the store reads; null where reading calls nobody. */
  readonly namesPerCall: number | null;
  /** The longest document that the store takes, in bytes of UTF-8. */
  readonly maxDocumentBytes: number;
  /** Who sees to it that of two commits on one document only one is accepted. */
  readonly comparedBy: 'server' | 'version-numbers' | 'lock';
  /** What `purge` can erase of older documents. */
  readonly erases: 'everything' | 'what-readers-see' | 'nothing';
  /** One sentence for people: what of older documents stays after a purge, and for whom. */
  readonly afterPurge: string;
}

/** What a process does with a store: a receiver only reads keyrings. */
export type StoreUse = 'orchestrator' | 'receiver';

export interface ProbeRequest {
  readonly use: StoreUse;
  /** The keyrings, and the keys of the plain copies, that the use is about. */
  readonly names: readonly StoreName[];
  readonly plainKeys: readonly string[];
}

/** One thing that a probe looked at, of whatever port. */
export interface ProbeFinding {
  /**
   * A kebab-case word for programs. Of stores: `reach`, `login`, `mount`, `read`, `commit`, `purge`, `plain`, `modes`,
   * `rotation`; of journals and usage logs: `integrity`, `write`, `clock`, `leases`, `audit`.
   */
  readonly name: string;
  /** `unknown`: it cannot be told without writing. */
  readonly state: 'ok' | 'warning' | 'failed' | 'unknown';
  /** One sentence for people. */
  readonly message: string;
  /** What to do about it; null where nothing is to be done. */
  readonly hint: string | null;
}

export interface StoreProbe {
  /** The server and its version; null where there is none, or it does not tell. */
  readonly version: string | null;
  /** How far the store's clock is ahead of this machine's, ms; null where it does not tell. */
  readonly clockAheadMs: number | null;
  readonly findings: readonly ProbeFinding[];
}

/**
 * Plain copies that live beside the keyrings, for readers that know nothing of keyturn. Their text is the user's; what it
 * means is in `src/model/mirror.ts`. A store of JSON objects gives an object's text in a form of its own: equal as JSON, not
 * letter by letter. Errors: as `SecretStore`.
 */
export interface PlainCopies {
  /** The whole text at that key; null where there is none. */
  read(key: string): Promise<string | null>;
  /**
   * Writes what `change` makes of the present text, and reads it back. Nothing is written where nothing changes. Throws
   * `store-conflict` where somebody else keeps writing it.
   */
  write(key: string, change: (present: string | null) => string): Promise<void>;
}

/**
 * Holds one keyring document per secret and knows no rule about stages. Receivers get it narrowed to `KeyringReader`.
 * Errors: `store-denied`, `store-unreachable`, `store-throttled` (with `details.retryAfterMs` where the store said it),
 * `store-deleted`, `store-corrupt`, `store-encrypted`, `store-newer-format`, `store-too-large`, `store-busy`,
 * `credential-missing`, `policy-invalid`.
 */
export interface SecretStore {
  /** One line for people: kind and place. */
  readonly label: string;
  readonly capabilities: StoreCapabilities;
  /** Reads many; the result has every name's `secret` as a key. Never throws for a single secret's failure. */
  read(names: readonly StoreName[]): Promise<ReadonlyMap<string, StoreRead>>;
  /**
   * Writes the document if the store still holds what `expected` was read from; durable when it resolves.
   * Throws `store-conflict` only after a read showed that `keyring.commits.at(-1)` is not among the stored commit ids:
   * the same commit again after a lost answer succeeds.
   */
  commit(name: StoreName, keyring: Keyring, expected: StoreToken): Promise<void>;
  /** Erases what the store keeps of older documents, as far as it can. Doing it twice is doing it once. */
  purge(name: StoreName): Promise<void>;
  /**
   * Takes a keyring away with all that the store keeps of it, as far as it can; one that is not there too. Only for a name
   * of `scratch.ts`: throws `RangeError` for any other.
   */
  erase(name: StoreName): Promise<void>;
  /** Looks, without writing anything, whether this use of it can work. Never throws. */
  probe(request: ProbeRequest): Promise<StoreProbe>;
  readonly plain: PlainCopies;
  close(): Promise<void>;
}

export type KeyringReader = Pick<SecretStore, 'read'>;
