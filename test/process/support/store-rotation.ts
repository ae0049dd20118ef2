import { expect } from 'vitest';
import type { Network } from '../../../src/testing/stores/place.ts';
import type { Later } from './processes.ts';
import { deliver } from './sender.ts';
import { until } from './until.ts';
import { eventLines, type KeyringFile, World } from './world.ts';

/** A store for a rotation with real processes, and how to look into it past keyturn. */
export interface StoreWorld {
  /** What the policy says of it. */
  readonly store: object;
  readonly orchestratorEnv: Readonly<Record<string, string>>;
  /** With the rights of a receiver alone. */
  readonly receiverEnv: Readonly<Record<string, string>>;
  /** Between every process and the server. */
  readonly network: Network;
  /** The keyring document at that key. */
  keyringText(key: string): Promise<string>;
  /** One property of the plain copy at that key, as a client that knows nothing of keyturn reads it. */
  plainText(key: string, property: string): Promise<string>;
}

export interface StoreRotation {
  readonly deliveries: number;
  readonly refusals: Readonly<Record<string, number>>;
}

/**
 * Adopts a value, then rotates it under traffic. In the middle the store is out of reach for as long as some refreshes take,
 * and comes back.
 */
export async function rotateOn(on: StoreWorld, later: Later): Promise<StoreRotation> {
  const world = await World.open(later);
  world.writePolicy({
    secrets: {
      hook: {
        receivers: { expect: 2 },
        gates: { grace: '4s', quiet: '2s' },
        more: { store: 'live', mirror: [{ key: 'apps/hook', property: 'secret', format: 'plain' }] },
      },
    },
    more: { stores: { live: on.store } },
  });
  const env = on.orchestratorEnv;
  const old = 'adopted/+=%&-hook-4d7a1c9e0b52';
  const adopted = await world.run(['adopt', 'hook', '--stdin'], { input: old, env });
  expect(adopted, adopted.all).toMatchObject({ code: 0 });
  world.hook().signWith(old);
  const receivers = [
    await world.startReceiver('node', { env: on.receiverEnv }),
    await world.startReceiver('express', { env: on.receiverEnv }),
  ];
  world.hook().send(60, ...receivers.map(({ url }) => url));
  await world.moreDeliveries(20);

  const rotating = world.start(['rotate', 'hook', '--wait', '--json'], { env });
  await until('the old value is being watched', () => rotating.stdout().includes('"step":"monitor"'), {
    timeoutMs: 30_000,
  });
  on.network.disturb('refuse');
  await world.moreDeliveries(120);
  await on.network.calm();
  const rotated = await rotating.finished;
  expect(rotated, rotated.all).toMatchObject({ code: 0 });
  expect(eventLines(rotated.stdout).at(-1)).toMatchObject({ event: 'ended', outcome: 'completed' });
  await world.moreDeliveries(30);

  const now = [...world.hook().values].at(-1) ?? '';
  const { versions, claim } = JSON.parse(await on.keyringText('hook')) as KeyringFile;
  expect(versions.map(({ stage }) => stage)).toEqual(['revoked', 'primary']);
  expect([versions[1]?.value, claim]).toEqual([now, undefined]);
  expect(await on.plainText('apps/hook', 'secret')).toBe(now);
  for (const { url } of receivers) {
    await until('the old value is refused', async () => (await deliver(url, old)) === 401);
    expect(await deliver(url, now)).toBe(200);
  }
  expect(world.leaks()).toEqual([]);
  expect(world.traces()).toEqual([]);
  return { deliveries: world.hook().traffic.deliveries, refusals: world.refusals() };
}
