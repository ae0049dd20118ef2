import { describe, expect, test } from 'vitest';
import { createSecretCache } from '../../src/cache/cache.ts';
import { freePace, mayRefetch, RefetchTurns, slowerPace } from '../../src/cache/refetch.ts';
import type { Refetch } from '../../src/cache/types.ts';
import { createFakeClock } from '../../src/memory/clock.ts';
import { add, committed, createWorld, HandStore, settled, steady, storeError } from './support.ts';

async function openLoaded(secrets: readonly string[] = ['hook'], refreshIntervalMs = 60_000) {
  const clock = createFakeClock();
  const store = new HandStore();
  const cache = createSecretCache({ store, secrets, clock, random: steady, refreshIntervalMs });
  const all = Object.fromEntries(secrets.map((secret) => [secret, settled(secret)]));
  store.reads.at(-1)!.answer(all);
  await cache.ready();
  await clock.advance(10);
  /** Lets everything settle, then answers the newest read. */
  const answerNewest = async (found: Parameters<(typeof store.reads)[0]['answer']>[0] = all): Promise<void> => {
    await clock.advance(0);
    store.reads.at(-1)!.answer(found);
    await clock.advance(0);
  };
  return { clock, store, cache, answerNewest, all };
}

/** A world whose store answers at once, so that only budgets say no. */
async function openWorld(secrets: readonly string[]) {
  const world = createWorld();
  for (const secret of secrets) await world.put(settled(secret));
  const { clock, store } = world;
  const cache = createSecretCache({ store, secrets, clock, random: steady });
  await cache.ready();
  await clock.advance(5_000);
  return { ...world, cache };
}

describe('a refetch', () => {
  test('reads that secret alone, at once, and is shared by all who call at the same moment', async () => {
    const { store, cache, answerNewest } = await openLoaded(['hook', 'other']);
    const calls = [1, 2, 3].map(() => cache.refetch('hook'));
    await answerNewest({ hook: committed(settled('hook'), add('v2')) });
    expect(await Promise.all(calls)).toEqual(['loaded', 'loaded', 'loaded']);
    expect(store.reads.map((read) => read.names)).toEqual([['hook', 'other'], ['hook']]);
    expect(cache.accepted('hook').map(({ id }) => id)).toEqual(['v2', 'v1']);
    await cache.close();
  });

  test('that a caller meets under way began too early for it: it waits, and gets one that begins after its call', async () => {
    const { clock, store, cache, answerNewest, all } = await openLoaded();
    const second = committed(all['hook']!, add('v2'));
    const early = cache.refetch('hook');
    await clock.advance(5);
    const calledAt = clock.monotonic();
    const late = [cache.refetch('hook'), cache.refetch('hook')];
    expect(store.reads).toHaveLength(2);
    await answerNewest({ hook: second });
    expect(await early).toBe('loaded');
    expect(cache.snapshot('hook')!.loadBeganAt).toBeLessThan(calledAt);
    expect(store.reads).toHaveLength(3);
    await answerNewest({ hook: second });
    expect(await Promise.all(late)).toEqual(['loaded', 'loaded']);
    expect(cache.snapshot('hook')!.loadBeganAt).toBeGreaterThanOrEqual(calledAt);
    await cache.close();
  });

  test('that brought nothing new leaves those who came during it without another', async () => {
    const { clock, store, cache, answerNewest } = await openLoaded();
    const early = cache.refetch('hook');
    await clock.advance(5);
    const late = cache.refetch('hook');
    await answerNewest();
    expect([await early, await late]).toEqual(['loaded', 'limited']);
    expect(store.reads).toHaveLength(2);
    await cache.close();
  });

  test('may come again after 1 s, 2 s, 4 s … up to the refresh interval', async () => {
    const { clock, store, cache } = await openWorld(['hook']);
    const loadedAt: number[] = [];
    const start = clock.monotonic();
    for (let now = 0; now < 300_000; now += 500) {
      if ((await cache.refetch('hook')) === 'loaded') loadedAt.push((clock.monotonic() - start) / 1_000);
      await clock.advance(500);
    }
    expect(loadedAt).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
    expect(store.control.calls.reads).toBeGreaterThan(10);
    await cache.close();
  });

  test('may come again at once after anything new, from whatever load', async () => {
    const { clock, put, cache } = await openWorld(['hook']);
    let keyring = settled('hook');
    expect(await cache.refetch('hook')).toBe('loaded');
    expect(await cache.refetch('hook')).toBe('limited');
    keyring = committed(keyring, add('v2'));
    await put(keyring);
    await cache.refresh();
    expect(await cache.refetch('hook')).toBe('loaded');
    expect(await cache.refetch('hook')).toBe('limited');
    await put(committed(keyring, add('v3')));
    await clock.advance(1_000);
    expect(await cache.refetch('hook')).toBe('loaded');
    expect(await cache.refetch('hook')).toBe('loaded');
    expect(await cache.refetch('hook')).toBe('limited');
    await cache.close();
  });

  test('fails where the store fails, contradicts what is held, or has nothing', async () => {
    const { clock, cache, answerNewest, all } = await openLoaded();
    const after = async (found: Parameters<typeof answerNewest>[0]): Promise<Refetch> => {
      await clock.advance(60_000);
      const call = cache.refetch('hook');
      await answerNewest(found);
      return call;
    };
    expect(await after({ hook: storeError('store-denied') })).toBe('failed');
    expect(cache.status('hook')).toMatchObject({ error: { code: 'store-denied' }, holds: ['v1'] });
    expect(await after({ hook: committed(all['hook']!, add('v2')) })).toBe('loaded');
    expect(await after(all)).toBe('failed');
    expect(await after({ hook: 'absent' })).toBe('failed');
    expect(cache.accepted('hook').map(({ id }) => id)).toEqual(['v2', 'v1']);
    await cache.close();
  });

  test('can bring the first snapshot', async () => {
    const world = createWorld();
    const cache = createSecretCache({ store: world.store, secrets: ['hook'], clock: world.clock, random: steady });
    await expect(cache.ready()).rejects.toMatchObject({ code: 'store-absent' });
    await world.put(settled('hook'));
    expect(await cache.refetch('hook')).toBe('loaded');
    await cache.ready();
    await cache.close();
  });

  test('that hangs fails at its deadline and holds up neither the regular refresh nor another secret', async () => {
    const { clock, store, cache, answerNewest, all } = await openLoaded(['a', 'b']);
    await clock.advance(58_000);
    const hanging = cache.refetch('a');
    await clock.advance(1_000);
    const other = cache.refetch('b');
    await answerNewest({ b: all['b']! });
    expect(await other).toBe('loaded');
    await clock.advance(1_000);
    expect(store.reads.at(-1)!.names).toEqual(['a', 'b']);
    await answerNewest();
    expect(cache.status('a').ageMs).toBeLessThan(1_000);
    await clock.advance(3_000);
    // Not the refetch itself, but a load that began after the call has succeeded.
    expect(await hanging).toBe('loaded');
    expect(cache.status('a')).toMatchObject({ state: 'fresh', error: null });
    await clock.advance(20_000);
    const again = cache.refetch('a');
    await clock.advance(5_000);
    expect(await again).toBe('failed');
    expect(cache.status('a').error?.message).toContain('within 5s');
    await cache.close();
  });

  test('goes through while the regular refresh hangs', async () => {
    const { clock, store, cache, answerNewest } = await openLoaded();
    await clock.advance(60_000);
    expect(store.reads).toHaveLength(2);
    const call = cache.refetch('hook');
    await answerNewest();
    expect(await call).toBe('loaded');
    expect(store.reads).toHaveLength(3);
    await cache.close();
  });
});

describe('under a flood of junk', () => {
  test('on one secret, another one is refetched at once and the regular refresh goes on', async () => {
    const { clock, store, put, cache } = await openWorld(['junk', 'busy']);
    const readsBefore = store.control.calls.reads;
    for (let now = 0; now < 30_000; now += 10) {
      void cache.refetch('junk');
      void cache.refetch('junk');
      await clock.advance(10);
    }
    expect(store.control.calls.reads - readsBefore).toBeLessThanOrEqual(6);
    await put(committed(settled('busy'), add('v2')));
    const before = clock.monotonic();
    expect(await cache.refetch('busy')).toBe('loaded');
    expect(clock.monotonic()).toBe(before);
    expect(cache.accepted('busy')).toHaveLength(2);
    await clock.advance(60_000);
    expect(cache.status('junk').ageMs).toBeLessThanOrEqual(60_000);
    await cache.close();
  });

  test('on hundreds of secrets, the process makes ten refetches a second and the quiet ones go first', async () => {
    const junk = Array.from({ length: 400 }, (_, index) => `junk-${String(index)}`);
    const { clock, store, cache } = await openWorld([...junk, 'quiet']);
    const readsBefore = store.control.calls.reads;
    // Of 401 secrets, a hundred at a time.
    const regularReads = 4 * 5;
    for (let second = 0; second < 180; second += 1) {
      for (const secret of junk) void cache.refetch(secret);
      await clock.advance(1_000);
    }
    const spent = store.control.calls.reads - readsBefore;
    expect(spent).toBeLessThanOrEqual(180 * 10 + 10 + regularReads);
    expect(spent).toBeGreaterThan(180 * 10 * 0.7);
    for (const secret of junk) void cache.refetch(secret);
    const before = clock.monotonic();
    const quiet = cache.refetch('quiet').then((result) => ({ result, waitedMs: clock.monotonic() - before }));
    await clock.advance(1_000);
    expect(await quiet).toMatchObject({ result: 'loaded' });
    expect((await quiet).waitedMs).toBeLessThanOrEqual(100);
    await cache.close();
  });
});

describe('the pace of one secret', () => {
  test('starts free and doubles up to the longest', () => {
    expect(mayRefetch(freePace, 0)).toBe(true);
    let pace = slowerPace(freePace, 100, 3_000);
    expect(pace).toEqual({ lastBeganAt: 100, minIntervalMs: 1_000 });
    expect(mayRefetch(pace, 1_099)).toBe(false);
    expect(mayRefetch(pace, 1_100)).toBe(true);
    pace = slowerPace(pace, 1_100, 3_000);
    expect(pace.minIntervalMs).toBe(2_000);
    expect(slowerPace(pace, 3_100, 3_000).minIntervalMs).toBe(3_000);
    expect(slowerPace(freePace, 0, 400).minIntervalMs).toBe(400);
  });
});

describe('the turns', () => {
  test('give ten at once, then ten a second, and no to who waited a second', async () => {
    const clock = createFakeClock();
    const turns = new RefetchTurns(clock);
    const answers: boolean[] = [];
    for (let index = 0; index < 25; index += 1) void turns.take(0).then((turn) => answers.push(turn));
    await clock.advance(0);
    expect(answers).toEqual(Array(10).fill(true));
    await clock.advance(100);
    expect(answers).toHaveLength(11);
    await clock.advance(900);
    expect(answers.filter((turn) => turn).length).toBeLessThanOrEqual(20);
    expect(answers).toHaveLength(25);
    expect(clock.sleepers).toBe(0);
    await clock.advance(10_000);
    expect(await Promise.all(Array.from({ length: 10 }, () => turns.take(0)))).toEqual(Array(10).fill(true));
  });

  test('go to the lowest rank first, then to who asked first', async () => {
    const clock = createFakeClock();
    const turns = new RefetchTurns(clock);
    await Promise.all(Array.from({ length: 10 }, () => turns.take(0)));
    const order: string[] = [];
    for (const [name, rank] of [
      ['a', 4],
      ['b', 2],
      ['c', 0],
      ['d', 2],
    ] as const) {
      void turns.take(rank).then(() => order.push(name));
    }
    await clock.advance(400);
    expect(order).toEqual(['c', 'b', 'd', 'a']);
  });

  test('end for everybody when they are closed', async () => {
    const clock = createFakeClock();
    const turns = new RefetchTurns(clock);
    await Promise.all(Array.from({ length: 10 }, () => turns.take(0)));
    const waiting = turns.take(0);
    turns.close();
    expect(await waiting).toBe(false);
    expect(await turns.take(0)).toBe(false);
    expect(clock.sleepers).toBe(0);
  });
});
