import { expect } from 'vitest';
import type { Later } from './processes.ts';
import { deliver } from './sender.ts';
import type { StoreWorld } from './store-worlds.ts';
import { until } from './until.ts';
import { eventLines, type KeyringFile, World } from './world.ts';

export interface StoreRotation {
  readonly deliveries: number;
  readonly refusals: Readonly<Record<string, number>>;
  readonly outageMs: number;
}

interface Begun {
  readonly world: World;
  readonly old: string;
  readonly urls: readonly string[];
}

const outageMs = 60_000;

/** What makes an SDK tell of every request and answer. */
const loud = { GOOGLE_SDK_NODE_LOGGING: 'all' };

/** A value in use, two receivers with the rights of receivers alone, and traffic; a policy for each journal. */
async function beginOn(on: StoreWorld, later: Later, journals: readonly string[]): Promise<Begun> {
  const world = await World.open(later);
  const hook = {
    receivers: { expect: 2 },
    gates: { grace: '4s', quiet: '2s' },
    more: { store: 'live', mirror: [{ key: 'apps/hook', property: 'secret', format: 'plain' }] },
  };
  const more = { stores: { live: on.store } };
  world.writePolicy({ secrets: { hook }, more });
  for (const journal of journals) world.writePolicy({ secrets: { hook }, more, journal }, policyFor(journal));
  const old = 'adopted/+=%&-hook-4d7a1c9e0b52';
  const adopted = await world.run(['adopt', 'hook', '--stdin'], {
    input: old,
    env: { ...loud, ...on.orchestratorEnv },
  });
  expect(adopted, adopted.all).toMatchObject({ code: 0 });
  world.hook().signWith(old);
  const { url: node } = await world.startReceiver('node', { env: { ...loud, ...on.receiverEnv } });
  const { url: express } = await world.startReceiver('express', { env: { ...loud, ...on.receiverEnv } });
  world.hook().send(20, node, express);
  await world.moreDeliveries(20);
  return { world, old, urls: [node, express] };
}

/** Adopts a value, then rotates it under traffic. In the middle the store is out of reach for a minute, and comes back. */
export async function rotateOn(on: StoreWorld, later: Later): Promise<StoreRotation> {
  const { world, old, urls } = await beginOn(on, later, []);
  const rotating = world.start(['rotate', 'hook', '--wait', '--json'], { env: { ...loud, ...on.orchestratorEnv } });
  await until('the old value is being watched', () => rotating.stdout().includes('"step":"monitor"'), {
    timeoutMs: 60_000,
  });
  await until(
    'a plain client reads the primary as the copy',
    async () => (await on.plainText('apps/hook', 'secret')) === world.hook().signingValue,
  );
  const from = performance.now();
  on.network.disturb('refuse');
  await until('a minute has passed', () => performance.now() - from >= outageMs, { timeoutMs: 2 * outageMs });
  for (const url of urls) expect(await deliver(url, 'nobody/has+this'), 'who cannot look says so').toBe(503);
  const lasted = performance.now() - from;
  await on.network.calm();
  const rotated = await rotating.finished;
  expect(rotated, rotated.all).toMatchObject({ code: 0 });
  expect(rotated.all, 'what an SDK tells of its requests').not.toMatch(/SecretVersion (?:request|response)/);
  expect(eventLines(rotated.stdout).at(-1)).toMatchObject({ event: 'ended', outcome: 'completed' });
  await world.moreDeliveries(30);
  await expectRotated(on, world, { old, urls });
  return { deliveries: world.hook().traffic.deliveries, refusals: world.refusals(), outageMs: lasted };
}

/** Two that know nothing of each other begin it at once: one rotates, the other is told whose it is. */
export async function raceOn(on: StoreWorld, later: Later): Promise<void> {
  const journals = ['.keyturn/one.db', '.keyturn/other.db'];
  const begun = await beginOn(on, later, journals);
  const { world } = begun;
  const ended = await Promise.all(
    journals.map((journal) =>
      world.run(['rotate', 'hook', '--wait', '--json'], {
        env: { ...loud, ...on.orchestratorEnv },
        policy: policyFor(journal),
      }),
    ),
  );
  const codes = ended.map(({ code }) => code).toSorted();
  expect(codes, ended.map(({ all }) => all).join('\n')).toEqual([0, 5]);
  expect(ended.find(({ code }) => code === 5)?.all).toContain('foreign-claim');
  await world.moreDeliveries(20);
  await expectRotated(on, world, begun);
  expect(world.refusals()).toEqual({});
}

/** Once, and everybody knows it. */
async function expectRotated(on: StoreWorld, world: World, { old, urls }: Omit<Begun, 'world'>): Promise<void> {
  const now = world.hook().signingValue;
  const { versions, claim } = JSON.parse(await on.keyringText('hook')) as KeyringFile;
  expect(versions.map(({ stage }) => stage)).toEqual(['revoked', 'primary']);
  expect([versions[1]?.value, claim]).toEqual([now, undefined]);
  expect(await on.plainText('apps/hook', 'secret')).toBe(now);
  for (const url of urls) {
    await until('the old value is refused', async () => (await deliver(url, old)) === 401);
    expect(await deliver(url, now ?? '')).toBe(200);
  }
  expect(world.leaks()).toEqual([]);
  expect(world.traces()).toEqual([]);
}

function policyFor(journal: string): string {
  return `policy-${journal.replace(/\W/g, '-')}.json`;
}
