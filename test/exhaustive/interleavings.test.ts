import { afterAll, describe, expect, it } from 'vitest';
import { replay, type Deviations } from './explore.ts';
import { pairScenes } from './scenes.ts';
import type { Bounds } from './scene.ts';
import { expectSound, isLong, patienceMs, printTable } from './table.ts';

const everyDay: readonly Bounds[] = [
  { preemptions: 1, lapses: 0, faults: 0 },
  { preemptions: 0, lapses: 1, faults: 0 },
  { preemptions: 0, lapses: 0, faults: 1 },
];

const atLength: readonly Bounds[] = [
  { preemptions: 2, lapses: 0, faults: 1 },
  { preemptions: 1, lapses: 1, faults: 0 },
  { preemptions: 0, lapses: 1, faults: 1 },
];

describe('two processes over one secret, whatever comes first', () => {
  afterAll(printTable);

  it.each(pairScenes)('do no harm to each other (I1–I6, I8): $name', { timeout: patienceMs }, (scene) =>
    expectSound(scene, isLong ? atLength : everyDay),
  );
});

/** Schedules that once did harm, by what was wrong with them. */
const mended: readonly (readonly [what: string, scene: string, deviations: Deviations])[] = [
  [
    'a run on its way back, taken over right before it reinstated the old version, said of no command that it helps (I8)',
    'on the way back: rotate × take over',
    [[20, 'go 2']],
  ],
];

describe('schedules that did harm once', () => {
  it.each(mended)('%s', async (_, name, deviations) => {
    const scene = pairScenes.find((each) => each.name === name)!;
    await expect(replay(scene, deviations)).resolves.toBeUndefined();
  });
});
