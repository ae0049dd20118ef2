import type { Decision } from '../../src/decide/decision.ts';
import type { Observation } from '../../src/decide/observation.ts';
import type { Check, CheckName } from '../../src/model/check.ts';
import { findVersion, type Keyring, type KeyringMove, type Version } from '../../src/model/keyring.ts';
import { intentsOf, lastIntent, wantsAbort, type Run } from '../../src/model/run.ts';
import type { SecretPolicy } from '../../src/model/policy.ts';
import type { Invariant } from '../../src/simulator/checks.ts';
import { scheduleOf } from '../../src/simulator/plan.ts';
import type { Fault, Schedule, Setup } from '../../src/simulator/schedule.ts';
import { careful, once, retrying, stubborn } from './policies.ts';

/** Wrong protocols, each a small change of one production function, put in by `mutants.test.ts`. */

/** The one that is at work; null: the code is as it should be. */
export const mutant: { active: string | null } = { active: null };

export function is(name: string): boolean {
  return mutant.active === name;
}

/** The gate with these checks passing, whatever they found. */
export function passing(checks: readonly Check[], ...names: readonly CheckName[]): readonly Check[] {
  return checks.map((check) => (names.includes(check.name) ? { ...check, ok: true, eta: null } : check));
}

/** The gate with no other checks than these. */
export function only(checks: readonly Check[], ...names: readonly CheckName[]): readonly Check[] {
  return checks.filter(({ name }) => names.includes(name));
}

/** What `decide` gives, changed by the mutant that changes decisions. */
export function decided(run: Run, seen: Observation, right: (seen: Observation) => Decision): Decision {
  const keyring = seen.keyring.state === 'present' ? seen.keyring.keyring : null;
  const to = keyring === null ? null : findVersion(keyring, run.to);
  if (is('claim in the journal alone') && keyring !== null) return right(unclaimed(run, seen, keyring));
  const decision = right(seen);
  if (is('a first commit that asks no receiver') && isUnwitnessed(decision, to)) {
    return { kind: 'perform', step: 'generate', effect: 'generate' };
  }
  if (decision.kind !== 'perform') return decision;
  const { effect } = decision;
  if (is('promote before the upstream changed') && effect === 'activate') return { ...decision, effect: 'promote' };
  if (is('abort after the switch that revokes the new version') && effect === 'restore' && to?.stage === 'pending') {
    return { ...decision, effect: 'withdraw' };
  }
  const isRetry = (lastIntent(run, 'generate')?.result?.outcome ?? 'done') !== 'done';
  if (is('pending overwritten on retry') && to?.stage === 'pending' && isRetry && !wantsAbort(run)) {
    return { ...decision, step: 'generate', effect: 'generate' };
  }
  return decision;
}

/** A run that has stored nothing waits for the word of the receivers. */
function isUnwitnessed(decision: Decision, to: Version | null): boolean {
  return decision.kind === 'wait' && to === null && decision.checks.some(({ name }) => name === 'usage-log');
}

/** A foreign claim looks like one of this run's. */
function unclaimed(run: Run, seen: Observation, keyring: Keyring): Observation {
  const { claim } = keyring;
  if (claim === null || seen.keyring.state !== 'present' || (claim.run === run.id && claim.journal === seen.journal)) {
    return seen;
  }
  const own = intentsOf(run, 'generate').length === 0 ? null : { ...claim, run: run.id, journal: seen.journal };
  return { ...seen, keyring: { ...seen.keyring, keyring: { ...keyring, claim: own } } };
}

/** Moves as the mutant makes them. */
export function moved(keyring: Keyring, moves: readonly KeyringMove[]): [Keyring, readonly KeyringMove[]] {
  if (is('claim in the journal alone')) {
    return [keyring, moves.map((move) => (move.kind === 'claim' ? { ...move, kind: 'take-over' } : move))];
  }
  if (!is('pending overwritten on retry')) return [keyring, moves];
  const added = moves.find((move) => move.kind === 'add' && findVersion(keyring, move.version) !== null);
  if (added?.kind !== 'add') return [keyring, moves];
  const versions = keyring.versions.map((each) => (each.id === added.version ? { ...each, value: added.value } : each));
  return [{ ...keyring, versions }, moves.filter((move) => move !== added)];
}

export interface Mutant {
  readonly name: string;
  /** What catches it: the first violation of the first seed that has one. */
  readonly caughtBy: readonly Invariant[];
  readonly policy: SecretPolicy;
  /** The first of the seeds from 1 on that caught it when it was last looked for: tried before them. */
  readonly lastSeed: number;
}

/** The schedule with a setup of that kind, and with faults so long after the rotation was asked for. */
function provoking(setup: Partial<Setup>, ...faults: readonly Fault[]): (schedule: Schedule) => Schedule {
  return (schedule) => {
    const { askedAt } = schedule.setup;
    const more = faults.map((fault) => ({ ...fault, at: Math.max(0, askedAt + fault.at) }));
    return {
      ...schedule,
      setup: { ...schedule.setup, isFirst: false, ...setup },
      faults: [...schedule.faults, ...more].sort((one, other) => one.at - other.at),
    };
  };
}

const steady = { trafficEveryMs: 4_000, switchDelayMs: 0, switchSpreadMs: 0 };

/** So many receivers of the one pool. */
function receivers(count: number): Pick<Setup, 'receivers'> {
  return { receivers: Array.from({ length: count }, () => ({ pool: 'web', refreshEveryMs: 60_000, wallOffMs: 0 })) };
}

const long = { forMs: 30 * 60_000 };

const provocations: Readonly<Record<string, (schedule: Schedule) => Schedule>> = {
  'load gate that counts only the receivers it has heard of': provoking(receivers(2), {
    ...{ kind: 'receiver-restart', at: -20_000, receiver: 0, backAfterMs: 5_000, cutForMs: long.forMs },
  }),
  'missing receivers dropped at once': provoking(receivers(3), {
    ...{ kind: 'receiver-cut', at: -5_000, receiver: 2, from: 'both', ...long },
  }),
  'silence taken as quiet': provoking(
    { ...steady, ...receivers(2), signers: 4 },
    { kind: 'upstream-faults', at: 0, calls: ['partial'] },
    { kind: 'receiver-cut', at: 240_000, receiver: 0, from: 'usage', ...long },
    { kind: 'receiver-cut', at: 240_000, receiver: 1, from: 'usage', ...long },
  ),
  'cache that takes a lower revision': provoking(
    { ...steady, ...receivers(2) },
    { kind: 'store-put-back', at: 200_000, ...long },
  ),
  'a first commit that asks no receiver': provoking(
    steady,
    { kind: 'usage-outage', at: 200_000, ...long },
    { kind: 'store-document-gone', at: 201_000, ...long },
    { kind: 'rival', at: 230_000 },
  ),
  'abort after the switch that revokes the new version': provoking(
    { trafficEveryMs: null },
    { kind: 'upstream-faults', at: 0, calls: ['lose-answer', 'lose-answer', 'lose-answer'] },
    { kind: 'abort', at: 200_000 },
  ),
};

/** The schedule in which that mutant is looked for. */
export function scheduleFor({ name, policy }: Mutant, seed: number): Schedule {
  const schedule = scheduleOf(policy, seed, 'hard');
  return provocations[name]?.(schedule) ?? schedule;
}

export const mutants: readonly Mutant[] = [
  { name: 'no load gate', caughtBy: ['I1'], policy: once, lastSeed: 1 },
  { name: 'load gate that counts only the receivers it has heard of', caughtBy: ['I1'], policy: retrying, lastSeed: 1 },
  { name: 'missing receivers dropped at once', caughtBy: ['I1'], policy: once, lastSeed: 1 },
  { name: 'revoke by time alone', caughtBy: ['I2'], policy: retrying, lastSeed: 1 },
  { name: 'silence taken as quiet', caughtBy: ['I2'], policy: stubborn, lastSeed: 1 },
  {
    name: 'a yes of the upstream taken as proof of the switch',
    caughtBy: ['I2', 'I6', 'I8'],
    policy: once,
    lastSeed: 1,
  },
  { name: 'a canary taken as proof of the switch', caughtBy: ['I2'], policy: careful, lastSeed: 1 },
  { name: 'every match taken as use of the old version too', caughtBy: ['I8'], policy: once, lastSeed: 3 },
  { name: 'revoke inside the retry tail', caughtBy: ['I2'], policy: retrying, lastSeed: 102 },
  { name: 'retry tail that sees only what reached a verifier', caughtBy: ['I2'], policy: retrying, lastSeed: 102 },
  { name: 'promote before the upstream changed', caughtBy: ['legal-moves'], policy: retrying, lastSeed: 1 },
  { name: 'pending overwritten on retry', caughtBy: ['I5'], policy: retrying, lastSeed: 47 },
  { name: 'no lease', caughtBy: ['I3'], policy: retrying, lastSeed: 1 },
  { name: 'lease without fencing', caughtBy: ['I3'], policy: retrying, lastSeed: 178 },
  { name: 'claim in the journal alone', caughtBy: ['I3'], policy: retrying, lastSeed: 4 },
  { name: 'hold ignored at one step', caughtBy: ['hold'], policy: retrying, lastSeed: 9 },
  { name: 'cache that only appends', caughtBy: ['I6'], policy: retrying, lastSeed: 1 },
  { name: 'cache that takes a lower revision', caughtBy: ['I1', 'I6'], policy: retrying, lastSeed: 1 },
  { name: 'last known good dropped on an error', caughtBy: ['I1'], policy: once, lastSeed: 3 },
  { name: '401 from an old snapshot', caughtBy: ['I1'], policy: retrying, lastSeed: 121 },
  { name: 'refetch starved by junk', caughtBy: ['I1', 'I6', 'I8'], policy: once, lastSeed: 88 },
  { name: 'abort after the switch that revokes the new version', caughtBy: ['I2'], policy: retrying, lastSeed: 3 },
  { name: '--compromised that joins the live run', caughtBy: ['compromise'], policy: retrying, lastSeed: 26 },
  { name: 'a first commit that asks no receiver', caughtBy: ['legal-moves'], policy: retrying, lastSeed: 1 },
  { name: 'a value used twice', caughtBy: ['legal-moves'], policy: retrying, lastSeed: 15 },
  { name: 'evidence stamped by the receiver’s clock', caughtBy: ['I1', 'I2', 'I8'], policy: retrying, lastSeed: 3 },
];
