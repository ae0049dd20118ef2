import type { Finished, Running } from '../process/support/processes.ts';
import { traceLines } from '../process/support/world.ts';
import { byLine, eventOf, type Moments } from './moments.ts';
import type { KeyturnOptions, Town } from './town.ts';

/** Said of a receiver that died before it ever reported: there is nothing to forget. */
export const neverReported = /knows no receiver "[^"]+" that has not signed off/;

/** Starts `keyturn` processes, but not while the doors are closed, and looks at how they end. */
export class Orchestrators {
  readonly #town: Town;
  readonly #moments: Moments;
  readonly #wrong: string[] = [];
  readonly #killed = new WeakSet<Running>();
  #closed: Promise<undefined> | null = null;
  #count = 0;

  constructor(town: Town, moments: Moments) {
    this.#town = town;
    this.#moments = moments;
  }

  get count(): number {
    return this.#count;
  }

  /** What any of them said or did that none should, whatever happened to it. */
  get wrong(): readonly string[] {
    return this.#wrong;
  }

  async start(args: readonly string[], options: KeyturnOptions = {}): Promise<Running> {
    while (this.#closed !== null) await this.#closed;
    return this.#startNow(args, options);
  }

  kill(running: Running): void {
    this.#killed.add(running);
    running.kill('SIGKILL');
  }

  /** Whether it was told to die, and did not do so by itself. */
  wasKilled(running: Running): boolean {
    return this.#killed.has(running);
  }

  /** Kills all of them, and lets nobody start another before `work`, which may, is done. */
  async alone(work: (start: (args: readonly string[]) => Running) => Promise<void>): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#closed = promise;
    try {
      const killed = [...this.#town.orchestrators];
      for (const running of killed) this.kill(running);
      await Promise.all(killed.map(async ({ finished }) => finished));
      await work((args) => this.#startNow(args));
      return killed.length;
    } finally {
      this.#closed = null;
      resolve(undefined);
    }
  }

  #startNow(args: readonly string[], options: KeyturnOptions = {}): Running {
    this.#count += 1;
    const hears = byLine((line) => {
      const event = eventOf(line);
      if (event !== null) this.#moments.hear(running, event);
    });
    const running = this.#town.keyturn(args, { hears, ...options });
    void running.finished.then((finished) => this.#look(args, finished));
    return running;
  }

  /** It may fail, for much of what it needs is taken from it; but it has to know how. */
  #look(args: readonly string[], { code, signal, all }: Finished): void {
    if (signal === 'SIGKILL') return;
    const isKnown = (code !== null && [0, 1, 3, 6, 143].includes(code)) || (code === 2 && neverReported.test(all));
    if (isKnown && traceLines(all).length === 0 && !/"unexpected"|Unexpected/.test(all)) return;
    this.#wrong.push(`keyturn ${args.join(' ')} ended with ${String(code ?? signal)}:\n${all}`);
  }
}
