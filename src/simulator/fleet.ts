import { createSecretCache } from '../cache/cache.ts';
import type { SecretCache } from '../cache/types.ts';
import { createMemoryStore, type MemoryPlace } from '../memory/secret-store.ts';
import type { SecretPolicy } from '../model/policy.ts';
import type { KeyringReader, StoreRead } from '../ports/secret-store.ts';
import type { UsageLog, UsageReportLog } from '../ports/usage-log.ts';
import { createUsageReporter } from '../usage/reporter.ts';
import type { UsageReporter } from '../usage/types.ts';
import { createVerifier, type Verifier } from '../webhook/verifier.ts';
import type { Chance } from './chance.ts';
import type { Verdict } from './checks.ts';
import type { WorldClock } from './clock.ts';
import { MachineClock, never } from './machine.ts';
import { unreachable, type Network } from './network.ts';
import type { ReceiverSetup, Setup } from './schedule.ts';
import type { Trace } from './trace.ts';

/** A receiver of the fleet: production cache, verifier and reporter on a machine of its own. */
export interface Receiver {
  readonly id: string;
  readonly setup: ReceiverSetup;
  readonly cache: SecretCache;
  readonly verifier: Verifier;
  readonly usage: UsageReporter;
  readonly clock: MachineClock;
  isAlive: boolean;
  /** False from the moment at which it begins to stop. */
  isServing: boolean;
  /** True once it had something to verify with: from then on it is sent messages. */
  wasReady: boolean;
  /** When a report of it last arrived, or when it began. */
  reportedAt: number;
}

export interface FleetParts {
  readonly clock: WorldClock;
  readonly chance: Chance;
  readonly policy: SecretPolicy;
  readonly setup: Setup;
  readonly network: Network;
  readonly place: MemoryPlace;
  readonly usage: UsageLog;
  readonly verdict: Verdict;
  readonly trace: Trace;
}

/** How long a receiver of a pool that comes and goes lives. */
const ephemeralLifeMs = { least: 60_000, most: 15 * 60_000 };

/** The user's receivers, and what befalls them. */
export class Fleet {
  readonly #parts: FleetParts;
  #receivers: Receiver[] = [];
  #made = 0;
  /** When the usage log first had each higher revision. */
  readonly #reported: { readonly at: number; readonly revision: number }[] = [];
  /** Who is started when the fleet, which is scaled to zero, comes back; null while it is there. */
  #onReturn: ReceiverSetup[] | null = null;

  constructor(parts: FleetParts) {
    this.#parts = parts;
  }

  get alive(): readonly Receiver[] {
    return this.#receivers;
  }

  begin(): void {
    const { setup, clock, chance } = this.#parts;
    for (const each of setup.receivers) clock.after(chance.whole(0, 60_000), () => void this.start(each));
  }

  /** One that can serve: its cache has something to verify with. */
  pick(chance: Chance): Receiver | null {
    const { secret } = this.#parts.policy;
    const serving = this.#receivers.filter((receiver) => {
      receiver.wasReady ||= receiver.cache.snapshot(secret) !== null;
      return receiver.isServing && receiver.wasReady;
    });
    return serving[chance.whole(0, serving.length - 1)] ?? null;
  }

  isAlive(id: string): boolean {
    return this.#receivers.some((receiver) => receiver.id === id);
  }

  start(setup: ReceiverSetup): Receiver | null {
    if (this.#onReturn !== null) {
      this.#onReturn.push(setup);
      return null;
    }
    const { clock: world, chance, policy, trace, verdict } = this.#parts;
    const { secret, receivers, key, scheme } = policy;
    this.#made += 1;
    const id = `${setup.pool}-${String(this.#made)}`;
    const clock = new MachineClock(world, setup.wallOffMs);
    const random = chance.of(id);
    const cache = createSecretCache({
      store: this.#storeOf(id, clock, random),
      ...{ secrets: [{ secret, key }], refreshIntervalMs: setup.refreshEveryMs, clock, random },
    });
    const usage = createUsageReporter({
      ...{ log: this.#usageLogOf(id, setup, clock, random), cache, receiverId: id, pool: setup.pool },
      ...{ reportIntervalMs: receivers.reportEveryMs, clock, random },
    });
    const log = {
      debug: () => {},
      info: () => {},
      warn: () => {},
      error: (message: string) => verdict.fail('I5', `${id}: ${message}`),
    };
    const verifier = createVerifier({ cache, secret, scheme: scheme ?? 'github', usage, clock, log });
    const states = { isAlive: true, isServing: true, wasReady: false, reportedAt: world.monotonic() };
    const receiver: Receiver = { id, setup, cache, verifier, usage, clock, ...states };
    this.#receivers.push(receiver);
    trace.tell(id, 'starts');
    if (policy.receivers.pools[setup.pool]?.ephemeral === true) this.#letGo(receiver, random);
    return receiver;
  }

  /** Ends in order: it serves no more, reports what is left, and signs off. */
  async stop(receiver: Receiver): Promise<void> {
    if (!receiver.isServing) return;
    receiver.isServing = false;
    this.#parts.trace.tell(receiver.id, 'stops, and signs off');
    await receiver.usage.close();
    await receiver.cache.close();
    receiver.isAlive = false;
    receiver.clock.kill();
    this.#receivers = this.#receivers.filter((each) => each !== receiver);
  }

  kill(receiver: Receiver): void {
    this.#parts.trace.tell(receiver.id, 'is killed');
    receiver.isServing = false;
    receiver.isAlive = false;
    receiver.clock.kill();
    this.#receivers = this.#receivers.filter((each) => each !== receiver);
  }

  /** The one of that number, among those that are there now. */
  nth(number: number): Receiver | null {
    return this.#receivers[number % Math.max(1, this.#receivers.length)] ?? null;
  }

  /** Half of the fleet, one after the other, as in a deployment. */
  replaceHalf(): void {
    const { clock } = this.#parts;
    for (const [index, receiver] of this.#receivers.filter((_, at) => at % 2 === 0).entries()) {
      clock.after(index * 5_000, () => {
        this.start(receiver.setup);
        clock.after(10_000, () => void this.stop(receiver));
      });
    }
  }

  /** Scales to zero; what is returned brings as many back. */
  leave(): () => void {
    if (this.#onReturn !== null) return () => undefined;
    this.#onReturn = this.#receivers.filter(({ isServing }) => isServing).map(({ setup }) => setup);
    for (const receiver of this.#receivers) void this.stop(receiver);
    return () => {
      const setups = this.#onReturn ?? [];
      this.#onReturn = null;
      for (const setup of setups) this.start(setup);
    };
  }

  #letGo(receiver: Receiver, chance: Chance): void {
    const { clock } = this.#parts;
    clock.after(chance.duration(ephemeralLifeMs.least, ephemeralLifeMs.most), () => {
      if (!receiver.isAlive) return;
      this.start(receiver.setup);
      // A frozen one neither serves nor reports any more.
      if (chance.is(0.5)) this.kill(receiver);
      else void this.stop(receiver);
    });
  }

  #storeOf(id: string, clock: MachineClock, chance: Chance): KeyringReader {
    const { network, place, setup, clock: world } = this.#parts;
    const [late, prompt] = [setup.storeLagMs, 0].map((propagationLagMs) =>
      createMemoryStore({ clock, place, propagationLagMs }),
    );
    return {
      read: async (names) => {
        await world.sleep(chance.duration(3, 60));
        if (clock.isDead) return never();
        if (network.isDown(`store of ${id}`)) throw unreachable('store-unreachable', 'secret store');
        network.admitToStore('receivers');
        // One that lags for some reads need not for the next: what is newer may be seen first.
        const store = chance.is(0.5) ? late : prompt;
        return store?.read(names) ?? new Map<string, StoreRead>();
      },
    };
  }

  /** The highest revision that any receiver had reported so long ago, ms; 0: none. */
  reportedRevision(agoMs: number): number {
    const until = this.#parts.clock.monotonic() - agoMs;
    return this.#reported.findLast(({ at }) => at <= until)?.revision ?? 0;
  }

  #usageLogOf(id: string, { pool }: ReceiverSetup, clock: MachineClock, chance: Chance): UsageReportLog {
    const { network, usage, clock: world, policy } = this.#parts;
    const reports = policy.receivers.pools[pool]?.reporting !== 'none';
    return {
      report: async (report) => {
        await world.sleep(chance.duration(1, 20));
        if (clock.isDead) return never();
        if (!reports) return;
        if (network.isDown(`usage log of ${id}`)) throw unreachable('usage-unreachable', 'usage log');
        network.admitToUsageLog();
        await usage.report(report);
        const revision = Math.max(0, ...report.secrets.map((each) => each.revision));
        if (revision > this.reportedRevision(0)) this.#reported.push({ at: world.monotonic(), revision });
        const receiver = this.#receivers.find((each) => each.id === id);
        if (receiver !== undefined) receiver.reportedAt = world.monotonic();
      },
      close: () => Promise.resolve(),
    };
  }
}
