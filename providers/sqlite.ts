import { chmodSync, chownSync, lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import type * as sqlite from 'node:sqlite';
import type { DatabaseSync } from 'node:sqlite';
import { makeFile, makeFolder, systemCode } from './files.ts';

export type { DatabaseSync } from 'node:sqlite';

export interface DatabaseOptions {
  /** Absolute path of the file; its folder is made when it is missing. */
  readonly path: string;
  /** Of the file and of the two that SQLite keeps beside it. */
  readonly mode: number;
  /** How long a statement may block the thread for another's lock; 0: it fails at once, see `isBusy`. */
  readonly timeoutMs: number;
  /** Of folders made on the way; a shared one needs the setgid bit (0o2770), so that SQLite's own files get the group. */
  readonly folderMode?: number;
  /** True: a file that is there keeps its mode and group, for somebody who only looks. */
  readonly keepsModes?: boolean | undefined;
  /** Group of the file and of folders made on the way; null: the process's own. */
  readonly gid?: number | null;
}

/**
 * Opens or creates a database in WAL mode with foreign keys on. Throws the system's error, or SQLite's: the caller
 * knows which of its own errors that is (`isBusy` and its neighbours).
 */
export function openDatabase(options: DatabaseOptions): DatabaseSync {
  const { path, mode, timeoutMs, folderMode = 0o700, gid = null, keepsModes = false } = options;
  makeFolder(dirname(path), { mode: folderMode, gid });
  prepareFile(path, { mode, gid, keepsModes });
  const { DatabaseSync: Database } = loadSqlite();
  const database = new Database(path, { timeout: timeoutMs, enableForeignKeyConstraints: true });
  try {
    switchToWal(database, timeoutMs);
    database.exec('PRAGMA foreign_keys = ON');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * Opens a database in which nothing is ever written, for its locks: an empty file stays empty. No statement waits for
 * another's lock. Throws as `openDatabase` does.
 */
export function openUnwritten({ path, mode }: Pick<DatabaseOptions, 'path' | 'mode'>): DatabaseSync {
  prepareFile(path, { mode, gid: null, keepsModes: false });
  const { DatabaseSync: Database } = loadSqlite();
  const database = new Database(path, { timeout: 0 });
  try {
    // Else a file is made beside it for a rollback that there never is.
    database.exec('PRAGMA journal_mode = MEMORY');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * Creates the file with its mode, or gives an existing one of ours that mode. SQLite gives its `-wal` and `-shm` files
 * the mode of this one. An existing file is never opened here: closing it would drop the locks that another connection
 * of this process holds on it.
 */
function prepareFile(
  path: string,
  { mode, gid, keepsModes }: { readonly mode: number; readonly gid: number | null; readonly keepsModes: boolean },
): void {
  if (makeFile(path, { mode, gid }) || keepsModes) return;
  for (const each of [path, `${path}-wal`, `${path}-shm`]) adjustMode(each, mode, gid);
}

/** A file that belongs to somebody else is theirs to change; SQLite says whether it can be used as it is. */
function adjustMode(path: string, mode: number, gid: number | null): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined || !found.isFile() || found.uid !== process.geteuid?.()) return;
  try {
    if (gid !== null && found.gid !== gid) chownSync(path, -1, gid);
    if ((found.mode & 0o7777) !== mode) chmodSync(path, mode);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

const walRetryMs = 5;

/**
 * Two processes that open a new database at once both hold a read lock while they switch, and SQLite then says busy
 * without waiting; so the switch is tried again for as long as a lock may be waited for.
 */
function switchToWal(database: DatabaseSync, timeoutMs: number): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; ; waitedMs += walRetryMs) {
    try {
      database.exec('PRAGMA journal_mode = WAL');
      return;
    } catch (error) {
      if (!isBusy(error) || waitedMs >= timeoutMs) throw error;
      Atomics.wait(pause, 0, 0, walRetryMs);
    }
  }
}

export interface MigrateOptions {
  /** The error to throw when the database is ahead of this version of keyturn; `found` is its number. */
  readonly onNewer: (found: number) => Error;
}

/** SQL, or what SQL alone cannot say. It runs inside a transaction. */
export type Migration = string | ((database: DatabaseSync) => void);

/**
 * Brings the schema up to date: `migrations[n]` turns version n into n + 1, all of them in one transaction.
 * A database that is up to date is only read, so that opening it needs no write lock.
 */
export function migrate(database: DatabaseSync, migrations: readonly Migration[], options: MigrateOptions): void {
  if (schemaVersion(database) === migrations.length) return;
  database.exec('BEGIN IMMEDIATE');
  try {
    const found = schemaVersion(database);
    if (found > migrations.length) throw options.onNewer(found);
    for (const migration of migrations.slice(found)) {
      if (typeof migration === 'string') database.exec(migration);
      else migration(database);
    }
    database.exec(`PRAGMA user_version = ${String(migrations.length)}`);
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

/** The schema version of a database that nothing is written to. Throws SQLite's error. */
export function readSchemaVersion(path: string): number {
  const { DatabaseSync: Database } = loadSqlite();
  const database = new Database(path, { readOnly: true });
  try {
    return schemaVersion(database);
  } finally {
    database.close();
  }
}

function schemaVersion(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
}

/** SQLite's primary result code; null for any other error. The text of an error is for people and may change. */
export function sqliteCode(error: unknown): number | null {
  const code = extendedCode(error);
  return code === null ? null : code & 0xff;
}

function extendedCode(error: unknown): number | null {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : null;
}

function hasCode(...codes: readonly number[]): (error: unknown) => boolean {
  return (error) => {
    const code = sqliteCode(error);
    return code !== null && codes.includes(code);
  };
}

/** Another connection holds the lock (SQLITE_BUSY, SQLITE_LOCKED). */
export const isBusy = hasCode(5, 6);

/** The disk is full (SQLITE_FULL), or has no room for the `-shm` file to grow (SQLITE_IOERR_SHMSIZE). */
export function isFull(error: unknown): boolean {
  const code = extendedCode(error);
  return code === 13 || code === 4_874;
}

/** The file or its folder may not be written, or not be opened at all (SQLITE_PERM, SQLITE_READONLY, SQLITE_CANTOPEN). */
export const isReadOnly = hasCode(3, 8, 14);

/** The file is damaged or no database (SQLITE_CORRUPT, SQLITE_NOTADB). */
export const isCorrupt = hasCode(11, 26);

/**
 * Loads `node:sqlite` on first use. Some supported versions of Node call the module experimental on load; keyturn
 * relies on nothing that changed since, so users need not read that. Every other warning passes.
 */
function loadSqlite(): typeof sqlite {
  const original: unknown = Reflect.get(process, 'emitWarning');
  const emitWarning = process.emitWarning.bind(process);
  const filtered = (warning: string | Error, ...rest: readonly unknown[]): void => {
    const type = typeof rest[0] === 'string' ? rest[0] : warning instanceof Error ? warning.name : '';
    const text = typeof warning === 'string' ? warning : warning.message;
    if (type === 'ExperimentalWarning' && text.startsWith('SQLite ')) return;
    Reflect.apply(emitWarning, undefined, [warning, ...rest]);
  };
  process.emitWarning = filtered;
  try {
    return process.getBuiltinModule('node:sqlite');
  } finally {
    Reflect.set(process, 'emitWarning', original);
  }
}
