import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { idOf } from '../../../providers/stores/google/name.ts';
import type { SecretStore } from '../../../src/ports/secret-store.ts';
import {
  openGrpcNetwork,
  textsAnswer,
  type GrpcAnswer,
  type GrpcCall,
  type GrpcNetwork,
} from '../../conformance/grpc-network.ts';
import { listen } from '../../conformance/http-network.ts';
import {
  adding,
  describeSecretStore,
  errorOf,
  expectCode,
  expectFailed,
  expectNoLeak,
  firstKeyring,
  next,
  readOne,
  readPresent,
  type SecretStoreSuite,
} from '../../conformance/secret-store.ts';
import { describeOn } from '../../servers/describe.ts';
import type { RunningServer } from '../../servers/types.ts';
import { selfSigned } from './certificate.ts';
import { closingAfterEach, lacksOfOpenServer, stateOf } from './network-support.ts';
import {
  GoogleAdmin,
  methodOf,
  openGoogle,
  openGooglePlace,
  project,
  type GoogleStoreOptions,
} from './google-support.ts';

const name = { secret: 'hook', key: 'hook' };

const { later, kept } = closingAfterEach();

const opened = (options: GoogleStoreOptions): Promise<SecretStore> => kept(openGoogle(options));

interface Opened {
  readonly store: SecretStore;
  readonly other: SecretStore;
  readonly admin: GoogleAdmin;
  readonly network: GrpcNetwork;
}

async function openOn(server: RunningServer): Promise<Opened> {
  const network = await openGrpcNetwork(server.address);
  const prefix = `keyturn/${randomUUID()}`;
  const admin = new GoogleAdmin(server, prefix);
  later(
    () => network.close(),
    () => admin.sdk.close(),
  );
  const more = { prefix, labels: { team: 'payments' } };
  const store = await opened({ endpoint: network.url, more });
  return { store, other: await opened({ endpoint: network.url, more }), admin, network };
}

/** The permission that a method takes, as https://cloud.google.com/secret-manager/docs/access-control names them. */
const permissions: Readonly<Record<string, string>> = {
  DeleteSecret: 'secretmanager.secrets.delete',
  CreateSecret: 'secretmanager.secrets.create',
  GetSecret: 'secretmanager.secrets.get',
  AccessSecretVersion: 'secretmanager.versions.access',
  ListSecretVersions: 'secretmanager.versions.list',
  GetSecretVersion: 'secretmanager.versions.get',
  AddSecretVersion: 'secretmanager.versions.add',
  DestroySecretVersion: 'secretmanager.versions.destroy',
};

/** Asking what one may do takes none. */
function permissionsOf(calls: readonly GrpcCall[]): readonly string[] {
  const methods = calls.map(methodOf).filter((method) => method !== 'TestIamPermissions');
  return [...new Set(methods.map((method) => permissions[method] ?? method))].toSorted();
}

/** The permissions in a role of deploy/google. */
function grantedBy(file: 'orchestrator' | 'receiver' | 'doctor'): readonly string[] {
  const text = readFileSync(join(import.meta.dirname, `../../../deploy/google/${file}-role.yaml`), 'utf8');
  return [...text.matchAll(/^ {2}- (\S+)$/gm)].map(([, permission]) => String(permission)).toSorted();
}

function describeBoth(server: RunningServer): void {
  it('asks once for each secret where nothing is new', async () => {
    const { store, network } = await openOn(server);
    const names = Array.from({ length: 20 }, (_, index) => ({ secret: `s${index}`, key: `s${index}` }));
    for (const each of names) await store.commit(each, firstKeyring(each.secret), null);
    await store.read(names);
    network.disturb('refuse', []);
    const reads = await store.read(names);
    expect([...reads.values()].every(({ state }) => state === 'present')).toBe(true);
    expect(network.calls).toBe(20);
    // Google sends a call to where the secret is by this header.
    const sentFor = network.seen
      .slice(-20)
      .map(({ headers, body }) => [String(headers['x-goog-request-params']).replace(/^name=/, ''), body] as const);
    expect(new Set(sentFor.map(([resource]) => resource)).size).toBe(20);
    for (const [resource, body] of sentFor) expect(body.toString()).toContain(decodeURIComponent(resource));
  });

  it('labels what it makes', async () => {
    const { store, admin } = await openOn(server);
    await store.commit(name, firstKeyring('hook'), null);
    const [{ labels }] = await admin.sdk.getSecret({ name: admin.resource('hook') });
    expect(labels).toEqual({ 'managed-by': 'keyturn', team: 'payments' });
  });

  it('lets the earlier of two versions from one base win, wherever it is read, and the other one go', async () => {
    const { store, other, admin, network } = await openOn(server);
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    const { token } = await readPresent(store, name);
    const mine = next(first, adding('v2', 'mine'));
    const theirs = next(first, adding('v3', 'theirs'));
    network.disturb('late-call', [callsUntilAdd]);
    const late = errorOf(store.commit(name, mine, token));
    await vi.waitFor(() => expect(network.calls).toBeGreaterThan(callsUntilAdd), { timeout: 5_000 });
    network.disturb('refuse', []);
    await other.commit(name, theirs, token);
    await network.calm();
    expect(await late).toMatchObject({ code: 'store-conflict' });
    for (const each of [store, other]) expect((await readPresent(each, name)).keyring).toEqual(theirs);
    const states = await admin.sdk.listSecretVersions({ parent: admin.resource('hook') });
    expect(states[0].filter(({ state }) => state === 'DESTROYED')).toHaveLength(1);
  });

  it('breaks at a value that somebody put by hand, and is whole again without it', async () => {
    const { store, other, admin } = await openOn(server);
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    const { token } = await readPresent(store, name);
    const number = await admin.add('hook', 'put+by/hand');
    for (const each of [store, other]) {
      const error = await expectFailed(each, name, 'store-corrupt');
      expect(error.message).toContain(`version ${String(number)}`);
      expectNoLeak('put+by/hand', error, each);
    }
    await expectCode(store.commit(name, next(first, adding('v2', 'x')), token), 'store-corrupt');
  });

  it('makes its calls with those permissions alone that deploy/google grants, and each of them is needed', async () => {
    const { store, other, admin, network } = await openOn(server);
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    await store.commit(name, next(first, adding('v2', 'x')), (await readPresent(store, name)).token);
    await store.purge(name);
    await store.plain.write('copy', () => 'x');
    await store.probe({ use: 'orchestrator', names: [name], plainKeys: ['copy'] });
    await admin.disable('hook', await admin.add('hook', '{}'));
    await readOne(store, name);
    const needed = permissionsOf(network.seen);
    // One of the emulators lets a disabled version be read, so that nobody has to ask why it is closed.
    expect([...new Set([...needed, 'secretmanager.versions.get'])].toSorted()).toEqual(grantedBy('orchestrator'));
    let before = network.seen.length;
    await store.erase({ secret: 'keyturn-doctor-v1', key: 'keyturn-doctor-v1' });
    expect(permissionsOf(network.seen.slice(before))).toEqual(grantedBy('doctor'));
    before = network.seen.length;
    await readOne(other, name);
    const reading = [...new Set([...permissionsOf(network.seen.slice(before)), 'secretmanager.versions.get'])];
    expect(reading.toSorted()).toEqual(grantedBy('receiver'));
  });

  it('is asked by a probe what else ends or moves the secret', async () => {
    const { store } = await openOn(server);
    await store.commit(name, firstKeyring('hook'), null);
    const probe = await store.probe({ use: 'orchestrator', names: [name], plainKeys: [] });
    expect([stateOf(probe, 'reach'), stateOf(probe, 'settings'), stateOf(probe, 'commit')]).toEqual([
      ...['ok', 'ok', 'unknown'],
    ]);
  });
}

/** What the emulators do not know: an account that has what deploy/google grants but for these. */
function asking(lacking: readonly string[]): (call: GrpcCall) => GrpcAnswer | null {
  const granted = grantedBy('orchestrator').filter((permission) => !lacking.includes(permission));
  return (call) => {
    if (methodOf(call) !== 'TestIamPermissions') return null;
    const asked = call.body.toString();
    return textsAnswer(
      1,
      granted.filter((permission) => asked.includes(permission)),
    );
  };
}

function describeAsking(server: RunningServer): void {
  it.each([
    ['has it all', [], ['ok', 'ok', 'ok'], ''],
    [
      'may destroy nothing',
      ['secretmanager.versions.destroy'],
      ['ok', 'failed', 'ok'],
      'versions.destroy on projects/',
    ],
    ['may add nothing', ['secretmanager.versions.add'], ['failed', 'ok', 'failed'], 'versions.add on projects/'],
  ] as const)('is told by Google what an account may do that %s', async (_, lacking, states, words) => {
    const network = await openGrpcNetwork(server.address, asking(lacking));
    later(() => network.close());
    const store = await opened({ endpoint: network.url, more: { prefix: `keyturn/${randomUUID()}` } });
    const request = { use: 'orchestrator', names: [name], plainKeys: ['copy'] } as const;
    const before = await store.probe(request);
    const uses = ['commit', 'purge', 'plain-write'];
    expect(uses.map((use) => stateOf(before, use))).toEqual(['unknown', 'unknown', 'unknown']);
    await store.commit(name, firstKeyring('hook'), null);
    await store.plain.write('copy', () => 'x');
    const probe = await store.probe(request);
    expect(uses.map((use) => stateOf(probe, use))).toEqual(states);
    expect(probe.findings.map(({ message }) => message).join(' ')).toContain(words);
  });

  it('keeps a regional secret where the policy says', async () => {
    const network = await openGrpcNetwork(server.address);
    later(() => network.close());
    const more = { prefix: `keyturn/${randomUUID()}`, location: 'europe-west3' };
    const store = await opened({ endpoint: network.url, more });
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    expect((await readPresent(store, name)).keyring).toEqual(first);
    expect(network.seen.length).toBeGreaterThan(2);
    for (const { body } of network.seen)
      expect(body.toString()).toContain(`projects/${project}/locations/europe-west3`);
  });
}

/** A commit reads the accepted version, the list, and the next number; then it adds. */
const callsUntilAdd = 4;

function suiteOn(server: RunningServer, deviations: SecretStoreSuite['deviations'] = {}): SecretStoreSuite {
  return { open: () => openGooglePlace(server), lacks: lacksOfOpenServer, deviations };
}

describeOn('gcp', 'google on the gRPC emulator (covers R-22)', (server) => {
  describeSecretStore('google on gcp', suiteOn(server));
  describeBoth(server);
  describeAsking(server);
});

describeOn('gcp-etag', 'google on the emulator with etags (covers R-22)', (server) => {
  describeSecretStore(
    'google on gcp-etag',
    suiteOn(server, {
      deleted: { what: 'a disabled version can still be read', shows: /^deleted is present$/ },
      'purge-erases': { what: 'a destroyed version can still be read', shows: /it says that it erases: everything/ },
    }),
  );
  describeBoth(server);
});

describe('google without a server', () => {
  it('says which address does not answer', async () => {
    const store = await opened({ endpoint: 'http://127.0.0.1:9', more: { timeoutMs: 2_000 } });
    const error = await expectFailed(store, name, 'store-unreachable');
    expect(error.message).toContain('http://127.0.0.1:9');
    const { findings } = await store.probe({ use: 'receiver', names: [name], plainKeys: [] });
    expect(findings).toMatchObject([{ name: 'reach', state: 'failed' }]);
  });

  it('says of a certificate of nobody that it is not trusted', async () => {
    const { certificate, privateKey } = await selfSigned();
    const tls = createSecureServer({ cert: certificate, key: privateKey });
    later(() => new Promise((resolve) => tls.close(resolve)));
    const endpoint = (await listen(tls)).replace('http:', 'https:');
    const store = await opened({ endpoint, credentials: serviceAccount(privateKey), more: { timeoutMs: 3_000 } });
    const error = await expectFailed(store, name, 'store-unreachable', 'credential-missing');
    expect(error.hint).toMatch(/NODE_EXTRA_CA_CERTS|service account/);
  });

  it('says of credentials that are no key of a service account what they have to be', async () => {
    for (const text of ['not json', '{}', '{"client_email":"a@b"}']) {
      const error = await errorOf(openGoogle({ endpoint: null, credentials: text }));
      expect(error).toMatchObject({ code: 'credential-missing' });
      expectNoLeak('not json', error);
    }
  });

  it('keeps keys apart, and within its prefix', async () => {
    const keys = ['a/b', 'a__b', 'a_b', 'a.b', 'a-b', 'a_2fb', 'A/b'];
    expect(new Set(keys.map((key) => idOf(key, 'keyturn', 'It'))).size).toBe(keys.length);
    expect(idOf('production/hook', 'keyturn', 'It')).toBe('keyturn__production__hook');
    const store = await opened({ endpoint: 'http://127.0.0.1:9' });
    await expectFailed(store, { secret: 'hook', key: '../hook' }, 'store-denied');
    const long = Array.from({ length: 5 }, () => 'x'.repeat(60)).join('/');
    const error = await expectFailed(store, { secret: 'hook', key: long }, 'store-denied');
    expect(error.message).toContain('255');
  });
});

function serviceAccount(privateKey: string): string {
  return JSON.stringify({ client_email: 'somebody@relay.iam.gserviceaccount.com', private_key: privateKey });
}
