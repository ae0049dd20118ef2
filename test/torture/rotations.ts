import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { until } from '../process/support/until.ts';
import type { Chance } from './chance.ts';
import { findWrong, patient } from './check.ts';
import { places, type Struck } from './faults.ts';

/** When faults have stopped, every rotation ends within this on a busy machine, ms (I8). */
const endsWithinMs = 90_000;

export interface Rotated {
  readonly name: string;
  readonly ms: number;
  readonly wrong: readonly string[];
}

/** So many command lines of people run at a time. */
const hands = pLimit(2);

/** Rotates one secret as a person does who never gives up, and looks at what came of it. */
export async function rotate(
  all: Struck,
  name: string,
  chance: Chance,
  faultsStopped: Promise<unknown>,
): Promise<Rotated> {
  const { town, fleet, orchestrators } = all;
  const before = (await runsOf(all, name)).length;
  const from = performance.now();
  const patience = { isOver: false };
  void faultsStopped.then(async () => {
    await sleep(endsWithinMs, undefined, { ref: false });
    patience.isOver = true;
  });
  const stands = async (): Promise<'not begun' | 'live' | 'ended'> => {
    const newer = (await runsOf(all, name)).slice(before);
    if (newer.length === 0) return 'not begun';
    return newer.every(({ state }) => state !== 'live') ? 'ended' : 'live';
  };
  while ((await stands()) !== 'ended') {
    if (patience.isOver) {
      const { stdout } = await (await orchestrators.start(['status', name])).finished;
      return { name, ms: performance.now() - from, wrong: [`I8: the run of ${name} does not end:\n${stdout}`] };
    }
    // Whoever had to wait for a free hand may come when it is over: another `rotate` would begin anew.
    await hands(async () => ((await stands()) === 'ended' ? undefined : ask(all, name, chance)));
    if ((await stands()) === 'live') await untilEndedFor(chance.between(2_000, 6_000), stands);
  }
  const ms = performance.now() - from;
  return { name, ms, wrong: await findWrong(town, name, () => fleet.urls) };
}

async function untilEndedFor(ms: number, stands: () => Promise<string>): Promise<void> {
  for (const giveUpAt = performance.now() + ms; performance.now() < giveUpAt && (await stands()) === 'live';) {
    await sleep(300);
  }
}

async function ask({ orchestrators, tally }: Struck, name: string, chance: Chance): Promise<void> {
  const args = ['rotate', name, ...(chance.isOne(3) ? [] : [`--wait=${String(chance.below(4) + 1)}s`]), '--json'];
  const fault = chance.one(['kill', 'kill', 'kill', 'throw', 'full', null] as const);
  if (fault === null) {
    await (
      await orchestrators.start(args)
    ).finished;
    return;
  }
  const struckAt = chance.one(places);
  const running = await orchestrators.start(args, { struckAt, fault });
  const { signal, code } = await running.finished;
  // Whether this very process comes by that place, nobody can tell.
  if (fault === 'kill' && signal === 'SIGKILL' && !orchestrators.wasKilled(running))
    tally.count('orchestrators killed', `at ${struckAt}`);
  if (fault !== 'kill' && code === 1) tally.count('commits failed', fault === 'full' ? 'no room' : 'disk error');
}

async function runsOf({ town }: Struck, name: string): Promise<ReturnType<Struck['town']['runs']>> {
  return until('the journal can be read', () => patient(() => town.runs(name)));
}
