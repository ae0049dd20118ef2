import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Later } from '../process/support/processes.ts';
import { Chance } from './chance.ts';
import { damaged, findLeaks, findTraces } from './check.ts';
import { noMounts } from './disk.ts';
import { Faults, type Struck } from './faults.ts';
import { Fleet } from './fleet.ts';
import { Moments } from './moments.ts';
import { Orchestrators } from './orchestrators.ts';
import { rotate, type Rotated } from './rotations.ts';
import { countWords, Tally } from './tally.ts';
import { Town } from './town.ts';

export interface TortureOptions {
  /** What is struck, when, and at which places. Real processes never do quite the same twice, so that a seed is no replay. */
  readonly seed: number;
  /** Goes on until there were so many of both; what is under way then is finished without faults. */
  readonly rotations: number;
  readonly kills: number;
  /** How many secrets are rotated at a time. */
  readonly secrets?: number;
  /** Told now and then how far it is. */
  readonly progress?: (line: string) => void;
}

export interface Tortured {
  /** What was done, for people. */
  readonly summary: readonly string[];
  /** What was not as it must be; nothing, where all is well. */
  readonly wrong: readonly string[];
  readonly rotations: number;
  readonly kills: number;
}

const killed = ['orchestrators killed', 'receivers killed', 'upstream killed'] as const;

/**
 * Rotates secrets with real processes, databases, files and HTTP, while orchestrators, receivers and the upstream are
 * killed with -9, stopped for a while, and their disks become full or read-only.
 */
export async function torture(later: Later, options: TortureOptions): Promise<Tortured> {
  const { seed, secrets = 15, progress = () => undefined } = options;
  const names = Array.from({ length: secrets }, (_, index) => `hook-${String(index)}`);
  const town = new Town(later, names, await freePort(new Chance(seed, 1)));
  const tally = new Tally();
  const moments = new Moments();
  const orchestrators = new Orchestrators(town, moments);
  const fleet = new Fleet(town, orchestrators, tally, new Chance(seed, 2));
  const all: Struck = { town, fleet, orchestrators, moments, tally, chance: new Chance(seed, 3) };
  const faults = new Faults(all);
  const from = performance.now();
  await Promise.all([faults.startUpstream(), fleet.start()]);

  const rotated: Rotated[] = [];
  let started = 0;
  const kills = (): number => killed.reduce((sum, what) => sum + tally.total(what), 0);
  const isEnough = (): boolean => started >= options.rotations && kills() >= options.kills;
  const faultsStopped = (async (): Promise<void> => {
    while (!isEnough()) await faults.strike();
    await faults.over();
  })();
  const work = { isOver: false };
  const people = names.map(async (name, index) => {
    const chance = new Chance(seed, 100 + index);
    // Some time apart, so that every moment of a rotation is one of somebody's all the time.
    await Promise.race([sleep(index * 500), faultsStopped]);
    while (!isEnough()) {
      started += 1;
      rotated.push(await rotate(all, name, chance, faultsStopped));
      progress(`${String(rotated.length)} rotations, ${String(kills())} kills`);
    }
  });
  const scheduler = keepRunning(all, new Chance(seed, 4), () => !work.isOver);
  await Promise.all([...people, faultsStopped]).finally(() => (work.isOver = true));
  await scheduler;

  const summary = summaryOf(all, rotated, performance.now() - from, options);
  const wrong = [
    ...rotated.flatMap((each) => each.wrong),
    ...orchestrators.wrong,
    ...faults.wrong,
    ...(await fleet.stop()),
    ...(await damaged('journal', join(town.folder, 'journal/journal.db'))),
    ...(await damaged('usage log', join(town.folder, 'usage/usage.db'))),
    ...findLeaks(town),
    ...findTraces(town),
  ];
  return { summary, wrong, rotations: rotated.length, kills: kills() };
}

/** What cron or a service does: `run` again and again, or `run --watch` for a while. */
async function keepRunning({ orchestrators }: Struck, chance: Chance, goesOn: () => boolean): Promise<void> {
  while (goesOn()) {
    if (chance.isOne(3)) {
      await (
        await orchestrators.start(['run', '--json'])
      ).finished;
      await sleep(chance.between(0, 500));
      continue;
    }
    const watching = await orchestrators.start(['run', '--watch', '--every', '500ms', '--json']);
    const until = performance.now() + chance.between(3_000, 12_000);
    while (goesOn() && !watching.hasEnded() && performance.now() < until) await sleep(100);
    watching.kill('SIGTERM');
    await watching.finished;
  }
}

function summaryOf(
  { town, orchestrators, tally }: Struck,
  rotated: readonly Rotated[],
  ms: number,
  { seed }: TortureOptions,
): readonly string[] {
  const outcomes = town.state.outcomes();
  const longest = Math.max(...rotated.map((each) => each.ms));
  return [
    `Torture, seed ${String(seed)}: ${String(rotated.length)} rotations of ${String(town.names.length)} secrets in ${seconds(ms)}, the longest ${seconds(longest)}; ${String(orchestrators.count)} keyturn processes`,
    ...[...killed, 'stalled', 'commits failed', 'disks full', 'journal read-only'].map(
      (what) => `  ${what}: ${tally.words(what)}`,
    ),
    ...(noMounts === null
      ? []
      : [`  no disk was full but in what a preload made of commits: mounting one ${noMounts}`]),
    `  deliveries: ${countWords(outcomes)}, taken at a later attempt ${String(town.state.takenLater())}; answers ${countWords(town.state.answers())}`,
    `  after each rotation: integrity_check of the journal, one primary, nothing else accepted, the upstream signs with it`,
  ];
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)}s`;
}

/** One that the system gives to no outgoing connection, so that it is free again whenever the upstream is started anew. */
async function freePort(chance: Chance): Promise<number> {
  for (;;) {
    const port = 20_000 + chance.below(12_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    const { port: free } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    return free;
  }
}
