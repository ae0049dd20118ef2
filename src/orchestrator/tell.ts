import type { Decision } from '../decide/decision.ts';
import type { Observation } from '../decide/observation.ts';
import { failing } from '../model/check.ts';
import type { Log, LogFields } from '../ports/log.ts';

/** What the log tells of a run beside the calls at the ports. Whose run it is comes from the ids of the work under way. */

export function tellSeen(log: Log, secret: string, { keyring, usage }: Observation, ms: number): void {
  const fields: LogFields = {
    secret,
    ms: Math.round(ms),
    keyring: keyring.state,
    ...(keyring.state === 'present' ? { revision: keyring.keyring.revision } : {}),
    ...(keyring.state === 'failed' ? { code: keyring.error.code } : {}),
    usage: usage.state,
    ...(usage.state === 'read' ? { receivers: usage.evidence.receivers.length } : { usageCode: usage.error.code }),
  };
  log.debug('observed', fields);
}

export function tellDecision(log: Log, decision: Decision): void {
  const { kind, step } = decision;
  if (kind === 'perform') {
    log.debug('decided', { decision: kind, step, effect: decision.effect });
    return;
  }
  const code = decision.problem?.code ?? null;
  if (kind === 'end') {
    log.debug('decided', { decision: kind, step, state: decision.state, code });
    return;
  }
  const checks = failing(decision.checks).map(({ name, reason }) => `${name} (${reason})`);
  log.debug('decided', { decision: kind, step, failing: checks.join(', '), code });
}
