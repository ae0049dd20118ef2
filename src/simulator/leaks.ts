import { disguisesOf } from '../model/shown.ts';
import type { Verdict } from './checks.ts';

/** I7: looks for every value that there ever was, in every usual disguise, in whatever is written down or said. */
export class Leaks {
  readonly #verdict: Verdict;
  readonly #values = new Set<string>();
  readonly #needles: string[] = [];

  constructor(verdict: Verdict) {
    this.#verdict = verdict;
  }

  remember(value: string): void {
    if (this.#values.has(value)) return;
    this.#values.add(value);
    // Upper-case hex looks the same to a reader.
    this.#needles.push(...disguisesOf(value), Buffer.from(value).toString('hex').toUpperCase());
  }

  /** `where` names what the text is of. */
  look(text: string, where: string): void {
    if (this.#needles.some((needle) => text.includes(needle))) this.#verdict.fail('I7', `A value stands in ${where}.`);
  }

  lookIn(data: unknown, where: string): void {
    this.look(JSON.stringify(data), where);
  }
}
