import { failing, type Check } from '../model/check.ts';
import { findVersion, type Keyring } from '../model/keyring.ts';
import type { ReceiversPolicy } from '../model/policy.ts';
import { lastIntent, type Run } from '../model/run.ts';
import type { UsageEvidence } from '../ports/usage-log.ts';
import { canary } from './canary-check.ts';
import { check } from './check.ts';
import { coverageOf, requiredPools, rosterOf, unreportedPools } from './evidence.ts';
import { clock, covered, holding, missing, missingBeforeSwitch, roster, usageUnread } from './fleet-checks.ts';
import type { GateView } from './gate-view.ts';
import type { Leg } from './leg.ts';
import type { Observation } from './observation.ts';
import { approvals, blackout, cutover, held, overruled, timeout } from './person-checks.ts';
import { grace, newSeen, oldQuiet, retryTail, unreportedHolding, unreportedQuiet } from './use-checks.ts';

/** deploy → update: every receiver holds the new version, so the upstream may start to sign with it. */
export function deployGate(run: Run, leg: Leg, keyring: Keyring, seen: Observation, now: number): readonly Check[] {
  const stored = readBack(run, keyring);
  if (run.compromised) return [held(run), stored];
  const { policy } = run;
  const people = [
    ...(policy.approvals > 0 ? [approvals(run, 'deploy')] : []),
    ...(policy.cutover === null ? [] : [cutover(run, now)]),
    ...(policy.blackouts.length === 0 ? [] : [blackout(run, now)]),
  ];
  const committedAt = committedAtOf(run, keyring);
  const { pools } = policy.receivers;
  const unreported =
    unreportedPools(pools).length === 0 ? [] : [unreportedHolding(run, committedAt, seen.propagationLagMs, now)];
  const fleet = (): readonly Check[] => {
    if (seen.usage.state === 'failed') return [usageUnread(seen.usage.error.message)];
    const view = viewOf(run, leg, keyring, seen.usage.evidence, now);
    const reports = [roster(view), missingBeforeSwitch(view), holding(view)];
    return [clock(view), ...(isCounted(policy.receivers) ? reports : [])];
  };
  const checks = [stored, propagation(committedAt, seen, now), ...fleet(), ...unreported, ...people];
  const gate = [held(run), timeout(run, 'deploy', now), ...overruled(run, 'deploy', checks)];
  if (policy.canary === undefined) return gate;
  return [...gate, ...overruled(run, 'deploy', [canary(run, policy.canary, failing(gate).length === 0, now)])];
}

/** monitor → revoke: nobody uses what is about to be revoked. */
export function monitorGate(run: Run, leg: Leg, keyring: Keyring, seen: Observation, now: number): readonly Check[] {
  if (run.compromised) return [held(run)];
  const usage = seen.usage.state === 'read' ? seen.usage.evidence : null;
  const evidence = (): readonly Check[] => {
    if (seen.usage.state === 'failed') return [usageUnread(seen.usage.error.message)];
    const view = viewOf(run, leg, keyring, seen.usage.evidence, now);
    const coverage = coverageOf(view.roster, view.evidence, run.policy.receivers);
    const counts = isCounted(run.policy.receivers);
    return [
      clock(view),
      ...(counts ? [roster(view), missing(view), holding(view), covered(view, coverage)] : []),
      newSeen(view),
      retryTail(view),
      ...(counts ? [oldQuiet(view, coverage)] : []),
      ...(unreportedPools(run.policy.receivers.pools).length > 0 ? [unreportedQuiet(view)] : []),
    ];
  };
  const people = run.policy.approvals > 0 ? [approvals(run, 'monitor')] : [];
  const checks = [grace(run, leg, usage, now), ...evidence(), ...people];
  return [held(run), timeout(run, 'monitor', now), ...overruled(run, 'monitor', checks)];
}

/** Whether a roster is asked for: nobody reporting is no evidence, even where no pool is named. */
function isCounted(receivers: ReceiversPolicy): boolean {
  return requiredPools(receivers).length > 0 || unreportedPools(receivers.pools).length === 0;
}

function viewOf(run: Run, leg: Leg, keyring: Keyring, evidence: UsageEvidence, now: number): GateView {
  return { run, leg, keyring, evidence, now, roster: rosterOf(evidence, run.policy.receivers) };
}

function readBack(run: Run, keyring: Keyring): Check {
  const ok = findVersion(keyring, run.to)?.stage === 'pending';
  return check('read-back', ok, 'upstream', {
    reason: ok ? 'stored' : 'not-stored',
    message: ok
      ? 'The new version was read back from the store.'
      : 'The new version could not be read back from the store.',
    evidence: { version: run.to, revision: keyring.revision },
  });
}

/** Epoch ms. The commit may have taken long; where its answer was lost, the time at which it began has to do. */
function committedAtOf(run: Run, keyring: Keyring): number {
  const createdAt = Date.parse(findVersion(keyring, run.to)?.createdAt ?? '');
  return Math.max(createdAt, lastIntent(run, 'generate')?.result?.at ?? createdAt);
}

function propagation(committedAt: number, seen: Observation, now: number): Check {
  const eta = committedAt + seen.propagationLagMs;
  const ok = now >= eta || seen.propagationLagMs === 0;
  return check('propagation', ok, 'time', {
    reason: ok ? 'propagated' : 'propagating',
    message: ok
      ? 'A receiver that starts now finds the new version.'
      : 'A receiver that starts now may still find the old keyring.',
    eta,
    evidence: { propagationLagMs: seen.propagationLagMs },
  });
}
