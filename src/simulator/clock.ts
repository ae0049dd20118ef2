import type { Clock, SleepOptions } from '../ports/system.ts';

/**
 * The world's time: a queue of what is to happen, by moment and then by the order in which it was asked for. Time stands
 * still while something happens and whatever follows from it without waiting settles; then it jumps to the next moment.
 */

interface Due {
  readonly at: number;
  readonly order: number;
  /** Null once it was called off. */
  act: (() => void) | null;
}

export class WorldClock implements Clock {
  readonly #startMs: number;
  readonly #queue: Due[] = [];
  #at = 0;
  #asked = 0;
  #happened = 0;

  constructor(startMs: number) {
    this.#startMs = startMs;
  }

  /** How much has happened so far: every moment at which something was due counts once. */
  get happened(): number {
    return this.#happened;
  }

  now(): number {
    return this.#startMs + this.#at;
  }

  monotonic(): number {
    return this.#at;
  }

  /** As with real timers, the shortest sleep takes 1 ms. */
  sleep(ms: number, { signal }: SleepOptions = {}): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const due = this.#add(ms > 1 ? ms : 1, resolve);
      if (signal === undefined) return;
      const abort = (): void => {
        due.act = null;
        resolve();
      };
      due.act = () => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  /** Does it in so many ms from now; returns how to call it off. */
  after(ms: number, act: () => void): () => void {
    const due = this.#add(Math.max(0, ms), act);
    return () => {
      due.act = null;
    };
  }

  /** Lets time pass until nothing is due any more or `isOver` says so, which is asked after everything that happens. */
  run(isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        try {
          const due = isOver() ? null : this.#next();
          if (due === null) {
            resolve();
            return;
          }
          this.#at = due.at;
          this.#happened += 1;
          due.act?.();
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
          return;
        }
        settled(turn);
      };
      settled(turn);
    });
  }

  #add(ms: number, act: () => void): Due {
    const due: Due = { at: this.#at + ms, order: this.#asked++, act };
    push(this.#queue, due);
    return due;
  }

  /** Takes out the next thing that was not called off. */
  #next(): Due | null {
    for (let due = pop(this.#queue); due !== null; due = pop(this.#queue)) if (due.act !== null) return due;
    return null;
  }
}

/**
 * Calls `then` when no promise chain can go on by itself: a tick that a microtask asks for comes once no microtask is
 * left. Two at a time, for a chain that ends in a tick of its own.
 */
function settled(then: () => void): void {
  queueMicrotask(() => {
    process.nextTick(then);
  });
}

function isBefore(one: Due, other: Due): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}

/** A heap: the first of all is at 0, and each comes before the two at twice its place and one or two on. */
function push(heap: Due[], due: Due): void {
  let place = heap.length;
  heap.push(due);
  while (place > 0) {
    const above = (place - 1) >> 1;
    const parent = heap[above];
    if (parent === undefined || !isBefore(due, parent)) break;
    heap[place] = parent;
    place = above;
  }
  heap[place] = due;
}

function pop(heap: Due[]): Due | null {
  const [first] = heap;
  const last = heap.pop();
  if (first === undefined || last === undefined) return null;
  if (heap.length === 0) return first;
  let place = 0;
  for (;;) {
    let below = 2 * place + 1;
    const left = heap[below];
    if (left === undefined) break;
    const right = heap[below + 1];
    const lower = right !== undefined && isBefore(right, left) ? right : left;
    if (lower === right) below += 1;
    if (!isBefore(lower, last)) break;
    heap[place] = lower;
    place = below;
  }
  heap[place] = last;
  return first;
}
