import { isKeyturnError } from '../../src/model/errors.ts';
import { wantsAbort, type Run } from '../../src/model/run.ts';
import type { SecretPolicy } from '../../src/model/policy.ts';
import type { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import { oldValue, secret } from '../orchestrator/world.ts';
import { quick, Violation, type Ground } from './ground.ts';
import type { Script } from './process.ts';
import type { Scene } from './scene.ts';
import { beforeSwitch, idle, noWait, switched, takenOver } from './scenes.ts';

/** One process at a time goes a way to its end, and another goes on where it died. */

interface Way {
  readonly name: string;
  readonly from: (ground: Ground) => Promise<void>;
  /** Whether the newest run shows that a person asked for it. */
  readonly isAsked: (newest: Run) => boolean;
  /** What asks for it, which a person says again where it failed. */
  readonly ask: (process: Orchestrator, ground: Ground) => Promise<unknown>;
  readonly ends: 'completed' | 'aborted';
}

const mirrors: SecretPolicy['mirrors'] = [
  { key: 'plain', property: null, format: 'plain' },
  { key: 'documents', property: null, format: 'active_secrets' },
];

/** The same with its journal gone, and an empty one in its place. */
const lost =
  (from: Way['from']): Way['from'] =>
  async (ground) => {
    await from(ground);
    ground.loseJournal();
  };

const forward = {
  isAsked: () => true,
  ask: (process: Orchestrator) => process.rotate(secret, noWait),
  ends: 'completed',
} as const;

const back = {
  isAsked: wantsAbort,
  ask: (process: Orchestrator) => process.abort(secret, 'no', noWait),
  ends: 'aborted',
} as const;

const compromised = {
  isAsked: (newest: Run) => newest.compromised,
  ask: (process: Orchestrator) => process.rotate(secret, { compromised: true, ...noWait }),
  ends: 'completed',
} as const;

const takeOver = {
  isAsked: () => true,
  ask: async (process: Orchestrator, ground: Ground) => process.rotate(secret, await takenOver(ground)),
  ends: 'completed',
} as const;

const takeOverBack = {
  isAsked: wantsAbort,
  ask: async (process: Orchestrator, ground: Ground) => process.abort(secret, 'no', await takenOver(ground)),
  ends: 'aborted',
} as const;

const ways: readonly Way[] = [
  { ...forward, name: 'a rotation', from: idle },
  { ...back, name: 'the way back after the switch', from: switched },
  { ...back, name: 'an abort before the switch', from: beforeSwitch },
  { ...compromised, name: 'under compromise', from: idle },
  { ...compromised, name: 'under compromise, over a run before its switch', from: beforeSwitch },
  { ...compromised, name: 'under compromise, over a run that has switched', from: switched },
  { ...takeOver, name: 'the journal lost before the switch', from: lost(beforeSwitch) },
  { ...takeOver, name: 'the journal lost after the switch', from: lost(switched) },
  { ...takeOverBack, name: 'the journal lost, and back', from: lost(switched) },
];

/** Visits every two seconds until the way is gone. Nothing is kept from one to the next. */
function goes({ isAsked, ask }: Way, isFirst: boolean): Script {
  return {
    name: isFirst ? 'first' : 'next',
    journal: 0,
    work: async (process, { ground, pause }) => {
      if (!isFirst) await pause(2_000);
      for (;;) {
        const newest = await ground.newest(0);
        const asked = newest !== null && isAsked(newest);
        if (asked && newest.state !== 'live') return;
        try {
          await (asked ? process.advance(secret, noWait) : ask(process, ground));
        } catch (error) {
          if (!isKeyturnError(error)) throw error;
        }
        await pause(2_000);
      }
    },
  };
}

async function judge({ ends }: Way, ground: Ground): Promise<void> {
  const { world } = ground;
  const value = await world.primaryValue();
  const newest = await ground.newest(0);
  if (newest?.state !== ends) throw new Violation(`I5: it ended ${newest?.state ?? 'never begun'}, not ${ends}`);
  if ((value === oldValue) !== (ends === 'aborted'))
    throw new Violation(`I5: ${ends}, and the primary is the other one`);
  if (world.place.plain('plain') !== value) throw new Violation('I5: the plain copy is not of the primary');
  if (!(world.place.plain('documents') ?? '').includes(value)) throw new Violation('I5: nor is the other copy');
}

export const wayScenes: readonly Scene[] = ways.map((way) => ({
  name: way.name,
  policy: quick({ mirrors }),
  prepare: way.from,
  scripts: [goes(way, true)],
  successor: goes(way, false),
  faults: ['die', 'throw', 'lost'],
  judge: (ground) => judge(way, ground),
}));
