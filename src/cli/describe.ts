import type { Wait } from '../decide/decision.ts';
import { failing, type Check, type WaitingFor } from '../model/check.ts';
import type { KeyturnError } from '../model/errors.ts';
import { formatDuration } from '../model/duration.ts';
import { steps, type Run } from '../model/run.ts';
import { jsonTime } from './output.ts';

/** What a wait comes down to: whom or what it waits for, until when, and the command that can move it. */
export interface Waiting {
  readonly kind: WaitingFor;
  readonly until: number | null;
  readonly command: string | null;
}

/**
 * The first failing check says what is waited for; the last of them to pass by itself says until when, and where one
 * of them has no such time, neither has the wait.
 */
export function waitingOf(wait: Wait): Waiting | null {
  const checks = failing(wait.checks);
  const [first] = checks;
  if (first === undefined) return null;
  const etas = checks.map((check) => check.eta);
  const until = etas.includes(null) ? null : Math.max(...etas.flatMap((eta) => eta ?? []));
  return { kind: first.waitingFor, until, command: checks.find((check) => check.command !== null)?.command ?? null };
}

/** True when nothing but a person can move it. */
export function needsPerson(wait: Wait): boolean {
  const checks = failing(wait.checks);
  return checks.length > 0 && checks.every((check) => check.waitingFor === 'person');
}

/** True when a person holds it, or its gate has waited for too long: it does not go on before a person lets it. */
export function isHeld(wait: Wait): boolean {
  return failing(wait.checks).some(({ name }) => name === 'held' || name === 'timeout');
}

/** `3/5 update`: the step as people count it. */
export function stepLabel(step: Run['step']): string {
  return `${String(steps.indexOf(step) + 1)}/${String(steps.length)} ${step}`;
}

/** A check in one line, with the time left where one is known. */
export function checkLine(check: Check, now: number): string {
  const left = check.eta !== null && check.eta > now ? ` [${formatDuration(check.eta - now)} left]` : '';
  return `${check.name}: ${check.message}${left}`;
}

/** An error as part of a result that holds more than it. */
export function errorLines(secret: string, { message, hint }: KeyturnError): readonly string[] {
  return [`${secret}: ${message}`, ...(hint === null ? [] : [`  ${hint}`])];
}

export function errorJson({ code, message, hint }: Pick<KeyturnError, 'code' | 'message' | 'hint'>): object {
  return { code, message, hint };
}

/** One line a failing check, with the time left where one is known and the command that moves it where there is one. */
export function checkLines(checks: readonly Check[], now: number): readonly string[] {
  return failing(checks).map(
    (check) => `${checkLine(check, now)}${check.command === null ? '' : ` → ${check.command}`}`,
  );
}

export function checkJson(check: Check): object {
  const { name, ok, reason, message, evidence, since, eta, waitingFor, command } = check;
  const times = { since: jsonTime(since), eta: jsonTime(eta) };
  return { name, ok, reason, message, ...times, waitingFor, command, evidence: evidenceJson(evidence) };
}

/** Evidence has moments in fields that end in `At`, and `from` and `until` of a span. */
function evidenceJson(evidence: Check['evidence']): object {
  const isMoment = (key: string): boolean => key.endsWith('At') || key === 'from' || key === 'until';
  const entries = Object.entries(evidence).map(([key, value]) => [
    key,
    typeof value === 'number' && isMoment(key) ? jsonTime(value) : value,
  ]);
  return Object.fromEntries(entries) as object;
}

export function waitJson(wait: Wait | null): {
  waitingFor: object | null;
  checks: readonly object[];
  problem: object | null;
} {
  if (wait === null) return { waitingFor: null, checks: [], problem: null };
  const waiting = waitingOf(wait);
  return {
    waitingFor: waiting === null ? null : { ...waiting, until: jsonTime(waiting.until) },
    checks: wait.checks.map(checkJson),
    problem: wait.problem,
  };
}
