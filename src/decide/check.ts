import type { Check, CheckName, WaitingFor } from '../model/check.ts';
import type { Run } from '../model/run.ts';

interface CheckFacts {
  readonly reason: string;
  readonly message: string;
  readonly since?: number | null;
  readonly eta?: number | null;
  readonly command?: string | null;
  readonly evidence?: Readonly<Record<string, unknown>>;
}

/** A check as the gates write it; what is left out is null or empty. */
export function check(name: CheckName, ok: boolean, waitingFor: WaitingFor, facts: CheckFacts): Check {
  return {
    name,
    ok,
    reason: facts.reason,
    message: facts.message,
    since: facts.since ?? null,
    eta: ok ? null : (facts.eta ?? null),
    waitingFor,
    command: ok ? null : (facts.command ?? null),
    evidence: facts.evidence ?? {},
  };
}

/** How a person says that the upstream has the value it is to have. */
export function confirmCommand({ secret }: Pick<Run, 'secret'>): string {
  return `keyturn confirm ${secret} --reason "the upstream has the value"`;
}
