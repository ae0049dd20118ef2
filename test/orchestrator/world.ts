import { createSecretCache } from '../../src/cache/cache.ts';
import type { SecretCache } from '../../src/cache/types.ts';
import { createMemoryCanary, type MemoryCanaryControl } from '../../src/memory/canary.ts';
import { createFakeClock, createSeededRandom, type FakeClock } from '../../src/memory/clock.ts';
import { createMemoryJournal } from '../../src/memory/journal.ts';
import { createMemoryStore, MemoryPlace, type MemoryStore } from '../../src/memory/secret-store.ts';
import { createMemoryUpstream, type MemoryUpstreamControl } from '../../src/memory/upstream.ts';
import { createMemoryUsageLog } from '../../src/memory/usage-log.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import type { Keyring } from '../../src/model/keyring.ts';
import { acceptedVersions, primaryOf } from '../../src/model/keyring.ts';
import type { Capabilities, Policy, PoolPolicy, SecretPolicy } from '../../src/model/policy.ts';
import { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import type { Parts } from '../../src/orchestrator/parts.ts';
import { silentLog } from '../../src/ports/log.ts';
import type { Clock, Random } from '../../src/ports/system.ts';
import type { Upstream } from '../../src/ports/upstream.ts';
import type { UsageLog, UsageReportLog } from '../../src/ports/usage-log.ts';
import { createUsageReporter } from '../../src/usage/reporter.ts';
import type { UsageReporter } from '../../src/usage/types.ts';
import { sign } from '../../src/webhook/hmac.ts';
import { createVerifier, type Verifier } from '../../src/webhook/verifier.ts';
import { policyOf as samplePolicy } from '../conformance/run-samples.ts';

export const secret = 'my-hook';

/** The value that is in use when a world has begun. */
export const oldValue = 'the-value-in-use-until-now';

/** A pool whose receivers stay and have to report. */
export function pool(expect: number, over: Partial<PoolPolicy> = {}): PoolPolicy {
  return { expect, reporting: 'required', ephemeral: false, maxAgeMs: null, ...over };
}

/** A policy with gates short enough to be counted in seconds, of an upstream that does not deliver twice. */
export function policyOf(change: Partial<SecretPolicy> = {}, able: Partial<Capabilities> = {}): SecretPolicy {
  const name = change.secret ?? secret;
  const sample = samplePolicy(name);
  const { upstream } = sample;
  return {
    ...sample,
    key: name,
    rotateEveryMs: 30 * 86_400_000,
    receivers: {
      pools: { default: pool(2) },
      reportEveryMs: 1_000,
      missingAfterMs: 60_000,
      refreshEveryMs: 5_000,
    },
    gates: { ...sample.gates, graceMs: 30_000, quietMs: 20_000 },
    upstream: { ...upstream, capabilities: { ...upstream.capabilities, redelivers: false, ...able } },
    ...change,
  };
}

export interface WorldReceiver {
  readonly id: string;
  readonly pool: string;
  /** Its own way to the store that all share. */
  readonly store: MemoryStore;
  /** While true nothing that it reports arrives. */
  isCut: boolean;
  readonly cache: SecretCache;
  readonly verifier: Verifier;
  readonly usage: UsageReporter;
}

/** A message as the upstream signed it, for as long as it tries to deliver it. */
interface Message {
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

/** How far a receiver's clock is from everybody else's. */
export interface ReceiverOptions {
  readonly id?: string;
  readonly pool?: string;
  readonly clockOffMs?: number;
}

/** A whole installation in memory: store, usage log, journal, upstream, receivers, and the orchestrators over them. */
export class World {
  readonly clock: FakeClock = createFakeClock();
  readonly random: Random = createSeededRandom(7);
  readonly place = new MemoryPlace();
  readonly store: MemoryStore = createMemoryStore({ clock: this.clock, place: this.place });
  readonly usage: UsageLog;
  readonly journal = createMemoryJournal({ clock: this.clock, id: 'j-one' });
  readonly upstream: MemoryUpstreamControl;
  readonly canaries: MemoryCanaryControl;
  readonly parts: Parts;
  readonly orchestrator: Orchestrator;
  readonly receivers: WorldReceiver[] = [];
  readonly #policy: SecretPolicy | undefined;
  readonly #redelivers: boolean;
  #receivers = 0;
  #calling = 0;
  #canaries = 0;
  #undelivered: Message[] = [];
  /** While true the usage log answers nobody. */
  usageDown = false;
  /** While true no message reaches a receiver. */
  balancerDown = false;
  /** Messages that were valid and refused for good. */
  refused = 0;
  delivered = 0;
  /** How often a call to the upstream began while another was under way. */
  overlaps = 0;

  constructor(policies: readonly SecretPolicy[] = [policyOf()], change: Partial<Parts> = {}, upstreamMs = 5_000) {
    const memory = createMemoryUpstream({ timeoutMs: upstreamMs });
    this.upstream = memory.control;
    const { canary, control } = createMemoryCanary({ timeoutMs: upstreamMs });
    this.canaries = control;
    this.canaries.answer((message) => this.#takeCanary(message));
    this.usage = this.#interruptible(createMemoryUsageLog({ clock: this.clock }));
    [this.#policy] = policies;
    this.#redelivers = this.#policy?.upstream.capabilities.redelivers ?? false;
    const upstream: Upstream = {
      ...memory.upstream,
      activate: (call) => this.calling(() => memory.upstream.activate(call)),
    };
    const policy: Policy = {
      source: '/test/rotation-policy.json',
      journal: { kind: 'sqlite', path: '', auditKey: null },
      usage: { kind: 'sqlite', path: '', group: null },
      stores: { local: { kind: 'file', path: '', group: null, age: null } },
      secrets: policies,
      retain: { runs: 50 },
      naming: null,
    };
    this.parts = {
      policy,
      journal: this.journal,
      leases: this.journal,
      usage: this.usage,
      store: () => Promise.resolve(this.store),
      upstream: () => Promise.resolve(upstream),
      canary: () => Promise.resolve(canary),
      clock: this.clock,
      random: this.random,
      log: silentLog,
      who: 'someone@here',
      holder: { name: 'someone@here, process 1', process: null },
      processes: { self: () => null, isDead: () => false },
      ...change,
    };
    this.orchestrator = new Orchestrator(this.parts);
  }

  /** Another process over the same everything, but for what is changed. */
  another(change: Partial<Parts> = {}): Orchestrator {
    return new Orchestrator({
      ...this.parts,
      holder: { name: 'someone@here, process 2', process: null },
      ...change,
    });
  }

  #interruptible(log: UsageLog): UsageLog {
    const admit = (): void => {
      if (this.usageDown) throw new KeyturnError('usage-unreachable', 'The usage log in memory does not answer.');
    };
    return {
      label: log.label,
      report: async (report) => {
        admit();
        await log.report(report);
      },
      evidence: async (name) => {
        admit();
        return log.evidence(name);
      },
      forget: (receiver) => log.forget(receiver),
      prune: (before) => log.prune(before),
      probe: () => log.probe(),
      close: () => log.close(),
    };
  }

  /** Whatever is under way at the upstream, so that two at a time are noticed. */
  async calling<T>(work: () => Promise<T>): Promise<T> {
    if (this.#calling > 0) this.overlaps += 1;
    this.#calling += 1;
    try {
      return await work();
    } finally {
      this.#calling -= 1;
    }
  }

  /** A receiver on the production cache, verifier and reporter, as the first policy has them refresh and report. */
  receiver(options: ReceiverOptions = {}): WorldReceiver {
    const { random } = this;
    const { id = `receiver-${String(this.#receivers++)}`, pool: inPool = 'default', clockOffMs = 0 } = options;
    const clock: Clock = {
      now: () => this.clock.now() + clockOffMs,
      monotonic: () => this.clock.monotonic(),
      sleep: (ms, sleeping) => this.clock.sleep(ms, sleeping),
    };
    const { refreshEveryMs, reportEveryMs } = (this.#policy ?? policyOf()).receivers;
    const store = createMemoryStore({ clock: this.clock, place: this.place });
    const cache = createSecretCache({ store, secrets: [secret], refreshIntervalMs: refreshEveryMs, clock, random });
    const log: UsageReportLog = {
      report: async (report) => {
        if (receiver.isCut) throw new KeyturnError('usage-unreachable', 'This receiver is cut off.');
        await this.usage.report(report);
      },
      close: () => Promise.resolve(),
    };
    const usage = createUsageReporter({
      ...{ log, cache, receiverId: id, pool: inPool },
      ...{ reportIntervalMs: reportEveryMs, clock, random },
    });
    const verifier = createVerifier({ cache, secret, scheme: 'github', usage, clock });
    const receiver: WorldReceiver = { id, pool: inPool, store, isCut: false, cache, usage, verifier };
    this.receivers.push(receiver);
    return receiver;
  }

  async stop(receiver: WorldReceiver): Promise<void> {
    this.receivers.splice(this.receivers.indexOf(receiver), 1);
    await receiver.usage.close();
    await receiver.cache.close();
  }

  /** What `kill -9` does to a receiver, the last one by default: it neither reports nor signs off any more. Returns its id. */
  kill(receiver = this.receivers.at(-1)): string {
    if (receiver === undefined) return '';
    this.receivers.splice(this.receivers.indexOf(receiver), 1);
    receiver.isCut = true;
    void receiver.usage.close();
    void receiver.cache.close();
    return receiver.id;
  }

  /** A message of the upstream to every receiver, signed with what it signs with now, and whatever it has to try again. */
  async deliver(value = this.upstream.signsWith()): Promise<void> {
    const again = this.#undelivered;
    this.#undelivered = [];
    if (value !== null) again.push(signed(value, this.delivered++));
    for (const message of again) await this.#arrive(message);
  }

  async #arrive(message: Message): Promise<void> {
    if (this.balancerDown) {
      this.#undelivered.push(message);
      return;
    }
    for (const { verifier } of this.receivers) {
      const result = await verifier.verify({ ...message, method: 'POST', url: '/' });
      if (result.ok) verifier.outcome(result, 200);
      else if (result.status === 503 && this.#redelivers) this.#undelivered.push(message);
      else this.refused += 1;
    }
  }

  /** As a load balancer hands them out: each to the next receiver. */
  async #takeCanary({ headers, body }: { headers: Readonly<Record<string, string>>; body: string }) {
    const receiver = this.receivers[this.#canaries++ % this.receivers.length];
    if (receiver === undefined) return { status: 502, reason: null };
    const result = await receiver.verifier.verify({ headers, body, method: 'POST', url: '/' });
    if (result.ok) receiver.verifier.outcome(result, 200);
    return result.ok ? { status: result.canary ? 200 : 500, reason: null } : result;
  }

  /** Messages that no receiver has taken yet, and that the upstream will try again. */
  get undelivered(): number {
    return this.#undelivered.length;
  }

  /** Retries that come on their own, later than all others: signed when they were, and no more than once. */
  takeUndelivered(): readonly (() => Promise<void>)[] {
    const taken = this.#undelivered;
    this.#undelivered = [];
    return taken.map((message) => () => this.#arrive(message));
  }

  /** Time passes second by second, with a message each. */
  async seconds(count: number, value?: string): Promise<void> {
    for (let i = 0; i < count; i++) {
      await this.clock.advance(1_000);
      await this.deliver(value);
    }
  }

  async keyring(name = secret): Promise<Keyring> {
    const read = (await this.store.read([{ secret: name, key: name }])).get(name);
    if (read?.state !== 'present') throw new Error(`no keyring of ${name}`);
    return read.keyring;
  }

  async stages(name = secret): Promise<readonly string[]> {
    return (await this.keyring(name)).versions.map((version) => version.stage);
  }

  /** A settled secret with its first version, receivers that hold it, and an upstream that signs with it. */
  async begin(receivers = 2, warmUp = 10): Promise<void> {
    for (let i = 0; i < receivers; i++) this.receiver();
    await this.orchestrator.adopt(secret, oldValue);
    this.upstream.set(oldValue);
    await this.seconds(warmUp);
    this.refused = 0;
  }

  async close(): Promise<void> {
    this.usageDown = false;
    for (const receiver of [...this.receivers]) {
      receiver.isCut = false;
      await this.stop(receiver);
    }
  }

  primaryValue = async (): Promise<string> => primaryOf(await this.keyring())?.value ?? '';

  acceptedValues = async (): Promise<readonly string[]> =>
    acceptedVersions(await this.keyring()).map((version) => version.value);
}

function signed(value: string, number: number): Message {
  const body = Buffer.from(`message ${String(number)}`);
  return { headers: sign('github', value, body), body };
}
