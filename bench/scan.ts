import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openDatabase, type DatabaseSync } from '../providers/sqlite.ts';
import { openOrchestrator, type OpenedOrchestrator } from '../providers/open.ts';
import { loadPolicy } from '../providers/policy-file.ts';
import type { Policy } from '../src/model/policy.ts';
import { realClock } from '../src/ports/real.ts';
import { atMost, compared, figure, grouped, median, type Bench, type BenchRow, type Unit } from './bench.ts';
import { Fleet, secretOf } from './fleet.ts';

const fleetSizes = [1_000, 10_000, 100_000];
const scanRounds = 4;
const processRounds = 3;

const journalSizes = [1_000, 10_000, 100_000, 1_000_000];
const statusRounds = 31;

/** How much more than ten times as much may come of ten times as many secrets, and still be called linear. */
const linear = 12;

/** How much slower a status may be by a journal that grew tenfold, and still be called flat. */
const flat = 1.25;

/**
 * What the cron job and `status` pay as a fleet and its journal grow: the real orchestrator over files and SQLite,
 * opened as the commands open it.
 */
export async function scanBench(): Promise<Bench> {
  const fleet = new Fleet({ rotating: false });
  try {
    const scans = await scanRows(fleet);
    return { name: 'scan', rows: [...scans, ...(await statusRows(fleet))] };
  } finally {
    fleet.remove();
  }
}

interface Cost {
  readonly wallMs: number;
  /** Of all threads of this process, so that what else the machine does is not in it. */
  readonly processorMs: number;
}

/** What stood in a row, for the next one to grow from. */
interface Before extends Cost {
  readonly of: string;
}

/**
 * How often a visit comes, ms, and how long the newest of what it recalls was seen before. The benchmark does not wait: it
 * makes what was seen older. From half an hour on the most keyrings are read again by each visit: a thirtieth of all.
 */
const visitEveryMs = 60_000;
const seenBeforeMs = 30 * 60_000;

/** The scan with nothing due: what is left to do every minute, whatever happens. */
async function scanRows(fleet: Fleet): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = [];
  let before: Before | null = null;
  for (const [index, count] of fleetSizes.entries()) {
    fleet.addKeyrings(fleetSizes[index - 1] ?? 0, count);
    const of = `${grouped(count)} secrets`;
    const begin = realClock.monotonic();
    const { policy } = await loadPolicy(fleet.writePolicy(count), {});
    rows.push(figure(`${of}, reading their policy`, ...inUnit(realClock.monotonic() - begin)));
    const [first, cost] = await withOrchestrator(policy, async ({ orchestrator }) => {
      const visit = async (): Promise<void> => {
        const visits = await orchestrator.run();
        const idle = visits.filter(({ kind }) => kind === 'idle').length;
        if (idle !== count) throw new Error(`${String(count - idle)} of ${of} were not idle`);
      };
      forgetSeen(fleet.journal);
      const reading = await costOf(visit);
      makeOlder(fleet.journal, seenBeforeMs);
      return [reading, await medianCost(scanRounds, visit, () => makeOlder(fleet.journal, visitEveryMs))];
    });
    rows.push(figure(`${of}, none due, a visit that reads all of them`, ...inUnit(first.wallMs)));
    rows.push(...processRows(of, fleet, count));
    rows.push(...growth(`${of}, none due`, cost, before, linear));
    if (count === 100_000) {
      const [value, unit] = inUnit(cost.wallMs);
      rows.push(atMost(`${of}, none due`, 1, { against: '1 s', ratio: cost.wallMs / 1_000, value, unit }));
    }
    before = { ...cost, of };
  }
  return rows;
}

/** One secret's status beside ever more events of its own and of others, from opening the journal to closing it. */
async function statusRows(fleet: Fleet): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = [];
  const { policy } = await loadPolicy(fleet.writePolicy(1_000), {});
  let before: Before | null = null;
  for (const [index, count] of journalSizes.entries()) {
    addEvents(fleet.journal, journalSizes[index - 1] ?? 0, count);
    const cost = await medianCost(statusRounds, () =>
      withOrchestrator(policy, ({ orchestrator }) => orchestrator.look(secretOf(7))),
    );
    const of = `${grouped(count)} events`;
    rows.push(...growth(`status of one secret, ${of}`, cost, before, flat));
    before = { ...cost, of };
  }
  return rows;
}

/** What it took by the clock, and of the processor, whose growth is judged: a busy machine does not show in it. */
function growth(name: string, now: Cost, before: Before | null, target: number): readonly BenchRow[] {
  const [value, unit] = inUnit(now.wallMs);
  const [processor, processorUnit] = inUnit(now.processorMs);
  if (before === null) return [figure(name, value, unit), figure(`${name}, processor`, processor, processorUnit)];
  const against = before.of;
  return [
    compared(name, { against, ratio: now.wallMs / before.wallMs, value, unit }),
    atMost(`${name}, processor`, target, {
      against,
      ratio: now.processorMs / before.processorMs,
      value: processor,
      unit: processorUnit,
    }),
  ];
}

function inUnit(ms: number): readonly [value: number, unit: Unit] {
  return ms < 1_000 ? [ms, 'ms'] : [ms / 1_000, 's'];
}

async function withOrchestrator<T>(policy: Policy, work: (opened: OpenedOrchestrator) => Promise<T>): Promise<T> {
  const opened = await openOrchestrator({ policy });
  try {
    return await work(opened);
  } finally {
    await opened.close();
  }
}

/** Lets what visits saw be of so much earlier. */
function makeOlder(journal: string, byMs: number): void {
  withJournal(journal, (database) => {
    database.prepare('UPDATE sightings SET seen_at = seen_at - ?, good_until = good_until - ?').run(byMs, byMs);
  });
}

function forgetSeen(journal: string): void {
  withJournal(journal, (database) => {
    database.exec('DELETE FROM sightings');
  });
}

function withJournal(path: string, work: (database: DatabaseSync) => void): void {
  const database = openDatabase({ path, mode: 0o600, timeoutMs: 5_000 });
  try {
    work(database);
  } finally {
    database.close();
  }
}

/** The whole process of `keyturn run`, from its start to its end, with the policy to read. */
function processRows(of: string, fleet: Fleet, count: number): readonly BenchRow[] {
  const command = fileURLToPath(new URL('../bin/keyturn.ts', import.meta.url));
  const args = [command, 'run', '--quiet', '--policy', fleet.writePolicy(count)];
  const walls: number[] = [];
  for (let round = 0; round < processRounds; round += 1) {
    makeOlder(fleet.journal, visitEveryMs);
    const begin = realClock.monotonic();
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`keyturn run ended with ${String(status)}: ${stderr}`);
    walls.push(realClock.monotonic() - begin);
  }
  return [figure(`${of}, none due, the whole process of keyturn run`, ...inUnit(median(walls)))];
}

/** The medians of several rounds but the first, which fills the caches. */
async function medianCost(
  rounds: number,
  work: () => Promise<unknown>,
  before: () => void = () => undefined,
): Promise<Cost> {
  const costs: Cost[] = [];
  for (let round = 0; round < rounds; round += 1) {
    before();
    costs.push(await costOf(work));
  }
  const counted = costs.slice(1);
  return {
    wallMs: median(counted.map(({ wallMs }) => wallMs)),
    processorMs: median(counted.map(({ processorMs }) => processorMs)),
  };
}

async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  const begin = realClock.monotonic();
  const processor = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(processor);
  return { wallMs: realClock.monotonic() - begin, processorMs: (user + system) / 1_000 };
}

/** Events as runs append them, a hundred for each run. */
function addEvents(path: string, from: number, to: number): void {
  const database = openDatabase({ path, mode: 0o600, timeoutMs: 5_000 });
  const insert = database.prepare(
    'INSERT INTO events (at, secret, run, step, event, message, data, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  );
  // As long as one of theirs.
  const hash = '0'.repeat(64);
  database.exec('BEGIN IMMEDIATE');
  for (let index = from; index < to; index += 1) {
    const run = Math.floor(index / 100);
    insert.run(
      realClock.now(),
      secretOf(run % 1_000),
      `r${String(run)}`,
      'monitor',
      'step-entered',
      'Watching until the old version is no longer used.',
      JSON.stringify({ from: 'v1', to: 'v2', since: index }),
      hash,
    );
  }
  database.exec('COMMIT');
  database.close();
}
