import type { Clock } from '../src/ports/system.ts';
import { pauseMs } from './patience.ts';
import { isLocked, lockPatienceMs, type Written } from './sqlite-session.ts';

/** How long after it was refused a lock is taken to be wanted by others, ms. */
const crowdedMs = 5_000;

/** At least so long, ms, others are let in: those who have waited long ask more often. */
const shortestRestMs = 10;

/** A write that waits for the lock. */
interface Waiting {
  readonly work: () => unknown;
  readonly since: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The writes of one process to one database. While another process has the lock, they gather, and one of them asks for
 * all: so many writers in few processes ask no more often than the processes are, and what has gathered is written in one
 * transaction, which waits for the disk once. Where others want it, the lock is left free for as long as it was held: who
 * has just had it would else have it again before any of them asks.
 */
export class Writes {
  readonly #clock: Clock;
  readonly #writeEach: (works: readonly (() => unknown)[]) => readonly Written[];
  #waiting: Waiting[] = [];
  #isAsking = false;
  #restsUntil = -Infinity;
  #refusedAt = -Infinity;

  /** `writeEach` is that of a session. */
  constructor(clock: Clock, writeEach: (works: readonly (() => unknown)[]) => readonly Written[]) {
    this.#clock = clock;
    this.#writeEach = writeEach;
  }

  /** Done at once where nobody has the lock. Throws `…-busy` where it is not free in time, and what `work` throws. */
  write<T>(work: () => T): Promise<T> {
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.push({ work, since: this.#clock.monotonic(), resolve, reject });
      if (!this.#isAsking) void this.#writeAll();
    }) as Promise<T>;
  }

  /** It never rejects. */
  async #writeAll(): Promise<void> {
    this.#isAsking = true;
    const restMs = this.#restsUntil - this.#clock.monotonic();
    if (restMs > 0) await this.#clock.sleep(restMs);
    for (let asked = 1; this.#waiting.length > 0; asked += 1) {
      const [oldest] = this.#waiting;
      if (oldest === undefined || this.#tryWriting()) break;
      await this.#clock.sleep(pauseMs(asked, this.#clock.monotonic() - oldest.since));
    }
    this.#isAsking = false;
  }

  /** False where another process has the lock: those who waited too long are told so, and the others wait on. */
  #tryWriting(): boolean {
    const all = this.#waiting;
    this.#waiting = [];
    const from = this.#clock.monotonic();
    try {
      const written = this.#writeEach(all.map(({ work }) => work));
      this.#rest(from);
      for (const [index, { resolve, reject }] of all.entries()) {
        const one = written[index] ?? { error: new RangeError('a write has no result') };
        if ('error' in one) reject(one.error);
        else resolve(one.value);
      }
      return true;
    } catch (error) {
      const now = this.#clock.monotonic();
      this.#refusedAt = now;
      const isOver = ({ since }: Waiting): boolean => !isLocked(error) || now - since >= lockPatienceMs;
      for (const { reject } of all.filter(isOver)) reject(error);
      this.#waiting = all.filter((waiting) => !isOver(waiting));
      return this.#waiting.length === 0;
    }
  }

  #rest(from: number): void {
    const now = this.#clock.monotonic();
    if (now - this.#refusedAt < crowdedMs) this.#restsUntil = now + Math.max(now - from, shortestRestMs);
  }
}
