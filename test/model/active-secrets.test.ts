import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  activeSecretsEntry,
  formatActiveSecrets,
  parseActiveSecrets,
  remarksOn,
  type ImportProblem,
  type Integration,
} from '../../src/model/active-secrets.ts';
import { isKeyturnError, type KeyturnError } from '../../src/model/errors.ts';
import { emptyKeyring, nextKeyring, type Keyring, type KeyringMove } from '../../src/model/keyring.ts';
import { policyOf } from '../conformance/run-samples.ts';

const now = Date.parse('2023-11-15T00:00:00Z');
const value = 'sneaky-value-7f3a9b';

const whole = {
  'my-hook': {
    webhook_endpoint: 'https://hooks.example.com/x',
    auth_method: 'hmac_sha256',
    rotation_policy_days: 30,
    active_secrets: [
      { version: 'v2', value, created_at: '2023-11-01T10:00:00Z', status: 'primary' },
      { version: 'v1', value: `${value}-old`, created_at: '2023-10-01T12:00:00+02:00', status: 'deprecated' },
    ],
  },
};

function parse(text: string): readonly Integration[] {
  return parseActiveSecrets(text, { place: 'secrets.json', now });
}

function errorOf(work: () => unknown): KeyturnError {
  try {
    work();
  } catch (error) {
    if (isKeyturnError(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** The mistakes, as `path: message`. */
function mistakesIn(data: unknown): readonly string[] {
  const error = errorOf(() => parse(typeof data === 'string' ? data : JSON.stringify(data)));
  expect(error.code).toBe('import-invalid');
  expect(error.message).toContain('secrets.json');
  const problems = error.details['problems'] as readonly ImportProblem[];
  for (const { message } of problems) expect(error.message).toContain(message);
  expect(`${error.message} ${error.hint ?? ''} ${JSON.stringify(error.details)}`).not.toContain(value);
  return problems.map(({ path, message }) => `${path}: ${message}`);
}

function withVersions(...versions: readonly unknown[]): object {
  return { hook: { active_secrets: versions } };
}

const good = { version: 'v1', value, created_at: '2023-10-01T00:00:00Z', status: 'primary' };
const other = { version: 'v0', value: 'another', created_at: '2023-09-01T00:00:00Z', status: 'deprecated' };

describe("the documents' JSON, read", () => {
  test('every field of it; versions come oldest first and keep their labels', () => {
    expect(parse(JSON.stringify(whole))).toEqual([
      {
        name: 'my-hook',
        authMethod: 'hmac_sha256',
        rotationPolicyDays: 30,
        versions: [
          { id: 'v1', value: `${value}-old`, createdAt: '2023-10-01T10:00:00.000Z', stage: 'deprecated' },
          { id: 'v2', value, createdAt: '2023-11-01T10:00:00.000Z', stage: 'primary' },
        ],
        webhookEndpoint: 'https://hooks.example.com/x',
        ignored: [],
      },
    ]);
  });

  test('versions of the same moment stand newest first there', () => {
    const same = (version: string, status: string) => ({ ...good, version, value: `value-${version}`, status });
    const [hook] = parse(
      JSON.stringify(withVersions(same('c', 'primary'), same('b', 'deprecated'), same('a', 'deprecated'))),
    );
    expect(hook?.versions.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
  });

  test('only the versions must be there; what somebody else put there is no mistake, and is named', () => {
    const [hook] = parse(JSON.stringify({ hook: { notes: 'ours', active_secrets: [{ ...good, owner: 'ada' }] } }));
    expect(hook).toMatchObject({ authMethod: null, rotationPolicyDays: null });
    expect(hook?.ignored).toEqual(['notes', 'active_secrets[0].owner']);
  });

  test.each([
    ['no JSON', '{"hook": ', [': is no whole JSON object']],
    ['a list', [], [': is no whole JSON object']],
    ['a keyring of nobody', {}, [': has no integration in it']],
    ['an integration that is text', { hook: value }, ['hook: must be an object { … }']],
    ['no versions', { hook: {} }, ['hook.active_secrets: is missing: it must be a list of versions']],
    [
      'versions that are text',
      { hook: { active_secrets: value } },
      ['hook.active_secrets: must be a list of versions'],
    ],
    ['an empty list', withVersions(), ['hook.active_secrets: is empty: an integration has at least a primary']],
    [
      'two primaries',
      withVersions(good, { ...other, status: 'primary' }),
      ['hook.active_secrets: has 2 primary versions; one of them is in use'],
    ],
    ['no primary', withVersions(other), ['hook.active_secrets: has no primary version']],
    [
      'a label twice',
      withVersions(good, { ...other, version: 'v1' }),
      ['hook.active_secrets[1].version: is the label of [0] too'],
    ],
    ['a value twice', withVersions(good, { ...other, value }), ['hook.active_secrets[1].value: is the same as in [0]']],
    ['an empty value', withVersions({ ...good, value: '' }), ['hook.active_secrets[0].value: is empty']],
    [
      'a value that is a number',
      withVersions({ ...good, value: 7 }),
      ['hook.active_secrets[0].value: must be text in double quotes'],
    ],
    ['no value', withVersions({ ...good, value: undefined }), ['hook.active_secrets[0].value: is missing']],
    ['a version that is text', withVersions(good, value), ['hook.active_secrets[1]: must be an object { … }']],
    [
      'a date that is none',
      withVersions({ ...good, created_at: 'yesterday' }),
      ['hook.active_secrets[0].created_at: must be a time such as "2023-11-01T10:00:00Z"'],
    ],
    [
      'a date without a time',
      withVersions({ ...good, created_at: '2023-10-01' }),
      ['hook.active_secrets[0].created_at: must be a time such as "2023-11-01T10:00:00Z"'],
    ],
    [
      'a month that is none',
      withVersions({ ...good, created_at: '2023-13-01T00:00:00Z' }),
      ['hook.active_secrets[0].created_at: must be a time such as "2023-11-01T10:00:00Z"'],
    ],
    [
      'a time to come',
      withVersions({ ...good, created_at: '2024-10-01T00:00:00Z' }),
      ['hook.active_secrets[0].created_at: lies in the future'],
    ],
    [
      'an unknown status',
      withVersions(good, { ...other, status: value }),
      ['hook.active_secrets[1].status: must be "primary" or "deprecated"'],
    ],
    [
      'a status of keyturn that the documents do not know',
      withVersions(good, { ...other, status: 'pending' }),
      ['hook.active_secrets[1].status: must be "primary" or "deprecated"'],
    ],
    [
      'a label that is no id',
      withVersions({ ...good, version: 'the first' }),
      ['hook.active_secrets[0].version: must be 1 to 64 letters, digits, ".", "_" and "-", as it becomes the id'],
    ],
    [
      'a method that is no text',
      { hook: { auth_method: 1, active_secrets: [good] } },
      ['hook.auth_method: must be text'],
    ],
    [
      'days below 1',
      { hook: { rotation_policy_days: 0, active_secrets: [good] } },
      ['hook.rotation_policy_days: must be a number of days above 0'],
    ],
    [
      'an endpoint that is no text',
      { hook: { webhook_endpoint: {}, active_secrets: [good] } },
      ['hook.webhook_endpoint: must be text'],
    ],
  ])('%s', (_, data, mistakes) => {
    expect(mistakesIn(data)).toEqual(mistakes);
  });

  test('every mistake of every integration is told in one go', () => {
    const mistakes = mistakesIn({
      one: { rotation_policy_days: '30', active_secrets: [{ ...good, status: 'deprecated', created_at: 5 }, 'x'] },
      'two words': { active_secrets: [{ version: '', value: 3 }] },
    });
    expect(mistakes).toEqual([
      'one.active_secrets[0].created_at: must be text in double quotes',
      'one.active_secrets[1]: must be an object { … }',
      'one.active_secrets: has no primary version',
      'one.rotation_policy_days: must be a number of days above 0',
      '["two words"].active_secrets[0].version: is empty',
      '["two words"].active_secrets[0].status: is missing',
      '["two words"].active_secrets[0].value: must be text in double quotes',
      '["two words"].active_secrets[0].created_at: is missing',
      '["two words"].active_secrets: has no primary version',
    ]);
  });

  test('I7: whatever JSON stands there, it is read or refused, and no refusal shows a text of it', () => {
    const versions = fc.array(
      fc.record(
        { version: fc.jsonValue(), value: fc.jsonValue(), created_at: fc.jsonValue(), status: fc.jsonValue() },
        { requiredKeys: [] },
      ),
    );
    const document = fc.oneof(
      fc.jsonValue(),
      fc.record({ hook: fc.oneof(fc.jsonValue(), fc.record({ active_secrets: fc.oneof(fc.jsonValue(), versions) })) }),
    );
    const marked = (_: string, each: unknown): unknown => (typeof each === 'string' ? value : each);
    fc.assert(
      fc.property(document, (data) => {
        try {
          parse(JSON.stringify(data, marked));
        } catch (error) {
          if (!isKeyturnError(error, 'import-invalid')) throw error;
          expect(`${error.message} ${JSON.stringify(error.details)}`).not.toContain(value);
        }
      }),
    );
  });
});

describe('what the policy says instead', () => {
  const policy = { ...policyOf('my-hook'), rotateEveryMs: 30 * 86_400_000 };
  const read = (change: object): Integration =>
    parse(JSON.stringify({ hook: { ...whole['my-hook'], webhook_endpoint: undefined, ...change } }))[0]!;

  test('nothing, where they say the same', () => {
    expect(remarksOn(read({}), policy)).toEqual([]);
    expect(remarksOn(read({}), { ...policy, scheme: 'meta' })).toEqual([]);
    expect(remarksOn(read({ auth_method: undefined, rotation_policy_days: undefined }), policy)).toEqual([]);
    expect(remarksOn(read({ auth_method: 'github' }), policy)).toEqual([]);
    const canary = { url: 'https://x.example', count: 3 };
    expect(remarksOn(read({ webhook_endpoint: canary.url }), { ...policy, canary })).toEqual([]);
    expect(remarksOn(read({}), { ...policy, canary })).toEqual([]);
  });

  test.each([
    [
      { auth_method: 'basic' },
      {},
      'Its auth_method basic has no meaning here; the policy has the scheme github, which counts.',
    ],
    [
      { auth_method: `odd ${value}` },
      {},
      'Its auth_method (not a plain word) has no meaning here; the policy has the scheme github, which counts.',
    ],
    [
      { auth_method: 'toString' },
      {},
      'Its auth_method toString has no meaning here; the policy has the scheme github, which counts.',
    ],
    [
      {},
      { scheme: null },
      'Its auth_method hmac_sha256 is the scheme github or meta; the policy has no scheme, and stays as it is.',
    ],
    [
      { rotation_policy_days: 90 },
      {},
      'Its rotation_policy_days is 90; the policy has the rotateEvery 30 days, which counts.',
    ],
    [
      { rotation_policy_days: 90 },
      { rotateEveryMs: null },
      'Its rotation_policy_days is 90; the policy has no rotateEvery, and stays as it is.',
    ],
    [
      { webhook_endpoint: 'https://x.example' },
      {},
      'Its webhook_endpoint is the url of a canary; the policy has no canary, and stays as it is.',
    ],
    [
      { webhook_endpoint: 'https://x.example' },
      { canary: { url: 'https://y.example', count: 3 } },
      'Its webhook_endpoint is the url of a canary; the policy has a canary with another url, which counts.',
    ],
    [{ team: 'x', [`odd ${value}`]: 1 }, {}, 'It has fields of no meaning here: team, (not a plain word).'],
  ])('%j with %j', (change, policyChange, remark) => {
    expect(remarksOn(read(change), { ...policy, ...policyChange })).toEqual([remark]);
  });
});

function keyringOf(...moves: readonly KeyringMove[]): Keyring {
  return nextKeyring(emptyKeyring('my-hook'), moves, { id: 'c-1', highestRevision: 0 });
}

function added(version: string, createdAt = '2023-10-01T00:00:00.000Z'): KeyringMove {
  return { kind: 'add', version, value: `value-of-${version}`, createdAt };
}

describe("the documents' JSON, written", () => {
  const policy = { ...policyOf('my-hook'), rotateEveryMs: 30 * 86_400_000 };

  test('the primary first; pending is written as deprecated, and revoked is not written', () => {
    const keyring = keyringOf(
      ...[added('v0'), added('v1'), added('v2'), added('v3')],
      ...[
        { kind: 'promote', version: 'v0' },
        { kind: 'promote', version: 'v1' },
        { kind: 'promote', version: 'v2' },
      ].map((move) => move as KeyringMove),
      { kind: 'revoke', version: 'v0', at: '2023-11-01T00:00:00.000Z' },
    );
    expect(activeSecretsEntry(policy, keyring)).toEqual({
      auth_method: 'hmac_sha256',
      rotation_policy_days: 30,
      active_secrets: [
        { version: 'v2', value: 'value-of-v2', created_at: '2023-10-01T00:00:00.000Z', status: 'primary' },
        { version: 'v3', value: 'value-of-v3', created_at: '2023-10-01T00:00:00.000Z', status: 'deprecated' },
        { version: 'v1', value: 'value-of-v1', created_at: '2023-10-01T00:00:00.000Z', status: 'deprecated' },
      ],
    });
  });

  test('R-24: the endpoint is the url of the canary', () => {
    const keyring = keyringOf(added('v1'), { kind: 'promote', version: 'v1' });
    const entry = activeSecretsEntry({ ...policy, canary: { url: 'https://x.example/hook', count: 3 } }, keyring);
    expect(entry['webhook_endpoint']).toBe('https://x.example/hook');
  });

  test('what the policy does not say is left out', () => {
    const keyring = keyringOf(added('v1'), { kind: 'promote', version: 'v1' });
    const bare = { ...policy, scheme: null, rotateEveryMs: null };
    expect(Object.keys(activeSecretsEntry(bare, keyring))).toEqual(['active_secrets']);
  });

  test('a secret without a primary cannot be written: the documents know no such state', () => {
    for (const keyring of [emptyKeyring('my-hook'), keyringOf(added('v1'))]) {
      const error = errorOf(() => activeSecretsEntry(policy, keyring));
      expect(error.code).toBe('secret-absent');
      expect(error.hint).toContain('keyturn adopt my-hook');
    }
  });

  test('R-24: what is written is read back with the same labels, values, moments and stages', () => {
    const label = fc.stringMatching(/^[a-z][a-z0-9.]{0,8}[a-z0-9]$/);
    const versions = fc.uniqueArray(
      fc.record({
        version: label,
        value: fc.string({ minLength: 1, unit: 'grapheme' }),
        createdAt: fc.date({ min: new Date(0), max: new Date(now), noInvalidDate: true }),
      }),
      { minLength: 1, maxLength: 5, selector: ({ version }) => version },
    );
    fc.assert(
      fc.property(versions, (found) => {
        fc.pre(new Set(found.map((each) => each.value)).size === found.length);
        const ordered = found.toSorted((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
        const keyring = keyringOf(
          ...ordered.map(({ version, value: text, createdAt }): KeyringMove => ({
            kind: 'add',
            version,
            value: text,
            createdAt: createdAt.toISOString(),
          })),
          ...ordered.map(({ version }): KeyringMove => ({ kind: 'promote', version })),
        );
        const [back] = parse(formatActiveSecrets(new Map([['my-hook', activeSecretsEntry(policy, keyring)]])));
        const byMoment = (a: { createdAt: string }, b: { createdAt: string }) => a.createdAt.localeCompare(b.createdAt);
        expect(back?.versions).toEqual(
          keyring.versions
            .map(({ id, value: text, createdAt, stage }) => ({ id, value: text, createdAt, stage }))
            .toSorted(byMoment),
        );
        expect(remarksOn(back!, policy)).toEqual([]);
      }),
    );
  });
});
