import pLimit from 'p-limit';
import { journalWait } from '../../decide/problems.ts';
import { formatDuration, parseDuration } from '../../model/duration.ts';
import { isKeyturnError, KeyturnError } from '../../model/errors.ts';
import { findSecrets } from '../../model/policy/find.ts';
import type { Policy, SecretPolicy } from '../../model/policy.ts';
import type { Run } from '../../model/run.ts';
import type { Orchestrator, RotateOptions } from '../../orchestrator/orchestrator.ts';
import { noBoard, withBoard, type Board } from '../board.ts';
import { withOrchestrator, type Context } from '../context.ts';
import { checkLines, errorJson, errorLines, needsPerson, stepLabel, waitingOf, waitJson } from '../describe.ts';
import { exit, exitOfError, exitOfSignal, worstExit, type Exit } from '../exit.ts';
import { follow, untilWords, type Followed, type Outcome } from '../follow.ts';
import { jsonTime } from '../output.ts';
import { confirmCompromised } from './compromised.ts';
import { schedulerWords } from '../scheduler.ts';
import { namedSecrets } from '../secrets.ts';

/** How many secrets one command moves side by side. */
const secretsAtOnce = 8;

interface RotateFlags {
  readonly wait?: true | string;
  readonly reason?: string;
  readonly lockTimeout: number;
  readonly detailedExitcode: boolean;
  readonly compromised: boolean;
  readonly yes: boolean;
  readonly takeOver?: string;
}

/** How one secret came out: its part of the result, and its exit code. */
interface Rotated {
  readonly exit: Exit;
  readonly lines: readonly string[];
  readonly json: object;
}

export async function rotate(context: Context, args: readonly string[], options: object): Promise<Exit> {
  const flags = options as RotateFlags;
  return withOrchestrator(context, async (orchestrator, policy) => {
    const { names, waitMs } = waitOf(flags.wait, args, policy);
    const secrets = namedSecrets(policy, names, context.options);
    await refuseUnclear(context, orchestrator, secrets, flags);
    const limit = pLimit(secretsAtOnce);
    const rotateAll = (board: Board): Promise<readonly Rotated[]> =>
      Promise.all(
        secrets.map((secret) =>
          limit(async () => {
            const one = rotateOne(context, orchestrator, policy, secret, flags, waitMs, board);
            return secrets.length === 1 ? one : one.catch((error: unknown) => failedOne(secret.secret, error));
          }),
        ),
      );
    const rotated = await (waitMs === undefined ? rotateAll(noBoard) : withBoard(context, rotateAll));
    if (waitMs === undefined || !context.output.json) {
      context.output.result(
        rotated.flatMap(({ lines }) => lines),
        () => ({ format: 'keyturn.rotate/1', secrets: rotated.map(({ json }) => json) }),
      );
    }
    return worstExit(rotated.map(({ exit: code }) => code));
  });
}

/** What is about one secret, or throws messages away, is asked for one secret at a time, and meant. */
async function refuseUnclear(
  context: Context,
  orchestrator: Orchestrator,
  [first, ...more]: readonly SecretPolicy[],
  { compromised, takeOver, yes }: RotateFlags,
): Promise<void> {
  if (first === undefined || (!compromised && takeOver === undefined)) return;
  if (more.length > 0) {
    throw new KeyturnError('usage', `${compromised ? '--compromised' : '--take-over'} is for one secret at a time.`, {
      hint: 'Name the one that is meant.',
    });
  }
  if (compromised) await confirmCompromised(context, orchestrator, first.secret, yes);
}

/** One secret's failure stops no other, and is part of the result. */
function failedOne(secret: string, error: unknown): Rotated {
  if (!isKeyturnError(error)) throw error;
  return {
    exit: exitOfError(error.code),
    lines: errorLines(secret, error),
    json: { secret, outcome: 'failed', message: error.message, error: errorJson(error) },
  };
}

/** `--wait SECRET` is what people type as well as `--wait=10m SECRET`: what is no duration is a name. */
function waitOf(
  wait: true | string | undefined,
  args: readonly string[],
  policy: Policy,
): { readonly names: readonly string[]; readonly waitMs: number | null | undefined } {
  if (wait === undefined) return { names: args, waitMs: undefined };
  if (wait === true) return { names: args, waitMs: null };
  const ms = parseDuration(wait);
  if (ms !== null) return { names: args, waitMs: ms };
  if (findSecrets(policy, wait).length === 0) {
    throw new KeyturnError('usage', `--wait=${wait} is no duration, and the policy has no secret of that name.`, {
      hint: 'Write a duration like 500ms, 30s, 15m, 1h or 30d, or --wait alone.',
    });
  }
  return { names: [wait, ...args], waitMs: null };
}

/** `waitMs`: undefined drives once, null follows to the end, a number follows for so long. */
async function rotateOne(
  context: Context,
  orchestrator: Orchestrator,
  policy: Policy,
  { secret }: SecretPolicy,
  flags: RotateFlags,
  waitMs: number | null | undefined,
  board: Board,
): Promise<Rotated> {
  const { reason, lockTimeout: lockTimeoutMs, compromised, takeOver } = flags;
  const options = { reason, lockTimeoutMs, compromised, takeOver };
  const started = await startPatiently(context, orchestrator, secret, options, waitMs);
  if (started.joined) {
    context.output.progress(`${secret}  joined run ${started.run.id}, started by ${started.run.startedBy}`);
  }
  const followed = await follow(context, orchestrator, started, waitMs, board);
  const { run, wait, message } = followed;
  const outcome = followed.outcome === 'interrupted' ? 'waiting' : followed.outcome;
  if (waitMs !== undefined) {
    const at = jsonTime(context.clock.now());
    const { id, step } = run;
    context.output.streamed(() => ({ at, secret, run: id, step, event: 'ended', outcome, message, ...waitJson(wait) }));
  }
  return {
    exit: exitOf(context, followed, waitMs, flags),
    lines: await outcomeLines(context, orchestrator, policy, followed),
    json: { secret, outcome, message, run: runJson(run), ...waitJson(wait) },
  };
}

/**
 * With `--wait` somebody else's lease is no reason to give up: it runs out, or its holder finishes. Nor is a journal that
 * takes nothing now: the run that is live in it is followed.
 */
async function startPatiently(
  context: Context,
  orchestrator: Orchestrator,
  secret: string,
  options: RotateOptions & { readonly lockTimeoutMs: number },
  waitMs: number | null | undefined,
): ReturnType<Orchestrator['rotate']> {
  const lockTimeoutMs = waitMs === null ? Math.max(options.lockTimeoutMs, 60_000) : options.lockTimeoutMs;
  const since = context.clock.now();
  try {
    return await orchestrator.rotate(secret, { ...options, lockTimeoutMs, signal: context.signal });
  } catch (error) {
    if (waitMs === undefined || !isKeyturnError(error, 'journal-busy', 'journal-unreachable')) throw error;
    const { live, seen } = await orchestrator.look(secret).catch(() => {
      throw error;
    });
    if (live === null) throw error;
    const { run } = live;
    return { kind: 'waiting', run, wait: journalWait(run, error), seen, joined: run.startedAt < since };
  }
}

export function runJson(run: Run): object {
  return {
    id: run.id,
    kind: run.kind,
    state: run.state,
    step: run.step,
    startedAt: jsonTime(run.startedAt),
    endedAt: jsonTime(run.endedAt),
    reason: run.reason,
    startedBy: run.startedBy,
    from: run.from,
    to: run.to,
  };
}

async function outcomeLines(
  context: Context,
  orchestrator: Orchestrator,
  policy: Policy,
  { outcome, run, wait, message }: Followed,
): Promise<readonly string[]> {
  const now = context.clock.now();
  const { secret } = run;
  if (outcome === 'completed') {
    return [`${secret}: rotated in ${formatDuration((run.endedAt ?? now) - run.startedAt)}. ${message}`];
  }
  if (outcome === 'aborted' || outcome === 'superseded') return [`${secret}: ${message}`];
  const waiting = wait === null ? null : waitingOf(wait);
  const head = `${secret}: ${headWords[outcome]} in step ${stepLabel(wait?.step ?? run.step)}${untilWords(waiting?.until ?? null, now)}.`;
  const checks = wait === null ? [] : checkLines(wait.checks, now).map((line) => `  ${line}`);
  const hint = wait?.problem?.hint ?? null;
  return [
    head,
    ...checks,
    ...(hint === null ? [] : [`  ${hint}`]),
    ...(outcome === 'interrupted' ? [`  Run ${run.id} goes on where it stopped: keyturn rotate ${secret} --wait`] : []),
    ...(outcome === 'waiting' ? await schedulerWords(orchestrator, policy, secret, now) : []),
  ];
}

const headWords: Readonly<Record<Exclude<Outcome, 'completed' | 'aborted' | 'superseded'>, string>> = {
  failed: 'failed',
  held: 'held',
  'needs-person': 'waits for a person',
  waiting: 'under way as it should be, waiting',
  interrupted: 'interrupted',
};

function exitOf(context: Context, followed: Followed, waitMs: number | null | undefined, flags: RotateFlags): Exit {
  const { outcome, wait } = followed;
  switch (outcome) {
    case 'completed':
    case 'aborted':
    case 'superseded':
      return exit.ok;
    case 'held':
      return exit.refused;
    case 'failed':
      return exitOfError(wait?.problem?.code ?? 'unexpected');
    case 'interrupted':
      return exitOfSignal(context.signal.reason);
    case 'needs-person':
      return waitMs !== undefined || flags.detailedExitcode ? exit.person : exit.ok;
    case 'waiting':
      if (waitMs === undefined && wait !== null && needsPerson(wait) && flags.detailedExitcode) return exit.person;
      return waitMs !== undefined || flags.detailedExitcode ? exit.waiting : exit.ok;
  }
}
