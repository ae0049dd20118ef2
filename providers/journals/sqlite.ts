import { hostname } from 'node:os';
import type { SQLInputValue } from 'node:sqlite';
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
} from '../../src/decide/fence.ts';
import { checkSealing } from '../../src/decide/audit.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import { idBytes, idFrom } from '../../src/model/id.ts';
import type { PersonMove, Run, Step } from '../../src/model/run.ts';
import type { AuditReading, Digest } from '../../src/ports/audit.ts';
import { createDigest } from '../../src/ports/digest.ts';
import type {
  EventQuery,
  Holder,
  Journal,
  JournalEvent,
  Lease,
  LeaseRecord,
  Leases,
  NewEvent,
  ProcessIdentity,
  RunQuery,
} from '../../src/ports/journal.ts';
import { clockFinding, finding, leasesFinding, ok } from '../../src/ports/probe.ts';
import type { ProbeFinding } from '../../src/ports/secret-store.ts';
import type { Clock, Random } from '../../src/ports/system.ts';
import { parsed, patiently, Session, type Row } from '../sqlite-session.ts';
import { probeSession } from '../sqlite-probe.ts';
import { Writes } from '../sqlite-writes.ts';
import { nextSurplus, removeBatch, type Surplus } from './sqlite/prune.ts';
import { journalKind } from './sqlite/schema.ts';
import { SqliteSightings } from './sqlite/sightings.ts';
import { appendEvents, readEntries, readHead, sealTrail, type TrailOptions } from './sqlite/trail.ts';

export interface SqliteJournalOptions {
  /** Absolute path of the file; it and its folder are made when missing, readable by their owner alone. */
  readonly path: string;
  readonly clock: Clock;
  readonly random: Random;
  /** One line for people; by default kind and path. */
  readonly label?: string;
  /** True: a file that is there keeps its mode. */
  readonly keepsModes?: boolean | undefined;
  /** What events are chained and sealed with; by default without a key. */
  readonly digest?: Digest;
}

/** How long one batch of a pruning removes; its commit holds the write lock for about as long again. */
const batchMs = 5;

/**
 * Opens or creates the journal of one machine. Processes share it: each write is one transaction, and a lock is waited
 * for without blocking the event loop. Throws `journal-busy`, `journal-unreachable`, `journal-corrupt`,
 * `journal-newer-format`.
 */
export async function createSqliteJournal(options: SqliteJournalOptions): Promise<Journal & Leases> {
  const { path, clock, random, keepsModes } = options;
  const session = await patiently(clock, () => Session.open(journalKind, { path, mode: 0o600, keepsModes }));
  try {
    const newId = `${idFrom('journal', random.bytes(idBytes))}@${hostname()}`;
    const id = await patiently(
      clock,
      () => session.read(() => knownId(session)) ?? session.write(() => ownId(session, newId, clock.now())),
    );
    return new SqliteJournal(session, id, options);
  } catch (error) {
    session.close();
    throw error;
  }
}

function knownId(session: Session): string | null {
  return textOrNull(session.get('SELECT id FROM journal')?.['id']);
}

/** The id given to the journal when it was made; whoever opened it first gave it. */
function ownId(session: Session, newId: string, now: number): string {
  const known = knownId(session);
  if (known !== null) return known;
  session.run('INSERT INTO journal (id, created_at) VALUES (?, ?)', newId, now);
  return newId;
}

class SqliteJournal implements Journal, Leases {
  readonly id: string;
  readonly label: string;
  readonly sightings: SqliteSightings;
  readonly #session: Session;
  readonly #writes: Writes;
  readonly #clock: Clock;
  readonly #path: string;
  readonly #trail: TrailOptions;
  #isClosed = false;

  constructor(session: Session, id: string, options: SqliteJournalOptions) {
    const { path, clock, label, digest = createDigest(null) } = options;
    this.#session = session;
    this.#writes = new Writes(clock, (works) => {
      this.#refuseMoved();
      return session.writeEach(works);
    });
    this.#trail = { session, journal: id, path, digest };
    this.#clock = clock;
    this.#path = path;
    this.id = id;
    this.sightings = new SqliteSightings(session, {
      read: (work) => this.#read(work),
      write: (work) => this.#write(work),
    });
    this.label = label ?? `SQLite journal ${path}`;
  }

  begin(run: Run, events: readonly NewEvent[], lease: Lease): Promise<{ readonly run: Run; readonly joined: boolean }> {
    return this.#write(() => {
      this.#fence(lease, run.secret);
      const live = this.#liveRow(run.secret);
      if (live !== null) return { run: this.#runOf(live), joined: true };
      this.#insert(run, events);
      return { run, joined: false };
    });
  }

  supersede(superseded: Run, run: Run, events: readonly NewEvent[], lease: Lease): Promise<Run> {
    return this.#write(() => {
      this.#fence(lease, run.secret);
      const live = this.#liveRow(run.secret);
      checkSupersede(live === null ? null : this.#runOf(live), superseded);
      this.#update(supersededRun(superseded, this.#clock.now()));
      this.#insert(run, events);
      return run;
    });
  }

  runs(query: RunQuery): Promise<readonly Run[]> {
    const where: string[] = [];
    const values: SQLInputValue[] = [];
    const only = (condition: string, value: string | undefined): void => {
      if (value === undefined) return;
      where.push(condition);
      values.push(value);
    };
    only('id = ?', query.id);
    only('secret = ?', query.secret);
    if (query.live === true) where.push("state = 'live'");
    const sql = `SELECT * FROM runs ${whereText(where)} ORDER BY seq DESC LIMIT ?`;
    return this.#read(() => this.#session.all(sql, ...values, query.limit ?? -1).map((row) => this.#runOf(row)));
  }

  liveSecrets(): Promise<readonly string[]> {
    // Left to choose, SQLite takes an index without the secrets, and then reads each of the runs.
    const sql = "SELECT secret FROM runs INDEXED BY one_live_run_per_secret WHERE state = 'live'";
    return this.#read(() => this.#session.all(sql).map((row) => String(row['secret'])));
  }

  save(run: Run, events: readonly NewEvent[], lease: Lease): Promise<Run> {
    return this.#write(() => {
      this.#fence(lease, run.secret);
      checkSave(this.#storedRun(run.id), run);
      const saved: Run = { ...run, changes: run.changes + 1 };
      this.#update(saved);
      this.#append(events);
      return { ...saved, moves: this.#movesOf(saved.id) };
    });
  }

  move(run: string, move: PersonMove, event: NewEvent): Promise<void> {
    return this.#write(() => {
      checkMove(this.#storedRun(run), run);
      this.#addMove(run, move);
      this.#append([event]);
    });
  }

  note(event: NewEvent): Promise<void> {
    return this.#write(() => {
      this.#append([event]);
    });
  }

  events(query: EventQuery): Promise<readonly JournalEvent[]> {
    const where: string[] = [];
    const values: SQLInputValue[] = [];
    const only = (condition: string, value: string | number | undefined): void => {
      if (value === undefined) return;
      where.push(condition);
      values.push(value);
    };
    only('run = ?', query.run);
    // A run has fewer events than its secret; the plus keeps SQLite from choosing the secret's index.
    only(query.run === undefined ? 'secret = ?' : '+secret = ?', query.secret);
    only('id > ?', query.after);
    only('id < ?', query.before);
    const order = query.newestFirst === true ? 'DESC' : 'ASC';
    const sql = `SELECT * FROM events ${whereText(where)} ORDER BY id ${order} LIMIT ?`;
    return this.#read(() => this.#session.all(sql, ...values, query.limit ?? -1).map(eventOf));
  }

  async prune(keep: number): Promise<number> {
    const after = (secret: string): Promise<ReturnType<typeof nextSurplus>> =>
      this.#read(() => nextSurplus(this.#session, secret, keep));
    let removed = 0;
    for (let next = await after(''); next !== null; next = await after(next.secret)) {
      if (next.surplus !== null) removed += await this.#remove(next.surplus);
    }
    return removed;
  }

  async openAudit(): Promise<AuditReading> {
    const path = this.#path;
    // A connection of its own: what it reads is of one moment, while this one writes on.
    const session = await patiently(this.#clock, () => Session.open(journalKind, { path, mode: 0o600 }));
    try {
      const head = await patiently(this.#clock, () => session.freeze(() => readHead({ ...this.#trail, session })));
      return {
        ...{ journal: this.id, head, digest: this.#trail.digest },
        entries: (after, limit) =>
          patiently(this.#clock, () => session.freeze(() => readEntries(session, after, limit))),
        close: () => {
          session.close();
          return Promise.resolve();
        },
      };
    } catch (error) {
      session.close();
      throw error;
    }
  }

  seal(event: NewEvent): Promise<void> {
    return this.#write(() => {
      sealTrail(this.#trail);
      this.#append([event]);
    });
  }

  acquire(name: string, holder: Holder, ttlMs: number): ReturnType<Leases['acquire']> {
    return this.#write(() => {
      const stored = this.#storedLease(name);
      return this.#acquired(acquiredLease(stored, { name, holder, ttlMs }, this.#clock.now()));
    });
  }

  seize(dead: LeaseRecord, holder: Holder, ttlMs: number): ReturnType<Leases['seize']> {
    const { name } = dead;
    return this.#write(() => {
      const stored = this.#storedLease(name);
      return this.#acquired(seizedLease(stored, dead, { name, holder, ttlMs }, this.#clock.now()));
    });
  }

  renew(lease: Lease, ttlMs: number): Promise<Lease> {
    return this.#write(() => {
      const renewed = renewedLease(this.#storedLease(lease.name), lease, ttlMs, this.#clock.now());
      this.#storeLease(renewed);
      return leaseOf(renewed);
    });
  }

  release(lease: Lease): Promise<void> {
    return this.#write(() => {
      const released = releasedLease(this.#storedLease(lease.name), lease, this.#clock.now());
      if (released !== null) this.#storeLease(released);
    });
  }

  read(name: string): Promise<LeaseRecord | null> {
    return this.#read(() => {
      const stored = this.#storedLease(name);
      return stored === null ? null : leaseRecordOf(stored, this.#clock.now());
    });
  }

  async probe(): Promise<readonly ProbeFinding[]> {
    const whole = await probeSession(this.#clock, journalKind, (work) => work(this.#session));
    const now = this.#clock.now();
    const clock = await finding('clock', async () => {
      const newest = await this.#read(() => this.#session.get('SELECT max(stamped_at) AS newest FROM leases'));
      return clockFinding(typeof newest?.['newest'] === 'number' ? newest['newest'] : null, now);
    });
    const leases = await finding('leases', async () => {
      const rows = await this.#read(() => this.#session.all('SELECT * FROM leases WHERE released = 0'));
      return leasesFinding(rows.map((row) => leaseRecordOf(storedLeaseOf(row), now)).filter(({ held }) => held));
    });
    const audit = await finding('audit', async () => {
      const head = await this.#read(() => readHead(this.#trail));
      checkSealing(head, this.#trail.digest, `the journal ${this.#path}`);
      const sealed = this.#trail.digest.keyId === null ? 'chained without a key' : 'sealed with the key of the policy';
      return ok('audit', `Its audit trail is ${sealed}. To verify it: keyturn audit verify`);
    });
    return [...whole, clock, leases, audit];
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#session.close();
  }

  #write<T>(work: () => T): Promise<T> {
    return this.#writes.write(work);
  }

  /** What is written to a file that is no longer there would be lost, and with it what this run did to the world. */
  #refuseMoved(): void {
    if (!this.#session.isMoved) return;
    throw new KeyturnError(
      'journal-unreachable',
      `The journal ${this.#path} is no longer the file that this process opened.`,
      { hint: 'Put it back and start this process again.', details: { path: this.#path } },
    );
  }

  #read<T>(work: () => T): Promise<T> {
    return patiently(this.#clock, () => this.#session.read(work));
  }

  /** In batches, and between them the lock is free for as long as it was held: others find it so every second time. */
  async #remove(surplus: Surplus): Promise<number> {
    const clock = this.#clock;
    let removed = 0;
    for (let isDone = false; !isDone;) {
      let since = 0;
      const batch = await this.#write(() => {
        since = clock.monotonic();
        return removeBatch(this.#trail, surplus, clock.now(), () => clock.monotonic() - since < batchMs);
      });
      removed += batch.removed;
      isDone = batch.isDone;
      const heldMs = clock.monotonic() - since;
      if (heldMs > 0) await clock.sleep(heldMs);
    }
    return removed;
  }

  #fence(lease: Lease, secret: string): void {
    checkFence(this.#storedLease(lease.name), lease, secret, this.#clock.now());
  }

  #acquired(answer: ReturnType<typeof acquiredLease>): { readonly lease: Lease } | { readonly busy: LeaseRecord } {
    if ('busy' in answer) return answer;
    this.#storeLease(answer.acquired);
    return { lease: leaseOf(answer.acquired) };
  }

  #storedLease(name: string): StoredLease | null {
    const row = this.#session.get('SELECT * FROM leases WHERE name = ?', name);
    return row === null ? null : storedLeaseOf(row);
  }

  #storeLease(lease: StoredLease): void {
    const { name, holder, process, token, acquiredAt, stampedAt, expiresAt, released } = lease;
    this.#session.run(
      `INSERT OR REPLACE INTO leases (name, holder, process, token, acquired_at, stamped_at, expires_at, released)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[name, holder, process === null ? null : JSON.stringify(process)],
      ...[token, acquiredAt, stampedAt, expiresAt, released ? 1 : 0],
    );
  }

  #liveRow(secret: string): Row | null {
    return this.#session.get("SELECT * FROM runs WHERE secret = ? AND state = 'live'", secret);
  }

  #insert(run: Run, events: readonly NewEvent[]): void {
    checkNewRun(this.#storedRun(run.id), run);
    this.#session.run(
      'INSERT INTO runs (id, secret, state, changes, document) VALUES (?, ?, ?, ?, ?)',
      ...[run.id, run.secret, run.state, run.changes, documentOf(run)],
    );
    for (const move of run.moves) this.#addMove(run.id, move);
    this.#append(events);
  }

  #update(run: Run): void {
    this.#session.run(
      'UPDATE runs SET state = ?, changes = ?, document = ? WHERE id = ?',
      ...[run.state, run.changes, documentOf(run), run.id],
    );
  }

  #storedRun(id: string): Pick<Run, 'state' | 'changes'> | null {
    const row = this.#session.get('SELECT state, changes FROM runs WHERE id = ?', id);
    return row === null ? null : { state: String(row['state']) as Run['state'], changes: Number(row['changes']) };
  }

  #runOf(row: Row): Run {
    const document = parsed(row['document']) as Omit<Run, 'moves'>;
    return { ...document, moves: this.#movesOf(document.id) };
  }

  #movesOf(run: string): readonly PersonMove[] {
    const rows = this.#session.all('SELECT document FROM moves WHERE run = ? ORDER BY seq', run);
    return rows.map((row) => parsed(row['document']) as PersonMove);
  }

  #addMove(run: string, move: PersonMove): void {
    this.#session.run('INSERT INTO moves (run, document) VALUES (?, ?)', run, JSON.stringify(move));
  }

  #append(events: readonly NewEvent[]): void {
    appendEvents(this.#trail, events);
  }
}

function whereText(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
}

function documentOf({ moves: _, ...document }: Run): string {
  return JSON.stringify(document);
}

function eventOf(row: Row): JournalEvent {
  return {
    id: Number(row['id']),
    at: Number(row['at']),
    secret: String(row['secret']),
    run: textOrNull(row['run']),
    step: textOrNull(row['step']) as Step | null,
    event: String(row['event']),
    message: String(row['message']),
    data: parsed(row['data']) as JournalEvent['data'],
  };
}

function storedLeaseOf(row: Row): StoredLease {
  return {
    name: String(row['name']),
    holder: String(row['holder']),
    process: typeof row['process'] === 'string' ? (parsed(row['process']) as ProcessIdentity) : null,
    token: Number(row['token']),
    acquiredAt: Number(row['acquired_at']),
    stampedAt: Number(row['stamped_at']),
    expiresAt: Number(row['expires_at']),
    released: row['released'] === 1,
  };
}

function textOrNull(value: Row[string] | undefined): string | null {
  return typeof value === 'string' ? value : null;
}
