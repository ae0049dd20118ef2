import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Later } from './support/processes.ts';
import { deliver } from './support/sender.ts';
import { until, untilItSays } from './support/until.ts';
import { eventLines, type Receiver, World } from './support/world.ts';

const held = ['before-it-takes', 'after-it-took', 'while-it-answers-late', 'reassert-held'];
const waits = ['in-deploy', 'in-monitor'];
const names = [...held, ...waits];

describe('kill -9 of the command line', { timeout: 240_000 }, () => {
  const closers: Parameters<Later>[0][] = [];
  let world: World;
  let receiver: Receiver;

  /** Everything that must be true when a rotation that was killed has been run again. */
  async function expectWhole(name: string, old: string): Promise<void> {
    const again = await world.run(['rotate', name, '--wait', '--json']);
    expect(again).toMatchObject({ code: 0, stderr: '' });
    expect(eventLines(again.stdout).at(-1)).toMatchObject({ event: 'ended', outcome: 'completed' });
    expect(world.keyring(name).versions.map(({ stage }) => stage)).toEqual(['revoked', 'primary']);
    expect(world.keyring(name).claim).toBeUndefined();
    await until('the old value is refused', async () => (await deliver(`${receiver.url}/${name}`, old)) === 401);
    await world.moreDeliveries(5, name);
    expect(world.refusals(name)).toEqual({});
    expect(new Set(world.hook(name).calls.map(({ value }) => value)).size, 'values that were pushed').toBe(1);
  }

  async function begin(name: string): Promise<string> {
    const old = await world.adopt(name);
    await until(`the receiver has ${name}`, async () => (await deliver(`${receiver.url}/${name}`, old)) === 200);
    world.hook(name).send(10, `${receiver.url}/${name}`);
    await world.moreDeliveries(3, name);
    return old;
  }

  beforeAll(async () => {
    world = await World.open(
      (stop) => closers.push(stop),
      Object.fromEntries(names.map((name) => [name, { timeout: '2s' }])),
    );
    receiver = await world.startReceiver(names);
  });

  afterAll(async () => {
    for (const close of closers.reverse()) await close();
  });

  it.concurrent.for([
    ['before it takes the value', 'before-it-takes', 'never'],
    ['after it took the value', 'after-it-took', 'at once'],
    ['and it takes the value when nobody listens any more', 'while-it-answers-late', 'when released'],
  ] as const)(
    'while the upstream holds the call, %s: nothing is sent before the deadline of that call (I1 I5)',
    async ([, name, takes]) => {
      const old = await begin(name);
      const hook = world.hook(name);
      hook.reactOnce({ kind: 'hold', takes });
      const first = world.start(['rotate', name, '--wait']);
      const [call] = await until('the upstream is called', () => (hook.calls.length > 0 ? hook.calls : null));
      first.kill('SIGKILL');
      await first.finished;
      await until('the upstream notices', () => call?.wasLeft);
      call?.release();
      const deadline = Date.parse(world.keyring(name).claim?.deadline ?? '');
      const [intent] = world.intents(name).filter(({ effect }) => effect === 'activate');
      expect(deadline, 'the claim has the deadline of the call').toBe(intent?.deadline);
      await expectWhole(name, old);
      for (const { at } of hook.calls.slice(1)) expect(at).toBeGreaterThanOrEqual(deadline);
      expect(world.runs(name)).toMatchObject([{ state: 'completed' }]);
    },
  );

  it.concurrent('while the upstream holds the call that asserts the value again: the same holds (I2 I5)', async () => {
    const name = 'reassert-held';
    const old = await begin(name);
    const hook = world.hook(name);
    hook.reactOnce({ kind: 'answer', status: 200, takes: true }, { kind: 'hold', takes: 'at once' });
    const first = world.start(['rotate', name, '--wait']);
    await until('the upstream is called twice', () => hook.calls.length === 2);
    first.kill('SIGKILL');
    await first.finished;
    hook.calls[1]?.release();
    const deadline = Date.parse(world.keyring(name).claim?.deadline ?? '');
    await expectWhole(name, old);
    for (const { at } of hook.calls.slice(2)) expect(at).toBeGreaterThanOrEqual(deadline);
    expect(world.runs(name)).toMatchObject([{ state: 'completed' }]);
  });

  it.concurrent('while it waits for receivers: running it again finishes the same run (I3 I5)', async () => {
    const name = 'in-deploy';
    const old = await begin(name);
    await world.killIn('deploy', name);
    await expectWhole(name, old);
    expect(world.runs(name)).toMatchObject([{ state: 'completed' }]);
  });

  it.concurrent('while it waits for the old value to fall quiet: running it again finishes (I2 I3 I5)', async () => {
    const name = 'in-monitor';
    const old = await begin(name);
    await world.killIn('monitor', name);
    expect(world.keyring(name).versions.map(({ stage }) => stage)).toEqual(['deprecated', 'primary']);
    await expectWhole(name, old);
    expect(world.runs(name)).toMatchObject([{ state: 'completed' }]);
  });
});

it(
  'no value is left anywhere by a process that was killed while it wrote (I7)',
  { timeout: 240_000 },
  async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    await world.begin();
    for (const place of [
      'generate-started:after',
      'generate-done:before',
      'promote-done:before',
      'revoke-done:before',
    ]) {
      expect(await world.runStruckAt(place, 'kill', ['rotate', 'hook', '--wait'])).toMatchObject({ signal: 'SIGKILL' });
    }
    expect(await world.run(['rotate', 'hook', '--wait'])).toMatchObject({ code: 0 });
    expect(world.runs()).toMatchObject([{ state: 'completed' }]);
    expect(world.refusals()).toEqual({});
    expect(world.leaks()).toEqual([]);
  },
);

it.each([
  { step: 'monitor', when: 'after a wait' },
  { step: 'revoke', when: 'at once' },
])('says that the journal does not take what it is to note, $when', async ({ step }) => {
  const world = await World.open(onTestFinished);
  await world.begin();
  await world.killIn(step);
  const following = world.startStruckAt('revoke-started:after', 'full', ['rotate', 'hook', '--wait']);
  await untilItSays(following, /waits for journal: .*journal.*(?:room|full)/i);
  following.kill('SIGINT');
  expect(await following.finished).toMatchObject({ code: 130 });
  expect(await world.run(['rotate', 'hook', '--wait'])).toMatchObject({ code: 0 });
  expect(world.refusals()).toEqual({});
});
