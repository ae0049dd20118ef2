import { chmod, chown, copyFile, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest';
import { createSqliteJournal } from '../../../providers/journals/sqlite.ts';
import { openDatabase, type DatabaseSync } from '../../../providers/sqlite.ts';
import { createSqliteUsageLog } from '../../../providers/usage/sqlite.ts';
import { createFakeClock, createSeededRandom, type FakeClock } from '../../../src/memory/clock.ts';
import { emptyKeyring, nextKeyring } from '../../../src/model/keyring.ts';
import { createDigest } from '../../../src/ports/digest.ts';
import { realClock } from '../../../src/ports/real.ts';
import { describeJournal, expectCode, take, ttlMs, type FullJournal } from '../../conformance/journal.ts';
import { eventOf, holderOf, runOf } from '../../conformance/run-samples.ts';
import {
  isRoot,
  modeOf,
  mountReadOnly,
  mountSmall,
  OtherProcess,
  otherUid,
  removeFolder,
  temporaryFolder,
} from '../sqlite-support.ts';

let seed = 1;

function opening(path: string, clock: FakeClock, digest = createDigest(null)): Promise<FullJournal> {
  return createSqliteJournal({ path, clock, random: createSeededRandom(seed++), digest });
}

describeJournal('SQLite', {
  open: async (digest) => {
    const folder = await temporaryFolder();
    const clock = createFakeClock();
    return {
      clock,
      journal: () => opening(join(folder, 'state', 'journal.db'), clock, digest),
      close: () => removeFolder(folder),
    };
  },
});

describe('SQLite journal', () => {
  let folder: string;
  let path: string;
  let clock: FakeClock;
  const opened: FullJournal[] = [];
  const processes: OtherProcess[] = [];
  const unmounts: (() => Promise<void>)[] = [];

  beforeEach(async () => {
    folder = await temporaryFolder();
    path = join(folder, 'state', 'journal.db');
    clock = createFakeClock();
  });

  afterEach(async () => {
    for (const process of processes.splice(0)) await process.kill();
    for (const journal of opened.splice(0)) await journal.close();
    for (const unmount of unmounts.splice(0)) await unmount();
    await removeFolder(folder);
  });

  async function open(at = path, by = clock): Promise<FullJournal> {
    const journal = await opening(at, by);
    opened.push(journal);
    return journal;
  }

  function start(...act: readonly (string | number)[]): OtherProcess {
    const process = new OtherProcess(...act);
    processes.push(process);
    return process;
  }

  /** Puts the journal on a disk of its own, of so many KiB. */
  async function mounted(context: TestContext, kib: number): Promise<void> {
    unmounts.push(await mountSmall(context, dirname(path), kib));
  }

  /** Does something to the file that the journal itself would not. */
  function tamper(work: (database: DatabaseSync) => void): void {
    const database = openDatabase({ path, mode: 0o600, timeoutMs: 1_000 });
    work(database);
    database.close();
  }

  describe('as a file', () => {
    it('is for its owner alone, with everything SQLite puts beside it', async () => {
      const journal = await open();
      await take(journal, 'hook');
      expect(await modeOf(dirname(path))).toBe('700');
      const files = (await readdir(dirname(path))).sort();
      expect(files).toEqual(['journal.db', 'journal.db-shm', 'journal.db-wal']);
      expect(await Promise.all(files.map((file) => modeOf(join(dirname(path), file))))).toEqual(['600', '600', '600']);
    });

    it('keeps the id that it was made with', async () => {
      const { id, label } = await open();
      expect(id).toMatch(/^j[0-9a-z]{10}@/);
      expect(id.endsWith(`@${hostname()}`)).toBe(true);
      expect(label).toContain(path);
      expect((await open()).id).toBe(id);
      expect((await open(join(folder, 'other.db'))).id).not.toBe(id);
    });

    it('I7: never holds a value, whatever a run goes through', async () => {
      const values = ['marker-of-the-old-value', 'marker-of-the-new-value'];
      const commit = { id: 'c-1', highestRevision: 0 };
      const createdAt = '2026-01-01T00:00:00.000Z';
      const keyring = nextKeyring(
        emptyKeyring('hook'),
        values.map((value, index) => ({ kind: 'add', version: `v${String(index + 1)}`, value, createdAt })),
        commit,
      );
      const journal = await open();
      const lease = await take(journal, 'hook');
      const [from, to] = keyring.versions.map((version) => version.id);
      const fresh = runOf('hook', 'r-1', { from: from!, to: to!, revision: keyring.revision });
      const { run } = await journal.begin(fresh, [eventOf(fresh, 'started')], lease);
      const said = { kind: 'confirm', step: 'monitor', check: null, who: 'ada', why: null, at: 1 } as const;
      await journal.move('r-1', said, eventOf(run, 'confirm'));
      await journal.save({ ...run, state: 'completed', endedAt: 2 }, [eventOf(run, 'completed')], lease);
      const files = await readdir(dirname(path));
      const bytes = Buffer.concat(await Promise.all(files.map((file) => readFile(join(dirname(path), file)))));
      expect(bytes.includes('r-1')).toBe(true);
      for (const value of values) expect(bytes.includes(value)).toBe(false);
    });

    it('I3: has an index that allows one live run of a secret, whoever writes', async () => {
      const journal = await open();
      await journal.begin(runOf('hook', 'r-1'), [], await take(journal, 'hook'));
      const insert = (id: string, secret: string) => (database: DatabaseSync) =>
        database.exec(
          `INSERT INTO runs (id, secret, state, changes, document) VALUES ('${id}', '${secret}', 'live', 0, '{"compromised":false}')`,
        );
      expect(() => tamper(insert('r-2', 'hook'))).toThrow('UNIQUE');
      tamper(insert('r-3', 'other'));
    });
  });

  describe('that cannot be used', () => {
    it('says when the file is no database', async () => {
      await mkdir(dirname(path));
      await writeFile(path, 'these are notes about secrets, and no database\n'.repeat(100));
      const error = await expectCode(open(), 'journal-corrupt');
      expect(error.message).toContain(path);
      expect(error.message).not.toContain('notes');
    });

    it('says when the file is the database of something else', async () => {
      tamper((database) => database.exec('CREATE TABLE runs (anything)'));
      await expectCode(open(), 'journal-corrupt');
      const usagePath = join(folder, 'usage.db');
      const usage = createSqliteUsageLog({ path: usagePath, clock });
      await usage.evidence('hook');
      await expectCode(open(usagePath), 'journal-corrupt');
      await usage.close();
    });

    it('says when a newer version of keyturn made it, and leaves it alone', async () => {
      await (await open()).close();
      tamper((database) => database.exec('PRAGMA user_version = 99'));
      const error = await expectCode(open(), 'journal-newer-format');
      expect(error.message).toContain('99');
      tamper((database) => database.exec('PRAGMA user_version = 4'));
      await open();
    });

    it('says when a document in it is damaged', async () => {
      const journal = await open();
      await journal.begin(runOf('hook', 'r-1'), [], await take(journal, 'hook'));
      tamper((database) => database.exec("DROP TRIGGER no_older_save; UPDATE runs SET document = '{'"));
      await expectCode(journal.runs({ live: true }), 'journal-corrupt');
    });

    it('says when its folder cannot be one, or its file is a folder', async () => {
      await writeFile(join(folder, 'file'), '');
      await expectCode(open(join(folder, 'file', 'journal.db')), 'journal-unreachable');
      await mkdir(join(folder, 'journal.db'));
      await expectCode(open(join(folder, 'journal.db')), 'journal-unreachable');
    });

    it('refuses to write once the file is gone from under it', async () => {
      const journal = await open();
      const lease = await take(journal, 'hook');
      const { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
      await rm(path);
      const error = await expectCode(journal.save({ ...run, step: 'deploy' }, [], lease), 'journal-unreachable');
      expect(error.message).toBe(`The journal ${path} is no longer the file that this process opened.`);
      await expectCode(take(journal, 'other'), 'journal-unreachable');
      await expectCode(
        journal.prune(1).then(() => take(journal, 'third')),
        'journal-unreachable',
      );
    });

    it('says when its end is missing, before it is opened or while it is open', async () => {
      const lose = async (file: string): Promise<void> => truncate(file, Math.floor((await stat(file)).size / 2));
      const journal = await open();
      const lease = await take(journal, 'hook');
      const { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
      await journal.save(
        run,
        Array.from({ length: 200 }, () => eventOf(run, 'something')),
        lease,
      );
      await opened.pop()?.close();
      const copy = join(folder, 'copy.db');
      await copyFile(path, copy);
      const other = await open(copy);
      await lose(path);
      await lose(copy);
      expect((await expectCode(open(), 'journal-corrupt')).hint).toBe('Restore it from a backup.');
      await expectCode(other.events({}), 'journal-corrupt');
    });

    it('says when the disk is full, at its start or later, and reads on', async (context) => {
      await mounted(context, 160);
      const journal = await open();
      const lease = await take(journal, 'hook');
      let { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
      const fill = async (): Promise<void> => {
        for (;;) run = await journal.save(run, [eventOf(run, 'long', { message: 'x'.repeat(9_000) })], lease);
      };
      const error = await expectCode(fill(), 'journal-unreachable');
      expect(error.message).toBe(`The journal ${path} cannot be written: the disk is full.`);
      expect(error.hint).toBe(`Free some space: df -h ${dirname(path)}`);
      expect(await journal.runs({ live: true })).toEqual([run]);
    });

    it('says when the disk is too full to start on', async (context) => {
      await mounted(context, 16);
      expect((await expectCode(open(), 'journal-unreachable')).message).toContain('the disk is full');
    });

    it('says when its file system can only be read', async (context) => {
      await mounted(context, 1_000);
      await (await open()).close();
      await mountReadOnly(dirname(path));
      const error = await expectCode(open(), 'journal-unreachable');
      expect(error.message).toBe(`The journal ${path} is on a file system that can only be read.`);
      expect(error.hint).toContain('findmnt');
      await expectCode(open(join(dirname(path), 'new', 'journal.db')), 'journal-unreachable');
    });

    // Root may write anywhere, and tries another user below.
    if (!isRoot) {
      it('says when the folder may not be written', async () => {
        await mkdir(dirname(path));
        await chmod(dirname(path), 0o500);
        await expectCode(open(), 'journal-unreachable');
        await chmod(dirname(path), 0o700);
      });
    }

    it.for([
      ['when it belongs to another user', { file: 0o600, folder: 0o755, isOurs: false }],
      ['when it may only be read', { file: 0o644, folder: 0o777, isOurs: false }],
      ['when its folder may only be read', { file: 0o600, folder: 0o755, isOurs: true }],
    ] as const)('says %s', async ([, mode], context) => {
      context.skip(!isRoot, 'only root can become another user');
      await (await open()).close();
      await chmod(folder, 0o755);
      await chmod(dirname(path), mode.folder);
      await chmod(path, mode.file);
      if (mode.isOurs) await chown(path, otherUid, -1);
      const answer = await start('open-as', path, otherUid).answer();
      expect(answer).toMatchObject({ code: 'journal-unreachable' });
      expect(answer).toMatchObject({ message: expect.stringContaining('may not be opened or written by the user') });
      expect(answer).toMatchObject({ hint: expect.stringContaining(`ls -la ${dirname(path)}`) });
    });
  });

  describe('shared by processes', () => {
    it('waits for a lock while the event loop goes on', async () => {
      await open();
      const journal = await createSqliteJournal({ path, clock: realClock, random: createSeededRandom(7) });
      opened.push(journal);
      const locker = start('lock', path);
      await locker.ready();
      let turns = 0;
      let isDone = false;
      const acquired = take(journal, 'hook').finally(() => (isDone = true));
      while (turns < 200) {
        await new Promise(setImmediate);
        turns += 1;
      }
      expect(isDone).toBe(false);
      locker.goOn();
      expect((await acquired).token).toBe(1);
    });

    it('reads while another process has the lock', async () => {
      const journal = await open();
      await journal.begin(runOf('hook', 'r-1'), [], await take(journal, 'hook'));
      await start('lock', path).ready();
      expect(await journal.runs({ live: true })).toHaveLength(1);
      expect((await journal.read('hook'))?.held).toBe(true);
      expect((await (await open()).runs({ live: true }))[0]?.id).toBe('r-1');
    });

    it('gives up a lock after five seconds and says so', async () => {
      const journal = await open();
      const locker = start('lock', path);
      await locker.ready();
      const refused = expectCode(take(journal, 'hook'), 'journal-busy');
      await clock.advance(5_100);
      const error = await refused;
      expect(error.message).toBe(`The journal ${path} is locked by another process.`);
      expect(error.hint).toContain(`fuser -v ${path}`);
      await locker.kill();
      expect((await take(journal, 'hook')).token).toBe(1);
    });

    it('I3: begins each run once and gives each lease once when processes race', async () => {
      const journal = await open();
      const now = await createSqliteJournal({ path, clock: realClock, random: createSeededRandom(7) });
      opened.push(now);
      for (let index = 0; index < 40; index += 1) await take(now, `secret-${String(index)}`);
      const racers = ['one', 'two', 'three'].map((name) => start('race', path, name, 40));
      for (const racer of racers) await racer.ready();
      for (const racer of racers) racer.goOn();
      const answers = (await Promise.all(racers.map((racer) => racer.answer()))) as {
        leases: string[];
        begun: string[];
      }[];
      const expected = (prefix: string): string[] =>
        Array.from({ length: 40 }, (_, index) => `${prefix}-${String(index)}`).sort();
      expect(answers.flatMap((answer) => answer.leases).sort()).toEqual(expected('lease'));
      expect(answers.flatMap((answer) => answer.begun).sort()).toEqual(expected('secret'));
      expect(await journal.runs({ live: true })).toHaveLength(40);
      expect(await journal.events({})).toHaveLength(40);
    });

    it('lets the lease of a killed process run out, and no earlier', async () => {
      const holder = start('hold-lease', path, ttlMs);
      const { lease } = (await holder.answer()) as { lease: { token: number; expiresAt: number } };
      await holder.kill();
      const later = createFakeClock(lease.expiresAt - 1);
      const journal = await open(path, later);
      expect(await journal.acquire('hook', holderOf('the next one'), ttlMs)).toMatchObject({
        busy: { holder: 'the first one' },
      });
      await later.advance(1);
      expect((await take(journal, 'hook', 'the next one')).token).toBe(lease.token + 1);
    });
  });
});
