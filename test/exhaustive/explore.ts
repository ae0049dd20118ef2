import type { Change } from './ground.ts';
import type { Bounds, Scene } from './scene.ts';
import { createSchedule, type Choose } from './schedule.ts';

/** A choice that a schedule made: which of how many. */
interface Choice {
  readonly keys: readonly string[];
  taken: number;
}

/** Which choices of a schedule were not the first: at which step, and what. */
export type Deviations = readonly (readonly [step: number, key: string])[];

export interface Found {
  readonly what: string;
  readonly deviations: Deviations;
  /** Every step, for people. */
  readonly told: readonly string[];
}

export interface Explored {
  readonly scene: string;
  readonly schedules: number;
  /** Distinct ones. */
  readonly states: number;
  readonly steps: number;
  readonly deepest: number;
  /** True where every schedule within the bounds was tried, or led to a state from which all were. */
  readonly whole: boolean;
  readonly found: Found | null;
}

export interface ExploreOptions {
  readonly bounds: Bounds;
  /** How many schedules at the most. */
  readonly limit?: number;
  /** Puts something in the place of a part of each process. */
  readonly change?: Change;
}

const unchanged: Change = (parts) => parts;

/** Tries every schedule of the scene within the bounds, depth first, each from the start; stops at the first violation. */
export async function explore(scene: Scene, options: ExploreOptions): Promise<Explored> {
  const { bounds, limit = Infinity, change = unchanged } = options;
  // Most errors here are answers to a process that lost a race, and nobody reads where they were made.
  Error.stackTraceLimit = 0;
  const seen: Seen = new Map();
  const choices: Choice[] = [];
  let [schedules, steps, deepest] = [0, 0, 0];
  let found: Found | null = null;
  let isMore = true;
  while (isMore && found === null && schedules < limit) {
    const schedule = createSchedule(scene, bounds, change);
    schedules += 1;
    try {
      await schedule.run(following(choices, seen));
    } catch (error) {
      found = { what: String(error), deviations: deviationsOf(choices), told: schedule.told };
    }
    await schedule.ground.world.close();
    steps += schedule.told.length;
    deepest = Math.max(deepest, schedule.told.length);
    isMore = toNext(choices);
  }
  const whole = !isMore && found === null;
  return { scene: scene.name, schedules, states: seen.size, steps, deepest, whole, found };
}

/** What was left of the bounds where a state was come by. */
type Seen = Map<string, Bounds[]>;

/** Makes the choices again that were made, and the first one where none was, until it comes to a state that is known. */
function following(choices: Choice[], seen: Seen): Choose {
  let step = 0;
  return (keys, state, left) => {
    const made = choices[step];
    step += 1;
    if (made !== undefined) {
      if (made.keys.join() !== keys.join()) throw new Error('the same choices led elsewhere');
      return made.taken;
    }
    if (!isNew(seen, state(), left)) return null;
    choices.push({ keys, taken: 0 });
    return 0;
  };
}

/** False where as much was left when the state was come by before: all that follows is tried already, or will be. */
function isNew(seen: Seen, state: string, left: Bounds): boolean {
  const before = seen.get(state) ?? [];
  if (before.some((each) => isWithin(left, each))) return false;
  seen.set(state, [...before.filter((each) => !isWithin(each, left)), left]);
  return true;
}

function isWithin(one: Bounds, other: Bounds): boolean {
  return one.preemptions <= other.preemptions && one.lapses <= other.lapses && one.faults <= other.faults;
}

function deviationsOf(choices: readonly Choice[]): Deviations {
  return choices.flatMap(({ keys, taken }, step) => (taken === 0 ? [] : [[step, keys[taken] ?? ''] as const]));
}

/** Changes the last choice that was not made in every way yet; false where there is none. */
function toNext(choices: Choice[]): boolean {
  for (let last = choices.at(-1); last !== undefined; last = choices.at(-1)) {
    if (last.taken + 1 < last.keys.length) {
      last.taken += 1;
      return true;
    }
    choices.pop();
  }
  return false;
}

const unbounded: Bounds = { preemptions: Infinity, lapses: Infinity, faults: Infinity };

/** One schedule alone, as a violation told it. Throws what went wrong. */
export async function replay(scene: Scene, deviations: Deviations, change: Change = unchanged): Promise<void> {
  const taken = new Map(deviations);
  let step = 0;
  const choose: Choose = (keys) => {
    const wanted = taken.get(step);
    step += 1;
    return wanted === undefined ? 0 : Math.max(0, keys.indexOf(wanted));
  };
  const schedule = createSchedule(scene, unbounded, change);
  try {
    await schedule.run(choose);
  } finally {
    await schedule.ground.world.close();
  }
}
