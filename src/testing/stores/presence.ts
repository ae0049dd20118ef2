import assert from 'node:assert/strict';
import { adding, expectCode, expectFailed, firstKeyring, next, readOne, readPresent } from '../keyrings.ts';
import { given, type StoreCase } from './case.ts';

const at = '2026-01-01T00:00:00.000Z';

/** What is there, what is not, and what is no more. */
export const presence: readonly StoreCase[] = [
  {
    id: 'says-what-it-is',
    title: 'says what and where it is, and what it can do',
    async run({ store }) {
      assert.match(store.label, /\w/);
      const { propagationLagMs, namesPerCall, maxDocumentBytes, afterPurge } = store.capabilities;
      assert.ok(propagationLagMs >= 0);
      assert.ok(namesPerCall === null || namesPerCall >= 1);
      assert.ok(maxDocumentBytes >= 64 * 1024 - 1_024);
      assert.match(afterPurge, /^[A-Z].*\.$/);
    },
  },
  {
    id: 'absent-or-present',
    title: 'tells absent from present',
    async run(on) {
      const name = on.name('there');
      const keyring = await on.commitFirst(name);
      const reads = await on.store.read([name, on.name('not-there')]);
      assert.deepEqual(reads.get('not-there'), { state: 'absent', token: null });
      const there = reads.get('there');
      assert.ok(there?.state === 'present');
      assert.deepEqual(there.keyring, keyring);
      assert.equal((await on.store.read([])).size, 0);
    },
  },
  {
    id: 'empty',
    title: 'tells a place without a value from absent, and makes the first commit there',
    needs: ['makeEmpty'],
    async run(on) {
      const name = on.name('shell');
      await given(on.place.makeEmpty, 'makeEmpty')(name);
      await on.propagate();
      const read = await readOne(on.store, name);
      if (read.state !== 'empty') throw new Error(`it is ${read.state}`);
      const keyring = firstKeyring(name.secret);
      await on.store.commit(name, keyring, read.token);
      await on.propagate();
      assert.deepEqual((await readPresent(on.store, name)).keyring, keyring);
      await expectCode(on.store.commit(name, firstKeyring(name.secret), read.token), 'store-conflict');
      await on.propagate();
      assert.deepEqual((await readPresent(on.store, name)).keyring, keyring);
    },
  },
  {
    id: 'deleted',
    title: 'takes what was deleted and can come back for neither absent nor present, and writes nothing over it',
    needs: ['softDelete'],
    async run(on) {
      const name = on.name('deleted');
      const first = await on.commitFirst(name);
      const { token } = await readPresent(on.store, name);
      await given(on.place.softDelete, 'softDelete')(name);
      await on.propagate();
      await expectFailed(on.store, name, 'store-deleted');
      const again = await on.another();
      await expectFailed(again, name, 'store-deleted');
      await expectCode(on.store.commit(name, firstKeyring(name.secret), null), 'store-deleted', 'store-conflict');
      await expectCode(
        on.store.commit(name, next(first, adding('v2', 'the second value')), token),
        'store-deleted',
        'store-conflict',
      );
      await expectFailed(on.store, name, 'store-deleted');
    },
  },
  {
    id: 'other-adapters',
    title: 'shows a commit to other adapters, and they go on from it',
    async run(on) {
      const name = on.name('shared');
      await on.commitFirst(name);
      const other = await on.another();
      const read = await readPresent(other, name);
      const second = next(read.keyring, adding('v2', 'the second value'));
      await other.commit(name, second, read.token);
      await on.propagate();
      assert.deepEqual((await readPresent(on.store, name)).keyring, second);
    },
  },
  {
    id: 'purge',
    title: 'purges as often as it is asked, absent secrets too, and the document stays',
    async run(on) {
      const name = on.name('purged');
      await on.store.purge(name);
      const first = await on.commitFirst(name);
      const { token } = await readPresent(on.store, name);
      const second = next(first, adding('v2', 'the second value'));
      await on.store.commit(name, second, token);
      await on.propagate();
      await on.store.purge(name);
      await on.store.purge(name);
      const read = await readPresent(on.store, name);
      assert.deepEqual(read.keyring, second);
      const third = next(second, { kind: 'revoke', version: 'v2', at });
      await on.store.commit(name, third, read.token);
      await on.propagate();
      assert.deepEqual((await readPresent(on.store, name)).keyring, third);
    },
  },
  {
    id: 'purge-erases',
    title: 'erases by a purge what it says that it erases',
    needs: ['olderTexts'],
    async run(on) {
      const name = on.name('erased');
      const value = 'the-value-that-goes';
      let keyring = await on.commitFirst(name, value);
      const moves = [
        next(keyring, adding('v2', 'the-value-that-stays'), { kind: 'promote', version: 'v2' }),
        (base: typeof keyring) => next(base, { kind: 'revoke', version: 'v1', at }),
      ] as const;
      keyring = moves[0];
      await on.store.commit(name, keyring, (await readPresent(on.store, name)).token);
      await on.propagate();
      keyring = moves[1](keyring);
      await on.store.commit(name, keyring, (await readPresent(on.store, name)).token);
      await on.propagate();
      await on.store.purge(name);
      await on.propagate();
      assert.deepEqual((await readPresent(on.store, name)).keyring, keyring);
      const older = await given(on.place.olderTexts, 'olderTexts')(name);
      const stillThere = older.some((text) => text.includes(value));
      const { erases } = on.store.capabilities;
      assert.equal(stillThere, erases !== 'everything', `it says that it erases: ${erases}`);
    },
  },
  {
    id: 'erase',
    title: 'takes away what was made to be removed again, as often as it is asked, and nothing else',
    async run(on) {
      const scratch = on.name('keyturn-doctor-vscratch000');
      const name = on.name('kept');
      const keyring = await on.commitFirst(name);
      const first = await on.commitFirst(scratch);
      const second = next(first, adding('v2', 'the second value'));
      await on.store.commit(scratch, second, (await readPresent(on.store, scratch)).token);
      await on.propagate();
      await on.store.erase(scratch);
      await on.store.erase(scratch);
      await on.propagate();
      assert.deepEqual(await readOne(on.store, scratch), { state: 'absent', token: null });
      await on.commitFirst(scratch);
      await assert.rejects(on.store.erase(name), RangeError);
      await on.propagate();
      assert.deepEqual((await readPresent(on.store, name)).keyring, keyring);
    },
  },
  {
    id: 'probe',
    title: 'finds nothing wrong where nothing is, and writes nothing to find out',
    async run(on) {
      const name = on.name('probed');
      const keyring = await on.commitFirst(name);
      const before = await readPresent(on.store, name);
      for (const use of ['receiver', 'orchestrator'] as const) {
        const names = [name, on.name('not-yet')];
        const { findings } = await on.store.probe({ use, names, plainKeys: use === 'receiver' ? [] : ['no-copy'] });
        const wrong = findings.filter(({ state }) => state === 'failed' || state === 'warning');
        assert.deepEqual(wrong, []);
        assert.ok(findings.some((finding) => finding.name === 'read' && finding.state === 'ok'));
      }
      const after = await readPresent(on.store, name);
      assert.deepEqual([after.keyring, after.token], [keyring, before.token]);
      assert.equal((await readOne(on.store, on.name('not-yet'))).state, 'absent');
    },
  },
];
