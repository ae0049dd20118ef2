import { expect } from 'vitest';
import { deployGate, monitorGate } from '../../src/decide/gates.ts';
import { legOf } from '../../src/decide/leg.ts';
import type { Observation } from '../../src/decide/observation.ts';
import { failing, type Check, type CheckName } from '../../src/model/check.ts';
import type { Keyring } from '../../src/model/keyring.ts';
import type { Run } from '../../src/model/run.ts';
import type { ReceiverEvidence, UsageEvidence } from '../../src/ports/usage-log.ts';
import { activated, evidence, fleet, fleetBefore, now, observation, rings, run, type RunOver } from './build.ts';

/** The two gates over the runs of `build.ts`, which pass as they are; a scene says what is different. */

export interface Scene {
  readonly run?: RunOver;
  readonly keyring?: Keyring;
  readonly receivers?: readonly ReceiverEvidence[];
  readonly usage?: Partial<UsageEvidence>;
  readonly seen?: Partial<Observation>;
  readonly now?: number;
}

function sceneOf(scene: Scene, base: { run: Run; keyring: Keyring; receivers: readonly ReceiverEvidence[] }) {
  const keyring = scene.keyring ?? base.keyring;
  const seen = observation(keyring, [], {
    usage: { state: 'read', evidence: evidence(scene.receivers ?? base.receivers, scene.usage) },
    ...scene.seen,
  });
  return { run: base.run, leg: legOf(base.run, keyring, seen), keyring, seen, now: scene.now ?? now };
}

/** The deploy gate of a run whose new version is pending and held by all. */
export function deploy(scene: Scene = {}): readonly Check[] {
  const all = sceneOf(scene, { run: run(scene.run), keyring: rings.pending, receivers: fleetBefore });
  return deployGate(all.run, all.leg, all.keyring, all.seen, all.now);
}

/** The monitor gate of a run that was switched half an hour ago, the old version unused for 20 minutes. */
export function monitor(scene: Scene = {}): readonly Check[] {
  const switchedRun = run({ intents: [activated], step: 'monitor', ...scene.run });
  const all = sceneOf(scene, { run: switchedRun, keyring: rings.switched, receivers: fleet });
  return monitorGate(all.run, all.leg, all.keyring, all.seen, all.now);
}

/** The one check that fails, whole in what people and programs need of it. */
export function only(checks: readonly Check[], name: CheckName): Check {
  expect(failing(checks).map((check) => check.name)).toEqual([name]);
  const [check] = failing(checks);
  expect(check!.reason).toMatch(/^[a-z]+(-[a-z]+)*$/);
  expect(check!.message).toMatch(/^[A-Za-z0-9].{20,}/s);
  return check!;
}

/** Every check passes, and none of them promises or asks for anything. */
export function isGood(checks: readonly Check[]): void {
  expect(failing(checks)).toEqual([]);
  for (const check of checks) {
    expect(check.message).not.toBe('');
    expect(check.eta).toBeNull();
    expect(check.command).toBeNull();
  }
}
