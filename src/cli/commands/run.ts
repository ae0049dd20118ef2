import { isKeyturnError, KeyturnError } from '../../model/errors.ts';
import type { Orchestrator } from '../../orchestrator/orchestrator.ts';
import type { Visit } from '../../orchestrator/visit.ts';
import { withBoard } from '../board.ts';
import { withOrchestrator, type Context } from '../context.ts';
import { errorJson, errorLines, needsPerson, waitJson } from '../describe.ts';
import { exit, exitOfError, worstExit, type Exit } from '../exit.ts';
import { MetricsFile, secretFacts } from '../metrics.ts';
import { namedSecrets } from '../secrets.ts';
import { failureOf, problemOf, visitLines } from '../visits.ts';
import { runJson } from './rotate.ts';

interface RunFlags {
  readonly detailedExitcode: boolean;
  readonly watch: boolean;
  readonly every?: number;
  readonly metricsFile?: string;
}

/** How often `--watch` visits, ms. */
const usualEveryMs = 10_000;

/** The cron job, or with `--watch` what stands in its place. */
export async function run(context: Context, args: readonly string[], options: object): Promise<Exit> {
  const flags = options as RunFlags;
  const { every, metricsFile } = flags;
  if (flags.watch) {
    const { watch } = await import('../watch.ts');
    const wish = { names: args, everyMs: every ?? usualEveryMs, metricsFile: metricsFile ?? null };
    return withBoard(context, (board) => watch(context, wish, board));
  }
  if (every !== undefined) {
    throw new KeyturnError('usage', '--every is for --watch.', { hint: 'Give both, or neither.' });
  }
  return runOnce(context, args, flags);
}

/** What waits is no failure; what failed is told and makes the exit code, after all others had their turn. */
async function runOnce(
  context: Context,
  args: readonly string[],
  { detailedExitcode, metricsFile }: RunFlags,
): Promise<Exit> {
  const metrics = metricsFile === undefined ? null : new MetricsFile(metricsFile, context);
  const done = { visit: false };
  try {
    return await withOrchestrator(context, async (orchestrator, policy) => {
      const secrets = namedSecrets(policy, args, context.options).map((each) => each.secret);
      const visits = await orchestrator.run({ secrets, signal: context.signal });
      done.visit = true;
      const unwritten = metrics === null ? null : await write(metrics, orchestrator, visits, context.clock.now());
      tellVisits(context, visits, unwritten);
      const exits = visits.map((visit) => exitOfVisit(visit, detailedExitcode));
      return worstExit(unwritten === null ? exits : [...exits, exitOfError(unwritten.code)]);
    });
  } catch (error) {
    // This is the error to tell, also where the metrics cannot be written either.
    if (!done.visit) await metrics?.write(null).catch(() => undefined);
    throw error;
  }
}

/** Writes the metrics of a visit. What the visit did is told also where that fails, so the error is handed back. */
async function write(
  metrics: MetricsFile,
  orchestrator: Orchestrator,
  visits: readonly Visit[],
  now: number,
): Promise<KeyturnError | null> {
  try {
    await metrics.write(await secretFacts(orchestrator, visits, now));
    return null;
  } catch (error) {
    if (!isKeyturnError(error)) throw error;
    return error;
  }
}

function tellVisits(context: Context, visits: readonly Visit[], unwritten: KeyturnError | null): void {
  const now = context.clock.now();
  const lines = visits.flatMap((visit) => visitLines(visit, now));
  const idle = visits.filter((visit) => visit.kind === 'idle').length;
  const summary = `${String(visits.length)} ${visits.length === 1 ? 'secret' : 'secrets'} looked at, ${String(idle)} with nothing to do.`;
  // Cron mails what a job prints, so that --quiet leaves what somebody has to see.
  const telling =
    context.options.quiet === true
      ? visits.filter((visit) => failureOf(visit) !== null).flatMap((visit) => visitLines(visit, now))
      : [...lines, summary];
  const missed = unwritten === null ? [] : errorLines('metrics', unwritten);
  context.output.result([...telling, ...missed], () => ({
    format: 'keyturn.run/1',
    secrets: visits.map(visitJson),
    ...(unwritten === null ? {} : { metrics: { error: errorJson(unwritten) } }),
  }));
}

function visitJson(visit: Visit): object {
  const { secret, kind } = visit;
  if (kind === 'advanced') {
    const { advance, started } = visit;
    const wait = advance.kind === 'waiting' ? advance.wait : null;
    return { secret, did: advance.kind, started, run: runJson(advance.run), ...waitJson(wait) };
  }
  if (kind === 'busy' || kind === 'failed') {
    return { secret, did: kind, error: errorJson(visit.error) };
  }
  return { secret, did: kind };
}

function exitOfVisit(visit: Visit, detailed: boolean): Exit {
  if (visit.kind === 'failed') return exitOfError(visit.error.code);
  if (visit.kind !== 'advanced') return exit.ok;
  const { advance } = visit;
  const problem = problemOf(advance);
  if (problem !== null) return exitOfError(problem.code);
  if (advance.kind === 'ended' || !detailed) return exit.ok;
  return needsPerson(advance.wait) ? exit.person : exit.waiting;
}
