import assert from 'node:assert/strict';
import { formatKeyring, keyringFormat } from '../../model/document.ts';
import type { ErrorCode } from '../../model/errors.ts';
import { emptyKeyring, type Keyring, type KeyringMove } from '../../model/keyring.ts';
import {
  adding,
  errorOf,
  expectCode,
  expectFailed,
  expectNoLeak,
  firstKeyring,
  next,
  readOne,
  readPresent,
} from '../keyrings.ts';
import type { StoreCase } from './case.ts';

const at = '2026-01-01T00:00:00.000Z';

/** Values as they are met, and as they break what handles them carelessly. */
export const awkwardValues: readonly (readonly [id: string, what: string, value: string])[] = [
  ['unicode', 'unicode', 'ключ 🔑 naïve é é \u2028\u2029'],
  ['newlines', 'newlines within and at the end', 'first line\nsecond line\r\n\n'],
  ['spaces', 'spaces around', '  padded\t'],
  ['quotes', 'quotes and escapes', `"'\\\\n{{"value": "x"}}$HOME %s \${x}`],
  ['control', 'control characters', '\u0000\u0001\u001b[31m\u007f'],
  ['binary', 'binary as base64', Buffer.from(Array.from({ length: 256 }, (_, index) => index)).toString('base64')],
  ['one', 'one character', '0'],
  ['10kb', '10 KB', 'k'.repeat(10 * 1024)],
];

/** What is written is what is read, and nothing else is written. */
export const contents: readonly StoreCase[] = [
  ...awkwardValues.map(([id, what, value]): StoreCase => ({
    id: `value-${id}`,
    title: `keeps a value exactly: ${what}`,
    async run(on) {
      const name = on.name('awkward');
      const keyring = await on.commitFirst(name, value);
      assert.deepEqual((await readPresent(on.store, name)).keyring, keyring);
    },
  })),
  {
    id: 'fifty-tombstones',
    title: 'keeps the tombstones of 50 versions, the claim and every mark',
    async run(on) {
      const name = on.name('old');
      let keyring = await on.commitFirst(name);
      const moves: KeyringMove[] = [];
      for (let index = 2; index <= 51; index += 1) {
        const version = `v${String(index)}`;
        const old = `v${String(index - 1)}`;
        moves.push(adding(version, `value ${version}`), { kind: 'promote', version });
        if (index % 2 === 0) moves.push({ kind: 'compromise', version: old });
        moves.push({ kind: 'revoke', version: old, at });
      }
      const claim = { run: 'r1', journal: 'j1', kind: 'rotation', from: 'v50', to: 'v51', deadline: at } as const;
      keyring = next(keyring, ...moves, { kind: 'claim', claim });
      await on.store.commit(name, keyring, (await readPresent(on.store, name)).token);
      await on.propagate();
      const read = await readPresent(on.store, name);
      assert.deepEqual(read.keyring, keyring);
      assert.equal(read.keyring.versions.filter((version) => version.stage === 'revoked').length, 50);
    },
  },
  {
    id: 'fifty-commits',
    title: 'goes on after 50 commits, with a purge now and then',
    async run(on) {
      const name = on.name('long');
      let keyring = await on.commitFirst(name);
      for (let index = 2; index <= 51; index += 1) {
        const { token } = await readPresent(on.store, name);
        const version = `v${String(index)}`;
        const old = `v${String(index - 1)}`;
        keyring = next(
          keyring,
          adding(version, `value ${version}`),
          { kind: 'promote', version },
          { kind: 'revoke', version: old, at },
        );
        await on.store.commit(name, keyring, token);
        await on.propagate();
        if (index % 20 === 0) await on.store.purge(name);
      }
      assert.deepEqual((await readPresent(on.store, name)).keyring, keyring);
      assert.deepEqual((await readPresent(await on.another(), name)).keyring, keyring);
    },
  },
  {
    id: 'largest',
    title: 'takes a document that is as large as it says, and refuses a larger one without losing the old one',
    async run(on) {
      const name = on.name('large');
      const first = await on.commitFirst(name);
      const { maxDocumentBytes } = on.store.capabilities;
      const room = maxDocumentBytes - Buffer.byteLength(formatKeyring(next(first, adding('v2', ''.padEnd(1)))));
      const largest = next(first, adding('v2', 'k'.repeat(room - 64)));
      await on.store.commit(name, largest, (await readPresent(on.store, name)).token);
      await on.propagate();
      const read = await readPresent(on.store, name);
      assert.deepEqual(read.keyring, largest);
      const large = next(first, adding('v2', 'k'.repeat(70_000)));
      await expectCode(on.store.commit(name, large, read.token), 'store-too-large');
      await on.propagate();
      assert.deepEqual((await readPresent(on.store, name)).keyring, largest);
    },
  },
  {
    id: 'not-ours',
    title: 'refuses a keyring of another secret, and one that no commit stamped',
    async run(on) {
      const name = on.name('mine');
      await expectRefused(on.store.commit(name, firstKeyring('theirs'), null));
      await expectRefused(on.store.commit(name, emptyKeyring('mine'), null));
      assert.equal((await readOne(on.store, name)).state, 'absent');
    },
  },
  {
    id: 'copies',
    title: 'hands out copies: what a caller does to them changes nothing',
    async run(on) {
      const name = on.name('copied');
      const first = await on.commitFirst(name);
      const expected = structuredClone(first);
      spoil(first);
      spoil((await readPresent(on.store, name)).keyring);
      assert.deepEqual((await readPresent(on.store, name)).keyring, expected);
      assert.deepEqual((await readPresent(await on.another(), name)).keyring, expected);
    },
  },
  {
    id: 'names',
    title: 'keeps apart names that differ little, and takes the longest',
    async run(on) {
      const names = awkwardNames.map((secret) => on.name(secret));
      for (const name of names) await on.store.commit(name, firstKeyring(name.secret), null);
      await on.propagate();
      const reads = await on.store.read(names);
      for (const { secret } of names) {
        const read = reads.get(secret);
        if (read?.state !== 'present') throw new Error(`${secret} is ${String(read?.state)}`);
        assert.equal(read.keyring.secret, secret);
      }
      assert.equal(reads.size, awkwardNames.length);
    },
  },
  {
    id: 'many-names',
    title: 'reads many names at once, the absent ones among them',
    async run(on) {
      const names = Array.from({ length: 60 }, (_, index) => on.name(`many/secret-${String(index)}`));
      const present = names.filter((_, index) => index % 3 !== 0);
      for (const name of present) await on.store.commit(name, firstKeyring(name.secret), null);
      await on.propagate();
      const reads = await on.store.read(names);
      assert.equal(reads.size, 60);
      names.forEach((name, index) => {
        assert.equal(reads.get(name.secret)?.state, index % 3 === 0 ? 'absent' : 'present');
      });
    },
  },
  {
    id: 'foreign-documents',
    title: 'reports a broken document as failed, hides no other because of it, and never writes over it',
    async run(on) {
      const good = on.name('good');
      const bad = on.name('bad');
      const keyring = await on.commitFirst(good);
      await on.commitFirst(bad);
      for (const [what, text, code] of broken(bad.secret)) {
        await on.place.overwrite(bad, text);
        await on.propagate();
        const reads = await on.store.read([bad, good]);
        const other = reads.get('good');
        assert.ok(other?.state === 'present', what);
        assert.deepEqual(other.keyring, keyring);
        const read = await expectFailed(on.store, bad, code);
        const refused = await expectCode(on.store.commit(bad, firstKeyring(bad.secret, marker), null), code);
        await on.propagate();
        const after = await expectFailed(on.store, bad, code);
        expectNoLeak(marker, read, refused, after, on.store);
      }
    },
  },
  {
    id: 'older-revision',
    title: 'gives an older document for what it is, and lets nobody commit on the newer one',
    async run(on) {
      const name = on.name('restored');
      const first = await on.commitFirst(name);
      const second = next(first, adding('v2', 'the second value'));
      await on.store.commit(name, second, (await readPresent(on.store, name)).token);
      await on.propagate();
      const { token } = await readPresent(on.store, name);
      await on.place.overwrite(name, formatKeyring(first));
      await on.propagate();
      assert.deepEqual((await readPresent(on.store, name)).keyring, first);
      const third = next(second, { kind: 'promote', version: 'v2' });
      await expectCode(on.store.commit(name, third, token), 'store-conflict');
      await on.propagate();
      assert.deepEqual((await readPresent(on.store, name)).keyring, first);
    },
  },
  {
    id: 'no-value-shown',
    title: 'shows no value in any error or when it is printed',
    async run(on) {
      const name = on.name('printed');
      const first = await on.commitFirst(name, marker);
      const { token } = await readPresent(on.store, name);
      const errors = [
        await errorOf(on.store.commit(name, next(first, adding('v2', `${marker}2`)), 'no such token')),
        await errorOf(on.store.commit(name, firstKeyring(name.secret, marker), null)),
        await errorOf(on.store.commit(name, next(first, adding('v2', marker.repeat(5_000))), token)),
        await errorOf(on.store.commit(on.name('another'), first, null)),
      ];
      const probed = await on.store.probe({ use: 'orchestrator', names: [name], plainKeys: [] });
      expectNoLeak(marker, ...errors, on.store, on.store.label, on.store.capabilities, probed);
    },
  },
];

export const marker = 'Marker+Value/That?Must=NeverShow';

function broken(secret: string): readonly (readonly [string, string, ErrorCode])[] {
  const whole = formatKeyring(firstKeyring(secret, marker));
  return [
    ['half a document', whole.slice(0, whole.indexOf(marker) + marker.length), 'store-corrupt'],
    ['another secret’s document', formatKeyring(firstKeyring('somebody-else', marker)), 'store-corrupt'],
    ['something else', JSON.stringify({ password: marker }), 'store-corrupt'],
    ['plain text', marker, 'store-corrupt'],
    ['an unknown field', whole.replace('{', `{ "extra": ${JSON.stringify(marker)},`), 'store-corrupt'],
    ['a newer format', whole.replace(keyringFormat, 'keyturn.keyring/2'), 'store-newer-format'],
  ];
}

const longest = `A${'b'.repeat(62)}Z`;

const awkwardNames: readonly string[] = [
  'a',
  'A',
  'a/b',
  'a.json',
  'a.json/b',
  'a_b',
  'a-b',
  'a.b',
  'Production/Globex/hook',
  'production/globex/hook',
  'production/globex.hook',
  'production/hook-abc123',
  longest,
  `${longest}/${longest}/${longest}`,
  `${'Q'.repeat(64)}/${'9'.repeat(64)}/${'-._'.padStart(63, 'x')}y`,
];

async function expectRefused(commit: Promise<unknown>): Promise<void> {
  assert.equal((await errorOf(commit)).code, 'keyring-invalid');
}

function spoil(keyring: Keyring): void {
  for (const version of keyring.versions) Reflect.set(version, 'value', 'spoiled');
  Reflect.set(keyring.versions, 'length', 0);
  Reflect.set(keyring.commits, 0, 'spoiled');
  Reflect.set(keyring, 'revision', 99);
}
