import { decide } from '../../src/decide/decide.ts';
import type { Decision, Wait } from '../../src/decide/decision.ts';
import type { Leg } from '../../src/decide/leg.ts';
import type { Observation } from '../../src/decide/observation.ts';
import type { Check, CheckName } from '../../src/model/check.ts';
import type { ErrorCode } from '../../src/model/errors.ts';
import { emptyKeyring, nextKeyring, type Claim, type Keyring, type KeyringMove } from '../../src/model/keyring.ts';
import type { Capabilities, GatesPolicy, PoolPolicy, ReceiversPolicy, SecretPolicy } from '../../src/model/policy.ts';
import type { EffectKind, Intent, IntentResult, PersonMove, Run } from '../../src/model/run.ts';
import type { ReceiverEvidence, UsageEvidence, VersionUseEvidence } from '../../src/ports/usage-log.ts';
import { policyOf, runOf } from '../conformance/run-samples.ts';

/** Runs, keyrings and evidence around one moment, `now`; every builder's result would let the run go on. */

export const second = 1_000;
export const minute = 60 * second;
export const now = Date.parse('2026-03-01T12:00:00.000Z');

export const secret = 'hook';
export const journal = 'j1';

/** The two ways of the rotation v1 → v2. */
export const forward: Leg = { isBack: false, target: 'v2', call: 'activate', promotion: 'promote' };
export const back: Leg = { isBack: true, target: 'v1', call: 'restore', promotion: 'reinstate' };

/** When the upstream answered that it took the new version, in the runs that are built as switched. */
export const switched = now - 30 * minute;

/** When the new version was stored as pending. */
export const generated = now - 40 * minute;

export interface PolicyOver extends Partial<
  Pick<SecretPolicy, 'approvals' | 'cutover' | 'blackouts' | 'mirrors' | 'canary'>
> {
  readonly receivers?: Partial<ReceiversPolicy>;
  readonly gates?: Partial<GatesPolicy>;
  readonly capabilities?: Partial<Capabilities>;
}

/** A pool whose receivers stay and have to report. */
export function pool(expect: number, over: Partial<PoolPolicy> = {}): PoolPolicy {
  return { expect, reporting: 'required', ephemeral: false, maxAgeMs: null, ...over };
}

/** Two receivers in one pool that report every 10 s, a grace of 1 minute, a quiet time of 5, an idempotent upstream. */
export function policyWith(over: PolicyOver = {}): SecretPolicy {
  const base = policyOf(secret);
  return {
    ...base,
    receivers: {
      pools: { web: pool(2) },
      reportEveryMs: 10 * second,
      missingAfterMs: 10 * minute,
      refreshEveryMs: minute,
      ...over.receivers,
    },
    gates: { ...base.gates, graceMs: minute, quietMs: 5 * minute, ...over.gates },
    approvals: over.approvals ?? base.approvals,
    cutover: over.cutover ?? base.cutover,
    blackouts: over.blackouts ?? base.blackouts,
    mirrors: over.mirrors ?? base.mirrors,
    ...(over.canary === undefined ? {} : { canary: over.canary }),
    upstream: {
      ...base.upstream,
      capabilities: { ...base.upstream.capabilities, redelivers: true, idempotent: true, ...over.capabilities },
    },
  };
}

export const ourClaim: Claim = { run: 'r1', journal, kind: 'rotation', from: 'v1', to: 'v2', deadline: null };
export const foreignClaim: Claim = { ...ourClaim, run: 'r9', journal: 'j9', to: 'v9' };

export const add = (version: string, atMs = generated): KeyringMove => ({
  kind: 'add',
  version,
  value: `value of ${version}`,
  createdAt: new Date(atMs).toISOString(),
});
export const promote = (version: string): KeyringMove => ({ kind: 'promote', version });
export const revoke = (version: string): KeyringMove => ({
  kind: 'revoke',
  version,
  at: new Date(now - minute).toISOString(),
});
export const claim = (held: Claim = ourClaim): KeyringMove => ({ kind: 'claim', claim: held });
export const release: KeyringMove = { kind: 'release' };

/** The keyring after one commit for each list of moves. */
export function keyringAfter(...commits: readonly (readonly KeyringMove[])[]): Keyring {
  return onTopOf(emptyKeyring(secret), ...commits);
}

export function onTopOf(base: Keyring, ...commits: readonly (readonly KeyringMove[])[]): Keyring {
  return commits.reduce(
    (keyring, moves) => nextKeyring(keyring, moves, { id: `c${String(keyring.revision)}`, highestRevision: 0 }),
    base,
  );
}

const adopted = keyringAfter([add('v1', now - 90 * 24 * 60 * minute), promote('v1')]);

/** The document at every stage of the rotation v1 → v2 of run r1, in the order in which they happen. */
export const rings = {
  settledBefore: adopted,
  pending: onTopOf(adopted, [claim(), add('v2')]),
  switched: onTopOf(adopted, [claim(), add('v2')], [claim(), promote('v2')]),
  settledAfter: onTopOf(adopted, [claim(), add('v2')], [claim(), promote('v2')], [revoke('v1'), release]),
  withdrawn: onTopOf(adopted, [claim(), add('v2')], [claim(), revoke('v2'), release]),
  /** Somebody made v1 primary again behind the run's back. */
  wentBack: onTopOf(adopted, [claim(), add('v2')], [claim(), promote('v2')], [promote('v1')]),
  firstPending: keyringAfter([claim({ ...ourClaim, kind: 'first', from: null }), add('v2')]),
  firstSettled: keyringAfter([claim({ ...ourClaim, kind: 'first', from: null }), add('v2')], [promote('v2'), release]),
} satisfies Record<string, Keyring>;

/** What the upstream is told by the effects of a run from v1 to v2. */
const toldBy: Partial<Record<EffectKind, string>> = { activate: 'v2', reassert: 'v2', restore: 'v1' };

export function intent(effect: EffectKind, result: Partial<IntentResult> | null, over: Partial<Intent> = {}): Intent {
  const at = over.at ?? switched - second;
  const whole: IntentResult | null =
    result === null
      ? null
      : { outcome: 'done', at: at + second, code: null, message: null, retryAt: null, retryable: true, ...result };
  return {
    id: `i-${effect}-${String(at)}`,
    effect,
    version: toldBy[effect] ?? null,
    token: 1,
    at,
    deadline: at + 12 * second,
    ...over,
    result: whole,
  };
}

/** A try that ended `agoMs` ago with that error. */
export function failed(
  effect: EffectKind,
  agoMs: number,
  code: ErrorCode,
  over: Partial<IntentResult> & { readonly outcome?: 'failed' | 'unknown' } = {},
): Intent {
  const result = { outcome: 'failed' as const, at: now - agoMs, code, message: `It ended with ${code}.`, ...over };
  return intent(effect, result, { at: now - agoMs - second });
}

export const activated = intent('activate', {});

/** At the gate before the switch, unless told otherwise. */
export function said(kind: PersonMove['kind'], atMs = now - minute, over: Partial<PersonMove> = {}): PersonMove {
  return { kind, step: 'deploy', check: null, who: 'ada', why: 'she knows', at: atMs, ...over };
}

export interface RunOver extends Partial<Omit<Run, 'policy'>> {
  readonly policy?: PolicyOver;
}

export function run(over: RunOver = {}): Run {
  const { policy, ...rest } = over;
  return { ...runOf(secret, 'r1'), revision: 1, ...rest, policy: policyWith(policy) };
}

export function firstRun(over: RunOver = {}): Run {
  return run({ kind: 'first', from: null, revision: 0, ...over });
}

export function use(version: string, atMs: number, over: Partial<VersionUseEvidence> = {}): VersionUseEvidence {
  return {
    version,
    matched: 1,
    exclusive: 1,
    notOk: 0,
    firstMatchedAt: atMs,
    lastMatchedAt: atMs,
    lastExclusiveAt: atMs,
    recent: [],
    ...over,
  };
}

/** A receiver that has reported for hours, did so a second ago, and holds both versions. */
export function receiver(instance: string, over: Partial<ReceiverEvidence> = {}): ReceiverEvidence {
  return {
    id: `id-${instance}`,
    instance,
    pool: 'web',
    coveredSince: now - 120 * minute,
    lastReportAt: now - second,
    signedOffAt: null,
    forgottenAt: null,
    revision: 0,
    holds: ['v2', 'v1'],
    primary: 'v1',
    uses: [],
    ...over,
  };
}

/** Two live receivers; one saw v1 last 20 minutes ago, the other v2 after it. */
export const fleet: readonly ReceiverEvidence[] = [
  receiver('w1', { uses: [use('v1', now - 20 * minute)] }),
  receiver('w2', { uses: [use('v2', now - 10 * minute)] }),
];

/** The same two before the switch: v2 is held and was never used. */
export const fleetBefore: readonly ReceiverEvidence[] = [
  receiver('w1', { uses: [use('v1', now - second)] }),
  receiver('w2'),
];

export function evidence(
  receivers: readonly ReceiverEvidence[] = fleet,
  over: Partial<UsageEvidence> = {},
): UsageEvidence {
  const stamps = receivers.map((each) => Math.max(each.lastReportAt, each.forgottenAt ?? 0));
  return { now, newestStampAt: stamps.length === 0 ? null : Math.max(...stamps), receivers, ...over };
}

export function observation(
  keyring: Keyring | null,
  receivers: readonly ReceiverEvidence[] = fleet,
  over: Partial<Observation> = {},
): Observation {
  return {
    journal,
    token: 1,
    keyring: keyring === null ? { state: 'absent', token: null } : { state: 'present', keyring, token: 't1' },
    propagationLagMs: 0,
    usage: { state: 'read', evidence: evidence(receivers) },
    retrySince: null,
    ...over,
  };
}

/** A decision in one line: `perform promote (update)`, `wait holding, roster (deploy)`, `end aborted (generate)`. */
export function inShort(decision: Decision): string {
  switch (decision.kind) {
    case 'perform':
      return `perform ${decision.effect} (${decision.step})`;
    case 'wait': {
      const waits = decision.checks.filter((check) => !check.ok).map((check) => check.name);
      return `wait ${waits.join(', ')} (${decision.step})`;
    }
    case 'end':
      return `end ${decision.state} (${decision.step})`;
  }
}

export function decided(of: Run, seen: Observation, at = now): string {
  return inShort(decide(of, seen, at));
}

export function waitOf(of: Run, seen: Observation, at = now): Wait {
  const decision = decide(of, seen, at);
  if (decision.kind !== 'wait') throw new Error(`it does not wait: ${inShort(decision)}`);
  return decision;
}

export function named(checks: readonly Check[], name: CheckName): Check {
  const found = checks.find((check) => check.name === name);
  if (found === undefined) throw new Error(`there is no check ${name}`);
  return found;
}
