import { chmodSync, existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createSqliteUsageLog } from 'keyturn/usage/sqlite';
import { describe, expect, it } from 'vitest';
import { describeOn } from '../servers/describe.ts';
import { reportOf } from '../conformance/report-samples.ts';
import { openBao } from './support/bao.ts';
import { describeOnEach } from './support/describe-stores.ts';
import { freePort } from './support/free-port.ts';
import { filesBelow } from './support/leaks.ts';
import type { Finished, Later } from './support/processes.ts';
import { until } from './support/until.ts';
import { type CliOptions, World } from './support/world.ts';

interface Found {
  readonly healthy: boolean;
  readonly subjects: readonly {
    readonly kind: string;
    readonly name: string | null;
    readonly version: string | null;
    readonly capabilities: object | null;
    readonly findings: readonly { readonly name: string; readonly state: string; readonly message: string }[];
  }[];
  readonly advice: readonly { readonly subject: string; readonly state: string; readonly what: string }[];
}

/** `store local read` → `ok`. */
type States = Readonly<Record<string, string>>;

interface Examined {
  readonly done: Finished;
  readonly found: Found;
  readonly states: States;
}

async function examine(world: World, args: readonly string[] = [], options: CliOptions = {}): Promise<Examined> {
  const done = await world.run(['doctor', ...args, '--json'], options);
  const found = JSON.parse(done.stdout) as Found;
  const states = found.subjects.flatMap(({ kind, name, findings }) =>
    findings.map((each) => [[kind, name, each.name].filter((part) => part !== null).join(' '), each.state] as const),
  );
  expect(done.code, done.all).toBe(found.healthy ? 0 : 1);
  expect(found.healthy).toBe(!states.some(([, state]) => state === 'failed'));
  return { done, found, states: Object.fromEntries(states) };
}

/** One secret with a value, a receiver that reports, and a scheduler that was here. */
async function inOrder(later: Later): Promise<World> {
  const world = await World.open(later, { hook: { receivers: { reportEvery: '5s' } } });
  await world.begin();
  expect(await world.run(['run'])).toMatchObject({ code: 0 });
  await until('it reports', async () => (await world.status()).receivers.length > 0);
  return world;
}

function contentOf(world: World): readonly string[] {
  // SQLite and receivers write to these whenever they like.
  return [...filesBelow(world.folder)].flatMap(([path, bytes]) =>
    /-(?:wal|shm)$|usage\.db$|\/\.locks\//.test(path) ? [] : [`${path} ${bytes.toString('base64')}`],
  );
}

describe.concurrent('doctor', { timeout: 240_000 }, () => {
  it('finds nothing wrong where nothing is, and changes nothing', async ({ onTestFinished }) => {
    const world = await inOrder(onTestFinished);
    const before = contentOf(world);
    const { done, found, states } = await examine(world);
    expect(Object.entries(states).filter(([, state]) => state !== 'ok')).toEqual([]);
    expect(found.subjects.map(({ kind }) => kind)).toEqual([
      ...['credentials', 'store', 'journal', 'scheduler', 'usage', 'fleet', 'upstream'],
    ]);
    expect(states).toMatchObject({
      'store local read': 'ok',
      'store local commit': 'ok',
      'journal integrity': 'ok',
      'journal write': 'ok',
      'usage write': 'ok',
      'fleet roster': 'ok',
      'scheduler last-run': 'ok',
    });
    expect(found.subjects.map(({ kind, capabilities }) => [kind, capabilities !== null])).toEqual(
      found.subjects.map(({ kind }) => [kind, kind === 'store']),
    );
    expect(found.subjects.find(({ kind }) => kind === 'store')?.capabilities).toMatchObject({ comparedBy: 'lock' });
    expect(found.advice).toEqual([]);
    expect(contentOf(world).filter((each) => !before.includes(each))).toEqual([]);
    expect(world.hook().calls).toEqual([]);
    const text = await world.run(['doctor']);
    expect(text.stdout).toContain('✓ read ');
    expect(text.stdout.trimEnd().split('\n').at(-1)).toBe('Nothing is to be done.');
    expect(await world.run(['doctor', '--quiet'])).toMatchObject({ code: 0, stdout: '' });
    expect(done.all).not.toContain('adopted/');
    expect(world.leaks()).toEqual([]);
  });

  it('makes nothing where nothing is yet', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    const { states } = await examine(world);
    expect(states).toMatchObject({
      'store local modes': 'unknown',
      'journal file': 'unknown',
      'usage file': 'unknown',
    });
    expect(readdirSync(world.folder)).toEqual(['rotation-policy.json']);
  });

  it('tells all that is broken at once, what failed first, and what to do', async ({ onTestFinished }) => {
    const port = await freePort();
    const world = await World.open(onTestFinished, { hook: { url: `http://127.0.0.1:${String(port)}/hook` } });
    await world.adopt();
    writeFileSync(join(world.folder, '.keyturn/journal.db'), 'no database at all, and longer than its header would be');
    writeFileSync(join(world.folder, '.keyturn/secrets/hook.json'), '{');
    const { states, found } = await examine(world, [], { env: { HOOK_TOKEN: '' } });
    const failed = Object.entries(states).flatMap(([what, state]) => (state === 'failed' ? [what] : []));
    expect(failed).toEqual([
      ...['credentials credential', 'store local read', 'journal open'],
      `upstream 127.0.0.1:${String(port)} reach`,
    ]);
    expect(found.advice.map(({ state }) => state)).toEqual([...failed.map(() => 'failed'), 'warning']);
    const brief = await world.run(['doctor', '--quiet'], { env: { HOOK_TOKEN: '' } });
    expect(brief.stdout).not.toContain('✓');
    expect(brief.stdout).toMatch(/✗ read +The keyring of hook .* cannot be used: it is not whole JSON\./);
    expect(brief.stdout).toMatch(/To do, the most important first:\n {2}1\. credentials: Put the credential there\./);
    expect(brief.stdout).toContain('journal: Restore it from a backup.');
    expect(brief.code).toBe(1);
    expect(world.traces()).toEqual([]);
  });

  it('says of files that let others in, and of a format that the next command would change, and leaves them', async ({
    onTestFinished,
  }) => {
    const world = await inOrder(onTestFinished);
    const journal = join(world.folder, '.keyturn/journal.db');
    chmodSync(journal, 0o644);
    const open = await examine(world);
    expect(open.states['journal modes']).toBe('warning');
    expect(open.found).toMatchObject({ healthy: true, advice: [{ state: 'warning', what: `chmod 600 ${journal}` }] });
    expect(statSync(journal).mode & 0o777).toBe(0o644);
    const database = new DatabaseSync(journal);
    database.exec('PRAGMA user_version = 3');
    database.close();
    const older = await examine(world);
    expect(older.states['journal format']).toBe('warning');
    expect(older.states['journal integrity']).toBeUndefined();
    const again = new DatabaseSync(journal, { readOnly: true });
    expect(again.prepare('PRAGMA user_version').get()).toEqual({ user_version: 3 });
    again.close();
  });

  it('tries a store with --write, and leaves nothing of it', async ({ onTestFinished }) => {
    const world = await inOrder(onTestFinished);
    const before = contentOf(world);
    const { states } = await examine(world, ['--write']);
    expect(states).toMatchObject({
      'store local try-commit': 'ok',
      'store local try-read': 'ok',
      'store local try-compare': 'ok',
      'store local try-purge': 'ok',
      'store local try-remove': 'ok',
    });
    expect(contentOf(world).filter((each) => !before.includes(each))).toEqual([]);
  });

  it('looks at no more than a receiver needs, for a receiver', async ({ onTestFinished }) => {
    const world = await inOrder(onTestFinished);
    const { found, states } = await examine(world, ['--as', 'receiver'], { env: { HOOK_TOKEN: '' } });
    expect(found.subjects.map(({ kind }) => kind)).toEqual(['credentials', 'store', 'usage']);
    expect(states['store local commit']).toBeUndefined();
    expect(found.healthy).toBe(true);
  });

  it('warns where receivers lack, report from other machines, or nobody visits', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished, {
      hook: { receivers: { expect: 3, reportEvery: '10m', missingAfter: '60m' }, rotateEvery: '30d' },
    });
    await world.adopt();
    const usage = createSqliteUsageLog({ path: join(world.folder, '.keyturn/usage/usage.db') });
    for (const id of ['web-1-4711-ab3d', 'web-2-812-zz9y']) await usage.report(reportOf(id, { id, pool: 'default' }));
    await usage.close();
    const { done, found, states } = await examine(world);
    expect(states).toMatchObject({
      'fleet roster': 'warning',
      'fleet machines': 'warning',
      'scheduler last-run': 'warning',
    });
    expect(done.stdout).toContain('hook: 2 of 3 in pool default');
    expect(done.stdout).toContain('Receivers report from web-1, web-2');
    expect(found.healthy).toBe(true);
    expect(found.advice.find(({ subject }) => subject === 'scheduler')?.what).toContain('* * * * *');
  });

  it('says that a keyring was taken to another store', async ({ onTestFinished }) => {
    const world = await inOrder(onTestFinished);
    const stores = {
      local: { kind: 'file', path: '.keyturn/secrets' },
      other: { kind: 'file', path: '.keyturn/more' },
    };
    world.writePolicy({ secrets: { hook: {} }, more: { stores, defaults: { store: 'local' } } });
    expect(await world.run(['migrate', '--from', 'local', '--to', 'other'])).toMatchObject({ code: 0 });
    const { states, found } = await examine(world, ['--as', 'receiver']);
    expect(states['store local migrated']).toBe('warning');
    expect(found.advice[0]?.what).toBe('Give hook "store": "other" in this policy too.');
  });

  it('says of a host that takes the connection and speaks no TLS', async ({ onTestFinished }) => {
    const server = createServer((socket) => socket.end('no TLS'));
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
    });
    onTestFinished(() => void server.close());
    const host = `127.0.0.1:${String(port)}`;
    const world = await World.open(onTestFinished, { hook: { url: `https://${host}/hook` } });
    const { states, found } = await examine(world);
    expect(states[`upstream ${host} reach`]).toBe('failed');
    expect(found.healthy).toBe(false);
  });
});

describeOn('openbao', 'doctor on OpenBao (covers R-21)', (server) => {
  it(
    'names the version, each right that lacks, and tries all of them with --write',
    { timeout: 60_000 },
    async ({ onTestFinished }) => {
      const bao = await openBao(server, onTestFinished);
      const world = await World.open(onTestFinished);
      world.writePolicy({
        secrets: { hook: { more: { store: 'other', mirror: [{ key: 'apps/hook', format: 'plain' }] } } },
        more: { stores: { other: bao.store } },
      });
      const good = await examine(world, ['--write'], { env: bao.orchestrator });
      expect(good.found.subjects.find(({ kind }) => kind === 'store')?.version).toMatch(/^\d+\.\d+/);
      const ofStore = Object.entries(good.states).filter(([what]) => what.startsWith('store other '));
      expect(ofStore.filter(([, state]) => state !== 'ok')).toEqual([]);
      expect(ofStore.map(([what]) => what)).toEqual(
        expect.arrayContaining(['store other mount', 'store other clock', 'store other try-remove']),
      );
      expect(await bao.keys()).toEqual([]);

      const lacking = await examine(world, ['--write'], { env: bao.receiver });
      expect(lacking.states).toMatchObject({
        'store other reach': 'ok',
        'store other read': 'ok',
        'store other commit': 'failed',
        'store other purge': 'failed',
        'store other plain-write': 'failed',
        'store other try-commit': 'failed',
      });
      expect(lacking.done.stdout).toContain('create and update on secret/data/');
      expect((await examine(world, ['--as', 'receiver'], { env: bao.receiver })).found.healthy).toBe(true);

      bao.network.disturb('refuse');
      const cut = await examine(world, ['--write'], { env: bao.orchestrator });
      expect(cut.states['store other reach']).toBe('failed');
      expect(cut.states['store other try-commit']).toBeUndefined();
      await bao.network.calm();
      expect(await bao.keys()).toEqual([]);
      expect(existsSync(join(world.folder, '.keyturn'))).toBe(false);
      for (const { done } of [good, lacking, cut]) expect(done.all).not.toContain(bao.orchestrator['STORE_TOKEN']);
      expect(world.traces()).toEqual([]);
    },
  );
});

describeOnEach('doctor (covers R-20, R-22)', (openStore, server) => {
  it('tells by --write what nobody can tell without', { timeout: 60_000 }, async ({ onTestFinished }) => {
    const on = await openStore(onTestFinished);
    const world = await World.open(onTestFinished);
    world.writePolicy({ secrets: { hook: { more: { store: 'other' } } }, more: { stores: { other: on.store } } });
    const looked = await examine(world, [], { env: on.orchestratorEnv });
    expect(looked.states).toMatchObject({
      'store other reach': 'ok',
      'store other commit': server === 'openbao' ? 'ok' : 'unknown',
    });
    const { states, done } = await examine(world, ['--write'], { env: on.orchestratorEnv });
    expect(states, done.all).toMatchObject({
      'store other try-commit': 'ok',
      'store other try-read': 'ok',
      'store other try-compare': 'ok',
      'store other try-purge': 'ok',
      'store other try-remove': 'ok',
    });
    for (const value of Object.values(on.orchestratorEnv)) expect(done.all).not.toContain(value);

    on.network.disturb('refuse');
    const cut = await examine(world, ['--write'], { env: on.orchestratorEnv });
    expect(cut.states['store other reach']).toBe('failed');
    await on.network.calm();
  });
});
