import type { VersionUse } from '../ports/usage-log.ts';

/** Counters of one version. The hot path adds to the first three and reads no clock; `settleMoments` dates them later. */
export class UseCounts {
  readonly version: string;
  matched = 0;
  exclusive = 0;
  notOk = 0;
  /** What the counters were when they were last dated. */
  #matched = 0;
  #exclusive = 0;
  /** Monotonic moments, at or after the true ones; null: never. */
  #firstMatchedAt: number | null = null;
  #lastMatchedAt: number | null = null;
  #lastExclusiveAt: number | null = null;

  constructor(version: string) {
    this.version = version;
  }

  get lastMatchedAt(): number | null {
    return this.#lastMatchedAt;
  }

  /** What was counted since the last call happened at `now` at the latest, and is dated so: later is the safe side. */
  settleMoments(now: number): void {
    if (this.matched > this.#matched) {
      this.#firstMatchedAt ??= now;
      this.#lastMatchedAt = now;
    }
    if (this.exclusive > this.#exclusive) this.#lastExclusiveAt = now;
    this.#matched = this.matched;
    this.#exclusive = this.exclusive;
  }

  /** For a report made at `now`, right after `settleMoments(now)`. */
  toReport(now: number): VersionUse {
    const age = (moment: number | null): number | null => (moment === null ? null : Math.max(0, now - moment));
    return {
      version: this.version,
      matched: this.matched,
      exclusive: this.exclusive,
      notOk: Math.min(this.matched, this.notOk),
      firstMatchedAgeMs: age(this.#firstMatchedAt),
      lastMatchedAgeMs: age(this.#lastMatchedAt),
      lastExclusiveAgeMs: age(this.#lastExclusiveAt),
    };
  }
}

/** How many versions that are no longer accepted stay in the reports of one secret. */
const keptDeparted = 8;

/** Counters of one secret's versions. */
export class SecretCounts {
  readonly #versions = new Map<string, UseCounts>();

  of(version: string): UseCounts {
    const found = this.#versions.get(version);
    if (found !== undefined) return found;
    const made = new UseCounts(version);
    this.#versions.set(version, made);
    return made;
  }

  /** Everything counted, dated `now` where it is new since the last call. */
  toReport(now: number): readonly VersionUse[] {
    const uses: VersionUse[] = [];
    for (const each of this.#versions.values()) {
      each.settleMoments(now);
      if (each.matched > 0) uses.push(each.toReport(now));
    }
    return uses;
  }

  /** Called after a report arrived: of the versions not in `holds`, those used last stay and the others go. */
  forgetOldest(holds: readonly string[], reported: readonly VersionUse[]): void {
    if (this.#versions.size <= keptDeparted) return;
    const arrived = new Map(reported.map((use) => [use.version, use.matched]));
    const departed = [...this.#versions.values()]
      .filter((each) => !holds.includes(each.version) && arrived.get(each.version) === each.matched)
      .sort((left, right) => (right.lastMatchedAt ?? 0) - (left.lastMatchedAt ?? 0));
    for (const each of departed.slice(keptDeparted)) this.#versions.delete(each.version);
  }
}
