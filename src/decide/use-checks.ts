import type { Check } from '../model/check.ts';
import { formatDuration, formatElapsed, formatTime } from '../model/duration.ts';
import { confirmedAt, type Run } from '../model/run.ts';
import { retireSet } from '../model/keyring.ts';
import type { ReceiversPolicy } from '../model/policy.ts';
import type { UsageEvidence } from '../ports/usage-log.ts';
import { check, confirmCommand } from './check.ts';
import { latest, lastExclusiveUse, unreportedPools, usesOf, type Coverage } from './evidence.ts';
import type { GateView } from './gate-view.ts';
import { countsFrom, provenAt, retryTailMs, seenSince, switchMoment, type Leg } from './leg.ts';

/** Checks on what the upstream signs with, and on what is still used. */

/** What a delivery may take from its signature to its verification without being a retry. */
const transitMs = 5 * 60_000;

/** How far a receiver that does not report may be behind its interval: its jitter, a slow load, its clock. */
const refreshSlackMs = 15_000;
const refreshJitter = 1.1;

export function grace(run: Run, leg: Leg, evidence: UsageEvidence | null, now: number): Check {
  const { graceMs } = run.policy.gates;
  const since = switchMoment(run, leg, evidence);
  if (since === null) {
    return check('grace', false, 'person', {
      reason: 'switch-unknown',
      message: 'When the upstream was switched is in no journal, and no delivery shows it.',
      command: confirmCommand(run),
      evidence: { graceMs },
    });
  }
  const eta = since + graceMs;
  const ok = now >= eta;
  return check('grace', ok, 'time', {
    reason: ok ? 'grace-over' : 'in-grace',
    message: ok
      ? `The minimum of ${formatDuration(graceMs)} since the switch is over.`
      : `The minimum of ${formatDuration(graceMs)} since the switch is not over.`,
    since,
    eta,
    evidence: { graceMs },
  });
}

export function newSeen({ run, leg, keyring, evidence }: GateView): Check {
  const seenAt = seenSince(run, leg, evidence);
  const oldUsedAt = latest(usesOf(evidence, retireSet(keyring)).map((use) => use.lastExclusiveAt));
  const confirmed = confirmedAt(run);
  const after = (moment: number | null): boolean => moment !== null && (oldUsedAt === null || moment > oldUsedAt);
  const facts = { evidence: { version: leg.target, seenAt, oldUsedAt, confirmedAt: confirmed } };
  const [wanted, other] = leg.isBack ? ['old', 'new'] : ['new', 'old'];
  const again = run.policy.upstream.capabilities.idempotent
    ? ` To have the upstream told the ${wanted} value once more: keyturn rotate ${run.secret}`
    : '';
  if (after(seenAt)) {
    return check('new-seen', true, 'traffic', {
      ...facts,
      reason: 'seen',
      message: `The upstream signs with the ${wanted} version: a delivery of it came after the last one of the ${other}.`,
      since: seenAt,
    });
  }
  if (after(confirmed)) {
    return check('new-seen', true, 'traffic', {
      ...facts,
      reason: 'confirmed',
      message: `A person confirmed that the upstream has the ${wanted} value.`,
      since: confirmed,
    });
  }
  if (oldUsedAt !== null && (seenAt !== null || confirmed !== null)) {
    return check('new-seen', false, 'traffic', {
      ...facts,
      reason: 'old-seen-after-new',
      message: `The newest delivery was signed with the ${other} version, ${formatDuration(evidence.now - oldUsedAt)} ago. Some may still be under way; if it goes on, there is a second sender, or the upstream went back.${again}`,
      since: oldUsedAt,
      command: confirmCommand(run),
    });
  }
  const from = countsFrom(run, leg);
  if (from !== null && isTooEarly(run, leg, evidence)) {
    return check('new-seen', false, 'time', {
      ...facts,
      reason: 'too-early-to-tell',
      message: `Until ${formatTime(from)} a delivery signed with the ${wanted} version may be one of before the switch, which proves nothing. If you are sure that the upstream has the ${wanted} value, say so.`,
      since: switchMoment(run, leg, evidence),
      eta: from,
      command: confirmCommand(run),
    });
  }
  return check('new-seen', false, 'traffic', {
    ...facts,
    reason: oldUsedAt === null ? 'no-traffic' : 'only-old-seen',
    message: `No delivery signed with the ${wanted} version has arrived since the upstream answered that it took it. If there is no traffic and you are sure, say so.${oldUsedAt === null ? '' : again}`,
    since: switchMoment(run, leg, evidence),
    command: confirmCommand(run),
  });
}

/** Whether any delivery of now may still be one that proves nothing. */
function isTooEarly(run: Run, leg: Leg, evidence: UsageEvidence): boolean {
  return evidence.now < (countsFrom(run, leg) ?? -Infinity);
}

/** How long after the proven switch retries are waited for. */
function tailMs(policy: Run['policy']): number {
  return policy.gates.retryTail === 'respect' ? retryTailMs(policy) : 0;
}

/**
 * Retries that the old version signed may come until the whole horizon after the proven switch is over. What of them is
 * due nobody can tell beforehand: a delivery that a load balancer turned away has reached no receiver.
 */
export function retryTail({ run, leg, evidence }: GateView): Check {
  const { retryHorizonMs } = run.policy.upstream.capabilities;
  const facts = { evidence: { retryHorizonMs } };
  const tail = tailMs(run.policy);
  if (tail === 0) {
    const isIgnored = retryTailMs(run.policy) > 0;
    return check('retry-tail', true, 'time', {
      ...facts,
      reason: isIgnored ? 'ignored' : 'no-tail',
      message: isIgnored
        ? `The policy ignores retries: those that come up to ${formatDuration(retryHorizonMs)} after the switch, signed with the old version, will be refused.`
        : 'No retry of an earlier delivery can come signed with the old version.',
    });
  }
  const proven = provenAt(run, leg, evidence);
  if (proven === null) {
    return check('retry-tail', false, isTooEarly(run, leg, evidence) ? 'time' : 'traffic', {
      ...facts,
      reason: 'switch-unproven',
      message: 'How long retries of earlier deliveries may come is counted from the first delivery after the switch.',
      command: confirmCommand(run),
    });
  }
  const eta = proven + tail;
  const ok = evidence.now >= eta;
  return check('retry-tail', ok, 'time', {
    ...facts,
    reason: ok ? 'tail-over' : 'in-tail',
    message: ok
      ? `No retry can come any more: ${formatDuration(retryHorizonMs)} since the switch are over.`
      : `A delivery of before the switch that failed may be tried again for ${formatDuration(retryHorizonMs)}, signed with the old version.`,
    since: proven,
    eta,
  });
}

export function oldQuiet({ run, leg, keyring, evidence, roster }: GateView, coverage: Coverage): Check {
  const { quietMs } = run.policy.gates;
  const used = lastExclusiveUse(roster, evidence, retireSet(keyring), run.policy.receivers);
  const since = latest([used, switchMoment(run, leg, evidence)]) ?? evidence.now;
  const facts = { since, evidence: { quietMs, lastUsedAt: used, retire: retireSet(keyring) } };
  const stray = strayUse({ run, leg, keyring, evidence });
  const version = leg.isBack ? 'new version' : 'old version';
  if (stray !== null) {
    return check('old-quiet', false, 'person', {
      ...facts,
      reason: 'old-used-after-switch',
      message: `A delivery signed with the ${version} came at ${formatTime(stray)}, when none of before the switch could still be under way: somebody replays an old one, or there is a second sender that has not got the ${leg.isBack ? 'old' : 'new'} value. Find it; then let the run go on.`,
      command: `keyturn unhold ${run.secret} --accept old-quiet --reason "found the sender"`,
    });
  }
  const quietForMs = coverage.until - since;
  const ok = coverage.until > 0 && quietForMs >= quietMs;
  return check('old-quiet', ok, 'traffic', {
    ...facts,
    reason: ok ? 'quiet' : used !== null && used === since ? 'old-used-recently' : 'not-quiet-long-enough',
    message: ok
      ? `The ${version} has not been used for ${formatDuration(quietForMs)}.`
      : `The ${version} must go unused for ${formatDuration(quietMs)}; so far ${formatElapsed(evidence.now - since)}.`,
    eta: Math.max(since + quietMs, evidence.now),
  });
}

/** When what is to be revoked was last used later than any delivery of before the switch can explain; null when it was not. */
function strayUse({
  run,
  leg,
  keyring,
  evidence,
}: Pick<GateView, 'run' | 'leg' | 'keyring' | 'evidence'>): number | null {
  const proven = provenAt(run, leg, evidence);
  const used = latest(usesOf(evidence, retireSet(keyring)).map((use) => use.lastExclusiveAt));
  if (proven === null || used === null) return null;
  const { switchLagMs, retriesResigned, retryHorizonMs } = run.policy.upstream.capabilities;
  const horizonMs = retriesResigned === 'yes' ? 0 : retryHorizonMs;
  return used > proven + switchLagMs + horizonMs + transitMs ? used : null;
}

/** How long a receiver that does not report may hold an older keyring than the store has, ms. */
function refreshBoundMs({ pools, refreshEveryMs }: ReceiversPolicy): number {
  const bounds = unreportedPools(pools).map(
    ([, { maxAgeMs }]) => (maxAgeMs ?? refreshEveryMs * refreshJitter) + refreshSlackMs,
  );
  return Math.max(0, ...bounds);
}

/** deploy → update, for pools that give no roster: by now their refresh has brought them the new version. */
export function unreportedHolding(run: Run, committedAt: number, propagationLagMs: number, now: number): Check {
  const pools = unreportedPools(run.policy.receivers.pools).map(([pool]) => pool);
  const boundMs = refreshBoundMs(run.policy.receivers) + propagationLagMs;
  const eta = committedAt + boundMs;
  const ok = now >= eta;
  return check('unreported', ok, 'time', {
    reason: ok ? 'refreshed' : 'refreshing',
    message: ok
      ? `Pool ${pools.join(', ')}, which nobody counts, has had the ${formatDuration(boundMs)} that a refresh takes at the most.`
      : `Pool ${pools.join(', ')}, which nobody counts, has ${formatDuration(boundMs)} to fetch the new version.`,
    since: committedAt,
    eta,
    evidence: { pools, boundMs },
  });
}

/**
 * monitor → revoke, for pools that give no coverage: nothing tells that the old version goes unused there, so the whole
 * horizon has to be over, and a person has to vouch that the upstream has the new value.
 */
export function unreportedQuiet({ run, leg, evidence }: GateView): Check {
  const { retriesResigned, retryHorizonMs, switchLagMs } = run.policy.upstream.capabilities;
  const pools = unreportedPools(run.policy.receivers.pools).map(([pool]) => pool);
  const facts = { evidence: { pools }, command: confirmCommand(run) };
  const proven = provenAt(run, leg, evidence);
  if (proven === null || confirmedAt(run) === null) {
    return check('unreported', false, 'person', {
      ...facts,
      reason: 'not-confirmed',
      message: `What pool ${pools.join(', ')} receives is in no report. Look whether the upstream has the ${leg.isBack ? 'old' : 'new'} value everywhere, and say so.`,
    });
  }
  const horizonMs = retriesResigned === 'yes' || run.policy.gates.retryTail === 'ignore' ? 0 : retryHorizonMs;
  const eta = proven + switchLagMs + horizonMs + transitMs + refreshBoundMs(run.policy.receivers);
  const ok = evidence.now >= eta;
  return check('unreported', ok, 'time', {
    evidence: { pools },
    reason: ok ? 'confirmed' : 'in-horizon',
    message: ok
      ? `A person vouched for pool ${pools.join(', ')}, and nothing of before the switch can still come there.`
      : `Deliveries of before the switch may still come to pool ${pools.join(', ')}, which nobody counts.`,
    since: proven,
    eta,
  });
}
