import { failing, type Check, type CheckName } from '../model/check.ts';
import { liftedAt, type GateClock, type GateStep, type Run } from '../model/run.ts';

/**
 * What a look counts at most of the time since the look before it: nobody knows what a gate waited for while nobody
 * looked, and a wall clock that was set forward must not time a gate out.
 */
const longestLookMs = 15 * 60_000;

/** How often the clock of a gate is journalled while it only runs on, ms. */
const journalEveryMs = 60_000;

/** How long this gate has waited for what traffic, receivers or people can move, ms. */
export function waitedMs(run: Run, step: GateStep, now: number): number {
  const clock = presentClock(run, step);
  if (clock === null) return 0;
  return clock.waitedMs + (clock.runs ? Math.min(Math.max(0, now - clock.countedAt), longestLookMs) : 0);
}

/** The run's clock, unless it is another gate's or a person has let the run go on since. */
function presentClock(run: Run, step: GateStep): GateClock | null {
  const clock = run.gateClock;
  if (clock?.step !== step) return null;
  return clock.startedAt < (liftedAt(run) ?? -Infinity) ? null : clock;
}

/** The clock to journal for a gate that waits; null where what is journalled will do. */
export function clockToKeep(run: Run, step: GateStep, checks: readonly Check[], now: number): GateClock | null {
  const present = presentClock(run, step);
  const waited = waitedMs(run, step, now);
  const runs = failing(checks).some((check) => !isImmovable(check));
  const { timeoutMs } = run.policy.gates;
  const isDue =
    present?.runs !== runs ||
    (runs && Math.abs(now - present.countedAt) >= journalEveryMs) ||
    (waited >= timeoutMs && present.waitedMs < timeoutMs);
  // A clock that was set back would make what a person says from now on look older than the wait itself.
  const startedAt = Math.min(present?.startedAt ?? now, now);
  return isDue || startedAt !== present.startedAt ? { step, startedAt, waitedMs: waited, countedAt: now, runs } : null;
}

/** Checks that the passing of time alone may move. The clock's is none of them: it is to be looked at. */
const timed: readonly CheckName[] = ['grace', 'retry-tail', 'unreported', 'propagation', 'new-seen'];

/** Waits that traffic, receivers and people cannot move: while only these are left, the gate's clock stands still. */
function isImmovable({ name, waitingFor }: Check): boolean {
  if (name === 'held' || name === 'timeout' || name === 'cutover' || name === 'blackout') return true;
  return waitingFor === 'time' && timed.includes(name);
}
