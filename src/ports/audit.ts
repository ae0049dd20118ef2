/** The chain of audit events: what is stored of it, and how it is read to be verified. Its rule is `decide/audit.ts`. */

/** The hashes of the chain. */
export interface Digest {
  /** SHA-256, in hex. */
  hash(text: string): string;
  /** HMAC-SHA256 with the audit key, in hex; without a key it is the plain hash. */
  seal(text: string): string;
  /** Names the key and tells nothing of it; null where there is none. */
  readonly keyId: string | null;
}

/** An event as it is stored, and its place in the chain. */
export interface ChainedEvent {
  readonly id: number;
  readonly at: number;
  readonly secret: string;
  readonly run: string | null;
  readonly step: string | null;
  readonly event: string;
  readonly message: string;
  /** As JSON text: what was hashed. */
  readonly data: string;
  /** Of the hash of the event before and of all the above; null where nobody chained it. */
  readonly hash: string | null;
  /** Of the hash, where there was a key. */
  readonly seal: string | null;
}

/** Stands in the chain for neighbouring events that were pruned: it joins what was before to what comes after. */
export interface PrunedRange {
  readonly firstId: number;
  readonly lastId: number;
  /** The hashes of the event before the first, and of the last. */
  readonly before: string;
  readonly after: string;
  /** Epoch ms, of the latest pruning. */
  readonly at: number;
  readonly seal: string;
}

/** The end of the chain, so that cutting off its newest events shows. */
export interface ChainHead {
  /** Events up to this id were written before there was a chain, and are not in it; 0 where there are none. */
  readonly start: number;
  /** The newest event and its hash; `start` and the hash that the chain begins with where there is none. */
  readonly id: number;
  readonly hash: string;
  /** From this event on each one is sealed with the key; null: none is. */
  readonly sealedFrom: number | null;
  readonly keyId: string | null;
  readonly seal: string;
}

export type ChainEntry =
  { readonly kind: 'event'; readonly event: ChainedEvent } | { readonly kind: 'pruned'; readonly range: PrunedRange };

/** A journal's chain as of one moment, whatever is written meanwhile. */
export interface AuditReading {
  /** The id of the journal. */
  readonly journal: string;
  readonly head: ChainHead;
  /** With the key that the journal was opened with. */
  readonly digest: Digest;
  /** Events by id and ranges by their first id, in that order, from the first above `after` on; at the end none. */
  entries(after: number, limit: number): Promise<readonly ChainEntry[]>;
  close(): Promise<void>;
}
