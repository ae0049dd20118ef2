import { cronTimes } from '../model/calendar.ts';
import type { Blackout, CutoverPolicy } from '../model/policy.ts';

/** When an update may start: inside the cutover window, and in no blackout. All moments are epoch ms. */

export interface CutoverState {
  readonly open: boolean;
  /** When it opens next; null while it is open, and where it does not open within two years. */
  readonly opensAt: number | null;
  /** When it closes; null while it is closed, and where one window follows upon another for too long to tell. */
  readonly closesAt: number | null;
}

/** How far ahead is looked. */
const horizonMs = 2 * 366 * 24 * 60 * 60_000;

/** How many windows that follow upon each other are put together. */
const maxJoined = 32;

/** A window is open from each time of the expression, that moment included, until `durationMs` later, that one not. */
export function cutoverAt({ cron, durationMs, timezone }: CutoverPolicy, now: number): CutoverState {
  const times = cronTimes(cron, timezone);
  const openedAt = times.latest(now);
  if (openedAt === null || now >= openedAt + durationMs) {
    const next = times.next(now);
    return { open: false, opensAt: next === null || next - now > horizonMs ? null : next, closesAt: null };
  }
  let closesAt = openedAt + durationMs;
  for (let joined = 1; joined <= maxJoined; joined += 1) {
    const following = (times.latest(closesAt) ?? openedAt) + durationMs;
    if (following <= closesAt) return { open: true, opensAt: null, closesAt };
    closesAt = following;
  }
  return { open: true, opensAt: null, closesAt: null };
}

export interface BlackoutState {
  /** When it ends, those that follow upon it without a gap included. */
  readonly until: number;
  /** The reason of the one that is in force, where any has one. */
  readonly reason: string | null;
}

/** The blackout that `now` is in; null where it is in none. */
export function blackoutAt(blackouts: readonly Blackout[], now: number): BlackoutState | null {
  const inForce = blackouts.filter(({ from, until }) => from <= now && now < until);
  if (inForce.length === 0) return null;
  let until = now;
  for (const { from, until: end } of blackouts.toSorted((a, b) => a.from - b.from)) {
    if (from <= until) until = Math.max(until, end);
  }
  return { until, reason: inForce.find(({ reason }) => reason !== null)?.reason ?? null };
}

/** The first moment from `now` on at which an update may start; null where there is none within two years. */
export function nextOpening(cutover: CutoverPolicy | null, blackouts: readonly Blackout[], now: number): number | null {
  let at = now;
  while (at - now <= horizonMs) {
    const blackout = blackoutAt(blackouts, at);
    if (blackout !== null) {
      at = blackout.until;
      continue;
    }
    if (cutover === null) return at;
    const { open, opensAt } = cutoverAt(cutover, at);
    if (open) return at;
    if (opensAt === null) return null;
    at = opensAt;
  }
  return null;
}
