import { expect, it } from 'vitest';
import { raceOn, rotateOn } from './support/store-rotation.ts';
import { describeOnEach } from './support/describe-stores.ts';

/** With real processes on each store beyond one machine. */

describeOnEach('a rotation', (openWorld) => {
  it('refuses no message, through a minute without the store, and mirrors the primary (I1 I2 I6 I7, covers R-21)', async ({
    onTestFinished,
  }) => {
    const told = await rotateOn(await openWorld(onTestFinished), onTestFinished);
    expect(told.refusals).toEqual({});
    expect(told.outageMs).toBeGreaterThanOrEqual(60_000);
    expect(told.deliveries).toBeGreaterThan(100);
  }, 200_000);

  it('happens once where two with journals of their own begin it at the same moment (I3)', async ({
    onTestFinished,
  }) => {
    await raceOn(await openWorld(onTestFinished), onTestFinished);
  }, 120_000);
});
