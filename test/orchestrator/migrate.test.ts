import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryJournal } from '../../src/memory/journal.ts';
import { createMemoryStore, MemoryPlace } from '../../src/memory/secret-store.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import { acceptedVersions, nextKeyring, type Keyring } from '../../src/model/keyring.ts';
import type { Policy, SecretPolicy } from '../../src/model/policy.ts';
import type { Advance } from '../../src/orchestrator/advance.ts';
import type { Migrated } from '../../src/orchestrator/migrate.ts';
import { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import type { Parts } from '../../src/orchestrator/parts.ts';
import { parseKeyring } from '../../src/model/document.ts';
import { adding, firstKeyring } from '../conformance/secret-store.ts';
import { around, Crash, faults } from './faults.ts';
import { cronToEnd, expectSettled, stepOf, waitsFor } from './story.ts';
import { oldValue, policyOf, pool, secret, World } from './world.ts';

const name = { secret, key: secret };
const there = { from: 'old', to: 'new' };
const back = { from: 'new', to: 'old' };

/** A world whose store is called `old`, and a second one beside it. */
let world: World;
let newPlace: MemoryPlace;

beforeEach(async () => {
  world = new World();
  newPlace = new MemoryPlace();
  await world.begin();
});
afterEach(() => world.close());

/** The parts of a process whose policy has the secret in that store. */
function partsIn(store: string, change: Partial<SecretPolicy> = {}): Parts {
  const { clock, place } = world;
  const stores: Policy['stores'] = {
    old: { kind: 'file', path: '/old', group: null, age: null },
    new: { kind: 'file', path: '/new', group: null, age: null },
  };
  const policy = { ...world.parts.policy, stores, secrets: [policyOf({ store, ...change })] };
  const opened = {
    old: createMemoryStore({ clock, place, label: 'old store' }),
    new: createMemoryStore({ clock, place: newPlace, label: 'new store' }),
  };
  return { ...world.parts, policy, store: (wanted) => Promise.resolve(opened[wanted as 'old' | 'new']) };
}

function processIn(store: string, change: Partial<SecretPolicy> = {}): Orchestrator {
  return world.another(partsIn(store, change));
}

function keyringIn(place: MemoryPlace): Keyring | null {
  const text = place.newest(secret);
  return text === null ? null : parseKeyring(text, 'memory', secret);
}

async function moved(process: Orchestrator, options = there, dryRun = false): Promise<Migrated> {
  const result = (await process.migrate([secret], { ...options, dryRun })).get(secret);
  if (result instanceof KeyturnError) throw result;
  if (result === undefined) throw new Error('nothing came of it');
  return result;
}

/** The stores in which something could move the keyring. */
function freeIn(): readonly string[] {
  const both = { old: keyringIn(world.place), new: keyringIn(newPlace) };
  return Object.entries(both).flatMap(([store, keyring]) => (keyring?.claim === null ? [store] : []));
}

/** A whole rotation there, when no receiver is left: a person says that the upstream has the value. */
async function rotateIn(store: 'old' | 'new'): Promise<void> {
  await world.close();
  const process = processIn(store, {
    receivers: { ...policyOf().receivers, pools: { default: pool(0, { reporting: 'none' }) } },
  });
  await process.rotate(secret);
  let advanced: Advance | null = null;
  for (let i = 0; i < 400; i++) {
    await world.clock.advance(10_000);
    if (stepOf(advanced) === 'monitor' && i % 20 === 0) await process.confirm(secret, null);
    advanced = await process.advance(secret);
    if (advanced?.kind !== 'waiting') return;
  }
  throw new Error(`the rotation did not end: ${waitsFor(advanced).join()}`);
}

describe('a migration', () => {
  it('takes every version to the other store, and lets nothing move them in the first one any more (I3 I4)', async () => {
    const before = await world.keyring();
    const { outcome, keyring } = await moved(processIn('old'));
    expect(outcome).toBe('migrated');
    expect(keyring.versions).toEqual(before.versions);
    expect(keyringIn(newPlace)).toEqual(keyring);
    expect(keyring.claim).toBeNull();
    const left = await world.keyring();
    expect([left.versions, left.claim?.from, left.claim?.to]).toEqual([before.versions, 'old', 'new']);
    expect(keyring.revision).toBeGreaterThan(left.revision);
    const journal = createMemoryJournal({ clock: world.clock, id: 'j-two' });
    const elsewhere = world.another({ ...partsIn('old'), journal, leases: journal });
    for (const process of [processIn('old'), elsewhere]) {
      for (const compromised of [false, true]) {
        await expect(process.rotate(secret, { compromised })).rejects.toMatchObject({
          code: 'foreign-claim',
          message: expect.stringContaining('was taken from the store old to the store new') as string,
        });
      }
    }
    expect(await world.keyring()).toEqual(left);
    const events = await world.journal.events({ secret });
    expect(events.map(({ event }) => event)).toEqual(expect.arrayContaining(['migrate', 'migrated']));
    expect(JSON.stringify(events)).not.toContain(oldValue);
  });

  it('is rotated in the new store from then on, and done where it is asked for again, whatever happened since', async () => {
    await moved(processIn('old'));
    await rotateIn('new');
    await rotateIn('new');
    await rotateIn('new');
    const now = keyringIn(newPlace);
    expect(now?.versions.map(({ stage }) => stage)).toEqual(['revoked', 'revoked', 'revoked', 'primary']);
    const left = keyringIn(world.place);
    for (const store of ['old', 'new']) expect((await moved(processIn(store))).outcome).toBe('already');
    expect([keyringIn(newPlace), keyringIn(world.place)]).toEqual([now, left]);
  });

  it('goes back the same way, with what was rotated since', async () => {
    await moved(processIn('old'));
    for (let i = 0; i < 3; i++) await rotateIn('new');
    const { keyring } = await moved(processIn('new'), back);
    expect(keyringIn(world.place)).toEqual(keyring);
    expect(freeIn()).toEqual(['old']);
    await rotateIn('old');
    await expect(processIn('new').rotate(secret)).rejects.toMatchObject({ code: 'foreign-claim' });
    expect((await moved(processIn('old'))).outcome).toBe('migrated');
    expect(freeIn()).toEqual(['new']);
  });

  it('writes the plain copies in the new store, and nothing there where one has no place', async () => {
    const mirrors = [
      { key: 'plain', property: null, format: 'plain' },
      { key: 'config', property: 'HOOK', format: 'plain' },
      { key: 'all', property: null, format: 'active_secrets' },
    ] as const;
    newPlace.writePlain('config', 'no JSON');
    const process = processIn('old', { mirrors });
    await expect(moved(process)).rejects.toMatchObject({ code: 'mirror-invalid' });
    expect([keyringIn(newPlace), freeIn()]).toEqual([null, ['old']]);
    newPlace.writePlain('config', '{"else":"kept"}');
    await moved(process);
    expect(newPlace.plain('plain')).toBe(oldValue);
    expect(JSON.parse(newPlace.plain('config') ?? '')).toEqual({ else: 'kept', HOOK: oldValue });
    expect(newPlace.plain('all')).toContain(oldValue);
  });

  it('judges everything and writes nothing as a dry run', async () => {
    const before = await world.keyring();
    const events = await world.journal.events({});
    expect((await moved(processIn('old'), there, true)).outcome).toBe('would-migrate');
    expect([await world.keyring(), keyringIn(newPlace)]).toEqual([before, null]);
    expect(await world.journal.events({})).toEqual(events);
  });

  it('has nothing to do where nothing is', async () => {
    world.place.remove(secret);
    expect((await moved(processIn('old'))).outcome).toBe('absent');
    expect(keyringIn(newPlace)).toBeNull();
  });
});

describe('a migration is refused, and nothing is written', () => {
  async function refused(process: Orchestrator, code: string, options = there): Promise<void> {
    const before = [world.place.newest(secret), newPlace.newest(secret)];
    await expect(moved(process, options)).rejects.toMatchObject({ code });
    expect([world.place.newest(secret), newPlace.newest(secret)]).toEqual(before);
  }

  it('while a run is live', async () => {
    await processIn('old').rotate(secret);
    await refused(processIn('old'), 'wrong-state');
  });

  it('while another journal moves the secret', async () => {
    await processIn('old').rotate(secret);
    const journal = createMemoryJournal({ clock: world.clock, id: 'j-two' });
    await refused(world.another({ ...partsIn('old'), journal, leases: journal }), 'foreign-claim');
  });

  it('while another process has the lease', async () => {
    await world.journal.acquire(secret, { name: 'another', process: null }, 60_000);
    const moving = processIn('old').migrate([secret], { ...there, lockTimeoutMs: 0 });
    expect((await moving).get(secret)).toMatchObject({ code: 'lease-busy' });
  });

  it('where another keyring is there, or one that is further', async () => {
    const { store } = partsIn('old');
    const target = await store('new');
    await target.commit(name, firstKeyring(secret, 'the-value-of-another'), null);
    await refused(processIn('old'), 'wrong-state');
    const ahead = nextKeyring(await world.keyring(), [adding('v-new', 'the-newer-value')], {
      id: 'c-new',
      highestRevision: 0,
    });
    newPlace.remove(secret);
    await target.commit(name, ahead, null);
    await refused(processIn('old'), 'wrong-state');
  });

  it('while nobody can look what receivers hold', async () => {
    world.usageDown = true;
    await refused(processIn('old'), 'usage-unreachable');
  });

  it('for stores that are not there, are one, or are none of its own', async () => {
    await refused(processIn('old'), 'usage', { from: 'old', to: 'nwe' });
    await refused(processIn('old'), 'usage', { from: 'old', to: 'old' });
    await refused(processIn('third'), 'usage');
  });
});

describe('what a migration left half done', () => {
  /** Every call of every port, struck in every way. */
  it(
    'is done by the same command, and meanwhile at most one store has it free (I3 I4 I5)',
    { timeout: 60_000 },
    async () => {
      let struck = 0;
      for (const fault of faults) {
        for (let at = 0; ; at++) {
          await world.close();
          world = new World();
          newPlace = new MemoryPlace();
          await world.orchestrator.adopt(secret, oldValue);
          const versions = (await world.keyring()).versions;
          let calls = 0;
          let isDead = false;
          const parts = around(
            partsIn('old', { mirrors: [{ key: 'copy', property: null, format: 'plain' }] }),
            'dying',
            async (_, work) => {
              if (isDead) throw new Crash();
              if (calls++ !== at) return work();
              if (fault === 'before' || fault === 'after') isDead = true;
              const result = fault === 'after' || fault === 'lost' ? await work() : null;
              if (isDead) throw new Crash();
              if (fault === 'lost' || fault === 'throw')
                throw new KeyturnError('store-unreachable', 'It does not answer.', { hint: String(result === null) });
              return result;
            },
          );
          await new Orchestrator(parts).migrate([secret], there).catch(() => undefined);
          if (calls <= at) break;
          struck++;
          expect(freeIn().length, `${fault} ${String(at)}`).toBeLessThanOrEqual(1);
          await world.clock.advance(120_000);
          const again = await moved(processIn('old', { mirrors: [{ key: 'copy', property: null, format: 'plain' }] }));
          expect(['migrated', 'already'], `${fault} ${String(at)}`).toContain(again.outcome);
          expect([freeIn(), keyringIn(newPlace)?.versions]).toEqual([['new'], versions]);
          expect(newPlace.plain('copy')).toBe(oldValue);
        }
      }
      expect(struck).toBeGreaterThan(40);
    },
  );

  it('catches up with what was rotated in the old store after the first write', async () => {
    const parts = partsIn('old');
    const dying = world.another(
      around(parts, 'dying', async ({ method }, work) => {
        const result = await work();
        if (method === 'commit') throw new Crash();
        return result;
      }),
    );
    await expect(dying.migrate([secret], there)).rejects.toThrow(Crash);
    expect(freeIn()).toEqual(['old']);
    await world.clock.advance(120_000);
    await expect(processIn('new').rotate(secret)).rejects.toMatchObject({ code: 'foreign-claim' });
    for (let i = 0; i < 3; i++) await rotateIn('old');
    const rotated = keyringIn(world.place);
    const { keyring } = await moved(processIn('old'));
    expect(keyring.versions).toEqual(rotated?.versions);
    expect(freeIn()).toEqual(['new']);
  });

  it('is taken over where the new store is lost for good', async () => {
    await moved(processIn('old'));
    newPlace.remove(secret);
    const { claim } = await world.keyring();
    const process = processIn('old');
    const taken = await process.rotate(secret, { takeOver: claim?.run });
    expect(taken.run).toMatchObject({ kind: 'rotation', state: 'live' });
    await cronToEnd(world, 300, process);
    await expectSettled(world, 'new');
    expect(acceptedVersions(await world.keyring()).map(({ value }) => value)).not.toContain(oldValue);
    expect(world.refused).toBe(0);
  });
});
