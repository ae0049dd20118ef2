import type { Clock, Random, SleepOptions } from '../ports/system.ts';

export interface FakeClock extends Clock {
  /** How many sleeps have neither ended nor been aborted. */
  readonly sleepers: number;
  /**
   * Moves both clocks forward. Sleepers wake at their moment, in order of due time and then of falling asleep; after
   * each of them everything that follows from it without waiting settles, before time moves on. A sleep that begins on
   * the way and is due on the way wakes too.
   */
  advance(ms: number): Promise<void>;
  /** Sets the wall clock, as a person may; monotonic time and sleepers do not notice. */
  setWall(ms: number): void;
}

/** 2026-01-01T00:00:00Z: a round moment that reads well in failing tests. */
const defaultStartMs = 1_767_225_600_000;

/** A clock that stands still until a test moves it. */
export function createFakeClock(startMs: number = defaultStartMs): FakeClock {
  return new SteppedClock(startMs);
}

interface Sleeper {
  readonly dueMs: number;
  readonly wake: () => void;
}

class SteppedClock implements FakeClock {
  #monotonicMs = 0;
  #wallOffsetMs: number;
  /** By due time; sleepers of one moment in the order in which they fell asleep. */
  readonly #sleepers: Sleeper[] = [];
  #lastAdvance: Promise<void> = Promise.resolve();

  constructor(startMs: number) {
    this.#wallOffsetMs = startMs;
  }

  get sleepers(): number {
    return this.#sleepers.length;
  }

  now(): number {
    return this.#monotonicMs + this.#wallOffsetMs;
  }

  monotonic(): number {
    return this.#monotonicMs;
  }

  setWall(ms: number): void {
    this.#wallOffsetMs = ms - this.#monotonicMs;
  }

  /** The shortest sleep takes 1 ms, as with real timers: a loop of sleeps of 0 ms cannot hold time up for ever. */
  sleep(ms: number, options: SleepOptions = {}): Promise<void> {
    const { signal } = options;
    if (signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const abort = (): void => {
        this.#sleepers.splice(this.#sleepers.indexOf(sleeper), 1);
        resolve();
      };
      const sleeper: Sleeper = {
        dueMs: this.#monotonicMs + (ms > 1 ? ms : 1),
        wake: () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#add(sleeper);
    });
  }

  /** A second call while one is under way begins where the first one ends. */
  advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError('time only moves forward; setWall sets the wall clock back');
    this.#lastAdvance = this.#lastAdvance.then(() => this.#advanceTo(this.#monotonicMs + ms));
    return this.#lastAdvance;
  }

  async #advanceTo(targetMs: number): Promise<void> {
    await settle();
    for (let next = this.#sleepers[0]; next !== undefined && next.dueMs <= targetMs; next = this.#sleepers[0]) {
      this.#sleepers.shift();
      this.#monotonicMs = next.dueMs;
      next.wake();
      await settle();
    }
    this.#monotonicMs = targetMs;
  }

  #add(sleeper: Sleeper): void {
    let low = 0;
    let high = this.#sleepers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#sleepers[middle]?.dueMs ?? Infinity) <= sleeper.dueMs) low = middle + 1;
      else high = middle;
    }
    this.#sleepers.splice(low, 0, sleeper);
  }
}

/** Chains that hop through the tick queue themselves, as streams do, get this many hops. */
const settlingRounds = 3;

/**
 * Resolves when no promise chain can go on by itself: a tick asked for by a microtask comes once the queue of microtasks
 * is empty, however many hops a chain takes; counting hops would guess. What waits for the machine, a file or a
 * socket, is not waited for, and a loop over `advance` alone would keep it waiting.
 */
async function settle(): Promise<void> {
  for (let round = 0; round < settlingRounds; round += 1) {
    await Promise.resolve();
    await new Promise<void>((resolve) => {
      process.nextTick(resolve);
    });
  }
}

/** Repeatable: the same seed gives the same sequence. Not for secrets that anybody uses. */
export function createSeededRandom(seed: number): Random {
  const next = generator(seed);
  return {
    bytes: (count) => {
      const bytes = new Uint8Array(count);
      for (let index = 0; index < count; index += 1) bytes[index] = next() >>> 24;
      return bytes;
    },
    fraction: () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53,
  };
}

/** The small fast counting generator (sfc32): whole numbers of 32 bits, with a period of at least 2^32 from any seed. */
function generator(seed: number): () => number {
  let a = seed | 0;
  let b = Math.floor(seed / 2 ** 32) | 0;
  let c = 0x6b657974;
  let counter = 1;
  const next = (): number => {
    const result = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + result) | 0;
    return result >>> 0;
  };
  for (let warmUp = 0; warmUp < 16; warmUp += 1) next();
  return next;
}
