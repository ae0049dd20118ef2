import { createMemoryStore, type MemoryPlace } from '../memory/secret-store.ts';
import type { Policy, SecretPolicy } from '../model/policy.ts';
import { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { Parts } from '../orchestrator/parts.ts';
import type { Canary } from '../ports/canary.ts';
import type { Journal, Lease, Leases, NewEvent } from '../ports/journal.ts';
import { logOf } from '../ports/log.ts';
import type { UsageLog } from '../ports/usage-log.ts';
import type { Chance } from './chance.ts';
import type { Verdict } from './checks.ts';
import type { WorldClock } from './clock.ts';
import type { Leaks } from './leaks.ts';
import { MachineClock } from './machine.ts';
import { unreachable, type Network } from './network.ts';
import { AuthoredPlace, type OnWrite } from './place.ts';
import type { Setup, Side } from './schedule.ts';
import { Tenures } from './tenures.ts';
import type { Trace } from './trace.ts';
import type { WorldUpstream } from './upstreams/upstream.ts';
import type { Watch } from './watch.ts';

/** A process is dead: nothing that it calls has an effect any more. */
export class Killed extends Error {}

/** A journal on one machine, and whether it is still there. */
export interface WorldJournal {
  readonly journal: Journal & Leases;
  isLost: boolean;
}

/** What is to befall a process at its nth call of any port from now on. */
export interface Strike {
  calls: number;
  readonly side: Side;
  /** How long it is stopped; null: it is killed. */
  readonly stopMs: number | null;
}

export interface ProcessParts {
  readonly clock: WorldClock;
  readonly chance: Chance;
  readonly policy: Policy;
  readonly secret: SecretPolicy;
  readonly setup: Setup;
  readonly network: Network;
  readonly place: MemoryPlace;
  readonly onWrite: OnWrite;
  readonly usage: UsageLog;
  readonly upstream: WorldUpstream;
  readonly canary: Canary;
  readonly watch: Watch;
  readonly leaks: Leaks;
  readonly verdict: Verdict;
  readonly trace: Trace;
}

type PortName = 'journal' | 'usage' | 'store' | 'upstream' | 'canary';

/** How long a call of a port takes, ms. */
const latencies: Readonly<Record<PortName, readonly [least: number, most: number]>> = {
  journal: [0.2, 10],
  usage: [0.2, 10],
  store: [2, 60],
  upstream: [0.1, 1],
  canary: [5, 200],
};

/** Every command and every visit of cron is a process of its own, over ports at which the world may strike. */
export class Processes {
  readonly #parts: ProcessParts;
  /** Those that wait for a process in that slot: each number of cron, and after them the people's. */
  readonly #strikes = new Map<number, Strike[]>();
  readonly #dead = new Set<number>();
  readonly #tenures: Tenures;
  #spawned = 0;

  constructor(parts: ProcessParts) {
    this.#parts = parts;
    const { verdict, clock } = parts;
    this.#tenures = new Tenures(
      verdict,
      () => clock.now(),
      (pid) => this.#dead.has(pid),
    );
  }

  strike(slot: number, strike: Strike): void {
    this.#strikes.set(slot, [...(this.#strikes.get(slot) ?? []), strike]);
  }

  spawn(slot: number, at: WorldJournal, who: string): Orchestrator {
    const { clock: world, chance, policy, setup, leaks, trace } = this.#parts;
    this.#spawned += 1;
    const pid = this.#spawned;
    const clock = new MachineClock(world);
    const name = `${who}, process ${String(pid)}`;
    const own = chance.of(`process ${String(pid)}`);
    const identity = { host: 'here', boot: 'b', pidNamespace: 'n', pid, startedAt: String(pid) };
    // In some places nobody can tell whether a process still is.
    const process = setup.orchestrators > 1 && slot % 2 === 1 ? null : identity;
    const life: Life = { pid, slot, at, clock, chance: own };
    const place = new AuthoredPlace(this.#parts.place, at.journal.id, this.#parts.onWrite);
    const store = createMemoryStore({ clock, place, propagationLagMs: setup.storeLagMs });
    const journal = this.#wrap(life, 'journal', this.#watched(at.journal, pid));
    const wrappedStore = this.#wrap(life, 'store', store);
    const upstream = this.#wrap(life, 'upstream', this.#parts.upstream.port);
    const canary = this.#wrap(life, 'canary', this.#parts.canary);
    const parts: Parts = {
      ...{ policy, journal, leases: journal, usage: this.#wrap(life, 'usage', this.#parts.usage) },
      store: () => Promise.resolve(wrappedStore),
      upstream: () => Promise.resolve(upstream),
      canary: () => Promise.resolve(canary),
      ...{ clock, random: own, who, holder: { name, process } },
      log: logOf((level) => (message, fields = {}) => {
        leaks.lookIn([message, fields], 'a log line');
        if (level === 'warn' || level === 'error') trace.tell('log', `${message} ${JSON.stringify(fields)}`);
      }),
      processes: { self: () => process, isDead: (other) => this.#dead.has(other.pid) },
    };
    return new Orchestrator(parts);
  }

  /** The journal, of which everything that is written is looked at. */
  #watched(journal: Journal & Leases, pid: number): Journal & Leases {
    const { watch, leaks, trace } = this.#parts;
    const wrote = (lease: Lease): void => this.#tenures.wrote(journal.id, pid, lease);
    const tell = (events: readonly NewEvent[]): void => {
      leaks.lookIn(events, 'an event');
      if (!trace.isOn) return;
      for (const { run, message } of events) trace.tell(journal.id, run === null ? message : `${run}: ${message}`);
    };
    const watched: Pick<Journal, 'begin' | 'supersede' | 'save' | 'move' | 'note'> & Omit<Leases, 'read'> = {
      ...this.#watchedLeases(journal, pid),
      begin: async (run, events, lease) => {
        const begun = await journal.begin(run, events, lease);
        if (begun.joined) return begun;
        wrote(lease);
        watch.began(journal.id, run);
        tell(events);
        return begun;
      },
      supersede: async (superseded, run, events, lease) => {
        const begun = await journal.supersede(superseded, run, events, lease);
        wrote(lease);
        watch.ended(journal.id, { ...superseded, state: 'superseded' });
        watch.began(journal.id, begun);
        tell(events);
        return begun;
      },
      save: async (run, events, lease) => {
        const saved = await journal.save(run, events, lease);
        wrote(lease);
        leaks.lookIn({ ...saved, policy: null }, 'a run');
        watch.saved(saved);
        tell(events);
        if (saved.state !== 'live') watch.ended(journal.id, saved);
        return saved;
      },
      move: async (run, move, event) => {
        await journal.move(run, move, event);
        leaks.lookIn(move, "a person's move");
        tell([event]);
      },
      note: async (event) => {
        await journal.note(event);
        tell([event]);
      },
    };
    return new Proxy(journal, {
      get: (target, name) => {
        if (name in watched) return Reflect.get(watched, name) as unknown;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  #watchedLeases(journal: Journal & Leases, pid: number): Omit<Leases, 'read'> {
    const tenures = this.#tenures;
    const took = <T extends Awaited<ReturnType<Leases['acquire']>>>(answer: T): T => {
      if ('lease' in answer) tenures.took(journal.id, pid, answer.lease);
      return answer;
    };
    return {
      acquire: async (...asked) => took(await journal.acquire(...asked)),
      seize: async (...asked) => took(await journal.seize(...asked)),
      renew: async (...asked) => {
        const lease = await journal.renew(...asked);
        tenures.renewed(journal.id, pid, lease);
        return lease;
      },
      release: async (lease) => {
        await journal.release(lease);
        tenures.gaveBack(journal.id, pid, lease);
      },
    };
  }

  /** The port as that process reaches it: slowly, at times not at all, and not any more once it is dead. */
  #wrap<T extends object>(life: Life, port: PortName, target: T): T {
    const made = new Map<string | symbol, unknown>();
    return new Proxy(target, {
      get: (_, name) => {
        if (made.has(name)) return made.get(name);
        const value: unknown = Reflect.get(target, name, target);
        if (name === 'plain' && typeof value === 'object' && value !== null) {
          const inner = this.#wrap(life, port, value);
          made.set(name, inner);
          return inner;
        }
        if (typeof value !== 'function') return value;
        const call = (...args: unknown[]): Promise<unknown> =>
          this.#call(life, port, String(name), args, () => Reflect.apply(value, target, args) as Promise<unknown>);
        made.set(name, call);
        return call;
      },
    });
  }

  async #call(
    life: Life,
    port: PortName,
    method: string,
    args: readonly unknown[],
    work: () => Promise<unknown>,
  ): Promise<unknown> {
    const { clock, chance, at } = life;
    const { clock: world, network } = this.#parts;
    if (clock.isDead) throw new Killed();
    const strike = this.#nextStrike(life);
    const [least, most] = latencies[port];
    await world.sleep(least + (most - least) * chance.fraction() ** 3);
    await clock.awake();
    if (strike?.side === 'before') await this.#befall(life, strike, port, args);
    if (port === 'store') network.admitToStore('orchestrators');
    if (port === 'usage') network.admitToUsageLog();
    if (port === 'journal' && at.isLost) throw unreachable('journal-unreachable', 'journal');
    if (port === 'journal') network.admitToJournal();
    const result = await work();
    if (strike?.side === 'after') await this.#befall(life, strike, port, args);
    if (method === 'commit' && network.losesAnswer()) throw unreachable('store-unreachable', 'secret store');
    await clock.awake();
    return result;
  }

  #nextStrike({ slot }: Life): Strike | null {
    const [first, ...others] = this.#strikes.get(slot) ?? [];
    if (first === undefined || --first.calls > 0) return null;
    this.#strikes.set(slot, others);
    return first;
  }

  /** Kills the process, whose call may be on its way all the same; or stops it. */
  async #befall(life: Life, { stopMs, side }: Strike, port: PortName, args: readonly unknown[]): Promise<void> {
    const { trace, clock: world, watch, upstream } = this.#parts;
    trace.tell(
      'world',
      `process ${life.pid} is ${stopMs === null ? 'killed' : `stopped for ${stopMs} ms`} ${side} a call of the ${port}`,
    );
    if (stopMs !== null) {
      life.clock.stop(stopMs);
      await life.clock.awake();
      return;
    }
    life.clock.kill();
    this.#dead.add(life.pid);
    const [call] = args as readonly [{ readonly newValue?: string } | undefined];
    const deadline = watch.keyring.claim?.deadline ?? null;
    if (port === 'upstream' && side === 'before' && call?.newValue !== undefined && deadline !== null) {
      upstream.arriveLate(call.newValue, Date.parse(deadline) - world.now());
    }
    throw new Killed();
  }
}

interface Life {
  readonly pid: number;
  readonly slot: number;
  readonly at: WorldJournal;
  readonly clock: MachineClock;
  readonly chance: Chance;
}
