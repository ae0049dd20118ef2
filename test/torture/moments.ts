import type { Running } from '../process/support/processes.ts';

interface Heard {
  readonly speaker: Running;
  readonly word: string;
}

/** What processes say while they work: `activate-started` of an orchestrator, `took` of the upstream. */
export class Moments {
  readonly #listeners = new Set<(heard: Heard) => void>();

  hear(speaker: Running, word: string): void {
    for (const listener of this.#listeners) listener({ speaker, word });
  }

  /** The process that says one of these words next; null when nobody has for so long. */
  async next(words: readonly string[], patienceMs: number): Promise<Heard | null> {
    const { promise, resolve } = Promise.withResolvers<Heard | null>();
    const listener = (heard: Heard): void => {
      if (words.includes(heard.word)) resolve(heard);
    };
    this.#listeners.add(listener);
    const timer = setTimeout(() => resolve(null), patienceMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#listeners.delete(listener);
    }
  }
}

/** Gives each whole line to `take`, whatever pieces they come in. */
export function byLine(take: (line: string) => void): (text: string) => void {
  let begun = '';
  return (text) => {
    const lines = (begun + text).split('\n');
    begun = lines.pop() ?? '';
    for (const line of lines) take(line);
  };
}

/** The event that a line of `--json` tells; null where it is none. */
export function eventOf(line: string): string | null {
  try {
    const { event } = JSON.parse(line) as { readonly event?: unknown };
    return typeof event === 'string' ? event : null;
  } catch {
    // A line of a document that is printed over many.
    return null;
  }
}
