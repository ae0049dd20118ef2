import { formatDuration, formatTime } from '../../model/duration.ts';
import type { Run } from '../../model/run.ts';
import type { JournalEvent } from '../../ports/journal.ts';
import { withOrchestrator, type Context } from '../context.ts';
import { exit, type Exit } from '../exit.ts';
import { jsonTime } from '../output.ts';
import { namedSecrets } from '../secrets.ts';
import { runJson } from './rotate.ts';

interface HistoryFlags {
  readonly limit: number;
  readonly prune: boolean;
}

/** Runs and audit events of each secret, newest first; with `--prune`, what the policy does not retain is removed first. */
export async function history(context: Context, args: readonly string[], options: object): Promise<Exit> {
  const { limit, prune } = options as HistoryFlags;
  return withOrchestrator(context, async (orchestrator, policy) => {
    const secrets = namedSecrets(policy, args, context.options);
    const pruned = prune ? await orchestrator.prune() : null;
    const shown: Shown[] = [];
    for (const { secret } of secrets) shown.push({ secret, ...(await orchestrator.history(secret, limit)) });
    const general = args.length === 0 ? await orchestrator.generalEvents(limit) : [];
    const prunedLine =
      pruned === null
        ? []
        : [`Removed ${String(pruned)} ended runs; the newest ${String(policy.retain.runs)} of each secret stay.`];
    context.output.result(
      [...prunedLine, ...shown.flatMap(historyLines), ...eventLines('Beside them', general)],
      () => ({
        format: 'keyturn.history/1',
        pruned,
        events: general.map(eventJson),
        secrets: shown.map(({ secret, runs, events }) => ({
          secret,
          runs: runs.map(runWithMoves),
          events: events.map(eventJson),
        })),
      }),
    );
    return exit.ok;
  });
}

interface Shown {
  readonly secret: string;
  readonly runs: readonly Run[];
  readonly events: readonly JournalEvent[];
}

function historyLines({ secret, runs, events }: Shown): readonly string[] {
  if (runs.length === 0 && events.length === 0) return [`${secret}: nothing has happened yet.`];
  return [
    `${secret}: ${String(runs.length)} ${runs.length === 1 ? 'run' : 'runs'}, newest first`,
    ...runs.map((run) => {
      const took = run.endedAt === null ? 'still live' : `in ${formatDuration(run.endedAt - run.startedAt)}`;
      return `  ${formatTime(run.startedAt)}  ${run.id}  ${run.state} ${took}  ${run.from ?? 'nothing'} → ${run.to}  ${run.startedBy}: ${run.reason}`;
    }),
    ...eventLines('  events, newest first', events),
  ];
}

function eventLines(head: string, events: readonly JournalEvent[]): readonly string[] {
  if (events.length === 0) return [];
  const lines = events.map(({ at, run, step, message, data }) => {
    const who = typeof data['who'] === 'string' ? `  (${data['who']})` : '';
    return `  ${formatTime(at)}  ${run ?? '-'}  ${step ?? '-'}  ${message}${who}`;
  });
  return [head, ...lines];
}

function runWithMoves(run: Run): object {
  const moves = run.moves.map(({ kind, step, check, who, why, at }) => ({
    kind,
    step,
    check,
    who,
    why,
    at: jsonTime(at),
  }));
  return { ...runJson(run), moves };
}

function eventJson({ id, at, run, step, event, message, data }: JournalEvent): object {
  return { id, at: jsonTime(at), run, step, event, message, data };
}
