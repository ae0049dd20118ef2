import { accessSync, constants, statfsSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import type { SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';
import { KeyturnError, type ErrorCode } from '../src/model/errors.ts';
import type { Clock } from '../src/ports/system.ts';
import { shellWord } from '../src/model/shell.ts';
import { systemCode } from './files.ts';
import { pauseMs } from './patience.ts';
import {
  isBusy,
  isCorrupt,
  isFull,
  isReadOnly,
  migrate,
  openDatabase,
  sqliteCode,
  type DatabaseOptions,
  type DatabaseSync,
  type Migration,
} from './sqlite.ts';

/** What a database is to people, and how it is made and recognised. */
export interface DatabaseKind {
  readonly code: 'journal' | 'usage';
  /** Starts a sentence: `The journal`. */
  readonly noun: string;
  /** What to do when the file is lost or damaged. */
  readonly lostHint: string;
  /** Four letters that SQLite keeps in the file's header. */
  readonly applicationId: number;
  readonly synchronous: 'FULL' | 'NORMAL';
  /**
   * After how many pages in its write-ahead log whoever writes next takes them into the file, and waits for the disk. Without
   * it, and on a disk with little room, it is SQLite's own thousand.
   */
  readonly checkpointPages?: number;
  /** The first of them sets the application id. */
  readonly migrations: readonly Migration[];
}

export type Row = Readonly<Record<string, SQLOutputValue>>;

/** What came of one work of several. */
export type Written = { readonly value: unknown } | { readonly error: unknown };

/** One open database of a kind: statements prepared once, transactions, errors that say what to do. */
export class Session {
  readonly #kind: DatabaseKind;
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #file: string | null;

  /**
   * Opens or creates the database. Throws `…-busy`, `…-unreachable`, `…-corrupt`, `…-newer-format`.
   * Nothing here waits for a lock: see `patiently`.
   */
  static open(kind: DatabaseKind, options: Omit<DatabaseOptions, 'timeoutMs'>): Session {
    return speaking(kind, options.path, () => {
      const database = openDatabase({ ...options, timeoutMs: 0 });
      try {
        database.exec(`PRAGMA synchronous = ${kind.synchronous}`);
        if (kind.checkpointPages !== undefined && isRoomy(options.path)) {
          database.exec(`PRAGMA wal_autocheckpoint = ${String(kind.checkpointPages)}`);
        }
        checkOwner(database, kind, options.path);
        migrate(database, kind.migrations, { onNewer: (found) => newerFormat(kind, options.path, found) });
        return new Session(kind, options.path, database);
      } catch (error) {
        database.close();
        throw error;
      }
    });
  }

  private constructor(kind: DatabaseKind, path: string, database: DatabaseSync) {
    this.#kind = kind;
    this.#path = path;
    this.#database = database;
    this.#file = fileAt(path);
  }

  /** True when the file was deleted or replaced since it was opened: what is written here is lost. */
  get isMoved(): boolean {
    return fileAt(this.#path) !== this.#file;
  }

  run(sql: string, ...values: readonly SQLInputValue[]): number {
    return Number(this.#prepared(sql).run(...values).changes);
  }

  get(sql: string, ...values: readonly SQLInputValue[]): Row | null {
    return this.#prepared(sql).get(...values) ?? null;
  }

  all(sql: string, ...values: readonly SQLInputValue[]): readonly Row[] {
    return this.#prepared(sql).all(...values);
  }

  /** Reads and writes as one; the write lock is taken first, so that nothing changes in between. */
  write<T>(work: () => T): T {
    return this.#transaction('BEGIN IMMEDIATE', work);
  }

  /**
   * Each of these as `write` would do it, all of them in one transaction: it takes the lock once, and waits once for the
   * disk. One that throws has written nothing, and keeps no other from it. Throws where none of them has written anything.
   */
  writeEach(works: readonly (() => unknown)[]): readonly Written[] {
    return this.write(() => works.map((work) => this.#writeOne(work)));
  }

  #writeOne(work: () => unknown): Written {
    this.#database.exec('SAVEPOINT one');
    try {
      const value = speaking(this.#kind, this.#path, work);
      this.#database.exec('RELEASE one');
      return { value };
    } catch (error) {
      // After some errors SQLite has taken all of it back by itself.
      if (!this.#database.isTransaction) throw error;
      this.#database.exec('ROLLBACK TO one');
      this.#database.exec('RELEASE one');
      return { error };
    }
  }

  /** Reads as of one moment. */
  read<T>(work: () => T): T {
    return this.#transaction('BEGIN', work);
  }

  /** Reads as of the moment of the first call, whatever others write, until it is closed. */
  freeze<T>(work: () => T): T {
    return speaking(this.#kind, this.#path, () => {
      if (!this.#database.isTransaction) this.#database.exec('BEGIN');
      return work();
    });
  }

  /** Throws `…-corrupt` where a page of the file or an index is damaged. It reads all of it. */
  checkIntegrity(): void {
    speaking(this.#kind, this.#path, () => {
      const found = this.#database.prepare('PRAGMA quick_check(1)').get()?.['quick_check'];
      if (found !== 'ok') throw new SyntaxError(String(found));
    });
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }

  #transaction<T>(begin: string, work: () => T): T {
    return speaking(this.#kind, this.#path, () => {
      this.#database.exec(begin);
      try {
        const result = work();
        this.#database.exec('COMMIT');
        return result;
      } catch (error) {
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
        throw error;
      }
    });
  }

  #prepared(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const made = this.#database.prepare(sql);
    this.#statements.set(sql, made);
    return made;
  }
}

/** How long a lock is waited for, ms. */
export const lockPatienceMs = 5_000;

/**
 * Does the work, and while another process has the lock does it again, for `limitMs` at most. The event loop runs on
 * between the tries. Throws the last `…-busy`.
 */
export async function patiently<T>(clock: Clock, work: () => T, limitMs = lockPatienceMs): Promise<T> {
  const since = clock.monotonic();
  for (let asked = 1; ; asked += 1) {
    try {
      return work();
    } catch (error) {
      const isOver = clock.monotonic() - since >= limitMs;
      if (!isLocked(error) || isOver) throw error;
    }
    await clock.sleep(pauseMs(asked, clock.monotonic() - since));
  }
}

/** Whether it is an error of a `Session` that says that another process has the lock. */
export function isLocked(error: unknown): error is KeyturnError {
  return error instanceof KeyturnError && isBusy(error.cause);
}

/** JSON that this program wrote; damage shows as a `SyntaxError`, which `Session` turns into `…-corrupt`. */
export function parsed(text: SQLOutputValue | undefined): unknown {
  return JSON.parse(String(text));
}

/** The log beside the file must never be what fills a disk: then there would be no room to take it in. */
const roomyBytes = 256 * 1024 * 1024;

function isRoomy(path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(dirname(path));
    return bavail * bsize >= roomyBytes;
  } catch {
    return false;
  }
}

/** Device and inode; null where there is no file, or none that may be looked at. */
function fileAt(path: string): string | null {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return null;
  }
}

/**
 * A database of another program, or our own of another kind, is left alone whatever its schema version says. Both
 * facts are read as of one moment, because another process may be making the database right now.
 */
function checkOwner(database: DatabaseSync, kind: DatabaseKind, path: string): void {
  database.exec('BEGIN');
  const found = Number(database.prepare('PRAGMA application_id').get()?.['application_id']);
  const tables = Number(database.prepare('SELECT count(*) AS count FROM sqlite_schema').get()?.['count']);
  database.exec('COMMIT');
  if (found === kind.applicationId || (found === 0 && tables === 0)) return;
  throw new KeyturnError(`${kind.code}-corrupt`, `${kind.noun} ${path} is the database of something else.`, {
    hint: 'Give it a path of its own in the policy.',
    details: { path, applicationId: found },
  });
}

function newerFormat(kind: DatabaseKind, path: string, found: number): KeyturnError {
  return new KeyturnError(
    `${kind.code}-newer-format`,
    `${kind.noun} ${path} has format ${found}; this version of keyturn reads up to ${kind.migrations.length}.`,
    { hint: 'Update keyturn in this process.', details: { path, found } },
  );
}

/** Turns what SQLite and the system throw into keyturn's errors. Anything else is a mistake of ours and passes. */
function speaking<T>(kind: DatabaseKind, path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const words = error instanceof KeyturnError ? null : wordsFor(kind, path, error);
    if (words === null) throw error;
    throw new KeyturnError(words.code, `${kind.noun} ${path} ${words.problem}.`, {
      hint: words.hint,
      cause: error,
      details: { path, sqlite: sqliteCode(error), system: systemCode(error) },
    });
  }
}

interface Words {
  readonly code: ErrorCode;
  readonly problem: string;
  readonly hint: string;
}

const unwritableCodes = ['EACCES', 'EPERM'];
const fullCodes = ['ENOSPC', 'EDQUOT'];

/** SQLite's codes for a machine that fails it: NOMEM, IOERR, PROTOCOL, NOLFS. */
const failures: Readonly<Record<number, string>> = {
  7: 'out of memory',
  10: 'the disk reports an error',
  15: 'its locks do not work on this file system',
  22: 'the file is too large for this file system',
};

function wordsFor(kind: DatabaseKind, path: string, error: unknown): Words | null {
  const system = systemCode(error) ?? '';
  const unreachable: ErrorCode = `${kind.code}-unreachable`;
  if (isBusy(error)) {
    const hint = `Try again. If it stays locked, see who has it open with: fuser -v ${shellWord(path)}`;
    return { code: `${kind.code}-busy`, problem: 'is locked by another process', hint };
  }
  if (isCorrupt(error) || error instanceof SyntaxError) {
    return { code: `${kind.code}-corrupt`, problem: 'is damaged, or no database at all', hint: kind.lostHint };
  }
  if (isFull(error) || fullCodes.includes(system)) {
    const hint = `Free some space: df -h ${shellWord(dirname(path))}`;
    return { code: unreachable, problem: 'cannot be written: the disk is full', hint };
  }
  if (system === 'EROFS' || (isReadOnly(error) && isReadOnlyDisk(path))) {
    const hint = `A disk that reported errors is made so, or somebody did it; look with: findmnt -T ${shellWord(dirname(path))}`;
    return { code: unreachable, problem: 'is on a file system that can only be read', hint };
  }
  if (isReadOnly(error) || unwritableCodes.includes(system)) {
    const hint = `Let the user ${userName()} read and write it and its folder; look with: ls -la ${shellWord(dirname(path))}`;
    return { code: unreachable, problem: `may not be opened or written by the user ${userName()}`, hint };
  }
  const reason = /^E[A-Z0-9]+$/.test(system) ? system : failures[sqliteCode(error) ?? 0];
  if (reason === undefined) return null;
  const hint = `Check the path and its disk: ls -la ${shellWord(dirname(path))}`;
  return { code: unreachable, problem: `cannot be used: ${reason}`, hint };
}

function isReadOnlyDisk(path: string): boolean {
  try {
    accessSync(dirname(path), constants.W_OK);
    return false;
  } catch (error) {
    return systemCode(error) === 'EROFS';
  }
}

/** The name where the system knows one, else the number. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.geteuid?.() ?? 'unknown');
  }
}
