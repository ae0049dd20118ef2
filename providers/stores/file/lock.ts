import { createHash } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { formatDuration, formatTime } from '../../../src/model/duration.ts';
import { KeyturnError } from '../../../src/model/errors.ts';
import type { Clock } from '../../../src/ports/system.ts';
import { makeFile, systemCode } from '../../files.ts';
import { pauseMs } from '../../patience.ts';
import { isBusy, isCorrupt, isReadOnly, openUnwritten, sqliteCode, type DatabaseSync } from '../../sqlite.ts';

/** The folder of the locks in that of the store. No keyring's name begins with a dot. */
export const lockFolder = '.locks';

/** Enough that writers of different documents seldom meet, and few enough files. */
const lockCount = 64;

/**
 * The name of the lock that writers of a document meet at: those of the same document always have the same one, others
 * seldom. `file` is relative to the store's folder; two spellings that a disk may take for one file are one.
 */
export function lockOf(file: string): string {
  const [first = 0] = createHash('sha256').update(file.toLowerCase()).digest();
  return String(first % lockCount).padStart(2, '0');
}

export interface DocumentLockOptions {
  /** The real path of the store's folder: two spellings of it must meet in the same queue. */
  readonly folder: string;
  /** As `lockOf` says. */
  readonly lock: string;
  readonly clock: Clock;
  readonly timeoutMs: number;
}

/** The end of the last writer of this process, by lock: it would wait in vain for one that its own process holds. */
const queues = new Map<string, Promise<unknown>>();

/**
 * Runs `work` while no other process and nobody else in this one runs any under the same lock of the folder. The lock is
 * the kernel's: it ends with the process that holds it, and nobody can take it away for being old.
 * Throws `store-busy` with the holder's name when it is not free in time.
 */
export async function withDocumentLock<T>(options: DocumentLockOptions, work: () => T | Promise<T>): Promise<T> {
  const path = join(options.folder, lockFolder, options.lock);
  const before = queues.get(path) ?? Promise.resolve();
  const mine = before.then(() => underKernelLock(options, path, work));
  const end = mine.catch(() => undefined);
  queues.set(path, end);
  try {
    return await mine;
  } finally {
    if (queues.get(path) === end) queues.delete(path);
  }
}

async function underKernelLock<T>(options: DocumentLockOptions, path: string, work: () => T | Promise<T>): Promise<T> {
  const lock = await acquire(options, path);
  try {
    return await work();
  } finally {
    lock.close();
  }
}

/** SQLite's own wait would block the event loop, and with it the release of what we wait for. */
async function acquire({ folder, clock, timeoutMs }: DocumentLockOptions, path: string): Promise<DatabaseSync> {
  const since = clock.monotonic();
  let database: DatabaseSync | null = null;
  try {
    makeLockFolder(folder);
    database = openUnwritten({ path, mode: 0o600 });
    for (let asked = 1; !tryTake(database); asked += 1) {
      const waitedMs = clock.monotonic() - since;
      if (waitedMs >= timeoutMs) throw busy(folder, path, waitedMs);
      await clock.sleep(Math.min(pauseMs(asked, waitedMs), timeoutMs - waitedMs));
    }
    writeHolder(path, clock);
    return database;
  } catch (error) {
    database?.close();
    throw lockFailure(error, path);
  }
}

/** Made by root, it belongs to the owner of the store's folder, who would else be shut out by one command run with sudo. */
function makeLockFolder(folder: string): void {
  const path = join(folder, lockFolder);
  try {
    mkdirSync(path, 0o700);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return;
    throw error;
  }
  chmodSync(path, 0o700);
  if (process.geteuid?.() === 0) chownSync(path, statSync(folder).uid, -1);
}

/** Takes the lock, which is a transaction that writes nothing, so that no disk is waited for; false while another has it. */
function tryTake(database: DatabaseSync): boolean {
  try {
    database.exec('BEGIN IMMEDIATE');
    return true;
  } catch (error) {
    if (isBusy(error)) return false;
    throw error;
  }
}

function busy(folder: string, path: string, waitedMs: number): KeyturnError {
  const holder = readHolder(path);
  const who =
    holder === null
      ? 'another process'
      : `process ${holder.pid} on ${holder.host}, which took the lock at ${holder.since}`;
  return new KeyturnError(
    'store-busy',
    `The file store at ${folder} is being written by ${who}; it was not free within ${formatDuration(waitedMs)}.`,
    { hint: 'Try again. If that process hangs, end it: its lock ends with it.', details: { folder, waitedMs, holder } },
  );
}

interface Holder {
  readonly host: string;
  readonly pid: string;
  readonly since: string;
}

/**
 * Beside the lock, not in it: what a transaction writes is seen by nobody before it ends. It is for messages alone, so
 * that a disk that is full is no reason to fail: what a killed writer left can still be removed.
 */
function writeHolder(path: string, clock: Clock): void {
  const holder: Holder = { host: hostname(), pid: String(process.pid), since: formatTime(clock.now()) };
  try {
    makeFile(holderPath(path), { mode: 0o600, gid: null });
    writeFileSync(holderPath(path), JSON.stringify(holder));
  } catch (error) {
    if (systemCode(error) === null) throw error;
  }
}

/** Who took the lock last; null when that cannot be told just now, which is no reason to fail otherwise. */
function readHolder(path: string): Holder | null {
  try {
    const { host, pid, since } = JSON.parse(readFileSync(holderPath(path), 'utf8')) as Holder;
    return { host, pid, since };
  } catch {
    return null;
  }
}

function holderPath(path: string): string {
  return `${path}.holder`;
}

/** Errors that are not SQLite's pass: they are about the folder, and its owner knows their meaning. */
function lockFailure(error: unknown, path: string): unknown {
  const code = sqliteCode(error);
  if (code === null) return error;
  if (isCorrupt(error)) {
    return new KeyturnError('store-corrupt', `The lock file ${path} is damaged.`, {
      hint: 'Stop every keyturn process that writes to this folder and remove the file; it holds no secret.',
      details: { path, sqlite: code },
      cause: error,
    });
  }
  if (isReadOnly(error)) {
    return new KeyturnError('store-denied', `The lock file ${path} cannot be opened for writing by this process.`, {
      hint: 'Run as the user who owns the folder, or give that user the file and its folder.',
      details: { path, sqlite: code },
      cause: error,
    });
  }
  return new KeyturnError('store-unreachable', `The lock file ${path} cannot be used (SQLite error ${String(code)}).`, {
    hint: 'Check the disk that holds it: free space, health, and whether it supports locks.',
    details: { path, sqlite: code },
    cause: error,
  });
}
