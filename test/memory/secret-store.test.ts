import { describe, expect, it } from 'vitest';
import { createFakeClock } from '../../src/memory/clock.ts';
import { createMemoryStore, MemoryPlace } from '../../src/memory/secret-store.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import {
  adding,
  describeSecretStore,
  expectCode,
  expectFailed,
  firstKeyring,
  next,
  readOne,
  readPresent,
} from '../conformance/secret-store.ts';

function openPlace(propagationLagMs: number): Parameters<typeof describeSecretStore>[1] {
  return {
    lacks: { network: 'there is no network', denied: 'it has no rights' },
    open: () => {
      const clock = createFakeClock();
      const place = new MemoryPlace();
      return Promise.resolve({
        adapter: () => createMemoryStore({ clock, place, propagationLagMs }),
        name: (secret) => ({ secret, key: `keys/${secret}` }),
        overwrite: (name, text) => {
          place.write(name.key, text, clock.monotonic());
          return Promise.resolve();
        },
        overwritePlain: (key, text) => {
          place.writePlain(key, text);
        },
        makeEmpty: (name) => {
          place.makeEmpty(name.key);
          return Promise.resolve();
        },
        softDelete: (name) => {
          place.softDelete(name.key);
          return Promise.resolve();
        },
        olderTexts: (name) => Promise.resolve(place.older(name.key)),
        propagate: () => clock.advance(propagationLagMs),
      });
    },
  };
}

describeSecretStore('memory', openPlace(0));
describeSecretStore('memory, with a propagation lag', openPlace(5_000));

describe('memory store', () => {
  const name = { secret: 'hook', key: 'keys/hook' };
  const clock = createFakeClock();

  it('can lose the answer to a commit that took effect', async () => {
    const store = createMemoryStore({ clock });
    store.control.loseNextAnswers();
    const keyring = firstKeyring('hook');
    await expectCode(store.commit(name, keyring, null), 'store-unreachable');
    expect((await readPresent(store, name)).keyring).toEqual(keyring);
    await store.commit(name, keyring, null);
  });

  it('can be out of reach, for one adapter and not for another', async () => {
    const place = new MemoryPlace();
    const store = createMemoryStore({ clock, place });
    store.control.unreachable = true;
    await expectCode(store.commit(name, firstKeyring('hook'), null), 'store-unreachable');
    await expectCode(store.purge(name), 'store-unreachable');
    await expectFailed(store, name, 'store-unreachable');
    expect((await readOne(createMemoryStore({ clock, place }), name)).state).toBe('absent');
    store.control.unreachable = false;
    await store.commit(name, firstKeyring('hook'), null);
  });

  it('can refuse a commit as if another writer had been first', async () => {
    const store = createMemoryStore({ clock });
    store.control.refuseNextCommits();
    const keyring = firstKeyring('hook');
    await expectCode(store.commit(name, keyring, null), 'store-conflict');
    expect((await readOne(store, name)).state).toBe('absent');
    await store.commit(name, keyring, null);
  });

  it('can fail for one secret alone', async () => {
    const store = createMemoryStore({ clock });
    store.control.fail(name.key, new KeyturnError('store-denied', 'No.', { hint: 'Ask.' }));
    await expectFailed(store, name, 'store-denied');
    expect((await readOne(store, { secret: 'other', key: 'keys/other' })).state).toBe('absent');
    store.control.fail(name.key, null);
    expect((await readOne(store, name)).state).toBe('absent');
  });

  it('shows a commit only after the propagation lag, and compares with the newest all the same', async () => {
    const store = createMemoryStore({ clock, propagationLagMs: 1_000 });
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    expect((await readOne(store, name)).state).toBe('absent');
    await expectCode(store.commit(name, firstKeyring('hook'), null), 'store-conflict');
    await clock.advance(999);
    expect((await readOne(store, name)).state).toBe('absent');
    await clock.advance(1);
    expect((await readOne(store, name)).state).toBe('present');
  });

  it('forgets older documents when purged, except what the lag still shows', async () => {
    const place = new MemoryPlace();
    const store = createMemoryStore({ clock, place, propagationLagMs: 1_000 });
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    await clock.advance(1_000);
    const { token } = await readPresent(store, name);
    await store.commit(name, next(first, adding('v2', 'the second value')), token);
    await store.purge(name);
    expect(place.kept(name.key)).toBe(2);
    await clock.advance(1_000);
    await store.purge(name);
    expect(place.kept(name.key)).toBe(1);
  });

  it('counts what reaches it', async () => {
    const store = createMemoryStore({ clock });
    await store.read([name]);
    await store.commit(name, firstKeyring('hook'), null);
    await store.purge(name);
    expect(store.control.calls).toEqual({ reads: 1, commits: 1, purges: 1 });
  });
});
