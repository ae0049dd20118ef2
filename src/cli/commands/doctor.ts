import { KeyturnError } from '../../model/errors.ts';
import type { ProbeFinding, StoreUse } from '../../ports/secret-store.ts';
import type { Context } from '../context.ts';
import { examine } from '../doctor/examine.ts';
import { adviceOf, linesOf } from '../doctor/show.ts';
import type { Subject } from '../doctor/subject.ts';
import { exit, type Exit } from '../exit.ts';
import { namedSecrets } from '../secrets.ts';

interface DoctorFlags {
  readonly as: StoreUse;
  readonly write: boolean;
}

/**
 * Looks at all that the policy names, and says what to do. What cannot be reached or opened is part of the result; 1 where
 * something failed, warnings alone are none.
 */
export async function doctor(context: Context, args: readonly string[], options: object): Promise<Exit> {
  const { as: use, write } = options as DoctorFlags;
  if (use === 'receiver' && write) {
    throw new KeyturnError('usage', 'A receiver writes to no store, so that --write is for the orchestrator alone.', {
      hint: 'keyturn doctor --write, or keyturn doctor --as receiver',
    });
  }
  const { policy } = await context.providers.loadPolicy(context.options.policy);
  const secrets = namedSecrets(policy, args, context.options);
  const examination = await context.providers.openExamination(policy, context.log);
  try {
    const { clock, random, signal } = context;
    const found = await examine(examination, { policy, secrets, use, write, clock, random, signal });
    const subjects = found.map((each) => redacted(context, each));
    const advice = adviceOf(subjects);
    const isHealthy = !advice.some(({ state }) => state === 'failed') && !signal.aborted;
    context.output.result(linesOf(subjects, advice, context.options.quiet === true), () => ({
      format: 'keyturn.doctor/1',
      ...{ source: policy.source, as: use, wrote: write, healthy: isHealthy },
      ...{ subjects, advice },
    }));
    return isHealthy ? exit.ok : exit.failed;
  } finally {
    await examination.close();
  }
}

/** What a server or a system said is repeated in findings. */
function redacted({ log }: Context, subject: Subject): Subject {
  const findings = subject.findings.map(({ name, state, message, hint }): ProbeFinding => ({
    ...{ name, state, message: log.redacted(message), hint: hint === null ? null : log.redacted(hint) },
  }));
  return { ...subject, findings };
}
