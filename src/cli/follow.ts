import type { Wait } from '../decide/decision.ts';
import { journalWait } from '../decide/problems.ts';
import { formatDuration } from '../model/duration.ts';
import { isKeyturnError, KeyturnError } from '../model/errors.ts';
import type { Run } from '../model/run.ts';
import type { Advance } from '../orchestrator/advance.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import { noBoard, type Board } from './board.ts';
import type { Context } from './context.ts';
import { isHeld, needsPerson } from './describe.ts';
import { jsonTime } from './output.ts';
import { Teller } from './teller.ts';

/** How a followed run stands when following stops. */
export type Outcome =
  'completed' | 'aborted' | 'superseded' | 'failed' | 'held' | 'needs-person' | 'waiting' | 'interrupted';

export interface Followed {
  readonly outcome: Outcome;
  readonly run: Run;
  /** What it waits for; null when it has ended. */
  readonly wait: Wait | null;
  readonly message: string;
}

/** How often a waiting run is looked at, ms. */
const lookEveryMs = 500;

/**
 * Drives and tells a run until it ends, needs a person, fails for good, or the time is up; without `waitMs` it looks
 * once, nothing is streamed, and any failure counts. Where another process holds the lease it only tells: two who
 * follow take turns.
 */
export async function follow(
  context: Context,
  orchestrator: Orchestrator,
  start: Advance,
  waitMs: number | null | undefined,
  board: Board = noBoard,
): Promise<Followed> {
  const { clock, signal } = context;
  const isOnce = waitMs === undefined;
  const teller = new Teller(context, orchestrator, start.run, {
    streams: !isOnce,
    tellsAgain: true,
    tellsFrom: 0,
    board,
  });
  const until = waitMs === null ? Infinity : clock.monotonic() + (waitMs ?? 0);
  let current: Advance = start;
  for (;;) {
    await teller.tell(current);
    if (current.kind === 'ended') return ended(current);
    const { run, wait } = current;
    const stopped = (outcome: Outcome): Followed => ({ outcome, run, wait, message: wait.problem?.message ?? '' });
    if (signal.aborted) return stopped('interrupted');
    if (isHeld(wait)) return stopped('held');
    if (wait.problem !== null && (isOnce || !wait.problem.retryable)) return stopped('failed');
    if (needsPerson(wait)) return stopped('needs-person');
    if (clock.monotonic() >= until) return stopped('waiting');
    await clock.sleep(Math.min(lookEveryMs, until - clock.monotonic()), { signal });
    current = await teller.meanwhile(next(orchestrator, current, signal), lookEveryMs);
  }
}

async function next(
  orchestrator: Orchestrator,
  before: Advance & { readonly kind: 'waiting' },
  signal: AbortSignal,
): Promise<Advance> {
  const { secret, id } = before.run;
  let { wait } = before;
  try {
    const advanced = await orchestrator.advance(secret, { lockTimeoutMs: 0, signal });
    if (advanced?.run.id === id) return advanced;
  } catch (error) {
    if (isKeyturnError(error, 'journal-busy', 'journal-unreachable')) wait = journalWait(before.run, error);
    else if (!isKeyturnError(error, 'lease-busy', 'lease-lost')) throw error;
  }
  const run = await orchestrator.findRun(id).catch(() => null);
  if (run === null || run.state === 'live') return { ...before, wait };
  const last = (await orchestrator.events(id)).at(-1);
  return { kind: 'ended', run, message: last?.message ?? '', problem: null };
}

function ended(advance: Advance & { readonly kind: 'ended' }): Followed {
  const { run, message, problem } = advance;
  if (problem !== null)
    throw new KeyturnError(problem.code, problem.message, problem.hint === null ? {} : { hint: problem.hint });
  return { outcome: run.state === 'live' ? 'waiting' : run.state, run, wait: null, message };
}

/** `until 15:04:05 (4m 10s)`, or nothing where no clock can tell. */
export function untilWords(until: number | null, now: number): string {
  return until === null || until <= now ? '' : ` until ${jsonTime(until) ?? ''} (${formatDuration(until - now)})`;
}
