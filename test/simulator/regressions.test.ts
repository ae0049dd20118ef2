import { describe, expect, it } from 'vitest';
import { WorldClock } from '../../src/simulator/clock.ts';
import { MachineClock, never } from '../../src/simulator/machine.ts';
import { scheduleOf } from '../../src/simulator/plan.ts';
import type { Fault, Setup } from '../../src/simulator/schedule.ts';
import { runWorld, type Outcome } from '../../src/simulator/world.ts';
import { retrying } from './policies.ts';

/** What worlds have found in the product, as small schedules. */

async function world(change: Partial<Setup>, faults: readonly Fault[]): Promise<Outcome> {
  const schedule = scheduleOf(retrying, 5_225, 'none');
  return runWorld(retrying, { ...schedule, setup: { ...schedule.setup, isFirst: false, ...change }, faults });
}

describe('a store whose reads lag', () => {
  it('lets the upstream be told, although a read right after a commit shows the keyring of before it (I8)', async () => {
    const { violation, tally } = await world({ storeLagMs: 11_720 }, []);
    expect([violation, tally.completed]).toEqual([null, 1]);
  });

  it('lets nobody abort a rotation under compromise whose new version it does not show yet (I6)', async () => {
    const at = 143_140;
    const faults: readonly Fault[] = [
      { at: at + 300, kind: 'compromised' },
      { at: at + 283_360, kind: 'abort' },
      { at: at + 283_460, kind: 'abort' },
      { at: at + 283_560, kind: 'abort' },
    ];
    const { violation } = await world({ storeLagMs: 11_720, askedAt: at, peopleMs: 450_946 }, faults);
    expect(violation).toBeNull();
  });
});

describe('a journal that never moved a keyring, while nobody can look what receivers hold', () => {
  it.each(['store-document-gone', 'store-put-back'] as const)(
    'writes nothing over what the store lost (%s)',
    async (kind) => {
      const at = 600_000;
      const faults: readonly Fault[] = [
        { at, kind: 'usage-outage', forMs: 120_000 },
        { at: at + 1_000, kind, forMs: 90_000 },
        { at: at + 30_000, kind: 'rival' },
      ];
      const { violation, tally } = await world({ askedAt: 60_000 }, faults);
      expect(violation).toBeNull();
      expect(tally.completed).toBeGreaterThan(0);
    },
  );
});

describe('a keyring that a hand takes away before any receiver reported it', () => {
  it('is begun anew by another journal, and the first one’s run ends by a person', async () => {
    const faults: readonly Fault[] = [
      { at: 62_000, kind: 'store-document-gone', forMs: 90_000 },
      { at: 80_000, kind: 'rival' },
    ];
    const { violation, tally } = await world({ isFirst: true, askedAt: 60_000 }, faults);
    expect([violation, tally.completed, tally.aborted]).toEqual([null, 1, 1]);
  });
});

describe('the processes of a world that is over', () => {
  it('are kept by nobody: a dead one waits for a promise of its own', () => {
    const dead = new MachineClock(new WorldClock(0), 0);
    dead.kill();
    expect(dead.sleep(1)).not.toBe(dead.sleep(1));
    expect(never()).not.toBe(never());
  });
});
