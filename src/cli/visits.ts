import type { Problem } from '../decide/decision.ts';
import { isKeyturnError } from '../model/errors.ts';
import type { Advance } from '../orchestrator/advance.ts';
import type { Visit } from '../orchestrator/visit.ts';
import { checkLines, errorLines, stepLabel } from './describe.ts';

/** A visit of the scheduler in words; nothing where there is nothing to do. */
export function visitLines(visit: Visit, now: number): readonly string[] {
  const { secret } = visit;
  switch (visit.kind) {
    case 'idle':
      return [];
    case 'absent':
      return [`${secret}: has no value yet; keyturn adopt ${secret}, or keyturn rotate ${secret} for a first one.`];
    case 'busy':
      return isKeyturnError(visit.error, 'lease-busy', 'lease-lost')
        ? [`${secret}: another process is moving it.`]
        : errorLines(secret, visit.error);
    case 'failed':
      return errorLines(secret, visit.error);
    case 'advanced': {
      const { advance } = visit;
      if (advance.kind === 'ended') return [`${secret}: ${advance.message}`];
      const started = visit.started ? 'due, started; ' : '';
      const hint = advance.wait.problem?.hint ?? null;
      return [
        `${secret}: ${started}waiting in step ${stepLabel(advance.wait.step)}.`,
        ...checkLines(advance.wait.checks, now).map((line) => `  ${line}`),
        ...(hint === null ? [] : [`  ${hint}`]),
      ];
    }
  }
}

export function problemOf(advance: Advance): Problem | null {
  return advance.kind === 'ended' ? advance.problem : advance.wait.problem;
}

/** What somebody has to see, however quiet it is to be; null where all is as it should be. */
export function failureOf(visit: Visit): Pick<Problem, 'code' | 'message' | 'hint'> | null {
  if (visit.kind === 'failed') return visit.error;
  return visit.kind === 'advanced' ? problemOf(visit.advance) : null;
}
