import type { Check, CheckName } from '../model/check.ts';
import { formatDuration, formatTime } from '../model/duration.ts';
import { approversOf, gateOf, holdOf, presentMoves, type GateStep, type Run } from '../model/run.ts';
import { shellWord } from '../model/shell.ts';
import { check } from './check.ts';
import { waitedMs } from './gate-clock.ts';
import { blackoutAt, cutoverAt, nextOpening } from './window.ts';

/** Checks that people's words, and the times that people chose, decide. */

export function held(run: Run): Check {
  const hold = holdOf(run);
  if (hold === null) return check('held', true, 'person', { reason: 'not-held', message: 'Nobody holds the run.' });
  const why = hold.why === null ? '' : `: ${hold.why}`;
  return check('held', false, 'person', {
    reason: hold.kind === 'deny' ? 'denied' : 'held',
    message: `${hold.who} ${hold.kind === 'deny' ? 'denied the revocation' : 'holds the run'} since ${formatTime(hold.at)}${why}`,
    since: hold.at,
    command: `keyturn unhold ${run.secret} --reason "it may go on"`,
    evidence: { who: hold.who },
  });
}

/** A gate that has timed out does not pass any more by itself, whatever becomes of its other checks. */
export function timeout(run: Run, step: GateStep, now: number): Check {
  const { timeoutMs } = run.policy.gates;
  const waited = waitedMs(run, step, now);
  const ok = waited < timeoutMs;
  return check('timeout', ok, 'person', {
    reason: ok ? 'in-time' : 'timed-out',
    message: ok
      ? `The gate has waited ${formatDuration(waited)} of at most ${formatDuration(timeoutMs)}.`
      : `The gate has waited longer than ${formatDuration(timeoutMs)} and does not pass by itself any more. Look at what failed, then let it go on.`,
    command: `keyturn unhold ${run.secret} --reason "looked at it"`,
    evidence: { waitedMs: waited, timeoutMs },
  });
}

export function approvals(run: Run, step: GateStep): Check {
  const wanted = run.policy.approvals;
  const who = approversOf(run, step);
  const ok = who.length >= wanted;
  const what = step === 'deploy' ? 'the switch' : 'the revocation';
  return check('approvals', ok, 'person', {
    reason: ok ? 'approved' : 'not-approved',
    message: ok
      ? `${who.join(', ')} approved ${what}.`
      : `${String(who.length)} of ${String(wanted)} people have approved ${what}.`,
    command: `keyturn approve ${run.secret} --reason "looked at it"`,
    evidence: { approvals: who, wanted },
  });
}

export function cutover({ policy, secret }: Run, now: number): Check {
  const window = policy.cutover;
  if (window === null)
    return check('cutover', true, 'time', { reason: 'any-time', message: 'An update may start now.' });
  const { open, closesAt } = cutoverAt(window, now);
  const words = `${window.cron} (${window.timezone}), for ${formatDuration(window.durationMs)}`;
  const eta = open ? null : nextOpening(window, policy.blackouts, now);
  return check('cutover', open, eta === null ? 'person' : 'time', {
    reason: open ? 'window-open' : eta === null ? 'never-opens' : 'window-closed',
    message: open
      ? `The cutover window is open: ${words}.`
      : eta === null
        ? `The cutover window does not open again within two years: ${words}. Correct it and start another run.`
        : `An update starts only in the cutover window: ${words}.`,
    eta,
    command: eta === null ? acceptCommand(secret, 'cutover', 'the window is wrong') : null,
    evidence: { cron: window.cron, timezone: window.timezone, durationMs: window.durationMs, closesAt },
  });
}

export function blackout({ policy }: Run, now: number): Check {
  const found = blackoutAt(policy.blackouts, now);
  if (found === null) {
    return check('blackout', true, 'time', { reason: 'no-blackout', message: 'No blackout is in force.' });
  }
  return check('blackout', false, 'time', {
    reason: 'in-blackout',
    message: `No update starts during a blackout${found.reason === null ? '' : `: ${found.reason}`}.`,
    eta: found.until,
    evidence: { reason: found.reason },
  });
}

/** Checks that a person may overrule; the others are what a person changes in another way, or nobody can answer for. */
export const overrulable: readonly CheckName[] = [
  'propagation',
  'clock',
  'roster',
  'missing',
  'holding',
  'canary',
  'unreported',
  'grace',
  'coverage',
  'new-seen',
  'old-quiet',
  'retry-tail',
  'cutover',
  'blackout',
];

/** The checks of a gate, those that a person overruled at it passing by that person's word. */
export function overruled(run: Run, step: GateStep, checks: readonly Check[]): readonly Check[] {
  const accepted = presentMoves(run).filter((move) => move.kind === 'accept' && gateOf(move.step) === step);
  return checks.map((each) => {
    const word = each.ok ? undefined : accepted.findLast((move) => move.check === each.name);
    if (word === undefined) return each;
    const why = word.why === null ? '' : ` (${word.why})`;
    return check(each.name, true, each.waitingFor, {
      reason: 'overruled',
      message: `${word.who} overruled it${why}: ${each.message}`,
      since: word.at,
      evidence: { ...each.evidence, overruled: each.reason },
    });
  });
}

/** The command that overrules a check. */
export function acceptCommand(secret: string, name: CheckName, reason: string): string {
  return `keyturn unhold ${secret} --accept ${name} --reason ${shellWord(reason)}`;
}
