import { createMemoryJournal } from '../memory/journal.ts';
import { MemoryPlace } from '../memory/secret-store.ts';
import { createMemoryUsageLog } from '../memory/usage-log.ts';
import { acceptedVersions, isSettled, primaryOf } from '../model/keyring.ts';
import type { Policy, SecretPolicy } from '../model/policy.ts';
import { failing } from '../model/check.ts';
import type { Visit } from '../orchestrator/visit.ts';
import { createWorldCanary } from './canaries.ts';
import { chanceOf, type Chance } from './chance.ts';
import { Verdict, type Violation } from './checks.ts';
import { WorldClock } from './clock.ts';
import { Fleet } from './fleet.ts';
import { Leaks } from './leaks.ts';
import { Network } from './network.ts';
import { People, tellUnexpected } from './people.ts';
import { Processes, type WorldJournal } from './processes.ts';
import { faultsEndAt, type Schedule } from './schedule.ts';
import { Sender } from './sender.ts';
import { strikeWith } from './strikes.ts';
import { emptyTally, type Tally } from './tally.ts';
import { Trace, worldTime } from './trace.ts';
import type { WorldUpstream } from './upstreams/upstream.ts';
import { createWorldUpstream } from './upstreams/worlds.ts';
import { Watch } from './watch.ts';
import { watchedMs } from './scale.ts';

export interface Outcome {
  readonly schedule: Schedule;
  readonly violation: Violation | null;
  readonly tally: Tally;
}

/** Lets everything happen that the schedule says, and checks every event. Deterministic: the same gives the same. */
export async function runWorld(
  policy: SecretPolicy,
  schedule: Schedule,
  tell: ((line: string) => void) | null = null,
): Promise<Outcome> {
  const world = new World(policy, schedule, tell);
  return world.run();
}

/** How many messages more are sent when all is over, to see that they are accepted. */
const afterwards = 5;

class World {
  readonly policy: SecretPolicy;
  readonly schedule: Schedule;
  readonly clock: WorldClock;
  readonly chance: Chance;
  readonly network = new Network();
  readonly place = new MemoryPlace();
  readonly tally: Tally = emptyTally();
  readonly trace: Trace;
  readonly verdict: Verdict;
  readonly leaks: Leaks;
  readonly watch: Watch;
  readonly upstream: WorldUpstream;
  readonly fleet: Fleet;
  readonly sender: Sender;
  readonly processes: Processes;
  /** Those of the installation, and those who have a journal of their own over the same store. */
  readonly people: People;
  #rivals: People | null = null;
  firstDocument: string | null = null;
  readonly #journals: WorldJournal[] = [];
  readonly #faultsEndAt: number;
  #settledAt: number | null = null;
  readonly #waitingSince = new Map<string, number>();
  #visiting = 0;

  constructor(policy: SecretPolicy, schedule: Schedule, tell: ((line: string) => void) | null) {
    this.policy = policy;
    this.schedule = schedule;
    const { seed, setup } = schedule;
    this.clock = new WorldClock(setup.startMs);
    this.#faultsEndAt = faultsEndAt(schedule);
    this.chance = chanceOf(seed, 'world');
    const now = (): number => this.clock.monotonic();
    this.trace = new Trace(now, tell);
    this.verdict = new Verdict(now);
    this.leaks = new Leaks(this.verdict);
    this.watch = new Watch(policy.secret, this.verdict, this.leaks, {
      ...{ now, tally: this.tally },
      mayBeUsed: (value) =>
        this.upstream.mayStillSign(value) ? 'the upstream signs with it' : this.sender.mayArrive(value),
      isTold: (value) => this.upstream.isTold(value) || this.sender.hasHeard(value),
      reportedRevision: (agoMs) => this.fleet.reportedRevision(agoMs),
    });
    const { clock, network, place, trace, verdict, leaks, watch, tally } = this;
    const usage = createMemoryUsageLog({ clock });
    const of = (name: string): Chance => this.chance.of(name);
    this.upstream = createWorldUpstream({
      ...{ clock, policy, setup, chance: of('upstream') },
      onCall: (run, value) => watch.calls(run, value),
      onSwitch: (value) => this.#checkHolding(value),
      tell: (words) => trace.tell('upstream', words),
      fail: (message) => verdict.fail('I3', message),
    });
    const { upstream } = this;
    this.fleet = new Fleet({ clock, policy, setup, network, place, usage, verdict, trace, chance: of('fleet') });
    const { fleet } = this;
    this.sender = new Sender({
      ...{ clock, policy, setup, network, fleet, upstream, watch, verdict, tally, trace, chance: of('sender') },
    });
    this.processes = new Processes({
      ...{
        clock,
        policy: policyOf(policy),
        secret: policy,
        setup,
        network,
        place,
        usage,
        upstream,
        canary: createWorldCanary({ network, fleet, verdict, chance: of('canaries') }),
        watch,
        leaks,
        verdict,
        trace,
      },
      onWrite: (text, author, replaced) => {
        this.firstDocument ??= text;
        watch.wrote(text, author, replaced);
      },
      chance: of('processes'),
    });
    this.people = this.#peopleAt(setup.orchestrators, () => this.journal);
    this.#addJournal('j-one');
  }

  #peopleAt(slot: number, journal: () => WorldJournal): People {
    const { clock, fleet, upstream, sender, watch, verdict, leaks, tally, trace, policy, schedule } = this;
    return new People({
      ...{ clock, fleet, upstream, sender, watch, verdict, leaks, tally, trace },
      ...{ secret: policy.secret, peopleMs: schedule.setup.peopleMs, chance: this.chance.of(`people ${String(slot)}`) },
      at: (who) => this.processes.spawn(slot, journal(), who),
      isLost: (id) => this.#journals.some((each) => each.journal.id === id && each.isLost),
    });
  }

  /** The one that people and cron use now. */
  get journal(): WorldJournal {
    const present = this.#journals.find(({ isLost, journal }) => !isLost && journal.id !== rivalJournal);
    if (present === undefined) throw new RangeError('a world without a journal');
    return present;
  }

  async run(): Promise<Outcome> {
    const { clock, schedule, verdict } = this;
    const { setup } = schedule;
    const start = this.#begin();
    const lateAt = this.#latestEnd();
    const hardStopAt = lateAt + 24 * 60 * 60_000;
    await clock.run(() => {
      if (verdict.violation !== null) return true;
      const now = clock.monotonic();
      if (now > setup.askedAt) this.#noteSettled();
      if (this.#isOver()) return true;
      if (this.#settledAt === null && now > lateAt) this.#failLate(lateAt);
      return now > hardStopAt;
    });
    await start;
    if (verdict.violation === null) this.#checkEnd();
    const { tally } = this;
    tally.events = clock.happened;
    tally.virtualMs = clock.monotonic();
    tally.longestTwoKeysMs = this.watch.longestTwoKeysMs;
    return { schedule, violation: verdict.violation, tally };
  }

  loseJournal(): void {
    const { journal } = this;
    journal.isLost = true;
    this.watch.loseJournal(journal.journal.id);
    this.#addJournal(`j-${String(this.#journals.length + 1)}`);
  }

  /** Somebody with a journal of their own comes by, and their cron from then on. */
  beginRival(): void {
    if (this.#rivals !== null) return;
    const rival = this.#addJournal(rivalJournal);
    const slot = this.schedule.setup.orchestrators + 1;
    this.#rivals = this.#peopleAt(slot, () => rival);
    this.#rivals.ask('rotate');
    this.#rivals.begin();
    this.#visitRegularly(slot, () => rival);
  }

  async #begin(): Promise<void> {
    const { clock, schedule, policy, people, fleet, sender, upstream } = this;
    const { setup } = schedule;
    fleet.begin();
    sender.begin();
    for (let slot = 0; slot < setup.orchestrators; slot += 1) this.#visitRegularly(slot, () => this.journal);
    clock.after(setup.askedAt, () => {
      people.ask('rotate');
      people.begin();
    });
    for (const fault of schedule.faults) clock.after(fault.at, () => strikeWith(this, fault));
    if (setup.isFirst) return;
    const value = `adopted-${Buffer.from(this.chance.of('adopted').bytes(24)).toString('base64url')}`;
    const command = this.processes.spawn(-1, this.journal, 'person');
    await command.adopt(policy.secret, value);
    upstream.setByHand(value, false);
  }

  #addJournal(id: string): WorldJournal {
    const added = { journal: createMemoryJournal({ clock: this.clock, id }), isLost: false };
    this.#journals.push(added);
    return added;
  }

  /** The cron jobs of one machine: a process for every visit. */
  #visitRegularly(slot: number, at: () => WorldJournal): void {
    const { clock, schedule, chance } = this;
    const everyMs = schedule.setup.visitEveryMs;
    const next = (): void => {
      if (this.#visiting < maxVisiting) void this.#visit(slot, at());
      clock.after(everyMs, next);
    };
    clock.after(everyMs * chance.fraction(), next);
  }

  async #visit(slot: number, at: WorldJournal): Promise<void> {
    this.#visiting += 1;
    try {
      const visits = await this.processes.spawn(slot, at, `cron-${String(slot)}`).run();
      for (const visit of visits) this.#note(visit);
    } catch (error) {
      tellUnexpected(error, this.verdict, this.leaks);
    } finally {
      this.#visiting -= 1;
    }
  }

  #note(visit: Visit): void {
    if (visit.kind === 'failed') tellUnexpected(visit.error, this.verdict, this.leaks);
    if (visit.kind !== 'advanced') return;
    const { advance } = visit;
    if (advance.kind === 'ended') {
      this.#waitingSince.clear();
      return;
    }
    const now = this.clock.monotonic();
    const names = failing(advance.wait.checks).map(({ name }) => name);
    for (const name of this.#waitingSince.keys()) {
      if (!names.some((each) => each === name)) this.#waitingSince.delete(name);
    }
    for (const name of names) {
      const since = this.#waitingSince.get(name) ?? now;
      this.#waitingSince.set(name, since);
      if (now - since <= this.tally.longestWaitMs) continue;
      this.tally.longestWaitMs = now - since;
      this.tally.longestWaitFor = name;
    }
  }

  /** I1: whoever may be given a message accepts the version that the upstream begins to sign with. */
  #checkHolding(value: string): void {
    const { policy, watch, fleet, verdict, clock } = this;
    const { secret, receivers, upstream } = policy;
    const version = watch.versionOf(value);
    if (version === null || watch.wasCompromised) return;
    for (const { id, setup, cache, isServing, wasReady, reportedAt } of fleet.alive) {
      const pool = receivers.pools[setup.pool];
      const snapshot = cache.snapshot(secret);
      if (pool?.reporting !== 'required' || pool.ephemeral || !isServing || !wasReady) continue;
      const isGivenUp = upstream.capabilities.redelivers && clock.monotonic() - reportedAt > receivers.missingAfterMs;
      if (isGivenUp || snapshot?.accepted.some((each) => each.id === version) === true) continue;
      verdict.fail('I1', `The upstream was switched to version ${version}, and ${id} does not hold it.`);
    }
  }

  /** True once nobody is at work, nothing is wanted, and nothing goes wrong any more. */
  #isQuiet(): boolean {
    const { watch, people, clock } = this;
    if (watch.hasLiveRun || clock.monotonic() < this.#faultsEndAt) return false;
    if (!people.wantNothing || this.#rivals?.wantNothing === false) return false;
    return watch.keyring.claim === null && this.tally.rotations > 0;
  }

  #noteSettled(): void {
    if (!this.#isQuiet()) this.#settledAt = null;
    else this.#settledAt ??= this.clock.monotonic();
  }

  /** A little more traffic, then nothing new; until everything that is on its way has come. */
  #isOver(): boolean {
    if (this.#settledAt === null) return false;
    const { setup } = this.schedule;
    const forMs = Math.max(3 * this.policy.receivers.refreshEveryMs, afterwards * (setup.trafficEveryMs ?? 0));
    if (this.clock.monotonic() < this.#settledAt + Math.min(forMs, 3 * 60 * 60_000)) return false;
    this.sender.stop();
    return this.sender.underWay === 0;
  }

  /** How long after the last fault everything has to have come to an end. */
  #latestEnd(): number {
    const { gates, receivers, upstream } = this.policy;
    const { trafficEveryMs, visitEveryMs, peopleMs } = this.schedule.setup;
    const gate = gates.graceMs + gates.quietMs + watchedMs(this.policy) + 2 * receivers.missingAfterMs;
    const slow = 20 * (visitEveryMs + peopleMs) + 3 * (trafficEveryMs ?? 0) + upstream.capabilities.switchLagMs;
    return this.#faultsEndAt + 2 * gate + slow + 2 * 60 * 60_000;
  }

  #failLate(lateAt: number): void {
    const waits = [this.people, ...(this.#rivals === null ? [] : [this.#rivals])].map(({ lastWait }) => lastWait);
    this.verdict.fail('I8', `At ${worldTime(lateAt)} it is not over; it waits for: ${waits.join('; ')}`);
  }

  /** What has to be so once all is over. */
  #checkEnd(): void {
    const { watch, verdict, upstream, fleet, policy, schedule } = this;
    const { keyring } = watch;
    const primary = primaryOf(keyring);
    if (!isSettled(keyring) && acceptedVersions(keyring).length > 0) {
      verdict.fail('I6', 'All is over, and the keyring is not settled.');
    }
    if (primary === null) return;
    // Under compromise, and where nothing is to be retired, an answer of the upstream is taken at its word.
    if (!watch.wasCompromised && !schedule.setup.isFirst && !upstream.signsOnlyWith(primary.value)) {
      verdict.fail('I6', `All is over, and the upstream does not sign with the primary, ${primary.id}.`);
    }
    for (const { id, cache } of fleet.alive) {
      // One that began right before the end has loaded nothing yet, and answers 503.
      if (cache.snapshot(policy.secret) === null) continue;
      const holds = cache.status(policy.secret).holds;
      if (holds.length === 1 && holds[0] === primary.id) continue;
      verdict.fail('I6', `All is over, and ${id} holds ${holds.join(', ')}, not ${primary.id} alone.`);
    }
  }
}

const rivalJournal = 'j-rival';

/** More visits than that are under way only where processes are stopped. */
const maxVisiting = 12;

function policyOf(secret: SecretPolicy): Policy {
  return {
    source: 'the simulated policy',
    journal: { kind: 'sqlite', path: '', auditKey: null },
    usage: { kind: 'sqlite', path: '', group: null },
    stores: { [secret.store]: { kind: 'file', path: '', group: null, age: null } },
    secrets: [secret],
    retain: { runs: 50 },
    naming: null,
  };
}
