import { afterEach, describe, expect, it } from 'vitest';
import { createMemoryJournal } from '../../src/memory/journal.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import { acceptedVersions, emptyKeyring, nextKeyring } from '../../src/model/keyring.ts';
import type { SecretPolicy } from '../../src/model/policy.ts';
import { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import type { Parts } from '../../src/orchestrator/parts.ts';
import type { Visit } from '../../src/orchestrator/visit.ts';
import type { SecretStore } from '../../src/ports/secret-store.ts';
import { hour, minute } from './story.ts';
import { policyOf, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

const day = 24 * hour;
const size = 600;
const names = Array.from({ length: size }, (_, index) => `hook-${String(index)}`);

/** What the visits read since it was last asked. */
let reads: string[] = [];
let commits = 0;

function readSince(): readonly string[] {
  const since = reads;
  reads = [];
  return since;
}

/** The world's store, which tells what is read of it. */
function told(store: SecretStore): SecretStore {
  return {
    ...{ label: store.label, capabilities: store.capabilities, plain: store.plain },
    read: (wanted) => {
      reads.push(...wanted.map(({ secret }) => secret));
      return store.read(wanted);
    },
    commit: (...args) => store.commit(...args),
    purge: (name) => store.purge(name),
    erase: (name) => store.erase(name),
    probe: (request) => store.probe(request),
    close: () => store.close(),
  };
}

function policies(change: Partial<SecretPolicy> = {}): readonly SecretPolicy[] {
  return names.map((secret) => policyOf({ secret, name: secret, ...change }));
}

/** The scheduler of a fleet whose policy is this one now, or of another process over the same everything. */
function scheduler(secrets: readonly SecretPolicy[] = policies(), change: Partial<Parts> = {}): Orchestrator {
  const policy = { ...world.parts.policy, secrets };
  return new Orchestrator({ ...world.parts, policy, store: () => Promise.resolve(told(world.store)), ...change });
}

async function tokenOf(secret: string, key = secret): Promise<string | null> {
  const read = (await world.store.read([{ secret, key }])).get(secret);
  return read?.state === 'present' ? read.token : null;
}

/** Writes the keyring of a secret as somebody else may: with one version, made so long ago. */
async function put(secret: string, madeAgoMs: number, key = secret): Promise<void> {
  const createdAt = new Date(world.clock.now() - madeAgoMs).toISOString();
  const base = emptyKeyring(secret);
  const keyring = nextKeyring(
    base,
    [
      { kind: 'add', version: `v-${secret}`, value: `the-value-of-${secret}`, createdAt },
      { kind: 'promote', version: `v-${secret}` },
    ],
    { id: `c-${String((commits += 1))}`, highestRevision: 0 },
  );
  await world.store.commit({ secret, key }, keyring, await tokenOf(secret, key));
}

/** A fleet that was visited once, so that every keyring was read. */
async function visited(madeAgoMs = day): Promise<Orchestrator> {
  world = new World();
  for (const name of names) await put(name, madeAgoMs);
  const cron = scheduler();
  readSince();
  expect(kinds(await cron.run())).toEqual({ idle: size });
  expect(readSince()).toHaveLength(size);
  return cron;
}

function kinds(visits: readonly Visit[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { kind } of visits) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

function visitOf(visits: readonly Visit[], secret: string): Visit {
  const found = visits.find((visit) => visit.secret === secret);
  if (found === undefined) throw new Error(`no visit of ${secret}`);
  return found;
}

describe('a visit of a large fleet', () => {
  it('does not read again what cannot be due, and tells of it what it told before', async () => {
    const cron = await visited();
    const first = await cron.run();
    expect(readSince()).toEqual([]);
    const found = { due: { at: world.clock.now() + 29 * day, overdue: false }, accepted: 1 };
    expect(visitOf(first, 'hook-7')).toEqual({
      secret: 'hook-7',
      kind: 'idle',
      found: { ...found, primaryCreatedAt: world.clock.now() - day },
    });
  });

  it('reads each keyring every hour at least, and never many of them at once', async () => {
    const cron = await visited();
    const readAt = new Map<string, number>(names.map((name) => [name, 0]));
    for (let passed = 1; passed <= 240; passed++) {
      await world.clock.advance(minute);
      await cron.run();
      const now = readSince();
      expect(now.length).toBeLessThan(size / 8);
      for (const name of now) readAt.set(name, passed);
      for (const at of readAt.values()) expect(passed - at).toBeLessThanOrEqual(60);
    }
  });

  it('starts what comes due on the very visit, whatever was seen before', async () => {
    const cron = await visited(30 * day - 10 * minute);
    await world.clock.advance(10 * minute - 1);
    expect(kinds(await cron.run())).toEqual({ idle: size });
    expect(readSince()).toEqual([]);
    await world.clock.advance(1);
    const visits = await cron.run();
    expect(kinds(visits)).toEqual({ advanced: size });
  });

  it('goes by the policy as it is now: a shorter rotateEvery, one that is gone, a blackout', async () => {
    await visited();
    const shorter = policies().map((policy) =>
      policy.secret === 'hook-3' ? { ...policy, rotateEveryMs: hour } : policy,
    );
    expect(kinds(await scheduler(shorter).run())).toEqual({ idle: size - 1, advanced: 1 });
    readSince();
    const never = await scheduler(policies({ rotateEveryMs: null })).run();
    expect(visitOf(never, 'hook-9')).toMatchObject({ kind: 'idle', found: { due: { at: null } } });
    const until = world.clock.now() + 40 * day;
    const quiet = await scheduler(policies({ blackouts: [{ from: 0, until, reason: null }] })).run();
    expect(visitOf(quiet, 'hook-9')).toMatchObject({ found: { due: { at: until, overdue: false } } });
    expect(readSince().filter((name) => name !== 'hook-3')).toEqual([]);
  });

  it('reads anew what the policy has at another key or in another store', async () => {
    await visited();
    await put('hook-5', 31 * day, 'moved');
    const moved = policies().map((policy) => (policy.secret === 'hook-5' ? { ...policy, key: 'moved' } : policy));
    readSince();
    expect(visitOf(await scheduler(moved).run(), 'hook-5').kind).toBe('advanced');
    expect(new Set(readSince())).toEqual(new Set(['hook-5']));
    const [{ store } = policyOf()] = policies();
    const stores = { [store]: { kind: 'file', path: '/elsewhere', group: null, age: null } } as const;
    const other = { ...world.parts.policy, stores, secrets: policies() };
    await scheduler([], { policy: other }).run();
    expect(new Set(readSince()).size).toBe(size);
  });

  it('finds within the hour what was done to a keyring by hand', async () => {
    const cron = await visited();
    await put('hook-1', 31 * day);
    for (let passed = 0; passed < 60; passed++) {
      await world.clock.advance(minute);
      await cron.run();
    }
    expect((await cron.look('hook-1')).live).not.toBeNull();
  });

  it('keeps nothing of a keyring that is not settled, broken or gone', async () => {
    const cron = await visited();
    await world.store.commit(
      { secret: 'hook-2', key: 'hook-2' },
      nextKeyring(
        await world.keyring('hook-2'),
        [{ kind: 'add', version: 'v-new', value: 'another-value-that-is-new', createdAt: new Date(0).toISOString() }],
        { id: 'c-by-hand', highestRevision: 0 },
      ),
      await tokenOf('hook-2'),
    );
    await world.clock.advance(hour);
    await cron.run();
    readSince();
    expect(visitOf(await cron.run(), 'hook-2')).toMatchObject({ kind: 'idle', found: { accepted: 2 } });
    expect(readSince()).toEqual(['hook-2']);
  });

  it('reads what a run has moved since, whoever drove it and however it ended', async () => {
    const cron = await visited();
    await scheduler().rotate('hook-4', { compromised: true });
    expect((await cron.look('hook-4')).live).toBeNull();
    await world.clock.advance(minute);
    const visit = visitOf(await cron.run(), 'hook-4');
    expect(acceptedVersions(await world.keyring('hook-4'))).toHaveLength(1);
    expect(visit).toMatchObject({ kind: 'idle', found: { primaryCreatedAt: world.clock.now() - minute } });
    await scheduler().rotate('hook-6');
    await scheduler().abort('hook-6', 'not now');
    readSince();
    expect(visitOf(await cron.run(), 'hook-6').kind).toBe('idle');
    expect(readSince()).toContain('hook-6');
  });

  it.each([-2 * hour, 2 * hour])('reads all of it anew when the clock was set by %i ms', async (byMs) => {
    const cron = await visited();
    world.clock.setWall(world.clock.now() + byMs);
    await cron.run();
    expect(readSince()).toHaveLength(size);
    await cron.run();
    expect(readSince()).toEqual([]);
  });

  it('tells of a store that is out of reach, of all it would have read', async () => {
    const cron = await visited();
    await world.clock.advance(hour);
    world.store.control.unreachable = true;
    expect(kinds(await cron.run())).toEqual({ failed: size });
    world.store.control.unreachable = false;
    expect(kinds(await cron.run())).toEqual({ idle: size });
  });

  it('goes on where nothing can be kept, and reads it all again', async () => {
    await visited();
    await world.clock.advance(hour);
    const journal = createMemoryJournal({ clock: world.clock, id: 'j-two' });
    journal.sightings.keep = () => Promise.reject(new KeyturnError('journal-busy', 'The journal is full.'));
    const cron = scheduler(policies(), { journal, leases: journal });
    for (let visit = 0; visit < 2; visit++) {
      expect(kinds(await cron.run())).toEqual({ idle: size });
      expect(readSince()).toHaveLength(size);
    }
  });
});

it('a visit of a fleet that is read in one go reads it each time', async () => {
  world = new World();
  const few = policies().slice(0, 500);
  for (const { secret } of few) await put(secret, day);
  const cron = scheduler(few);
  readSince();
  for (let visit = 0; visit < 2; visit++) {
    await cron.run();
    expect(readSince()).toHaveLength(500);
  }
});
