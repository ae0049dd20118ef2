import { randomBytes } from 'node:crypto';
import type { Clock, Fetch, Random, SleepOptions } from './system.ts';

/** The only file in `src` that touches the machine's clock, timers, randomness and network. */

/** Timers of Node take at most this; a longer sleep wakes up early, and its caller looks again. */
const maxTimerMs = 2_147_483_647;

export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, options: SleepOptions = {}) =>
    new Promise((resolve) => {
      const { signal, background = false } = options;
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      const finish = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, Math.min(Math.max(0, ms), maxTimerMs));
      if (background) timer.unref();
      signal?.addEventListener('abort', finish, { once: true });
    }),
};

export const realRandom: Random = {
  bytes: (count) => randomBytes(count),
  fraction: () => Math.random(),
};

export const realFetch: Fetch = (url, init) => fetch(url, init);
