import { maxTombstones } from '../model/keyring.ts';
import type {
  ReceiverEvidence,
  ReceiverIdentity,
  RecentUse,
  SecretReport,
  UsageReport,
  VersionUse,
  VersionUseEvidence,
} from '../ports/usage-log.ts';
import { byMinute, recentAt, recentMinutes, spread } from './recent.ts';

/**
 * How a report becomes evidence, the same for every usage log. A moment is the arrival by the usage log's clock minus
 * an age by the receiver's. Once stored it only moves later, so that a clock set back cannot make a use look older, and
 * a report that comes twice changes nothing that matters.
 */

/** What a usage log keeps of one receiver instance. */
export interface StoredReceiver extends ReceiverIdentity {
  readonly coveredSince: number;
  readonly lastReportAt: number;
  readonly signedOffAt: number | null;
  readonly forgottenAt: number | null;
}

/** What it keeps of one instance and one secret. */
export interface StoredHolding {
  readonly revision: number;
  readonly holds: readonly string[];
  readonly primary: string | null;
  readonly uses: readonly VersionUseEvidence[];
  /** Arrival of the last report that listed the secret, once a newer one did not; null while reports list it. */
  readonly listedUntil: number | null;
}

/**
 * As many versions as a keyring keeps tombstones: of what is older nobody decides anything, and a receiver that lives
 * for years must not make its row grow for years.
 */
const maxUses = maxTombstones;

/** Who the departed are folded into. No receiver is called so: the parentheses are in no pool's name. */
const folded: ReceiverIdentity = { id: '(departed)', instance: '(departed)', pool: '(departed)' };

/** A receiver that reports is there, whatever a person or its own sign-off said before. */
export function arrivedReceiver(stored: StoredReceiver | null, report: UsageReport, arrival: number): StoredReceiver {
  const lastReportAt = Math.max(stored?.lastReportAt ?? 0, arrival);
  return {
    id: report.id,
    instance: report.instance,
    pool: report.pool,
    coveredSince: Math.max(stored?.coveredSince ?? 0, momentOf(report.uptimeMs, arrival)),
    lastReportAt,
    signedOffAt: report.signsOff ? lastReportAt : null,
    forgottenAt: null,
  };
}

/** When a report arrived, and from when on what it says of a secret can have happened (epoch ms). */
interface Arrival {
  readonly at: number;
  readonly since: number;
}

/**
 * What a report changes of what an instance is known to hold, by secret; most reports of most secrets change nothing.
 * `known` is the instance as it was before this report. A secret that it no longer lists is one that the receiver is
 * silent about since its last report: it becomes missing for this secret alone, rather than count as a holder of what
 * it held then. Each change is worked out when it is asked for, and `stored` may take it in right away.
 */
export function* changedHoldings(
  stored: ReadonlyMap<string, StoredHolding>,
  known: StoredReceiver | null,
  report: UsageReport,
  at: number,
): Generator<readonly [secret: string, holding: StoredHolding], void> {
  const startedAt = momentOf(report.uptimeMs, at);
  const reportedAt = Math.max(known?.lastReportAt ?? 0, startedAt);
  const unlisted = new Map(stored);
  for (const each of report.secrets) {
    const before = unlisted.get(each.secret) ?? null;
    const after = arrivedHolding(before, each, { at, since: before === null ? startedAt : reportedAt });
    unlisted.delete(each.secret);
    if (after !== before) yield [each.secret, after];
  }
  for (const [secret, before] of unlisted) {
    if (before.listedUntil === null) yield [secret, { ...before, listedUntil: known?.lastReportAt ?? at }];
  }
}

/** The stored one itself where nothing changes. */
function arrivedHolding(stored: StoredHolding | null, report: SecretReport, arrival: Arrival): StoredHolding {
  const uses = arrivedUses(stored?.uses ?? [], report.uses, arrival);
  const { revision, holds, primary } = report;
  if (
    stored?.listedUntil === null &&
    stored.revision === revision &&
    stored.primary === primary &&
    areEqual(stored.holds, holds) &&
    areEqual(stored.uses, uses)
  ) {
    return stored;
  }
  return { revision, holds, primary, uses, listedUntil: null };
}

function areEqual(left: readonly unknown[], right: readonly unknown[]): boolean {
  return left.length === right.length && left.every((each, index) => each === right[index]);
}

function arrivedUses(
  stored: readonly VersionUseEvidence[],
  reported: readonly VersionUse[],
  arrival: Arrival,
): readonly VersionUseEvidence[] {
  const uses = [...stored];
  for (const use of reported) {
    const known = uses.findIndex((each) => each.version === use.version);
    uses[known === -1 ? uses.length : known] = arrivedUse(uses[known] ?? null, use, arrival);
  }
  return bounded(uses);
}

/** The stored one itself where nothing changes. */
function arrivedUse(stored: VersionUseEvidence | null, use: VersionUse, arrival: Arrival): VersionUseEvidence {
  const lastExclusiveAt = momentOrNull(use.lastExclusiveAgeMs, arrival.at);
  const growth = use.exclusive - (stored?.exclusive ?? 0);
  const recent = stored?.recent ?? [];
  const merged: VersionUseEvidence = {
    version: use.version,
    matched: Math.max(stored?.matched ?? 0, use.matched),
    exclusive: Math.max(stored?.exclusive ?? 0, use.exclusive),
    notOk: Math.max(stored?.notOk ?? 0, use.notOk),
    // The first estimate is never earlier than the truth; a later one of the same moment would only make it jump.
    firstMatchedAt: stored?.firstMatchedAt ?? momentOrNull(use.firstMatchedAgeMs, arrival.at),
    lastMatchedAt: laterOf(stored?.lastMatchedAt ?? null, momentOrNull(use.lastMatchedAgeMs, arrival.at)),
    lastExclusiveAt: laterOf(stored?.lastExclusiveAt ?? null, lastExclusiveAt),
    recent: growth > 0 ? grown(recent, growth, lastExclusiveAt ?? arrival.at, arrival) : recent,
  };
  return stored !== null && isSameUse(stored, merged) ? stored : merged;
}

function isSameUse(one: VersionUseEvidence, other: VersionUseEvidence): boolean {
  return (
    one.matched === other.matched &&
    one.exclusive === other.exclusive &&
    one.notOk === other.notOk &&
    one.firstMatchedAt === other.firstMatchedAt &&
    one.lastMatchedAt === other.lastMatchedAt &&
    one.lastExclusiveAt === other.lastExclusiveAt &&
    one.recent === other.recent
  );
}

/** Only growth is written: minutes that merely grew old would else change the row of a receiver that sees nothing. */
function grown(recent: readonly RecentUse[], growth: number, until: number, arrival: Arrival): readonly RecentUse[] {
  return recentAt(byMinute([...recent, ...spread(growth, arrival.since, until)]), arrival.at);
}

/** Never after the arrival and never earlier than the age says: part of a millisecond counts as nothing. */
function momentOf(ageMs: number, arrival: number): number {
  return arrival - Math.max(0, Math.floor(ageMs));
}

function momentOrNull(ageMs: number | null, arrival: number): number | null {
  return ageMs === null ? null : momentOf(ageMs, arrival);
}

function laterOf(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.max(one, other);
}

function earlierOf(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.min(one, other);
}

function bounded(uses: readonly VersionUseEvidence[]): readonly VersionUseEvidence[] {
  if (uses.length <= maxUses) return uses;
  return uses.toSorted((a, b) => (b.lastMatchedAt ?? 0) - (a.lastMatchedAt ?? 0)).slice(0, maxUses);
}

export function evidenceOf(receiver: StoredReceiver, holding: StoredHolding): ReceiverEvidence {
  return {
    id: receiver.id,
    instance: receiver.instance,
    pool: receiver.pool,
    coveredSince: receiver.coveredSince,
    lastReportAt: holding.listedUntil ?? receiver.lastReportAt,
    signedOffAt: receiver.signedOffAt,
    forgottenAt: receiver.forgottenAt,
    revision: holding.revision,
    holds: holding.holds,
    primary: holding.primary,
    uses: holding.uses,
  };
}

/** Since when a receiver counts as departed; null while it does not. */
export function departedAt(receiver: Pick<StoredReceiver, 'signedOffAt' | 'forgottenAt'>): number | null {
  return receiver.signedOffAt ?? receiver.forgottenAt;
}

/**
 * One departed receiver more in the fold of its secret. Counts add up, latest uses stay. Whoever was forgotten never
 * said how it ended, so the fold stays a forgotten receiver that holds what such ones held.
 */
export function foldInto(fold: ReceiverEvidence | null, gone: ReceiverEvidence): ReceiverEvidence {
  const both = fold === null ? [gone] : [fold, gone];
  const forgotten = both.filter((each) => each.signedOffAt === null);
  const newest = both.reduce((one, other) => (other.revision >= one.revision ? other : one));
  return {
    ...folded,
    coveredSince: Math.max(...both.map((each) => each.coveredSince)),
    lastReportAt: Math.max(...both.map((each) => each.lastReportAt)),
    signedOffAt: forgotten.length > 0 ? null : Math.max(...both.map((each) => each.signedOffAt ?? 0)),
    forgottenAt: both.map((each) => each.forgottenAt).reduce(laterOf),
    revision: newest.revision,
    holds: [...new Set(forgotten.flatMap((each) => each.holds))],
    primary: newest.primary,
    uses: summed(both.flatMap((each) => each.uses)),
  };
}

function summed(uses: readonly VersionUseEvidence[]): readonly VersionUseEvidence[] {
  const sums = new Map<string, VersionUseEvidence>();
  for (const use of uses) {
    const sum = sums.get(use.version);
    sums.set(
      use.version,
      sum === undefined
        ? use
        : {
            version: use.version,
            matched: sum.matched + use.matched,
            exclusive: sum.exclusive + use.exclusive,
            notOk: sum.notOk + use.notOk,
            firstMatchedAt: earlierOf(sum.firstMatchedAt, use.firstMatchedAt),
            lastMatchedAt: laterOf(sum.lastMatchedAt, use.lastMatchedAt),
            lastExclusiveAt: laterOf(sum.lastExclusiveAt, use.lastExclusiveAt),
            recent: byMinute([...sum.recent, ...use.recent]).slice(-recentMinutes),
          },
    );
  }
  return bounded([...sums.values()]);
}

/** The newest moment that the log's clock stamped on any of these; null when there is none. */
export function newestStampOf(stamped: readonly Pick<StoredReceiver, 'lastReportAt' | 'forgottenAt'>[]): number | null {
  return stamped.map((each) => Math.max(each.lastReportAt, each.forgottenAt ?? 0)).reduce<number | null>(laterOf, null);
}

/** The order of evidence: by id, then by instance. */
export function byIdentity(a: ReceiverIdentity, b: ReceiverIdentity): number {
  if (a.id !== b.id) return a.id < b.id ? -1 : 1;
  if (a.instance === b.instance) return 0;
  return a.instance < b.instance ? -1 : 1;
}
