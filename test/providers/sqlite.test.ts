import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { groupId } from '../../providers/files.ts';
import { isBusy, isCorrupt, isFull, isReadOnly, migrate, openDatabase, sqliteCode } from '../../providers/sqlite.ts';

const scratch = mkdtempSync(join(tmpdir(), 'keyturn-sqlite-'));
let files = 0;

function freshPath(): string {
  files += 1;
  return join(scratch, String(files), 'deeper', 'some.db');
}

afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

function modeOf(path: string): string {
  return (statSync(path).mode & 0o7777).toString(8);
}

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('it was expected to fail');
}

const onNewer = (found: number): Error => new Error(`newer: ${String(found)}`);

async function runNode(source: string): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', source], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await once(child, 'close');
  return { code: child.exitCode, output };
}

const module = JSON.stringify(new URL('../../providers/sqlite.ts', import.meta.url).href);

describe('openDatabase', () => {
  it('makes the folders and all three files with their modes, whatever the umask is', async () => {
    for (const umask of ['0', '0o077']) {
      const path = freshPath();
      const options = JSON.stringify({ path, mode: 0o640, timeoutMs: 0 });
      const { output } = await runNode(`
        import { statSync } from 'node:fs';
        import { openDatabase } from ${module};
        process.umask(${umask});
        openDatabase(${options}).exec('CREATE TABLE t (a)');
        const modes = ['', '-wal', '-shm'].map((end) => (statSync(${JSON.stringify(path)} + end).mode & 0o777).toString(8));
        process.stdout.write(modes.join(' '));
      `);
      expect(output).toBe('640 640 640');
      expect(modeOf(path)).toBe('640');
      expect(modeOf(join(path, '..'))).toBe('700');
    }
  });

  it('gives a shared folder and its file the modes and the group that are asked for', () => {
    const path = freshPath();
    const gid = process.getgid?.() ?? 0;
    openDatabase({ path, mode: 0o660, timeoutMs: 0, folderMode: 0o2770, gid }).close();
    expect(modeOf(join(path, '..'))).toBe('2770');
    expect(modeOf(path)).toBe('660');
    expect(statSync(path).gid).toBe(gid);
  });

  it('tightens a file of ours that is too open', () => {
    const path = freshPath();
    openDatabase({ path, mode: 0o600, timeoutMs: 0 }).close();
    chmodSync(path, 0o666);
    openDatabase({ path, mode: 0o600, timeoutMs: 0 }).close();
    expect(modeOf(path)).toBe('600');
  });

  it('keeps the locks of another connection of this process when it is opened again', async () => {
    const path = freshPath();
    const holder = openDatabase({ path, mode: 0o600, timeoutMs: 0 });
    holder.exec('BEGIN IMMEDIATE');
    openDatabase({ path, mode: 0o600, timeoutMs: 0 }).close();
    const { output } = await runNode(`
      import { isBusy, openDatabase } from ${module};
      const database = openDatabase(${JSON.stringify({ path, mode: 0o600, timeoutMs: 0 })});
      try { database.exec('BEGIN IMMEDIATE'); } catch (error) { process.stdout.write(String(isBusy(error))); }
    `);
    expect(output).toBe('true');
    holder.close();
  });

  it('survives other processes that open the same new file', async () => {
    const path = freshPath();
    const source = `
      import { migrate, openDatabase } from ${module};
      const database = openDatabase(${JSON.stringify({ path, mode: 0o600, timeoutMs: 10_000 })});
      migrate(database, ['CREATE TABLE t (a)'], { onNewer: () => new Error('newer') });
      database.exec('INSERT INTO t VALUES (1)');
      database.close();
    `;
    const runs = await Promise.all(Array.from({ length: 5 }, () => runNode(source)));
    expect(runs).toEqual(Array.from({ length: 5 }, () => ({ code: 0, output: '' })));
    const database = openDatabase({ path, mode: 0o600, timeoutMs: 0 });
    expect(database.prepare('SELECT count(*) AS count FROM t').get()).toEqual({ count: 5 });
    database.close();
  });

  it('is in WAL mode with foreign keys on', () => {
    const database = openDatabase({ path: freshPath(), mode: 0o600, timeoutMs: 0 });
    expect(database.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    expect(database.prepare('PRAGMA foreign_keys').get()).toEqual({ foreign_keys: 1 });
    database.close();
  });

  it('keeps SQLite’s own warning from users, and no other', async () => {
    const { output } = await runNode(`
      import { openDatabase } from ${module};
      const before = process.emitWarning;
      openDatabase(${JSON.stringify({ path: freshPath(), mode: 0o600, timeoutMs: 0 })}).close();
      process.emitWarning('something else', 'ExperimentalWarning');
      process.stdout.write(String(before === process.emitWarning));
    `);
    expect(output).toContain('true');
    expect(output).toContain('ExperimentalWarning: something else');
    expect(output).not.toContain('SQLite');
  });
});

describe('migrate', () => {
  it('applies what is missing, once', () => {
    const database = openDatabase({ path: freshPath(), mode: 0o600, timeoutMs: 0 });
    const first = 'CREATE TABLE t (a); INSERT INTO t VALUES (1)';
    migrate(database, [first], { onNewer });
    migrate(database, [first], { onNewer });
    migrate(database, [first, 'INSERT INTO t VALUES (2)'], { onNewer });
    expect(database.prepare('SELECT a FROM t').all()).toEqual([{ a: 1 }, { a: 2 }]);
    expect(thrownBy(() => migrate(database, [first], { onNewer }))).toEqual(new Error('newer: 2'));
    expect(database.isTransaction).toBe(false);
    database.close();
  });

  it('leaves nothing of a migration that fails', () => {
    const database = openDatabase({ path: freshPath(), mode: 0o600, timeoutMs: 0 });
    expect(sqliteCode(thrownBy(() => migrate(database, ['CREATE TABLE t (a)', 'NONSENSE'], { onNewer })))).toBe(1);
    expect(database.prepare('SELECT count(*) AS count FROM sqlite_schema').get()).toEqual({ count: 0 });
    migrate(database, ['CREATE TABLE t (a)'], { onNewer });
    database.close();
  });

  it('needs no write lock when there is nothing to do', () => {
    const path = freshPath();
    const writer = openDatabase({ path, mode: 0o600, timeoutMs: 0 });
    migrate(writer, ['CREATE TABLE t (a)'], { onNewer });
    writer.exec('BEGIN IMMEDIATE');
    const other = openDatabase({ path, mode: 0o600, timeoutMs: 0 });
    migrate(other, ['CREATE TABLE t (a)'], { onNewer });
    expect(isBusy(thrownBy(() => migrate(other, ['', 'CREATE TABLE u (a)'], { onNewer })))).toBe(true);
    other.close();
    writer.close();
  });
});

describe('what an error of SQLite means', () => {
  it('is told by its code', () => {
    const path = freshPath();
    const database = openDatabase({ path, mode: 0o600, timeoutMs: 0 });
    database.exec('CREATE TABLE t (a); PRAGMA max_page_count = 2');
    const full = thrownBy(() => database.exec(`INSERT INTO t VALUES ('${'x'.repeat(50_000)}')`));
    database.exec('PRAGMA query_only = ON');
    const readOnly = thrownBy(() => database.exec('INSERT INTO t VALUES (1)'));
    database.close();
    const damaged = freshPath();
    openDatabase({ path: damaged, mode: 0o600, timeoutMs: 0 }).close();
    writeFileSync(damaged, 'no database'.repeat(500));
    const corrupt = thrownBy(() => openDatabase({ path: damaged, mode: 0o600, timeoutMs: 0 }));
    const meanings = (error: unknown): boolean[] => [isBusy, isFull, isReadOnly, isCorrupt].map((is) => is(error));
    expect(meanings(full)).toEqual([false, true, false, false]);
    expect(meanings(readOnly)).toEqual([false, false, true, false]);
    expect(meanings(corrupt)).toEqual([false, false, false, true]);
    expect(meanings(new Error('database is locked'))).toEqual([false, false, false, false]);
  });
});

describe('groupId', () => {
  it('finds a group by its name in the list, or takes its number', () => {
    const list = join(scratch, 'group');
    writeFileSync(list, 'root:x:0:\nweb:x:33:alice,bob\nbroken\nodd:x:abc:\n');
    expect(groupId('web', list)).toBe(33);
    expect(groupId('1234', list)).toBe(1234);
    expect(groupId(null, list)).toBe(null);
    for (const unknown of ['nobody-here', 'broken', 'odd', 'we']) {
      expect(thrownBy(() => groupId(unknown, list))).toMatchObject({ code: 'policy-invalid' });
    }
    expect(thrownBy(() => groupId('web', join(scratch, 'no-list')))).toMatchObject({ code: 'policy-invalid' });
  });
});
