import { setImmediate as turn } from 'node:timers/promises';
import {
  arrivedReceiver,
  byIdentity,
  changedHoldings,
  departedAt,
  evidenceOf,
  foldInto,
  newestStampOf,
  type StoredHolding,
  type StoredReceiver,
} from '../../src/decide/arrival.ts';
import { isKeyturnError, KeyturnError } from '../../src/model/errors.ts';
import { clockFinding, finding } from '../../src/ports/probe.ts';
import { realClock } from '../../src/ports/real.ts';
import type { ProbeFinding } from '../../src/ports/secret-store.ts';
import type { Clock } from '../../src/ports/system.ts';
import type {
  ReceiverEvidence,
  UsageEvidence,
  UsageLog,
  UsageReport,
  VersionUseEvidence,
} from '../../src/ports/usage-log.ts';
import { groupId } from '../files.ts';
import { probeSession } from '../sqlite-probe.ts';
import { parsed, patiently, Session, type Row } from '../sqlite-session.ts';
import { usageKind } from './sqlite/schema.ts';

export interface SqliteUsageLogOptions {
  /** Absolute path of the file. Its folder should hold nothing else: everybody who reports may write there. */
  readonly path: string;
  /** A group whose members may report as well; by default the file is its owner's alone. */
  readonly group?: string | null;
  readonly clock?: Clock;
  /** True: a file that is there keeps its mode and group. */
  readonly keepsModes?: boolean | undefined;
}

/**
 * The usage log of one machine, whose clock is the one clock. It is opened by its first use, so that a receiver starts
 * whatever state the file is in, and again when somebody deleted or replaced the file.
 */
export function createSqliteUsageLog(options: SqliteUsageLogOptions): UsageLog {
  return new SqliteUsageLog(options);
}

class SqliteUsageLog implements UsageLog {
  readonly label: string;
  readonly #path: string;
  readonly #group: string | null;
  readonly #keepsModes: boolean | undefined;
  readonly #clock: Clock;
  #session: Session | null = null;
  #last: Filed | null = null;
  #isClosed = false;

  constructor({ path, group = null, clock = realClock, keepsModes }: SqliteUsageLogOptions) {
    this.#keepsModes = keepsModes;
    this.#path = path;
    this.#group = group;
    this.#clock = clock;
    this.label = `SQLite usage log ${path}`;
  }

  /**
   * In parts, between which the event loop turns: a report of a thousand secrets takes long to write. What it says of the
   * receiver itself comes with the last one, so that nobody is taken to have reported what is still to come.
   */
  async report(report: UsageReport): Promise<void> {
    const arrival = this.#clock.now();
    for (let filing: Filing | null = null; filing?.isComplete !== true;) {
      if (filing !== null) await turn();
      filing = this.#use((session) => {
        const part = session.write(() => storePart(session, report, { before: filing, last: this.#last, arrival }));
        for (const [secret, holding] of part.written) part.filing.holdings.set(secret, holding);
        this.#last = part.filing;
        return part.filing;
      });
    }
  }

  evidence(secret: string): Promise<UsageEvidence> {
    return this.#patiently((session) =>
      session.read(() => {
        const receivers = readHolders(session, secret);
        const newestStampAt = readNewestStamp(session);
        // Asked last: what was stamped before this reading is never newer than it by the same clock.
        return { now: this.#clock.now(), newestStampAt, receivers };
      }),
    );
  }

  forget(receiver: string): Promise<number> {
    return this.#patiently((session) =>
      session.write(() =>
        session.run(
          `UPDATE receivers SET forgotten_at = coalesce(forgotten_at, ?)
           WHERE (id = ? OR instance = ?) AND signed_off_at IS NULL`,
          ...[this.#clock.now(), receiver, receiver],
        ),
      ),
    );
  }

  prune(before: number): Promise<void> {
    return this.#patiently((session) => {
      session.write(() => {
        const receivers = session.all('SELECT * FROM receivers').map(receiverOf);
        const gone = receivers.filter((receiver) => (departedAt(receiver) ?? before) < before);
        for (const receiver of gone) fold(session, receiver);
      });
      // Whoever prunes serves no messages: it waits for the disk here, so that no receiver has to.
      session.get('PRAGMA wal_checkpoint(PASSIVE)');
    });
  }

  async probe(): Promise<readonly ProbeFinding[]> {
    const whole = await probeSession(this.#clock, usageKind, (work) => this.#use(work));
    const clock = await finding('clock', async () => {
      const newest = await this.#patiently((session) => session.read(() => readNewestStamp(session)));
      return clockFinding(newest, this.#clock.now());
    });
    return [...whole, clock];
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#drop();
  }

  #patiently<T>(work: (session: Session) => T): Promise<T> {
    return patiently(this.#clock, () => this.#use(work));
  }

  /** After any failure but a lock the file is opened anew: somebody may mend it meanwhile. */
  #use<T>(work: (session: Session) => T): T {
    try {
      return work(this.#open());
    } catch (error) {
      if (!isKeyturnError(error, 'usage-busy')) this.#drop();
      throw error;
    }
  }

  #open(): Session {
    if (this.#isClosed) {
      throw new KeyturnError('usage-unreachable', `The usage log ${this.#path} was closed by this process.`, {
        hint: 'Close it after the last report.',
      });
    }
    if (this.#session?.isMoved === true) this.#drop();
    this.#session ??= openSession(this.#path, this.#group, this.#keepsModes);
    return this.#session;
  }

  #drop(): void {
    this.#session?.close();
    this.#session = null;
    this.#last = null;
  }
}

function openSession(path: string, group: string | null, keepsModes: boolean | undefined): Session {
  const gid = groupId(group);
  const modes = gid === null ? { mode: 0o600, folderMode: 0o700 } : { mode: 0o660, folderMode: 0o2770 };
  return Session.open(usageKind, { path, gid, keepsModes, ...modes });
}

/**
 * What the log holds of an instance since its last report, so that a report of a thousand secrets need not read them.
 * Nobody but the instance writes it; where it was pruned or written anew, `changes` differs.
 */
interface Filed {
  readonly instance: string;
  readonly changes: number;
  readonly holdings: Map<string, StoredHolding>;
}

/** A report on its way into the log. */
interface Filing extends Filed {
  readonly rest: Iterator<readonly [secret: string, holding: StoredHolding], void>;
  readonly isComplete: boolean;
}

/** How many secrets are written at a time, which takes about a millisecond. */
const partSize = 50;

interface PartOptions {
  /** What this report wrote so far. */
  readonly before: Filing | null;
  /** What was filed last, of whatever report. */
  readonly last: Filed | null;
  readonly arrival: number;
}

/** The next part of a report. What was `written` is for the caller to take in, once it is committed. */
function storePart(
  session: Session,
  report: UsageReport,
  { before, last, arrival }: PartOptions,
): { readonly filing: Filing; readonly written: readonly (readonly [string, StoredHolding])[] } {
  const { instance } = report;
  const row = session.get('SELECT * FROM receivers WHERE instance = ?', instance);
  const known = row === null ? null : receiverOf(row);
  const changesBefore = row === null ? 0 : Number(row['changes']);
  const isStill = (filed: Filed): boolean =>
    known !== null && filed.instance === instance && filed.changes === changesBefore;
  const isGoingOn = before !== null && isStill(before);
  const holdings = isGoingOn
    ? before.holdings
    : last !== null && isStill(last)
      ? last.holdings
      : readHoldings(session, instance);
  const rest = isGoingOn ? before.rest : changedHoldings(holdings, known, report, arrival);
  const written = taken(rest, partSize);
  const isComplete = written.length < partSize;
  const changes = written.length > 0 ? changesBefore + 1 : changesBefore;
  if (isComplete) storeReceiver(session, arrivedReceiver(known, report, arrival), changes);
  else if (known !== null) session.run('UPDATE receivers SET changes = ? WHERE instance = ?', changes, instance);
  else storeReceiver(session, arrivedReceiver(null, { ...report, signsOff: false }, arrival), changes);
  for (const [secret, holding] of written) putHolding(session, instance, secret, JSON.stringify(holding));
  return { filing: { instance, changes, holdings, rest, isComplete }, written };
}

function taken<T>(from: Iterator<T, void>, most: number): readonly T[] {
  const items: T[] = [];
  while (items.length < most) {
    const next = from.next();
    if (next.done === true) break;
    items.push(next.value);
  }
  return items;
}

function storeReceiver(session: Session, receiver: StoredReceiver, changes: number): void {
  const { instance, id, pool, coveredSince, lastReportAt, signedOffAt, forgottenAt } = receiver;
  session.run(
    `INSERT INTO receivers (instance, id, pool, covered_since, last_report_at, signed_off_at, forgotten_at, changes)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (instance) DO UPDATE SET id = excluded.id, pool = excluded.pool,
       covered_since = excluded.covered_since, last_report_at = excluded.last_report_at,
       signed_off_at = excluded.signed_off_at, forgotten_at = excluded.forgotten_at, changes = excluded.changes`,
    ...[instance, id, pool, coveredSince, lastReportAt, signedOffAt, forgottenAt, changes],
  );
}

function putHolding(session: Session, instance: string, secret: string, document: string): void {
  session.run(
    `INSERT INTO holdings (instance, secret, document) VALUES (?, ?, ?)
     ON CONFLICT (instance, secret) DO UPDATE SET document = excluded.document`,
    ...[instance, secret, document],
  );
}

function readHoldings(session: Session, instance: string): Map<string, StoredHolding> {
  const rows = session.all('SELECT secret, document FROM holdings WHERE instance = ?', instance);
  return new Map(rows.map((row) => [String(row['secret']), withRecent(parsed(row['document']) as StoredHolding)]));
}

function readHolders(session: Session, secret: string): readonly ReceiverEvidence[] {
  const rows = session.all('SELECT * FROM holdings JOIN receivers USING (instance) WHERE secret = ?', secret);
  const receivers = rows.map((row) =>
    evidenceOf(receiverOf(row), withRecent(parsed(row['document']) as StoredHolding)),
  );
  const departed = readFold(session, secret);
  return [...receivers.sort(byIdentity), ...(departed === null ? [] : [departed])];
}

function readFold(session: Session, secret: string): ReceiverEvidence | null {
  const row = session.get('SELECT document FROM departed WHERE secret = ?', secret);
  return row === null ? null : withRecent(parsed(row['document']) as ReceiverEvidence);
}

/** A use as keyturn 0.1.0 wrote it. */
type FormerUse = Omit<VersionUseEvidence, 'recent'> & { readonly lastNotOkAt: number | null };

/**
 * The former documents are no older format: during an update receivers of both versions write side by side, and a log
 * that refused one of them would make rotations wait for it.
 */
function withRecent<T extends { readonly uses: readonly VersionUseEvidence[] }>(document: T): T {
  const uses: readonly (VersionUseEvidence | FormerUse)[] = document.uses;
  return { ...document, uses: uses.map((use) => ('recent' in use ? use : withoutRecent(use))) };
}

function withoutRecent({ lastNotOkAt: _, ...use }: FormerUse): VersionUseEvidence {
  return { ...use, recent: [] };
}

function readNewestStamp(session: Session): number | null {
  const row = session.get(`
    SELECT max(stamp) AS newest FROM (
      SELECT max(last_report_at, coalesce(forgotten_at, 0)) AS stamp FROM receivers
      UNION ALL SELECT newest_stamp_at FROM departed
    )`);
  return numberOrNull(row?.['newest']);
}

function fold(session: Session, receiver: StoredReceiver): void {
  for (const [secret, holding] of readHoldings(session, receiver.instance)) {
    const departed = foldInto(readFold(session, secret), evidenceOf(receiver, holding));
    session.run(
      'INSERT OR REPLACE INTO departed (secret, newest_stamp_at, document) VALUES (?, ?, ?)',
      ...[secret, newestStampOf([departed]), JSON.stringify(departed)],
    );
  }
  session.run('DELETE FROM receivers WHERE instance = ?', receiver.instance);
}

function receiverOf(row: Row): StoredReceiver {
  return {
    instance: String(row['instance']),
    id: String(row['id']),
    pool: String(row['pool']),
    coveredSince: Number(row['covered_since']),
    lastReportAt: Number(row['last_report_at']),
    signedOffAt: numberOrNull(row['signed_off_at']),
    forgottenAt: numberOrNull(row['forgotten_at']),
  };
}

function numberOrNull(value: Row[string] | undefined): number | null {
  return typeof value === 'number' ? value : null;
}
