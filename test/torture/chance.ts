import { createSeededRandom } from 'keyturn/memory';

/** Seeded choices. Each lane of the torture has its own, so that what one does first moves no choice of another. */
export class Chance {
  readonly #fraction: () => number;

  constructor(seed: number, lane: number) {
    this.#fraction = createSeededRandom(seed * 1_000 + lane).fraction;
  }

  /** A whole number up to, and without, `end`. */
  below(end: number): number {
    return Math.floor(this.#fraction() * end);
  }

  between(least: number, most: number): number {
    return least + this.#fraction() * (most - least);
  }

  isOne(of: number): boolean {
    return this.below(of) === 0;
  }

  one<T>(from: readonly T[]): T {
    const chosen = from[this.below(from.length)];
    if (chosen === undefined) throw new Error('nothing to choose from');
    return chosen;
  }

  /** In any order. */
  shuffled<T>(from: readonly T[]): readonly T[] {
    return from
      .map((each) => ({ each, at: this.#fraction() }))
      .sort((a, b) => a.at - b.at)
      .map(({ each }) => each);
  }
}

/** Deals each card once in any order, then again: whatever is in it comes up even in a short run. */
export class Deck<T> {
  readonly #chance: Chance;
  readonly #cards: readonly T[];
  #left: T[] = [];

  constructor(chance: Chance, cards: readonly T[]) {
    this.#chance = chance;
    this.#cards = cards;
  }

  draw(): T {
    if (this.#left.length === 0) this.#left = [...this.#chance.shuffled(this.#cards)];
    const card = this.#left.pop();
    if (card === undefined) throw new Error('a deck without cards');
    return card;
  }
}
