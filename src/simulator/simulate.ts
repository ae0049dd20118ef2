import type { SecretPolicy } from '../model/policy.ts';
import { adviceOn } from './advice.ts';
import type { Violation } from './checks.ts';
import { longestTransitMs, scheduleOf } from './plan.ts';
import { scaled } from './scale.ts';
import type { FaultLevel, Schedule } from './schedule.ts';
import { shrunk } from './shrink.ts';
import { addTally, emptyTally, type Tally } from './tally.ts';
import { requireWorld } from './upstreams/worlds.ts';
import { runWorld } from './world.ts';

export interface SimulationOptions {
  readonly runs: number;
  /** Of the first run; each further one has the next. */
  readonly seed: number;
  readonly faults: FaultLevel;
  /** Told every line of what happens. */
  readonly trace?: ((line: string) => void) | undefined;
  /** Told after each run; the next one begins when it is done with it. */
  readonly onRun?: ((done: Progress) => Promise<void>) | undefined;
  /** Ends after the run that is under way. */
  readonly signal?: AbortSignal | undefined;
}

export interface Progress {
  readonly runs: number;
  readonly tally: Tally;
}

/** A violation as somebody needs it who wants to understand it. */
export interface Found {
  readonly seed: number;
  readonly violation: Violation;
  /** With no more faults than it takes. */
  readonly schedule: Schedule;
  /** What happened with those alone, the last lines of it. */
  readonly timeline: readonly string[];
  /** What of the policy may be why. */
  readonly advice: readonly string[];
}

export interface Simulation extends Progress {
  readonly secret: string;
  readonly seed: number;
  readonly faults: FaultLevel;
  /** What the long durations of the policy were multiplied by. */
  readonly factor: number;
  /** Null: nothing that must never happen did. */
  readonly found: Found | null;
}

const timelineLines = 60;

/**
 * Many rotations of one secret under its own policy, each in a world of its own that a seed makes. Ends at the first
 * violation. Throws `not-in-this-version` for an upstream without a world.
 */
export async function simulate(policy: SecretPolicy, options: SimulationOptions): Promise<Simulation> {
  requireWorld(policy);
  const { runs, seed, faults, trace, onRun, signal } = options;
  const { policy: short, factor } = scaled(policy);
  const tally = emptyTally();
  const result = { secret: policy.secret, seed, faults, factor, tally };
  let done = 0;
  for (; done < runs && signal?.aborted !== true; done += 1) {
    const outcome = await runWorld(short, scheduleOf(short, seed + done, faults), trace ?? null);
    addTally(tally, outcome.tally);
    if (outcome.violation !== null) {
      const schedule = await shrunk(short, outcome);
      return { ...result, runs: done + 1, found: await retold(short, schedule, seed + done, outcome.violation) };
    }
    await onRun?.({ runs: done + 1, tally });
  }
  return { ...result, runs: done, found: null };
}

/** The shrunk schedule once more, with somebody who listens. */
async function retold(policy: SecretPolicy, schedule: Schedule, seed: number, first: Violation): Promise<Found> {
  const lines: string[] = [];
  const { violation } = await runWorld(policy, schedule, (line) => {
    lines.push(line);
    if (lines.length > 4 * timelineLines) lines.splice(0, 2 * timelineLines);
  });
  const advice = adviceOn(policy, longestTransitMs[schedule.level]);
  return { seed, violation: violation ?? first, schedule, timeline: lines.slice(-timelineLines), advice };
}
