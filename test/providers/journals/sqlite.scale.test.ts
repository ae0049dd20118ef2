import { join } from 'node:path';
import { DatabaseSync, StatementSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSqliteJournal } from '../../../providers/journals/sqlite.ts';
import { firstHead, headSeal, linkOf } from '../../../src/decide/audit.ts';
import { createFakeClock, createSeededRandom } from '../../../src/memory/clock.ts';
import type { PersonMove } from '../../../src/model/run.ts';
import { verifyAudit } from '../../../src/orchestrator/audit.ts';
import type { ChainedEvent } from '../../../src/ports/audit.ts';
import { createDigest } from '../../../src/ports/digest.ts';
import { realClock } from '../../../src/ports/real.ts';
import type { Clock } from '../../../src/ports/system.ts';
import { take, ttlMs, type FullJournal } from '../../conformance/journal.ts';
import { eventOf, holderOf, runOf } from '../../conformance/run-samples.ts';
import { OtherProcess, removeFolder, temporaryFolder } from '../sqlite-support.ts';

describe('a large SQLite journal', () => {
  let folder: string;
  let path: string;
  const opened: FullJournal[] = [];
  const children: OtherProcess[] = [];

  beforeEach(async () => {
    folder = await temporaryFolder();
    path = join(folder, 'journal.db');
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    for (const child of children.splice(0)) await child.kill();
    for (const journal of opened.splice(0)) await journal.close();
    await removeFolder(folder);
  });

  async function open(clock: Clock = createFakeClock()): Promise<FullJournal> {
    const journal = await createSqliteJournal({ path, clock, random: createSeededRandom(1) });
    opened.push(journal);
    return journal;
  }

  function query(sql: string): readonly Readonly<Record<string, unknown>>[] {
    const database = new DatabaseSync(path);
    try {
      return database.prepare(sql).all();
    } finally {
      database.close();
    }
  }

  /** Ended runs of ten secrets, with so many events each, ten at a time, and one event of every secret that belongs to none. */
  function fill(runs: number, eventsOfRun: number): void {
    query(`
      WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${String(runs - 1)})
      INSERT INTO runs (id, secret, state, changes, document)
      SELECT 'r-' || i, 's-' || (i % 10), 'completed', 1, json_object('id', 'r-' || i, 'compromised', json('false')) FROM n`);
    query(`
      WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${String(runs * eventsOfRun + 9)})
      INSERT INTO events (at, secret, run, event, message, data, hash)
      SELECT i, 's-' || (CASE WHEN i > 9 THEN i / 10 - 1 ELSE i END % 10),
        CASE WHEN i > 9 THEN 'r-' || ((i / 10 - 1) % ${String(runs)}) END, 'something',
        'It is something.', '{}', '' FROM n`);
    chain();
  }

  /** Links the events as they would have been if they had been written one after the other. */
  function chain(): void {
    const digest = createDigest(null);
    const database = new DatabaseSync(path);
    database.exec('BEGIN');
    const link = database.prepare('UPDATE events SET hash = ? WHERE id = ?');
    const id = String(database.prepare('SELECT id FROM journal').get()?.['id']);
    let head = firstHead(id, 0, digest);
    for (const row of database.prepare('SELECT * FROM events ORDER BY id').all()) {
      const event = row as unknown as ChainedEvent;
      head = { ...head, id: event.id, hash: linkOf(head.hash, event, digest) };
      link.run(head.hash, head.id);
    }
    const store = database.prepare('UPDATE audit_head SET id = ?, hash = ?, seal = ?');
    store.run(head.id, head.hash, headSeal(head, digest));
    database.exec('COMMIT');
    database.close();
  }

  /** What each of these statements does to find its rows. */
  function plans(statements: Iterable<string>): readonly string[] {
    return [...statements].flatMap((sql) =>
      query(`EXPLAIN QUERY PLAN ${sql}`).map((row) => `${String(row['detail'])} | ${sql.replaceAll(/\s+/g, ' ')}`),
    );
  }

  it('is never read from end to end, whatever is asked of it or written to it', async () => {
    await (await open()).close();
    const prepare = vi.spyOn(DatabaseSync.prototype, 'prepare');
    const journal = await open();
    const said: PersonMove = { kind: 'hold', step: 'deploy', check: null, who: 'ada', why: null, at: 1 };
    const lease = await take(journal, 'a');
    for (let index = 0; index < 3; index += 1) {
      const fresh = runOf('a', `r-${String(index)}`);
      const { run } = await journal.begin(fresh, [eventOf(fresh, 'started')], lease);
      await journal.move(run.id, said, eventOf(run, 'hold'));
      const next = runOf('a', `n-${String(index)}`);
      const saved = await journal.save(run, [], lease);
      await journal.supersede(saved, next, [], lease);
      await journal.save({ ...next, state: 'completed', endedAt: 1 }, [], lease);
    }
    await journal.note(eventOf({ id: '', secret: 'a' }, 'noted', { run: null }));
    const reading = await journal.openAudit();
    await reading.entries(1, 5);
    await reading.close();
    for (const query of [{ secret: 'a' }, { secret: 'a', live: true }, { id: 'r-1' }, { live: true }]) {
      await journal.runs(query);
      await journal.runs({ ...query, limit: 1 });
    }
    await journal.liveSecrets();
    for (const newestFirst of [false, true]) {
      for (const query of [{ run: 'r-1' }, { secret: 'a' }, { secret: 'a', run: 'r-1' }]) {
        await journal.events({ ...query, newestFirst });
        await journal.events({ ...query, after: 1, limit: 5, newestFirst });
        await journal.events({ ...query, before: 9, limit: 5, newestFirst });
        await journal.events({ ...query, after: 1, before: 9, newestFirst });
      }
      await journal.events({ after: 1, limit: 5, newestFirst });
    }
    await journal.renew(lease, ttlMs);
    await journal.seize((await journal.read('a'))!, holderOf('the next one'), ttlMs);
    await journal.release(lease);
    expect(await journal.prune(1)).toBe(5);

    const statements = new Set(
      prepare.mock.calls.map(([sql]) => sql).filter((sql) => !/^PRAGMA|sqlite_schema/.test(sql)),
    );
    prepare.mockRestore();
    expect(statements.size).toBeGreaterThan(40);
    const found = plans(statements);
    // Of the live ones the index has no others, and the journal's own row is one.
    const allowed = /^SCAN (runs USING COVERING INDEX one_live_run_per_secret|journal) \|/;
    expect(found.filter((plan) => plan.startsWith('SCAN') && !allowed.test(plan))).toEqual([]);
    expect(found.filter((plan) => plan.includes('TEMP B-TREE'))).toEqual([]);
    expect(found.filter((plan) => allowed.test(plan))).toHaveLength(2);
  });

  it(
    'is pruned of 100,000 events, with nothing left of what went, while another process writes',
    { timeout: 180_000 },
    async () => {
      const journal = await open(realClock);
      fill(1_000, 100);
      const other = new OtherProcess('write-on', path);
      children.push(other);
      await other.ready();
      const commits = vi.spyOn(DatabaseSync.prototype, 'exec');
      other.goOn();
      expect(await journal.prune(3)).toBe(970);
      other.goOn();
      const batches = commits.mock.calls.filter(([sql]) => sql === 'BEGIN IMMEDIATE').length;
      expect(batches).toBeGreaterThan(10);
      expect(((await other.answer()) as { writes: number }).writes).toBeGreaterThan(10);
      expect(query('SELECT count(*) AS n, min(id) AS first FROM runs')).toEqual([{ n: 30, first: 'r-970' }]);
      expect(
        query('SELECT count(*) AS n, count(run) AS runs, count(DISTINCT run) AS distinct_runs FROM events'),
      ).toEqual([{ n: 3_000, runs: 3_000, distinct_runs: 30 }]);
      expect(await journal.prune(3)).toBe(0);
      const { fault, walk } = await verifyAudit({ journal });
      expect([fault, walk.events, walk.pruned]).toEqual([null, 3_000, 97_010]);
      const [{ ranges } = {}] = query('SELECT count(*) AS ranges FROM audit_pruned');
      expect(Number(ranges)).toBeLessThanOrEqual(3_001);
    },
  );

  it('is pruned in batches that remove little once time is short', async () => {
    const hurried = createFakeClock();
    let ms = 0;
    const journal = await open({
      ...hurried,
      now: () => hurried.now(),
      monotonic: () => (ms += 2),
      sleep: async () => {},
    });
    fill(40, 60);
    const removed: number[] = [];
    const { run } = StatementSync.prototype;
    const { exec } = DatabaseSync.prototype;
    vi.spyOn(DatabaseSync.prototype, 'exec').mockImplementation(function (this: DatabaseSync, sql) {
      if (sql === 'BEGIN IMMEDIATE') removed.push(0);
      Reflect.apply(exec, this, [sql]);
    });
    vi.spyOn(StatementSync.prototype, 'run').mockImplementation(function (this: StatementSync, ...values: unknown[]) {
      const result = Reflect.apply(run, this, values) as ReturnType<typeof run>;
      if (this.sourceSQL.startsWith('DELETE')) removed.push((removed.pop() ?? 0) + Number(result.changes));
      return result;
    });
    expect(await journal.prune(1)).toBe(30);
    const total = removed.reduce((sum, each) => sum + each, 0);
    expect(total).toBe(30 + 30 * 60 + 10);
    expect(Math.max(...removed)).toBeLessThanOrEqual(300);
    expect(removed.filter((each) => each > 0).length).toBeGreaterThan(9);
  });

  it('goes on with a pruning that was cut off', async () => {
    const cut = createFakeClock();
    let ms = 0;
    const stopped = new Error('the process ended');
    const clock: Clock = {
      ...cut,
      now: () => cut.now(),
      monotonic: () => (ms += 10),
      sleep: () => Promise.reject(stopped),
    };
    const journal = await open(clock);
    fill(30, 500);
    for (let cuts = 0; cuts < 20; cuts += 1) await expect(journal.prune(1)).rejects.toBe(stopped);
    const next = await open();
    await next.prune(1);
    expect(query('SELECT count(*) AS n, min(id) AS first FROM runs')).toEqual([{ n: 10, first: 'r-20' }]);
    expect(query('SELECT count(*) AS n, count(DISTINCT run) AS runs FROM events')).toEqual([{ n: 5_000, runs: 10 }]);
  });
});
