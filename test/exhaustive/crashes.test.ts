import { afterAll, describe, it } from 'vitest';
import type { Bounds, Scene } from './scene.ts';
import { expectSound, isLong, patienceMs, printTable } from './table.ts';
import { wayScenes } from './ways.ts';

const faults = (count: number): Bounds => ({ preemptions: 0, lapses: 0, faults: count });

const dying = (scene: Scene): Scene => ({ ...scene, name: `${scene.name}; it dies`, faults: ['die'] });

/** Where every second death is tried every day: forward, and on the way back. */
const everyDay = ['a rotation', 'the way back after the switch'];

describe('calls that go wrong, each, and each with each after it', () => {
  afterAll(printTable);

  it.each(wayScenes)('end as they should (I1–I6, I8): $name', { timeout: patienceMs }, (scene) =>
    expectSound(scene, [faults(isLong ? 2 : 1)]),
  );

  const twice = wayScenes.filter(({ name }) => isLong || everyDay.includes(name)).map(dying);
  it.each(twice)('end as they should where the next process dies as well: $name', { timeout: patienceMs }, (scene) =>
    expectSound(scene, [faults(2)]),
  );
});
