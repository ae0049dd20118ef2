import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSqliteJournal } from '../../../providers/journals/sqlite.ts';
import type { FaultKind, KnownHead } from '../../../src/decide/audit-walk.ts';
import { linkOf } from '../../../src/decide/audit.ts';
import { createFakeClock, createSeededRandom } from '../../../src/memory/clock.ts';
import { sealAudit, verifyAudit, type Audit } from '../../../src/orchestrator/audit.ts';
import type { ChainedEvent, Digest } from '../../../src/ports/audit.ts';
import { createDigest } from '../../../src/ports/digest.ts';
import { realClock } from '../../../src/ports/real.ts';
import type { Clock } from '../../../src/ports/system.ts';
import { expectCode, take, type FullJournal } from '../../conformance/journal.ts';
import { eventOf, runOf } from '../../conformance/run-samples.ts';
import { OtherProcess, removeFolder, temporaryFolder } from '../sqlite-support.ts';

const plain = createDigest(null);
const keyed = createDigest('the audit key of these tests, long enough');
const otherKey = createDigest('another audit key of these tests, as long');
const digests = { plain, keyed };

type Hand = (database: DatabaseSync) => void;

describe('the audit trail in a SQLite journal', () => {
  const clock = createFakeClock();
  let folder: string;
  let files = 0;

  beforeAll(async () => {
    folder = await temporaryFolder();
    for (const name of ['plain', 'keyed'] as const) await write(join(folder, `${name}.db`), name);
  });

  afterAll(() => removeFolder(folder));

  async function withJournal<T>(
    path: string,
    digest: Digest,
    work: (journal: FullJournal) => Promise<T>,
    by: Clock = clock,
  ): Promise<T> {
    const journal = await createSqliteJournal({ path, clock: by, random: createSeededRandom(5), digest });
    try {
      return await work(journal);
    } finally {
      await journal.close();
    }
  }

  /** Ten runs of two secrets in turn, of which all but the newest ended one of each are pruned, and a live one. */
  async function write(path: string, name: keyof typeof digests): Promise<void> {
    await withJournal(path, digests[name], async (journal) => {
      const leases = { a: await take(journal, 'a'), b: await take(journal, 'b') };
      for (let index = 0; index < 10; index += 1) {
        const secret = index % 2 === 0 ? 'a' : 'b';
        const fresh = runOf(secret, `r-${String(index)}`);
        const events = ['started', 'step-entered', 'waiting'].map((word, at) =>
          eventOf(fresh, word, { at: index * 10 + at }),
        );
        const { run } = await journal.begin(fresh, events, leases[secret]);
        if (index < 9) await journal.save({ ...run, state: 'completed', endedAt: 1 }, [], leases[secret]);
        if (index === 7) expect(await journal.prune(1)).toBe(6);
        await journal.note(eventOf(run, 'reveal', { run: null, data: { who: 'ada', why: null } }));
      }
    });
  }

  /** The trail as somebody left it who had the file for a while. */
  async function after(
    hand: Hand,
    name: keyof typeof digests = 'plain',
    known: KnownHead | null = null,
  ): Promise<Audit> {
    const path = copied(name);
    by(hand, path);
    return withJournal(path, digests[name], (journal) => verifyAudit({ journal }, { known }));
  }

  function copied(name: string): string {
    files += 1;
    const path = join(folder, `${String(files)}.db`);
    copyFileSync(join(folder, `${name}.db`), path);
    return path;
  }

  function by(hand: Hand, path: string): void {
    const database = new DatabaseSync(path);
    database.exec('DROP TRIGGER no_older_event');
    hand(database);
    database.close();
  }

  function rows(name: string): readonly ChainedEvent[] {
    const database = new DatabaseSync(join(folder, `${name}.db`), { readOnly: true });
    const found = database.prepare('SELECT * FROM events ORDER BY id').all();
    database.close();
    return found as unknown as readonly ChainedEvent[];
  }

  /** Makes the chain anew from that event on, as whoever knows the rule can. */
  function relink(database: DatabaseSync, from: number): void {
    const all = database.prepare('SELECT * FROM events ORDER BY id').all() as unknown as ChainedEvent[];
    let before = all.findLast(({ id }) => id < from)?.hash ?? '';
    for (const event of all.filter(({ id }) => id >= from)) {
      before = linkOf(before, event, plain);
      database.prepare('UPDATE events SET hash = ? WHERE id = ?').run(before, event.id);
    }
    database.prepare('UPDATE audit_head SET hash = ?').run(before);
  }

  const kinds = (...found: FaultKind[]): readonly FaultKind[] => found;

  it.for(['plain', 'keyed'] as const)('is whole as it was written, pruned in its middle (%s)', async (name) => {
    const { fault, walk, head } = await after(() => undefined, name);
    expect(fault).toBeNull();
    expect(walk).toMatchObject({ events: rows(name).length, pruned: head.id - rows(name).length });
    expect(walk.pruned).toBeGreaterThan(10);
  });

  it.for(['plain', 'keyed'] as const)(
    'shows every change of one field of one event, and which one it is (%s)',
    async (name) => {
      const changes: Readonly<Record<string, (present: string | number | null) => SQLInputValue>> = {
        at: (at) => Number(at) + 1,
        secret: (secret) => `${String(secret)}x`,
        run: (run) => (run === null ? 'r-9' : null),
        step: (step) => (step === 'deploy' ? null : 'deploy'),
        event: () => 'something-else',
        message: (message) => `${String(message)} `,
        data: (data) => String(data).replace('{', '{ '),
        hash: (hash) => String(hash).replace(/^./, (first) => (first === '0' ? '1' : '0')),
        ...(name === 'keyed' ? { seal: () => null } : {}),
      };
      const anyRow = fc.constantFrom(...rows(name));
      await fc.assert(
        fc.asyncProperty(anyRow, fc.constantFrom(...Object.entries(changes)), async (row, [column, change]) => {
          const present = Object.entries(row).find(([key]) => key === column)?.[1] as string | number | null;
          const { fault } = await after((database) => {
            database.prepare(`UPDATE events SET ${column} = ? WHERE id = ?`).run(change(present), row.id);
          }, name);
          expect(fault).toMatchObject({ kind: 'changed', id: row.id, event: { id: row.id } });
          expect(fault?.message).toContain(`Event ${String(row.id)} `);
        }),
        { numRuns: 60 },
      );
    },
  );

  it.for(['plain', 'keyed'] as const)(
    'shows every removal, addition and exchange, and which one it is (%s)',
    async (name) => {
      const all = rows(name);
      const ids = all.map(({ id }) => id);
      const [first, last] = [ids[0] ?? 0, ids.at(-1) ?? 0];
      const place = fc.nat({ max: all.length - 1 });
      const set = 'SET (at, secret, run, step, event, message, data, hash, seal) =';
      const fields = '(SELECT at, secret, run, step, event, message, data, hash, seal FROM copy WHERE copy.id =';
      const copy = 'CREATE TEMP TABLE copy AS SELECT * FROM events;';
      /** The file in the hands of somebody, and what has to be told of it. */
      const deeds = {
        remove: fc.tuple(place, fc.integer({ min: 1, max: 3 })).map(([index, count]) => {
          const gone = ids.slice(index, index + count).filter((id, at) => id === (ids[index] ?? 0) + at);
          const [from, to] = [gone[0] ?? 0, gone.at(-1) ?? 0];
          const kind: FaultKind = to === last ? 'cut-off' : 'removed';
          return {
            sql: `DELETE FROM events WHERE id BETWEEN ${String(from)} AND ${String(to)}`,
            kinds: kinds(kind),
            id: from,
            lastId: to,
          };
        }),
        cutOff: place.map((index) => {
          const from = ids[index] ?? 0;
          // What was pruned behind it is still accounted for.
          const isEnd = ids.slice(index).every((id, at) => id === from + at);
          return {
            sql: `DELETE FROM events WHERE id >= ${String(from)}`,
            kinds: kinds(isEnd ? 'cut-off' : 'removed'),
            id: from,
            lastId: null,
          };
        }),
        addBehind: place.map((index) => ({
          sql: `INSERT INTO events SELECT ${String(last + 1)}, at, secret, run, step, event, message, data, hash, seal FROM events WHERE id = ${String(ids[index])}`,
          kinds: kinds('added'),
          id: last + 1,
          lastId: last + 1,
        })),
        addWhereWasPruned: place.map((index) => ({
          sql: `INSERT INTO events SELECT 2, at, secret, run, step, event, message, data, hash, seal FROM events WHERE id = ${String(ids[index])}`,
          kinds: kinds('added'),
          id: 2,
          lastId: 2,
        })),
        exchange: fc
          .tuple(place, place)
          .filter(([one, other]) => one < other)
          .map(([one, other]) => {
            const [a, b] = [String(ids[one]), String(ids[other])];
            const sql = `${copy} UPDATE events ${set} ${fields} ${b}) WHERE id = ${a}; UPDATE events ${set} ${fields} ${a}) WHERE id = ${b}`;
            return { sql, kinds: kinds('reordered'), id: ids[one] ?? 0, lastId: ids[other] ?? 0 };
          }),
      };
      expect(first).toBeGreaterThan(2);
      await fc.assert(
        fc.asyncProperty(fc.oneof(...Object.values(deeds)), async (deed) => {
          const { fault } = await after((database) => {
            database.exec(deed.sql);
          }, name);
          expect(deed.kinds, deed.sql).toContain(fault?.kind);
          expect(fault?.id, deed.sql).toBe(deed.id);
          if (deed.lastId !== null) expect(fault?.lastId, deed.sql).toBe(deed.lastId);
          expect(fault?.message).toContain(String(deed.id));
        }),
        { numRuns: 80 },
      );
    },
  );

  it.for(['plain', 'keyed'] as const)(
    'shows an event put in or taken out in its middle, with new numbers for the rest (%s)',
    async (name) => {
      const all = rows(name).map(({ id }) => id);
      const from = all.at(-6) ?? 0;
      const renumber = (by: number): string =>
        `UPDATE events SET id = -id WHERE id >= ${String(from)}; UPDATE events SET id = -id + ${String(by)} WHERE id < 0;`;
      const added = await after((database) => {
        database.exec(`${renumber(1)} INSERT INTO events SELECT ${String(from)}, at, secret, run, step, event, 'forged', data, hash, seal
        FROM events WHERE id = ${String(from + 1)}`);
      }, name);
      expect(added.fault).toMatchObject({ kind: 'added', id: from, event: { message: 'forged' } });
      const removed = await after((database) => {
        database.exec(`DELETE FROM events WHERE id = ${String(from)}; ${renumber(-1)}`);
      }, name);
      expect(removed.fault).toMatchObject({ kind: 'removed', id: from });
      const moved = await after((database) => {
        database.exec(`UPDATE events SET id = -1 WHERE id = ${String(from)}; UPDATE events SET id = id - 1 WHERE id IN (${String(from + 1)}, ${String(from + 2)});
        UPDATE events SET id = ${String(from + 2)} WHERE id = -1`);
      }, name);
      expect(moved.fault).toMatchObject({ kind: 'reordered', id: from, lastId: from + 2 });
    },
  );

  it.for(['plain', 'keyed'] as const)(
    'shows what is done to the record of what was pruned, and of the head (%s)',
    async (name) => {
      const pruned = async (sql: string): Promise<string | undefined> =>
        (
          await after((database) => {
            database.exec(sql);
          }, name)
        ).fault?.kind;
      expect(await pruned('DELETE FROM audit_pruned WHERE first_id = 1')).toBe('removed');
      for (const column of ['before', 'after', 'seal']) {
        expect(
          await pruned(`UPDATE audit_pruned SET ${column} = replace(${column}, substr(${column}, 9, 3), '000')`),
        ).toBe('removed');
      }
      expect(await pruned('UPDATE audit_pruned SET at = at + 1')).toBe('removed');
      expect(await pruned('UPDATE audit_pruned SET last_id = last_id + 1 WHERE first_id = 1')).toBe('removed');
      for (const change of ['id = id - 1', 'id = id + 1', "hash = 'x'", 'start = 1', "seal = 'x'"]) {
        expect(await pruned(`UPDATE audit_head SET ${change}`), change).toBe('head');
      }
      const gone = after((database) => {
        database.exec('DELETE FROM audit_head');
      }, name);
      expect((await expectCode(gone, 'journal-corrupt')).message).toContain('no head of its audit trail');
    },
  );

  it('shows a chain that was made anew: with a key by itself, without one by a head that was kept', async () => {
    const id = rows('plain').at(-5)?.id ?? 0;
    const forge: Hand = (database) => {
      database.exec(`UPDATE events SET message = 'Nothing was shown.' WHERE id = ${String(id)}`);
      relink(database, id);
    };
    const resealed: Hand = (database) => {
      forge(database);
      const [head] = database.prepare('SELECT * FROM audit_head').all();
      const { start, id: last, hash, sealed_from: from, key_id: key } = head ?? {};
      const seal = plain.seal(JSON.stringify(['head', start, last, hash, from, key]));
      database.prepare('UPDATE audit_head SET seal = ?').run(seal);
    };
    const kept = await after(() => undefined);
    expect((await after(resealed)).fault).toBeNull();
    expect((await after(resealed, 'plain', kept.head)).fault).toMatchObject({ kind: 'rewritten', id: kept.head.id });
    expect((await after(resealed, 'keyed')).fault?.kind).toBe('head');
    const keptHead: Hand = (database) => {
      forge(database);
      const { hash } = rows('keyed').at(-1)!;
      database.prepare('UPDATE audit_head SET hash = ?').run(hash);
    };
    expect((await after(keptHead, 'keyed')).fault).toMatchObject({ kind: 'changed', id });
  });

  it('shows an older copy that was put back, by a head that was kept', async () => {
    const before = await after(() => undefined, 'keyed');
    const path = copied('keyed');
    const later = await withJournal(path, keyed, async (journal) => {
      await journal.note(eventOf(runOf('a', 'r-9'), 'reveal', { run: null }));
      return (await verifyAudit({ journal }, { known: before.head })).head;
    });
    const { fault } = await after(() => undefined, 'keyed', later);
    expect(fault).toMatchObject({ kind: 'cut-off', id: later.id, lastId: later.id });
  });

  it('lets a pruning cover up nothing: what was changed so that it would be pruned leaves a hole', async () => {
    for (const name of ['plain', 'keyed'] as const) {
      const path = copied(name);
      const victim = rows(name).at(-2)?.id ?? 0;
      by((database) => {
        database.exec(`UPDATE events SET run = 'r-6' WHERE id = ${String(victim)}`);
      }, path);
      const { fault } = await withJournal(path, digests[name], async (journal) => {
        expect(await journal.prune(1)).toBeGreaterThan(0);
        return verifyAudit({ journal });
      });
      expect(fault).toMatchObject({ kind: 'removed', id: victim, lastId: victim });
    }
  });

  it('writes nothing with another key, without the one it is sealed with, or with one it is not sealed with', async () => {
    const event = eventOf(runOf('a', 'r-9'), 'reveal', { run: null });
    for (const [name, digest, words] of [
      [
        'keyed',
        otherKey,
        `is sealed with the key ${String(keyed.keyId)}, and the policy names the key ${String(otherKey.keyId)}.`,
      ],
      ['keyed', plain, 'is sealed with a key, and the policy names none.'],
      ['plain', keyed, 'is not sealed with the key that the policy names'],
    ] as const) {
      const path = copied(name);
      await withJournal(path, digest, async (journal) => {
        const count = (await journal.events({})).length;
        for (const refused of [journal.note(event), verifyAudit({ journal })]) {
          const error = await expectCode(refused, 'audit-key');
          expect(error.message).toContain(`The audit trail of`);
          expect(error.message).toContain(words);
          expect(error.message).toContain(path);
        }
        expect(await journal.events({})).toHaveLength(count);
      });
    }
  });

  it('is sealed from then on where a person says so, with all that was there before and the pruned ranges', async () => {
    for (const name of ['plain', 'keyed'] as const) {
      const path = copied(name);
      const audit = await withJournal(path, otherKey, async (journal) => {
        const parts = { journal, clock, who: 'ada@here' } as unknown as Parameters<typeof sealAudit>[0];
        expect(await sealAudit(parts, '*', 'the key is new')).toBe(otherKey.keyId);
        await journal.note(eventOf(runOf('a', 'r-9'), 'reveal', { run: null }));
        await journal.prune(1);
        return verifyAudit({ journal });
      });
      const sealedFrom = (rows(name).at(-1)?.id ?? 0) + 1;
      expect(audit.fault).toBeNull();
      expect(audit.head).toMatchObject({ sealedFrom, keyId: otherKey.keyId });
      // Before it no event has that seal, and none can be changed all the same.
      const old = rows(name).at(-2)?.id ?? 0;
      by((database) => {
        database.exec(`UPDATE events SET message = '' WHERE id = ${String(old)}`);
      }, path);
      const { fault } = await withJournal(path, otherKey, (journal) => verifyAudit({ journal }));
      expect(fault).toMatchObject({ kind: 'changed', id: old });
    }
  });

  it('stays whole where two processes append at once and a third one prunes', async () => {
    const path = join(folder, 'together.db');
    const writers = ['one', 'two'].map((word) => new OtherProcess('append', path, word, 60));
    const prune = async (journal: FullJournal): Promise<Audit> => {
      for (const writer of writers) await writer.ready();
      for (const writer of writers) writer.goOn();
      const done = Promise.all(writers.map((writer) => writer.answer())).then(() => true);
      for (let isOver = false; !isOver;) {
        await journal.prune(1);
        isOver = await Promise.race([done, realClock.sleep(1).then(() => false)]);
      }
      await journal.prune(1);
      return verifyAudit({ journal });
    };
    const { fault, walk, head } = await withJournal(path, plain, prune, realClock).finally(async () => {
      for (const writer of writers) await writer.kill();
    });
    expect(fault).toBeNull();
    expect(head.id).toBe(2 * 60 * 2);
    expect(walk).toMatchObject({ events: 2 * 2, pruned: 2 * 59 * 2 });
  });
});
