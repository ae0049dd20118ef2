import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FakeClock } from '../../src/memory/clock.ts';
import { isKeyturnError, type KeyturnError, type ErrorCode } from '../../src/model/errors.ts';
import type { Intent, PersonMove } from '../../src/model/run.ts';
import type { Run } from '../../src/model/run.ts';
import { verifyAudit, type Audit } from '../../src/orchestrator/audit.ts';
import type { Digest } from '../../src/ports/audit.ts';
import { createDigest } from '../../src/ports/digest.ts';
import type { Journal, Lease, LeaseRecord, Leases, NewEvent } from '../../src/ports/journal.ts';
import { eventOf, farProcess, holderOf, runOf } from './run-samples.ts';
import { describeSightings } from './sightings.ts';

export type FullJournal = Journal & Leases;

/** A fresh, empty journal and the clock that it goes by. */
export interface JournalPlace {
  readonly clock: FakeClock;
  /** Another opening of the same journal, as another process would make one. */
  journal(): Promise<FullJournal>;
  close?(): Promise<void>;
}

export interface JournalSuite {
  /** By default its audit trail has no key. */
  open(digest?: Digest): Promise<JournalPlace>;
}

export const ttlMs = 60_000;

export async function take(leases: Leases, name: string, holder = 'worker-1'): Promise<Lease> {
  const answer = await leases.acquire(name, holderOf(holder), ttlMs);
  if ('busy' in answer) throw new Error(`${name} is held by ${answer.busy.holder}`);
  return answer.lease;
}

export async function errorOf(promise: Promise<unknown>): Promise<KeyturnError> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (isKeyturnError(error)) return error;
  throw new Error('no error of keyturn was thrown', { cause: error });
}

/** Fails unless it fails with this code, and with words that tell a person what to do. */
export async function expectCode(promise: Promise<unknown>, code: ErrorCode): Promise<KeyturnError> {
  const error = await errorOf(promise);
  expect(error.code).toBe(code);
  expect(error.message).toMatch(/\.$/);
  expect(error.hint).not.toBeNull();
  return error;
}

const abort: PersonMove = {
  kind: 'abort',
  step: 'deploy',
  check: null,
  who: 'grace',
  why: 'wrong secret',
  at: 1_767_225_600_000,
};

const intent: Intent = {
  id: 'i-1',
  effect: 'activate',
  version: 'v2',
  token: 1,
  at: 1_767_225_600_000,
  deadline: 1_767_225_610_000,
  result: null,
};

/** What every journal must do. Each test opens it twice: nothing may depend on what one process remembers. */
export function describeJournal(name: string, suite: JournalSuite): void {
  describe(`journal: ${name}`, () => {
    let place: JournalPlace;
    let journal: FullJournal;
    let other: FullJournal;

    beforeEach(async () => {
      place = await suite.open();
      journal = await place.journal();
      other = await place.journal();
    });

    afterEach(async () => {
      await journal.close();
      await other.close();
      await place.close?.();
    });

    describeRuns(() => ({ place, journal, other }));
    describeSupersede(() => ({ place, journal, other }));
    describeEvents(() => ({ place, journal, other }));
    describePrune(() => ({ place, journal, other }));
    describeLeases(() => ({ place, journal, other }));
    describe('sightings', () => {
      describeSightings(() => ({ journal, other }));
    });
    describeAudit(() => ({ place, journal, other }), suite);
    describeProbe(() => ({ place, journal, other }));
  });
}

type Opened = () => { readonly place: JournalPlace; readonly journal: FullJournal; readonly other: FullJournal };

function describeRuns(opened: Opened): void {
  it('has one id and a label, however it is opened', () => {
    const { journal, other } = opened();
    expect(journal.id).not.toBe('');
    expect(other.id).toBe(journal.id);
    expect(journal.label).not.toBe('');
  });

  it('keeps a run as it was begun', async () => {
    const { journal, other } = opened();
    const run = runOf('hook', 'r-1', { intents: [intent], from: null, kind: 'first' });
    const began = await journal.begin(run, [eventOf(run, 'started')], await take(journal, 'hook'));
    expect(began).toEqual({ run, joined: false });
    expect(await other.runs({ id: 'r-1' })).toEqual([run]);
  });

  it('I3: joins the live run instead of starting a second one', async () => {
    const { journal, other } = opened();
    const run = runOf('hook', 'r-1');
    const lease = await take(journal, 'hook');
    await journal.begin(run, [eventOf(run, 'started')], lease);
    const second = runOf('hook', 'r-2');
    const joined = await other.begin(second, [eventOf(second, 'started')], lease);
    expect(joined).toEqual({ run, joined: true });
    expect(await other.runs({})).toEqual([run]);
    expect(await other.events({})).toHaveLength(1);
  });

  it('I3: lets exactly one of many simultaneous starts win', async () => {
    const { journal, other } = opened();
    const lease = await take(journal, 'hook');
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => {
        const run = runOf('hook', `r-${String(index)}`);
        return (index % 2 === 0 ? journal : other).begin(run, [eventOf(run, 'started')], lease);
      }),
    );
    expect(answers.filter((answer) => !answer.joined)).toHaveLength(1);
    expect(new Set(answers.map((answer) => answer.run.id)).size).toBe(1);
  });

  it('starts another run once the first has ended, but never under an id that was used', async () => {
    const { journal } = opened();
    const lease = await take(journal, 'hook');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
    await journal.save({ ...run, state: 'completed', endedAt: 1_767_225_600_001 }, [], lease);
    await expectCode(journal.begin(runOf('hook', 'r-1'), [], lease), 'wrong-state');
    expect((await journal.begin(runOf('hook', 'r-2'), [], lease)).joined).toBe(false);
  });

  it('saves a run, counts the change, and returns what it stored', async () => {
    const { journal, other } = opened();
    const lease = await take(journal, 'hook');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
    const saved = await journal.save({ ...run, step: 'update', intents: [intent] }, [eventOf(run, 'pushed')], lease);
    expect(saved).toEqual({ ...run, step: 'update', intents: [intent], changes: 1 });
    expect(await other.runs({ secret: 'hook', live: true })).toEqual([saved]);
    expect((await other.events({})).map((event) => event.event)).toEqual(['pushed']);
  });

  it('refuses a write that does not know of an earlier one, and writes none of it', async () => {
    const { journal, other } = opened();
    const lease = await take(journal, 'hook');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
    const saved = await journal.save({ ...run, step: 'deploy' }, [], lease);
    const error = await expectCode(other.save({ ...run, step: 'revoke' }, [eventOf(run, 'lost')], lease), 'lease-lost');
    expect(error.message).toContain('r-1');
    expect(await journal.runs({})).toEqual([saved]);
    expect(await journal.events({})).toEqual([]);
  });

  it('refuses every write without the lease: never had, given back, run out, taken by another', async () => {
    const { place, journal, other } = opened();
    const never: Lease = { name: 'hook', holder: 'nobody', token: 1, expiresAt: Number.MAX_SAFE_INTEGER };
    await expectCode(journal.begin(runOf('hook', 'r-1'), [], never), 'lease-lost');

    const returned = await take(journal, 'hook');
    await journal.release(returned);
    await expectCode(journal.begin(runOf('hook', 'r-1'), [], returned), 'lease-lost');

    const late = await take(journal, 'hook');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [], late);
    await place.clock.advance(ttlMs);
    await expectCode(journal.save({ ...run, step: 'deploy' }, [eventOf(run, 'lost')], late), 'lease-lost');

    const taken = await take(other, 'hook', 'worker-2');
    const error = await expectCode(
      journal.save({ ...run, step: 'deploy' }, [eventOf(run, 'lost')], late),
      'lease-lost',
    );
    expect(error.message).toContain('worker-2');
    expect(await journal.events({})).toEqual([]);
    expect((await other.save({ ...run, step: 'deploy' }, [], taken)).step).toBe('deploy');
  });

  it('refuses every write under a lease that is not the one on the secret of the run', async () => {
    const { journal, other } = opened();
    const [lease, foreign] = [await take(journal, 'hook'), await take(other, 'other')];
    const error = await expectCode(
      other.begin(runOf('hook', 'r-1'), [eventOf(runOf('hook', 'r-1'), 'lost')], foreign),
      'lease-lost',
    );
    expect(error.message).toBe('A lease on other is no right to write about hook.');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
    await expectCode(other.save({ ...run, step: 'deploy' }, [eventOf(run, 'lost')], foreign), 'lease-lost');
    await expectCode(other.supersede(run, runOf('hook', 'r-2'), [eventOf(run, 'lost')], foreign), 'lease-lost');
    expect(await journal.runs({})).toEqual([run]);
    expect(await journal.events({})).toEqual([]);
  });

  it('leaves a run that has ended as it ended', async () => {
    const { journal } = opened();
    const lease = await take(journal, 'hook');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
    const ended = await journal.save({ ...run, state: 'aborted', endedAt: 1_767_225_600_001 }, [], lease);
    await expectCode(journal.save({ ...ended, state: 'live' }, [], lease), 'no-live-run');
    expect(await journal.runs({})).toEqual([ended]);
  });

  it('does not know a run that was never begun', async () => {
    const { journal } = opened();
    const lease = await take(journal, 'hook');
    await expectCode(journal.save(runOf('hook', 'r-1'), [], lease), 'no-live-run');
    await expectCode(journal.move('r-1', abort, eventOf(runOf('hook', 'r-1'), 'abort')), 'no-live-run');
    expect(await journal.runs({ id: 'r-1' })).toEqual([]);
    expect(await journal.events({})).toEqual([]);
  });

  it("takes a person's word from a process without the lease, and no save loses it", async () => {
    const { journal, other } = opened();
    const lease = await take(journal, 'hook');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
    const confirm: PersonMove = { ...abort, kind: 'confirm', who: 'ada', why: null, at: 1_767_225_600_001 };
    await other.move('r-1', abort, eventOf(run, 'abort'));
    const saved = await journal.save({ ...run, step: 'deploy' }, [], lease);
    expect(saved.moves).toEqual([abort]);
    await other.move('r-1', confirm, eventOf(run, 'confirm'));
    expect((await other.runs({ live: true })).map((each) => each.moves)).toEqual([[abort, confirm]]);
    expect((await journal.events({ run: 'r-1' })).map((event) => event.event)).toEqual(['abort', 'confirm']);
    expect((await journal.save({ ...saved, moves: [], step: 'update' }, [], lease)).moves).toEqual([abort, confirm]);
  });

  it("refuses a person's word about a run that has ended", async () => {
    const { journal, other } = opened();
    const lease = await take(journal, 'hook');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
    await journal.save({ ...run, state: 'completed', endedAt: 1_767_225_600_001 }, [], lease);
    await expectCode(other.move('r-1', abort, eventOf(run, 'abort')), 'no-live-run');
    expect(await other.events({})).toEqual([]);
  });

  it('finds runs by secret, by id and by being live, newest first', async () => {
    const { journal, other } = opened();
    const leases: Record<string, Lease> = {};
    for (const [secret, id] of [
      ['a', 'r-1'],
      ['b', 'r-2'],
      ['a', 'r-3'],
      ['c', 'r-4'],
    ] as const) {
      const lease = (leases[secret] ??= await take(journal, secret));
      const { run } = await journal.begin(runOf(secret, id), [], lease);
      if (id === 'r-1' || id === 'r-2') await journal.save({ ...run, state: 'completed', endedAt: 1 }, [], lease);
    }
    const ids = async (query: Parameters<Journal['runs']>[0]): Promise<string[]> =>
      (await other.runs(query)).map((run) => run.id);
    expect(await ids({})).toEqual(['r-4', 'r-3', 'r-2', 'r-1']);
    expect(await ids({ limit: 2 })).toEqual(['r-4', 'r-3']);
    expect(await ids({ secret: 'a' })).toEqual(['r-3', 'r-1']);
    expect(await ids({ secret: 'a', limit: 1 })).toEqual(['r-3']);
    expect(await ids({ live: true })).toEqual(['r-4', 'r-3']);
    expect(await ids({ secret: 'b', live: true })).toEqual([]);
    expect(await ids({ id: 'r-2' })).toEqual(['r-2']);
    expect(await ids({ id: 'r-2', live: true })).toEqual([]);
    expect(await ids({ id: 'r-2', secret: 'a' })).toEqual([]);
    expect(await ids({ secret: 'nothing' })).toEqual([]);
  });

  it('knows which secrets have a live run', async () => {
    const { journal, other } = opened();
    expect(await other.liveSecrets()).toEqual([]);
    for (const secret of ['a', 'b', 'c'])
      await journal.begin(runOf(secret, `r-${secret}`), [], await take(journal, secret));
    expect([...(await other.liveSecrets())].sort()).toEqual(['a', 'b', 'c']);
    const [run] = await other.runs({ secret: 'b' });
    const lease = (await journal.read('b'))!;
    await other.save({ ...run!, state: 'completed', endedAt: 1 }, [], lease);
    expect([...(await journal.liveSecrets())].sort()).toEqual(['a', 'c']);
  });
}

function describeSupersede(opened: Opened): void {
  it('I3: ends the live run and starts another in one go, and only with all that people told the first', async () => {
    const { place, journal, other } = opened();
    const lease = await take(journal, 'hook');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [eventOf(runOf('hook', 'r-1'), 'started')], lease);
    await other.move('r-1', abort, eventOf(run, 'abort'));
    const tookOver = { run: 'r-1', journal: journal.id };
    const next = runOf('hook', 'r-2', { compromised: true, tookOver });
    await place.clock.advance(5);
    const events = [eventOf(run, 'superseded'), eventOf(next, 'started')];
    await expectCode(journal.supersede(run, next, events, lease), 'lease-lost');
    const [live = run] = await journal.runs({ live: true });
    expect(await journal.supersede(live, next, events, lease)).toEqual(next);
    const ended = { ...run, state: 'superseded', endedAt: place.clock.now(), changes: 1, moves: [abort] };
    expect(await other.runs({})).toEqual([next, ended]);
    expect(await other.liveSecrets()).toEqual(['hook']);
    expect((await other.events({})).map(({ run: id, event }) => [id, event])).toEqual([
      ['r-1', 'started'],
      ['r-1', 'abort'],
      ['r-1', 'superseded'],
      ['r-2', 'started'],
    ]);
    await expectCode(journal.save({ ...run, step: 'deploy' }, [], lease), 'no-live-run');
    expect((await journal.save({ ...next, step: 'deploy' }, [], lease)).changes).toBe(1);
  });

  it('ends nobody who was changed meanwhile, has ended, or never was, and then starts nothing', async () => {
    const { journal, other } = opened();
    const lease = await take(journal, 'hook');
    const next = runOf('hook', 'r-2');
    const never = runOf('hook', 'r-1');
    await expectCode(journal.supersede(never, next, [eventOf(next, 'lost')], lease), 'lease-lost');
    const { run } = await journal.begin(never, [], lease);
    const saved = await journal.save({ ...run, step: 'deploy' }, [], lease);
    const error = await expectCode(journal.supersede(run, next, [eventOf(next, 'lost')], lease), 'lease-lost');
    expect(error.message).toContain('r-1');
    expect(await other.runs({})).toEqual([saved]);
    const ended = await journal.save({ ...saved, state: 'completed', endedAt: 1 }, [], lease);
    await expectCode(journal.supersede(ended, next, [eventOf(next, 'lost')], lease), 'lease-lost');
    expect(await other.runs({})).toEqual([ended]);
    expect(await other.events({})).toEqual([]);
  });

  it('starts no run under an id that was used, and ends nothing then', async () => {
    const { journal, other } = opened();
    const lease = await take(journal, 'hook');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
    await expectCode(journal.supersede(run, runOf('hook', 'r-1'), [], lease), 'wrong-state');
    expect(await other.runs({})).toEqual([run]);
  });
}

function describeEvents(opened: Opened): void {
  it('keeps events in order, whole, with ids that grow', async () => {
    const { journal, other } = opened();
    const lease = await take(journal, 'hook');
    const run = runOf('hook', 'r-1');
    const plain = eventOf(run, 'bare', { run: null, step: null, data: {} });
    await journal.begin(run, [eventOf(run, 'one'), eventOf(run, 'two', { at: 1 }), plain], lease);
    const events = await other.events({});
    expect(events.map(({ id: _, ...event }) => event)).toEqual([
      eventOf(run, 'one'),
      eventOf(run, 'two', { at: 1 }),
      plain,
    ]);
    const ids = events.map((event) => event.id);
    expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
  });

  it('notes what belongs to no run, without a lease and beside a live run', async () => {
    const { journal, other } = opened();
    const run = runOf('hook', 'r-1');
    await journal.begin(run, [eventOf(run, 'started')], await take(journal, 'hook'));
    const noted = eventOf(run, 'reveal', { run: null, step: null, data: { who: 'ada', version: 'v1' } });
    await other.note(noted);
    await other.note(eventOf(runOf('never-rotated', 'r-2'), 'export', { run: null, step: null }));
    const events = await journal.events({ secret: 'hook' });
    expect(events.map(({ event }) => event)).toEqual(['started', 'reveal']);
    expect(events[1]).toEqual({ ...noted, id: events[1]!.id });
    expect(events[1]!.id).toBeGreaterThan(events[0]!.id);
    expect(await journal.events({ secret: 'never-rotated' })).toHaveLength(1);
    expect(await journal.runs({})).toEqual([run]);
  });

  it('pages events by secret, by run and after an id', async () => {
    const { journal, other } = opened();
    const [a, b] = [runOf('a', 'r-a'), runOf('b', 'r-b')];
    await journal.begin(a, [eventOf(a, 'a1'), eventOf(a, 'a2')], await take(journal, 'a'));
    await journal.begin(b, [eventOf(b, 'b1'), eventOf(a, 'a3', { run: null })], await take(journal, 'b'));
    const names = async (query: Parameters<Journal['events']>[0]): Promise<string[]> =>
      (await other.events(query)).map((event) => event.event);
    const [first] = await other.events({ limit: 1 });
    const after = first!.id;
    expect(await names({})).toEqual(['a1', 'a2', 'b1', 'a3']);
    expect(await names({ after })).toEqual(['a2', 'b1', 'a3']);
    expect(await names({ after, limit: 2 })).toEqual(['a2', 'b1']);
    expect(await names({ secret: 'a' })).toEqual(['a1', 'a2', 'a3']);
    expect(await names({ secret: 'a', after })).toEqual(['a2', 'a3']);
    expect(await names({ run: 'r-a' })).toEqual(['a1', 'a2']);
    expect(await names({ run: 'r-a', secret: 'b' })).toEqual([]);
    expect(await names({ run: 'r-b', after, limit: 5 })).toEqual(['b1']);
    expect(await names({ after: 1_000_000 })).toEqual([]);
  });

  it('pages events from the newest backwards', async () => {
    const { journal, other } = opened();
    const a = runOf('a', 'r-a');
    const events = Array.from({ length: 7 }, (_, index) => eventOf(a, `a${String(index)}`));
    await journal.begin(a, [...events, eventOf(runOf('b', 'r-b'), 'b')], await take(journal, 'a'));
    const pages: string[][] = [];
    let before = Number.MAX_SAFE_INTEGER;
    for (;;) {
      const page = await other.events({ secret: 'a', before, limit: 3, newestFirst: true });
      if (page.length === 0) break;
      pages.push(page.map((event) => event.event));
      before = page.at(-1)!.id;
    }
    expect(pages).toEqual([['a6', 'a5', 'a4'], ['a3', 'a2', 'a1'], ['a0']]);
    const [newest] = await other.events({ newestFirst: true, limit: 1 });
    expect(newest?.event).toBe('b');
    const between = await other.events({ run: 'r-a', after: before, before: before + 3 });
    expect(between.map((event) => event.event)).toEqual(['a1', 'a2']);
    expect(await other.events({ run: 'r-a', after: before + 2, before: before + 3, newestFirst: true })).toEqual([]);
  });
}

/** Each run with an event at its start, one of a person's word, and one that belongs to none; ended but for the last ones. */
async function manyRuns(journal: FullJournal, secret: string, count: number, live: boolean): Promise<readonly Run[]> {
  const runs: Run[] = [];
  const lease = await take(journal, secret);
  for (let index = 1; index <= count; index += 1) {
    const fresh = runOf(secret, `${secret}-${String(index)}`);
    const between: NewEvent = eventOf(fresh, `between-${String(index)}`, { run: null, step: null });
    const { run } = await journal.begin(fresh, [between, eventOf(fresh, `started-${String(index)}`)], lease);
    await journal.move(run.id, abort, eventOf(run, `said-${String(index)}`));
    const isLive = live && index === count;
    runs.push(isLive ? run : await journal.save({ ...run, state: 'aborted', endedAt: index }, [], lease));
  }
  await journal.release(lease);
  return runs;
}

function describePrune(opened: Opened): void {
  const ids = async (journal: Journal, secret: string): Promise<string[]> =>
    (await journal.runs({ secret })).map((run) => run.id);
  const names = async (journal: Journal, secret: string): Promise<string[]> =>
    (await journal.events({ secret })).map((event) => event.event);

  it('keeps the newest ended runs of each secret, and the live one beside them', async () => {
    const { journal, other } = opened();
    await manyRuns(journal, 'a', 5, false);
    await manyRuns(journal, 'b', 5, true);
    await manyRuns(journal, 'c', 2, false);
    expect(await journal.prune(2)).toBe(3 + 2);
    expect(await ids(other, 'a')).toEqual(['a-5', 'a-4']);
    expect(await ids(other, 'b')).toEqual(['b-5', 'b-4', 'b-3']);
    expect(await ids(other, 'c')).toEqual(['c-2', 'c-1']);
    expect(await other.liveSecrets()).toEqual(['b']);
    expect(await other.prune(2)).toBe(0);
  });

  it('takes the events and moves of a run with it, and what of the secret is older than all that stays', async () => {
    const { journal, other } = opened();
    await manyRuns(journal, 'a', 3, false);
    await manyRuns(journal, 'b', 1, false);
    await journal.prune(2);
    // What belongs to no run and happened between two of them is older than the second alone.
    expect(await names(other, 'a')).toEqual(['started-2', 'said-2', 'between-3', 'started-3', 'said-3']);
    expect(await names(other, 'b')).toEqual(['between-1', 'started-1', 'said-1']);
    expect(await other.events({ run: 'a-1' })).toEqual([]);
    const again = runOf('a', 'a-1');
    expect((await journal.begin(again, [], await take(journal, 'a'))).joined).toBe(false);
    expect((await other.runs({ id: 'a-1' }))[0]?.moves).toEqual([]);
  });

  it('never removes the newest ended run, nor what is live', async () => {
    const { journal, other } = opened();
    await manyRuns(journal, 'a', 3, false);
    await manyRuns(journal, 'b', 3, true);
    await manyRuns(journal, 'c', 1, true);
    expect(await journal.prune(0)).toBe(2 + 1);
    expect(await ids(other, 'a')).toEqual(['a-3']);
    expect(await ids(other, 'b')).toEqual(['b-3', 'b-2']);
    expect(await ids(other, 'c')).toEqual(['c-1']);
    const [live] = await other.runs({ secret: 'b', live: true });
    expect((await other.save({ ...live!, step: 'deploy' }, [], await take(other, 'b'))).moves).toEqual([abort]);
  });

  it('gives no event an id that one had before', async () => {
    const { journal, other } = opened();
    await manyRuns(journal, 'a', 3, false);
    const newest = (await journal.events({ newestFirst: true, limit: 1 }))[0]!.id;
    await journal.prune(1);
    await manyRuns(other, 'b', 1, false);
    expect((await other.events({ secret: 'b' })).every(({ id }) => id > newest)).toBe(true);
    expect(await names(journal, 'b')).toEqual(['between-1', 'started-1', 'said-1']);
  });

  it('takes along an event of a superseded run that stands behind the first one of its successor', async () => {
    const { journal, other } = opened();
    const lease = await take(journal, 'a');
    const { run } = await journal.begin(runOf('a', 'r-1'), [], lease);
    const next = runOf('a', 'r-2');
    await journal.supersede(run, next, [eventOf(next, 'started'), eventOf(run, 'superseded')], lease);
    await journal.save({ ...next, state: 'completed', endedAt: 1 }, [], lease);
    expect(await journal.prune(1)).toBe(1);
    expect(await names(other, 'a')).toEqual(['started']);
  });
}

/** What came of reading a trail, as far as it says whether the trail is whole. */
function outcome({ fault, walk }: Audit): object {
  return { fault, events: walk.events, pruned: walk.pruned };
}

function describeAudit(opened: Opened, suite: JournalSuite): void {
  it('chains each event to the one before, whoever writes, from the first one on', async () => {
    const { journal, other } = opened();
    const empty = await verifyAudit({ journal });
    expect(outcome(empty)).toEqual({ fault: null, events: 0, pruned: 0 });
    await manyRuns(journal, 'a', 2, false);
    await manyRuns(other, 'b', 2, true);
    await other.note(
      eventOf(runOf('half', 'r-h'), 'half', { run: null, message: 'half a character: \ud800.', data: {} }),
    );
    const events = await journal.events({});
    const whole = await verifyAudit({ journal: other });
    expect(outcome(whole)).toEqual({ fault: null, events: events.length, pruned: 0 });
    expect(whole.head.id).toBe(events.at(-1)?.id);
    expect(whole.journal).toBe(journal.id);
    for (const known of [empty.head, whole.head]) {
      expect((await verifyAudit({ journal }, { known })).walk.known).toBe('found');
    }
    const elsewhere = { id: whole.head.id + 1, hash: whole.head.hash };
    expect((await verifyAudit({ journal }, { known: elsewhere })).fault?.kind).toBe('cut-off');
    const another = { id: 2, hash: whole.head.hash };
    expect((await verifyAudit({ journal }, { known: another })).fault).toMatchObject({ kind: 'rewritten', id: 2 });
  });

  it('keeps the chain whole where runs are pruned in the middle of it, and goes on', async () => {
    const { journal, other } = opened();
    await Promise.all(['a', 'b', 'c'].map((secret) => manyRuns(secret === 'b' ? other : journal, secret, 4, false)));
    const before = (await verifyAudit({ journal })).head;
    const count = (await journal.events({})).length;
    await journal.prune(2);
    await manyRuns(other, 'a', 2, true);
    await other.prune(1);
    const events = await journal.events({});
    expect(events.length).toBeLessThan(count);
    const { walk, fault, head } = await verifyAudit({ journal: other });
    expect(fault).toBeNull();
    expect(walk).toMatchObject({ events: events.length, pruned: head.id - events.length });
    const reading = await journal.openAudit();
    const entries = await reading.entries(0, 1_000);
    await reading.close();
    expect(entries.filter(({ kind }) => kind === 'pruned').length).toBeLessThanOrEqual(events.length + 1);
    // Whoever kept that head learns either that it is in there, or that it cannot be told any more.
    const asked = await verifyAudit({ journal }, { known: before });
    const isThere = events.some(({ id }) => id === before.id);
    expect([asked.walk.known, asked.fault?.kind]).toEqual(isThere ? ['found', undefined] : ['ahead', 'rewritten']);
  });

  it('gives the chain as of one moment, page by page, while others write and prune', async () => {
    const { journal, other } = opened();
    await manyRuns(journal, 'a', 3, false);
    const reading = await journal.openAudit();
    const ids: number[] = [];
    for (let after = 0; ; after = ids.at(-1) ?? 0) {
      const page = await reading.entries(after, 2);
      if (page.length === 0) break;
      ids.push(...page.map((entry) => (entry.kind === 'event' ? entry.event.id : entry.range.firstId)));
      await manyRuns(other, `b-${String(after)}`, 2, false);
      await other.prune(1);
    }
    await reading.close();
    expect(ids).toEqual(Array.from({ length: 9 }, (_, index) => index + 1));
    expect(reading.head.id).toBe(9);
  });

  it('is sealed with a key from the first event on, in a journal that was opened with one', async () => {
    const digest = createDigest('an audit key of more than thirty-two characters');
    const place = await suite.open(digest);
    const journal = await place.journal();
    try {
      await manyRuns(journal, 'a', 3, false);
      await journal.prune(1);
      const { fault, walk, head } = await verifyAudit({ journal });
      expect([fault, walk.events, walk.pruned]).toEqual([null, 2, 7]);
      expect(head).toMatchObject({ sealedFrom: 1, keyId: digest.keyId });
      expect(JSON.stringify(head)).not.toContain('an audit key');
    } finally {
      await journal.close();
      await place.close?.();
    }
  });
}

/** A lease as somebody read it who then found its holder dead. */
function longAgo(lease: Lease): LeaseRecord {
  return { ...lease, acquiredAt: 0, held: true, process: farProcess };
}

function describeLeases(opened: Opened): void {
  it('gives a lease to one holder and tells the others who has it', async () => {
    const { place, journal, other } = opened();
    const now = place.clock.now();
    expect(await other.read('hook')).toBeNull();
    const lease = await take(journal, 'hook', 'worker-1');
    expect(lease).toEqual({ name: 'hook', holder: 'worker-1', token: 1, expiresAt: now + ttlMs });
    const record = { ...lease, acquiredAt: now, held: true, process: farProcess };
    expect(await other.acquire('hook', holderOf('worker-2'), ttlMs)).toEqual({ busy: record });
    expect(await journal.acquire('hook', holderOf('worker-1'), ttlMs)).toEqual({ busy: record });
    expect(await other.read('hook')).toEqual(record);
    expect((await take(other, 'another', 'worker-2')).token).toBe(1);
  });

  it('renews a lease, longer or shorter, and keeps when it was acquired', async () => {
    const { place, journal, other } = opened();
    const lease = await take(journal, 'hook');
    const acquiredAt = place.clock.now();
    await place.clock.advance(ttlMs - 1);
    const longer = await journal.renew(lease, 2 * ttlMs);
    expect(longer).toEqual({ ...lease, expiresAt: place.clock.now() + 2 * ttlMs });
    expect(await other.read('hook')).toEqual({ ...longer, acquiredAt, held: true, process: farProcess });
    const shorter = await journal.renew(longer, 10);
    expect(shorter.expiresAt).toBe(place.clock.now() + 10);
    await place.clock.advance(10);
    await expectCode(journal.renew(shorter, ttlMs), 'lease-lost');
  });

  it('gives a lease that ran out to the next, with a higher token that shuts the first one out', async () => {
    const { place, journal, other } = opened();
    const first = await take(journal, 'hook', 'worker-1');
    await place.clock.advance(ttlMs - 1);
    expect('busy' in (await other.acquire('hook', holderOf('worker-2'), ttlMs))).toBe(true);
    await place.clock.advance(1);
    const second = await take(other, 'hook', 'worker-2');
    expect(second.token).toBeGreaterThan(first.token);
    await expectCode(journal.renew(first, ttlMs), 'lease-lost');
    await journal.release(first);
    expect(await journal.read('hook')).toMatchObject({ holder: 'worker-2', held: true });
  });

  it('takes a lease back, remembers it, and raises the token all the same', async () => {
    const { place, journal, other } = opened();
    const acquiredAt = place.clock.now();
    const first = await take(journal, 'hook');
    await place.clock.advance(5);
    await journal.release(first);
    await journal.release(first);
    expect(await other.read('hook')).toMatchObject({ holder: 'worker-1', acquiredAt, held: false });
    await expectCode(journal.renew(first, ttlMs), 'lease-lost');
    expect((await take(other, 'hook', 'worker-2')).token).toBe(first.token + 1);
  });

  it('gives a lease to exactly one of many who ask at once', async () => {
    const { journal, other } = opened();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 === 0 ? journal : other).acquire('hook', holderOf(`worker-${String(index)}`), ttlMs),
      ),
    );
    expect(answers.filter((answer) => 'lease' in answer)).toHaveLength(1);
  });

  it('knows the process of a holder, where the system told', async () => {
    const { journal, other } = opened();
    await journal.acquire('hook', holderOf('worker-1', null), ttlMs);
    expect((await other.read('hook'))?.process).toBeNull();
    await journal.release((await other.read('hook'))!);
    await other.acquire('hook', holderOf('worker-2', { ...farProcess, pid: 12 }), ttlMs);
    expect((await journal.read('hook'))?.process).toEqual({ ...farProcess, pid: 12 });
  });

  it('lets the lease of a dead holder be seized, with a higher token that shuts out whoever had it', async () => {
    const { place, journal, other } = opened();
    const first = await take(journal, 'hook', 'the dead one');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [], first);
    const longer = await journal.renew(first, 2 * ttlMs);
    await place.clock.advance(3);
    const seized = await other.seize(longAgo(longer), holderOf('the next one', null), ttlMs);
    const now = place.clock.now();
    const lease = { name: 'hook', holder: 'the next one', token: first.token + 1, expiresAt: now + ttlMs };
    expect(seized).toEqual({ lease });
    expect(await journal.read('hook')).toEqual({ ...lease, acquiredAt: now, held: true, process: null });
    await expectCode(journal.renew(first, ttlMs), 'lease-lost');
    const error = await expectCode(journal.save({ ...run, step: 'deploy' }, [], first), 'lease-lost');
    expect(error.message).toContain('the next one');
    expect((await other.save({ ...run, step: 'deploy' }, [], lease)).step).toBe('deploy');
  });

  it('lets nobody seize a lease that has changed hands since, by one of many who saw its holder dead', async () => {
    const { journal, other } = opened();
    const dead = longAgo(await take(journal, 'hook', 'the dead one'));
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 === 0 ? journal : other).seize(dead, holderOf(`worker-${String(index)}`), ttlMs),
      ),
    );
    expect(answers.filter((answer) => 'lease' in answer)).toHaveLength(1);
    const busy = answers.flatMap((answer) => ('busy' in answer ? answer.busy : []));
    expect(new Set(busy.map((record) => record.token))).toEqual(new Set([dead.token + 1]));
  });

  it('acquires where the lease to seize is free by now, or was never there', async () => {
    const { place, journal, other } = opened();
    const dead = longAgo(await take(journal, 'hook', 'the dead one'));
    await place.clock.advance(ttlMs);
    const next = await take(other, 'hook', 'the next one');
    await other.release(next);
    const after = await journal.seize(dead, holderOf('the one after'), ttlMs);
    expect('lease' in after && after.lease.token).toBe(next.token + 1);
    const unknown = await journal.seize({ ...dead, name: 'unknown' }, holderOf('the one after'), ttlMs);
    expect('lease' in unknown && unknown.lease.token).toBe(1);
  });

  it('does not wait for an hour when the clock is set back by one', async () => {
    const { place, journal, other } = opened();
    const lease = await take(journal, 'hook', 'worker-1');
    const { run } = await journal.begin(runOf('hook', 'r-1'), [], lease);
    place.clock.setWall(place.clock.now() - 3_600_000);
    expect((await other.read('hook'))?.held).toBe(false);
    const error = await expectCode(journal.save({ ...run, step: 'deploy' }, [], lease), 'lease-lost');
    expect(error.message).toContain('set back');
    const next = await take(other, 'hook', 'worker-2');
    expect(next.token).toBe(lease.token + 1);
    await expectCode(journal.renew(lease, ttlMs), 'lease-lost');
    expect((await other.save({ ...run, step: 'deploy' }, [], next)).changes).toBe(1);
  });

  it('keeps a lease when the clock is only adjusted', async () => {
    const { place, journal } = opened();
    const lease = await take(journal, 'hook');
    place.clock.setWall(place.clock.now() - 900);
    expect((await journal.read('hook'))?.held).toBe(true);
    expect((await journal.renew(lease, ttlMs)).token).toBe(lease.token);
  });

  it('takes a clock set forward for time that has passed', async () => {
    const { place, journal, other } = opened();
    const lease = await take(journal, 'hook', 'worker-1');
    place.clock.setWall(place.clock.now() + 3_600_000);
    await expectCode(journal.begin(runOf('hook', 'r-1'), [], lease), 'lease-lost');
    expect((await take(other, 'hook', 'worker-2')).token).toBe(lease.token + 1);
  });
}

function describeProbe(opened: Opened): void {
  it('finds nothing wrong where nothing is, tells who moves a secret, and writes nothing to find out', async () => {
    const { journal, other } = opened();
    await take(journal, 'hook', 'worker-1');
    const before = await other.read('hook');
    for (const each of [journal, other]) {
      const findings = await each.probe();
      expect(findings.filter(({ state }) => state !== 'ok')).toEqual([]);
      expect(findings.map(({ name }) => name)).toEqual(expect.arrayContaining(['integrity', 'clock', 'leases']));
      expect(findings.find(({ name }) => name === 'leases')?.message).toContain('hook is being moved by worker-1');
    }
    expect(await other.read('hook')).toEqual(before);
    expect(await other.events({})).toEqual([]);
  });

  it('finds that the clock was set back', async () => {
    const { place, journal, other } = opened();
    await take(journal, 'hook');
    place.clock.setWall(place.clock.now() - 3_600_000);
    const clock = (await other.probe()).find(({ name }) => name === 'clock');
    expect(clock).toMatchObject({ state: 'warning', message: expect.stringContaining('1h ahead') as string });
  });
}
