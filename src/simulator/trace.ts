/** What happens in a world, told line by line: for a replay, and for the timeline of a violation. */
export class Trace {
  readonly #tell: ((line: string) => void) | null;
  readonly #now: () => number;

  /** `tell` null: nobody listens. */
  constructor(now: () => number, tell: ((line: string) => void) | null) {
    this.#now = now;
    this.#tell = tell;
  }

  /** True where somebody listens, so that words nobody reads need not be made. */
  get isOn(): boolean {
    return this.#tell !== null;
  }

  tell(who: string, words: string): void {
    this.#tell?.(`${worldTime(this.#now())}  ${who.padEnd(12)}  ${words}`);
  }
}

/** `+01:02:03.456` since the world began. */
export function worldTime(ms: number): string {
  const whole = Math.floor(ms);
  const part = (divisor: number, modulus: number, digits: number): string =>
    String(Math.floor(whole / divisor) % modulus).padStart(digits, '0');
  const hours = String(Math.floor(whole / 3_600_000)).padStart(2, '0');
  return `+${hours}:${part(60_000, 60, 2)}:${part(1_000, 60, 2)}.${part(1, 1_000, 3)}`;
}
