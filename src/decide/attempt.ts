import type { Check, CheckName } from '../model/check.ts';
import { intentsOf, type EffectKind, type Intent, type IntentResult, type Run, type Step } from '../model/run.ts';
import { backoffMs } from './backoff.ts';
import type { Decision, Wait } from './decision.ts';
import { check } from './check.ts';
import type { Observation } from './observation.ts';

/** How often an effect that lost a race is tried again at once, on a new observation. */
const racesAtOnce = 5;

/**
 * A race against another commit, or against the effect's own deadline on a machine that is too busy: nothing was done.
 * Whose lease is lost indeed finds that out by the next write.
 */
const lostRaces: readonly (string | null)[] = ['store-conflict', 'lease-lost'];

/** The effect, or the wait that its latest failures in a row ask for. */
export function attempt(run: Run, step: Step, effect: EffectKind, seen: Observation, now: number): Decision {
  const failures = failuresInARow(run, effect);
  const result = failures.at(-1)?.result ?? null;
  const perform: Decision = { kind: 'perform', step, effect };
  if (result === null) return perform;
  if (lostRaces.includes(result.code) && failures.length < racesAtOnce) return perform;
  if (seen.retrySince !== null && result.at < seen.retrySince) return perform;
  const eta = nextTryAt(failures.length, result);
  const clockWentBack = result.at > now;
  if (eta <= now || clockWentBack) return perform;
  return {
    kind: 'wait',
    step,
    checks: [failedCheck(effect, failures, result, eta)],
    problem: {
      code: result.code ?? 'upstream-failed',
      message: result.message ?? 'It failed.',
      hint: result.retryable ? null : `Mend it, then: keyturn rotate ${run.secret}`,
      retryable: result.retryable,
    },
  };
}

/** The latest tries of an effect, as far as none of them went well. */
export function failuresInARow(run: Run, effect: EffectKind): readonly Intent[] {
  const tries = intentsOf(run, effect).filter((intent) => intent.result !== null);
  return tries.slice(tries.findLastIndex((intent) => intent.result?.outcome === 'done') + 1);
}

/** When an effect is tried again after so many failures in a row, of which that was the last; epoch ms. */
export function nextTryAt(failures: number, last: IntentResult): number {
  return Math.max(last.retryAt ?? 0, last.at + backoffMs(failures, last.retryable));
}

export function triedWords(failures: number): string {
  return `${failures === 1 ? 'Tried once' : `Tried ${String(failures)} times`}; it will be tried again.`;
}

/** The check that fails where the effect did; the store's where none is named. */
const checkNames: Partial<Readonly<Record<EffectKind, CheckName>>> = {
  activate: 'upstream',
  restore: 'upstream',
  reassert: 'reassert',
  mirror: 'mirror',
};

/** What asks the upstream for something: of these no two may be under way at a time. */
const calls: readonly EffectKind[] = ['activate', 'restore', 'reassert'];

function failedCheck(effect: EffectKind, failures: readonly Intent[], result: IntentResult, eta: number): Check {
  const name = checkNames[effect] ?? 'store';
  return check(name, false, result.retryable ? 'upstream' : 'person', {
    reason: result.code ?? 'failed',
    message: `${result.message ?? 'It failed.'} ${triedWords(failures.length)}`,
    since: failures[0]?.at ?? null,
    eta,
    evidence: { effect, tries: failures.length },
  });
}

/** A call to the upstream, unless one may still be under way. */
export function callUpstream(
  run: Run,
  step: Step,
  effect: 'activate' | 'restore' | 'reassert',
  seen: Observation,
  now: number,
): Decision {
  return waitForInFlight(run, step, calls, now) ?? attempt(run, step, effect, seen, now);
}

/**
 * The wait for an effect of these kinds that has no result and whose deadline is ahead: a dead process shortens its
 * lease, never this. A clock that was set back since would make the wait as long as it was wrong, so that such an
 * intent does not count.
 */
export function waitForInFlight(run: Run, step: Step, effects: readonly EffectKind[], now: number): Wait | null {
  const inFlight = run.intents.find(
    (intent) => effects.includes(intent.effect) && intent.result === null && intent.at <= now && intent.deadline > now,
  );
  if (inFlight === undefined) return null;
  const inFlightCheck = check('effect-in-flight', false, 'time', {
    reason: 'effect-in-flight',
    message:
      'Another process may be at work on this very effect; it will have given up at the deadline that it wrote down.',
    since: inFlight.at,
    eta: inFlight.deadline,
    evidence: { intent: inFlight.id, effect: inFlight.effect },
  });
  return { kind: 'wait', step, checks: [inFlightCheck], problem: null };
}
