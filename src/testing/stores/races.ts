import assert from 'node:assert/strict';
import { isKeyturnError } from '../../model/errors.ts';
import type { Keyring } from '../../model/keyring.ts';
import type { SecretStore } from '../../ports/secret-store.ts';
import { adding, expectCode, firstKeyring, next, readOne, readPresent } from '../keyrings.ts';
import type { StoreCase } from './case.ts';

/** Two who write at once, and one who writes again. */
export const races: readonly StoreCase[] = [
  {
    id: 'first-commit-race',
    title: 'lets one of several first commits win',
    async run(on) {
      const name = on.name('raced');
      const adapters = [on.store, await on.another(), await on.another()];
      const keyrings = adapters.map((_, index) => firstKeyring(name.secret, `value ${String(index)}`));
      const outcomes = await Promise.allSettled(
        adapters.map((adapter, index) => adapter.commit(name, keyrings[index] ?? firstKeyring(name.secret), null)),
      );
      await on.propagate();
      const won = outcomes.flatMap(({ status }, index) => (status === 'fulfilled' ? [index] : []));
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
      for (const { reason } of refused) {
        assert.ok(isKeyturnError(reason, 'store-conflict'), `the loser got ${String(reason)}`);
      }
      assert.equal(won.length, 1);
      assert.deepEqual((await readPresent(on.store, name)).keyring, keyrings[won[0] ?? -1]);
    },
  },
  {
    id: 'lost-race',
    title: 'answers store-conflict to whoever lost a later race, at each move, and keeps the winner',
    async run(on) {
      const name = on.name('raced');
      const other = await on.another();
      let keyring = await on.commitFirst(name);
      const moves = [
        (base: Keyring) => next(base, adding('v2', 'the second')),
        (base: Keyring) => next(base, { kind: 'promote', version: 'v2' }),
        (base: Keyring) => next(base, { kind: 'revoke', version: 'v1', at: '2026-01-02T00:00:00.000Z' }),
      ];
      for (const move of moves) {
        const [mine, theirs] = [await readPresent(on.store, name), await readPresent(other, name)];
        const won = move(keyring);
        await other.commit(name, won, theirs.token);
        await expectCode(on.store.commit(name, move(keyring), mine.token), 'store-conflict');
        await expectCode(on.store.commit(name, firstKeyring(name.secret), null), 'store-conflict');
        await on.propagate();
        assert.deepEqual((await readPresent(on.store, name)).keyring, won);
        keyring = won;
      }
    },
  },
  {
    id: 'race-of-two',
    title: 'lets one of two commits at the same moment win',
    async run(on) {
      const name = on.name('raced');
      const first = await on.commitFirst(name);
      const other = await on.another();
      for (let round = 0; round < 3; round += 1) {
        const [mine, theirs] = [await readPresent(on.store, name), await readPresent(other, name)];
        const base = round === 0 ? first : mine.keyring;
        const wishes = ['a', 'b'].map((who) =>
          next(base, adding(`v-${who}${String(round)}`, `value ${String(round)} of ${who}`)),
        );
        const outcomes = await Promise.allSettled([
          on.store.commit(name, wishes[0] ?? base, mine.token),
          other.commit(name, wishes[1] ?? base, theirs.token),
        ]);
        await on.propagate();
        const winner = outcomes.findIndex(({ status }) => status === 'fulfilled');
        const loser = outcomes[1 - winner];
        assert.ok(loser?.status === 'rejected' && isKeyturnError(loser.reason, 'store-conflict'), 'both have won');
        assert.deepEqual((await readPresent(other, name)).keyring, wishes[winner]);
      }
    },
  },
  {
    id: 'commit-on-nothing',
    title: 'answers store-conflict to a commit on a document that is not there',
    async run(on) {
      const name = on.name('gone');
      await on.commitFirst(on.name('elsewhere'));
      const { token } = await readPresent(on.store, on.name('elsewhere'));
      await expectCode(on.store.commit(name, firstKeyring(name.secret), token), 'store-conflict');
      await on.propagate();
      assert.notEqual((await readOne(on.store, name)).state, 'present');
    },
  },
  {
    id: 'many-writers',
    title: 'loses no update among many writers',
    async run(on) {
      const name = on.name('busy');
      await on.commitFirst(name);
      const adapters = [on.store, await on.another(), await on.another(), await on.another()];
      const add = async (adapter: SecretStore, version: string): Promise<void> => {
        for (;;) {
          await on.propagate();
          const { keyring, token } = await readPresent(adapter, name);
          try {
            await adapter.commit(name, next(keyring, adding(version, `value of ${version}`)), token);
            return;
          } catch (error) {
            if (!isKeyturnError(error, 'store-conflict')) throw error;
          }
        }
      };
      await Promise.all(
        adapters.flatMap((adapter, index) => [add(adapter, `va${String(index)}`), add(adapter, `vb${String(index)}`)]),
      );
      await on.propagate();
      const { keyring } = await readPresent(on.store, name);
      assert.equal(keyring.revision, 9);
      assert.equal(keyring.versions.length, 9);
    },
  },
  {
    id: 'same-commit-again',
    title: 'accepts the same commit again, as after a lost answer',
    async run(on) {
      const name = on.name('again');
      const first = await on.commitFirst(name);
      await on.store.commit(name, first, null);
      const { token } = await readPresent(on.store, name);
      const second = next(first, adding('v2', 'the second value'));
      await on.store.commit(name, second, token);
      await on.store.commit(name, second, token);
      const other = await on.another();
      await other.commit(name, second, token);
      await on.propagate();
      assert.deepEqual((await readPresent(on.store, name)).keyring, second);
    },
  },
  {
    id: 'same-commit-below',
    title: 'accepts the same commit again after another one on top, which stays',
    async run(on) {
      const name = on.name('again');
      const first = await on.commitFirst(name);
      const before = await readPresent(on.store, name);
      const second = next(first, adding('v2', 'the second value'));
      await on.store.commit(name, second, before.token);
      await on.propagate();
      const { token } = await readPresent(on.store, name);
      const third = next(second, { kind: 'promote', version: 'v2' });
      await on.store.commit(name, third, token);
      await on.store.commit(name, second, before.token);
      await on.propagate();
      assert.deepEqual((await readPresent(on.store, name)).keyring, third);
    },
  },
];
