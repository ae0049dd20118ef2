import { withOrchestrator, type Context } from '../context.ts';
import { checkLines } from '../describe.ts';
import { exit, exitOfError, type Exit } from '../exit.ts';
import { oneSecret } from '../secrets.ts';
import { KeyturnError } from '../../model/errors.ts';
import type { Run } from '../../model/run.ts';
import type { Orchestrator } from '../../orchestrator/orchestrator.ts';
import { runJson } from './rotate.ts';

/** What people tell a run: each word acts at the run's next look, and is in its history with who said it, when and why. */

interface MoveFlags {
  readonly reason?: string;
  readonly lockTimeout: number;
  readonly takeOver?: string;
  readonly accept?: string;
}

type Say = (orchestrator: Orchestrator, secret: string, flags: MoveFlags) => Promise<Run>;

/** A command that only notes a word. */
function saying(name: string, say: Say, words: (run: Run, flags: MoveFlags) => string) {
  return async (context: Context, [short = '']: readonly string[], options: object): Promise<Exit> => {
    const flags = options as MoveFlags;
    return withOrchestrator(context, async (orchestrator, policy) => {
      const { secret } = oneSecret(policy, short, context.options);
      const run = await say(orchestrator, secret, flags);
      context.output.result(`${secret}: ${words(run, flags)}`, () => ({
        format: `keyturn.${name}/1`,
        secret,
        run: runJson(run),
      }));
      return exit.ok;
    });
  };
}

export const confirm = saying(
  'confirm',
  (orchestrator, secret, { reason }) => orchestrator.confirm(secret, reason ?? null),
  (run) => `noted that the upstream has the value; run ${run.id} counts it from its next look on.`,
);

export const hold = saying(
  'hold',
  (orchestrator, secret, { reason }) => orchestrator.hold(secret, reason ?? ''),
  ({ id, secret }) =>
    `run ${id} is held at its next gate, with every version accepted. To let it go on: keyturn unhold ${secret} --reason "…"`,
);

export const unhold = saying(
  'unhold',
  (orchestrator, secret, { reason, accept }) => orchestrator.unhold(secret, reason ?? '', accept ?? null),
  ({ id }, { accept }) =>
    accept === undefined
      ? `run ${id} may go on; its gate's time begins anew.`
      : `run ${id} may go on, and the check ${accept} counts as passed at its present gate.`,
);

export const approve = saying(
  'approve',
  (orchestrator, secret, { reason }) => orchestrator.approve(secret, reason ?? null),
  (run) => `approved for run ${run.id} in step ${run.step}.`,
);

export const deny = saying(
  'deny',
  (orchestrator, secret, { reason }) => orchestrator.deny(secret, reason ?? ''),
  (run) =>
    run.step === 'monitor' || run.step === 'revoke'
      ? `denied; run ${run.id} is held with both versions accepted.`
      : `denied; run ${run.id} ends with everything as it was.`,
);

export async function abort(context: Context, [name = '']: readonly string[], options: object): Promise<Exit> {
  const { reason, lockTimeout: lockTimeoutMs, takeOver } = options as MoveFlags;
  return withOrchestrator(context, async (orchestrator, policy) => {
    const { secret } = oneSecret(policy, name, context.options);
    const moveOptions = { lockTimeoutMs, signal: context.signal, takeOver };
    const { run, ...advanced } = await orchestrator.abort(secret, reason ?? '', moveOptions);
    const problem = advanced.kind === 'waiting' ? advanced.wait.problem : advanced.problem;
    const goesOn = `on its way back. The old value stays accepted and so does the new one until nobody uses it; keyturn run moves it on, or follow it: keyturn rotate ${secret} --wait`;
    const message = advanced.kind === 'ended' ? advanced.message : (problem?.message ?? goesOn);
    const waits =
      advanced.kind === 'ended'
        ? []
        : checkLines(advanced.wait.checks, context.clock.now()).map((line) => `  waits for ${line}`);
    const hint = problem?.hint ?? null;
    context.output.result([`${secret}: ${message}`, ...waits, ...(hint === null ? [] : [`  ${hint}`])], () => ({
      format: 'keyturn.abort/1',
      secret,
      message,
      run: runJson(run),
    }));
    return problem === null ? exit.ok : exitOfError(problem.code);
  });
}

export async function forget(context: Context, [receiver = '']: readonly string[], options: object): Promise<Exit> {
  const { reason } = options as MoveFlags;
  return withOrchestrator(context, async (orchestrator) => {
    const forgotten = await orchestrator.forget(receiver, reason ?? '');
    if (forgotten === 0) {
      throw new KeyturnError('usage', `The usage log knows no receiver "${receiver}" that has not signed off.`, {
        hint: 'keyturn status lists the receivers of each secret.',
      });
    }
    context.output.result(`Receiver ${receiver} is off the roster.`, () => ({
      format: 'keyturn.forget/1',
      receiver,
      forgotten,
    }));
    return exit.ok;
  });
}
