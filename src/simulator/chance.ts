import { createSeededRandom } from '../memory/clock.ts';
import type { Random } from '../ports/system.ts';

/** Chance that repeats: what a seed and a name give is the same on every machine, whatever else was drawn meanwhile. */
export interface Chance extends Random {
  /** A whole number from `least` to `most`, both included. */
  whole(least: number, most: number): number;
  /** True in that share of cases. */
  is(share: number): boolean;
  pick<T>(items: readonly [T, ...T[]]): T;
  /** From `least` to `most`, as many below their geometric mean as above it: durations of every size. */
  duration(leastMs: number, mostMs: number): number;
  /** Chance of its own for what is called so. */
  of(name: string): Chance;
}

export function chanceOf(seed: number, name = ''): Chance {
  const random = createSeededRandom(mixed(seed, name));
  const fraction = (): number => random.fraction();
  const whole = (least: number, most: number): number => least + Math.floor(fraction() * (most - least + 1));
  return {
    ...random,
    whole,
    is: (share) => fraction() < share,
    pick: (items) => items[whole(0, items.length - 1)] ?? items[0],
    duration: (leastMs, mostMs) => {
      const least = Math.max(1, Math.min(leastMs, mostMs));
      return Math.round(least * (Math.max(least, mostMs) / least) ** fraction());
    },
    of: (inner) => chanceOf(seed, `${name}/${inner}`),
  };
}

/** One number out of both, below 2^52 (FNV-1a over the name, twice, begun with the seed's halves). */
function mixed(seed: number, name: string): number {
  let low = (seed ^ 0x811c9dc5) >>> 0;
  let high = (Math.floor(seed / 2 ** 32) ^ 0x9747b28c) >>> 0;
  for (let at = 0; at < name.length; at += 1) {
    low = Math.imul(low ^ name.charCodeAt(at), 0x01000193) >>> 0;
    high = Math.imul(high ^ (low >>> 15), 0x85ebca6b) >>> 0;
  }
  return (high >>> 12) * 2 ** 32 + low;
}
