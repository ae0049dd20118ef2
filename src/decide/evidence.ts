import type { PoolPolicy, ReceiversPolicy } from '../model/policy.ts';
import type { ReceiverEvidence, RecentUse, UsageEvidence, VersionUseEvidence } from '../ports/usage-log.ts';
import { byMinute, recentAt } from './recent.ts';

/**
 * Where a receiver stands. `live`: reports in time. `missing`: silent, and may still be serving. `vanished`: silent for
 * longer than `missingAfter`. `departed`: signed off, or a person said that it is gone.
 */
export type Standing = 'live' | 'missing' | 'vanished' | 'departed';

export interface RosterEntry {
  readonly receiver: ReceiverEvidence;
  readonly standing: Standing;
}

/** How late a report may be before its receiver counts as missing: two lost reports, and never under a second. */
export function lateAfterMs(policy: ReceiversPolicy): number {
  return Math.max(3 * policy.reportEveryMs, policy.reportEveryMs + 1_000);
}

type NamedPool = readonly [name: string, pool: PoolPolicy];

function isCounted({ reporting, ephemeral }: PoolPolicy): boolean {
  return reporting === 'required' && !ephemeral;
}

/** The pools that make the roster. */
export function requiredPools({ pools }: ReceiversPolicy): readonly NamedPool[] {
  return Object.entries(pools).filter(([, pool]) => isCounted(pool));
}

/** The pools that do not report, or come and go: what they report is use all the same, and its absence says nothing. */
export function unreportedPools(pools: ReceiversPolicy['pools']): readonly NamedPool[] {
  return Object.entries(pools).filter(([, pool]) => !isCounted(pool));
}

/** Receivers of pools that the policy does not name count as well: they hold the secret, so they serve with it. */
export function rosterOf(evidence: UsageEvidence, policy: ReceiversPolicy): readonly RosterEntry[] {
  const uncounted = unreportedPools(policy.pools).map(([name]) => name);
  return evidence.receivers
    .filter((receiver) => !uncounted.includes(receiver.pool))
    .map((receiver) => ({ receiver, standing: standingOf(receiver, evidence.now, policy) }));
}

function standingOf(receiver: ReceiverEvidence, now: number, policy: ReceiversPolicy): Standing {
  if (departedAt(receiver) !== null) return 'departed';
  const silentMs = now - receiver.lastReportAt;
  if (silentMs <= lateAfterMs(policy)) return 'live';
  return silentMs <= policy.missingAfterMs ? 'missing' : 'vanished';
}

function departedAt(receiver: ReceiverEvidence): number | null {
  return receiver.signedOffAt ?? receiver.forgottenAt;
}

export function withStanding(
  roster: readonly RosterEntry[],
  ...standings: readonly Standing[]
): readonly ReceiverEvidence[] {
  return roster.filter((entry) => standings.includes(entry.standing)).map((entry) => entry.receiver);
}

/** The span that reports cover: everybody who had to report did, from `from` until `until` (epoch ms of the usage log). */
export interface Coverage {
  /** The last moment at which something was uncovered. */
  readonly from: number;
  /** Up to where the reports of all live receivers reach. */
  readonly until: number;
  /** What was uncovered last: a pool's name, a receiver's id, or null when nothing ever was. */
  readonly because: string | null;
}

/**
 * Coverage of the whole roster. A span is uncovered while a pool had fewer live receivers than it should, while a
 * receiver was silent before it was given up, and (both being silent in the same way) between the last report and the
 * word of a person who says that one is gone. A live receiver's own silence is no gap: its counts and ages go on.
 */
export function coverageOf(roster: readonly RosterEntry[], evidence: UsageEvidence, policy: ReceiversPolicy): Coverage {
  const live = withStanding(roster, 'live');
  const until = live.length === 0 ? 0 : Math.min(...live.map((receiver) => receiver.lastReportAt));
  const gaps = [
    ...roster.flatMap((entry) => silenceOf(entry, policy)),
    ...requiredPools(policy).map(([pool, { expect }]) => ({
      until: fullSince(roster, pool, expect, evidence.now),
      because: `pool ${pool}`,
    })),
  ];
  const last = gaps.reduce((latest, gap) => (gap.until > latest.until ? gap : latest), {
    until: 0,
    because: null as string | null,
  });
  return { from: last.until, until, because: last.because };
}

function silenceOf({ receiver, standing }: RosterEntry, policy: ReceiversPolicy): { until: number; because: string }[] {
  const because = `receiver ${receiver.id}`;
  if (standing === 'vanished') return [{ until: receiver.lastReportAt + policy.missingAfterMs, because }];
  if (standing === 'departed' && receiver.signedOffAt === null && receiver.forgottenAt !== null) {
    return [{ until: receiver.forgottenAt, because }];
  }
  return [];
}

/** Since when a pool has had at least `expect` receivers without a break; `now` when it has not. */
function fullSince(roster: readonly RosterEntry[], pool: string, expect: number, now: number): number {
  const members = roster.filter((entry) => entry.receiver.pool === pool);
  const spans = members.map((entry) => ({ from: entry.receiver.coveredSince, until: spanEnd(entry, now) }));
  const liveAt = (moment: number): number => spans.filter((span) => span.from <= moment && moment < span.until).length;
  if (spans.filter((span) => span.until === Infinity).length < expect) return now;
  const ends = spans.map((span) => span.until).filter((end) => end !== Infinity);
  const lastShort = Math.max(-Infinity, ...ends.filter((end) => liveAt(end) < expect));
  const starts = spans.map((span) => span.from).sort((a, b) => a - b);
  return starts.find((start) => start >= lastShort && liveAt(start) >= expect) ?? now;
}

function spanEnd({ receiver, standing }: RosterEntry, now: number): number {
  if (standing === 'live') return Infinity;
  return Math.min(now, receiver.signedOffAt ?? receiver.lastReportAt);
}

/** All uses of these versions, by every receiver that ever held the secret, the departed included. */
export function usesOf(evidence: UsageEvidence, versions: readonly string[]): readonly VersionUseEvidence[] {
  return evidence.receivers.flatMap((receiver) => receiver.uses.filter((use) => versions.includes(use.version)));
}

/** How many deliveries matched this version. */
export function matchedBy(evidence: UsageEvidence, version: string): number {
  return usesOf(evidence, [version]).reduce((sum, use) => sum + use.matched, 0);
}

/** When a delivery last matched this version; null when none ever did. */
export function lastUseOf(evidence: UsageEvidence, version: string): number | null {
  return latest(usesOf(evidence, [version]).map((use) => use.lastMatchedAt));
}

/** The earliest of these moments; null when none is known. */
export function earliest(moments: readonly (number | null)[]): number | null {
  const known = moments.filter((moment) => moment !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/** The latest of these moments; null when none is known. */
export function latest(moments: readonly (number | null)[]): number | null {
  const known = moments.filter((moment) => moment !== null);
  return known.length === 0 ? null : Math.max(...known);
}

/**
 * Until when one of these versions was, or must be taken to have been, in exclusive use: a receiver that vanished is
 * taken to have used every version it held until it was given up.
 */
export function lastExclusiveUse(
  roster: readonly RosterEntry[],
  evidence: UsageEvidence,
  versions: readonly string[],
  policy: ReceiversPolicy,
): number | null {
  const seen = usesOf(evidence, versions).map((use) => use.lastExclusiveAt);
  const presumed = withStanding(roster, 'vanished')
    .filter((receiver) => receiver.holds.some((version) => versions.includes(version)))
    .map((receiver) => receiver.lastReportAt + policy.missingAfterMs);
  return latest([...seen, ...presumed]);
}

/** Deliveries of the last ten minutes that nothing but these versions explained: refused, had they been gone. */
export interface RecentExclusive {
  /** Minutes of the usage log's clock in which there were any, oldest first. */
  readonly perMinute: readonly RecentUse[];
  readonly total: number;
}

/** What `evidence` shows of these versions for the ten minutes up to `now`, epoch ms of the usage log's clock. */
export function recentExclusive(evidence: UsageEvidence, versions: readonly string[], now: number): RecentExclusive {
  const perMinute = byMinute(
    recentAt(
      usesOf(evidence, versions).flatMap((use) => use.recent),
      now,
    ),
  );
  return { perMinute, total: perMinute.reduce((sum, { exclusive }) => sum + exclusive, 0) };
}
