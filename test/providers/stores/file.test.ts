import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { documentPath } from '../../../providers/stores/file/name.ts';
import { lockOf, withDocumentLock } from '../../../providers/stores/file/lock.ts';
import { createFileStore } from '../../../providers/stores/file.ts';
import { createFakeClock } from '../../../src/memory/clock.ts';
import type { SecretStore } from '../../../src/ports/secret-store.ts';
import {
  adding,
  describeSecretStore,
  errorOf,
  expectCode,
  expectFailed,
  firstKeyring,
  next,
  readOne,
  readPresent,
} from '../../conformance/secret-store.ts';
import {
  isRoot,
  modeOf,
  nobody,
  outputOf,
  putDocument,
  runProcess,
  start,
  storeFolders,
  fileLacks,
} from './support.ts';

const freshFolder = storeFolders('keyturn-file-store-');

describeSecretStore('file', {
  lacks: fileLacks,
  open: () => {
    const path = freshFolder();
    return Promise.resolve({
      adapter: () => createFileStore({ path }),
      name: (secret) => ({ secret, key: secret }),
      overwrite: (name, text) => {
        putDocument(path, name, text);
        return Promise.resolve();
      },
      olderTexts: () => Promise.resolve([]),
      overwritePlain: (key, text) => {
        writeFileSync(join(path, '.plain', key), text, { mode: 0o600 });
      },
    });
  },
});

let path: string;
let store: SecretStore;
let place: string;
const name = { secret: 'hook', key: 'hook' };

beforeEach(() => {
  path = freshFolder();
  store = createFileStore({ path });
  place = join(path, 'hook.json');
});

/** The lock of the document at `place`. */
function lockFile(): string {
  return join(path, '.locks', lockOf('hook.json'));
}

function expectPrivateLocks(folder: string): void {
  const locks = join(folder, '.locks');
  expect(modeOf(locks)).toBe('700');
  const files = readdirSync(locks);
  expect(files.toSorted()).toEqual([expect.stringMatching(/^\d\d$/), expect.stringMatching(/^\d\d\.holder$/)]);
  for (const file of files) expect(modeOf(join(locks, file))).toBe('600');
}

describe('file names', () => {
  it('keeps simple keys readable, with folders for slashes', () => {
    const file = (key: string): string => documentPath({ secret: key, key }).file;
    expect(file('production/globex/meta.verify-token_1')).toBe('production/globex/meta.verify-token_1.json');
    expect(file('Hook')).toBe('%48ook.json');
    expect(file('a.json')).toBe('a.json.json');
    expect(file('a.json/b')).toBe('a%2ejson/b.json');
    expect(file('../../etc/passwd')).toBe('%2e./%2e./etc/passwd.json');
    expect(file('/etc//passwd')).toBe('%/etc/%/passwd.json');
    expect(file('é')).toBe('%c3%a9.json');
    expect(documentPath({ secret: 'x', key: 'a/b/c' }).folders).toEqual(['a', 'a/b']);
  });

  it('never leaves the folder, never meets a name of the store’s own, and never names two keys alike', () => {
    const piece = fc.constantFrom(
      '.',
      '..',
      '/',
      '//',
      '%',
      '%2e',
      '.json',
      '.locks',
      '.tmp-',
      'a',
      'A',
      'é',
      'e\u0301',
      'ß',
      'ı',
      '\0',
      '\\',
      '\n',
      ' ',
      '~',
      '-',
    );
    const key = fc.oneof(
      fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join('')),
      fc.string({ unit: 'binary', maxLength: 12 }),
    );
    fc.assert(
      fc.property(key, key, (one, other) => {
        const { file, folders: above } = documentPath({ secret: 'x', key: one });
        expect(file).toMatch(/^(?:[a-z0-9_%-][a-z0-9._%-]*\/)*[a-z0-9_%-][a-z0-9._%-]*\.json$/);
        expect(join('/root', file)).toBe(`/root/${file}`);
        for (const folder of above) expect(folder.endsWith('.json')).toBe(false);
        if (one !== other) expect(documentPath({ secret: 'x', key: other }).file).not.toBe(file);
      }),
      { numRuns: 1_000, seed: 1 },
    );
  });

  it('refuses a key that no file can be named after', async () => {
    await expectFailed(store, { secret: 'hook', key: 'x'.repeat(251) }, 'policy-invalid');
    await expectFailed(store, { secret: 'hook', key: '\ud800' }, 'policy-invalid');
    const error = await errorOf(store.commit({ secret: 'hook', key: 'É'.repeat(60) }, firstKeyring('hook'), null));
    expect(error.code).toBe('policy-invalid');
    expect(existsSync(path)).toBe(false);
  });
});

describe('modes and owners', () => {
  it('makes 0600 documents in 0700 folders whatever the umask is', async () => {
    for (const umask of [0, 0o077, 0o277]) {
      const own = freshFolder();
      const nested = 'production/globex/hook';
      expect(await runProcess({ task: 'first-commit', path: own, secret: nested, umask })).toBe('done');
      expect(modeOf(own)).toBe('700');
      expect(modeOf(join(own, 'production'))).toBe('700');
      expect(modeOf(join(own, 'production/globex'))).toBe('700');
      expect(modeOf(join(own, 'production/globex/hook.json'))).toBe('600');
      expectPrivateLocks(own);
    }
  });

  it('leaves nothing but the document and the folder of the locks', async () => {
    await store.commit(name, firstKeyring('hook'), null);
    expect(readdirSync(path).sort()).toEqual(['.locks', 'hook.json']);
  });

  it.each([0o644, 0o640, 0o604, 0o660])('refuses a document that is too open (%o) and says the chmod', async (mode) => {
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    const { token } = await readPresent(store, name);
    chmodSync(place, mode);
    const error = await expectFailed(store, name, 'store-denied');
    expect(error.hint).toContain(`chmod 600 ${place}`);
    await expectCode(store.commit(name, next(first, adding('v2', 'second')), token), 'store-denied');
    chmodSync(place, 0o600);
    await store.commit(name, next(first, adding('v2', 'second')), token);
    expect(modeOf(place)).toBe('600');
  });

  it('quotes a path in the command it prints', async () => {
    const odd = join(path, "it's here");
    const there = createFileStore({ path: odd });
    await there.commit(name, firstKeyring('hook'), null);
    chmodSync(join(odd, 'hook.json'), 0o644);
    const error = await expectFailed(there, name, 'store-denied');
    expect(error.hint).toContain(`chmod 600 '${path}/it'\\''s here/hook.json'`);
  });

  it('refuses a folder that others may write to', async () => {
    await store.commit(name, firstKeyring('hook'), null);
    chmodSync(path, 0o770);
    const error = await expectFailed(store, name, 'store-denied');
    expect(error.hint).toContain(`chmod go-w ${path}`);
    await expectCode(store.commit({ secret: 'b', key: 'b' }, firstKeyring('b'), null), 'store-denied');
    chmodSync(path, 0o755);
    await readPresent(store, name);
  });

  it('refuses a group that is not there', () => {
    expect(() => createFileStore({ path, group: 'no-such-group' })).toThrow(/"no-such-group" is not in \/etc\/group/);
    try {
      createFileStore({ path, group: 'no-such-group' });
    } catch (error) {
      expect(error).toMatchObject({ code: 'policy-invalid', hint: expect.stringMatching(/groupadd no-such-group/) });
    }
  });

  it('shares with a group of ours: 0640 in 0750, and a lock file that stays private', async () => {
    const gid = process.getgid?.() ?? 0;
    const group = readFileSync('/etc/group', 'utf8')
      .split('\n')
      .find((line) => line.split(':')[2] === String(gid))
      ?.split(':')[0];
    const shared = createFileStore({ path, group: group ?? String(gid) });
    const nested = { secret: 'globex/hook', key: 'globex/hook' };
    await shared.commit(nested, firstKeyring(nested.secret), null);
    await readPresent(shared, nested);
    expect(modeOf(path)).toBe('750');
    expect(modeOf(join(path, 'globex'))).toBe('750');
    expect(modeOf(join(path, 'globex/hook.json'))).toBe('640');
    expectPrivateLocks(path);
    const error = await expectFailed(store, nested, 'store-denied');
    expect(error.hint).toContain('chmod 600');
  });

  it('lets the group into documents that were there before it, at their next commit', async () => {
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    const shared = createFileStore({ path, group: String(process.getgid?.()) });
    const { token } = await readPresent(shared, name);
    await shared.commit(name, next(first, adding('v2', 'second')), token);
    expect(modeOf(path)).toBe('750');
    expect(modeOf(place)).toBe('640');
  });
});

describe('other users', () => {
  beforeEach((context) => {
    context.skip(!isRoot, 'only root can become another user');
  });

  it('refuses a document of a foreign owner and says what to do', async () => {
    await store.commit(name, firstKeyring('hook'), null);
    chownSync(place, nobody, nobody);
    const error = await expectFailed(store, name, 'store-denied');
    expect(error.message).toContain(`belongs to user ${String(nobody)}`);
    expect(error.hint).toContain(`chown 0 ${place}`);
    await expectCode(store.commit(name, firstKeyring('hook'), null), 'store-denied');
  });

  it('refuses a folder of a foreign owner, and leaves nothing in it', async () => {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chownSync(path, nobody, nobody);
    await expectFailed(store, name, 'store-denied');
    await expectCode(store.commit(name, firstKeyring('hook'), null), 'store-denied');
    expect(readdirSync(path)).toEqual([]);
  });

  it('can be read, and not written, by a member of the group; by nobody else', async () => {
    mkdirSync(dirname(path), { mode: 0o755 });
    const shared = createFileStore({ path, group: String(nobody) });
    await shared.commit(name, firstKeyring('hook'), null);
    const task = { path, secret: 'hook', group: String(nobody) };
    expect(await runProcess({ task: 'read', ...task }, nobody)).toBe('present');
    expect(await runProcess({ task: 'add', versions: ['v2'], ...task }, nobody)).toBe('store-denied');
    expect(await runProcess({ task: 'read', ...task }, nobody - 1)).toBe('store-denied');
    expect((await readPresent(shared, name)).keyring.revision).toBe(1);
  });

  it('refuses a document that another group than the configured one may read', async () => {
    const shared = createFileStore({ path, group: String(nobody) });
    await shared.commit(name, firstKeyring('hook'), null);
    chownSync(place, 0, nobody - 1);
    const error = await expectFailed(shared, name, 'store-denied');
    expect(error.hint).toContain(`chgrp ${String(nobody)} ${place}`);
  });

  it('answers store-denied to a user who may not enter the folder', async () => {
    mkdirSync(dirname(path), { mode: 0o755 });
    await store.commit(name, firstKeyring('hook'), null);
    expect(await runProcess({ task: 'read', path, secret: 'hook' }, nobody)).toBe('store-denied');
    expect(await runProcess({ task: 'add', path, secret: 'hook' }, nobody)).toBe('store-denied');
  });

  it('answers store-denied to a commit into a folder that may only be read', async () => {
    mkdirSync(path, { recursive: true, mode: 0o755 });
    chmodSync(dirname(path), 0o755);
    chmodSync(path, 0o755);
    expect(await runProcess({ task: 'read', path, secret: 'hook' }, nobody)).toBe('absent');
    expect(await runProcess({ task: 'add', path, secret: 'hook' }, nobody)).toBe('store-denied');
    expect(readdirSync(path)).toEqual([]);
  });
});

// Root may write anywhere, and tried another user above.
if (!isRoot) {
  describe('read-only folders', () => {
    it('can be read, and answer store-denied to a commit', async () => {
      const first = firstKeyring('hook');
      await store.commit(name, first, null);
      const { token } = await readPresent(store, name);
      chmodSync(path, 0o500);
      chmodSync(lockFile(), 0o400);
      expect((await readPresent(store, name)).keyring).toEqual(first);
      await expectCode(store.commit(name, next(first, adding('v2', 'second')), token), 'store-denied');
      chmodSync(path, 0o700);
    });
  });
}

describe('folders that are missing, or something else', () => {
  it('reads every secret as absent where the folder is missing, and makes nothing', async () => {
    expect((await readOne(store, name)).state).toBe('absent');
    expect((await readOne(store, { secret: 'a/b', key: 'a/b' })).state).toBe('absent');
    await store.purge(name);
    expect(existsSync(dirname(path))).toBe(false);
  });

  it('refuses a symbolic link among its folders, but not at its root', async () => {
    const real = freshFolder();
    mkdirSync(real, { recursive: true, mode: 0o700 });
    mkdirSync(path, { recursive: true, mode: 0o700 });
    symlinkSync(real, join(path, 'globex'));
    const behind = { secret: 'globex/live/hook', key: 'globex/live/hook' };
    await expectFailed(store, behind, 'store-denied');
    const shared = createFileStore({ path, group: String(process.getgid?.()) });
    await expectCode(shared.commit(behind, firstKeyring(behind.secret), null), 'store-denied');
    expect(readdirSync(real)).toEqual([]);
    expect(modeOf(real)).toBe('700');
    const linked = createFileStore({ path: join(path, 'globex') });
    await linked.commit(name, firstKeyring('hook'), null);
    expect((await readOne(createFileStore({ path: real }), name)).state).toBe('present');
  });

  it('answers store-unreachable where the folder is a file', async () => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, '');
    await expectFailed(store, name, 'store-unreachable');
    await expectCode(store.commit(name, firstKeyring('hook'), null), 'store-unreachable');
    const inside = createFileStore({ path: join(path, 'deeper') });
    const error = await expectFailed(inside, name, 'store-unreachable');
    expect(error.message).toMatch(/a part of the path is a file/);
    await expectCode(inside.commit(name, firstKeyring('hook'), null), 'store-unreachable');
  });

  it('names a damaged lock file', async () => {
    mkdirSync(join(path, '.locks'), { recursive: true, mode: 0o700 });
    writeFileSync(lockFile(), 'no database'.repeat(100), { mode: 0o600 });
    const error = await expectCode(store.commit(name, firstKeyring('hook'), null), 'store-corrupt');
    expect(error.message).toContain(lockFile());
  });
});

describe('reading', () => {
  /** Counts the turns of the event loop while `work` goes on. */
  async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
    let [turns, isOver] = [0, false];
    const count = (): void => {
      if (isOver) return;
      turns += 1;
      setImmediate(count);
    };
    setImmediate(count);
    await work();
    isOver = true;
    return turns;
  }

  it('lets the event loop turn after each millisecond of it', async () => {
    let now = 0;
    const slow = createFileStore({ path, clock: { ...createFakeClock(), monotonic: () => (now += 1) } });
    const names = Array.from({ length: 40 }, (_, index) => ({
      secret: `s-${String(index)}`,
      key: `s-${String(index)}`,
    }));
    for (const each of names) putDocument(path, each, 'is none');
    expect(await turnsDuring(() => slow.read(names))).toBeGreaterThanOrEqual(20);
  });

  it('keeps nobody from working who reads again and again', async () => {
    const turns = await turnsDuring(async () => {
      for (let times = 0; times < 20; times += 1) await store.read([name]);
    });
    expect(turns).toBeGreaterThanOrEqual(20);
  });
});

describe('writers', () => {
  it('lose no update: two processes, 50 commits each', async () => {
    const versions = (prefix: string): string[] =>
      Array.from({ length: 50 }, (_, index) => `${prefix}${String(index)}`);
    const outputs = await Promise.all(
      ['a', 'b'].map((prefix) => runProcess({ task: 'add', path, secret: 'hook', versions: versions(prefix) })),
    );
    expect(outputs).toEqual(['done', 'done']);
    const { keyring } = await readPresent(store, name);
    expect(keyring.revision).toBe(100);
    expect(keyring.versions.map((version) => version.id).sort()).toEqual([...versions('a'), ...versions('b')].sort());
  });

  it('of one process queue up, also through two spellings of the folder', async () => {
    await store.commit(name, firstKeyring('hook'), null);
    const alias = join(dirname(path), 'alias');
    symlinkSync(path, alias);
    const stores = [
      store,
      createFileStore({ path: alias, lockTimeoutMs: 0 }),
      createFileStore({ path, lockTimeoutMs: 0 }),
    ];
    const names = Array.from({ length: 12 }, (_, index) => ({ secret: `s${String(index)}`, key: `s${String(index)}` }));
    await Promise.all(names.map((each, index) => stores[index % 3]!.commit(each, firstKeyring(each.secret), null)));
    for (const each of names) await readPresent(store, each);
  });

  it('give up with the name of the process that holds the lock, and go on once it is dead', async () => {
    await store.commit(name, firstKeyring('hook'), null);
    const holder = start({ task: 'hold', path, secret: 'hook' });
    if (holder.stdout === null) throw new Error('no output');
    await once(holder.stdout, 'data');
    const clock = createFakeClock();
    const waiting = createFileStore({ path, clock });
    const { keyring, token } = await readPresent(store, name);
    const changed = next(keyring, adding('v2', 'second'));
    const refused = expectCode(waiting.commit(name, changed, token), 'store-busy');
    while (clock.monotonic() < 5_000) {
      await readPresent(waiting, name);
      await clock.advance(clock.sleepers === 0 ? 0 : 100);
    }
    const error = await refused;
    expect(error.message).toContain(`process ${String(holder.pid)} on ${hostname()}`);
    expect(error.details).toMatchObject({ waitedMs: 5_000, holder: { pid: String(holder.pid) } });
    const ended = once(holder, 'close');
    holder.kill('SIGKILL');
    await ended;
    await waiting.commit(name, changed, token);
  });

  it('of other documents do not wait for them, and leave their temporary files alone', async () => {
    await store.commit(name, firstKeyring('hook'), null);
    const holder = start({ task: 'hold', path, secret: 'hook' });
    if (holder.stdout === null) throw new Error('no output');
    await once(holder.stdout, 'data');
    const temporary = join(path, `.tmp-${lockOf('hook.json')}-1-other`);
    writeFileSync(temporary, 'a value', { mode: 0o600 });
    const other = { secret: 'other', key: 'other' };
    expect(lockOf('other.json')).not.toBe(lockOf('hook.json'));
    const impatient = createFileStore({ path, lockTimeoutMs: 0 });
    await impatient.commit(other, firstKeyring('other'), null);
    await impatient.purge(other);
    expect(existsSync(temporary)).toBe(true);
    const ended = once(holder, 'close');
    holder.kill('SIGKILL');
    await ended;
    await impatient.purge(name);
    expect(existsSync(temporary)).toBe(false);
  });

  it('of many documents share few locks, and of one document have one however its name is spelt', () => {
    const locks = new Set(Array.from({ length: 2_000 }, (_, index) => lockOf(`s${String(index)}.json`)));
    expect(locks.size).toBe(64);
    expect(lockOf('.plain/Prod.env')).toBe(lockOf('.plain/prod.ENV'));
  });

  it('go on where the name of the last one cannot be written', async () => {
    await store.commit(name, firstKeyring('hook'), null);
    rmSync(`${lockFile()}.holder`);
    mkdirSync(`${lockFile()}.holder`);
    const { keyring, token } = await readPresent(store, name);
    await store.commit(name, next(keyring, adding('v2', 'second')), token);
  });

  it('wait for the lock without blocking, and get it when it is free', async () => {
    const clock = createFakeClock();
    await store.commit(name, firstKeyring('hook'), null);
    const holder = start({ task: 'hold', path, secret: 'hook' });
    if (holder.stdout === null) throw new Error('no output');
    await once(holder.stdout, 'data');
    const { keyring, token } = await readPresent(store, name);
    const changed = next(keyring, adding('v2', 'second'));
    const commit = createFileStore({ path, clock }).commit(name, changed, token);
    while (clock.sleepers === 0) await readPresent(store, name);
    const ended = once(holder, 'close');
    holder.kill('SIGKILL');
    await ended;
    await clock.advance(50);
    await commit;
    expect((await readPresent(store, name)).keyring).toEqual(changed);
  });

  it('release the lock when their work fails', async () => {
    mkdirSync(path, { recursive: true });
    const options = { folder: path, lock: lockOf('hook.json'), clock: createFakeClock(), timeoutMs: 0 };
    await expect(withDocumentLock(options, () => Promise.reject(new Error('work')))).rejects.toThrow('work');
    expect(await withDocumentLock(options, () => Promise.resolve('next'))).toBe('next');
  });

  it('leave the old document when killed before the rename, and their leftovers are cleared by the next one', async () => {
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    const { token } = await readPresent(store, name);
    const killed = await outputOf(start({ task: 'die-before-rename', path, secret: 'hook', versions: ['v9'] }));
    expect(killed.signal).toBe('SIGKILL');
    const leftovers = (): string[] => readdirSync(path).filter((file) => file.startsWith('.tmp-'));
    const [leftover] = leftovers();
    expect(leftover).toBeDefined();
    expect(modeOf(join(path, leftover ?? ''))).toBe('600');
    const after = await readPresent(store, name);
    expect(after).toEqual({ state: 'present', keyring: first, token });
    await store.commit(name, next(first, adding('v2', 'second')), token);
    expect(leftovers()).toEqual([]);
  });

  it('leave no value behind after a purge', async () => {
    await store.commit(name, firstKeyring('hook'), null);
    writeFileSync(join(path, `.tmp-${lockOf('hook.json')}-1-left`), 'a value', { mode: 0o600 });
    await store.purge(name);
    await store.purge(name);
    expect(readdirSync(path).filter((file) => file.startsWith('.tmp-'))).toEqual([]);
    await readPresent(store, name);
  });

  it('change nothing and leave nothing when the disk fails them', async () => {
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    for (const failing of ['EIO', 'ENOSPC'] as const) {
      const task = { task: 'add', path, secret: 'hook', versions: ['v9'], failing } as const;
      expect(await runProcess(task)).toBe('store-unreachable');
      expect(readdirSync(path).sort()).toEqual(['.locks', 'hook.json']);
    }
    expect((await readPresent(store, name)).keyring).toEqual(first);
  });

  it('are seen whole by readers, at every moment', async () => {
    await store.commit(name, firstKeyring('hook'), null);
    const versions = Array.from({ length: 30 }, (_, index) => `v${String(index + 2)}`);
    const writing = runProcess({ task: 'add', path, secret: 'hook', versions });
    const writer = { ended: false };
    void writing.finally(() => (writer.ended = true));
    let revision = 1;
    while (!writer.ended) {
      const { keyring } = await readPresent(store, name);
      expect(keyring.revision).toBeGreaterThanOrEqual(revision);
      revision = keyring.revision;
    }
    expect(await writing).toBe('done');
  });
});
