import { describe, expect, it } from 'vitest';
import { findings, parse, smallestWith } from './fixture.ts';

const recipient = 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p';
const secret = 'AGE-SECRET-KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3';

const withStores = (stores: unknown) => ({ ...smallestWith([], undefined), stores });
const withAge = (age: unknown) => withStores({ local: { kind: 'file', age } });
const agesOf = (age: unknown) => {
  const store = parse(withAge(age)).policy.stores['local'];
  if (store?.kind !== 'file') throw new Error('it is no file store');
  return store.age;
};

describe('age of a file store', () => {
  it('has an identity elsewhere, and recipients where they are named', () => {
    expect(agesOf({ identity: { env: 'AGE' } })).toEqual({ identity: { env: 'AGE' }, recipients: null });
    expect(agesOf({ identity: { file: 'keys/age.txt' }, recipients: [recipient] })).toEqual({
      identity: { file: '/etc/keyturn/keys/age.txt' },
      recipients: [recipient],
    });
    expect(agesOf(undefined)).toBeNull();
  });

  it.each([
    [{}, ['stores.local.age.identity: is missing: it must be an object { … }']],
    [{ identity: {} }, ['stores.local.age.identity: must be either { "env": "NAME" } or { "file": "PATH" }']],
    [
      { identity: { env: 'AGE', file: 'age.txt' } },
      ['stores.local.age.identity: must be either { "env": "NAME" } or { "file": "PATH" }'],
    ],
    [{ identity: secret }, [expect.stringMatching(/^stores\.local\.age\.identity: a credential is never written/)]],
    [{ identity: { env: 'AGE' }, recipients: [] }, ['stores.local.age.recipients: must name at least one recipient']],
    [
      { identity: { env: 'AGE' }, recipients: [recipient, secret] },
      ['stores.local.age.recipients[1]: must be an age recipient, "age1…" as age-keygen prints it'],
    ],
    [
      { identity: { env: 'AGE' }, recipients: Array.from({ length: 21 }, () => recipient) },
      ['stores.local.age.recipients: must name at most 20 recipients'],
    ],
    [{ identity: { env: 'AGE' }, passphrase: 'x' }, [expect.stringMatching(/^stores\.local\.age\.passphrase: /)]],
  ])('is refused with all that is wrong, and shows nothing of it: %j', (age, problems) => {
    const found = findings(withAge(age));
    expect(found).toEqual(problems);
    expect(found.join()).not.toContain('SECRET-KEY');
  });
});

describe('the folder of a file store', () => {
  it('does not lie in that of another', () => {
    const stores = (outer: string, inner: string) =>
      withStores({ local: { kind: 'file', path: outer }, live: { kind: 'file', path: inner } });
    const refused = ['stores.live: its folder lies in the folder of the store local: keep them apart'];
    expect(findings(stores('secrets', 'secrets/.plain'))).toEqual(refused);
    expect(findings(stores('secrets', 'other/../secrets/live'))).toEqual(refused);
    expect(findings(stores('.', '/etc/keyturn/live'))).toEqual(refused);
    for (const apart of ['secrets', './secrets/', 'secrets-live', '../secrets', 'live']) {
      expect(parse(stores('secrets', apart)).policy.stores).toHaveProperty('live');
    }
    expect(
      findings(withStores({ local: { kind: 'file' }, live: { kind: 'file', path: '.keyturn/secrets/a' } })),
    ).toEqual(refused);
  });
});

const vault = {
  kind: 'vault',
  address: 'https://vault.example.com:8200/',
  auth: { kind: 'approle', roleId: { env: 'ROLE' }, secretId: { file: 'secret-id' } },
};

const google = { kind: 'google', project: 'some-project' };

const storeOf = (store: unknown) => parse(withStores({ local: store })).policy.stores['local'];
const problemsOf = (store: unknown) => findings(withStores({ local: store }));

describe('a store beyond this machine', () => {
  it('has its defaults filled in: vault', () => {
    expect(storeOf({ ...vault, caFile: 'ca.pem', propagationLag: '2s' })).toEqual({
      kind: 'vault',
      address: 'https://vault.example.com:8200',
      mount: 'secret',
      prefix: null,
      namespace: null,
      auth: {
        kind: 'approle',
        roleId: { env: 'ROLE' },
        secretId: { file: '/etc/keyturn/secret-id' },
        mount: 'approle',
      },
      caFile: '/etc/keyturn/ca.pem',
      timeoutMs: 10_000,
      propagationLagMs: 2_000,
    });
    expect(storeOf({ ...vault, auth: { kind: 'kubernetes', role: 'r' } })).toMatchObject({
      auth: { mount: 'kubernetes', tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token' },
    });
  });

  it.each([
    [{ ...vault, address: 'http://vault.example.com' }, 'stores.local.address: must begin with https://'],
    [{ ...vault, address: 'https://me:password@vault' }, 'stores.local.address: must be a url'],
    [
      { ...vault, auth: { kind: 'token', token: 'hvs.CAES' } },
      'stores.local.auth.token: a credential is never written',
    ],
    [{ ...vault, auth: { kind: 'token', token: {} } }, 'stores.local.auth.token: must be either { "env"'],
    [
      { ...vault, auth: { kind: 'ldap' } },
      'stores.local.auth.kind: must have a "kind": "token", "approle" or "kubernetes"',
    ],
    [{ ...vault, region: 'eu-central-1' }, 'stores.local.region: is no known key here'],
  ])('is refused with what is wrong, and shows nothing of it: %j', (store, problem) => {
    const found = problemsOf(store);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(problem);
    expect(found.join()).not.toMatch(/hvs|password@/);
  });

  it('has its defaults filled in: aws', () => {
    expect(storeOf({ kind: 'aws' })).toEqual({
      kind: 'aws',
      region: null,
      endpoint: null,
      prefix: null,
      kmsKeyId: null,
      tags: {},
      credentials: null,
      timeoutMs: 10_000,
      propagationLagMs: 5_000,
    });
    const credentials = { accessKeyId: { env: 'ID' }, secretAccessKey: { file: 'key' } };
    expect(storeOf({ kind: 'aws', endpoint: 'http://127.0.0.1:4566/', credentials })).toMatchObject({
      endpoint: 'http://127.0.0.1:4566',
      credentials: { accessKeyId: { env: 'ID' }, secretAccessKey: { file: '/etc/keyturn/key' }, sessionToken: null },
    });
  });

  it('has its defaults filled in: google', () => {
    expect(storeOf({ kind: 'google', project: 'some-project' })).toEqual({
      kind: 'google',
      project: 'some-project',
      location: null,
      replication: null,
      kmsKeyName: null,
      labels: {},
      prefix: null,
      endpoint: null,
      destroyAfterMs: null,
      credentials: null,
      timeoutMs: 10_000,
      propagationLagMs: 0,
    });
    expect(storeOf({ ...google, destroyAfter: '48h', credentials: { file: 'key.json' } })).toMatchObject({
      destroyAfterMs: 48 * 3_600_000,
      credentials: { file: '/etc/keyturn/key.json' },
    });
  });

  it.each([
    [{ kind: 'aws', region: 'Frankfurt' }, 'stores.local.region: must be the name of a region'],
    [{ kind: 'aws', endpoint: 'http://aws.example.com' }, 'stores.local.endpoint: must begin with https://'],
    [{ kind: 'aws', kmsKeyId: 'alias/a key' }, 'stores.local.kmsKeyId: must be the id, the ARN or the alias'],
    [{ kind: 'aws', tags: { team: 'a,b' } }, 'stores.local.tags.team: must be the value of a tag'],
    [
      { kind: 'aws', credentials: { accessKeyId: 'AKIAWRITTEN', secretAccessKey: { env: 'KEY' } } },
      'stores.local.credentials.accessKeyId: a credential is never written',
    ],
    [
      { kind: 'aws', credentials: { accessKeyId: { env: 'ID' } } },
      'stores.local.credentials.secretAccessKey: is missing',
    ],
    [{ kind: 'aws', project: 'some-project' }, 'stores.local.project: is no known key here'],
    [{ kind: 'google' }, 'stores.local.project: is missing'],
    [{ ...google, project: 'Some Project' }, 'stores.local.project: must be the id or the number of a project'],
    [{ ...google, location: 'Europe' }, 'stores.local.location: must be the name of a location'],
    [
      { ...google, location: 'europe-west3', replication: ['europe-west1'] },
      'stores.local.replication: has no meaning',
    ],
    [{ ...google, replication: [] }, 'stores.local.replication: must name at least one location'],
    [{ ...google, kmsKeyName: 'my-key' }, 'stores.local.kmsKeyName: must be projects/'],
    [{ ...google, labels: { Team: 'x' } }, 'stores.local.labels'],
    [{ ...google, destroyAfter: '1h' }, 'stores.local.destroyAfter: must be at least "24h"'],
    [{ ...google, credentials: 'AKIAWRITTEN' }, 'stores.local.credentials: a credential is never written'],
  ])('is refused with what is wrong, and shows nothing of it: %j', (store, problem) => {
    const found = problemsOf(store);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(problem);
    expect(found.join()).not.toContain('WRITTEN');
  });

  it('counts as one store under two names', () => {
    const secrets = { a: { store: 'one', key: 'k' }, b: { store: 'two', key: 'k' } };
    const stores = { one: vault, two: { ...vault, address: 'https://vault.example.com:8200', mount: 'secret' } };
    const policy = withStores(stores);
    const [some] = Object.values((policy as unknown as { secrets: Record<string, object> }).secrets);
    const both = Object.fromEntries(Object.entries(secrets).map(([name, fields]) => [name, { ...some, ...fields }]));
    expect(findings({ ...policy, secrets: both })).toEqual([expect.stringContaining('the same key in the same store')]);
  });
});
