import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { createFileStore } from '../../../providers/stores/file.ts';
import { lockOf } from '../../../providers/stores/file/lock.ts';
import { createFakeClock } from '../../../src/memory/clock.ts';
import type { SecretStore } from '../../../src/ports/secret-store.ts';
import { errorOf, expectCode, expectNoLeak, firstKeyring, readPresent } from '../../conformance/secret-store.ts';
import { isRoot, modeOf, nobody, outputOf, runProcess, start, storeFolders } from './support.ts';

const fresh = storeFolders('keyturn-plain-');
const marker = 'Marker+Value/That?Must=NeverShow';

let path: string;
let store: SecretStore;
let place: string;

beforeEach(() => {
  path = fresh();
  store = createFileStore({ path });
  place = join(path, '.plain/prod/github');
});

const writePlace = (text: string | Buffer, mode = 0o600): void => {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
  writeFileSync(place, text, { mode });
};

describe('the file of a plain copy', () => {
  it('is the key below .plain, as it is, 0600 in 0700, and nothing else is there', async () => {
    await store.plain.write('prod/github', () => marker);
    await store.plain.write('Prod.env', () => 'other');
    expect(readFileSync(place, 'utf8')).toBe(marker);
    expect(readFileSync(join(path, '.plain/Prod.env'), 'utf8')).toBe('other');
    expect(readdirSync(join(path, '.plain')).sort()).toEqual(['Prod.env', 'prod']);
    expect(readdirSync(path).sort()).toEqual(['.locks', '.plain']);
    expect([path, join(path, '.plain'), dirname(place)].map(modeOf)).toEqual(['700', '700', '700']);
    expect(modeOf(place)).toBe('600');
  });

  it('may be read by the group of the store, and becomes so when it is written again', async () => {
    await store.plain.write('prod/github', () => 'old');
    const shared = createFileStore({ path, group: String(process.getgid?.()) });
    await shared.plain.write('prod/github', () => 'new');
    expect([path, join(path, '.plain'), dirname(place)].map(modeOf)).toEqual(['750', '750', '750']);
    expect(modeOf(place)).toBe('640');
    expect((await errorOf(store.plain.read('prod/github'))).hint).toContain(`chmod 600 ${place}`);
  });

  it('is not touched, nor the lock taken, where nothing changes', async () => {
    await store.plain.write('prod/github', () => 'same');
    const before = statSync(place, { bigint: true });
    const holder = join(path, '.locks', `${lockOf('.plain/prod/github')}.holder`);
    const lock = statSync(holder, { bigint: true });
    await store.plain.write('prod/github', (present) => present ?? 'other');
    const after = statSync(place, { bigint: true });
    expect([after.ino, after.mtimeNs, after.ctimeNs]).toEqual([before.ino, before.mtimeNs, before.ctimeNs]);
    expect(statSync(holder, { bigint: true }).mtimeNs).toBe(lock.mtimeNs);
    await store.plain.write('prod/github', () => 'other');
    expect(statSync(place).ino).not.toBe(Number(before.ino));
  });

  it('reads as absent where the folder is missing, and makes nothing', async () => {
    expect(await store.plain.read('prod/github')).toBeNull();
    expect(existsSync(dirname(path))).toBe(false);
  });

  it('may be empty when somebody else made it so, and is written all the same', async () => {
    writePlace('');
    expect(await store.plain.read('prod/github')).toBe('');
    await store.plain.write('prod/github', (present) => `${String(present?.length)} before`);
    expect(await store.plain.read('prod/github')).toBe('0 before');
  });
});

describe('a key', () => {
  it.each([
    '../hook.json',
    '..',
    '.',
    '',
    '/etc/passwd',
    'prod/',
    'prod//github',
    'prod/../../hook.json',
    '.locks/00',
    '../.locks/00',
    'prod/.tmp-1',
    '.plain/x',
    'prod\\github',
    'prod/git\u0000hub',
    'é',
    '%2e%2e/hook',
    '~/x',
    'x'.repeat(65),
  ])('that could lead to another file is refused: %j', async (key) => {
    const keyring = firstKeyring('hook');
    await store.commit({ secret: 'hook', key: 'hook' }, keyring, null);
    const before = readdirSync(path, { recursive: true }).sort();
    for (const refused of [store.plain.read(key), store.plain.write(key, () => marker)]) {
      const error = await expectCode(refused, 'store-denied');
      expect(error.message).toBe(
        `The plain copy ${JSON.stringify(key)} is refused by the file store at ${path}: its key could lead out of the folder, or to a file of the store's own.`,
      );
      expectNoLeak(marker, error);
    }
    expect(readdirSync(path, { recursive: true }).sort()).toEqual(before);
    expect((await readPresent(store, { secret: 'hook', key: 'hook' })).keyring).toEqual(keyring);
  });

  it('stands for another file than the same key of a keyring, and than one that looks like its file', async () => {
    const keyrings = ['prod/github', 'plain/prod/github', '.plain/prod/github', '.plain/prod/github.json'];
    for (const key of keyrings) await store.commit({ secret: key, key }, firstKeyring(key), null);
    for (const key of ['prod/github', 'prod/github.json', 'plain/prod/github.json']) {
      await store.plain.write(key, () => `plain ${key}`);
    }
    for (const key of keyrings) await readPresent(store, { secret: key, key });
    expect(await store.plain.read('prod/github.json')).toBe('plain prod/github.json');
  });

  it('cannot be file and folder at once', async () => {
    await store.plain.write('prod/github', () => 'below');
    const folder = await expectCode(
      store.plain.write('prod', () => marker),
      'store-corrupt',
    );
    expect(folder.message).toContain(`${join(path, '.plain/prod')} cannot be used: it is a folder, not a file`);
    const below = await expectCode(
      store.plain.write('prod/github/x', () => marker),
      'store-unreachable',
    );
    expect(below.message).toBe(`The file store cannot be used: ${place} is no folder.`);
  });
});

describe('a plain copy that cannot be used', () => {
  const cases: readonly (readonly [string, () => void, string, RegExp])[] = [
    [
      'a symbolic link',
      () => {
        writePlace('');
        writeFileSync(join(path, 'target'), marker, { mode: 0o600 });
        rmSync(place);
        symlinkSync(join(path, 'target'), place);
      },
      'store-corrupt',
      /it is a symbolic link/,
    ],
    [
      'its folder a symbolic link',
      () => {
        mkdirSync(join(path, 'elsewhere'), { recursive: true, mode: 0o700 });
        chmodSync(path, 0o700);
        symlinkSync(join(path, 'elsewhere'), join(path, '.plain'));
      },
      'store-denied',
      /\.plain is refused: it is a symbolic link/,
    ],
    ['open to others', () => writePlace(marker, 0o644), 'store-denied', /more users may use it than should/],
    [
      'not UTF-8',
      () => writePlace(Buffer.concat([Buffer.from(marker), Buffer.from([0xff])])),
      'store-corrupt',
      /it is not valid UTF-8/,
    ],
    ['too long', () => writePlace(marker.padEnd(65_537)), 'store-corrupt', /it takes 65537 bytes, and at most 65536/],
  ];
  it.each(cases)('because it is %s', async (_, arrange, code, message) => {
    arrange();
    const files = (): unknown[] =>
      readdirSync(path, { recursive: true }).filter((file) => !String(file).startsWith('.locks'));
    const before = files();
    for (const refused of [store.plain.read('prod/github'), store.plain.write('prod/github', () => marker)]) {
      const error = await errorOf(refused);
      expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
      expect(error.message).toContain(join(path, '.plain'));
      expect(error.hint).toMatch(/\w/);
      expectNoLeak(marker, error);
    }
    expect(files()).toEqual(before);
  });

  it('because it belongs to somebody else', async (context) => {
    context.skip(!isRoot, 'only root can give a file away');
    writePlace(marker);
    chownSync(place, nobody, nobody);
    await expectCode(store.plain.read('prod/github'), 'store-denied');
    await expectCode(
      store.plain.write('prod/github', () => 'ours'),
      'store-denied',
    );
    expect(readFileSync(place, 'utf8')).toBe(marker);
  });

  it('because its text has half a character in it', async () => {
    const error = await expectCode(
      store.plain.write('prod/github', () => `${marker}\ud800`),
      'value-refused',
    );
    expectNoLeak(marker, error);
    expect(await store.plain.read('prod/github')).toBeNull();
  });
});

describe('writers of plain copies', () => {
  it('lose nothing of each other, in one process and in two', async () => {
    const lines = (prefix: string): string[] => Array.from({ length: 8 }, (_, index) => `${prefix}${String(index)}`);
    const other = createFileStore({ path });
    const add = (to: SecretStore, line: string) =>
      to.plain.write('prod/github', (present) => `${present ?? ''}${line}\n`);
    const outputs = await Promise.all([
      runProcess({ task: 'add', plain: true, path, secret: 'prod/github', versions: lines('c') }),
      ...lines('a').map((line) => add(store, line)),
      ...lines('b').map((line) => add(other, line)),
    ]);
    expect(outputs[0]).toBe('done');
    const written = (await store.plain.read('prod/github'))?.trim().split('\n').sort();
    expect(written).toEqual([...lines('a'), ...lines('b'), ...lines('c')]);
  });

  it('leave the old copy when killed before the rename, and no value once it was written again', async () => {
    await store.plain.write('prod/github', () => 'old');
    const killed = await outputOf(start({ task: 'die-before-rename', plain: true, path, secret: 'prod/github' }));
    expect(killed.signal).toBe('SIGKILL');
    const files = (): string[] => readdirSync(dirname(place)).sort();
    expect(files()).toEqual([expect.stringMatching(/^\.tmp-/), 'github']);
    expect(await store.plain.read('prod/github')).toBe('old');
    await store.plain.write('prod/github', () => 'new');
    expect(files()).toEqual(['github']);
  });

  it('change nothing and leave nothing when the disk fails them', async () => {
    await store.plain.write('prod/github', () => 'old');
    const task = { task: 'add', plain: true, path, secret: 'prod/github', failing: 'ENOSPC' } as const;
    expect(await runProcess(task)).toBe('store-unreachable');
    expect(readdirSync(dirname(place))).toEqual(['github']);
    expect(await store.plain.read('prod/github')).toBe('old');
  });

  it('wait for another writer of the same one; who reads does not', async () => {
    await store.plain.write('prod/github', () => 'old');
    const holder = start({ task: 'hold', plain: true, path, secret: 'prod/github' });
    if (holder.stdout === null) throw new Error('no output');
    await once(holder.stdout, 'data');
    const waiting = createFileStore({ path, clock: createFakeClock(), lockTimeoutMs: 0 });
    await expectCode(
      waiting.plain.write('prod/github', () => 'new'),
      'store-busy',
    );
    expect(await waiting.plain.read('prod/github')).toBe('old');
    const ended = once(holder, 'close');
    holder.kill('SIGKILL');
    await ended;
    await waiting.plain.write('prod/github', () => 'new');
    expect(await waiting.plain.read('prod/github')).toBe('new');
  });
});
