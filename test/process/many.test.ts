import { describe, expect, it } from 'vitest';
import type { Finished } from './support/processes.ts';
import { deliver } from './support/sender.ts';
import { until } from './support/until.ts';
import { type Receiver, World } from './support/world.ts';

/** KEYTURN_LONG is for those who want to be surer, on a machine that does nothing else for some minutes. */
const isLong = process.env['KEYTURN_LONG'] !== undefined;

/** How long the processes go on at the least, ms. */
const enduranceMs = isLong ? 60_000 : 10_000;

/** How long all rotations may take on a machine that is busy with other tests, ms. */
const patienceMs = 420_000;

const processCount = isLong ? 20 : 5;
const secretCount = isLong ? 200 : 25;

/** Every so many secrets have deliveries all the time; the others have one, when their upstream was switched. */
const busyEvery = 10;

/** A lease without an outside effect runs this long: nobody may be kept from his work longer, ms. */
const leaseMs = 5_000;

const names = Array.from({ length: secretCount }, (_, index) => `s${String(index)}`);
const busyNames = names.filter((_, index) => index % busyEvery === 0);
const valueOf = (name: string): string => `imported/+=%&-${name}-8e2f60b1`;

/** One process's life as far as these tests look at it. */
interface Life {
  readonly ms: number;
  /** Secrets that it left alone because another process was moving them. */
  readonly busy: number;
  /** What it said went wrong; empty where nothing did. */
  readonly wrong: string;
}

/** Values as old as they may become, and older, so that all are due at once and none is due again. */
async function openDue(later: Parameters<typeof World.open>[0]): Promise<World> {
  const world = await World.open(later);
  const settings = {
    rotateEvery: '30d',
    receivers: { reportEvery: '500ms', refreshEvery: '500ms' },
    timeout: '10s',
  };
  world.writePolicy({ secrets: Object.fromEntries(names.map((name) => [name, settings])) });
  const document = Object.fromEntries(
    names.map((name) => {
      const version = { version: 'v1', value: valueOf(name), created_at: '2023-10-01T10:00:00Z', status: 'primary' };
      return [name, { active_secrets: [version] }];
    }),
  );
  const imported = await world.run(['import', '-'], { input: JSON.stringify(document) });
  expect(imported).toMatchObject({ code: 0, stderr: '' });
  for (const name of names) world.hook(name).signWith(valueOf(name));
  return world;
}

/** Lets each quiet secret have the one delivery that shows which value its upstream signs with. */
async function deliverOnce(world: World, receiver: Receiver, delivered: Map<string, number>): Promise<void> {
  const switched = names.filter(
    (name) => !busyNames.includes(name) && !delivered.has(name) && world.hook(name).calls.length > 0,
  );
  for (const name of switched) {
    const status = await deliver(`${receiver.url}/${name}`, world.hook(name).signingValue ?? '').catch(() => null);
    // What had no answer comes again, as an upstream would have it.
    if (status !== null) delivered.set(name, status);
  }
}

function outcomeOf({ code, stdout, stderr }: Finished): Pick<Life, 'busy' | 'wrong'> {
  const { secrets = [] } = JSON.parse(stdout === '' ? '{}' : stdout) as {
    readonly secrets?: readonly { readonly did: string; readonly error?: object; readonly problem?: object | null }[];
  };
  const busy = secrets.filter(({ did }) => did === 'busy').length;
  if (code === 0 && stderr === '' && secrets.length === secretCount) return { busy, wrong: '' };
  const errors = secrets.filter(({ did }) => did !== 'busy').flatMap(({ error, problem }) => error ?? problem ?? []);
  const what = secrets.length === 0 ? stdout : JSON.stringify(errors);
  return { busy, wrong: `exit ${String(code)}: ${what}${stderr}` };
}

/** `keyturn run` over and over, until it is told to stop. */
async function runAgainAndAgain(world: World, goesOn: () => boolean): Promise<readonly Life[]> {
  const lives: Life[] = [];
  while (goesOn()) {
    const from = performance.now();
    const done = await world.run(['run', '--json'], { longestMs: patienceMs });
    lives.push({ ms: performance.now() - from, ...outcomeOf(done) });
  }
  return lives;
}

/** The longest that one call of a process to journal, leases, store or usage log took while all others are at it, ms. */
async function longestWait(world: World): Promise<{ readonly ms: number; readonly what: string }> {
  const told = await world.run(['run', '--verbose'], { longestMs: patienceMs, env: { KEYTURN_LOG: 'json' } });
  const calls = told.stderr
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { readonly message?: string; readonly ms?: number })
    .filter(({ message }) => /^(?:journal|lease|store|usage)/.test(message ?? ''));
  expect(calls.length).toBeGreaterThan(secretCount);
  const longest = calls.reduce((one, other) => ((other.ms ?? 0) > (one.ms ?? 0) ? other : one));
  return { ms: longest.ms ?? 0, what: longest.message ?? '' };
}

function allCompleted(world: World): boolean {
  return names.every((name) => {
    const runs = world.runs(name);
    return runs.length > 0 && runs.every(({ state }) => state === 'completed');
  });
}

describe('many processes', { timeout: patienceMs + 120_000 }, () => {
  it(`${String(processCount)} at a time that run over ${String(secretCount)} due secrets rotate each once (I1 I2 I3)`, async ({
    onTestFinished,
  }) => {
    const world = await openDue(onTestFinished);
    const receiver = await world.startReceiver(names);
    for (const name of busyNames) world.hook(name).send(2, `${receiver.url}/${name}`);
    await Promise.all(busyNames.map((name) => world.moreDeliveries(1, name)));

    const startedAt = performance.now();
    const delivered = new Map<string, number>();
    const state = { isOver: false, completedMs: 0 };
    const goesOn = (): boolean => !state.isOver;
    const watching = (async () => {
      while (performance.now() - startedAt < patienceMs) {
        await new Promise((resolve) => setTimeout(resolve, 500));
        await deliverOnce(world, receiver, delivered);
        if (delivered.size < secretCount - busyNames.length || !allCompleted(world)) continue;
        state.completedMs ||= performance.now() - startedAt;
        if (performance.now() - startedAt >= enduranceMs) break;
      }
    })().finally(() => {
      state.isOver = true;
    });
    const sampled = longestWait(world);
    const all = await Promise.all([
      ...Array.from({ length: processCount }, async () => runAgainAndAgain(world, goesOn)),
      watching.then(() => []),
    ]);
    const lives = all.flat();
    const wait = await sampled;

    const refused = Object.entries(world.upstream.hooks()).flatMap(([, { traffic }]) =>
      Object.entries(traffic.refusals),
    );
    const calls = names.reduce((sum, name) => sum + world.hook(name).calls.length, 0);
    const summary = [
      `${String(names.filter((name) => world.runs(name).length === 1).length)} rotations in ${seconds(state.completedMs)}`,
      `${String(calls)} calls to the upstream`,
      `${String(lives.length)} processes, ${String(processCount)} at a time, for ${seconds(performance.now() - startedAt)}`,
      `longest ${seconds(Math.max(...lives.map(({ ms }) => ms)))}`,
      `${String(lives.reduce((sum, { busy }) => sum + busy, 0))} secrets left to another process`,
      `longest single wait of one process ${String(Math.round(wait.ms))}ms (${wait.what})`,
      `${String(busyNames.reduce((sum, name) => sum + world.hook(name).traffic.deliveries, delivered.size))} deliveries, ${String(refused.length)} refused`,
    ];
    process.stdout.write(`\nMany processes: ${summary.join('; ')}\n\n`);

    for (const wrong of new Set(lives.map((life) => life.wrong.slice(0, 300))))
      if (wrong !== '') process.stdout.write(`${wrong}\n`);
    for (const name of names) {
      expect(world.runs(name), name).toMatchObject([{ state: 'completed' }]);
      const told = world.hook(name).calls;
      expect(told, name).toHaveLength(2);
      expect(new Set(told.map(({ value }) => value)).size, name).toBe(1);
      expect(world.keyring(name), name).toMatchObject({
        versions: [{ stage: 'revoked' }, { stage: 'primary', value: told[0]?.value }],
      });
      expect(world.keyring(name).claim, name).toBeUndefined();
    }
    expect(lives.map(({ wrong }) => wrong).filter((wrong) => wrong !== '')).toEqual([]);
    expect(refused).toEqual([]);
    expect([...delivered.values()].filter((status) => status !== 200)).toEqual([]);
    // On a machine with other work it has the wait for the processor in it; that nobody gave up a lock is seen above.
    if (isLong) expect(wait.ms).toBeLessThan(leaseMs);
    expect(world.traces()).toEqual([]);
  });

  it.concurrent.for([
    ['one that follows learns that the run has ended', ['rotate', 'hook', '--wait'], 0],
    ['one that does not has lost its lease', ['rotate', 'hook'], 6],
  ] as const)(
    'one that is stopped right before its call for longer than its lease, while another finishes, never makes it; %s (I1 I3 I5)',
    async ([, args, code], { onTestFinished }) => {
      const world = await World.open(onTestFinished, { hook: { timeout: '5s' } });
      const { old, receiver } = await world.begin();
      const hook = world.hook();
      if (code !== 0) {
        expect(await world.run(['rotate', 'hook'])).toMatchObject({ code: 0 });
        await until('the receiver holds both', async () => (await world.status()).receivers[0]?.holds.length === 2);
      }
      // In a group of its own: a stopped process in one that is orphaned would be hung up by the system.
      const paused = world.startStruckAt('activate-started:after', 'stop', args, { ownGroup: true });
      await until('it is about to call', () => world.events().includes('activate-started'));
      expect(hook.calls).toEqual([]);

      expect(await world.run(['rotate', 'hook', '--wait'])).toMatchObject({ code: 0 });
      expect(hook.calls).toHaveLength(2);
      const { revision, versions } = world.keyring();
      expect(versions.map(({ stage }) => stage)).toEqual(['revoked', 'primary']);
      await until('the old value is refused', async () => (await deliver(receiver.url, old)) === 401);

      paused.kill('SIGCONT');
      const woken = await paused.finished;
      expect(woken.code, woken.all).toBe(code);
      expect(woken.all).toMatch(code === 0 ? /^hook: rotated in /m : /^keyturn: .*lease/m);
      expect(hook.calls).toHaveLength(2);
      expect(world.keyring().revision).toBe(revision);
      expect(world.runs()).toMatchObject([{ state: 'completed' }]);
      await world.moreDeliveries(5);
      expect(world.refusals()).toEqual({});
      expect(world.leaks()).toEqual([]);
      expect(world.traces()).toEqual([]);
    },
  );
});

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)}s`;
}
