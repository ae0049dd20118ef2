import { inspect } from 'node:util';
import { describe, expect, test, vi } from 'vitest';
import { createSecretCache, type SecretCacheOptions } from '../../src/cache/cache.ts';
import type { SecretCache } from '../../src/cache/types.ts';
import { createFakeClock, createSeededRandom } from '../../src/memory/clock.ts';
import { emptyKeyring } from '../../src/model/keyring.ts';
import { logOf, silentLog } from '../../src/ports/log.ts';
import {
  add,
  claim,
  committed,
  createWorld,
  HandStore,
  promote,
  revoke,
  settled,
  steady,
  storeError,
  valueOf,
  type World,
} from './support.ts';

function open(world: World, more: Partial<SecretCacheOptions> = {}): SecretCache {
  return createSecretCache({ store: world.store, secrets: ['hook'], clock: world.clock, random: steady, ...more });
}

function openByHand(secrets: readonly string[] = ['hook']) {
  const clock = createFakeClock();
  const store = new HandStore();
  const cache = createSecretCache({ store, secrets, clock, random: steady });
  return { clock, store, cache };
}

function idsOf(cache: SecretCache, secret = 'hook'): string[] {
  return cache.accepted(secret).map((version) => version.id);
}

describe('creation', () => {
  test('refuses options that make no sense', () => {
    const world = createWorld();
    expect(() => open(world, { refreshIntervalMs: 0 })).toThrow(/refreshIntervalMs is 0/);
    expect(() => open(world, { secrets: [''] })).toThrow(/is empty/);
    const twice = [{ secret: 'hook', key: 'a' }, 'hook'];
    expect(() => open(world, { secrets: twice })).toThrow(/hook is listed with two keys/);
  });

  test('begins the first load at once; before it ends nothing is accepted', async () => {
    const { clock, store, cache } = openByHand();
    expect(store.reads).toHaveLength(1);
    expect(cache.accepted('hook')).toEqual([]);
    expect(cache.values('hook')).toEqual([]);
    expect(cache.snapshot('hook')).toBeNull();
    expect(() => cache.primary('hook')).toThrow(/Nothing of hook has been loaded yet/);
    expect(cache.status('hook')).toMatchObject({ state: 'unknown', revision: null, holds: [], ageMs: null });
    store.reads[0]!.answer({ hook: settled('hook') });
    await cache.ready();
    expect(idsOf(cache)).toEqual(['v1']);
    expect(cache.primary('hook').value).toBe(valueOf('v1'));
    expect(cache.status('hook')).toMatchObject({ state: 'fresh', revision: 1, holds: ['v1'], ageMs: 0, error: null });
    expect(clock.sleepers).toBe(1);
    await cache.close();
  });

  test('reads a plain string under its own name and a named one under its key; a secret listed twice is one', async () => {
    const world = createWorld();
    await world.put(settled('hook'));
    await world.put(settled('production/other'), 'prod-other');
    const secrets = ['hook', { secret: 'production/other', key: 'prod-other' }, 'hook'];
    const cache = open(world, { secrets });
    await cache.ready();
    expect(cache.secrets).toEqual(['hook', 'production/other']);
    expect(cache.primary('production/other').id).toBe('v1');
    await cache.close();
  });

  test('without secrets it is ready and sets no timer', async () => {
    const world = createWorld();
    const cache = open(world, { secrets: [] });
    await cache.ready();
    expect(world.store.control.calls.reads).toBe(0);
    expect(world.clock.sleepers).toBe(0);
    await cache.close();
  });

  test('a secret that it was not created for is an error of its own', async () => {
    const world = createWorld();
    const cache = open(world);
    for (const method of ['accepted', 'values', 'primary', 'snapshot', 'status'] as const) {
      expect(() => cache[method]('nobody')).toThrow(expect.objectContaining({ code: 'secret-unknown' }));
    }
    await expect(cache.refetch('nobody')).rejects.toMatchObject({ code: 'secret-unknown' });
    await cache.close();
  });
});

describe('ready', () => {
  test('rejects with the store\u2019s own code, and resolves once a later load succeeded', async () => {
    const world = createWorld();
    for (const code of ['store-denied', 'store-unreachable', 'store-corrupt'] as const) {
      world.store.control.fail('hook', storeError(code));
      const cache = open(world);
      await expect(cache.ready()).rejects.toMatchObject({ code });
      await expect(cache.ready()).rejects.toMatchObject({ code });
      world.store.control.fail('hook', null);
      await world.put(settled('hook'));
      await world.clock.advance(1_000);
      await cache.ready();
      expect(idsOf(cache)).toEqual(['v1']);
      await cache.close();
    }
  });

  test('says of an absent secret what to run, while the others are served', async () => {
    const world = createWorld();
    await world.put(settled('hook'));
    const cache = open(world, { secrets: ['hook', { secret: 'missing', key: 'place/of/it' }] });
    await expect(cache.ready()).rejects.toMatchObject({
      code: 'store-absent',
      message: 'The secret store has no keyring of missing under the key place/of/it.',
      hint: expect.stringMatching(/keyturn adopt missing.*keyturn rotate missing/),
    });
    expect(idsOf(cache)).toEqual(['v1']);
    expect(cache.status('missing')).toMatchObject({ state: 'absent', error: { code: 'store-absent' } });
    await world.put(settled('missing', 'v7'), 'place/of/it');
    await cache.refresh();
    await cache.ready();
    expect(cache.primary('missing').id).toBe('v7');
    await cache.close();
  });

  test('a keyring without any accepted version is there, and has no primary', async () => {
    const world = createWorld();
    await world.put(committed(committed(emptyKeyring('hook'), add('v1')), revoke('v1')));
    const cache = open(world);
    await cache.ready();
    expect(idsOf(cache)).toEqual([]);
    expect(() => cache.primary('hook')).toThrow(expect.objectContaining({ code: 'secret-absent' }));
    await cache.close();
  });

  test('closing before the first load rejects it', async () => {
    const { cache } = openByHand();
    const ready = cache.ready();
    await cache.close();
    await expect(ready).rejects.toMatchObject({ code: 'wrong-state' });
  });
});

describe('the refresher', () => {
  test('reads all secrets in one call every interval, 10 % jitter either way', async () => {
    for (const [fraction, intervalMs] of [
      [0, 54_000],
      [0.5, 60_000],
    ] as const) {
      const { clock, store, put } = createWorld();
      await put(settled('hook'));
      await put(settled('other'));
      const random = { fraction: () => fraction };
      const cache = createSecretCache({ store, secrets: ['hook', 'other'], clock, random });
      await cache.ready();
      await clock.advance(intervalMs - 1);
      expect(store.control.calls.reads).toBe(1);
      await clock.advance(1);
      expect(store.control.calls.reads).toBe(2);
      await clock.advance(10 * intervalMs);
      expect(store.control.calls.reads).toBe(12);
      await cache.close();
    }
  });

  test('spreads with a real source of jitter', async () => {
    const world = createWorld();
    await world.put(settled('hook'));
    const beganAt: number[] = [];
    const store = {
      read: (names: Parameters<typeof world.store.read>[0]) => {
        beganAt.push(world.clock.monotonic());
        return world.store.read(names);
      },
    };
    const cache = open(world, { store, random: createSeededRandom(7) });
    await world.clock.advance(3_600_000);
    const pauses = beganAt.slice(1).map((at, index) => at - beganAt[index]!);
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(54_000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(66_000);
    expect(Math.max(...pauses) - Math.min(...pauses)).toBeGreaterThan(6_000);
    await cache.close();
  });

  test('hands out the same arrays until they change, and newer ones after', async () => {
    const world = createWorld();
    const first = settled('hook');
    await world.put(first);
    const cache = open(world);
    await cache.ready();
    const [accepted, values, snapshot] = [cache.accepted('hook'), cache.values('hook'), cache.snapshot('hook')];
    await world.clock.advance(60_000);
    expect(cache.accepted('hook')).toBe(accepted);
    expect(cache.values('hook')).toBe(values);
    expect(cache.snapshot('hook')!.loadBeganAt).toBe(snapshot!.loadBeganAt + 60_000);
    await world.put(committed(first, add('v2'), claim('v2')));
    await world.clock.advance(60_000);
    expect(idsOf(cache)).toEqual(['v2', 'v1']);
    expect(cache.accepted('hook')[1]).toBe(accepted[0]);
    expect(accepted.map(({ id }) => id)).toEqual(['v1']);
    await cache.close();
  });

  test('never overlaps itself, and refresh() joins the load under way', async () => {
    const { clock, store, cache } = openByHand();
    const both = Promise.all([cache.refresh(), cache.refresh()]);
    expect(store.reads).toHaveLength(1);
    store.reads[0]!.answer({ hook: settled('hook') });
    await both;
    await clock.advance(60_000);
    expect(store.reads).toHaveLength(2);
    const joined = cache.refresh();
    expect(store.reads).toHaveLength(2);
    store.reads[1]!.answer({ hook: settled('hook') });
    await joined;
    await cache.close();
  });

  test('refresh() moves the next regular load', async () => {
    const world = createWorld();
    await world.put(settled('hook'));
    const cache = open(world);
    await cache.ready();
    await world.clock.advance(50_000);
    await cache.refresh();
    expect(world.store.control.calls.reads).toBe(2);
    await world.clock.advance(59_999);
    expect(world.store.control.calls.reads).toBe(2);
    await world.clock.advance(1);
    expect(world.store.control.calls.reads).toBe(3);
    await cache.close();
  });

  test('a retry of one secret under way does not stand for a refresh() of all', async () => {
    const { clock, store, cache } = openByHand(['a', 'b']);
    store.reads[0]!.answer({ a: settled('a'), b: storeError('store-unreachable') });
    await clock.advance(1_000);
    expect(store.reads[1]!.names).toEqual(['b']);
    const refreshed = cache.refresh();
    expect(store.reads).toHaveLength(2);
    store.reads[1]!.answer({ b: settled('b') });
    await clock.advance(0);
    expect(store.reads[2]!.names).toEqual(['a', 'b']);
    store.reads[2]!.answer({ a: settled('a'), b: settled('b') });
    await refreshed;
    await cache.close();
  });
});

describe('drift', () => {
  test('a lower revision is never taken, shows, and ends when the store agrees again', async () => {
    const world = createWorld();
    const first = settled('hook');
    const second = committed(first, add('v2'));
    await world.put(second);
    const warn = vi.fn();
    const cache = open(world, { log: { ...silentLog, warn } });
    await cache.ready();
    await world.put(first);
    await cache.refresh();
    expect(idsOf(cache)).toEqual(['v2', 'v1']);
    expect(cache.status('hook')).toMatchObject({
      state: 'stale',
      revision: 2,
      drift: 'the store shows revision 1, below 2 which is held',
      error: null,
    });
    await world.clock.advance(600_000);
    expect(idsOf(cache)).toEqual(['v2', 'v1']);
    expect(warn).toHaveBeenCalledTimes(1);
    await world.put(second);
    await cache.refresh();
    expect(cache.status('hook')).toMatchObject({ state: 'fresh', drift: null });
    await cache.close();
  });

  test('a keyring that is gone is drift; what was held stays in use with its age', async () => {
    const world = createWorld();
    await world.put(settled('hook'));
    const cache = open(world);
    await cache.ready();
    world.place.remove('hook');
    await world.clock.advance(120_000);
    expect(idsOf(cache)).toEqual(['v1']);
    expect(cache.status('hook')).toMatchObject({ state: 'stale', ageMs: 120_000, error: null });
    expect(cache.status('hook').drift).toContain('no keyring any more');
    await cache.ready();
    await cache.close();
  });

  test('a version that is absent without a tombstone is kept', async () => {
    const world = createWorld();
    const second = committed(settled('hook'), add('v2'));
    await world.put(second);
    const cache = open(world);
    await cache.ready();
    await world.put({ ...second, revision: 3, versions: [second.versions[0]!] });
    await cache.refresh();
    expect(idsOf(cache)).toEqual(['v2', 'v1']);
    expect(cache.status('hook')).toMatchObject({ revision: 3, state: 'fresh' });
    expect(cache.status('hook').drift).toContain('v2 is gone');
    await cache.close();
  });
});

describe('a failure', () => {
  test('keeps the last known good with its age, and the success after it clears it', async () => {
    const world = createWorld();
    await world.put(settled('hook'));
    const log = { ...silentLog, info: vi.fn(), warn: vi.fn() };
    const cache = open(world, { log });
    await cache.ready();
    world.store.control.unreachable = true;
    await world.clock.advance(100_000);
    expect(idsOf(cache)).toEqual(['v1']);
    const status = cache.status('hook');
    expect(status).toMatchObject({ state: 'stale', ageMs: 100_000, error: { code: 'store-unreachable' } });
    world.store.control.unreachable = false;
    await world.clock.advance(60_000);
    expect(cache.status('hook')).toMatchObject({ state: 'fresh', error: null });
    expect(log.warn).toHaveBeenCalledTimes(1);
    expect(log.info).toHaveBeenCalledTimes(1);
    await cache.close();
  });

  test('is tried again after 1 s, 2 s, 4 s … and at the latest with the regular load', async () => {
    const world = createWorld();
    world.store.control.unreachable = true;
    const beganAt: number[] = [];
    const store = {
      read: (names: Parameters<typeof world.store.read>[0]) => {
        beganAt.push(world.clock.monotonic() / 1_000);
        return world.store.read(names);
      },
    };
    const cache = open(world, { store });
    await world.clock.advance(180_000);
    expect(beganAt).toEqual([0, 1, 3, 7, 15, 31, 60, 120, 180]);
    await cache.close();
  });

  test('of one secret is retried for that one alone; the partial success is kept', async () => {
    const { clock, store, cache } = openByHand(['a', 'b', 'c']);
    store.reads[0]!.answer({ a: settled('a'), b: storeError('store-denied') });
    await clock.advance(1_000);
    expect(idsOf(cache, 'a')).toEqual(['v1']);
    expect(cache.status('b')).toMatchObject({ state: 'unknown', error: { code: 'store-denied' } });
    expect(cache.status('c').error?.message).toContain('leaves out c');
    expect(store.reads[1]!.names).toEqual(['b', 'c']);
    await cache.close();
  });

  test('of the whole read counts for all and stops no timer, thrown or rejected with whatever', async () => {
    const { clock, store, cache } = openByHand(['a', 'b']);
    store.reads[0]!.reject(new TypeError('a bug with value-of-v1'));
    await expect(cache.ready()).rejects.toMatchObject({ code: 'store-unreachable' });
    expect(cache.status('a').error?.message).toBe('The secret store failed to read a.');
    await clock.advance(1_000);
    expect(store.reads).toHaveLength(2);
    store.reads[1]!.reject(storeError('store-denied'));
    await clock.advance(2_000);
    expect(cache.status('b').error?.code).toBe('store-denied');
    expect(store.reads).toHaveLength(3);
    await cache.close();

    const throwing = createSecretCache({
      store: {
        read: () => {
          throw new TypeError('a bug');
        },
      },
      secrets: ['hook'],
      clock,
      random: steady,
    });
    await expect(throwing.ready()).rejects.toMatchObject({ code: 'store-unreachable' });
    await throwing.close();
  });

  test('a read that hangs is one, at the deadline; its answer is still taken when it comes', async () => {
    const { clock, store, cache } = openByHand();
    const ready = expect(cache.ready()).rejects.toMatchObject({ code: 'store-unreachable' });
    await clock.advance(15_000);
    await ready;
    expect(cache.status('hook').error?.message).toBe('The secret store did not answer for hook within 15s.');
    await clock.advance(1_000);
    expect(store.reads).toHaveLength(2);
    store.reads[0]!.answer({ hook: settled('hook') });
    await clock.advance(0);
    expect(idsOf(cache)).toEqual(['v1']);
    expect(cache.status('hook').error).toBeNull();
    await cache.close();
  });

  test('many secrets are read in parts, and what has arrived of them counts although the rest hangs', async () => {
    const secrets = Array.from({ length: 250 }, (_, index) => `hook-${String(index)}`);
    const { clock, store, cache } = openByHand(secrets);
    const ready = expect(cache.ready()).rejects.toThrow('The secret store did not answer for hook-100 within 15s.');
    expect(store.reads.map(({ names }) => names.length)).toEqual([100]);
    store.reads[0]!.answer(Object.fromEntries(store.reads[0]!.names.map((name) => [name, settled(name)])));
    await clock.advance(0);
    expect(store.reads.map(({ names }) => names.length)).toEqual([100, 100]);
    expect(idsOf(cache, 'hook-99')).toEqual(['v1']);
    await clock.advance(15_000);
    await ready;
    expect(cache.status('hook-99').error).toBeNull();
    expect(['hook-100', 'hook-249'].map((name) => cache.status(name).error?.code)).toEqual([
      'store-unreachable',
      'store-unreachable',
    ]);
    store.reads[1]!.answer(Object.fromEntries(store.reads[1]!.names.map((name) => [name, settled(name)])));
    await clock.advance(0);
    expect(idsOf(cache, 'hook-199')).toEqual(['v1']);
    // The load is over, so the rest is left to the next one.
    expect(store.reads).toHaveLength(2);
    await cache.close();
  });

  test('a store too slow for all of them starves none: what was not asked for comes first', async () => {
    const secrets = Array.from({ length: 150 }, (_, index) => `hook-${String(index)}`);
    const { clock, store, cache } = openByHand(secrets);
    const ready = expect(cache.ready()).rejects.toMatchObject({ code: 'store-unreachable' });
    await clock.advance(15_000);
    await ready;
    await clock.advance(1_200);
    expect(store.reads.map(({ names }) => names[0])).toEqual(['hook-0', 'hook-100']);
    await cache.close();
  });

  test('an answer that arrives after a later one cannot take it back', async () => {
    const { clock, store, cache } = openByHand();
    const first = settled('hook');
    await clock.advance(16_000);
    store.reads[1]!.answer({ hook: committed(first, add('v2')) });
    await clock.advance(0);
    store.reads[0]!.answer({ hook: first });
    await clock.advance(0);
    expect(idsOf(cache)).toEqual(['v2', 'v1']);
    expect(cache.status('hook')).toMatchObject({ state: 'fresh', drift: null });
    await cache.close();
  });

  test('a keyring with an empty value is refused, and the last known good stays', async () => {
    const { store, cache } = openByHand();
    const first = settled('hook');
    store.reads[0]!.answer({ hook: first });
    await cache.ready();
    const refreshed = cache.refresh();
    store.reads[1]!.answer({ hook: { ...first, revision: 2, versions: [{ ...first.versions[0]!, value: '' }] } });
    await refreshed;
    expect(cache.values('hook')).toEqual([valueOf('v1')]);
    expect(cache.status('hook').error?.code).toBe('store-corrupt');
    await cache.close();
  });
});

describe('a bug elsewhere', () => {
  test('in a store, that hands out something else than a keyring, costs that secret alone', async () => {
    const { store, cache } = openByHand(['a', 'b']);
    store.reads[0]!.answer({ a: { ...settled('a'), versions: null as never }, b: settled('b') });
    await expect(cache.ready()).rejects.toMatchObject({ code: 'store-corrupt' });
    expect(idsOf(cache, 'b')).toEqual(['v1']);
    await cache.close();
  });

  test('in a log, that throws, does not end the refresher', async () => {
    const world = createWorld();
    const broken = (): never => {
      throw new Error('a bug');
    };
    const cache = open(world, { log: logOf(() => broken) });
    await world.clock.advance(30_000);
    await world.put(settled('hook'));
    await world.clock.advance(30_000);
    expect(idsOf(cache)).toEqual(['v1']);
    expect(cache.status('hook')).toMatchObject({ state: 'fresh' });
    await cache.close();
  });
});

describe('onChange', () => {
  test('is called after something became different, not when a load confirms it, until it is stopped', async () => {
    const world = createWorld();
    const first = settled('hook');
    await world.put(first);
    await world.put(settled('other'));
    const cache = open(world, { secrets: ['hook', 'other'] });
    const seen: string[] = [];
    const stop = cache.onChange((secret) => seen.push(`${secret} ${cache.snapshot(secret)!.revision}`));
    await cache.ready();
    await cache.refresh();
    expect(seen).toEqual(['hook 1', 'other 1']);
    await world.put(committed(first, add('v2')));
    await cache.refresh();
    expect(seen).toEqual(['hook 1', 'other 1', 'hook 2']);
    stop();
    await world.put(committed(settled('other'), add('v2')));
    await cache.refresh();
    expect(seen).toHaveLength(3);
    await cache.close();
  });

  test('a listener that throws harms nobody', async () => {
    const world = createWorld();
    await world.put(settled('hook'));
    const error = vi.fn();
    const cache = open(world, { log: { ...silentLog, error } });
    const second = vi.fn();
    cache.onChange(() => {
      throw new Error('a bug');
    });
    cache.onChange(second);
    await cache.ready();
    expect(second).toHaveBeenCalledTimes(1);
    expect(error).toHaveBeenCalledTimes(1);
    await cache.close();
  });
});

describe('close', () => {
  test('ends the timer at once, even under a hanging read; the last snapshot stays', async () => {
    const { clock, store, cache } = openByHand();
    store.reads[0]!.answer({ hook: settled('hook') });
    await cache.ready();
    await clock.advance(60_000);
    expect(store.reads).toHaveLength(2);
    await cache.close();
    await cache.close();
    expect(clock.sleepers).toBe(0);
    store.reads[1]!.answer({ hook: committed(settled('hook'), add('v2')) });
    await clock.advance(600_000);
    expect(idsOf(cache)).toEqual(['v1']);
    await cache.refresh();
    expect(await cache.refetch('hook')).toBe('failed');
    expect(store.reads).toHaveLength(2);
  });
});

describe('values', () => {
  test('show in no inspection, no JSON and no message', async () => {
    const world = createWorld();
    await world.put(committed(settled('hook'), add('v2'), promote('v2')));
    const cache = open(world);
    await cache.ready();
    world.store.control.unreachable = true;
    await cache.refresh();
    const shown = [cache, cache.status('hook'), cache.snapshot('hook'), cache.accepted('hook'), cache.primary('hook')];
    const text = shown.map((one) => inspect(one, { depth: null, showHidden: true }) + JSON.stringify(one)).join('\n');
    expect(text).not.toContain('value-of');
    await cache.close();
  });
});
