import { stat } from 'node:fs/promises';
import { backoffMs } from '../decide/backoff.ts';
import { earliest } from '../decide/evidence.ts';
import { formatDuration } from '../model/duration.ts';
import { isKeyturnError, type KeyturnError } from '../model/errors.ts';
import type { Policy } from '../model/policy.ts';
import type { Advance } from '../orchestrator/advance.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { Visit } from '../orchestrator/visit.ts';
import { errorFields } from '../ports/log.ts';
import type { Board } from './board.ts';
import type { Context, OpenedOrchestrator } from './context.ts';
import { errorJson, waitingOf, waitJson } from './describe.ts';
import { exitOfSignal, type Exit } from './exit.ts';
import { MetricsFile, secretFacts, type SecretFacts } from './metrics.ts';
import { jsonTime } from './output.ts';
import { namedSecrets } from './secrets.ts';
import { Teller } from './teller.ts';
import { failureOf, visitLines } from './visits.ts';

export interface WatchOptions {
  /** The secrets that were named; none: all. */
  readonly names: readonly string[];
  readonly everyMs: number;
  /** Null: none is written. */
  readonly metricsFile: string | null;
}

/** Somebody who comes back at a moment that was foretold comes at most so much later, ms, and not all at once. */
const lateByMs = 500;

/**
 * How long to pause until the next visit, ms. Regularly, give or take a tenth so that many who watch do not come at
 * once; sooner where `until` (epoch ms) is known; and where `failures` visits in a row came to nothing, longer each time.
 */
export function pauseMs(
  { everyMs, failures, until }: { readonly everyMs: number; readonly failures: number; readonly until: number | null },
  now: number,
  fraction: number,
): number {
  const regular = failures === 0 ? everyMs : Math.max(everyMs, backoffMs(failures, true));
  const jittered = regular * (0.9 + 0.2 * fraction);
  if (failures > 0 || until === null || until <= now) return jittered;
  return Math.min(jittered, until - now + lateByMs * fraction);
}

/**
 * Visits again and again until a signal ends it, which is its only end: what fails is told once, and tried again. Throws
 * where it cannot begin, because there is no policy to begin with.
 */
export async function watch(context: Context, options: WatchOptions, board: Board): Promise<Exit> {
  const watched = new Watched(context, options.names);
  await watched.begin();
  const visitor = new Visitor(context, options, watched, board);
  try {
    await visitor.visitUntilStopped();
  } finally {
    await watched.close();
  }
  return exitOfSignal(context.signal.reason);
}

/** Tells each trouble once, however often it comes, and that it is over. */
class Troubles {
  readonly #context: Context;
  readonly #told = new Map<string, string>();

  constructor(context: Context) {
    this.#context = context;
  }

  /** `sameWhile`: it is told again only where this is another. */
  begin(about: string, error: Pick<KeyturnError, 'code' | 'message' | 'hint'>, sameWhile: string = error.code): void {
    if (this.#told.get(about) === sameWhile) return;
    this.#told.set(about, sameWhile);
    const { output, clock } = this.#context;
    output.note(`${about}: ${error.message}`);
    if (error.hint !== null) output.note(`  ${error.hint}`);
    output.streamed(() => ({ at: jsonTime(clock.now()), about, event: 'failed', error: errorJson(error) }));
  }

  end(about: string): void {
    if (!this.#told.delete(about)) return;
    const { output, clock } = this.#context;
    output.note(`${about}: goes well again.`);
    output.streamed(() => ({ at: jsonTime(clock.now()), about, event: 'well-again' }));
  }
}

/** The policy in force with what is open for it. */
interface InForce {
  readonly policy: Policy;
  readonly secrets: readonly string[];
  /** What the file looked like when it was read. */
  readonly stamp: string;
}

/** Keeps the policy as its file is; one that cannot be used changes nothing. */
class Watched {
  readonly troubles: Troubles;
  readonly #context: Context;
  readonly #names: readonly string[];
  #inForce: InForce | null = null;
  #opened: OpenedOrchestrator | null = null;

  constructor(context: Context, names: readonly string[]) {
    this.#context = context;
    this.#names = names;
    this.troubles = new Troubles(context);
  }

  async begin(): Promise<void> {
    const { policy } = await this.#context.providers.loadPolicy(this.#context.options.policy);
    // Now that its place is known, it is read with its stamp: a change between the two reads is no change missed.
    this.#inForce = await this.#read(await stampOf(policy.source));
  }

  get secrets(): readonly string[] {
    return this.#inForce?.secrets ?? [];
  }

  get source(): string {
    return this.#inForce?.policy.source ?? '';
  }

  /** What is open for the policy as it is now. Throws what opening throws. */
  async orchestrator(): Promise<Orchestrator> {
    await this.#refresh();
    return this.#open();
  }

  async events(...query: Parameters<Orchestrator['events']>): ReturnType<Orchestrator['events']> {
    return (await this.#open()).events(...query);
  }

  /** What is open is closed, and opened anew when it is needed. */
  async close(): Promise<void> {
    const opened = this.#opened;
    this.#opened = null;
    await opened?.close().catch((error: unknown) => {
      this.#context.log.warn('not closed', errorFields(error));
    });
  }

  async #open(): Promise<Orchestrator> {
    const policy = this.#inForce?.policy;
    if (policy === undefined) throw new TypeError('watch was not begun');
    this.#opened ??= await this.#context.providers.openOrchestrator(policy, this.#context.log, this.#context.command);
    return this.#opened.orchestrator;
  }

  async #refresh(): Promise<void> {
    const stamp = await stampOf(this.source);
    if (stamp === this.#inForce?.stamp) {
      this.troubles.end('policy');
      return;
    }
    try {
      this.#inForce = await this.#read(stamp);
    } catch (error) {
      if (!isKeyturnError(error)) throw error;
      const { code, message } = error;
      const hint = `${error.hint ?? ''} The last policy that was whole stays in force.`.trim();
      this.troubles.begin('policy', { code, message, hint }, message);
      return;
    }
    await this.close();
    this.troubles.end('policy');
    const { output, clock } = this.#context;
    output.progress(`policy: ${this.source} was read anew.`);
    output.streamed(() => ({ at: jsonTime(clock.now()), event: 'policy-read', source: this.source }));
  }

  async #read(stamp: string): Promise<InForce> {
    const { providers, options } = this.#context;
    const { policy } = await providers.loadPolicy(options.policy);
    const secrets = namedSecrets(policy, this.#names, options).map(({ secret }) => secret);
    return { policy, secrets, stamp };
  }
}

/** Visits, tells what changed since the visit before, and writes the metrics. */
class Visitor {
  readonly #context: Context;
  readonly #options: WatchOptions;
  readonly #watched: Watched;
  readonly #board: Board;
  readonly #metrics: MetricsFile | null;
  readonly #since: number;
  readonly #tellers = new Map<string, Teller>();
  readonly #absent = new Set<string>();
  #failures = 0;
  #nextAt: number | null = null;

  constructor(context: Context, options: WatchOptions, watched: Watched, board: Board) {
    this.#context = context;
    this.#options = options;
    this.#watched = watched;
    this.#board = board;
    this.#metrics = options.metricsFile === null ? null : new MetricsFile(options.metricsFile, context);
    this.#since = context.clock.now();
  }

  async visitUntilStopped(): Promise<void> {
    const { clock, output, random, signal } = this.#context;
    const { everyMs } = this.#options;
    output.progress(`Watching ${this.#countWords()} of ${this.#watched.source}, every ${formatDuration(everyMs)}.`);
    this.#board.endWith(() => [this.#closingLine()]);
    while (!signal.aborted) {
      this.#nextAt = null;
      const until = await this.#visit();
      const now = clock.now();
      const pause = pauseMs({ everyMs, failures: this.#failures, until }, now, random.fraction());
      this.#nextAt = now + pause;
      await clock.sleep(pause, { signal });
    }
    output.progress('Stopped. What is under way goes on with the next visit.');
  }

  /** Resolves to when the first run that waits for time alone may go on, epoch ms; null where none does. */
  async #visit(): Promise<number | null> {
    const { troubles } = this.#watched;
    const { clock, signal } = this.#context;
    try {
      const orchestrator = await this.#watched.orchestrator();
      const visits = await orchestrator.run({ secrets: this.#watched.secrets, signal });
      troubles.end('visit');
      for (const visit of visits) await this.#tell(visit);
      await this.#writeMetrics(async () => secretFacts(orchestrator, visits, clock.now()));
      const failed = visits.filter(({ kind }) => kind === 'failed').length;
      this.#failures = failed > 0 && failed === visits.length ? this.#failures + 1 : 0;
      return earliestOf(visits);
    } catch (error) {
      this.#failures += 1;
      troubles.begin('visit', this.#context.output.known(error));
      this.#context.log.warn('visit failed', errorFields(error));
      // What is open may be what fails: a journal that was replaced is another file.
      await this.#watched.close();
      await this.#writeMetrics(async () => null);
      return null;
    }
  }

  async #tell(visit: Visit): Promise<void> {
    const { secret } = visit;
    const { clock, options, output } = this.#context;
    await this.#tellRun(visit);
    if (visit.kind !== 'absent') this.#absent.delete(secret);
    else if (!this.#absent.has(secret)) {
      this.#absent.add(secret);
      for (const line of visitLines(visit, clock.now())) output.progress(line);
    }
    const failure = failureOf(visit);
    if (failure === null) this.#watched.troubles.end(secret);
    // What a run waits for is told as such; who wants it quiet sees no waits.
    else if (visit.kind === 'failed' || options.quiet === true) this.#watched.troubles.begin(secret, failure);
  }

  async #tellRun(visit: Visit): Promise<void> {
    const { secret } = visit;
    const before = this.#tellers.get(secret);
    const advance = visit.kind === 'advanced' ? visit.advance : null;
    if (before !== undefined && before.run !== advance?.run.id) {
      await before.catchUp();
      if (visit.kind === 'busy' || visit.kind === 'failed') return;
      this.#tellers.delete(secret);
      this.#board.remove(before.run);
    }
    if (advance === null) return;
    const teller = this.#tellers.get(secret) ?? this.#tellerOf(advance);
    this.#tellers.set(secret, teller);
    await teller.tell(advance);
    if (advance.kind !== 'ended') return;
    this.#tellers.delete(secret);
    const { run, message } = advance;
    const at = jsonTime(this.#context.clock.now());
    this.#context.output.streamed(() => ({
      ...{ at, secret, run: run.id, step: run.step, event: 'ended', outcome: run.state, message },
      ...waitJson(null),
    }));
  }

  #tellerOf({ run }: Advance): Teller {
    return new Teller(this.#context, this.#watched, run, {
      streams: true,
      tellsAgain: false,
      tellsFrom: this.#since,
      board: this.#board,
    });
  }

  async #writeMetrics(factsOf: () => Promise<readonly SecretFacts[] | null>): Promise<void> {
    if (this.#metrics === null) return;
    try {
      await this.#metrics.write(await factsOf());
      this.#watched.troubles.end('metrics');
    } catch (error) {
      this.#watched.troubles.begin('metrics', this.#context.output.known(error));
    }
  }

  #countWords(): string {
    const { length } = this.#watched.secrets;
    return `${String(length)} ${length === 1 ? 'secret' : 'secrets'}`;
  }

  #closingLine(): string {
    const left = this.#nextAt === null ? 0 : this.#nextAt - this.#context.clock.now();
    const next = left <= 0 ? 'visiting' : `next visit in ${formatDuration(left)}`;
    return `${this.#countWords()}, ${String(this.#tellers.size)} under way; ${next}`;
  }
}

function earliestOf(visits: readonly Visit[]): number | null {
  const moments = visits.map((visit) =>
    visit.kind === 'advanced' && visit.advance.kind === 'waiting'
      ? (waitingOf(visit.advance.wait)?.until ?? null)
      : null,
  );
  return earliest(moments);
}

/** Another text for every change of a file that matters. */
async function stampOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join();
  } catch {
    return 'unreadable';
  }
}
