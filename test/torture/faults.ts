import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../process/support/processes.ts';
import { type Chance, Deck } from './chance.ts';
import type { Disk } from './disk.ts';
import type { Fleet } from './fleet.ts';
import { byLine, type Moments } from './moments.ts';
import type { Orchestrators } from './orchestrators.ts';
import type { Tally } from './tally.ts';
import type { Town } from './town.ts';

/** What may strike, and how often among the others. */
const cards = Object.entries({
  'kill orchestrator': 12,
  'kill upstream': 3,
  'kill receiver': 2,
  'stall orchestrator': 1,
  'stall receiver': 1,
  'fill journal': 1,
  'fill secrets': 1,
  'fill usage': 1,
  'read-only journal': 1,
} as const).flatMap(([card, times]) => Array.from({ length: times }, () => card as Card));

type Card =
  | 'kill orchestrator'
  | 'kill upstream'
  | 'kill receiver'
  | 'stall orchestrator'
  | 'stall receiver'
  | `fill ${'journal' | 'secrets' | 'usage'}`
  | 'read-only journal';

const effects = ['generate', 'activate', 'promote', 'reassert', 'revoke', 'purge'] as const;

/** What an orchestrator says right before it is killed. */
const orchestratorWords: readonly string[] = [
  ...effects.flatMap((effect) => [`${effect}-started`, `${effect}-done`]),
  ...['started', 'switch-proven', 'waiting', 'completed', 'activate-unknown'],
];

/** The places of `fault-at.ts`: right before and right after the journal has an event. */
export const places: readonly string[] = [
  ...effects.flatMap((effect) => ['started', 'done'].map((when) => `${effect}-${when}`)),
  ...['started', 'completed', 'switch-proven'],
].flatMap((event) => [`${event}:before`, `${event}:after`]);

const patienceMs = 3_000;

export interface Struck {
  readonly town: Town;
  readonly fleet: Fleet;
  readonly orchestrators: Orchestrators;
  readonly moments: Moments;
  readonly tally: Tally;
  readonly chance: Chance;
}

/** Strikes one thing after the other, as the deck has them. */
export class Faults {
  /** What is no fault of keyturn's. */
  readonly wrong: string[] = [];
  readonly #all: Struck;
  readonly #deck: Deck<Card>;
  /** What was struck and goes on later. */
  readonly #later = new Set<Promise<void>>();
  #upstream: Running | null = null;

  constructor(all: Struck) {
    this.#all = all;
    this.#deck = new Deck(all.chance, cards);
  }

  async startUpstream(): Promise<void> {
    const { town, moments, chance } = this.#all;
    const hears = byLine((line) => {
      if (this.#upstream !== null) moments.hear(this.#upstream, line.split(' ')[0] ?? '');
    });
    const upstream = await town.startUpstream(chance.below(1_000_000), hears);
    this.#upstream = upstream;
    void upstream.finished.then(({ signal, all }) => {
      if (signal !== 'SIGKILL') this.wrong.push(`the upstream of the torture itself failed:\n${all}`);
    });
  }

  async strike(): Promise<void> {
    const { fleet, chance } = this.#all;
    const drawn = this.#deck.draw();
    // Who is not rested is spared; an orchestrator always can be.
    const card = drawn.endsWith('receiver') && !fleet.isRested ? 'kill orchestrator' : drawn;
    await sleep(chance.between(0, 400));
    await this.#do(card);
  }

  /** Resolves when all that was struck is up again. */
  async over(): Promise<void> {
    await Promise.all([this.#all.fleet.whole(), ...this.#later]);
  }

  async #do(card: Card): Promise<void> {
    const { town, fleet, chance } = this.#all;
    switch (card) {
      case 'kill orchestrator':
        return this.#killOrchestrator();
      case 'kill upstream':
        return this.#killUpstream();
      case 'kill receiver':
        fleet.kill();
        return;
      case 'stall orchestrator':
        return this.#stallOrchestrator();
      case 'stall receiver':
        fleet.stall();
        return;
      case 'fill journal':
        return this.#fill('journal', town.disks.journal, chance);
      case 'fill secrets':
        return this.#fill('secrets', town.disks.secrets, chance);
      case 'fill usage':
        return this.#fill('usage log', town.disks.usage, chance);
      case 'read-only journal':
        return this.#lockJournal();
    }
  }

  async #killOrchestrator(): Promise<void> {
    const { town, orchestrators, moments, tally, chance } = this.#all;
    const heard = chance.isOne(4)
      ? null
      : await moments.next(chance.shuffled(orchestratorWords).slice(0, 4), patienceMs);
    await sleep(chance.isOne(2) ? 0 : chance.between(0, 60));
    const speaker = heard?.speaker.hasEnded() === false ? heard.speaker : chance.one([...town.orchestrators, null]);
    if (speaker === null) return;
    orchestrators.kill(speaker);
    tally.count('orchestrators killed', heard === null ? 'at any time' : `after ${heard.word}`);
  }

  async #killUpstream(): Promise<void> {
    const { moments, tally, chance } = this.#all;
    const words = chance.one([['call'], ['took'], ['answered'], null]);
    const heard = words === null ? null : await moments.next(words, patienceMs);
    await sleep(chance.between(0, 30));
    const upstream = this.#upstream;
    upstream?.kill('SIGKILL');
    await upstream?.finished;
    tally.count('upstream killed', heard === null ? 'at any time' : `after ${heard.word}`);
    await sleep(chance.isOne(2) ? 0 : chance.between(0, 1_500));
    await this.startUpstream();
  }

  async #stallOrchestrator(): Promise<void> {
    const { town, moments, tally, chance } = this.#all;
    const heard = await moments.next(chance.shuffled(orchestratorWords).slice(0, 4), patienceMs);
    const stalled = heard?.speaker.hasEnded() === false ? heard.speaker : chance.one([...town.orchestrators, null]);
    if (stalled === null) return;
    stalled.kill('SIGSTOP');
    tally.count('stalled', 'orchestrators');
    // Longer than a lease without a call lasts, and it wakes up while others are at it.
    this.#later.add(sleep(chance.between(5_500, 7_000)).then(() => stalled.kill('SIGCONT')));
  }

  async #fill(what: string, disk: Disk, chance: Chance): Promise<void> {
    if (!disk.isMounted) return;
    disk.fill();
    this.#all.tally.count('disks full', what);
    await sleep(chance.between(500, 1_500));
    disk.empty();
  }

  /** Nobody has it open then: whoever had is killed, and who opens it meanwhile finds what it is. */
  async #lockJournal(): Promise<void> {
    const { town, orchestrators, tally, chance } = this.#all;
    const { journal } = town.disks;
    const killed = await orchestrators.alone(async (start) => {
      journal.makeReadOnly();
      try {
        const refused = await Promise.all([
          start(['rotate', chance.one(town.names), '--json']).finished,
          start(['run', '--json']).finished,
        ]);
        tally.count('journal read-only', refused.every(({ code }) => code === 1) ? 'refused' : 'NOT refused');
      } finally {
        journal.makeWritable();
      }
    });
    for (let index = 0; index < killed; index += 1) tally.count('orchestrators killed', 'all at once');
  }
}
