import { lastUseOf, latest, matchedBy, usesOf } from '../decide/evidence.ts';
import { acceptedVersions, type Keyring, type Stage } from '../model/keyring.ts';
import type { ReceiversPolicy } from '../model/policy.ts';
import type { UsageEvidence } from '../ports/usage-log.ts';

/** What the usage log says of one accepted version. */
export interface VersionTraffic {
  readonly id: string;
  readonly stage: Stage;
  /** True for the version that a run brings in. */
  readonly isNew: boolean;
  /** Deliveries that matched it, of all receivers and from the beginning. */
  readonly matched: number;
  /** Its part of what matched of late, 0 to 1; null while nothing did. */
  readonly share: number | null;
  /** Epoch ms of the usage log's clock. Of an old version: when it was last needed, as no newer one explained a delivery. */
  readonly lastUsedAt: number | null;
  /** The receiver that saw that; null where none is known. */
  readonly lastUsedBy: string | null;
}

/** What a run's versions are judged by. */
export interface TrafficSeen {
  readonly keyring: Keyring;
  readonly evidence: UsageEvidence;
  /** The version that the run brings in. */
  readonly to: string;
}

interface Sample {
  readonly at: number;
  readonly matched: ReadonlyMap<string, number>;
}

/** At least so long is "of late", ms. */
const shortestSpanMs = 5_000;

/** Counts only grow; what matched of late is the difference to a count of before. */
export class TrafficMeter {
  readonly #spanMs: number;
  #samples: readonly Sample[] = [];

  constructor({ reportEveryMs }: Pick<ReceiversPolicy, 'reportEveryMs'>) {
    this.#spanMs = Math.max(shortestSpanMs, 2 * reportEveryMs);
  }

  /** The accepted versions, newest first. `at`: when it was looked, by a clock that never goes back, ms. */
  measure({ keyring, evidence, to }: TrafficSeen, at: number): readonly VersionTraffic[] {
    const versions = acceptedVersions(keyring);
    const matched = new Map(versions.map(({ id }) => [id, matchedBy(evidence, id)]));
    const grown = this.#growth({ at, matched });
    const all = grown.reduce((sum, [, growth]) => sum + growth, 0);
    const share = new Map(grown);
    return versions.map(({ id, stage }) => {
      const isNew = id === to;
      const lastUsedAt = isNew
        ? lastUseOf(evidence, id)
        : latest(usesOf(evidence, [id]).map((use) => use.lastExclusiveAt));
      return {
        id,
        stage,
        isNew,
        matched: matched.get(id) ?? 0,
        share: all === 0 ? null : (share.get(id) ?? 0) / all,
        lastUsedAt,
        lastUsedBy: isNew || lastUsedAt === null ? null : lastUserOf(evidence, id, lastUsedAt),
      };
    });
  }

  #growth(sample: Sample): readonly (readonly [string, number])[] {
    const since = sample.at - this.#spanMs;
    // The newest of the ones from before the span stays: growth is counted from there.
    const base = this.#samples.findLast(({ at }) => at <= since) ?? this.#samples[0] ?? sample;
    this.#samples = [...this.#samples.filter(({ at }) => at >= base.at), sample];
    return [...sample.matched].map(([id, count]) => [id, Math.max(0, count - (base.matched.get(id) ?? 0))]);
  }
}

function lastUserOf(evidence: UsageEvidence, version: string, at: number): string | null {
  const isUser = (use: { readonly version: string; readonly lastExclusiveAt: number | null }): boolean =>
    use.version === version && use.lastExclusiveAt === at;
  return evidence.receivers.find(({ uses }) => uses.some(isUser))?.id ?? null;
}
