import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createFakeClock, createSeededRandom } from '../../src/memory/clock.ts';

async function hop(times: number): Promise<void> {
  for (let index = 0; index < times; index += 1) await Promise.resolve();
}

describe('fake clock', () => {
  it('stands still until it is moved, and then moves both clocks', async () => {
    const clock = createFakeClock(1_000);
    await setImmediate();
    expect([clock.now(), clock.monotonic()]).toEqual([1_000, 0]);
    await clock.advance(250);
    expect([clock.now(), clock.monotonic()]).toEqual([1_250, 250]);
  });

  it('wakes sleepers at their moment, by due time and then in the order in which they fell asleep', async () => {
    const clock = createFakeClock(0);
    const woken: string[] = [];
    const sleep = async (ms: number, who: string): Promise<void> => {
      await clock.sleep(ms);
      woken.push(`${who}@${String(clock.monotonic())}`);
    };
    const all = [sleep(30, 'c'), sleep(10, 'a'), sleep(20, 'b1'), sleep(20, 'b2'), sleep(31, 'late')];
    expect(clock.sleepers).toBe(5);
    await clock.advance(30);
    expect(woken).toEqual(['a@10', 'b1@20', 'b2@20', 'c@30']);
    expect(clock.sleepers).toBe(1);
    await clock.advance(1);
    await Promise.all(all);
  });

  it('lets everything that follows settle before time moves on, however many hops it takes', async () => {
    const clock = createFakeClock(0);
    const seen: string[] = [];
    const first = (async () => {
      await clock.sleep(10);
      await hop(5_000);
      seen.push(`first at ${String(clock.monotonic())}`);
      await clock.sleep(5);
      await hop(50);
      seen.push(`slept on the way until ${String(clock.monotonic())}`);
    })();
    const second = (async () => {
      await clock.sleep(12);
      seen.push(`second at ${String(clock.monotonic())}`);
    })();
    await clock.advance(20);
    expect(seen).toEqual(['first at 10', 'second at 12', 'slept on the way until 15']);
    expect(clock.monotonic()).toBe(20);
    await Promise.all([first, second]);
  });

  it('counts sleeps that begin in chains started before the call', async () => {
    const clock = createFakeClock(0);
    let woken = false;
    const chain = hop(100)
      .then(() => clock.sleep(10))
      .then(() => (woken = true));
    await clock.advance(10);
    expect(woken).toBe(true);
    await chain;
  });

  it('ends a sleep when its signal aborts, and does not begin one whose signal has aborted', async () => {
    const clock = createFakeClock(0);
    const abort = new AbortController();
    const asleep = clock.sleep(1_000, { signal: abort.signal });
    const other = clock.sleep(2_000);
    abort.abort();
    await asleep;
    await clock.sleep(1_000, { signal: abort.signal });
    expect(clock.sleepers).toBe(1);
    expect(clock.monotonic()).toBe(0);
    await clock.advance(2_000);
    await other;
  });

  it('an abort after the sleep has ended changes nothing', async () => {
    const clock = createFakeClock(0);
    const abort = new AbortController();
    const asleep = clock.sleep(1, { signal: abort.signal });
    await clock.advance(1);
    await asleep;
    const other = clock.sleep(5);
    abort.abort();
    expect(clock.sleepers).toBe(1);
    await clock.advance(5);
    await other;
  });

  it('sets the wall clock without moving monotonic time or waking anybody', async () => {
    const clock = createFakeClock(1_000);
    const asleep = clock.sleep(100);
    await clock.advance(50);
    clock.setWall(9_000_000);
    await setImmediate();
    expect([clock.now(), clock.monotonic(), clock.sleepers]).toEqual([9_000_000, 50, 1]);
    clock.setWall(5);
    await clock.advance(50);
    expect([clock.now(), clock.monotonic(), clock.sleepers]).toEqual([55, 100, 0]);
    await asleep;
  });

  it('runs overlapping moves one after the other', async () => {
    const clock = createFakeClock(0);
    await Promise.all([clock.advance(10), clock.advance(5)]);
    expect(clock.monotonic()).toBe(15);
  });

  it('is not held up by a loop of sleeps of 0 ms', async () => {
    const clock = createFakeClock(0);
    const stop = new AbortController();
    let rounds = 0;
    const loop = (async () => {
      while (!stop.signal.aborted) {
        await clock.sleep(0, { signal: stop.signal });
        rounds += 1;
      }
    })();
    await clock.advance(10);
    expect(rounds).toBe(10);
    stop.abort();
    await loop;
  });

  it('refuses to go back', () => {
    const clock = createFakeClock();
    expect(() => clock.advance(-1)).toThrow(RangeError);
    expect(() => clock.advance(Number.NaN)).toThrow(RangeError);
  });
});

describe('seeded random', () => {
  it('gives the same sequence for the same seed and another for another', () => {
    const take = (seed: number): string => Buffer.from(createSeededRandom(seed).bytes(32)).toString('hex');
    expect(take(7)).toBe(take(7));
    expect(new Set([0, 1, 2, 7, 2 ** 32, -1].map(take)).size).toBe(6);
  });

  it('has fractions from 0 up to 1, spread evenly', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = createSeededRandom(seed);
        const fractions = Array.from({ length: 2_000 }, () => random.fraction());
        expect(Math.min(...fractions)).toBeGreaterThanOrEqual(0);
        expect(Math.max(...fractions)).toBeLessThan(1);
        const mean = fractions.reduce((sum, each) => sum + each, 0) / fractions.length;
        expect(Math.abs(mean - 0.5)).toBeLessThan(0.05);
      }),
      { numRuns: 50, seed: 1 },
    );
  });
});
