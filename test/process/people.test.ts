import { chmodSync, chownSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finished, Later } from './support/processes.ts';
import { deliver } from './support/sender.ts';
import { until } from './support/until.ts';
import { answers } from './support/upstream.ts';
import { eventLines, type Receiver, type SecretOptions, type SecretStatus, World } from './support/world.ts';

const hourMs = 3_600_000;

/** As `history` tells it. */
interface Move {
  readonly kind: string;
  readonly step: string;
  readonly check: string | null;
  readonly who: string;
  readonly why: string | null;
  readonly at: string;
}

const me = `${userInfo().username}@${hostname()}`;

/** A window that opens in half a year. */
const farWindow = { cron: `0 0 1 ${String(((new Date().getUTCMonth() + 6) % 12) + 1)} *`, duration: '1h' };

const secrets = {
  'abort-deploy': { receivers: { expect: 2 } },
  'abort-update': {},
  'abort-monitor': { gates: { quiet: '2s' } },
  holding: {},
  accepting: { receivers: { expect: 2 } },
  'deny-switch': { more: { approvals: 1 } },
  'deny-revoke': { more: { approvals: 1 } },
  window: { more: { cutover: farWindow } },
  dark: {},
} as const satisfies Readonly<Record<string, SecretOptions>>;

type Name = keyof typeof secrets;

async function movesOf(world: World, name: string): Promise<readonly Move[]> {
  const { stdout } = await world.run(['history', name, '--json']);
  const { secrets: told } = JSON.parse(stdout) as {
    readonly secrets: readonly { readonly runs: readonly { readonly moves: readonly Move[] }[] }[];
  };
  const moves = told[0]?.runs[0]?.moves ?? [];
  for (const { at } of moves) expect(Math.abs(Date.now() - Date.parse(at))).toBeLessThan(hourMs);
  return moves;
}

/** A secret in use by a receiver, with signed deliveries all the time. */
async function begin(world: World, receiver: Receiver, name: string): Promise<string> {
  const old = await world.adopt(name);
  await until(`the receiver has ${name}`, async () => (await deliver(`${receiver.url}/${name}`, old)) === 200);
  world.hook(name).send(10, `${receiver.url}/${name}`);
  await world.moreDeliveries(2, name);
  return old;
}

/** Drives the run once, and again, until that is so. */
async function driveUntil(
  world: World,
  name: string,
  what: string,
  is: (status: SecretStatus) => boolean,
): Promise<SecretStatus> {
  const seen: string[] = [];
  return until(
    `${name}: ${what}`,
    async () => {
      await world.run(['run', name]);
      const status = await world.status(name);
      seen.push(`${String(status.run?.step)}: ${failing(status).join(', ')}`);
      return is(status) ? status : null;
    },
    { everyMs: 100 },
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}; it waited for ${seen.slice(-3).join(' | ')}`);
  });
}

function failing({ run }: SecretStatus): readonly string[] {
  return (run?.checks ?? []).filter(({ ok }) => !ok).map(({ name }) => name);
}

function stages(world: World, name: string): readonly string[] {
  return world.keyring(name).versions.map(({ stage }) => stage);
}

function expectOk(done: Finished): void {
  expect(done, done.all).toMatchObject({ code: 0, stderr: '' });
}

describe('what people tell a run, under traffic', { timeout: 240_000 }, () => {
  const closers: Parameters<Later>[0][] = [];
  let world: World;
  let receiver: Receiver;

  beforeAll(async () => {
    world = await World.open((stop) => closers.push(stop), secrets);
    receiver = await world.startReceiver(Object.keys(secrets));
    const blackouts = [{ from: moment(-hourMs), until: moment(hourMs), reason: 'the fair' }];
    world.writePolicy({ secrets: { dark: { rotateEvery: '1s' } }, more: { blackouts } }, 'dark.json');
  }, 120_000);

  afterAll(async () => {
    for (const close of closers.reverse()) await close();
  });

  async function untouched(name: Name, old: string): Promise<void> {
    expect(world.hook(name).signingValue).toBe(old);
    await world.moreDeliveries(3, name);
    expect(world.refusals(name)).toEqual({});
  }

  it.concurrent('abort in deploy: everything is as it was (I1 I2)', async () => {
    const name = 'abort-deploy';
    const old = await begin(world, receiver, name);
    expect(await world.run(['rotate', name])).toMatchObject({ code: 0 });
    expect(stages(world, name)).toEqual(['primary', 'pending']);
    const aborted = await world.run(['abort', name, '--reason', 'not today']);
    expectOk(aborted);
    expect(aborted.stdout).toMatch(/^abort-deploy: Aborted before the switch/);
    expect(stages(world, name)).toEqual(['primary', 'revoked']);
    expect(world.hook(name).calls).toEqual([]);
    await untouched(name, old);
    expect(await movesOf(world, name)).toMatchObject([{ kind: 'abort', step: 'deploy', who: me, why: 'not today' }]);
  });

  it.concurrent('abort in update, where the upstream refuses: everything is as it was (I1 I2)', async () => {
    const name = 'abort-update';
    const old = await begin(world, receiver, name);
    world.hook(name).react(answers(422));
    expect(await world.run(['rotate', name, '--wait'])).toMatchObject({ code: 1 });
    expect((await world.status(name)).run).toMatchObject({ step: 'update' });
    expectOk(await world.run(['abort', name, '--reason', 'it will not have it']));
    expect(stages(world, name)).toEqual(['primary', 'revoked']);
    await untouched(name, old);
    expect(await movesOf(world, name)).toMatchObject([{ kind: 'abort', step: 'update', why: 'it will not have it' }]);
  });

  it.concurrent(
    'abort in monitor: the upstream is told the old value again, and nothing is refused (I1 I2)',
    async () => {
      const name = 'abort-monitor';
      const old = await begin(world, receiver, name);
      await world.killIn('monitor', name);
      const pushed = world.hook(name).signingValue ?? '';
      expect(pushed).not.toBe(old);
      const aborted = await world.run(['abort', name, '--reason', 'the new one is not liked']);
      expectOk(aborted);
      expect(aborted.stdout).toMatch(/on its way back/);
      expect(stages(world, name)).toEqual(['primary', 'deprecated']);
      const done = await world.run(['rotate', name, '--wait', '--json']);
      expectOk(done);
      expect(eventLines(done.stdout).at(-1)).toMatchObject({ event: 'ended', outcome: 'aborted' });
      expect(stages(world, name)).toEqual(['primary', 'revoked']);
      await untouched(name, old);
      await until('the new value is refused', async () => (await deliver(`${receiver.url}/${name}`, pushed)) === 401);
      expect(await movesOf(world, name)).toMatchObject([{ kind: 'abort', step: 'monitor', who: me }]);
    },
  );

  it.concurrent('hold stops at either gate, however ready it is, until unhold (I1 I2)', async () => {
    const name = 'holding';
    await begin(world, receiver, name);
    expect(await world.run(['rotate', name])).toMatchObject({ code: 0 });
    expectOk(await world.run(['hold', name, '--reason', 'lunch']));
    await driveUntil(world, name, 'only the hold is left in deploy', (status) => failing(status).join() === 'held');
    expect(world.hook(name).calls).toEqual([]);
    const held = await world.run(['rotate', name, '--wait']);
    expect(held).toMatchObject({ code: 5 });
    expect(held.stdout).toContain(`${me} holds the run`);
    expect(await world.run(['run', name])).toMatchObject({ code: 5 });

    expectOk(await world.run(['unhold', name, '--reason', 'back']));
    await world.killIn('monitor', name);
    expectOk(await world.run(['hold', name, '--reason', 'tea']));
    await driveUntil(world, name, 'only the hold is left in monitor', (status) => failing(status).join() === 'held');
    expect(stages(world, name)).toEqual(['deprecated', 'primary']);
    expectOk(await world.run(['unhold', name, '--reason', 'finish it']));
    expect(await world.run(['rotate', name, '--wait'])).toMatchObject({ code: 0 });
    expect(stages(world, name)).toEqual(['revoked', 'primary']);
    expect(world.refusals(name)).toEqual({});
    expect(await movesOf(world, name)).toMatchObject([
      { kind: 'hold', step: 'deploy', who: me, why: 'lunch' },
      { kind: 'unhold', step: 'deploy', who: me, why: 'back' },
      { kind: 'hold', step: 'monitor', who: me, why: 'tea' },
      { kind: 'unhold', step: 'monitor', who: me, why: 'finish it' },
    ]);
  });

  it.concurrent('unhold --accept overrules one check of one gate, and of that gate alone (I1 I2)', async () => {
    const name = 'accepting';
    await begin(world, receiver, name);
    expect(await world.run(['rotate', name])).toMatchObject({ code: 0 });
    const inDeploy = await driveUntil(world, name, 'only the roster is left', (it) => failing(it).join() === 'roster');
    expect(inDeploy.run?.step).toBe('deploy');
    expectOk(await world.run(['unhold', name, '--accept', 'roster', '--reason', 'the second is gone']));
    const inMonitor = await driveUntil(
      world,
      name,
      // A pool that is short has a gap in its reports too.
      'the roster is left again',
      (it) => it.run?.step === 'monitor' && failing(it).join() === 'roster,coverage',
    );
    expect(inMonitor.run?.checks.find((each) => each.name === 'old-quiet')).toMatchObject({ ok: true });
    expect(stages(world, name)).toEqual(['deprecated', 'primary']);
    for (const check of ['roster', 'coverage']) {
      expectOk(await world.run(['unhold', name, '--accept', check, '--reason', 'still gone']));
    }
    expect(await world.run(['rotate', name, '--wait'])).toMatchObject({ code: 0 });
    expect(stages(world, name)).toEqual(['revoked', 'primary']);
    expect(world.refusals(name)).toEqual({});
    expect(await movesOf(world, name)).toMatchObject([
      { kind: 'accept', step: 'deploy', check: 'roster', who: me, why: 'the second is gone' },
      { kind: 'accept', step: 'monitor', check: 'roster', who: me, why: 'still gone' },
      { kind: 'accept', step: 'monitor', check: 'coverage', who: me, why: 'still gone' },
    ]);
  });

  it.concurrent('deny before the switch ends the run (I1 I2)', async () => {
    const name = 'deny-switch';
    const old = await begin(world, receiver, name);
    expect(await world.run(['rotate', name])).toMatchObject({ code: 0 });
    expectOk(await world.run(['deny', name, '--reason', 'not in the season']));
    expect(await world.run(['run', name])).toMatchObject({ code: 0 });
    expect(world.runs(name)).toMatchObject([{ state: 'aborted' }]);
    expect(world.hook(name).calls).toEqual([]);
    await untouched(name, old);
    expect(await movesOf(world, name)).toMatchObject([{ kind: 'deny', who: me, why: 'not in the season' }]);
  });

  it.concurrent(
    'deny before the revocation holds the run with both accepted, until somebody approves (I1 I2)',
    async () => {
      const name = 'deny-revoke';
      const old = await begin(world, receiver, name);
      expect(await world.run(['rotate', name])).toMatchObject({ code: 0 });
      await driveUntil(world, name, 'it waits for approval', (status) => failing(status).join() === 'approvals');
      expectOk(await world.run(['approve', name, '--reason', 'go']));
      await driveUntil(
        world,
        name,
        'it waits for approval again',
        (status) => status.run?.step === 'monitor' && failing(status).join() === 'approvals',
      );
      expectOk(await world.run(['deny', name, '--reason', 'a partner is late']));
      const held = await world.run(['rotate', name]);
      expect(held).toMatchObject({ code: 5 });
      expect(held.stdout).toContain('a partner is late');
      expect(await deliver(`${receiver.url}/${name}`, old)).toBe(200);
      expectOk(await world.run(['unhold', name, '--reason', 'they are ready']));
      expectOk(await world.run(['approve', name, '--reason', 'go']));
      expect(await world.run(['rotate', name, '--wait'])).toMatchObject({ code: 0 });
      expect(stages(world, name)).toEqual(['revoked', 'primary']);
      expect(world.refusals(name)).toEqual({});
      const moves = await movesOf(world, name);
      expect(moves.map(({ kind, step }) => `${kind} ${step}`)).toEqual([
        'approve deploy',
        'deny monitor',
        'unhold monitor',
        'approve monitor',
      ]);
      const words = await world.run(['history', name]);
      expect(words.stdout).toMatch(/A person denied it: a partner is late {2}\(\S+@\S+\)/);
    },
  );

  it.concurrent('a closed cutover window is waited for, and it says until when (I1)', async () => {
    const name = 'window';
    const old = await begin(world, receiver, name);
    expect(await world.run(['rotate', name])).toMatchObject({ code: 0 });
    await driveUntil(world, name, 'only the window is left', (status) => failing(status).join() === 'cutover');
    const late = await world.run(['rotate', name, '--wait=500ms', '--json']);
    expect(late).toMatchObject({ code: 3 });
    const { waitingFor } = eventLines(late.stdout).at(-1) ?? {};
    expect(waitingFor).toMatchObject({ kind: 'time' });
    const opensAt = Date.parse(waitingFor?.until ?? '');
    expect(opensAt).toBeGreaterThan(Date.now() + 24 * hourMs);
    expect(new Date(opensAt)).toMatchObject({});
    expect(new Date(opensAt).getUTCDate()).toBe(1);
    expect(world.hook(name).calls).toEqual([]);
    await untouched(name, old);
  });

  it.concurrent(
    'in a blackout nothing is started by schedule, and what is started by hand waits for its end (I1)',
    async () => {
      const name = 'dark';
      const old = await begin(world, receiver, name);
      const policy = 'dark.json';
      await until('it would be due', () => Date.now() > Date.parse(adoptedAt(name)) + 1_500);
      expect(await world.run(['run'], { policy })).toMatchObject({ code: 0 });
      expect(world.runs(name)).toEqual([]);
      expect(await world.run(['rotate', name], { policy })).toMatchObject({ code: 0 });
      await driveUntil(world, name, 'only the blackout is left', (status) => failing(status).join() === 'blackout');
      const { run } = await world.status(name);
      expect(run?.checks.find((each) => each.name === 'blackout')?.message).toContain('the fair');
      expect(run?.waitingFor).toMatchObject({ kind: 'time' });
      expect(world.hook(name).calls).toEqual([]);
      await untouched(name, old);
    },
  );

  function adoptedAt(name: string): string {
    return (world.keyring(name).versions[0] as { readonly createdAt?: string } | undefined)?.createdAt ?? '';
  }
});

function moment(fromNowMs: number): string {
  return new Date(Math.floor((Date.now() + fromNowMs) / 1_000) * 1_000).toISOString().replace('.000Z', 'Z');
}

const isRoot = process.getuid?.() === 0;

describe('several people', { timeout: 240_000 }, () => {
  it.skipIf(!isRoot)(
    `two approvals are two people${isRoot ? '' : ' (skipped: only root can be a second one here)'} (I1 I2)`,
    async ({ onTestFinished }) => {
      // The files are one user's; root may use them too, and is somebody else.
      const uid = 65_534;
      const world = await World.open(onTestFinished, { hook: { more: { approvals: 2 } } });
      chmodSync(world.folder, 0o755);
      chownSync(world.folder, uid, uid);
      const value = 'adopted/+=%&-4d7a1c9e0b52';
      expectOk(await world.run(['adopt', 'hook', '--stdin'], { input: value, uid }));
      world.hook().signWith(value);
      const receiver = await world.startReceiver(['hook'], { uid });
      world.hook().send(20, `${receiver.url}/hook`);
      await world.moreDeliveries(3);
      expect(await world.run(['rotate', 'hook'], { uid })).toMatchObject({ code: 0 });

      for (const step of ['deploy', 'monitor']) {
        const waiting = await until(`it waits in ${step} for approvals alone`, async () => {
          const { stdout } = await world.run(['rotate', 'hook', '--wait=300ms', '--json'], { uid });
          const last = eventLines(stdout).at(-1);
          return last?.step === step && last.outcome === 'needs-person' ? last : null;
        });
        expect(waiting.waitingFor).toMatchObject({ kind: 'person' });
        for (const why of ['looked at it', 'looked at it again']) {
          expectOk(await world.run(['approve', 'hook', '--reason', why], { uid }));
        }
        const still = await world.run(['rotate', 'hook', '--wait'], { uid });
        expect(still).toMatchObject({ code: 4 });
        expect(still.stdout).toContain('1 of 2 people have approved');
        expectOk(await world.run(['approve', 'hook', '--reason', 'so did I']));
        if (step === 'deploy') expect(await world.run(['rotate', 'hook'], { uid })).toMatchObject({ code: 0 });
      }
      expect(await world.run(['rotate', 'hook', '--wait'], { uid })).toMatchObject({ code: 0 });
      const approvers = (await movesOf(world, 'hook')).map(({ step, who }) => `${step} ${who}`);
      expect(new Set(approvers).size).toBe(4);
      expect(world.refusals()).toEqual({});
    },
  );
});

describe('environments and tenants', { timeout: 240_000 }, () => {
  it('each address has its own value and its own run; two secrets of one upstream rotate side by side (I1 I2)', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    const each = (name: string): SecretOptions => ({
      url: `${world.upstream.url}/{{environment}}/{{tenant}}/${name}`,
      more: { tenants: ['acme', 'globex'] },
    });
    world.writePolicy({
      secrets: { app: each('app'), verify: each('verify') },
      more: { environments: { sandbox: {}, production: {} } },
    });
    const addresses = ['sandbox', 'production'].flatMap((environment) =>
      ['acme', 'globex'].flatMap((tenant) => ['app', 'verify'].map((name) => `${environment}/${tenant}/${name}`)),
    );
    const receiver = await world.startReceiver(addresses);
    const olds = await Promise.all(addresses.map((address) => begin(world, receiver, address)));

    const wanted = ['app', 'verify'];
    const done = await Promise.all([
      world.run(['rotate', 'app', '--env', 'sandbox', '--tenant', 'acme', '--wait']),
      world.run(['rotate', 'acme/verify', '--env', 'sandbox', '--wait']),
    ]);
    for (const one of done) expect(one, one.all).toMatchObject({ code: 0 });
    const rotated = wanted.map((name) => `sandbox/acme/${name}`);
    for (const [index, address] of addresses.entries()) {
      const isRotated = rotated.includes(address);
      expect(world.runs(address), address).toHaveLength(isRotated ? 1 : 0);
      expect(stages(world, address), address).toEqual(isRotated ? ['revoked', 'primary'] : ['primary']);
      expect(world.hook(address).calls, address).toHaveLength(isRotated ? 2 : 0);
      expect(world.hook(address).signingValue === olds[index], address).toBe(!isRotated);
      await world.moreDeliveries(2, address);
      expect(world.refusals(address), address).toEqual({});
    }
    const runs = rotated.map((address) => world.runs(address)[0]?.id);
    expect(new Set(runs).size).toBe(2);
    const values = rotated.map((address) => world.hook(address).signingValue);
    expect(new Set(values).size).toBe(2);
    expect(world.leaks()).toEqual([]);
  });
});
