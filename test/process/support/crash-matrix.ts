import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finished, Later } from './processes.ts';
import { deliver } from './sender.ts';
import type { StoreWorld } from './store-worlds.ts';
import { until } from './until.ts';
import { eventLines, type CliOptions, type KeyringFile, type Receiver, traceLines, World } from './world.ts';

/** Which way the run goes when it is struck. */
const ways = {
  /** A rotation from its beginning. */
  forward: ['generate', 'canary', 'activate', 'promote', 'reassert', 'revoke', 'purge'],
  /** Told to abort while it watches the old version. */
  back: ['restore', 'reinstate', 'reassert', 'revoke', 'purge'],
  /** Under compromise, in the place of a run that watches the old version. */
  compromised: ['generate', 'activate', 'promote', 'revoke', 'purge'],
} as const;

type Way = keyof typeof ways;

/** What strikes right before an effect (its intent is durable) and right after it (nobody has noted that it happened). */
const faults = ['killed', 'error', 'journal lost'] as const;

type Fault = (typeof faults)[number];

export interface Cell {
  readonly way: Way;
  readonly effect: string;
  readonly when: 'before' | 'after';
  readonly fault: Fault;
  readonly name: string;
}

export const everyCell: readonly Cell[] = Object.entries(ways).flatMap(([way, effects]) =>
  effects.flatMap((effect) =>
    (['before', 'after'] as const).flatMap((when) =>
      faults.map((fault) => ({
        way: way as Way,
        effect,
        when,
        fault,
        name: `${way}-${effect}-${when}-${fault.replace(' ', '-')}`,
      })),
    ),
  ),
);

/** One line an effect, one column a fault, as a reader wants to see it. */
function table(cells: readonly Cell[], outcomes: ReadonlyMap<string, string>): string {
  const columns = faults
    .filter((fault) => cells.some((cell) => cell.fault === fault))
    .flatMap((fault) => (['before', 'after'] as const).map((when) => ({ fault, when })));
  const head = ['', ...columns.map(({ fault, when }) => `${fault}, ${when}`)];
  const rows = Object.entries(ways).flatMap(([way, effects]) =>
    effects
      .filter((effect) => cells.some((cell) => cell.way === way && cell.effect === effect))
      .map((effect) => [
        `${way}: ${effect}`,
        ...columns.map(({ fault, when }) => {
          const cell = cells.find(
            (each) =>
              `${each.way}: ${each.effect}` === `${way}: ${effect}` && each.fault === fault && each.when === when,
          );
          return outcomes.get(cell?.name ?? '') ?? 'not run';
        }),
      ]),
  );
  const widths = head.map((_, index) => Math.max(...[head, ...rows].map((row) => row[index]?.length ?? 0)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((text, index) => text.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/**
 * Strikes a rotation in each of these cells, runs it again, and looks at what became of it. `open` gives the store; null: that of
 * the policy's default, in files.
 */
export function describeCrashMatrix(
  title: string,
  cells: readonly Cell[],
  open: ((later: Later) => Promise<StoreWorld>) | null,
): void {
  describe(title, { timeout: 240_000 }, () => {
    const outcomes = new Map<string, string>();
    let on: StoreWorld | null = null;
    const closers: Parameters<Later>[0][] = [];
    let world: World;
    let receiver: Receiver;

    beforeAll(async () => {
      const later: Later = (stop) => closers.push(stop);
      on = open === null ? null : await open(later);
      const names = cells.map(({ name }) => name);
      world = await World.open(later);
      world.writePolicy({
        secrets: Object.fromEntries(names.map((name) => [name, { timeout: '3s', more: inStore() }])),
        more: stores(),
      });
      receiver = await world.startReceiver(names, { env: on?.receiverEnv ?? {} });
    });

    afterAll(async () => {
      for (const close of closers.reverse()) await close();
      process.stdout.write(`\n${title}: what became of the run\n${table(cells, outcomes)}\n\n`);
    });

    const inStore = (): Readonly<Record<string, unknown>> => (on === null ? {} : { store: 'live' });

    const stores = (): Readonly<Record<string, unknown>> => (on === null ? {} : { stores: { live: on.store } });

    const run = (args: readonly string[], options: CliOptions): Promise<Finished> =>
      world.run(args, { ...options, env: on?.orchestratorEnv ?? {} });

    async function keyringOf(name: string): Promise<KeyringFile> {
      return on === null ? world.keyring(name) : (JSON.parse(await on.keyringText(name)) as KeyringFile);
    }

    /** Each cell has a journal of its own, so that losing one is losing that one; store, usage log and receiver are shared. */
    function policyOf({ name }: Cell): { readonly policy: string; readonly journal: string } {
      const journal = `.keyturn/journal-${name}.db`;
      const policy = `policy-${name}.json`;
      const canary = { url: `${receiver.url}/${name}`, count: 2 };
      world.writePolicy(
        { secrets: { [name]: { timeout: '3s', more: { canary, ...inStore() } } }, journal, more: stores() },
        policy,
      );
      return { policy, journal };
    }

    async function begin(name: string, policy: string): Promise<string> {
      const value = `adopted/+=%&-${name}-4d7a1c9e0b52`;
      const done = await run(['adopt', name, '--stdin', '--lock-timeout', '2m'], { input: value, policy });
      expect(done, 'adopting').toMatchObject({ code: 0, stderr: '' });
      world.hook(name).signWith(value);
      await until(`the receiver has ${name}`, async () => (await deliver(`${receiver.url}/${name}`, value)) === 200);
      world.hook(name).send(5, `${receiver.url}/${name}`);
      await world.moreDeliveries(2, name);
      return value;
    }

    async function strike(cell: Cell, policy: string, args: readonly string[]): Promise<Finished> {
      const { effect, when, fault } = cell;
      const place = when === 'before' ? `${effect}-started:after` : `${effect}-done:before`;
      return world.runStruckAt(place, fault === 'error' ? 'throw' : 'kill', args, {
        policy,
        env: on?.orchestratorEnv ?? {},
      });
    }

    /** Returns whether the error was only met on the way: one that follows a run looks again, and goes on. */
    async function untilStruck(cell: Cell, policy: string): Promise<boolean> {
      const { way, fault, name } = cell;
      const commands: Readonly<Record<Way, readonly (readonly string[])[]>> = {
        forward: [['rotate', name, '--wait']],
        back: [
          ['abort', name, '--reason', 'changed my mind'],
          ['rotate', name, '--wait'],
        ],
        compromised: [['rotate', name, '--compromised', '--yes', '--wait']],
      };
      for (const args of commands[way]) {
        const struck = await strike(cell, policy, args);
        expect(traceLines(struck.all)).toEqual([]);
        if (fault === 'error' ? struck.code !== 0 : struck.signal === 'SIGKILL') return false;
        expect(struck, 'where it was not struck, it did its part').toMatchObject({ code: 0, signal: null });
      }
      expect(fault, `${name} was struck`).toBe('error');
      return true;
    }

    /** Runs it again as a person would who reads what keyturn says. Returns how it ended. */
    async function again({ name, way }: Cell, policy: string): Promise<string> {
      const wantsBack = way === 'back';
      const asked = wantsBack
        ? await run(['abort', name, '--reason', 'again'], { policy })
        : await run(['rotate', name], { policy });
      const taken = /--take-over (r\w+)/.exec(asked.stderr)?.[1];
      if (taken !== undefined) {
        expect(asked.code, 'a keyring that another journal has claimed').toBe(5);
        const takeOver = wantsBack ? ['abort', name, '--reason', 'its journal is lost'] : ['rotate', name, '--wait'];
        const over = await run([...takeOver, '--take-over', taken], { policy });
        expect(over, over.all).toMatchObject({ code: 0 });
        if (!wantsBack) return 'taken over, completed';
      }
      if ((await keyringOf(name)).claim === undefined && wantsBack) return 'went back';
      const done = await run(['rotate', name, '--wait', '--json'], { policy });
      expect(done, done.all).toMatchObject({ code: 0, stderr: '' });
      const outcome = eventLines(done.stdout).at(-1)?.outcome ?? '';
      return `${taken === undefined ? '' : 'taken over, '}${outcome === 'aborted' ? 'went back' : outcome}`;
    }

    it.concurrent.for(cells.map((cell) => [cell.name, cell] as const))(
      '%s (I1 I2 I3 I4 I5 I6)',
      async ([name, cell]) => {
        const { policy, journal } = policyOf(cell);
        const old = await begin(name, policy);
        if (cell.way !== 'forward') await world.killIn('monitor', name, { policy, env: on?.orchestratorEnv ?? {} });
        const wentOn = await untilStruck(cell, policy);
        if (cell.fault === 'journal lost')
          for (const end of ['', '-wal', '-shm']) rmSync(join(world.folder, journal + end), { force: true });
        outcomes.set(name, wentOn ? 'went on by itself' : await again(cell, policy));

        const { versions, claim } = await keyringOf(name);
        expect(claim, 'nobody has claimed it').toBeUndefined();
        const accepted = versions.filter(({ stage }) => stage !== 'revoked');
        expect(accepted, 'one version is accepted').toMatchObject([{ stage: 'primary' }]);
        const primary = accepted[0]?.value ?? '';
        expect(primary === old, 'the value it began with').toBe(cell.way === 'back');
        expect(world.hook(name).signingValue, 'what the upstream signs with').toBe(primary);
        expect(world.runs(name, journal).filter(({ state }) => state === 'live')).toEqual([]);
        await world.moreDeliveries(2, name);
        // A rotation under compromise refuses what is still on its way; that is what it is for.
        if (cell.way !== 'compromised') expect(world.refusals(name)).toEqual({});
        if (cell.way !== 'back') {
          await until('the old value is refused', async () => (await deliver(`${receiver.url}/${name}`, old)) === 401);
        }
      },
    );
  });
}
