import { rmSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSqliteJournal } from '../../../providers/journals/sqlite.ts';
import { openDatabase, type DatabaseSync } from '../../../providers/sqlite.ts';
import { createSqliteUsageLog } from '../../../providers/usage/sqlite.ts';
import { recentExclusive } from '../../../src/decide/evidence.ts';
import { createFakeClock, createSeededRandom, type FakeClock } from '../../../src/memory/clock.ts';
import { createSecretCache } from '../../../src/cache/cache.ts';
import type { SecretCache } from '../../../src/cache/types.ts';
import { emptyKeyring, nextKeyring } from '../../../src/model/keyring.ts';
import { realClock } from '../../../src/ports/real.ts';
import type { KeyringReader } from '../../../src/ports/secret-store.ts';
import type { ReceiverEvidence, UsageLog, UsageReportLog, VersionUseEvidence } from '../../../src/ports/usage-log.ts';
import { expectCode } from '../../conformance/journal.ts';
import { reportOf, secretOf, useOf } from '../../conformance/report-samples.ts';
import { describeUsageLog } from '../../conformance/usage-log.ts';
import { createUsageReporter } from '../../../src/usage/reporter.ts';
import {
  isRoot,
  modeOf,
  mountSmall,
  OtherProcess,
  otherUid,
  removeFolder,
  temporaryFolder,
} from '../sqlite-support.ts';

describeUsageLog('SQLite', {
  open: async () => {
    const folder = await temporaryFolder();
    const clock = createFakeClock();
    return {
      clock,
      log: () => Promise.resolve(createSqliteUsageLog({ path: join(folder, 'usage', 'usage.db'), clock })),
      close: () => removeFolder(folder),
    };
  },
});

/** A cache that holds two accepted versions of each secret, and never looks again. */
async function cacheOf(secrets: readonly string[]): Promise<SecretCache> {
  const createdAt = '2026-01-01T00:00:00.000Z';
  const store: KeyringReader = {
    read: async (names) =>
      new Map(
        names.map(({ secret }) => {
          const keyring = nextKeyring(
            emptyKeyring(secret),
            [
              { kind: 'add', version: 'v1', value: 'the old value', createdAt },
              { kind: 'promote', version: 'v1' },
              { kind: 'add', version: 'v2', value: 'the new value', createdAt },
            ],
            { id: 'c1', highestRevision: 0 },
          );
          return [secret, { state: 'present', keyring, token: 't1' }];
        }),
      ),
  };
  const cache = createSecretCache({ store, secrets });
  await cache.ready();
  return cache;
}

/** True when the promise is settled before any timer, file or socket of this process had a turn. */
async function settledBeforeTheLoopTurns(promise: Promise<unknown>): Promise<boolean> {
  let turned = false;
  const turn = setImmediate(() => (turned = true));
  await promise.catch(() => undefined);
  clearImmediate(turn);
  return !turned;
}

describe('SQLite usage log', () => {
  let folder: string;
  let path: string;
  let clock: FakeClock;
  const opened: UsageLog[] = [];
  const processes: OtherProcess[] = [];
  const unmounts: (() => Promise<void>)[] = [];

  beforeEach(async () => {
    folder = await temporaryFolder();
    path = join(folder, 'usage', 'usage.db');
    clock = createFakeClock();
  });

  afterEach(async () => {
    for (const process of processes.splice(0)) await process.kill();
    for (const log of opened.splice(0)) await log.close();
    for (const unmount of unmounts.splice(0)) await unmount();
    await removeFolder(folder);
  });

  function open(group: string | null = null): UsageLog {
    const log = createSqliteUsageLog({ path, group, clock });
    opened.push(log);
    return log;
  }

  function start(...act: readonly (string | number)[]): OtherProcess {
    const process = new OtherProcess(...act);
    processes.push(process);
    return process;
  }

  async function files(): Promise<string[]> {
    const names = (await readdir(dirname(path))).sort();
    return Promise.all(names.map(async (name) => `${await modeOf(join(dirname(path), name))} ${name}`));
  }

  describe('as a file', () => {
    it('is not touched before the first report', async () => {
      open();
      expect(await readdir(folder)).toEqual([]);
    });

    it('is for its owner alone where no group is named', async () => {
      await open().report(reportOf('w-1'));
      expect(await modeOf(dirname(path))).toBe('700');
      expect(await files()).toEqual(['600 usage.db', '600 usage.db-shm', '600 usage.db-wal']);
    });

    it('is for the group where one is named', async () => {
      await open(String(process.getgid?.())).report(reportOf('w-1'));
      expect(await modeOf(dirname(path))).toBe('2770');
      expect(await files()).toEqual(['660 usage.db', '660 usage.db-shm', '660 usage.db-wal']);
    });

    it('takes reports of every member, whoever made which file', async (context) => {
      context.skip(!isRoot, 'only root can become another user');
      const gid = 54_321;
      await chmod(folder, 0o755);
      await open(String(gid)).report(reportOf('w-1'));
      const member = start('report-as', path, otherUid, gid);
      await member.ready();
      member.goOn();
      expect(await member.answer()).toEqual({ arrived: 3, busy: 0 });
      for (const log of opened.splice(0)) await log.close();

      const beside = start('report-as', path, otherUid, gid);
      await beside.ready();
      beside.goOn();
      expect(await beside.answer()).toEqual({ arrived: 3, busy: 0 });
      const another = start('report-as', path, otherUid - 1, gid);
      await another.ready();
      another.goOn();
      expect(await another.answer()).toEqual({ arrived: 3, busy: 0 });
      expect((await open(String(gid)).evidence('hook')).receivers).toHaveLength(3);
    });

    it('lets the group in where a member made it', async (context) => {
      context.skip(!isRoot, 'only root can become another user');
      const gid = 54_321;
      await chown(folder, otherUid, gid);
      await chmod(folder, 0o2770);
      const first = start('report-as', path, otherUid, gid);
      await first.ready();
      first.goOn();
      await first.answer();
      expect((await stat(path)).uid).toBe(otherUid);
      const second = start('report-as', path, otherUid - 1, gid);
      await second.ready();
      second.goOn();
      expect(await second.answer()).toEqual({ arrived: 3, busy: 0 });
    });

    it('refuses a group that does not exist', async () => {
      await expectCode(open('no such group').report(reportOf('w-1')), 'policy-invalid');
    });
  });

  describe('under a lock', () => {
    it('refuses a report before the event loop turns, and takes the next one', async () => {
      const log = open();
      await log.report(reportOf('w-1'));
      const locker = start('lock', path);
      await locker.ready();
      let turns = 0;
      const turn = setImmediate(() => (turns += 1));
      const took: number[] = [];
      for (const uptimeMs of [70_000, 71_000, 72_000, 73_000, 74_000]) {
        const began = performance.now();
        await expectCode(log.report(reportOf('w-1', { uptimeMs })), 'usage-busy');
        took.push(performance.now() - began);
      }
      expect(turns).toBe(0);
      // This process may be kept from the processor at any of them, but not at each; SQLite's own wait would be in all.
      expect(Math.min(...took)).toBeLessThan(500);
      clearImmediate(turn);
      locker.goOn();
      expect(await locker.answer()).toBe('done');
      await log.report(reportOf('w-1', { uptimeMs: 80_000 }));
    });

    it('refuses the very first report too, and opens with the next', async () => {
      const locker = start('lock', path);
      await locker.ready();
      const log = open();
      await expectCode(log.report(reportOf('w-1')), 'usage-busy');
      await locker.kill();
      await log.report(reportOf('w-1'));
    });

    it('answers the orchestrator meanwhile, and keeps a word of his until it can be written', async () => {
      const log = open();
      await log.report(reportOf('w-1'));
      const locker = start('lock', path);
      await locker.ready();
      expect((await log.evidence('hook')).receivers).toHaveLength(1);
      const forgotten = log.forget('w-1');
      await clock.advance(1_000);
      await locker.kill();
      await clock.advance(1_000);
      expect(await forgotten).toBe(1);
      const second = start('lock', path);
      await second.ready();
      const refused = expectCode(log.prune(clock.now()), 'usage-busy');
      await clock.advance(5_100);
      await refused;
    });

    it('costs a receiver of a thousand secrets no turn of its event loop, and no count', async () => {
      const secrets = Array.from({ length: 1_000 }, (_, index) => `tenant-${String(index)}/hook`);
      const cache = await cacheOf(secrets);
      const log = open();
      const refused: boolean[] = [];
      const watched: UsageReportLog = {
        report: async (report) => {
          const reported = log.report(report);
          refused.push(await settledBeforeTheLoopTurns(reported));
          return reported;
        },
        close: () => log.close(),
      };
      const random = createSeededRandom(1);
      const reporter = createUsageReporter({ log: watched, cache, clock, random, receiverId: 'web-1' });
      const count = (): void => {
        for (const secret of secrets) reporter.matched(secret, 'v2', true);
      };
      count();
      expect(await reporter.flush()).toBe(true);

      const locker = start('lock', path);
      await locker.ready();
      refused.length = 0;
      count();
      const flushed = reporter.flush();
      await clock.advance(0);
      count();
      await clock.advance(2_000);
      expect(await flushed).toBe(false);
      expect(refused).toEqual([true, true, true, true, true]);
      locker.goOn();
      expect(await locker.answer()).toBe('done');
      count();
      expect(await reporter.flush()).toBe(true);
      for (const secret of secrets) {
        expect((await log.evidence(secret)).receivers[0]?.uses).toMatchObject([{ version: 'v2', exclusive: 4 }]);
      }
      const closed = reporter.close();
      await clock.advance(0);
      await closed;
      await cache.close();
    });

    it('loses nothing when processes report at once', async () => {
      const reporters = ['w-1', 'w-2', 'w-3'].map((name) => start('report', path, name, 50));
      for (const reporter of reporters) await reporter.ready();
      for (const reporter of reporters) reporter.goOn();
      for (const reporter of reporters) expect(await reporter.answer()).toMatchObject({ arrived: 50 });
      const { receivers } = await open().evidence('hook');
      expect(receivers.map((each) => [each.instance, each.uses[0]?.matched])).toEqual([
        ['w-1', 50],
        ['w-2', 50],
        ['w-3', 50],
      ]);
    });

    it('goes on after a reporter was killed in the middle', async () => {
      const reporter = start('report', path, 'w-1', 1_000_000);
      await reporter.ready();
      reporter.goOn();
      const log = createSqliteUsageLog({ path, clock: realClock });
      opened.push(log);
      while ((await log.evidence('hook')).receivers.length === 0) await new Promise(setImmediate);
      await reporter.kill();
      await log.report(reportOf('w-2'));
      expect((await log.evidence('hook')).receivers).toHaveLength(2);
    });
  });

  describe('whose file changes under it', () => {
    it('starts a new one when the file was deleted, in every process that has it open', async () => {
      const [one, two] = [open(), open()];
      const report = (log: UsageLog, instance: string, matched: number): Promise<void> =>
        log.report(reportOf(instance, { secrets: [secretOf('hook', [useOf('v1', matched, 0)])] }));
      await report(one, 'w-1', 1);
      await report(two, 'w-2', 1);
      await rm(dirname(path), { recursive: true });
      await report(one, 'w-1', 2);
      await report(two, 'w-2', 2);
      await report(one, 'w-1', 3);
      const { receivers } = await open().evidence('hook');
      expect(receivers.map((each) => [each.instance, each.uses[0]?.matched])).toEqual([
        ['w-1', 3],
        ['w-2', 2],
      ]);
    });

    it('says what is wrong with a damaged file, and recovers when that is moved away', async () => {
      const log = open();
      await mkdir(dirname(path));
      await writeFile(path, 'no database at all\n'.repeat(500));
      await expectCode(log.report(reportOf('w-1')), 'usage-corrupt');
      await expectCode(log.evidence('hook'), 'usage-corrupt');
      await rm(path);
      await log.report(reportOf('w-1'));
      expect((await log.evidence('hook')).receivers).toHaveLength(1);
    });

    it('refuses what a newer version of keyturn made, until it is put right', async () => {
      const log = open();
      await log.report(reportOf('w-1'));
      await log.close();
      const version = (number: number): void => {
        const database = openDatabase({ path, mode: 0o600, timeoutMs: 0 });
        database.exec(`PRAGMA user_version = ${String(number)}`);
        database.close();
      };
      version(42);
      const next = open();
      expect((await expectCode(next.report(reportOf('w-1')), 'usage-newer-format')).message).toContain('42');
      version(1);
      await next.report(reportOf('w-1'));
    });

    it('does not take the journal for itself', async () => {
      const journal = await createSqliteJournal({ path, clock, random: createSeededRandom(1) });
      await expectCode(open().report(reportOf('w-1')), 'usage-corrupt');
      await journal.close();
    });

    it('says when the place cannot be reached, and that it was closed', async () => {
      await writeFile(join(folder, 'usage'), '');
      const log = open();
      await expectCode(log.report(reportOf('w-1')), 'usage-unreachable');
      await log.close();
      await expectCode(log.report(reportOf('w-1')), 'usage-unreachable');
    });
  });

  /** What stands in the file, by a connection of its own. */
  function inFile<T>(read: (database: DatabaseSync) => T): T {
    const database = openDatabase({ path, mode: 0o600, timeoutMs: 5_000 });
    try {
      return read(database);
    } finally {
      database.close();
    }
  }

  it('reads what keyturn 0.1.0 wrote, and goes on from there', async () => {
    const log = open();
    const report = (instance: string, matched: number, signsOff = false): Promise<void> =>
      log.report(reportOf(instance, { signsOff, secrets: [secretOf('hook', [useOf('v1', matched, 0)])] }));
    await report('w-1', 40);
    await report('w-2', 2, true);
    await clock.advance(1_000);
    await log.prune(clock.now());
    await log.close();
    inFile((database) => {
      for (const table of ['holdings', 'departed']) {
        const rows = database.prepare(`SELECT secret, document FROM ${table}`).all();
        expect(rows).toHaveLength(1);
        const document = JSON.parse(String(rows[0]!['document'])) as { readonly uses: readonly VersionUseEvidence[] };
        const uses = document.uses.map(({ recent, ...use }) => ({ ...use, lastNotOkAt: recent.length }));
        database.prepare(`UPDATE ${table} SET document = ?`).run(JSON.stringify({ ...document, uses }));
      }
    });

    const next = createSqliteUsageLog({ path, clock });
    opened.push(next);
    const { receivers } = await next.evidence('hook');
    const former = { version: 'v1', notOk: 1, firstMatchedAt: expect.any(Number), lastMatchedAt: expect.any(Number) };
    expect(receivers.map((each) => [each.instance, each.uses])).toEqual([
      ['w-1', [{ ...former, matched: 40, exclusive: 40, lastExclusiveAt: expect.any(Number), recent: [] }]],
      ['(departed)', [{ ...former, matched: 2, exclusive: 2, lastExclusiveAt: expect.any(Number), recent: [] }]],
    ]);
    await clock.advance(10_000);
    await next.report(reportOf('w-1', { uptimeMs: 71_000, secrets: [secretOf('hook', [useOf('v1', 43, 0)])] }));
    expect(recentExclusive(await next.evidence('hook'), ['v1'], clock.now()).total).toBe(3);
  });

  it('stays as large as secrets, versions and receivers make it, however many reports and requests there are', async () => {
    const log = open();
    const secrets = ['a', 'b', 'c'];
    const start = clock.now();
    const size = (): Record<string, unknown> =>
      inFile((database) => {
        database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
        const count = (sql: string): unknown => database.prepare(sql).get()?.['count'];
        return {
          receivers: count('SELECT count(*) AS count FROM receivers'),
          holdings: count('SELECT count(*) AS count FROM holdings'),
          departed: count('SELECT count(*) AS count FROM departed'),
          pages: database.prepare('PRAGMA page_count').get()?.['page_count'],
        };
      });
    const report = async (index: number): Promise<void> => {
      clock.setWall(start + index * 7_000);
      const uses = ['v1', 'v2'].map((version) => useOf(version, 1_000_000 + 13 * index, 0));
      const instance = `w-${String(Math.floor(index / 100) % 5)}`;
      await log.report(
        reportOf(instance, { uptimeMs: index * 7_000, secrets: secrets.map((each) => secretOf(each, uses)) }),
      );
    };
    for (let index = 0; index < 1_000; index += 1) await report(index);
    const early = size();
    for (let index = 1_000; index < 10_000; index += 1) await report(index);
    // The log beside the file is bounded, at more than SQLite's own thousand pages: a receiver waits for the disk there.
    const logPages = (await stat(`${path}-wal`)).size / 4_096;
    expect(logPages).toBeGreaterThan(2_000);
    expect(logPages).toBeLessThan(4_500);
    await log.prune(0);
    expect(await readFile(path, 'utf8'), 'what a prune took into the file itself').toContain('1129987');
    expect(size()).toEqual(early);
    expect(early).toMatchObject({ receivers: 5, holdings: 15, departed: 0 });
    const { receivers } = await log.evidence('a');
    expect(receivers.map((each) => each.uses.map((use) => use.matched))).toContainEqual([1_129_987, 1_129_987]);
  });

  it('does not grow with the receivers that come and go', async () => {
    const log = open();
    for (let life = 0; life < 300; life += 1) {
      const secrets = [secretOf('hook', [useOf('v1', 2, 0)])];
      await log.report(reportOf(`w-${String(life)}`, { signsOff: true, secrets }));
      await clock.advance(1_000);
      if (life % 50 === 49) await log.prune(clock.now());
    }
    const { receivers } = await log.evidence('hook');
    expect(receivers.map((each) => [each.instance, each.uses[0]?.matched])).toEqual([['(departed)', 600]]);
    expect(receivers[0]!.uses[0]!.recent.length).toBeLessThanOrEqual(10);
    expect(inFile((database) => database.prepare('SELECT count(*) AS count FROM holdings').get()?.['count'])).toBe(0);
  });

  describe('a report of many secrets', () => {
    const secrets = Array.from({ length: 350 }, (_, index) => `hook-${String(index)}`);
    const [first, last] = [secrets[0]!, secrets.at(-1)!];

    function report(log: UsageLog, uptimeMs: number, matched: number, signsOff = false): Promise<void> {
      const uses = [useOf('v1', matched, 0)];
      const listed = secrets.map((secret) => secretOf(secret, uses));
      return log.report(reportOf('w-1', { uptimeMs, signsOff, secrets: listed }));
    }

    async function receiverOf(log: UsageLog, secret: string): Promise<ReceiverEvidence | undefined> {
      return (await log.evidence(secret)).receivers.find(({ instance }) => instance === 'w-1');
    }

    it('does not fill a small disk with the log beside the file', async (context) => {
      unmounts.push(await mountSmall(context, dirname(path), 12 * 1_024));
      const [log, reader] = [open(), open()];
      for (let matched = 1; matched <= 150; matched += 1) {
        await clock.advance(10_000);
        await report(log, matched * 10_000, matched);
      }
      expect((await receiverOf(reader, last))?.uses[0]?.matched).toBe(150);
    });

    it('lets the event loop turn while it is written', async () => {
      let turns = 0;
      const count = (): void => {
        turns += 1;
        turn = setImmediate(count);
      };
      let turn = setImmediate(count);
      await report(open(), 1_000, 1);
      clearImmediate(turn);
      expect(turns).toBeGreaterThanOrEqual(3);
    });

    it('says that the receiver reported once all of it is there, and loses nothing when it is cut short', async () => {
      const [log, reader] = [open(), open()];
      await report(log, 1_000, 1);
      const before = await receiverOf(reader, last);
      const reportedAt = clock.now();
      await clock.advance(10_000);
      const cut = expectCode(report(log, 11_000, 4, true), 'usage-busy');
      const locker = openDatabase({ path, mode: 0o600, timeoutMs: 0 });
      locker.exec('BEGIN IMMEDIATE');
      await cut;
      expect(await receiverOf(reader, first)).toMatchObject({
        lastReportAt: reportedAt,
        signedOffAt: null,
        uses: [{ exclusive: 4, lastExclusiveAt: reportedAt + 10_000 }],
      });
      expect(await receiverOf(reader, last)).toEqual(before);
      locker.exec('ROLLBACK');
      locker.close();

      await clock.advance(10_000);
      await report(log, 21_000, 5, true);
      for (const secret of secrets) {
        const evidence = await reader.evidence(secret);
        expect(evidence.receivers).toMatchObject([{ lastReportAt: clock.now(), signedOffAt: clock.now() }]);
        expect(recentExclusive(evidence, ['v1'], clock.now()).total).toBe(5);
      }
    });

    it('shows nobody before it has all of a secret, where the first report is cut short', async () => {
      const [log, reader] = [open(), open()];
      const cut = expectCode(report(log, 1_000, 3, true), 'usage-busy');
      const locker = openDatabase({ path, mode: 0o600, timeoutMs: 0 });
      locker.exec('BEGIN IMMEDIATE');
      await cut;
      expect(await receiverOf(reader, first)).toMatchObject({ signedOffAt: null, uses: [{ exclusive: 3 }] });
      expect(await receiverOf(reader, last)).toBeUndefined();
      locker.exec('ROLLBACK');
      locker.close();
      await report(log, 2_000, 3);
      expect(await receiverOf(reader, last)).toMatchObject({ signedOffAt: null, uses: [{ exclusive: 3 }] });
    });

    it('starts again where the receiver is pruned, or the file replaced, in the midst of it', async () => {
      const [log, reader] = [open(), open()];
      await report(log, 1_000, 1);
      await reader.forget('w-1');
      await clock.advance(1_000);
      const overPruned = report(log, 2_000, 2);
      await reader.prune(clock.now());
      await overPruned;
      for (const secret of [first, last]) {
        expect(await receiverOf(reader, secret)).toMatchObject({ forgottenAt: null, uses: [{ exclusive: 2 }] });
      }
      const overReplaced = report(log, 3_000, 3);
      rmSync(dirname(path), { recursive: true });
      await overReplaced;
      for (const secret of [first, last]) {
        expect(await receiverOf(open(), secret)).toMatchObject({ uses: [{ exclusive: 3 }] });
      }
    });
  });

  it('writes only what a report changes', async () => {
    const log = open();
    const report = (ageMs: number): Promise<void> =>
      log.report(
        reportOf('w-1', {
          uptimeMs: 60_000 + ageMs,
          secrets: Array.from({ length: 500 }, (_, index) =>
            secretOf(`hook-${String(index)}`, [useOf('v1', 3, ageMs)]),
          ),
        }),
      );
    const walBytes = async (): Promise<number> => (await stat(`${path}-wal`)).size;
    const empty = await log.evidence('hook-0').then(walBytes);
    await report(0);
    const afterFirst = await walBytes();
    await clock.advance(10_000);
    await report(10_000);
    expect((await walBytes()) - afterFirst).toBeLessThan((afterFirst - empty) / 10);
    const { receivers } = await log.evidence('hook-499');
    expect(receivers[0]?.lastReportAt).toBe(clock.now());
    expect(receivers[0]?.uses[0]?.lastMatchedAt).toBe(clock.now() - 10_000);
  });
});
