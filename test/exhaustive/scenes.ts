import type { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import { oldValue, secret } from '../orchestrator/world.ts';
import { quick, type Ground } from './ground.ts';
import type { Script } from './process.ts';
import type { Scene } from './scene.ts';

/** Two processes that each give one command, from every place of a rotation at which it matters what comes first. */

export const noWait = { lockTimeoutMs: 0 } as const;

const command = (
  name: string,
  give: (process: Orchestrator, ground: Ground) => Promise<unknown>,
  journal = 0,
): Script => ({
  name,
  journal,
  work: (process, { ground }) => give(process, ground),
});

export const takenOver = async ({ world }: Ground): Promise<{ takeOver: string | undefined; lockTimeoutMs: 0 }> => ({
  takeOver: (await world.keyring()).claim?.run,
  ...noWait,
});

export const rotate = command('rotate', (process) => process.rotate(secret, noWait));
export const run = command('run', (process) => process.run());
export const abort = command('abort', (process) => process.abort(secret, 'no', noWait));
export const hold = command('hold', (process) => process.hold(secret, 'wait'));
export const holdThenUnhold = command('hold, unhold', async (process) => {
  await process.hold(secret, 'wait');
  await process.unhold(secret, 'go on');
});
export const compromised = command('compromised', (process) =>
  process.rotate(secret, { compromised: true, ...noWait }),
);
export const takeOver = command(
  'take over',
  async (process, ground) => process.rotate(secret, await takenOver(ground)),
  1,
);
export const takeOverBack = command(
  'take over, abort',
  async (process, ground) => process.abort(secret, 'no', await takenOver(ground)),
  1,
);
export const rotateElsewhere = command('rotate by another journal', (process) => process.rotate(secret, noWait), 1);

const looks = command('run while the old version is used', async (process, ground) => {
  await process.run();
  if (ground.accepted.includes(oldValue) && ground.world.clock.monotonic() > ground.beganAt) ground.kept = oldValue;
});

/** Where there is nothing but a value in use. */
export async function idle({ world }: Ground): Promise<void> {
  await world.begin(1, 3);
  await world.orchestrator.run();
}

async function expectReady({ world }: Ground, effect: string): Promise<void> {
  const next = (await world.orchestrator.look(secret)).live?.next;
  if (next?.kind !== 'perform' || next.effect !== effect) throw new Error(`not ready to ${effect}`);
}

/** A run whose next look tells the upstream. */
export async function beforeSwitch(ground: Ground): Promise<void> {
  await idle(ground);
  await ground.world.orchestrator.rotate(secret);
  await ground.world.seconds(2);
  await expectReady(ground, 'activate');
}

/** A run whose next look tells the upstream once more, and revokes. */
export async function beforeRevoke(ground: Ground): Promise<void> {
  await beforeSwitch(ground);
  await ground.world.orchestrator.advance(secret);
  await ground.world.seconds(6);
  await expectReady(ground, 'reassert');
}

/** A run that was switched, and waits. */
export async function switched(ground: Ground): Promise<void> {
  await beforeSwitch(ground);
  await ground.world.orchestrator.advance(secret);
  await ground.world.seconds(2);
}

/** A run that has gone back, and whose next look revokes the new version. */
export async function backBeforeRevoke(ground: Ground): Promise<void> {
  await switched(ground);
  await ground.world.orchestrator.abort(secret, 'no');
  await ground.world.seconds(9);
  await expectReady(ground, 'reassert');
}

/** A run that a person told to go back, and no process has looked since. */
export async function toldToGoBack(ground: Ground): Promise<void> {
  await switched(ground);
  const { journal, clock } = ground.world;
  const [live] = await journal.runs({ live: true });
  const at = clock.now();
  const move = { kind: 'abort', step: 'monitor', check: null, who: 'ada', why: 'no', at } as const;
  const event = { at, secret, run: live?.id ?? '', step: 'monitor', event: 'abort', message: 'no', data: {} } as const;
  await journal.move(live?.id ?? '', move, event);
  await expectReady(ground, 'restore');
}

interface Pair {
  readonly from: (ground: Ground) => Promise<void>;
  readonly what: string;
  readonly scripts: readonly [Script, Script];
}

const pairs: readonly Pair[] = [
  { what: 'nothing begun', from: idle, scripts: [rotate, rotate] },
  { what: 'nothing begun', from: idle, scripts: [rotate, compromised] },
  { what: 'nothing begun', from: idle, scripts: [rotate, rotateElsewhere] },
  { what: 'before the switch', from: beforeSwitch, scripts: [run, run] },
  { what: 'before the switch', from: beforeSwitch, scripts: [rotate, abort] },
  { what: 'before the switch', from: beforeSwitch, scripts: [rotate, holdThenUnhold] },
  { what: 'before the switch', from: beforeSwitch, scripts: [rotate, compromised] },
  { what: 'before the switch', from: beforeSwitch, scripts: [compromised, compromised] },
  { what: 'before the switch', from: beforeSwitch, scripts: [rotate, takeOver] },
  { what: 'before the switch', from: beforeSwitch, scripts: [rotate, takeOverBack] },
  { what: 'before the revocation', from: beforeRevoke, scripts: [run, run] },
  { what: 'before the revocation', from: beforeRevoke, scripts: [rotate, abort] },
  { what: 'before the revocation', from: beforeRevoke, scripts: [rotate, holdThenUnhold] },
  { what: 'before the revocation', from: beforeRevoke, scripts: [rotate, compromised] },
  { what: 'before the revocation', from: beforeRevoke, scripts: [rotate, takeOver] },
  { what: 'before the revocation', from: beforeRevoke, scripts: [rotate, takeOverBack] },
  { what: 'on the way back', from: toldToGoBack, scripts: [run, run] },
  { what: 'on the way back', from: toldToGoBack, scripts: [rotate, compromised] },
  { what: 'on the way back', from: toldToGoBack, scripts: [rotate, takeOver] },
  { what: 'gone back', from: backBeforeRevoke, scripts: [run, run] },
  { what: 'gone back', from: backBeforeRevoke, scripts: [rotate, takeOver] },
];

export const sceneOf = ({ what, from, scripts }: Pair): Scene => ({
  name: `${what}: ${scripts.map(({ name }) => name).join(' × ')}`,
  policy: quick(),
  journals: Math.max(...scripts.map(({ journal }) => journal)) + 1,
  prepare: from,
  scripts,
  lapses: [6_000],
  faults: ['die'],
});

/** Whoever looks finds the old version in use again, and another is about to revoke it. */
const usedAgain: Scene = {
  ...sceneOf({ what: 'before the revocation', from: beforeRevoke, scripts: [run, looks] }),
  stray: oldValue,
};

export const pairScenes: readonly Scene[] = [...pairs.map(sceneOf), usedAgain];
