import type { Wait } from '../decide/decision.ts';
import { failing } from '../model/check.ts';
import type { Run, Step } from '../model/run.ts';
import type { Advance } from '../orchestrator/advance.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { JournalEvent } from '../ports/journal.ts';
import type { Board } from './board.ts';
import type { Context } from './context.ts';
import { checkLines, stepLabel, waitingOf } from './describe.ts';
import { jsonTime } from './output.ts';
import { TrafficMeter, type VersionTraffic } from './traffic.ts';

/** An unchanged wait is told again this often, ms, so that nobody thinks that it hangs. */
const tellAgainMs = 10_000;

export interface TellerOptions {
  /** Whether `--json` gives an object for each thing told. */
  readonly streams: boolean;
  /** Whether a wait that does not change is told again and again. */
  readonly tellsAgain: boolean;
  /** Epoch ms: what happened before is taken note of, and not told. */
  readonly tellsFrom: number;
  readonly board: Board;
}

/** Tells what happens to one run, each thing once, and keeps the board as the run is. */
export class Teller {
  readonly #context: Context;
  readonly #orchestrator: Pick<Orchestrator, 'events'>;
  readonly #options: TellerOptions;
  readonly #enteredAt = new Map<Step, number>();
  readonly #meter: TrafficMeter;
  #run: Run;
  #step: Step;
  #doing: string | null = null;
  #wait: Wait | null = null;
  #traffic: readonly VersionTraffic[] = [];
  #lastEvent = 0;
  #lastWait = '';
  #toldAt = -Infinity;

  constructor(context: Context, orchestrator: Pick<Orchestrator, 'events'>, run: Run, options: TellerOptions) {
    this.#context = context;
    this.#orchestrator = orchestrator;
    this.#options = options;
    this.#run = run;
    this.#step = run.step;
    this.#meter = new TrafficMeter(run.policy.receivers);
  }

  get run(): string {
    return this.#run.id;
  }

  /** What has happened without us. */
  async catchUp(): Promise<void> {
    await this.#tellEvents();
    this.#show();
  }

  /** What has happened up to where the run stands now, and what it waits for. */
  async tell(advance: Advance): Promise<void> {
    await this.#tellEvents();
    this.#run = advance.run;
    this.#doing = null;
    if (advance.kind === 'ended') {
      this.#show();
      this.#options.board.remove(advance.run.id);
      return;
    }
    this.#wait = advance.wait;
    this.#step = advance.wait.step;
    this.#measure(advance);
    this.#show();
    this.#tellWait(advance.wait);
  }

  /** Waits for a step of the work and tells, as often as that, what already happens on the way. */
  async meanwhile<T>(work: Promise<T>, everyMs: number): Promise<T> {
    const over = new AbortController();
    const telling = this.#tellRegularly(everyMs, over.signal);
    try {
      return await work;
    } finally {
      over.abort();
      await telling;
    }
  }

  async #tellRegularly(everyMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#context.clock.sleep(everyMs, { signal });
      if (signal.aborted) return;
      // What cannot be read now is told when the work is done, or is what the work fails with.
      await this.#tellEvents().catch(() => undefined);
      this.#show();
    }
  }

  #show(): void {
    this.#options.board.show({
      run: this.#run,
      step: this.#step,
      enteredAt: this.#enteredAt,
      doing: this.#doing,
      wait: this.#wait,
      traffic: this.#traffic,
    });
  }

  #measure({ run, seen }: Advance & { readonly kind: 'waiting' }): void {
    if (seen.usage.state === 'failed' || seen.keyring.state !== 'present') return;
    const { keyring } = seen.keyring;
    const { evidence } = seen.usage;
    this.#traffic = this.#meter.measure({ keyring, evidence, to: run.to }, this.#context.clock.monotonic());
  }

  async #tellEvents(): Promise<void> {
    const events = await this.#orchestrator.events(this.#run.id, this.#lastEvent);
    for (const event of events) {
      this.#lastEvent = event.id;
      this.#tellEvent(event);
    }
  }

  #tellEvent(event: JournalEvent): void {
    const { output } = this.#context;
    const { at, secret, run, step, message, data } = event;
    const isTold = at >= this.#options.tellsFrom;
    if (this.#options.streams && isTold)
      output.streamed(() => ({ at: jsonTime(at), secret, run, step, event: event.event, message, ...data }));
    const begins = event.event.endsWith('-started');
    const enters = event.event === 'step-entered' ? step : null;
    this.#doing = begins ? message : null;
    this.#wait = null;
    this.#lastWait = '';
    if (enters !== null) {
      this.#step = enters;
      this.#enteredAt.set(enters, at);
    }
    if (!isTold) return;
    this.#show();
    if (enters !== null) output.progress(`${secret}  ${stepLabel(enters)}  ${message}`);
    // What came of it follows within seconds; the beginning matters to those who look for a crash.
    else if (!begins) output.progress(`${secret}    ${message}`);
  }

  #tellWait(wait: Wait): void {
    const { clock, output } = this.#context;
    const { streams, tellsAgain, board } = this.#options;
    const waiting = waitingOf(wait);
    if (waiting === null) return;
    const key = wait.checks.map((check) => `${check.name} ${String(check.ok)} ${check.reason}`).join();
    const isNew = key !== this.#lastWait;
    if (!isNew && !(tellsAgain && clock.monotonic() - this.#toldAt >= tellAgainMs)) return;
    this.#lastWait = key;
    this.#toldAt = clock.monotonic();
    const now = clock.now();
    if (!board.isShown)
      for (const line of checkLines(wait.checks, now)) output.progress(`${this.#run.secret}      waits for ${line}`);
    const { id, secret } = this.#run;
    const until = jsonTime(waiting.until);
    const failingNames = failing(wait.checks).map((check) => check.name);
    if (!isNew || !streams) return;
    output.streamed(() => ({
      at: jsonTime(now),
      secret,
      run: id,
      step: wait.step,
      event: 'waiting',
      waitingFor: { ...waiting, until },
      failing: failingNames,
    }));
  }
}
