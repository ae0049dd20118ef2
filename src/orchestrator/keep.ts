import type { Wait } from '../decide/decision.ts';
import { clockToKeep } from '../decide/gate-clock.ts';
import { isSwitched, legOf, provenToKeep, unjournalledCall } from '../decide/leg.ts';
import { keyringIn, type Observation } from '../decide/observation.ts';
import { formatDuration } from '../model/duration.ts';
import { idBytes, idFrom } from '../model/id.ts';
import type { GateClock, Intent, Proven, Run } from '../model/run.ts';
import type { NewEvent } from '../ports/journal.ts';
import type { Parts } from './parts.ts';
import { eventOf } from './perform.ts';
import type { Tenure } from './tenure.ts';

/** What a look shows and a later one may not: it is journalled as soon as it is seen. */

/**
 * A call that only the keyring's claim knows of. It may have been made, or be made yet; once the claim is ours anew,
 * nothing else would tell.
 */
export async function keepLostCall(parts: Parts, tenure: Tenure, run: Run, seen: Observation): Promise<Run> {
  const call = lostCall(parts, run, seen);
  if (call === null) return run;
  const intents = [...run.intents, unknownCall(parts, call.version, call.deadline)];
  const words = 'The claim in the keyring shows a call to the upstream of which this journal knows nothing.';
  return parts.journal.save({ ...run, intents }, [eventOf(parts, run, 'call-found', words)], tenure.lease);
}

function lostCall(
  { journal }: Pick<Parts, 'journal'>,
  run: Run,
  { keyring }: Observation,
): { readonly version: string; readonly deadline: number } | null {
  const claim = keyring.state === 'present' ? keyring.keyring.claim : null;
  if (claim === null) return null;
  const isLost = claim.journal === journal.id ? claim.run === run.id : claim.run === run.tookOver?.run;
  const deadline = isLost ? unjournalledCall(run, claim) : null;
  return deadline === null ? null : { version: claim.to, deadline };
}

/** An intent that stands for a call of which nobody knows what it was or did. */
export function unknownCall(parts: Pick<Parts, 'clock' | 'random'>, version: string, deadline: number): Intent {
  const at = parts.clock.now();
  const id = idFrom('intent', parts.random.bytes(idBytes));
  return { id, effect: 'activate', version, token: 0, at, deadline: Math.max(at, deadline), result: null };
}

/** Since when the upstream is seen to sign with what it was told. */
export async function keepProven(parts: Parts, tenure: Tenure, run: Run, seen: Observation): Promise<Run> {
  const proven = newProof(run, seen);
  if (proven === null) return run;
  const before = run.proven?.version === proven.version ? run.proven : null;
  const shiftMs = proven.shiftedMs - (before?.shiftedMs ?? 0);
  const events: NewEvent[] = [];
  if (before === null) {
    const words = `The upstream signs with version ${proven.version}.`;
    events.push(eventOf(parts, run, 'switch-proven', words, { version: proven.version, provenAt: proven.at }));
  } else if (shiftMs > 0) {
    const words = `The wall clock was set forward by ${formatDuration(shiftMs)}, which counts as no time.`;
    events.push(eventOf(parts, run, 'clock-jumped', words, { shiftMs }));
  }
  return parts.journal.save({ ...run, proven }, events, tenure.lease);
}

function newProof(run: Run, seen: Observation): Proven | null {
  if (seen.keyring.state === 'failed' || seen.usage.state === 'failed') return null;
  const keyring = keyringIn(seen.keyring, run.secret);
  const leg = legOf(run, keyring, seen);
  return isSwitched(run, leg, keyring, seen) ? provenToKeep(run, leg, seen.usage.evidence) : null;
}

/** How long the gate has been closed for what somebody or something could move. */
export async function keepGateClock(parts: Parts, tenure: Tenure, run: Run, wait: Wait): Promise<Run> {
  const gateClock = newClock(parts, run, wait);
  if (gateClock === null) return run;
  const { timeoutMs } = run.policy.gates;
  const timesOut = gateClock.waitedMs >= timeoutMs && wait.checks.some(({ name, ok }) => name === 'timeout' && !ok);
  const wasOut = run.gateClock?.startedAt === gateClock.startedAt && run.gateClock.waitedMs >= timeoutMs;
  if (!timesOut || wasOut) return parts.journal.save({ ...run, gateClock }, [], tenure.lease);
  const words = `The gate of step ${wait.step} has waited longer than ${formatDuration(timeoutMs)}: it holds the run until a person lets it go on.`;
  parts.log.warn('gate timed out', { secret: run.secret, run: run.id, step: wait.step });
  return parts.journal.save({ ...run, gateClock }, [eventOf(parts, run, 'gate-timed-out', words)], tenure.lease);
}

function newClock({ clock }: Pick<Parts, 'clock'>, run: Run, { step, checks }: Wait): GateClock | null {
  if (step !== 'deploy' && step !== 'monitor') return null;
  return checks.some(({ name }) => name === 'timeout') ? clockToKeep(run, step, checks, clock.now()) : null;
}

/** True where a look has shown anything that is to be journalled. */
export function hasToKeep(parts: Parts, run: Run, seen: Observation, wait: Wait): boolean {
  return lostCall(parts, run, seen) !== null || newProof(run, seen) !== null || newClock(parts, run, wait) !== null;
}
