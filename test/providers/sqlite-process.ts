import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createSqliteJournal } from '../../providers/journals/sqlite.ts';
import { localProcesses } from '../../providers/processes.ts';
import { openDatabase } from '../../providers/sqlite.ts';
import { createSqliteUsageLog } from '../../providers/usage/sqlite.ts';
import { isKeyturnError } from '../../src/model/errors.ts';
import { realClock as clock, realRandom as random } from '../../src/ports/real.ts';
import { reportOf, secretOf, useOf } from '../conformance/report-samples.ts';
import { eventOf, runOf } from '../conformance/run-samples.ts';

/**
 * A process of its own for tests of what several do to one file. It says each answer as one line of JSON and does what
 * `argv` names; where it says `ready`, it waits for a line from the test. What it opened it closes before its last
 * answer, because closing takes locks.
 */

const input = createInterface({ input: process.stdin });
const [act = '', path = '', ...rest] = process.argv.slice(2);

function say(answer: unknown): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function ready(): Promise<void> {
  say('ready');
  await once(input, 'line');
}

/** Keeps the write lock until it is told to give it up. */
async function lock(): Promise<void> {
  const database = openDatabase({ path, mode: 0o600, timeoutMs: 5_000 });
  database.exec('BEGIN IMMEDIATE');
  await ready();
  database.exec('ROLLBACK');
  database.close();
  say('done');
}

/** Acquires leases that other processes want at the same time, and begins runs, as if each had the lease on the secret. */
async function race(name: string, count: number): Promise<void> {
  const journal = await createSqliteJournal({ path, clock, random });
  await ready();
  const leases: string[] = [];
  const begun: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const wanted = await journal.acquire(`lease-${String(index)}`, { name, process: null }, 60_000);
    if ('lease' in wanted) leases.push(wanted.lease.name);
    const run = runOf(`secret-${String(index)}`, `${name}-${String(index)}`);
    const lease = await journal.read(run.secret);
    if (lease === null) throw new Error(`the test has no lease on ${run.secret}`);
    const { joined } = await journal.begin(run, [eventOf(run, 'started')], lease);
    if (!joined) begun.push(run.secret);
  }
  await journal.close();
  say({ leases, begun });
}

/** Holds a lease until it is told to go on; then it says what came of renewing it. */
async function holdLease(ttlMs: number): Promise<void> {
  const journal = await createSqliteJournal({ path, clock, random });
  const answer = await journal.acquire('hook', { name: 'the first one', process: localProcesses().self() }, ttlMs);
  if ('busy' in answer) throw new Error('nobody else asks for this lease yet');
  say(answer);
  await once(input, 'line');
  const renewed = await journal.renew(answer.lease, ttlMs).catch((error: unknown) => error);
  await journal.close();
  say({ code: isKeyturnError(renewed) ? renewed.code : null });
}

/** Writes as often as it can, from one line of the test to the next; says how often it could. */
async function writeOn(): Promise<void> {
  const journal = await createSqliteJournal({ path, clock, random });
  const answer = await journal.acquire('busy', { name: 'the busy one', process: null }, 60_000);
  if ('busy' in answer) throw new Error('nobody else asks for this lease');
  await ready();
  const stopped = once(input, 'line').then(() => true);
  let writes = 0;
  for (let isOver = false; !isOver; writes += 1) {
    await journal.renew(answer.lease, 60_000);
    isOver = await Promise.race([stopped, clock.sleep(1).then(() => false)]);
  }
  await journal.close();
  say({ writes });
}

/** Begins and ends runs of a secret of its own, one after the other, each with two events. */
async function append(secret: string, count: number): Promise<void> {
  const journal = await createSqliteJournal({ path, clock, random });
  const answer = await journal.acquire(secret, { name: secret, process: null }, 60_000);
  if ('busy' in answer) throw new Error('nobody else asks for this lease');
  await ready();
  for (let index = 0; index < count; index += 1) {
    const fresh = runOf(secret, `${secret}-${String(index)}`);
    const { run } = await journal.begin(fresh, [eventOf(fresh, 'started')], answer.lease);
    await journal.save({ ...run, state: 'completed', endedAt: 1 }, [eventOf(run, 'completed')], answer.lease);
  }
  await journal.close();
  say('done');
}

/** Takes a name that looks like the rest of its line in /proc, and says who it is. */
async function beOdd(): Promise<void> {
  writeFileSync('/proc/self/comm', ') Z 1 (2) x');
  say({ self: localProcesses().self(), stat: readFileSync('/proc/self/stat', 'utf8') });
  await ready();
}

/** Reports as often as it is told; `busy` counts what would come with the next flush. */
async function report(instance: string, group: string | null, times: number): Promise<void> {
  const log = createSqliteUsageLog({ path, group, clock });
  await ready();
  let [arrived, busy] = [0, 0];
  for (let count = 1; count <= times; count += 1) {
    try {
      await log.report(reportOf(instance, { uptimeMs: count, secrets: [secretOf('hook', [useOf('v1', count, 0)])] }));
      arrived += 1;
    } catch (error) {
      if (!isKeyturnError(error, 'usage-busy')) throw error;
      busy += 1;
      count -= 1;
      await clock.sleep(1);
    }
  }
  await log.close();
  say({ arrived, busy });
}

/** Becomes another user, opens the journal and writes to it: says how that was refused. */
async function openAs(uid: number): Promise<void> {
  process.setgroups?.([]);
  process.setgid?.(uid);
  process.setuid?.(uid);
  const written = createSqliteJournal({ path, clock, random }).then(async (journal) =>
    journal.acquire('hook', { name: 'another user', process: null }, 1),
  );
  const error = await written.catch((thrown: unknown) => thrown);
  if (!isKeyturnError(error)) throw new Error('it was written, or not refused on purpose', { cause: error });
  say({ code: error.code, message: error.message, hint: error.hint });
}

/** Becomes another user who shares only the group, under a umask that takes the group's rights away. */
async function reportAs(uid: number, gid: number): Promise<void> {
  process.umask(0o077);
  process.setgroups?.([gid]);
  process.setgid?.(uid);
  process.setuid?.(uid);
  await report(`of user ${String(uid)}`, String(gid), 3);
}

const numbers = rest.map(Number);

switch (act) {
  case 'lock':
    await lock();
    break;
  case 'race':
    await race(rest[0] ?? '', numbers[1] ?? 0);
    break;
  case 'hold-lease':
    await holdLease(numbers[0] ?? 0);
    break;
  case 'write-on':
    await writeOn();
    break;
  case 'append':
    await append(rest[0] ?? '', numbers[1] ?? 0);
    break;
  case 'be-odd':
    await beOdd();
    break;
  case 'report':
    await report(rest[0] ?? '', null, numbers[1] ?? 0);
    break;
  case 'open-as':
    await openAs(numbers[0] ?? 0);
    break;
  case 'report-as':
    await reportAs(numbers[0] ?? 0, numbers[1] ?? 0);
    break;
  default:
    throw new Error(`unknown act ${act}`);
}
input.close();
