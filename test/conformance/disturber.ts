import type { Disturbance, Network } from '../../src/testing/stores/place.ts';

/** How a protocol does with one call what is asked of it. */
export interface ProxiedCall<Answer> {
  /** Asks the server. */
  readonly forward: () => Promise<Answer>;
  readonly answer: (answer: Answer) => void;
  /** Ends it without an answer. */
  readonly cut: () => void;
  readonly cutAnswer: (answer: Answer) => void;
  /** How the server asks to wait. */
  readonly throttled: Answer;
  readonly talkNonsense: () => void;
}

/** Which call is disturbed how, and what is held back: what every proxy between an adapter and its server has in common. */
export class Disturber implements Network {
  readonly can: ReadonlySet<Disturbance> = new Set<Disturbance>([
    'refuse',
    'lose-answer',
    'cut-answer',
    'late-answer',
    'late-call',
    'double',
    'throttle',
    'nonsense',
  ]);
  calls = 0;
  #disturbance: Disturbance | null = null;
  #which: readonly number[] | null = null;
  #held: (() => Promise<void>)[] = [];

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

  /** Once for every call that comes. */
  async serve<Answer>(call: ProxiedCall<Answer>): Promise<void> {
    const { forward, answer, cut, cutAnswer, throttled, talkNonsense } = call;
    switch (this.#next()) {
      case null:
        answer(await forward());
        return;
      case 'refuse':
        cut();
        return;
      case 'lose-answer':
        await forward();
        cut();
        return;
      case 'cut-answer':
        cutAnswer(await forward());
        return;
      case 'late-answer': {
        const late = await forward();
        this.#held.push(async () => answer(late));
        return;
      }
      case 'late-call':
        this.#held.push(async () => answer(await forward()));
        return;
      case 'double':
        await forward();
        answer(await forward());
        return;
      case 'throttle':
        answer(throttled);
        return;
      case 'nonsense':
        talkNonsense();
    }
  }

  #next(): Disturbance | null {
    const call = this.calls;
    this.calls += 1;
    return this.#which === null || this.#which.includes(call) ? this.#disturbance : null;
  }
}

/** How long a call of a place may take: late answers are waited for so long, and a busy machine must not be late by itself. */
export const placeTimeoutMs = 2_000;

export const nonsense = '<!doctype html><title>Welcome</title><p>The page of something else.</p>\n';
