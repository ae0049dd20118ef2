import { afterAll, describe, expect, it } from 'vitest';
import { foreignClaimIgnored, leaseNotReadAgain, notReclaimed, notWaitedFor, writtenOver } from './broken.ts';
import { explore, replay } from './explore.ts';
import type { Change } from './ground.ts';
import type { Bounds } from './scene.ts';
import { pairScenes } from './scenes.ts';

interface Broken {
  readonly what: string;
  readonly change: Change;
  readonly scene: string;
  readonly bounds: Bounds;
  /** How the invariant that it breaks is named. */
  readonly breaks: string;
}

const once = { preemptions: 0, lapses: 0, faults: 0 };

const broken: readonly Broken[] = [
  {
    what: 'the lease is not read again before a call',
    change: leaseNotReadAgain,
    scene: 'before the switch: run × run',
    bounds: { ...once, lapses: 1 },
    breaks: 'I3: a call was made after its deadline',
  },
  {
    what: 'a commit writes over what it did not read',
    change: writtenOver,
    scene: 'before the switch: rotate × take over',
    bounds: { ...once, lapses: 1 },
    breaks: 'a revision did not grow',
  },
  {
    what: 'whoever takes the lease does not claim the keyring anew',
    change: notReclaimed,
    scene: 'before the revocation: run × run while the old version is used',
    bounds: { ...once, lapses: 1 },
    breaks: 'I2: a version was revoked that a look had shown to be in use',
  },
  {
    what: 'the call of a dead process is not waited for',
    change: notWaitedFor,
    scene: 'before the switch: run × run',
    bounds: { ...once, faults: 1 },
    breaks: 'I3: two calls to the upstream were under way at a time',
  },
  {
    what: 'the claim of another journal is ignored',
    change: foreignClaimIgnored,
    scene: 'nothing begun: rotate × rotate by another journal',
    bounds: once,
    breaks: 'took the claim of a run whose place it does not take',
  },
];

/** Every one of them is found long before this. */
const limit = 1_000;

describe('a protocol that lacks one thing', () => {
  const told: string[] = [];
  afterAll(() => console.log(told.join('\n')));

  it.each(broken)(
    'is found out: $what',
    { timeout: 120_000 },
    async ({ what, change, scene: name, bounds, breaks }) => {
      const scene = pairScenes.find((each) => each.name === name)!;
      const { found, schedules, states } = await explore(scene, { bounds, limit, change });
      told.push(`${what}: found by schedule ${schedules}, after ${states} states: ${found?.what ?? 'never'}`);
      expect(found?.what).toContain(breaks);
      await expect(replay(scene, found!.deviations, change)).rejects.toThrow(breaks);
      await expect(replay(scene, found!.deviations)).resolves.toBeUndefined();
    },
  );
});
