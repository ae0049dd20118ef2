import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Session, type DatabaseKind } from '../../providers/sqlite-session.ts';
import { Writes } from '../../providers/sqlite-writes.ts';
import { openDatabase, type DatabaseSync } from '../../providers/sqlite.ts';
import { createFakeClock, type FakeClock } from '../../src/memory/clock.ts';
import { removeFolder, temporaryFolder } from './sqlite-support.ts';

const kind: DatabaseKind = {
  code: 'journal',
  noun: 'The journal',
  lostHint: 'Make it again.',
  applicationId: 0x6b_74_54_31,
  synchronous: 'FULL',
  migrations: [`PRAGMA application_id = ${String(0x6b_74_54_31)}; CREATE TABLE words (word TEXT UNIQUE) STRICT`],
};

describe('writes of one process to one database', () => {
  let folder: string;
  let clock: FakeClock;
  let session: Session;
  let other: DatabaseSync;
  let writes: Writes;
  /** How many were done in one go, each time that it was tried. */
  let tried: number[];

  beforeEach(async () => {
    folder = await temporaryFolder();
    const path = join(folder, 'some.db');
    clock = createFakeClock();
    session = Session.open(kind, { path, mode: 0o600 });
    other = openDatabase({ path, mode: 0o600, timeoutMs: 0 });
    tried = [];
    writes = new Writes(clock, (works) => {
      tried.push(works.length);
      return session.writeEach(works);
    });
  });

  afterEach(async () => {
    session.close();
    other.close();
    await removeFolder(folder);
  });

  const add = (word: string): Promise<number> => writes.write(() => session.run('INSERT INTO words VALUES (?)', word));
  const words = (): unknown[] => session.all('SELECT word FROM words ORDER BY rowid').map(({ word }) => word);

  it('are done at once, one by one, where nobody has the lock', async () => {
    expect(await Promise.all([add('one'), add('two')])).toEqual([1, 1]);
    expect(tried).toEqual([1, 1]);
    expect(words()).toEqual(['one', 'two']);
  });

  it('gather while another process has the lock, and are done in one transaction, in their order', async () => {
    other.exec('BEGIN IMMEDIATE');
    const all = ['one', 'two', 'three'].map(add);
    await clock.advance(100);
    expect(words()).toEqual([]);
    other.exec('ROLLBACK');
    tried = [];
    await clock.advance(50);
    expect(await Promise.all(all)).toEqual([1, 1, 1]);
    expect(tried).toEqual([3]);
    expect(words()).toEqual(['one', 'two', 'three']);
  });

  it('let others in after each where others want the lock, and gather meanwhile', async () => {
    other.exec('BEGIN IMMEDIATE');
    const first = add('one');
    other.exec('ROLLBACK');
    await clock.advance(1);
    expect(await first).toBe(1);
    tried = [];
    const next = ['two', 'three'].map(add);
    await clock.advance(9);
    expect(tried).toEqual([]);
    await clock.advance(1);
    expect(await Promise.all(next)).toEqual([1, 1]);
    expect(tried).toEqual([2]);
    await clock.advance(5_000);
    expect(await Promise.all([add('four'), add('five')])).toEqual([1, 1]);
    expect(tried).toEqual([2, 1, 1]);
  });

  it('fail each by itself: one that throws has written nothing, and keeps no other from it', async () => {
    other.exec('BEGIN IMMEDIATE');
    const first = add('one');
    const failing = writes.write(() => {
      session.run("INSERT INTO words VALUES ('half')");
      throw new Error('second thoughts');
    });
    const twice = writes.write(() => {
      session.run("INSERT INTO words VALUES ('whole')");
      session.run("INSERT INTO words VALUES ('one')");
    });
    const last = add('last');
    const answers = Promise.allSettled([first, failing, twice, last]);
    other.exec('ROLLBACK');
    await clock.advance(50);
    expect((await answers).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
    await expect(failing).rejects.toThrow('second thoughts');
    expect(words()).toEqual(['one', 'last']);
  });

  it('are given up one by one, each when it has waited for five seconds', async () => {
    other.exec('BEGIN IMMEDIATE');
    const early = add('early').catch((error: unknown) => error);
    await clock.advance(3_000);
    const late = add('late');
    await clock.advance(2_100);
    expect(await early).toMatchObject({ code: 'journal-busy' });
    other.exec('ROLLBACK');
    await clock.advance(50);
    expect(await late).toBe(1);
    expect(words()).toEqual(['late']);
    const next = add('next');
    await clock.advance(50);
    expect(await next).toBe(1);
  });
});
