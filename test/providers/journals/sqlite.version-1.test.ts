import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSqliteJournal } from '../../../providers/journals/sqlite.ts';
import { openDatabase, type DatabaseSync } from '../../../providers/sqlite.ts';
import { verifyAudit } from '../../../src/orchestrator/audit.ts';
import { createFakeClock, createSeededRandom } from '../../../src/memory/clock.ts';
import { expectCode, take, ttlMs, type FullJournal } from '../../conformance/journal.ts';
import { eventOf, holderOf, policyOf, runOf } from '../../conformance/run-samples.ts';
import { removeFolder, temporaryFolder } from '../sqlite-support.ts';

const now = 1_767_225_600_000;

/** What keyturn 0.1.0 froze into a run. */
const policy = `{
  "secret": "hook", "name": "hook", "environment": null, "tenant": null, "owner": null, "direction": "inbound",
  "store": "main", "key": "keys/hook", "generate": { "bytes": 32, "encoding": "base64url", "prefix": "" },
  "scheme": "github", "rotateEveryMs": null,
  "receivers": {
    "pools": { "web": { "expect": 2 } },
    "reportEveryMs": 10000, "missingAfterMs": 600000, "refreshEveryMs": 60000
  },
  "gates": { "graceMs": 0, "quietMs": 60000 },
  "mode": "push",
  "upstream": {
    "kind": "http", "allowHosts": ["upstream.example"], "credentials": { "token": { "env": "UPSTREAM_TOKEN" } },
    "capabilities": {
      "valueOrigin": "ours", "activation": "on-push", "overlap": "none", "dualSigned": false,
      "retriesResigned": "no", "retryHorizonMs": 0, "redelivers": true, "idempotent": true
    },
    "steps": {
      "activate": {
        "method": "PUT", "url": "https://upstream.example/hook",
        "headers": { "authorization": "Bearer {{credential.token}}" }, "json": { "secret": "{{new}}" },
        "form": null, "body": null, "expect": [200], "retryOn": [], "timeoutMs": 10000
      }
    }
  }
}`;

function runText(id: string, state: string, endedAt: number | null, intents: string): string {
  return `{
    "id": "${id}", "secret": "hook", "kind": "rotation", "state": "${state}", "step": "update", "reason": "a test",
    "startedBy": "ada", "startedAt": ${String(now)}, "endedAt": ${String(endedAt)}, "from": "v1", "to": "v2",
    "policy": ${policy}, "revision": 3, "intents": ${intents}, "changes": 4
  }`;
}

function intentText(effect: string): string {
  return `{ "id": "i-${effect}", "effect": "${effect}", "token": 6, "at": ${String(now)},
    "deadline": ${String(now + 7_000)}, "result": null }`;
}

const effects = ['generate', 'reclaim', 'activate', 'promote', 'reassert', 'revoke', 'purge', 'withdraw'];
const liveText = runText('r-2', 'live', null, `[${effects.map(intentText).join(', ')}]`);

const schema = `
  PRAGMA application_id = 1802783281;
  CREATE TABLE journal (id TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT;
  CREATE TABLE runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, secret TEXT NOT NULL, state TEXT NOT NULL,
    changes INTEGER NOT NULL, document TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX one_live_run_per_secret ON runs (secret) WHERE state = 'live';
  CREATE INDEX live_runs ON runs (state) WHERE state = 'live';
  CREATE INDEX runs_by_secret ON runs (secret);
  CREATE TABLE moves (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL REFERENCES runs (id), document TEXT NOT NULL
  ) STRICT;
  CREATE INDEX moves_by_run ON moves (run);
  CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, secret TEXT NOT NULL, run TEXT, step TEXT,
    event TEXT NOT NULL, message TEXT NOT NULL, data TEXT NOT NULL
  ) STRICT;
  CREATE INDEX events_by_secret ON events (secret);
  CREATE INDEX events_by_run ON events (run);
  CREATE TABLE leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, acquired_at INTEGER NOT NULL,
    stamped_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, released INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = 1;
`;

const content = `
  INSERT INTO journal VALUES ('j0123456789@here', ${String(now)});
  INSERT INTO runs (id, secret, state, changes, document) VALUES
    ('r-1', 'hook', 'aborted', 4, '${runText('r-1', 'aborted', now + 1, '[]')}'),
    ('r-2', 'hook', 'live', 4, '${liveText}');
  INSERT INTO moves (run, document) VALUES
    ('r-1', '{ "kind": "abort", "who": "grace", "why": "not today", "at": ${String(now)} }'),
    ('r-2', '{ "kind": "confirm", "who": "ada", "why": null, "at": ${String(now)} }');
  INSERT INTO events (at, secret, run, step, event, message, data) VALUES
    (${String(now)}, 'hook', 'r-2', 'generate', 'started', 'It is started.', '{"to":"v2","list":[1,"two",null]}');
  INSERT INTO leases VALUES ('hook', 'ada@here, process 7', 6, ${String(now)}, ${String(now)}, ${String(now + ttlMs)}, 0);
`;

describe('a journal that keyturn 0.1.0 wrote', () => {
  let folder: string;
  let path: string;
  const clock = createFakeClock(now);
  const opened: FullJournal[] = [];
  const databases: DatabaseSync[] = [];

  beforeEach(async () => {
    folder = await temporaryFolder();
    path = join(folder, 'state', 'journal.db');
    write(schema + content);
  });

  afterEach(async () => {
    for (const journal of opened.splice(0)) await journal.close();
    for (const database of databases.splice(0)) database.close();
    await removeFolder(folder);
  });

  /** What a process of that version does to the file, which has it open until the end. */
  function write(sql: string): DatabaseSync {
    const database = openDatabase({ path, mode: 0o600, timeoutMs: 0 });
    databases.push(database);
    database.exec(sql);
    return database;
  }

  async function open(): Promise<FullJournal> {
    const journal = await createSqliteJournal({ path, clock, random: createSeededRandom(1) });
    opened.push(journal);
    return journal;
  }

  it('is read as if it had been written today, with what held then', async () => {
    const journal = await open();
    expect(journal.id).toBe('j0123456789@here');
    const told = ['activate', 'reassert'];
    const common = { step: 'update', policy: policyOf('hook'), changes: 4 } as const;
    const move = { step: 'deploy', check: null, at: now } as const;
    expect(await journal.runs({})).toEqual([
      runOf('hook', 'r-2', {
        ...common,
        intents: effects.map((effect) => ({
          id: `i-${effect}`,
          effect: effect as 'activate',
          version: told.includes(effect) ? 'v2' : null,
          token: 6,
          at: now,
          deadline: now + 7_000,
          result: null,
        })),
        moves: [{ ...move, kind: 'confirm', who: 'ada', why: null }],
      }),
      runOf('hook', 'r-1', {
        ...common,
        state: 'aborted',
        endedAt: now + 1,
        moves: [{ ...move, kind: 'abort', who: 'grace', why: 'not today' }],
      }),
    ]);
    expect(await journal.events({})).toEqual([{ ...eventOf({ id: 'r-2', secret: 'hook' }, 'started'), id: 1 }]);
  });

  it('goes on: the lease stays with its holder, and the run is saved by the next one', async () => {
    const journal = await open();
    const other = await open();
    const record = { holder: 'ada@here, process 7', token: 6, held: true, process: null };
    expect(await journal.acquire('hook', holderOf('the next one'), ttlMs)).toMatchObject({ busy: record });
    await journal.release((await journal.read('hook'))!);
    const lease = await take(other, 'hook', 'the next one');
    expect(lease.token).toBe(7);
    const [run] = await other.runs({ secret: 'hook', live: true });
    const saved = await other.save({ ...run!, step: 'monitor' }, [eventOf(run!, 'seen')], lease);
    expect(await journal.runs({ live: true })).toEqual([saved]);
    expect((await journal.events({})).map((event) => event.id)).toEqual([1, 2]);
    expect(await other.prune(1)).toBe(0);
  });

  it('is brought up to date once, whoever opens it first', async () => {
    const journals = await Promise.all(Array.from({ length: 4 }, open));
    const [first, ...others] = await Promise.all(journals.map((journal) => journal.runs({})));
    for (const runs of others) expect(runs).toEqual(first);
    expect(databases[0]?.prepare('PRAGMA user_version').get()).toEqual({ user_version: 4 });
  });

  it('takes no run any more from a process of that version which still has it open', async () => {
    const older = databases[0]!;
    const save = older.prepare('UPDATE runs SET state = ?, changes = ?, document = ? WHERE id = ?');
    const begin = older.prepare('INSERT INTO runs (id, secret, state, changes, document) VALUES (?, ?, ?, ?, ?)');
    save.run('live', 5, liveText, 'r-2');
    const journal = await open();
    const before = await journal.runs({});
    expect(() => save.run('live', 6, liveText, 'r-2')).toThrow('a newer version of keyturn has opened this journal');
    expect(() => begin.run('r-3', 'other', 'live', 0, liveText)).toThrow('start this process again with it');
    expect(await journal.runs({})).toEqual(before);
  });

  it('begins its chain of events behind those that are there, and takes none any more that is not chained', async () => {
    const older = databases[0]!;
    const note = older.prepare(
      "INSERT INTO events (at, secret, event, message, data) VALUES (1, 'hook', 'x', 'y', '{}')",
    );
    note.run();
    const journal = await open();
    expect(() => note.run()).toThrow('a newer version of keyturn has opened this journal');
    const begun = await verifyAudit({ journal });
    expect(begun).toMatchObject({ fault: null, head: { start: 2, id: 2 }, walk: { events: 0 } });
    await journal.note(eventOf({ id: 'r-2', secret: 'hook' }, 'seen'));
    const { fault, head, walk } = await verifyAudit({ journal }, { known: begun.head });
    expect([fault, head.start, head.id, walk.events, walk.known]).toEqual([null, 2, 3, 1, 'found']);
    write('UPDATE events SET at = 7 WHERE id = 3');
    expect((await verifyAudit({ journal })).fault).toMatchObject({ kind: 'changed', id: 3 });
  });

  it('stays as it is where a document in it is damaged', async () => {
    write("UPDATE runs SET document = '{' WHERE id = 'r-1'");
    await expectCode(open(), 'journal-corrupt');
    expect(databases[0]?.prepare('PRAGMA user_version').get()).toEqual({ user_version: 1 });
    expect(databases[0]?.prepare("SELECT document FROM runs WHERE id = 'r-2'").get()).toEqual({ document: liveText });
  });
});
