import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LabelledVersion } from '../../src/model/active-secrets.ts';
import { isKeyturnError, KeyturnError, type ErrorCode } from '../../src/model/errors.ts';
import { idleLeaseMs } from '../../src/orchestrator/tenure.ts';
import type { Journal, JournalEvent } from '../../src/ports/journal.ts';
import { leaks } from '../process/support/leaks.ts';
import { policyOf, World } from './world.ts';

const value = 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const old = `${value}-old`;

const versions: readonly LabelledVersion[] = [
  { id: 'v1', value: old, createdAt: '2023-10-01T10:00:00.000Z', stage: 'deprecated' },
  { id: 'v2', value, createdAt: '2023-11-01T10:00:00.000Z', stage: 'primary' },
];

const names = ['sandbox/hook', 'production/hook', 'token'] as const;
const [sandbox, production, token] = names;

let world: World;
beforeEach(() => {
  world = new World(names.map((secret) => policyOf({ secret, scheme: secret === token ? null : 'github' })));
});
afterEach(() => world.close());

async function errorOf(work: Promise<unknown>): Promise<KeyturnError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (isKeyturnError(error)) return error;
  throw new Error('no error of keyturn was thrown', { cause: error });
}

async function expectCode(work: Promise<unknown>, code: ErrorCode): Promise<KeyturnError> {
  const error = await errorOf(work);
  expect(error).toMatchObject({ code });
  const said = `${error.message} ${error.hint ?? ''} ${JSON.stringify(error.details)}`;
  expect(leaks([value, old], new Map([['the error', said]]))).toEqual([]);
  return error;
}

/** What the audit trail has of a secret, without any value. */
async function events(secret: string): Promise<readonly JournalEvent[]> {
  const found = await world.journal.events({ secret });
  expect(leaks([value, old], new Map([['the journal', JSON.stringify(found)]]))).toEqual([]);
  return found;
}

/** The journal with another way to note something; the rest is what an intake asks it for. */
function journalWith(note: Journal['note']): Journal {
  const { journal } = world;
  const runs: Journal['runs'] = (query) => journal.runs(query);
  return Object.assign(Object.create(journal) as Journal, { note, runs });
}

/** What waits for a lease goes on only as time passes. */
async function asTimePasses<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  await world.clock.advance(20_000);
  return work;
}

async function stageById(secret: string): Promise<Readonly<Record<string, string>>> {
  return Object.fromEntries((await world.keyring(secret)).versions.map(({ id, stage }) => [id, stage]));
}

describe('a value that is in use', () => {
  it('becomes the primary, and the audit trail says who took it over before it is there', async () => {
    const keyring = await world.orchestrator.adopt(production, value);
    expect(keyring.versions).toMatchObject([{ stage: 'primary', value }]);
    expect(await world.keyring(production)).toEqual(keyring);
    const [noted, ...more] = await events(production);
    expect(more).toEqual([]);
    expect(noted).toMatchObject({ event: 'adopt', run: null, step: null, at: world.clock.now() });
    expect(noted?.data).toEqual({ who: 'someone@here', versions: [{ id: keyring.versions[0]?.id, stage: 'primary' }] });
  });

  it('is not taken while nobody can look what receivers hold: the store may have lost a keyring', async () => {
    world.usageDown = true;
    await expectCode(world.orchestrator.adopt(production, value), 'usage-unreachable');
    expect([world.place.newest(production), await events(production)]).toEqual([null, []]);
    world.usageDown = false;
    expect((await world.orchestrator.adopt(production, value)).revision).toBe(1);
  });

  it.each([{ store: 'other' }, { key: 'prod/elsewhere' }])(
    'is not taken to another place while a run goes on in the first one: %j',
    async (change) => {
      await world.orchestrator.adopt(production, value);
      const { run } = await world.orchestrator.rotate(production);
      const { policy } = world.parts;
      const secrets = policy.secrets.map((each) => (each.secret === production ? { ...each, ...change } : each));
      const elsewhere = world.another({ policy: { ...policy, secrets } });
      const error = await expectCode(elsewhere.adopt(production, 'another-value-altogether'), 'wrong-state');
      expect(error.message).toContain(run.id);
      expect(world.place.newest('prod/elsewhere')).toBeNull();
    },
  );

  it('is not taken where the audit trail cannot be written', async () => {
    const broken = new KeyturnError('journal-unreachable', 'The disk is full.');
    const journal = journalWith(() => Promise.reject(broken));
    await expectCode(world.another({ journal }).adopt(production, value), 'journal-unreachable');
    expect(world.place.newest(production)).toBeNull();
  });

  it('is refused where the secret has one, and nothing is noted', async () => {
    await world.orchestrator.adopt(production, value);
    const error = await expectCode(world.orchestrator.adopt(production, old), 'secret-exists');
    expect(error.hint).toContain(`keyturn rotate ${production}`);
    expect(await events(production)).toHaveLength(1);
    expect((await world.keyring(production)).versions).toMatchObject([{ value }]);
  });

  it('that looks like a mistake is taken only when a person says so, which is noted', async () => {
    const error = await expectCode(world.orchestrator.adopt(production, `"${value}"`), 'value-refused');
    expect(error.message).toBe('The value for production/hook is wrapped in quotes.');
    expect(error.hint).toContain('--as-is');
    expect(await events(production)).toEqual([]);
    await world.orchestrator.adopt(production, `"${value}"`, { asIs: true });
    expect((await world.keyring(production)).versions).toMatchObject([{ value: `"${value}"` }]);
    expect((await events(production))[0]?.data).toMatchObject({ asIs: true });
  });

  it('that surely is a mistake is never taken', async () => {
    const error = await expectCode(world.orchestrator.adopt(production, '••••••••', { asIs: true }), 'value-refused');
    expect(error.hint).not.toContain('--as-is');
    expect(world.place.newest(production)).toBeNull();
  });

  it('may be a short key, and not a short token that is compared as it is (R-52)', async () => {
    await world.orchestrator.adopt(production, 'short-key');
    const error = await expectCode(world.orchestrator.adopt(token, 'short-token'), 'value-refused');
    expect(error.message).toContain('16 characters');
    await world.orchestrator.adopt(token, 'short-token', { asIs: true });
  });
});

describe('no two secrets have the same value (R-05)', () => {
  it('refuses the value of another secret, primary or not, and names that secret', async () => {
    await world.orchestrator.import(new Map([[sandbox, versions]]));
    for (const shared of [value, old]) {
      const error = await expectCode(world.orchestrator.adopt(production, shared), 'value-shared');
      expect(error.message).toContain(`the same value as ${sandbox}`);
      expect(error.details).toEqual({ secret: production, sharedWith: sandbox });
    }
    expect(world.place.newest(production)).toBeNull();
    expect(await events(production)).toEqual([]);
  });

  it('takes a value that another secret has no more', async () => {
    await world.orchestrator.import(new Map([[sandbox, versions]]));
    const keyring = await world.keyring(sandbox);
    const revoked = keyring.versions.map((version) =>
      version.id === 'v1'
        ? { ...version, stage: 'revoked' as const, value: null, revokedAt: version.createdAt }
        : version,
    );
    const read = (await world.store.read([{ secret: sandbox, key: sandbox }])).get(sandbox);
    if (read?.state !== 'present') throw new Error('it was imported');
    const next = { ...keyring, versions: revoked, revision: keyring.revision + 1, commits: ['c-x'] };
    await world.store.commit({ secret: sandbox, key: sandbox }, next, read.token);
    await world.orchestrator.adopt(production, old);
  });

  it('takes it all the same when a person says so, which is noted', async () => {
    await world.orchestrator.adopt(sandbox, value);
    await world.orchestrator.adopt(production, value, { skipDuplicateCheck: true });
    expect((await events(production))[0]?.data).toMatchObject({ skipDuplicateCheck: true });
  });

  it('of several in one import, the first has it', async () => {
    const taken = await world.orchestrator.import(
      new Map<string, string | readonly LabelledVersion[]>([
        [sandbox, value],
        [production, versions],
        [token, 'another-value-for-it'],
      ]),
    );
    expect([...taken.values()].map((each) => isKeyturnError(each, 'value-shared'))).toEqual([false, true, false]);
    expect(await stageById(token)).toBeDefined();
    expect(world.place.newest(production)).toBeNull();
  });

  it('of two processes that bring the same value at the same moment, one is refused', async () => {
    const both = await asTimePasses(
      Promise.allSettled([world.orchestrator.adopt(sandbox, value), world.another({}).adopt(production, value)]),
    );
    expect(both.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const refused = both.find((each) => each.status === 'rejected');
    expect(refused?.reason).toMatchObject({ code: 'value-shared' });
  });

  it('is not guessed: where another secret cannot be read, the way out is a word of a person', async () => {
    const failure = new KeyturnError('store-corrupt', 'It is not whole JSON.', { hint: 'Restore it from a backup.' });
    world.store.control.fail(sandbox, failure);
    const error = await expectCode(world.orchestrator.adopt(production, value), 'store-corrupt');
    expect(error.message).toContain(sandbox);
    expect(error.hint).toBe('Restore it from a backup. To take it over without comparing: --skip-duplicate-check.');
    await world.orchestrator.adopt(production, value, { skipDuplicateCheck: true });
    expect((await world.keyring(production)).versions).toHaveLength(1);
  });

  it('is not guessed either where a whole store cannot be opened', async () => {
    world = new World([policyOf({ secret: sandbox, store: 'far' }), policyOf({ secret: production })], {
      store: (name) => (name === 'far' ? Promise.reject(new Error('no such module')) : Promise.resolve(world.store)),
    });
    const error = await expectCode(world.orchestrator.adopt(production, value), 'store-unreachable');
    expect(error.message).toContain('The store far failed');
    expect(error.hint).toContain('--skip-duplicate-check');
  });

  it('asks each store once for a batch of secrets, not once for each', async () => {
    const many = Array.from({ length: 600 }, (_, index) => policyOf({ secret: `hook-${String(index)}` }));
    world = new World(many);
    const before = world.store.control.calls.reads;
    await world.orchestrator.adopt('hook-0', value);
    // The secret's own, and two batches.
    expect(world.store.control.calls.reads - before).toBe(3);
  });

  it('does not outlive its lease: whoever was stopped meanwhile writes nothing', async () => {
    const slow = Object.assign(Object.create(world.store) as typeof world.store, {
      read: async (asked: Parameters<typeof world.store.read>[0]) => {
        const read = await world.store.read(asked);
        if (asked.length > 1) await world.clock.advance(120_000);
        return read;
      },
    });
    const stopped = world.another({ store: () => Promise.resolve(slow) });
    await expectCode(stopped.adopt(production, value), 'lease-lost');
    expect(world.place.newest(production)).toBeNull();
    expect(await events(production)).toEqual([]);
  });

  it('does not outlive its lease right before the commit either', async () => {
    const journal = journalWith(async (event) => {
      await world.journal.note(event);
      await world.clock.advance(120_000);
    });
    await expectCode(world.another({ journal }).adopt(production, value), 'lease-lost');
    expect(world.place.newest(production)).toBeNull();
  });
});

describe('versions with labels (R-24)', () => {
  it('keep them as ids, with their stages and moments; one commit, one event', async () => {
    const taken = await world.orchestrator.import(new Map([[production, versions]]));
    const keyring = await world.keyring(production);
    expect(taken).toEqual(new Map([[production, keyring]]));
    expect(keyring).toMatchObject({
      revision: 1,
      claim: null,
      versions: [
        { id: 'v1', stage: 'deprecated', value: old, createdAt: '2023-10-01T10:00:00.000Z' },
        { id: 'v2', stage: 'primary', value, createdAt: '2023-11-01T10:00:00.000Z' },
      ],
    });
    expect(await events(production)).toMatchObject([
      { event: 'import', message: 'Importing 2 versions.', data: { versions: [{ id: 'v1' }, { id: 'v2' }] } },
    ]);
  });

  it('may have a primary that is older than what is deprecated, and several that are', async () => {
    const back: readonly LabelledVersion[] = [
      { id: 'v1', value: 'one', createdAt: '2023-09-01T00:00:00.000Z', stage: 'deprecated' },
      { id: 'v2', value: 'two', createdAt: '2023-10-01T00:00:00.000Z', stage: 'primary' },
      { id: 'v3', value: 'three', createdAt: '2023-11-01T00:00:00.000Z', stage: 'deprecated' },
    ];
    await world.orchestrator.import(new Map([[production, back]]));
    expect(await stageById(production)).toEqual({ v1: 'deprecated', v2: 'primary', v3: 'deprecated' });
  });

  it('are all taken or none: one that is refused keeps the others out', async () => {
    const polluted = versions.map((version) => ({ ...version, value: `${version.value}\n` }));
    const taken = await world.orchestrator.import(new Map([[production, [versions[0]!, polluted[1]!]]]));
    expect(taken.get(production)).toMatchObject({ code: 'value-refused' });
    const both = (await world.orchestrator.import(new Map([[production, polluted]]))).get(production) as KeyturnError;
    expect(both.message).toContain('version v1');
    expect(both.message).toContain('version v2');
    expect(world.place.newest(production)).toBeNull();
  });

  it('are refused where the secret has a value, and where a label was used before', async () => {
    await world.orchestrator.adopt(sandbox, 'something-else-entirely');
    const taken = await world.orchestrator.import(new Map([[sandbox, versions]]));
    expect(taken.get(sandbox)).toMatchObject({ code: 'secret-exists' });

    const commit = { secret: production, revision: 1, commits: ['c-1'], claim: null };
    const tombstone = {
      id: 'v1',
      stage: 'revoked',
      value: null,
      createdAt: versions[0]!.createdAt,
      revokedAt: versions[1]!.createdAt,
      compromised: false,
    } as const;
    await world.store.commit({ secret: production, key: production }, { ...commit, versions: [tombstone] }, null);
    const again = await world.orchestrator.import(new Map([[production, versions]]));
    expect(again.get(production)).toMatchObject({ code: 'import-invalid' });
    expect(await stageById(production)).toEqual({ v1: 'revoked' });
  });

  it('are only shown with dryRun: nothing is written, no lease is taken, and everything is judged', async () => {
    await world.orchestrator.adopt(sandbox, value);
    const reads = new Map<string, string | readonly LabelledVersion[]>([
      [production, versions],
      [token, 'another-value-for-it'],
    ]);
    const taken = await world.orchestrator.import(reads, { dryRun: true });
    expect(taken.get(production)).toMatchObject({ code: 'value-shared' });
    expect(taken.get(token)).toMatchObject({ versions: [{ stage: 'primary' }] });
    expect(world.place.newest(token)).toBeNull();
    expect(await events(token)).toEqual([]);
    expect(await world.journal.read(token)).toBeNull();
  });

  it('stop at the next secret when they are interrupted, with each one whole or untouched', async () => {
    const stop = new AbortController();
    const journal = journalWith(async (event) => {
      await world.journal.note(event);
      stop.abort();
    });
    const reads = new Map<string, string | readonly LabelledVersion[]>([
      [production, versions],
      [token, 'another-value-for-it'],
    ]);
    const taken = await world.another({ journal }).import(reads, { signal: stop.signal });
    expect([...taken.keys()]).toEqual([production]);
    expect((await world.keyring(production)).versions).toHaveLength(2);
    expect(world.place.newest(token)).toBeNull();
  });

  it('wait for whoever moves the secret, and give up with its name', async () => {
    await world.journal.acquire(production, { name: 'ada@there', process: null }, 60_000);
    const taken = await asTimePasses(
      world.orchestrator.import(new Map([[production, versions]]), { lockTimeoutMs: idleLeaseMs }),
    );
    const error = taken.get(production) as KeyturnError;
    expect(error.code).toBe('lease-busy');
    expect(error.message).toContain('ada@there');
  });
});

describe('what is handed out', () => {
  beforeEach(async () => {
    await world.orchestrator.import(new Map([[production, versions]]));
    await world.orchestrator.adopt(token, 'another-value-for-it');
  });

  it('has placeholders where values are not asked for, and then nothing is noted', async () => {
    const options = { format: 'active-secrets', showValues: false, leaveOut: false } as const;
    const keyrings = await world.orchestrator.export([token, production], options);
    expect(keyrings.map(({ secret }) => secret)).toEqual([token, production]);
    expect(keyrings[1]?.versions.map((version) => version.value)).toEqual(['…', '…']);
    expect(await events(production)).toHaveLength(1);
  });

  it('has values where they are asked for, and the audit trail says which', async () => {
    const all = await world.orchestrator.export([production], {
      format: 'active-secrets',
      showValues: true,
      leaveOut: false,
    });
    expect(all[0]?.versions.map((version) => version.value)).toEqual([old, value]);
    await world.orchestrator.export([production], { format: 'dotenv', showValues: true, leaveOut: false });
    expect((await events(production)).slice(1).map(({ event, data }) => [event, data])).toEqual([
      [
        'export',
        {
          who: 'someone@here',
          format: 'active-secrets',
          versions: [
            { id: 'v2', stage: 'primary' },
            { id: 'v1', stage: 'deprecated' },
          ],
        },
      ],
      ['export', { who: 'someone@here', format: 'dotenv', versions: [{ id: 'v2', stage: 'primary' }] }],
    ]);
  });

  it('a secret without a primary is an error, or left out; then nothing is noted of anybody', async () => {
    const options = { format: 'active-secrets', showValues: true } as const;
    await expectCode(
      world.orchestrator.export([production, sandbox], { ...options, leaveOut: false }),
      'secret-absent',
    );
    expect(await events(production)).toHaveLength(1);
    const some = await world.orchestrator.export([production, sandbox], { ...options, leaveOut: true });
    expect(some.map(({ secret }) => secret)).toEqual([production]);
  });

  it('a single version is revealed and noted; of several it has to be said which', async () => {
    const found = await world.orchestrator.reveal(production, { stage: 'deprecated', version: null });
    expect(found).toMatchObject({ id: 'v1', value: old });
    expect((await events(production)).at(-1)).toMatchObject({
      event: 'reveal',
      data: { version: 'v1', stage: 'deprecated', who: 'someone@here' },
    });
    await expectCode(world.orchestrator.reveal(production, { stage: 'pending', version: null }), 'secret-absent');
    await expectCode(world.orchestrator.reveal(production, { stage: 'primary', version: 'v1' }), 'secret-absent');
    await expectCode(world.orchestrator.reveal(sandbox, { stage: 'primary', version: null }), 'secret-absent');
    expect(await events(sandbox)).toEqual([]);

    const two = versions.map((version) => ({ ...version, id: `${version.id}b`, value: `${version.value}b` }));
    const third: LabelledVersion = { ...two[0]!, id: 'v0b', value: 'third', createdAt: '2023-09-01T00:00:00.000Z' };
    await world.orchestrator.import(new Map([[sandbox, [third, ...two]]]));
    const error = await expectCode(world.orchestrator.reveal(sandbox, { stage: 'deprecated', version: null }), 'usage');
    expect(error.message).toContain('v1b, v0b');
    expect(await world.orchestrator.reveal(sandbox, { stage: 'deprecated', version: 'v0b' })).toMatchObject({
      value: 'third',
    });
  });
});

describe('a plain copy in the store', () => {
  const read = (key: string, property: string | null): Promise<string> =>
    world.orchestrator.plainCopy(production, { key, property });

  beforeEach(async () => {
    await world.store.plain.write('prod/whole', () => value);
    await world.store.plain.write('prod/json', () => JSON.stringify({ HOOK: value, port: 8080, deep: { HOOK: old } }));
  });

  it('is the whole text, or one property of it', async () => {
    expect(await read('prod/whole', null)).toBe(value);
    expect(await read('prod/json', 'HOOK')).toBe(value);
  });

  it.each([
    ['prod/nowhere', null, 'usage'],
    ['prod/whole', 'HOOK', 'value-refused'],
    ['prod/json', 'hook', 'value-refused'],
    ['prod/json', 'port', 'value-refused'],
    ['prod/json', 'deep', 'value-refused'],
    ['prod/json', 'toString', 'value-refused'],
  ] as const)('%s#%s: %s', async (key, property, code) => {
    const error = await expectCode(read(key, property), code);
    expect(error.message).toContain(key);
    expect(error.hint).not.toBeNull();
  });

  it('that is a JSON object is refused as a value, and the hint names the way', async () => {
    const error = await expectCode(
      world.orchestrator.adopt(production, await read('prod/json', null)),
      'value-refused',
    );
    expect(error.hint).toContain('--from-store KEY#PROPERTY');
  });
});
