import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../process/support/processes.ts';
import { until } from '../process/support/until.ts';
import { type Chance, Deck } from './chance.ts';
import { neverReported, type Orchestrators } from './orchestrators.ts';
import type { Tally } from './tally.ts';
import type { Town } from './town.ts';

interface Member {
  readonly id: string;
  readonly url: string;
  readonly process: Running;
}

/** What becomes of the place of a receiver that was killed. */
const revivals = [
  /** It is started again at once, under its id: its dead life is missing until `missingAfter` has passed. */
  'started again',
  'started again late',
  /** Another takes its place, and a person says that it is gone. */
  'replaced, forgotten',
  /** Another takes its place, and nobody says anything. */
  'replaced',
] as const;

const size = 3;

/** The fleet has this long to settle before the next of it is struck, ms: evidence needs some quiet. */
const restMs = 9_000;

/** The receivers. One at a time is struck, so that what they refuse is never for want of a receiver. */
export class Fleet {
  readonly #town: Town;
  readonly #orchestrators: Orchestrators;
  readonly #tally: Tally;
  readonly #chance: Chance;
  readonly #revivals: Deck<(typeof revivals)[number]>;
  readonly #members: (Member | null)[] = Array.from({ length: size }, () => null);
  #made = 0;
  #restUntil = 0;
  #busy: Promise<void> = Promise.resolve();

  constructor(town: Town, orchestrators: Orchestrators, tally: Tally, chance: Chance) {
    this.#town = town;
    this.#orchestrators = orchestrators;
    this.#tally = tally;
    this.#chance = chance;
    this.#revivals = new Deck(chance, revivals);
  }

  get urls(): readonly string[] {
    return this.#members.flatMap((member) => member?.url ?? []);
  }

  async start(): Promise<void> {
    await Promise.all(this.#members.map((_, place) => this.#fill(place, this.#newId())));
  }

  /** Whether one may be struck now. */
  get isRested(): boolean {
    return performance.now() >= this.#restUntil;
  }

  /** Kills one with -9, and sees to its place meanwhile. */
  kill(): void {
    const place = this.#chance.below(size);
    const member = this.#members[place];
    if (member === null || member === undefined) return;
    const revival = this.#revivals.draw();
    this.#restUntil = Infinity;
    member.process.kill('SIGKILL');
    this.#tally.count('receivers killed', revival);
    this.#keepBusy(this.#revive(place, member.id, revival));
  }

  /** Stops one, which does not know that time goes by, and lets it go on. */
  stall(): void {
    const { process } = this.#chance.one(this.#members.filter((member) => member !== null));
    this.#restUntil = Infinity;
    process.kill('SIGSTOP');
    this.#tally.count('stalled', 'receivers');
    const stalled = async (): Promise<void> => {
      await sleep(this.#chance.between(1_000, 5_000));
      process.kill('SIGCONT');
    };
    this.#keepBusy(stalled());
  }

  #keepBusy(work: Promise<void>): void {
    this.#busy = work.finally(() => this.#rest());
    // What it failed with is told to whoever awaits the whole.
    this.#busy.catch(() => undefined);
  }

  /** Resolves when all are up. */
  async whole(): Promise<void> {
    await this.#busy;
  }

  /** Ends them in order. Returns what was not as it should be. */
  async stop(): Promise<readonly string[]> {
    const members = this.#members.filter((member) => member !== null);
    for (const { process } of members) process.kill('SIGTERM');
    const ends = await Promise.all(members.map(async ({ process }) => process.finished));
    return ends
      .filter(({ code }) => code !== 0)
      .map(({ code, all }) => `a receiver ended with ${String(code)}: ${all}`);
  }

  #rest(): void {
    this.#restUntil = performance.now() + restMs;
  }

  #newId(): string {
    return `receiver-${String((this.#made += 1))}`;
  }

  async #fill(place: number, id: string): Promise<void> {
    this.#members[place] = { id, ...(await this.#town.startReceiver(id)) };
    this.#town.sendTo(this.urls);
  }

  async #revive(place: number, id: string, revival: (typeof revivals)[number]): Promise<void> {
    if (revival === 'started again late') await sleep(this.#chance.between(1_000, 4_000));
    await this.#fill(place, revival.startsWith('started again') ? id : this.#newId());
    if (revival !== 'replaced, forgotten') return;
    await until(`somebody forgets ${id}`, async () => {
      const args = ['forget', id, '--reason', 'it was killed'];
      const { code, all } = await (await this.#orchestrators.start(args)).finished;
      return code === 0 || neverReported.test(all);
    });
  }
}
