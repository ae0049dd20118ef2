import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Decrypter, generateHybridIdentity, generateX25519Identity, identityToRecipient } from 'age-encryption';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { credentialWarnings, openReceiver } from '../../../providers/open.ts';
import { loadPolicy } from '../../../providers/policy-file.ts';
import { createFileStore, type AgeOptions } from '../../../providers/stores/file.ts';
import type { CacheStatus } from '../../../src/cache/types.ts';
import { formatKeyring } from '../../../src/model/document.ts';
import { KeyturnError, type ErrorCode } from '../../../src/model/errors.ts';
import { silentLog } from '../../../src/ports/log.ts';
import type { SecretStore } from '../../../src/ports/secret-store.ts';
import {
  adding,
  describeSecretStore,
  errorOf,
  expectCode,
  expectFailed,
  expectNoLeak,
  firstKeyring,
  next,
  readPresent,
} from '../../conformance/secret-store.ts';
import type { Loads } from './fixtures/loads-age.ts';
import { encryptedFor, putDocument, storeFolders, fileLacks } from './support.ts';

const fresh = storeFolders('keyturn-age-');
const marker = 'Marker+Value/That?Must=NeverShow';
const identity = await generateX25519Identity();
const recipient = await identityToRecipient(identity);
const another = await generateX25519Identity();
const anotherRecipient = await identityToRecipient(another);
const header = 'age-encryption.org/v1\n';

const encryptedAs = (text: string, changes: Partial<AgeOptions> = {}): AgeOptions => ({
  identity: () => Promise.resolve(text),
  ...changes,
});

describeSecretStore('file, encrypted', {
  lacks: fileLacks,
  open: () => {
    const path = fresh();
    return Promise.resolve({
      adapter: () => createFileStore({ path, age: encryptedAs(identity) }),
      name: (secret) => ({ secret, key: secret }),
      overwrite: async (name, text) => {
        putDocument(path, name, await encryptedFor(identity, text));
      },
      olderTexts: () => Promise.resolve([]),
      overwritePlain: (key, text) => {
        writeFileSync(join(path, '.plain', key), text, { mode: 0o600 });
      },
    });
  },
});

let path: string;
let place: string;
const name = { secret: 'hook', key: 'hook' };
const open = (age: AgeOptions | null = encryptedAs(identity)): SecretStore => createFileStore({ path, age });
const opens = async (key: string): Promise<string> => {
  const decrypter = new Decrypter();
  decrypter.addIdentity(key);
  return decrypter.decrypt(readFileSync(place), 'text');
};

beforeEach(() => {
  path = fresh();
  place = join(path, 'hook.json');
});

describe('a document', () => {
  it('is what the tools of age read, with nothing of the keyring in sight; plain copies stay plain', async () => {
    const keyring = firstKeyring('hook', marker);
    await open().commit(name, keyring, null);
    await open().plain.write('copy', () => marker);
    expect(readFileSync(place, 'latin1').startsWith(header)).toBe(true);
    for (const word of [marker, 'hook', 'primary', 'keyturn'])
      expect(readFileSync(place, 'latin1')).not.toContain(word);
    expect(await opens(identity)).toBe(formatKeyring(keyring));
    expect(readFileSync(join(path, '.plain/copy'), 'utf8')).toBe(marker);
    expect(readdirSync(path).sort()).toEqual(['.locks', '.plain', 'hook.json']);
  });

  it('that is not encrypted is read, and encrypted by the next commit', async () => {
    const first = firstKeyring('hook', marker);
    await open(null).commit(name, first, null);
    const read = await readPresent(open(), name);
    expect(read.keyring).toEqual(first);
    // The same commit again: it happened, so nothing is written.
    await open().commit(name, first, null);
    expect(readFileSync(place, 'utf8')).toBe(formatKeyring(first));
    const second = next(first, adding('v2', 'second'));
    await open().commit(name, second, read.token);
    expect(await opens(identity)).toBe(formatKeyring(second));
    expect((await readPresent(open(), name)).keyring).toEqual(second);
  });

  it('is compared as it is stored: who encrypts it anew has changed it', async () => {
    const first = firstKeyring('hook');
    const store = open();
    await store.commit(name, first, null);
    const { token } = await readPresent(store, name);
    putDocument(path, name, await encryptedFor(identity, formatKeyring(first)));
    await expectCode(store.commit(name, next(first, adding('v2', 'second')), token), 'store-conflict');
    const again = await readPresent(store, name);
    expect(again.keyring).toEqual(first);
    await store.commit(name, next(first, adding('v2', 'second')), again.token);
  });

  it('is decrypted again when it changed, and only then', async () => {
    const store = open();
    await store.commit(name, firstKeyring('hook', 'one'), null);
    const decrypt = vi.spyOn(Decrypter.prototype, 'decrypt');
    const one = await readPresent(store, name);
    expect(await readPresent(store, name)).toEqual(one);
    expect(decrypt).toHaveBeenCalledTimes(1);
    Reflect.set(one.keyring.versions[0]!, 'value', 'spoiled');
    expect((await readPresent(store, name)).keyring.versions[0]?.value).toBe('one');
    putDocument(path, name, await encryptedFor(identity, formatKeyring(firstKeyring('hook', 'two'))));
    expect((await readPresent(store, name)).keyring.versions[0]?.value).toBe('two');
    expect(decrypt).toHaveBeenCalledTimes(2);
    decrypt.mockRestore();
  });

  it('of 64 KiB fits, for twenty recipients too', async () => {
    const hybrid = await identityToRecipient(await generateHybridIdentity());
    const recipients = [recipient, ...Array.from({ length: 19 }, () => hybrid)];
    const store = open(encryptedAs(identity, { recipients }));
    const others = formatKeyring(firstKeyring('hook', 'k')).length - 1;
    const keyring = firstKeyring('hook', 'k'.repeat(65_530 - others));
    await store.commit(name, keyring, null);
    expect((await readPresent(store, name)).keyring).toEqual(keyring);
  });
});

describe('identities and recipients', () => {
  it('can be several: what is written goes to all of them, and the first that fits reads it', async () => {
    const text = `# created: 2026-01-01\n# public key: ${recipient}\n${identity}\n\n${another}\r\n`;
    const keyring = firstKeyring('hook');
    await open(encryptedAs(text)).commit(name, keyring, null);
    for (const key of [identity, another]) {
      expect(await opens(key)).toBe(formatKeyring(keyring));
      expect((await readPresent(open(encryptedAs(key)), name)).keyring).toEqual(keyring);
    }
    putDocument(path, name, await encryptedFor(another, formatKeyring(keyring)));
    expect((await readPresent(open(encryptedAs(text)), name)).keyring).toEqual(keyring);
  });

  it('are those of the policy where it names some', async () => {
    const keyring = firstKeyring('hook');
    const store = open(encryptedAs(identity, { recipients: [anotherRecipient, recipient] }));
    await store.commit(name, keyring, null);
    for (const key of [identity, another]) expect(await opens(key)).toBe(formatKeyring(keyring));
  });

  it('can be of the hybrid kind', async () => {
    const hybrid = await generateHybridIdentity();
    const store = open(encryptedAs(hybrid));
    await store.commit(name, firstKeyring('hook'), null);
    await readPresent(store, name);
    await expectFailed(open(), name, 'store-encrypted');
  });

  it('are rotated without a restart: old and new are read, and each commit leaves the old one behind', async () => {
    let keys = identity;
    const store = open({ identity: () => Promise.resolve(keys) });
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    keys = `${another}\n${identity}`;
    const { token } = await readPresent(store, name);
    const second = next(first, adding('v2', 'second'));
    await store.commit(name, second, token);
    keys = another;
    const read = await readPresent(store, name);
    expect(read.keyring).toEqual(second);
    await store.commit(name, next(second, adding('v3', 'third')), read.token);
    await expect(opens(identity)).rejects.toThrow();
    keys = identity;
    await expectFailed(store, name, 'store-encrypted');
  });

  it('are asked for once in a read of many, and not where nothing is encrypted', async () => {
    let asked = 0;
    const store = open({
      identity: () => {
        asked += 1;
        return Promise.resolve(identity);
      },
    });
    const names = ['a', 'b', 'c'].map((secret) => ({ secret, key: secret }));
    for (const each of names) await open(null).commit(each, firstKeyring(each.secret), null);
    await store.read(names);
    expect(asked).toBe(0);
    for (const each of names)
      putDocument(path, each, await encryptedFor(identity, formatKeyring(firstKeyring(each.secret))));
    expect([...(await store.read(names)).values()].map(({ state }) => state)).toEqual([
      'present',
      'present',
      'present',
    ]);
    expect(asked).toBe(1);
  });
});

const missing = new KeyturnError('credential-missing', 'The credential age.identity of the store local is missing.', {
  hint: 'Set it.',
});

describe('an encrypted keyring that cannot be read', () => {
  const whole = formatKeyring(firstKeyring('hook', marker));
  const storeAt = (): string => `the file store at ${path}`;
  const unusable = (what: string): string => `The age identity of ${storeAt()} cannot be used: ${what}.`;
  const make = 'An identity begins with AGE-SECRET-KEY- and is one line; age-keygen makes one.';
  const cases: readonly (readonly [string, AgeOptions | null, ErrorCode, () => string, string])[] = [
    [
      'without "age"',
      null,
      'store-encrypted',
      () => `The keyring of hook in ${place} is encrypted, and the store has no "age".`,
      'Say in the policy where the identity is: "age": { "identity": { "file": "PATH" } }',
    ],
    [
      'with another identity',
      encryptedAs(another),
      'store-encrypted',
      () => `The keyring of hook in ${place} is encrypted to others than the age identity of ${storeAt()}.`,
      'Give it the identity that this was encrypted to; its file may hold several, the old ones below the new.',
    ],
    [
      'with an identity that is not there',
      { identity: () => Promise.reject(missing) },
      'credential-missing',
      () => missing.message,
      'Set it.',
    ],
    [
      'with an empty identity',
      encryptedAs('# nothing\n'),
      'credential-missing',
      () => unusable('it is empty'),
      'Make one with age-keygen.',
    ],
    [
      'with half an identity',
      encryptedAs(identity.slice(0, -1)),
      'credential-missing',
      () => unusable('it is no age identity, or not whole'),
      make,
    ],
    [
      'with a second identity in which a letter is wrong',
      encryptedAs(`${identity}\n${another.replace(/.$/, (last) => (last === 'Q' ? 'P' : 'Q'))}`),
      'credential-missing',
      () => unusable('key 2 of 2 in it is no age identity, or not whole'),
      make,
    ],
    [
      'with a recipient for an identity',
      encryptedAs(recipient),
      'credential-missing',
      () => unusable('it is a recipient, which encrypts and cannot decrypt'),
      'Name the identity that belongs to it, which begins with AGE-SECRET-KEY-.',
    ],
    [
      'with the identity of a plugin',
      encryptedAs('AGE-PLUGIN-YUBIKEY-1QQPQZRF'),
      'credential-missing',
      () => unusable('it is for a plugin of age, and keyturn runs none'),
      'Use an identity that age-keygen made.',
    ],
    [
      'with a key of SSH',
      encryptedAs('-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n-----END OPENSSH PRIVATE KEY-----'),
      'credential-missing',
      () => unusable('key 1 of 3 in it is encrypted itself, or a key of another kind'),
      'Decrypt it first, or make an identity with age-keygen; keys of SSH are not read.',
    ],
    [
      'with a recipient in which a letter is wrong',
      encryptedAs(identity, {
        recipients: [recipient, anotherRecipient.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q'))],
      }),
      'policy-invalid',
      () => `Recipient 2 of ${storeAt()} is not whole.`,
      'Copy it again, as age-keygen -y prints it.',
    ],
  ];
  it.each(cases)('%s', async (_, age, code, message, hint) => {
    const content = Buffer.from(await encryptedFor(identity, whole));
    putDocument(path, name, content);
    const store = open(age);
    const error = await expectFailed(store, name, code);
    expect(error.message).toBe(message());
    expect(error.hint).toBe(hint);
    const refused = await expectCode(store.commit(name, firstKeyring('hook', marker), null), code);
    expect(refused.message).toBe(error.message);
    expect(readFileSync(place)).toEqual(content);
    expect(readdirSync(path).filter((file) => file !== '.locks')).toEqual(['hook.json']);
    for (const value of [marker, identity, another]) expectNoLeak(value, error, refused, store);
  });

  const damages: readonly (readonly [string, (content: Buffer) => Uint8Array])[] = [
    ['cut off in the value', (content) => content.subarray(0, -20)],
    ['cut off after the header', (content) => content.subarray(0, content.indexOf('\n---') + 48)],
    ['cut off in the header', (content) => content.subarray(0, 60)],
    ['nothing but the first line', () => Buffer.from(header)],
    ['of a later version of age', (content) => Buffer.from(content.toString('latin1').replace('/v1', '/v2'), 'latin1')],
    ['changed in its value', (content) => changedAt(content, content.length - 1)],
    ['changed in its header', (content) => changedAt(content, content.indexOf('\n---') + 8)],
    ['with something after it', (content) => Buffer.concat([content, Buffer.from('\n')])],
  ];
  it.each(damages)('because it is %s', async (_, damage) => {
    putDocument(path, name, damage(Buffer.from(await encryptedFor(identity, whole))));
    const error = await expectFailed(open(), name, 'store-corrupt');
    expect(error.message).toBe(
      `The keyring of hook in ${place} cannot be used: it is encrypted, and not whole or damaged.`,
    );
    expect(error.hint).toBe('Restore it from a backup, or remove it and adopt the value in use again.');
    const refused = await expectCode(open().commit(name, firstKeyring('hook', marker), null), 'store-corrupt');
    for (const value of [marker, identity]) expectNoLeak(value, error, refused);
  });

  it('hides no other, encrypted or not', async () => {
    putDocument(path, name, await encryptedFor(another, whole));
    const others = ['mine', 'plain'].map((secret) => ({ secret, key: secret }));
    await open().commit(others[0]!, firstKeyring('mine'), null);
    await open(null).commit(others[1]!, firstKeyring('plain'), null);
    const reads = await open().read([name, ...others]);
    expect([...reads.values()].map(({ state }) => state)).toEqual(['failed', 'present', 'present']);
    const without = await open({ identity: () => Promise.reject(missing) }).read([name, ...others]);
    expect([...without.values()].map(({ state }) => state)).toEqual(['failed', 'failed', 'present']);
  });
});

function changedAt(content: Buffer, index: number): Buffer {
  const changed = Buffer.from(content);
  changed[index] = (changed[index] ?? 0) ^ 1;
  return changed;
}

describe('a commit', () => {
  it('is refused where it could not be read again, and changes nothing', async () => {
    const store = open(encryptedAs(identity, { recipients: [anotherRecipient] }));
    const error = await expectCode(store.commit(name, firstKeyring('hook', marker), null), 'policy-invalid');
    expect(error.message).toBe(
      `The age identity of the file store at ${path} is not among its recipients, so what it writes could not be read again.`,
    );
    expect(error.hint).toContain('"recipients"');
    expect(existsSync(place)).toBe(false);
    expectNoLeak(marker, error);
    expectNoLeak(identity, error);
  });

  it('is refused without the identity, also where what is there is not encrypted', async () => {
    await open(null).commit(name, firstKeyring('hook'), null);
    const store = open({ identity: () => Promise.reject(missing), recipients: [recipient] });
    const { keyring, token } = await readPresent(store, name);
    const error = await errorOf(store.commit(name, next(keyring, adding('v2', 'second')), token));
    expect(error).toBe(missing);
    expect((await readPresent(store, name)).keyring).toEqual(keyring);
  });
});

describe('a policy', () => {
  const fixture = fileURLToPath(new URL('fixtures/loads-age.ts', import.meta.url));
  const folderOf = (): string => join(path, '..');

  function writePolicy(age: unknown): string {
    const file = join(folderOf(), 'rotation-policy.json');
    const upstream = {
      kind: 'http',
      allowHosts: ['127.0.0.1'],
      capabilities: { valueOrigin: 'ours', activation: 'on-push', overlap: 'none', retriesResigned: 'yes' },
      steps: { activate: { method: 'PATCH', url: 'http://127.0.0.1:4747/hook', json: { secret: '{{new}}' } } },
    };
    const stores = { local: { kind: 'file', path: 'secrets', ...(age === undefined ? {} : { age }) } };
    mkdirSync(folderOf(), { recursive: true });
    writeFileSync(file, JSON.stringify({ version: 1, stores, secrets: { hook: { rotateEvery: '1d', upstream } } }));
    return file;
  }

  function loadsOf(age: unknown): Loads {
    const argv = ['--conditions=keyturn-source', fixture, writePolicy(age)];
    return JSON.parse(spawnSync(process.execPath, argv, { encoding: 'utf8' }).stdout) as Loads;
  }

  async function statusOf(age: unknown): Promise<CacheStatus> {
    const receiver = await openReceiver({ policy: writePolicy(age), secrets: ['hook'], log: silentLog });
    await receiver.close();
    return receiver.cache.status('hook');
  }

  it('lets receivers read the store, and they load what decrypts only then', async () => {
    await open(null).commit(name, firstKeyring('hook'), null);
    const age = { identity: { file: 'key.txt' } };
    writeFileSync(join(folderOf(), 'key.txt'), `# public key: ${recipient}\n${identity}\n`, { mode: 0o600 });
    expect(loadsOf(age)).toEqual({ byImport: [], byOpening: [], holds: ['v1'], error: null });
    putDocument(path, name, await encryptedFor(identity, formatKeyring(firstKeyring('hook'))));
    expect(loadsOf(age)).toEqual({ byImport: [], byOpening: ['age-encryption'], holds: ['v1'], error: null });
  });

  it('may have the identity in the environment; without one receivers are told why they hold nothing', async () => {
    putDocument(path, name, await encryptedFor(identity, formatKeyring(firstKeyring('hook'))));
    const age = { identity: { env: 'KEYTURN_TEST_AGE' } };
    expect(await statusOf(age)).toMatchObject({ holds: [], error: { code: 'credential-missing' } });
    vi.stubEnv('KEYTURN_TEST_AGE', identity);
    expect(await statusOf(age)).toMatchObject({ holds: ['v1'], error: null });
    vi.unstubAllEnvs();
    expect(await statusOf(undefined)).toMatchObject({ holds: [], error: { code: 'store-encrypted' } });
  });

  it('is told what is wrong with its identity before anything is written', async () => {
    const warningsOf = async (age: unknown): Promise<readonly string[]> =>
      credentialWarnings((await loadPolicy(writePolicy(age), {})).policy);
    const key = join(folderOf(), 'key.txt');
    const identities = { identity: { file: 'key.txt' } };
    expect(await warningsOf(undefined)).toEqual([]);
    expect(await warningsOf(identities)).toEqual([
      `The credential age.identity of the store local cannot be read: the file ${key} does not exist. Create it with mode 600, or correct the path in the policy.`,
    ]);
    writeFileSync(key, `${identity}\n`, { mode: 0o600 });
    expect(await warningsOf(identities)).toEqual([]);
    expect(await warningsOf({ ...identities, recipients: [anotherRecipient] })).toEqual([
      expect.stringContaining('The age identity of the store local is not among its recipients'),
    ]);
    writeFileSync(key, `${recipient}\n`);
    expect(await warningsOf(identities)).toEqual([expect.stringContaining('it is a recipient')]);
    writeFileSync(key, `${identity}\n`);
    chmodSync(key, 0o604);
    expect(await warningsOf(identities)).toEqual([expect.stringContaining(`run chmod o= ${key}`)]);
  });
});
