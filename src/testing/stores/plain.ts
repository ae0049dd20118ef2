import assert from 'node:assert/strict';
import { isKeyturnError, KeyturnError } from '../../model/errors.ts';
import { expectCode, expectNoLeak, readPresent } from '../keyrings.ts';
import { given, type StoreCase } from './case.ts';
import { awkwardValues, marker } from './contents.ts';

/** Parts of the texts are user text, beside which keyturn writes; so any text may be there already. */
export const plainCopies: readonly StoreCase[] = [
  {
    id: 'plain-first',
    title: 'has no plain copy at a key until one is written, which others then read',
    async run(on) {
      assert.equal(await on.store.plain.read('apps/hook'), null);
      await on.store.plain.write('apps/hook', (present) => `${String(present)}, then this`);
      const other = await on.another();
      assert.equal(await other.plain.read('apps/hook'), 'null, then this');
      assert.equal(await other.plain.read('apps/hook2'), null);
    },
  },
  ...awkwardValues.map(([id, what, value]): StoreCase => ({
    id: `plain-${id}`,
    title: `keeps a plain copy exactly: ${what}`,
    async run(on) {
      await on.store.plain.write('awkward', () => value);
      assert.equal(await on.store.plain.read('awkward'), value);
    },
  })),
  {
    id: 'plain-merge',
    title: 'changes a plain copy from what is there, whoever wrote it',
    async run(on) {
      await on.store.plain.write('merged', () => '{"theirs":1,"long":1.50}');
      const other = await on.another();
      await other.plain.write('merged', (present) =>
        JSON.stringify({ ...(JSON.parse(present ?? '') as object), ours: 'the value' }),
      );
      const merged = { theirs: 1, long: 1.5, ours: 'the value' };
      const text = await on.store.plain.read('merged');
      assert.deepEqual(JSON.parse(text ?? ''), merged);
      await other.plain.write('merged', (present) => present ?? '');
      assert.equal(await on.store.plain.read('merged'), text);
    },
  },
  {
    id: 'plain-nested',
    title: 'keeps what else is in a JSON object, however deep',
    async run(on) {
      const present = { note: 'ключ\n', list: [1, 'two', null, true, {}], deep: { deeper: { deepest: '' } } };
      await on.store.plain.write('nested', () => JSON.stringify(present));
      await on.store.plain.write('nested', (text) =>
        JSON.stringify({ ...(JSON.parse(text ?? '') as object), ours: 'v' }),
      );
      assert.deepEqual(JSON.parse((await on.store.plain.read('nested')) ?? ''), { ...present, ours: 'v' });
    },
  },
  {
    id: 'plain-failing-change',
    title: 'leaves a plain copy alone where the change fails',
    async run(on) {
      const failing = (): string => {
        throw new KeyturnError('usage', 'No.', { hint: 'Ask.' });
      };
      await expectCode(on.store.plain.write('failing', failing), 'usage');
      assert.equal(await on.store.plain.read('failing'), null);
      await on.store.plain.write('failing', () => 'theirs');
      await expectCode(on.store.plain.write('failing', failing), 'usage');
      assert.equal(await on.store.plain.read('failing'), 'theirs');
    },
  },
  {
    id: 'plain-no-keyring',
    title: 'never takes a keyring for a plain copy, whatever its key',
    async run(on) {
      const name = on.name('both');
      const keyring = await on.commitFirst(name);
      for (const key of [name.key, `${name.key}.json`]) {
        try {
          await on.store.plain.write(key, () => marker);
          assert.equal(await on.store.plain.read(key), marker);
        } catch (error) {
          if (!isKeyturnError(error)) throw error;
          expectNoLeak(keyring.versions[0]?.value ?? '', error);
        }
        assert.deepEqual((await readPresent(on.store, name)).keyring, keyring);
      }
    },
  },
  {
    id: 'plain-shown',
    title: 'shows no plain copy in any error or when it is printed',
    async run(on) {
      await on.store.plain.write('printed', () => marker);
      const error = await expectCode(
        on.store.plain.write('printed', (present) => (present ?? '').repeat(5_000)),
        'store-too-large',
      );
      expectNoLeak(marker, error, on.store, on.store.plain);
      assert.equal(await on.store.plain.read('printed'), marker);
    },
  },
  {
    id: 'plain-shared',
    title: 'takes in what somebody else writes to a plain copy at the same moment',
    needs: ['overwritePlain'],
    async run(on) {
      const overwrite = given(on.place.overwritePlain, 'overwritePlain');
      await on.store.plain.write('shared', () => 'first');
      let calls = 0;
      await on.store.plain.write('shared', (present) => {
        calls += 1;
        if (calls <= 2) overwrite('shared', `theirs ${String(calls)}`);
        return `${String(present)} + ours`;
      });
      assert.equal(await on.store.plain.read('shared'), 'theirs 2 + ours');
      const refused = on.store.plain.write('shared', (present) => {
        calls += 1;
        overwrite('shared', `theirs ${String(calls)}`);
        return `${String(present)} + ours`;
      });
      await expectCode(refused, 'store-conflict');
      assert.equal(await on.store.plain.read('shared'), `theirs ${String(calls)}`);
    },
  },
];
