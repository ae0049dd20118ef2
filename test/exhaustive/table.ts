import { expect } from 'vitest';
import { explore, type Explored } from './explore.ts';
import type { Bounds, Scene } from './scene.ts';

/** KEYTURN_LONG is for those who want to be surer, on a machine that does nothing else for a while. */
export const isLong = process.env['KEYTURN_LONG'] !== undefined;

/** How long the schedules of one scene may take on a machine that is busy with other tests, ms. Their number is what is fixed. */
export const patienceMs = isLong ? 6 * 3_600_000 : 300_000;

const rows: string[] = [];

function row(cells: readonly (string | number)[]): string {
  const [first = '', ...others] = cells.map(String);
  return first.padEnd(78) + others.map((cell) => cell.padStart(11)).join('');
}

/** Explores it within each of the bounds, and fails with the first schedule that breaks anything, as it went. */
export async function expectSound(scene: Scene, eachBounds: readonly Bounds[]): Promise<void> {
  for (const bounds of eachBounds) {
    const explored = await explore(scene, { bounds });
    rows.push(tell(explored, bounds));
    const { found } = explored;
    const words = found === null ? '' : `${found.what}\n${JSON.stringify(found.deviations)}\n${found.told.join('\n')}`;
    expect(words).toBe('');
    expect(explored.whole).toBe(true);
  }
}

function tell({ scene, schedules, states, deepest, found }: Explored, bounds: Bounds): string {
  const { preemptions, lapses, faults } = bounds;
  return row([scene, preemptions, lapses, faults, schedules, states, deepest, found === null ? 0 : 1]);
}

export function printTable(): void {
  const head = ['scene', 'preempted', 'lapses', 'faults', 'schedules', 'states', 'deepest', 'violations'];
  console.log([row(head), ...rows].join('\n'));
}
