/** What must never happen, by the names that the design gives it. */
export type Invariant =
  'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8' | 'legal-moves' | 'authentic' | 'hold' | 'compromise';

export const invariantWords: Readonly<Record<Invariant, string>> = {
  I1: 'no valid message is refused for good',
  I2: 'no version is revoked while a signer may use it',
  I3: 'at most one live run moves a secret',
  I4: 'a value is durable before anything depends on it',
  I5: 'no step has an effect twice that matters',
  I6: 'a settled secret has one primary and nothing else accepted',
  I7: 'no value leaves store, cache and process memory',
  I8: 'every run ends, or says who must do what',
  'legal-moves': 'a keyring makes legal moves alone, and its revision only grows',
  authentic: 'no forged message is accepted',
  hold: 'nothing passes a hold',
  compromise: 'after a compromise nothing of before it is left',
};

export interface Violation {
  readonly invariant: Invariant;
  /** Ms since the world began. */
  readonly at: number;
  readonly message: string;
}

/** Keeps the first violation of a world: what comes after it may be no more than its consequence. */
export class Verdict {
  #violation: Violation | null = null;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  get violation(): Violation | null {
    return this.#violation;
  }

  fail(invariant: Invariant, message: string): void {
    this.#violation ??= { invariant, at: this.#now(), message };
  }
}
