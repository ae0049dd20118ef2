import type { Clock, SleepOptions } from '../ports/system.ts';
import type { WorldClock } from './clock.ts';

/**
 * The clock of one process: its wall clock may be off, it stands still while the process is stopped, and once the process
 * is dead nothing that slept wakes up any more.
 */
export class MachineClock implements Clock {
  readonly #world: WorldClock;
  readonly #wallOffMs: number;
  #isDead = false;
  #stoppedUntil = 0;

  constructor(world: WorldClock, wallOffMs = 0) {
    this.#world = world;
    this.#wallOffMs = wallOffMs;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  now(): number {
    return this.#world.now() + this.#wallOffMs;
  }

  monotonic(): number {
    return this.#world.monotonic();
  }

  sleep(ms: number, { signal }: SleepOptions = {}): Promise<void> {
    if (this.#isDead) return never();
    if (signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        signal?.removeEventListener('abort', abort);
        this.#whenAwake(resolve);
      };
      const callOff = this.#world.after(ms > 1 ? ms : 1, wake);
      const abort = (): void => {
        callOff();
        resolve();
      };
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  /** `kill -9`. */
  kill(): void {
    this.#isDead = true;
  }

  /** `kill -STOP`, and `kill -CONT` after so long. */
  stop(forMs: number): void {
    this.#stoppedUntil = Math.max(this.#stoppedUntil, this.#world.monotonic() + forMs);
  }

  /** Resolves when the process is not stopped; never when it is dead. */
  async awake(): Promise<void> {
    if (this.#isDead) return never();
    if (this.#world.monotonic() >= this.#stoppedUntil) return;
    await new Promise<void>((resolve) => {
      this.#whenAwake(resolve);
    });
  }

  #whenAwake(then: () => void): void {
    if (this.#isDead) return;
    const leftMs = this.#stoppedUntil - this.#world.monotonic();
    if (leftMs <= 0) then();
    else this.#world.after(leftMs, () => this.#whenAwake(then));
  }
}

/** What a dead process waits for. Each waits for its own, which holds nobody: whoever waits for a common one is kept for ever. */
export function never(): Promise<never> {
  return new Promise(() => {
    // It never comes.
  });
}
