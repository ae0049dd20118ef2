/** What was done so far, by what it was. */
export class Tally {
  readonly #counts = new Map<string, Map<string, number>>();

  count(what: string, which: string): void {
    const counts = this.#counts.get(what) ?? new Map<string, number>();
    this.#counts.set(what, counts.set(which, (counts.get(which) ?? 0) + 1));
  }

  total(what: string): number {
    return [...(this.#counts.get(what)?.values() ?? [])].reduce((sum, count) => sum + count, 0);
  }

  /** `3 (journal 2, usage 1)`. */
  words(what: string): string {
    return `${String(this.total(what))} ${countWords(Object.fromEntries(this.#counts.get(what) ?? []))}`.trim();
  }
}

/** `(200 17, 503 2)`, most first; nothing where nothing was counted. */
export function countWords(counts: Readonly<Record<string, number>>): string {
  const sorted = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  return sorted.length === 0 ? '' : `(${sorted.map(([which, count]) => `${which} ${String(count)}`).join(', ')})`;
}
