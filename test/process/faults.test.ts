import { mkdirSync, readFileSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { traceLines, World, type CliOptions } from './support/world.ts';

/** What befalls the files of a run that watches the old version, while a receiver and its traffic go on. */
interface Fault {
  readonly name: string;
  /** Returns what mends it. */
  readonly strike: (world: World, before: string) => () => void;
  readonly options?: CliOptions;
  readonly exit: number;
  readonly says: RegExp;
  readonly suggests: RegExp;
}

const keyringOf = (world: World): string => join(world.folder, '.keyturn/secrets/hook.json');
const journalOf = (world: World): string => join(world.folder, '.keyturn/journal.db');
const usageOf = (world: World): string => join(world.folder, '.keyturn/usage/usage.db');

/** The document is another one from one moment to the next, and then the right one again. */
function replacedBy(content: (right: string, before: string) => string): Fault['strike'] {
  return (world, before) => {
    const path = keyringOf(world);
    const right = readFileSync(path, 'utf8');
    const put = (text: string): void => {
      writeFileSync(`${path}.put`, text, { mode: 0o600 });
      renameSync(`${path}.put`, path);
    };
    put(content(right, before));
    return () => put(right);
  };
}

function movedAway(pathOf: (world: World) => string, inItsPlace: 'nothing' | 'a folder'): Fault['strike'] {
  return (world) => {
    const path = pathOf(world);
    renameSync(path, `${path}.away`);
    if (inItsPlace === 'a folder') mkdirSync(path);
    return () => {
      if (inItsPlace === 'a folder') rmdirSync(path);
      renameSync(`${path}.away`, path);
    };
  };
}

/** By a connection that stays open until it is mended. */
function inJournal(strike: (journal: DatabaseSync) => string): Fault['strike'] {
  return (world) => {
    const journal = new DatabaseSync(journalOf(world), { timeout: 10_000 });
    const mends = strike(journal);
    return () => {
      journal.exec(mends);
      journal.close();
    };
  };
}

const faults: readonly Fault[] = [
  {
    name: 'the keyring is removed',
    strike: movedAway(keyringOf, 'nothing'),
    exit: 5,
    says: /^ {2}keyring: The keyring of hook was there at revision \d+ and is gone from the store\./m,
    suggests: /Restore its document/,
  },
  {
    name: 'the keyring is cut off in the middle',
    strike: replacedBy((right) => right.slice(0, right.length / 2)),
    exit: 1,
    says: /^ {2}store: The keyring of hook in .*hook\.json cannot be used: /m,
    suggests: /Restore it from a backup/,
  },
  {
    name: 'the keyring is one of before the rotation',
    strike: replacedBy((_, before) => before),
    exit: 5,
    says: /^ {2}keyring: .*the store was put back to an older state/m,
    suggests: /Restore the newest document/,
  },
  {
    name: 'somebody edits a stage by hand that there is not',
    strike: replacedBy((right) => right.replace('"deprecated"', '"old"')),
    exit: 1,
    says: /^ {2}store: The keyring of hook in .*hook\.json cannot be used: .*stage/m,
    suggests: /Restore it from a backup/,
  },
  {
    name: 'somebody takes out the primary by hand',
    strike: replacedBy((right) => {
      const { versions, ...rest } = JSON.parse(right) as { versions: readonly { stage: string }[]; revision: number };
      return JSON.stringify({ ...rest, versions: versions.filter(({ stage }) => stage === 'deprecated') });
    }),
    exit: 1,
    says: /^ {2}store: .* cannot be used: it has a deprecated version and no primary one\./m,
    suggests: /Restore it from a backup/,
  },
  {
    name: 'the journal is locked by another process',
    strike: inJournal((journal) => {
      journal.exec('BEGIN IMMEDIATE');
      return 'ROLLBACK';
    }),
    exit: 1,
    says: /^keyturn: The journal .*journal\.db is locked by another process\.$/m,
    suggests: /Try again.*fuser -v/,
  },
  {
    name: 'the journal is of a newer version',
    strike: inJournal((journal) => {
      const right = journal.prepare('PRAGMA user_version').get()?.['user_version'];
      journal.exec('PRAGMA user_version = 99');
      return `PRAGMA user_version = ${String(right)}`;
    }),
    exit: 1,
    says: /^keyturn: The journal .*journal\.db has format 99; this version of keyturn reads up to \d+\.$/m,
    suggests: /Update keyturn/,
  },
  {
    name: 'the journal’s disk is full',
    strike: () => () => undefined,
    options: { preload: fileURLToPath(new URL('support/full-disk.ts', import.meta.url)) },
    exit: 1,
    says: /^keyturn: The journal .*journal\.db cannot be written: the disk is full\.$/m,
    suggests: /Free some space: df -h/,
  },
  {
    name: 'the usage log cannot be reached',
    strike: movedAway(usageOf, 'a folder'),
    exit: 0,
    says: /^ {2}usage-log: The usage log cannot be read, so nothing is known of the receivers: /m,
    suggests: /usage\.db/,
  },
];

const rows: string[] = [];

afterAll(() => {
  process.stdout.write(`\nFaults: what is seen, and what becomes of the run\n${rows.toSorted().join('\n')}\n\n`);
});

describe.concurrent('a run goes on when it is mended that', { timeout: 240_000 }, () => {
  it.for(faults.map((fault) => [fault.name, fault] as const))(
    '%s; nothing is refused meanwhile (I1 I2 I8)',
    async ([name, { strike, options, exit, says, suggests }], { onTestFinished }) => {
      const world = await World.open(onTestFinished);
      const { receiver } = await world.begin();
      const before = readFileSync(keyringOf(world), 'utf8');
      await world.killIn('monitor');
      const mend = strike(world, before);
      const struck = await world.run(['rotate', 'hook', '--lock-timeout', '1s'], options);
      expect(struck.code, struck.all).toBe(exit);
      expect(struck.all).toMatch(says);
      expect(struck.all).toMatch(suggests);
      expect(traceLines(struck.all)).toEqual([]);
      await world.moreDeliveries(20);
      mend();
      const done = await world.run(['rotate', 'hook', '--wait']);
      expect(done.code, done.all).toBe(0);
      expect(world.runs()).toMatchObject([{ state: 'completed' }]);
      expect(world.keyring().versions.map(({ stage }) => stage)).toEqual(['revoked', 'primary']);
      await world.moreDeliveries(5);
      expect(world.refusals()).toEqual({});
      expect(receiver.process.hasEnded()).toBe(false);
      expect(world.traces()).toEqual([]);
      const [line = ''] = says.exec(struck.all)?.[0].trim().split('\n') ?? [];
      rows.push(`${name.padEnd(50)} exit ${String(exit)}  completed, 0 refused  ${line}`);
    },
  );
});
