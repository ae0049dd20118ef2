import { createMemoryJournal } from '../../src/memory/journal.ts';
import { parseKeyring } from '../../src/model/document.ts';
import { acceptedVersions, type Keyring } from '../../src/model/keyring.ts';
import type { SecretPolicy } from '../../src/model/policy.ts';
import type { Run } from '../../src/model/run.ts';
import type { Parts } from '../../src/orchestrator/parts.ts';
import type { Journal, Leases, ProcessIdentity } from '../../src/ports/journal.ts';
import type { UpstreamCall } from '../../src/ports/upstream.ts';
import { policyOf, pool, secret, World } from '../orchestrator/world.ts';
import { digest } from './digest.ts';
import { illegalMove } from './legal.ts';
import type { Stepped } from './process.ts';

/** What holds in the design and not in this world, in words. */
export class Violation extends Error {}

/** A call to the upstream, from when its process made it. */
export interface Flight {
  readonly value: string;
  readonly by: Stepped;
  /** Epoch ms; what the intent names. */
  readonly deadline: number;
  arrived: boolean;
  /** Nothing of it is under way any more. */
  landed: boolean;
}

/** Gates of seconds, so that a whole rotation is a few hundred calls. */
export function quick(over: Partial<SecretPolicy> = {}): SecretPolicy {
  const policy = policyOf({}, { switchLagMs: 1_000, redelivers: true });
  return {
    ...policy,
    receivers: { ...policy.receivers, pools: { default: pool(1) }, refreshEveryMs: 1_000 },
    gates: { ...policy.gates, graceMs: 3_000, quietMs: 2_000 },
    ...over,
  };
}

export type Change = (parts: Parts) => Parts;

const leaseNames = [secret, 'keyturn run', 'keyturn upkeep'];

/** Run objects never change, and most are the same from step to step. */
const texts = new WeakMap<Run, string>();

function textOf(run: Run): string {
  const known = texts.get(run);
  if (known !== undefined) return known;
  const text = JSON.stringify({ ...run, policy: null });
  texts.set(run, text);
  return text;
}

/** A world in memory, and all that has to hold in it after each step. */
export class Ground {
  readonly world: World;
  journals: readonly (Journal & Leases)[];
  readonly change: Change;
  readonly flights: Flight[] = [];
  /** All that receivers and messages depend on: the same passage of time left the same behind. */
  past = '';
  runs = '';
  leases = '';
  #runs: readonly Run[] = [];
  #text: string | null = null;
  #keyring: Keyring | null = null;
  /** Claims that another run's was put in the place of, since journals were last read. */
  #takenOver: { readonly from: string; readonly by: string }[] = [];
  readonly #dead = new Set<number>();

  constructor(policy: SecretPolicy, journals: number, change: Change) {
    this.world = new World([policy], {}, 1_000);
    this.change = change;
    const { place } = this.world;
    const write = place.write.bind(place);
    place.write = (...written) => {
      write(...written);
      this.judge();
    };
    const more = Array.from({ length: journals - 1 }, (_, index) =>
      createMemoryJournal({ clock: this.world.clock, id: `j-${String(index + 2)}` }),
    );
    this.journals = [this.world.journal, ...more];
  }

  partsOf(journal: number): Parts {
    const own = this.journals[journal];
    return own === undefined ? this.world.parts : { ...this.world.parts, journal: own, leases: own };
  }

  /** Whoever comes finds an empty journal in the place of the first. */
  loseJournal(): void {
    this.journals = [createMemoryJournal({ clock: this.world.clock, id: 'j-new' }), ...this.journals.slice(1)];
  }

  kill(stepped: Stepped): void {
    stepped.state = 'killed';
    stepped.pending.length = 0;
    this.#dead.add(stepped.identity.pid);
  }

  isDead({ pid }: ProcessIdentity): boolean {
    return this.#dead.has(pid);
  }

  get accepted(): readonly string[] {
    return this.#keyring === null ? [] : acceptedVersions(this.#keyring).map(({ value }) => value);
  }

  /** A value that a look has just shown to be in use: until time passes nobody may take it away. */
  kept: string | null = null;

  /**
   * Seconds pass, with a message each, and where `stray` is still accepted one that is signed with it. What a dead process
   * sent arrives at the last moment.
   */
  async pass(ms: number, stray: string | null = null): Promise<void> {
    const { clock } = this.world;
    this.kept = null;
    const until = clock.monotonic() + ms;
    while (clock.monotonic() < until) {
      const late = this.flights.filter((flight) => !flight.landed && !flight.arrived && flight.by.state === 'killed');
      const soonest = Math.min(...late.map(({ deadline }) => deadline - 1 - clock.now()).filter((left) => left > 0));
      const step = Math.min(1_000, until - clock.monotonic(), soonest);
      await clock.advance(step);
      if (step === soonest) for (const flight of late) if (flight.deadline - 1 === clock.now()) this.arrive(flight);
      await this.world.deliver();
      if (stray !== null && this.accepted.includes(stray)) await this.world.deliver(stray);
    }
    await this.look();
    this.past = digest(`${this.past} ${String(ms)} ${String(this.#text)} ${this.world.upstream.signsWith() ?? ''}`);
    this.judge();
  }

  takeOff(by: Stepped, { intentId, newValue }: UpstreamCall): Flight {
    const now = this.world.clock.now();
    const intent = this.#runs.flatMap(({ intents }) => intents).find(({ id }) => id === intentId);
    if (intent === undefined) throw this.#violated('I5: a call was made that no journal has an intent for');
    if (now >= intent.deadline) throw this.#violated('I3: a call was made after its deadline');
    if (this.flights.some(({ landed, deadline }) => !landed && now < deadline)) {
      throw this.#violated('I3: two calls to the upstream were under way at a time');
    }
    const flight: Flight = { value: newValue, by, deadline: intent.deadline, arrived: false, landed: false };
    this.flights.push(flight);
    return flight;
  }

  arrive(flight: Flight): void {
    if (this.world.clock.now() >= flight.deadline) return;
    flight.arrived = true;
    if (!this.accepted.includes(flight.value)) {
      throw this.#violated('I1 I4: the upstream was told a value that no receiver can accept');
    }
    this.world.upstream.set(flight.value);
  }

  /** The first thing that went wrong, however deep in the code under test its error ended. */
  violation: Violation | null = null;

  #violated(what: string): Violation {
    this.violation ??= new Violation(what);
    return this.violation;
  }

  /** Reads what journals hold now. */
  async look(): Promise<void> {
    const all: Run[] = [];
    let [runs, leases] = ['', ''];
    for (const journal of this.journals) {
      const found = await journal.runs({});
      all.push(...found);
      runs += `${found.map(textOf).join()};`;
      for (const name of leaseNames) {
        const lease = await journal.read(name);
        if (lease === null) continue;
        const dead = lease.process !== null && this.isDead(lease.process);
        leases += `${[lease.token, lease.held, lease.expiresAt, dead].join()};`;
      }
      if (found.filter(({ state }) => state === 'live').length > 1)
        this.#violated('I3: two runs of a journal are live');
    }
    [this.#runs, this.runs, this.leases] = [all, runs, leases];
    for (const { from, by } of this.#takenOver) {
      const heir = all.find(({ id }) => id === by);
      if (heir?.tookOver?.run !== from)
        this.#violated(`I3: run ${by} took the claim of a run whose place it does not take`);
    }
    this.#takenOver = [];
  }

  /** Judges the keyring that is there now against the one that was there before, and against who may sign. */
  judge(): void {
    const text = this.world.place.newest(secret);
    const signs = this.world.upstream.signsWith();
    if (text !== this.#text && text !== null) {
      const next = parseKeyring(text, 'memory', secret);
      const wrong = this.#keyring === null ? null : illegalMove(this.#keyring, next);
      if (wrong !== null) this.#violated(wrong);
      const [from, by] = [this.#keyring?.claim?.run, next.claim?.run];
      if (from !== undefined && by !== undefined && from !== by) this.#takenOver.push({ from, by });
      [this.#text, this.#keyring] = [text, next];
    }
    if (signs !== null && this.#keyring !== null && !this.accepted.includes(signs)) {
      this.#violated('I1 I2: the version that the upstream signs with is not accepted any more');
    }
    if (this.kept !== null && !this.accepted.includes(this.kept)) {
      this.#violated('I2: a version was revoked that a look had shown to be in use');
    }
    const now = this.world.clock.now();
    const coming = this.flights.find(({ arrived, landed, deadline }) => !arrived && !landed && now < deadline);
    if (coming !== undefined && !this.accepted.includes(coming.value)) {
      this.#violated('I2: a version was revoked that a call under way may make the upstream sign with');
    }
    if (this.world.refused > 0) this.#violated('I1: a valid message was refused for good');
  }

  /** Everything that what happens next depends on, but for the processes. */
  state(): string {
    const { world } = this;
    const now = world.clock.now();
    const flights = this.flights
      .filter(({ landed, deadline }) => !landed && now < deadline)
      .map(({ value, arrived, deadline }) => `${value} ${String(arrived)} ${String(deadline)}`);
    const plain = ['plain', 'documents'].map((key) => world.place.plain(key) ?? '');
    return [
      now,
      this.past,
      this.kept,
      this.runs,
      this.leases,
      this.#text,
      world.upstream.signsWith(),
      ...plain,
      ...flights,
    ].join('\n');
  }

  /** As much of it as a call of that port can tell. */
  view(port: string): string {
    if (port === 'journal') return this.runs + this.leases;
    if (port === 'store') return `${String(this.#text)}${this.world.place.plain('plain') ?? ''}`;
    return port === 'usage' ? this.past : '';
  }

  /** Monotonic ms; when the processes of the scene began. */
  beganAt = Infinity;

  async newest(journal: number): Promise<Run | null> {
    return (await this.journals[journal]?.runs({ limit: 1 }))?.[0] ?? null;
  }
}
