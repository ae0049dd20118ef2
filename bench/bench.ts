/** What a benchmark says: figures of this machine, and ratios, which other machines should give as well. */
export interface Bench {
  readonly name: string;
  readonly rows: readonly BenchRow[];
}

export interface BenchRow {
  readonly case: string;
  /** What was measured, in `unit`; both null where the ratio alone means something. */
  readonly value: number | null;
  readonly unit: Unit | null;
  /** What `ratio` compares the case with; null where it stands alone. */
  readonly against: string | null;
  readonly ratio: number | null;
  /** What the ratio should be; null where nothing is demanded of it. */
  readonly target: number | null;
  readonly met: boolean | null;
}

export type Unit = 'ns' | 'ms' | 's' | 'B' | 'MiB' | 'calls' | 'modules' | '%';

/** A figure that stands alone. */
export function figure(name: string, value: number, unit: Unit): BenchRow {
  return { ...bare, case: name, value: rounded(value), unit };
}

/** What a row is compared with. `value` is the ratio's numerator where it is a figure of its own. */
export interface Comparison {
  readonly against: string;
  readonly ratio: number;
  readonly value?: number;
  readonly unit?: Unit;
}

export function compared(name: string, { against, ratio, value, unit }: Comparison): BenchRow {
  const measured = value === undefined || unit === undefined ? {} : { value: rounded(value), unit };
  return { ...bare, case: name, against, ratio: rounded(ratio), ...measured };
}

export function atLeast(name: string, target: number, comparison: Comparison): BenchRow {
  const row = compared(name, comparison);
  return { ...row, target, met: row.ratio !== null && row.ratio >= target };
}

export function atMost(name: string, target: number, comparison: Comparison): BenchRow {
  const row = compared(name, comparison);
  return { ...row, target, met: row.ratio !== null && row.ratio <= target };
}

const bare: BenchRow = { case: '', value: null, unit: null, against: null, ratio: null, target: null, met: null };

/** To three digits: more would be noise. */
function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

/** NaN where there is nothing. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** A count as people write it: `100,000`. */
export function grouped(count: number): string {
  return count.toLocaleString('en');
}
