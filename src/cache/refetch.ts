import { wakeUp, type Clock } from '../ports/system.ts';

/** How often one secret may be refetched because of a signature that nothing explains. */
export interface Pace {
  /** When its last refetch began, monotonic. */
  readonly lastBeganAt: number;
  readonly minIntervalMs: number;
}

const firstIntervalMs = 1_000;

/** The next refetch may begin at once: there was none yet, or the last load brought something new. */
export const freePace: Pace = { lastBeganAt: Number.NEGATIVE_INFINITY, minIntervalMs: 0 };

export function mayRefetch(pace: Pace, now: number): boolean {
  return now - pace.lastBeganAt >= pace.minIntervalMs;
}

/** The pace after a refetch that brought nothing new: its interval doubles, up to `longestMs`. */
export function slowerPace(pace: Pace, beganAt: number, longestMs: number): Pace {
  const doubled = Math.max(firstIntervalMs, 2 * pace.minIntervalMs);
  return { lastBeganAt: beganAt, minIntervalMs: Math.min(doubled, longestMs) };
}

const turnsPerSecond = 10;
const turnsSaved = 10;
const longestWaitMs = 1_000;

interface Waiter {
  readonly rank: number;
  readonly expiresAt: number;
  readonly answer: (turn: boolean) => void;
}

/**
 * The process's budget of refetches: ten a second, of which ten are saved up while nobody asks. When there are not enough
 * for all, who wasted least goes first (the lowest rank, then whoever asked first), so that secrets under a flood of
 * junk, whose ranks grow, never delay another's.
 */
export class RefetchTurns {
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  #turns = turnsSaved;
  #countedAt: number;
  #waiters: readonly Waiter[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#countedAt = clock.monotonic();
  }

  /** Resolves to whether there is a turn for the asker; false when none came within a second. */
  take(rank: number): Promise<boolean> {
    if (this.#closing.signal.aborted) return Promise.resolve(false);
    if (this.#waiters.length === 0 && this.#spend()) return Promise.resolve(true);
    return new Promise((answer) => {
      const waiter: Waiter = { rank, expiresAt: this.#clock.monotonic() + longestWaitMs, answer };
      const after = this.#waiters.findIndex((other) => other.rank > rank);
      this.#waiters = this.#waiters.toSpliced(after === -1 ? this.#waiters.length : after, 0, waiter);
      if (this.#waiters.length === 1) void this.#serve();
    });
  }

  /** Answers everyone who waits with no, and everyone who asks later. */
  close(): void {
    this.#closing.abort(wakeUp);
    for (const waiter of this.#waiters) waiter.answer(false);
    this.#waiters = [];
  }

  async #serve(): Promise<void> {
    while (this.#waiters.length > 0) {
      await this.#clock.sleep(1_000 / turnsPerSecond, { signal: this.#closing.signal });
      this.#serveWaiters();
    }
  }

  #serveWaiters(): void {
    const now = this.#clock.monotonic();
    const expired = this.#waiters.filter((waiter) => waiter.expiresAt <= now);
    this.#waiters = this.#waiters.filter((waiter) => waiter.expiresAt > now);
    while (this.#waiters.length > 0 && this.#spend()) {
      this.#waiters[0]?.answer(true);
      this.#waiters = this.#waiters.slice(1);
    }
    for (const waiter of expired) waiter.answer(false);
  }

  #spend(): boolean {
    const now = this.#clock.monotonic();
    const earned = ((now - this.#countedAt) / 1_000) * turnsPerSecond;
    this.#turns = Math.min(turnsSaved, this.#turns + earned);
    this.#countedAt = now;
    if (this.#turns < 1) return false;
    this.#turns -= 1;
    return true;
  }
}
