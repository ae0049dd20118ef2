import type { Disturbance, Network } from '../../src/testing/stores/place.ts';

/** Which call is disturbed how, and what is held back: what every proxy between an adapter and its server has in common. */
export class Disturber implements Network {
  readonly can: ReadonlySet<Disturbance>;
  calls = 0;
  #disturbance: Disturbance | null = null;
  #which: readonly number[] | null = null;
  #held: (() => Promise<void>)[] = [];

  constructor(can: readonly Disturbance[]) {
    this.can = new Set(can);
  }

  disturb(disturbance: Disturbance, calls?: readonly number[]): void {
    this.#disturbance = disturbance;
    this.#which = calls ?? null;
    this.calls = 0;
  }

  async calm(): Promise<void> {
    this.#disturbance = null;
    this.calls = 0;
    for (const go of this.#held.splice(0)) await go();
  }

  /** To be asked once for every call that comes. */
  next(): Disturbance | null {
    const call = this.calls;
    this.calls += 1;
    return this.#which === null || this.#which.includes(call) ? this.#disturbance : null;
  }

  /** `go` runs with the next `calm`. */
  hold(go: () => Promise<void>): void {
    this.#held.push(go);
  }
}

/** How long a call of a place may take: late answers are waited for so long, and a busy machine must not be late by itself. */
export const placeTimeoutMs = 2_000;

export const nonsense = '<!doctype html><title>Welcome</title><p>The page of something else.</p>\n';
