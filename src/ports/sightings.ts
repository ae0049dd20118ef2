/**
 * What a visit of the scheduler saw of a secret that was settled and not due. The visits after it need not read the
 * keyring again for a while: when the secret is due follows from this and from the policy as it is then.
 */
export interface Sighting {
  readonly secret: string;
  /** Where its keyring is; another text for another place. */
  readonly place: string;
  /** Epoch ms: when its primary was made. */
  readonly primaryCreatedAt: number;
  /** Epoch ms, at or before the moment when the keyring was read. */
  readonly seenAt: number;
  /** Epoch ms: from then on the keyring is read again, whatever was seen. */
  readonly goodUntil: number;
}

/**
 * Derived, and safe to lose: where one is missing, the keyring is read. A sighting counts only between `seenAt` and
 * `goodUntil`, and only while nothing was journalled about its secret after the mark that it was kept with. So it never
 * outlives a run, whoever made it, nor a clock that was set. Errors: `journal-*`.
 */
export interface Sightings {
  /** Those that count at `now`, by secret; and the mark for what is read from here on. */
  recall(now: number): Promise<{ readonly known: ReadonlyMap<string, Sighting>; readonly mark: number }>;
  /** Keeps these in the place of earlier ones, and removes those of the secrets in `gone`. */
  keep(seen: readonly Sighting[], gone: readonly string[], mark: number): Promise<void>;
  /** Removes those that were good until before that moment, epoch ms: nobody asks for their secrets any more. */
  prune(before: number): Promise<void>;
}
