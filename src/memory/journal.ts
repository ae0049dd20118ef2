import {
  acquiredLease,
  checkFence,
  checkMove,
  checkNewRun,
  checkSave,
  checkSupersede,
  leaseOf,
  leaseRecordOf,
  releasedLease,
  renewedLease,
  seizedLease,
  supersededRun,
  type StoredLease,
} from '../decide/fence.ts';
import type { PersonMove, Run } from '../model/run.ts';
import type { AuditReading, Digest } from '../ports/audit.ts';
import type {
  EventQuery,
  Holder,
  Journal,
  JournalEvent,
  Lease,
  LeaseRecord,
  Leases,
  NewEvent,
  RunQuery,
} from '../ports/journal.ts';
import { createDigest } from '../ports/digest.ts';
import { clockFinding, leasesFinding, newestOf, ok } from '../ports/probe.ts';
import type { ProbeFinding } from '../ports/secret-store.ts';
import type { Clock } from '../ports/system.ts';
import { MemorySightings } from './sightings.ts';
import { MemoryTrail } from './trail.ts';

export interface MemoryJournalOptions {
  readonly clock: Clock;
  readonly id: string;
  /** What events are chained with; by default without a key. */
  readonly digest?: Digest;
}

/** A journal that ends with its process: for tests and simulations. Each call acts at once, so nothing comes between. */
export function createMemoryJournal(options: MemoryJournalOptions): Journal & Leases {
  return new MemoryJournal(options);
}

class MemoryJournal implements Journal, Leases {
  readonly id: string;
  readonly label = 'memory';
  readonly sightings = new MemorySightings(() => this.#events);
  readonly #clock: Clock;
  /** Oldest first, as a Map keeps its order. */
  readonly #runs = new Map<string, Run>();
  readonly #liveOf = new Map<string, string>();
  readonly #leases = new Map<string, StoredLease>();
  readonly #trail: MemoryTrail;
  #events: JournalEvent[] = [];

  constructor({ clock, id, digest = createDigest(null) }: MemoryJournalOptions) {
    this.#clock = clock;
    this.#trail = new MemoryTrail(id, digest);
    this.id = id;
  }

  async begin(
    run: Run,
    events: readonly NewEvent[],
    lease: Lease,
  ): Promise<{ readonly run: Run; readonly joined: boolean }> {
    this.#fence(lease, run.secret);
    const live = this.#liveRun(run.secret);
    if (live !== null) return { run: live, joined: true };
    checkNewRun(this.#runs.get(run.id) ?? null, run);
    this.#put(run);
    this.#append(events);
    return { run, joined: false };
  }

  async supersede(superseded: Run, run: Run, events: readonly NewEvent[], lease: Lease): Promise<Run> {
    this.#fence(lease, run.secret);
    const live = this.#liveRun(run.secret);
    checkSupersede(live, superseded);
    checkNewRun(this.#runs.get(run.id) ?? null, run);
    this.#put({ ...supersededRun(superseded, this.#clock.now()), moves: live?.moves ?? [] });
    this.#put(run);
    this.#append(events);
    return run;
  }

  async runs(query: RunQuery): Promise<readonly Run[]> {
    const found = this.#candidates(query).filter(
      (run) =>
        (query.id === undefined || run.id === query.id) &&
        (query.secret === undefined || run.secret === query.secret) &&
        (query.live !== true || run.state === 'live'),
    );
    return found.reverse().slice(0, query.limit);
  }

  async liveSecrets(): Promise<readonly string[]> {
    return [...this.#liveOf.keys()];
  }

  async save(run: Run, events: readonly NewEvent[], lease: Lease): Promise<Run> {
    this.#fence(lease, run.secret);
    const stored = this.#runs.get(run.id) ?? null;
    checkSave(stored, run);
    const saved: Run = { ...run, moves: stored?.moves ?? [], changes: run.changes + 1 };
    this.#put(saved);
    this.#append(events);
    return saved;
  }

  async move(run: string, move: PersonMove, event: NewEvent): Promise<void> {
    const stored = this.#runs.get(run) ?? null;
    checkMove(stored, run);
    if (stored !== null) this.#put({ ...stored, moves: [...stored.moves, move] });
    this.#append([event]);
  }

  async note(event: NewEvent): Promise<void> {
    this.#append([event]);
  }

  async events({
    secret,
    run,
    after = 0,
    before = Infinity,
    limit,
    newestFirst,
  }: EventQuery): Promise<readonly JournalEvent[]> {
    const found = this.#events.filter(
      (event) =>
        (secret === undefined || event.secret === secret) &&
        (run === undefined || event.run === run) &&
        event.id > after &&
        event.id < before,
    );
    return (newestFirst === true ? found.reverse() : found).slice(0, limit);
  }

  async prune(keep: number): Promise<number> {
    let removed = 0;
    for (const [secret, runs] of Map.groupBy(this.#runs.values(), (run) => run.secret)) {
      const surplus = runs.filter((run) => run.state !== 'live').slice(0, -Math.max(1, keep));
      if (surplus.length === 0) continue;
      for (const { id } of surplus) this.#runs.delete(id);
      removed += surplus.length;
      const isKept = ({ run }: JournalEvent): boolean => run !== null && this.#runs.has(run);
      const oldest = this.#events.find((event) => event.secret === secret && isKept(event))?.id ?? 0;
      const gone = new Set(surplus.map((run) => run.id));
      const stays = (event: JournalEvent): boolean =>
        !gone.has(event.run ?? '') && (event.secret !== secret || event.id >= oldest);
      this.#trail.prune(new Set(this.#events.filter((event) => !stays(event)).map(({ id }) => id)), this.#clock.now());
      this.#events = this.#events.filter(stays);
    }
    return removed;
  }

  async openAudit(): Promise<AuditReading> {
    return this.#trail.reading();
  }

  async seal(event: NewEvent): Promise<void> {
    this.#trail.seal();
    this.#append([event]);
  }

  async acquire(name: string, holder: Holder, ttlMs: number): ReturnType<Leases['acquire']> {
    const stored = this.#leases.get(name) ?? null;
    return this.#acquired(acquiredLease(stored, { name, holder, ttlMs }, this.#clock.now()));
  }

  async seize(dead: LeaseRecord, holder: Holder, ttlMs: number): ReturnType<Leases['seize']> {
    const { name } = dead;
    const stored = this.#leases.get(name) ?? null;
    return this.#acquired(seizedLease(stored, dead, { name, holder, ttlMs }, this.#clock.now()));
  }

  async renew(lease: Lease, ttlMs: number): Promise<Lease> {
    const renewed = renewedLease(this.#leases.get(lease.name) ?? null, lease, ttlMs, this.#clock.now());
    this.#leases.set(lease.name, renewed);
    return leaseOf(renewed);
  }

  async release(lease: Lease): Promise<void> {
    const released = releasedLease(this.#leases.get(lease.name) ?? null, lease, this.#clock.now());
    if (released !== null) this.#leases.set(lease.name, released);
  }

  async read(name: string): ReturnType<Leases['read']> {
    const stored = this.#leases.get(name);
    return stored === undefined ? null : leaseRecordOf(stored, this.#clock.now());
  }

  async probe(): Promise<readonly ProbeFinding[]> {
    const now = this.#clock.now();
    const leases = [...this.#leases.values()];
    return [
      ok('integrity', 'It is in this process.'),
      clockFinding(newestOf(leases.map(({ stampedAt }) => stampedAt)), now),
      leasesFinding(leases.map((lease) => leaseRecordOf(lease, now)).filter(({ held }) => held)),
    ];
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #fence(lease: Lease, secret: string): void {
    checkFence(this.#leases.get(lease.name) ?? null, lease, secret, this.#clock.now());
  }

  #acquired(answer: ReturnType<typeof acquiredLease>): { readonly lease: Lease } | { readonly busy: LeaseRecord } {
    if ('busy' in answer) return answer;
    this.#leases.set(answer.acquired.name, answer.acquired);
    return { lease: leaseOf(answer.acquired) };
  }

  #liveRun(secret: string): Run | null {
    const id = this.#liveOf.get(secret);
    return id === undefined ? null : (this.#runs.get(id) ?? null);
  }

  /** Oldest first; only the live ones where no others are asked for, because ended ones pile up. */
  #candidates(query: RunQuery): Run[] {
    if (query.id !== undefined) return [this.#runs.get(query.id)].filter((run) => run !== undefined);
    if (query.live !== true) return [...this.#runs.values()];
    if (query.secret !== undefined) return [this.#liveRun(query.secret)].filter((run) => run !== null);
    return [...this.#liveOf.keys()].map((secret) => this.#liveRun(secret)).filter((run) => run !== null);
  }

  #put(run: Run): void {
    this.#runs.set(run.id, run);
    if (run.state === 'live') this.#liveOf.set(run.secret, run.id);
    else if (this.#liveOf.get(run.secret) === run.id) this.#liveOf.delete(run.secret);
  }

  #append(events: readonly NewEvent[]): void {
    const ids = this.#trail.append(events);
    for (const [index, event] of events.entries()) this.#events.push({ ...event, id: ids[index] ?? 0 });
  }
}
