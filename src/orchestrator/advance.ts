import { decide } from '../decide/decide.ts';
import type { End, Problem, Wait } from '../decide/decision.ts';
import type { Observation } from '../decide/observation.ts';
import { steps, type Run, type Step } from '../model/run.ts';
import { correlated } from '../ports/correlate.ts';
import { hasToKeep, keepGateClock, keepLostCall, keepProven } from './keep.ts';
import { observe } from './observe.ts';
import type { Parts } from './parts.ts';
import { eventOf, perform } from './perform.ts';
import { findRun } from './runs.ts';
import { tellDecision } from './tell.ts';
import { idleLeaseMs, type Tenure } from './tenure.ts';

/** Where a run stands after it was driven as far as it could go. */
export type Advance =
  | { readonly kind: 'waiting'; readonly run: Run; readonly wait: Wait; readonly seen: Observation }
  | { readonly kind: 'ended'; readonly run: Run; readonly message: string; readonly problem: Problem | null };

interface AdvanceOptions {
  readonly retrySince: number | null;
  readonly signal?: AbortSignal | undefined;
}

/** More effects than any run needs in one go; reaching it is a mistake in `decide`. */
const maxEffects = 100;

/**
 * Observes, decides, performs, until the run waits or ends. The caller holds the lease of the run's secret.
 * Throws `lease-lost` when another took over; what was journalled until then stays.
 */
export function advance(parts: Parts, tenure: Tenure, start: Run, options: AdvanceOptions): Promise<Advance> {
  return correlated({ secret: start.secret, run: start.id }, () => drive(parts, tenure, start, options));
}

async function drive(parts: Parts, tenure: Tenure, start: Run, options: AdvanceOptions): Promise<Advance> {
  let run = start;
  for (let effects = 0; effects < maxEffects; effects++) {
    await tenure.extend(idleLeaseMs);
    const seen = await observe(parts, run.policy, { token: tenure.lease.token, retrySince: options.retrySince });
    // With what people said meanwhile.
    run = (await findRun(parts, run.id)) ?? run;
    run = await keepLostCall(parts, tenure, run, seen);
    run = await keepProven(parts, tenure, run, seen);
    const decision = decide(run, seen, parts.clock.now());
    tellDecision(parts.log, decision);
    if (decision.kind === 'end') return end(parts, tenure, run, decision);
    run = await enter(parts, tenure, run, decision.step);
    if (decision.kind === 'wait') {
      run = await keepGateClock(parts, tenure, run, decision);
      return { kind: 'waiting', run, wait: decision, seen };
    }
    if (options.signal?.aborted === true) return { kind: 'waiting', run, wait: interrupted(decision.step), seen };
    run = await perform({ parts, tenure, run, seen, effect: decision.effect });
  }
  throw new RangeError(`run ${run.id} performed ${String(maxEffects)} effects without coming to rest`);
}

/**
 * Without a lease nobody knows whose an intent without a result is. It may be that of a process that is stopped right
 * before its commit, and whoever takes the lease makes that commit fail, whatever the gate says.
 */
const nobodysToken = -1;

/**
 * Where the run stands if there is nothing to do but to wait, found by looking alone; null where there may be more to it.
 * Waits are long and looks are many: one that changes nothing takes no lease and writes nothing.
 */
export async function atRest(parts: Parts, run: Run): Promise<Advance | null> {
  const seen = await observe(parts, run.policy, { token: nobodysToken, retrySince: null });
  const wait = decide(run, seen, parts.clock.now());
  if (wait.kind !== 'wait' || steps.indexOf(wait.step) > steps.indexOf(run.step)) return null;
  if (hasToKeep(parts, run, seen, wait)) return null;
  correlated({ secret: run.secret, run: run.id }, () => tellDecision(parts.log, wait));
  return { kind: 'waiting', run, wait, seen };
}

function interrupted(step: Step): Wait {
  return { kind: 'wait', step, checks: [], problem: null };
}

/** Journals the way from the run's step to `step`, with every step between, so that history has all five. */
async function enter(parts: Parts, tenure: Tenure, run: Run, step: Step): Promise<Run> {
  const [from, to] = [steps.indexOf(run.step), steps.indexOf(step)];
  if (to <= from) return run;
  const events = steps
    .slice(from + 1, to + 1)
    .map((entered) => eventOf(parts, { ...run, step: entered }, 'step-entered', stepWords[entered]));
  return parts.journal.save({ ...run, step }, events, tenure.lease);
}

/** What each step does, for the audit trail and for people who follow. */
export const stepWords: Readonly<Record<Step, string>> = {
  generate: 'Making a new version.',
  deploy: 'Waiting until every receiver holds the new version.',
  update: 'Telling the upstream to use the new version.',
  monitor: 'Watching until the old version is no longer used.',
  revoke: 'Revoking the old version.',
};

async function end(parts: Parts, tenure: Tenure, run: Run, decision: End): Promise<Advance> {
  const entered = decision.state === 'completed' ? await enter(parts, tenure, run, decision.step) : run;
  const event = eventOf(parts, entered, decision.state, decision.message);
  const ended = await parts.journal.save(
    { ...entered, state: decision.state, endedAt: parts.clock.now() },
    [event],
    tenure.lease,
  );
  return { kind: 'ended', run: ended, message: decision.message, problem: decision.problem };
}
