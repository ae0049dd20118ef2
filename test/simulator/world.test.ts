import { describe, expect, it } from 'vitest';
import { scheduleOf } from '../../src/simulator/plan.ts';
import { faultLevels } from '../../src/simulator/schedule.ts';
import { runWorld } from '../../src/simulator/world.ts';
import { everyPolicy, retrying } from './policies.ts';

/** So many seeds of each policy; all of them are run, however long it takes. */
const seeds = { none: 1, usual: 4, hard: 12 };

async function traced(seed: number): Promise<readonly string[]> {
  const lines: string[] = [];
  await runWorld(retrying, scheduleOf(retrying, seed, 'hard'), (line) => lines.push(line));
  return lines;
}

describe('a world', () => {
  it('is the same to the last line for the same seed', async () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const lines = await traced(seed);
      expect(lines.length).toBeGreaterThan(10);
      expect(await traced(seed)).toEqual(lines);
    }
  });

  it('is another one for another seed', async () => {
    expect(await traced(1)).not.toEqual(await traced(2));
  });

  it('is the same whatever another world beside it does', async () => {
    const [alone] = [await traced(7)];
    const [one, other] = await Promise.all([traced(7), traced(8)]);
    expect(one).toEqual(alone);
    expect(other).toEqual(await traced(8));
  });

  describe.each(everyPolicy)('of $secret', (policy) => {
    it.each(faultLevels)(
      'keeps every invariant, with faults: %s (I1–I8)',
      async (level) => {
        const broken: unknown[] = [];
        let [worlds, events, rotations] = [0, 0, 0];
        for (let seed = 1; seed <= seeds[level]; seed += 1) {
          const { violation, schedule, tally } = await runWorld(policy, scheduleOf(policy, seed, level));
          if (violation !== null) broken.push({ seed, ...violation, faults: schedule.faults });
          worlds += 1;
          events += tally.events;
          rotations += tally.rotations;
        }
        console.log(`${policy.secret}, faults ${level}: ${worlds} worlds, ${rotations} rotations, ${events} events.`);
        expect(broken).toEqual([]);
        expect(rotations).toBeGreaterThanOrEqual(worlds);
      },
      300_000,
    );
  });
});
