import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeOn } from '../servers/describe.ts';
import { openBao, type Bao } from './support/bao.ts';
import { describeOnEach } from './support/describe-stores.ts';
import type { Finished, Later } from './support/processes.ts';
import { deliver } from './support/sender.ts';
import { until } from './support/until.ts';
import { type KeyringFile, replaceFile, World } from './support/world.ts';

const there = ['--from', 'local', '--to', 'other'] as const;

/** A world whose secret is in the store `local`, and a second store `other`. */
async function open(later: Later, other: object, more: object = {}): Promise<World> {
  const world = await World.open(later);
  writePolicies(world, other, more);
  return world;
}

/** `rotation-policy.json` has the secret in the one, `switched.json` in the other. */
function writePolicies(world: World, other: object, more: object): void {
  const secrets = (store: string): Parameters<World['writePolicy']>[0]['secrets'] => ({
    hook: { more: { store, ...more } },
  });
  const stores = { local: { kind: 'file', path: '.keyturn/secrets' }, other };
  world.writePolicy({ secrets: secrets('local'), more: { stores } });
  world.writePolicy({ secrets: secrets('other'), more: { stores } }, 'switched.json');
}

function switchPolicy({ folder }: World): void {
  replaceFile(join(folder, 'rotation-policy.json'), readFileSync(join(folder, 'switched.json'), 'utf8'));
}

function documentOf(done: Finished): {
  readonly secrets: readonly { readonly outcome: string; readonly revision: number }[];
} {
  return JSON.parse(done.stdout) as ReturnType<typeof documentOf>;
}

interface Options {
  readonly orchestrator?: Readonly<Record<string, string>>;
  readonly receiver?: Readonly<Record<string, string>>;
}

/** Receivers go to the new store one by one under traffic, then the orchestrator, which rotates there. Nothing is refused. */
async function moveUnderTraffic(world: World, options: Options = {}): Promise<void> {
  const env = options.orchestrator ?? {};
  const old = await world.adopt();
  const first = await world.startReceiver('node', { env: options.receiver ?? {} });
  world.hook().send(40, first.url);
  await world.moreDeliveries(10);

  const done = await world.run(['migrate', 'hook', ...there], { env });
  expect(done, done.all).toMatchObject({ code: 0 });
  expect(done.stdout).toContain('1. In the policy of every receiver');
  const held = await world.run(['rotate', 'hook'], { env });
  expect(held).toMatchObject({ code: 5 });
  expect(held.stderr).toContain('was taken from the store local to the store other');

  switchPolicy(world);
  const second = await world.startReceiver('node', { env: options.receiver ?? {} });
  world.hook().send(40, second.url);
  await world.moreDeliveries(10);
  first.process.kill('SIGTERM');
  await first.process.finished;
  const rotated = await world.run(['rotate', 'hook', '--wait=60s'], { env });
  expect(rotated, rotated.all).toMatchObject({ code: 0 });
  await world.moreDeliveries(10);
  expect(world.refusals()).toEqual({});
  const now = [...world.hook().values].at(-1) ?? '';
  await until('the old value is refused', async () => (await deliver(second.url, old)) === 401);
  expect(await deliver(second.url, now)).toBe(200);
  // What was left is as it was when it was left.
  expect(world.keyring().versions).toMatchObject([{ stage: 'primary', value: old }]);
  expect(world.keyring().claim?.run).toMatch(/^g/);
  expect(world.traces()).toEqual([]);
}

describe.concurrent('a migration between folders', { timeout: 240_000 }, () => {
  const folder = { kind: 'file', path: '.keyturn/others' };

  it('refuses no message while receivers and then the orchestrator go over (I1 I2)', async ({ onTestFinished }) => {
    const world = await open(onTestFinished, folder);
    await moveUnderTraffic(world);
    const keyring = JSON.parse(readFileSync(join(world.folder, '.keyturn/others/hook.json'), 'utf8')) as KeyringFile;
    expect(keyring.versions.map(({ stage }) => stage)).toEqual(['revoked', 'primary']);
  });

  it('is done by the same command after the process was killed, before the first write and after the last', async ({
    onTestFinished,
  }) => {
    for (const place of ['migrate:after', 'migrated:before']) {
      const world = await open(onTestFinished, folder);
      const value = await world.adopt();
      const struck = await world.runStruckAt(place, 'kill', ['migrate', 'hook', ...there]);
      expect(struck).toMatchObject({ signal: 'SIGKILL' });
      const done = await world.run(['migrate', 'hook', ...there, '--json']);
      expect(done, done.all).toMatchObject({ code: 0 });
      expect(documentOf(done).secrets).toMatchObject([{ outcome: place === 'migrate:after' ? 'migrated' : 'already' }]);
      const copied = JSON.parse(readFileSync(join(world.folder, '.keyturn/others/hook.json'), 'utf8')) as KeyringFile;
      expect([copied.versions[0]?.value, copied.claim]).toEqual([value, undefined]);
      expect(done.all).not.toContain(value);
    }
  });

  it('says with a dry run what it would do, and tells of many one by one', async ({ onTestFinished }) => {
    const world = await open(onTestFinished, folder);
    const stores = { local: { kind: 'file', path: '.keyturn/secrets' }, other: folder };
    world.writePolicy({ secrets: { hook: {}, two: {}, none: {} }, more: { stores, defaults: { store: 'local' } } });
    await world.adopt();
    await world.adopt('two');
    const dry = await world.run(['migrate', ...there, '--dry-run']);
    expect(dry, dry.all).toMatchObject({ code: 0 });
    expect(dry.stdout).toMatch(/hook: would be taken from the store local to other, with v\w+ \(primary\)\./);
    expect(world.keyring().claim).toBeUndefined();
    const done = await world.run(['migrate', ...there]);
    expect(done).toMatchObject({ code: 0 });
    expect(done.stderr.trimEnd().split('\n')).toEqual([
      '1 of 3 keyrings: hook migrated',
      '2 of 3 keyrings: two migrated',
      '3 of 3 keyrings: none has no keyring there',
    ]);
    expect(done.stdout).toContain('none: the store local has no keyring of it.');
  });
});

describeOn('openbao', 'a migration to OpenBao (covers R-21)', (server) => {
  async function openWith(
    later: Later,
    more: object = {},
  ): Promise<{ readonly world: World; readonly bao: Bao; readonly env: Readonly<Record<string, string>> }> {
    const bao = await openBao(server, later);
    return { bao, world: await open(later, bao.store, more), env: bao.orchestrator };
  }

  const keyringIn = async (bao: Bao): Promise<KeyringFile> =>
    JSON.parse(String((await bao.fields('hook'))?.['keyring'])) as KeyringFile;

  it(
    'refuses no message while receivers and then the orchestrator go over (I1 I2)',
    { timeout: 120_000 },
    async ({ onTestFinished }) => {
      const mirror = [{ key: 'apps/hook', property: 'HOOK', format: 'plain' }];
      const { world, bao } = await openWith(onTestFinished, { mirror });
      await bao.write('apps/hook', { OTHER: 'stays' });
      await moveUnderTraffic(world, bao);
      expect((await keyringIn(bao)).versions.map(({ stage }) => stage)).toEqual(['revoked', 'primary']);
      expect(await bao.fields('apps/hook')).toEqual({ OTHER: 'stays', HOOK: [...world.hook().values].at(-1) });
    },
  );

  it('goes on by the same command, whichever call of it was lost', { timeout: 240_000 }, async ({ onTestFinished }) => {
    const { world, bao, env } = await openWith(onTestFinished);
    await world.adopt();
    const { versions } = world.keyring();
    const movedBy = expect.stringMatching(/^g/) as string;
    const migrated: string[] = [];
    for (let call = 0; ; call += 1) {
      bao.network.disturb('lose-answer', [call]);
      const struck = await world.run(['migrate', 'hook', ...there], { env });
      const wasStruck = bao.network.calls > call;
      await bao.network.calm();
      const again = await world.run(['migrate', 'hook', ...there, '--json'], { env });
      expect(again, `call ${String(call)}\n${struck.all}${again.all}`).toMatchObject({ code: 0 });
      migrated.push(documentOf(again).secrets[0]?.outcome ?? '');
      const here = await keyringIn(bao);
      expect([here.versions, here.claim, world.keyring().claim?.run]).toEqual([versions, undefined, movedBy]);
      const back = await world.run(['migrate', 'hook', '--from', 'other', '--to', 'local'], { env });
      expect(back, back.all).toMatchObject({ code: 0 });
      expect([world.keyring().versions, world.keyring().claim]).toEqual([versions, undefined]);
      if (!wasStruck) break;
    }
    expect(migrated.length).toBeGreaterThan(8);
    expect(new Set(migrated)).toEqual(new Set(['migrated', 'already']));
  });

  it(
    'leaves everything as it was where it may not write there, or nobody answers',
    { timeout: 60_000 },
    async ({ onTestFinished }) => {
      const { world, bao } = await openWith(onTestFinished);
      await world.adopt();
      const before = world.keyring();
      for (const env of [bao.receiver, bao.nobody]) {
        const denied = await world.run(['migrate', 'hook', ...there], { env });
        expect(denied, denied.all).toMatchObject({ code: 1, stdout: '' });
        expect(denied.stderr).toMatch(/The keyring of hook .*Vault store/);
      }
      bao.network.disturb('refuse');
      const cut = await world.run(['migrate', 'hook', ...there], { env: bao.orchestrator });
      expect(cut).toMatchObject({ code: 1, stdout: '' });
      expect(world.keyring()).toEqual(before);
      expect(world.leaks()).toEqual([]);
      expect(world.traces()).toEqual([]);
    },
  );
});

describeOnEach('a migration (covers R-20, R-21, R-22)', (openStore) => {
  it(
    'takes the keyring there and back, and keeps every version of it',
    { timeout: 120_000 },
    async ({ onTestFinished }) => {
      const on = await openStore(onTestFinished);
      const world = await open(onTestFinished, on.store);
      await world.adopt();
      const { versions } = world.keyring();
      const env = on.orchestratorEnv;
      for (const outcome of ['migrated', 'already']) {
        const done = await world.run(['migrate', 'hook', ...there, '--json'], { env });
        expect(done, done.all).toMatchObject({ code: 0 });
        expect(documentOf(done).secrets[0]?.outcome).toBe(outcome);
        expect((JSON.parse(await on.keyringText('hook')) as KeyringFile).versions).toEqual(versions);
      }
      const back = await world.run(['migrate', 'hook', '--from', 'other', '--to', 'local'], { env });
      expect(back, back.all).toMatchObject({ code: 0 });
      expect([world.keyring().versions, world.keyring().claim]).toEqual([versions, undefined]);
      expect(world.traces()).toEqual([]);
    },
  );
});

describeOn('openbao', 'values that OpenBao has (covers R-21, R-24)', (server) => {
  const secrets = (mirror: readonly object[]): Parameters<World['writePolicy']>[0]['secrets'] => ({
    hook: { more: { store: 'other', mirror }, gates: { grace: '3s', quiet: '1s' } },
  });

  it(
    'are adopted from a plain copy there, whole or a property of it, and the copy stays',
    { timeout: 60_000 },
    async ({ onTestFinished }) => {
      const bao = await openBao(server, onTestFinished);
      const env = bao.orchestrator;
      const world = await World.open(onTestFinished);
      const two = { more: { store: 'other' } };
      world.writePolicy({ secrets: { hook: two, second: two }, more: { stores: { other: bao.store } } });
      const [value, another] = ['in-use-there-4d7a1c9e', 'in-use-there-too-5e8b2'];
      await bao.write('prod/hook', { WEBHOOK_SECRET: value, port: 1 });
      await bao.write('prod/second', { value: another });
      const cases = [
        ['hook', 'prod/hook#WEBHOOK_SECRET', value],
        ['second', 'prod/second#value', another],
      ] as const;
      for (const [secret, place, expected] of cases) {
        const done = await world.run(['adopt', secret, '--from-store', place], { env });
        expect(done, done.all).toMatchObject({ code: 0 });
        const keyring = JSON.parse(String((await bao.fields(secret))?.['keyring'])) as KeyringFile;
        expect(keyring.versions).toMatchObject([{ stage: 'primary', value: expected }]);
        expect(done.all).not.toContain(expected);
      }
      expect(await bao.fields('prod/hook')).toEqual({ WEBHOOK_SECRET: value, port: 1 });
      const missing = await world.run(['adopt', 'hook', '--from-store', 'prod/nowhere'], { env });
      expect(missing).toMatchObject({ code: 2 });
      expect(missing.stderr).toContain('There is no text at the plain copy prod/nowhere');
    },
  );

  it(
    'are mirrored after each step: whole, as a property, and as active_secrets',
    { timeout: 120_000 },
    async ({ onTestFinished }) => {
      const bao = await openBao(server, onTestFinished);
      const env = bao.orchestrator;
      const world = await World.open(onTestFinished);
      const mirror = [
        { key: 'apps/whole', format: 'plain' },
        { key: 'apps/config', property: 'HOOK', format: 'plain' },
        { key: 'apps/all', format: 'active_secrets' },
      ];
      world.writePolicy({ secrets: secrets(mirror), more: { stores: { other: bao.store } } });
      await bao.write('apps/config', { OTHER: 'stays', HOOK: 'before' });
      const old = 'adopted/+=%&-hook-4d7a1c9e0b52';
      expect(await world.run(['adopt', 'hook', '--stdin'], { input: old, env })).toMatchObject({ code: 0 });
      world.hook().signWith(old);

      /** What each reader finds: the value, the value, and every version with its status. */
      const read = async (): Promise<readonly unknown[]> => {
        const all = (await bao.fields('apps/all'))?.['hook'] as
          { readonly active_secrets: readonly Entry[] } | undefined;
        return [
          (await bao.fields('apps/whole'))?.['value'],
          await bao.fields('apps/config'),
          all?.active_secrets.map(({ status }) => status).toSorted(),
        ];
      };
      // Nobody receives: it waits before the switch.
      expect(await world.run(['rotate', 'hook'], { env })).toMatchObject({ code: 0 });
      expect(await read()).toEqual([old, { OTHER: 'stays', HOOK: old }, ['deprecated', 'primary']]);

      const receiver = await world.startReceiver('node', { env: bao.receiver });
      const rotating = world.start(['rotate', 'hook', '--wait', '--json'], { env });
      await until('it is in monitor', () => rotating.stdout().includes('"failing":["grace","new-seen"'));
      const now = [...world.hook().values].at(-1) ?? '';
      // Nothing is delivered: it waits for a proof of the switch.
      expect(await read()).toEqual([now, { OTHER: 'stays', HOOK: now }, ['deprecated', 'primary']]);

      world.hook().send(40, receiver.url);
      const rotated = await rotating.finished;
      expect(rotated, rotated.all).toMatchObject({ code: 0 });
      expect(await read()).toEqual([now, { OTHER: 'stays', HOOK: now }, ['primary']]);
      const shown = (await bao.fields('apps/all'))?.['hook'] as { readonly active_secrets: readonly Entry[] };
      expect(shown.active_secrets[0]?.value).toBe(now);
      expect(world.refusals()).toEqual({});
    },
  );
});

interface Entry {
  readonly value: string;
  readonly status: string;
}
