import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { tmpdir } from 'node:os';
import { text } from 'node:stream/consumers';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import type { SecretsManager } from '@aws-sdk/client-secrets-manager';
import { describe, expect, it, vi } from 'vitest';
import { formatKeyring } from '../../../src/model/document.ts';
import type { SecretStore } from '../../../src/ports/secret-store.ts';
import { listen, openHttpNetwork, type HttpNetwork } from '../../conformance/http-network.ts';
import {
  adding,
  describeSecretStore,
  expectCode,
  expectFailed,
  expectNoLeak,
  firstKeyring,
  next,
  readOne,
  readPresent,
} from '../../conformance/secret-store.ts';
import { describeOn } from '../../servers/describe.ts';
import type { RunningServer } from '../../servers/types.ts';
import { selfSigned } from './certificate.ts';
import { closingAfterEach, lacksOfOpenServer, stateOf } from './network-support.ts';
import {
  actionOf,
  anyKeys,
  awsAdmin,
  openAws,
  openAwsPlace,
  throttledByAws,
  type AwsStoreOptions,
} from './aws-support.ts';

const name = { secret: 'hook', key: 'hook' };

const { later, kept } = closingAfterEach();

const opened = (options: AwsStoreOptions): Promise<SecretStore> => kept(openAws(options));

interface Opened {
  readonly store: SecretStore;
  readonly admin: SecretsManager;
  readonly network: HttpNetwork;
  /** The name of the secret at that key. */
  readonly id: (key: string) => string;
  /** The actions since it was opened, each once. */
  readonly actions: () => readonly string[];
}

async function openOn(server: RunningServer): Promise<Opened> {
  const network = await openHttpNetwork({ target: server.address, throttled: throttledByAws });
  const admin = awsAdmin(server);
  later(
    () => network.close(),
    () => admin.destroy(),
  );
  const prefix = `keyturn/${randomUUID()}`;
  const store = await opened({ endpoint: network.url, more: { prefix, tags: { team: 'payments' } } });
  const actions = (): readonly string[] => [...new Set(network.seen.map(actionOf))].toSorted();
  return { store, admin, network, id: (key) => `${prefix}/${key}`, actions };
}

/** The actions that a policy of deploy/aws allows. */
function allowedBy(file: 'orchestrator' | 'receiver'): readonly string[] {
  const text = readFileSync(join(import.meta.dirname, `../../../deploy/aws/${file}.json`), 'utf8');
  const { Statement } = JSON.parse(text) as { readonly Statement: readonly { readonly Action: readonly string[] }[] };
  return Statement.flatMap(({ Action }) => Action).toSorted();
}

function describeBoth(server: RunningServer): void {
  it('reads a thousand keyrings with fifty calls', async () => {
    const { store, network } = await openOn(server);
    const names = Array.from({ length: 1_000 }, (_, index) => ({ secret: `s${index}`, key: `s${index}` }));
    const first = names.slice(0, 40);
    for (const each of first) await store.commit(each, firstKeyring(each.secret), null);
    network.disturb('refuse', []);
    const reads = await store.read(first);
    expect([...reads.values()].every(({ state }) => state === 'present')).toBe(true);
    expect(network.calls).toBe(2);
    network.disturb('nonsense');
    await store.read(names);
    expect(network.calls).toBe(50);
  });

  it('tags what it makes, and says what it is', async () => {
    const { store, admin, id } = await openOn(server);
    await store.commit(name, firstKeyring('hook'), null);
    const { Tags = [], Description } = await admin.describeSecret({ SecretId: id('hook') });
    expect(Object.fromEntries(Tags.map(({ Key, Value }) => [Key, Value]))).toEqual({
      ...{ 'managed-by': 'keyturn', team: 'payments', 'keyturn:secret': 'hook' },
    });
    expect(Description).toContain('The keyring of hook');
  });

  it('leaves no label of its own behind, and after a purge no older version under any', async () => {
    const { store, admin, id } = await openOn(server);
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    await store.commit(name, next(first, adding('v2', 'x')), (await readPresent(store, name)).token);
    const labels = async (): Promise<readonly string[]> => {
      const { VersionIdsToStages = {} } = await admin.describeSecret({ SecretId: id('hook') });
      return Object.values(VersionIdsToStages).flat().toSorted();
    };
    expect(await labels()).toEqual(['AWSCURRENT', 'AWSPREVIOUS']);
    await admin.putSecretValue({ SecretId: id('hook'), SecretString: 'lost', VersionStages: ['keyturn-dead'] });
    await store.purge(name);
    expect(await labels()).toEqual(['AWSCURRENT']);
  });

  it('keeps the value that somebody put by hand between two steps, and says what it is', async () => {
    const { store, admin, id } = await openOn(server);
    const first = firstKeyring('hook');
    await store.commit(name, first, null);
    const { token } = await readPresent(store, name);
    // As a console does, past the label that was moved last.
    await admin.deleteSecret({ SecretId: id('hook'), ForceDeleteWithoutRecovery: true });
    await admin.createSecret({ Name: id('hook'), SecretString: 'put+by/hand' });
    const error = await expectFailed(store, name, 'store-corrupt');
    expect(error.message).toContain('not');
    await expectCode(store.commit(name, next(first, adding('v2', 'x')), token), 'store-corrupt');
    expect((await admin.getSecretValue({ SecretId: id('hook') })).SecretString).toBe('put+by/hand');
    expectNoLeak('put+by/hand', error, store);
  });

  it('says of bytes that they are no keyring, whichever way they are read', async () => {
    const { store, admin, id } = await openOn(server);
    const other = { secret: 'other', key: 'other' };
    for (const each of [name, other]) await store.commit(each, firstKeyring(each.secret), null);
    await admin.putSecretValue({ SecretId: id('hook'), SecretBinary: Buffer.from('bytes+of/somebody') });
    const alone = await expectFailed(store, name, 'store-corrupt');
    const reads = await store.read([name, other]);
    expect(reads.get('hook')).toMatchObject({ state: 'failed', error: { code: 'store-corrupt' } });
    expect(reads.get('other')?.state).toBe('present');
    expectNoLeak('bytes+of/somebody', alone, reads);
  });

  it('names the way back of what is scheduled for deletion', async () => {
    const { store, admin, id } = await openOn(server);
    await store.commit(name, firstKeyring('hook'), null);
    await admin.deleteSecret({ SecretId: id('hook'), RecoveryWindowInDays: 7 });
    const error = await expectFailed(store, name, 'store-deleted');
    expect(error.hint).toContain(`restore-secret --secret-id ${id('hook')}`);
    await admin.restoreSecret({ SecretId: id('hook') });
    expect((await readOne(store, name)).state).toBe('present');
  });

  it('does with those actions alone that deploy/aws allows, and each of them is needed', async () => {
    const { store, actions, admin, id } = await openOn(server);
    const names = [name, { secret: 'other', key: 'other' }];
    for (const each of names) await store.commit(each, firstKeyring(each.secret), null);
    await store.read(names);
    await store.commit(name, next(firstKeyring('hook'), adding('v2', 'x')), (await readPresent(store, name)).token);
    await store.purge(name);
    await store.plain.write('copy', () => 'x');
    await store.probe({ use: 'orchestrator', names, plainKeys: ['copy'] });
    await store.erase({ secret: 'keyturn-doctor-v1', key: 'keyturn-doctor-v1' });
    // A secret is tagged as it is made; AWS asks for that right too, and no call shows it.
    expect([...actions(), 'secretsmanager:TagResource'].toSorted()).toEqual(allowedBy('orchestrator'));
    expect((await admin.describeSecret({ SecretId: id('copy') })).Name).toBe(id('copy'));
  });

  it('needs of a receiver what deploy/aws allows it, where its keyrings are there', async () => {
    const { store, network } = await openOn(server);
    const names = [name, { secret: 'other', key: 'other' }];
    for (const each of names) await store.commit(each, firstKeyring(each.secret), null);
    const before = network.seen.length;
    await store.read(names);
    await store.read([name]);
    const { findings } = await store.probe({ use: 'receiver', names: [name], plainKeys: [] });
    expect(findings.map(({ state }) => state)).toEqual(['ok', 'ok']);
    const seen = [...new Set(network.seen.slice(before).map(actionOf))].toSorted();
    expect(seen).toEqual(allowedBy('receiver'));
  });

  it('is asked by a probe what else moves the secret', async () => {
    const { store, admin, id } = await openOn(server);
    await store.commit(name, firstKeyring('hook'), null);
    const request = { use: 'orchestrator', names: [name], plainKeys: [] } as const;
    const before = await store.probe(request);
    expect([stateOf(before, 'reach'), stateOf(before, 'commit'), stateOf(before, 'labels')]).toEqual([
      'ok',
      'unknown',
      undefined,
    ]);
    expect(Math.abs(before.clockAheadMs ?? Infinity)).toBeLessThanOrEqual(5_000);
    await admin.putSecretValue({ SecretId: id('hook'), SecretString: '{}', VersionStages: ['AWSPENDING'] });
    expect(stateOf(await store.probe(request), 'labels')).toBe('warning');
  });
}

describeOn('moto', 'aws on moto (covers R-20)', (server) => {
  describeSecretStore('aws on moto', {
    open: () => openAwsPlace(server),
    lacks: lacksOfOpenServer,
    deviations: {
      'older-revision': {
        what: 'once its label was moved, what a person puts is AWSCURRENT beside the one that was',
        shows: /strictly deep-equal[^]*revision: 1/,
      },
    },
  });
  describeBoth(server);
});

describeOn('ministack', 'aws on ministack (covers R-20)', (server) => {
  describeSecretStore('aws on ministack', {
    open: () => openAwsPlace(server),
    lacks: lacksOfOpenServer,
    deviations: {
      empty: { what: 'a secret without a value has a version that is current and has none', shows: /^it is failed$/ },
    },
  });
  describeBoth(server);
});

describe('aws without a server', () => {
  /** Whatever is asked, this is the answer. */
  async function answering(
    status: number,
    type: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const server = createServer((_, outgoing) => {
      const body = JSON.stringify({ __type: type, message: 'the-text-of-theirs' });
      outgoing.writeHead(status, { 'content-type': 'application/x-amz-json-1.1', ...headers }).end(body);
    });
    later(() => new Promise((resolve) => server.close(resolve)));
    return listen(server);
  }

  it.each([
    ['ExpiredTokenException', 'store-denied', 'have expired'],
    ['UnrecognizedClientException', 'store-denied', 'access key is not known'],
    ['InvalidSignatureException', 'store-denied', 'signature of the call is not right'],
    ['AccessDeniedException', 'store-denied', 'no right to secretsmanager:GetSecretValue on keyturn/hook'],
    ['DecryptionFailure', 'store-denied', 'KMS key cannot be used'],
    ['LimitExceededException', 'store-denied', 'quota'],
    ['ThrottlingException', 'store-throttled', 'asks to wait'],
  ] as const)('tells %s as a sentence of its own', async (type, code, words) => {
    const store = await opened({ endpoint: await answering(400, type) });
    const error = await expectFailed(store, name, code);
    expect(error.message).toContain(words);
    expect(error.hint).toMatch(/\w/);
    expectNoLeak('the-text-of-theirs', error);
    expectNoLeak(anyKeys['credentials.secretAccessKey'], error, store);
  });

  it.each([
    ['ExpiredTokenException', ['secretsmanager:BatchGetSecretValue'], 'have expired'],
    ['AccessDeniedException', ['secretsmanager:BatchGetSecretValue', 'secretsmanager:GetSecretValue'], 'no right to'],
  ] as const)(
    'asks for each of many by itself where the right to ask for many is missing: %s',
    async (type, actions, words) => {
      const network = await openHttpNetwork({ target: await answering(400, type), throttled: throttledByAws });
      later(() => network.close());
      const store = await opened({ endpoint: network.url });
      const reads = await store.read([name, { secret: 'other', key: 'other' }]);
      expect([...new Set(network.seen.map(actionOf))]).toEqual(actions);
      for (const read of reads.values())
        expect(read).toMatchObject({ state: 'failed', error: { code: 'store-denied' } });
      const [first] = reads.values();
      expect(first?.state === 'failed' ? first.error.message : '').toContain(words);
    },
  );

  /** The keyring of each name, current or not as its number in `stale` says; by the batch, and each by itself. */
  async function answeringEach(stale: readonly number[], names: readonly string[]): Promise<string> {
    const entryOf = (key: string, current: boolean): object => ({
      Name: `keyturn/${key}`,
      VersionId: '12345678-1234-1234-1234-123456789012',
      SecretString: formatKeyring(firstKeyring(key)),
      VersionStages: [current ? 'AWSCURRENT' : 'AWSPREVIOUS'],
    });
    const server = createServer((incoming, outgoing) => {
      void (async () => {
        const body = JSON.parse(await text(incoming)) as { readonly SecretId?: string };
        const key = body.SecretId?.replace('keyturn/', '');
        const all = names.map((each, index) => entryOf(each, !stale.includes(index)));
        const answer = key === undefined ? { SecretValues: all } : entryOf(key, true);
        outgoing.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(answer));
      })();
    });
    later(() => new Promise((resolve) => server.close(resolve)));
    return listen(server);
  }

  it('reads by itself what the answer for many has of an older moment', async () => {
    const target = await answeringEach([1], ['hook', 'other', 'third']);
    const network = await openHttpNetwork({ target, throttled: throttledByAws });
    later(() => network.close());
    const store = await opened({ endpoint: network.url });
    const reads = await store.read(['hook', 'other', 'third'].map((each) => ({ secret: each, key: each })));
    expect([...reads.values()].map(({ state }) => state)).toEqual(['present', 'present', 'present']);
    expect(network.seen.map(actionOf)).toEqual(['secretsmanager:BatchGetSecretValue', 'secretsmanager:GetSecretValue']);
    expect(network.seen[1]?.body.toString()).toContain('keyturn/other');
  });

  it('is asked by a probe who else rotates a secret, or has it', async () => {
    const server = createServer((incoming, outgoing) => {
      const isDescription = String(incoming.headers['x-amz-target']).endsWith('.DescribeSecret');
      const described = { RotationEnabled: true, OwningService: 'rds', VersionIdsToStages: {} };
      const read = {
        VersionId: '12345678-1234-1234-1234-123456789012',
        SecretString: formatKeyring(firstKeyring('hook')),
      };
      outgoing.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' });
      outgoing.end(JSON.stringify(isDescription ? described : { ...read, VersionStages: ['AWSCURRENT'] }));
    });
    later(() => new Promise((resolve) => server.close(resolve)));
    const store = await opened({ endpoint: await listen(server) });
    const found = await store.probe({ use: 'orchestrator', names: [name], plainKeys: [] });
    expect([stateOf(found, 'rotation'), stateOf(found, 'owner'), stateOf(found, 'read')]).toEqual([
      'warning',
      'warning',
      'ok',
    ]);
  });

  it('says that a role is refused where its credentials are given out', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'keyturn-aws-'));
    later(() => rmSync(folder, { recursive: true }));
    const profiles = [
      '[profile of-a-role]',
      'role_arn = arn:aws:iam::123456789012:role/rotates',
      'source_profile = of-somebody',
      '[profile of-somebody]',
      'aws_access_key_id = AKIASOMEBODY',
      `aws_secret_access_key = ${anyKeys['credentials.secretAccessKey']}`,
    ];
    writeFileSync(join(folder, 'config'), profiles.join('\n'));
    const roles = createServer((_, outgoing) => {
      const error = '<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>the-text-of-theirs</Message></Error>';
      outgoing.writeHead(403, { 'content-type': 'text/xml' }).end(`<ErrorResponse>${error}</ErrorResponse>`);
    });
    later(() => new Promise((resolve) => roles.close(resolve)));
    vi.stubEnv('AWS_ENDPOINT_URL_STS', await listen(roles));
    vi.stubEnv('AWS_CONFIG_FILE', join(folder, 'config'));
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/nowhere');
    vi.stubEnv('AWS_PROFILE', 'of-a-role');
    for (const each of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) vi.stubEnv(each, undefined);
    const store = await opened({
      endpoint: await answering(400, 'AccessDeniedException'),
      more: { credentials: null },
    });
    const error = await expectFailed(store, name, 'store-denied');
    expect(error.message).toContain('refused where they are given out (AccessDenied)');
    expect(error.hint).toContain('sts:AssumeRole');
    expectNoLeak('the-text-of-theirs', error);
  });

  it('tells an error of the service, a redirect and a region that there is not', async () => {
    const failing = await opened({ endpoint: await answering(500, 'InternalServiceError') });
    expect((await expectFailed(failing, name, 'store-unreachable')).message).toContain('status 500');
    const moved = await opened({ endpoint: await answering(307, 'Moved', { location: 'http://127.0.0.1:9/' }) });
    expect((await expectFailed(moved, name, 'store-unreachable')).message).toMatch(/redirect|status 307|does not say/);
    const nowhere = await opened({ endpoint: 'http://127.0.0.1:9' });
    expect((await expectFailed(nowhere, name, 'store-unreachable')).message).toContain('http://127.0.0.1:9');
    expect(await nowhere.probe({ use: 'receiver', names: [name], plainKeys: [] })).toMatchObject({
      findings: [{ name: 'reach', state: 'failed' }],
    });
  });

  it('says that there is no region, and that there are no credentials', async () => {
    for (const each of ['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_PROFILE', 'AWS_ACCESS_KEY_ID'])
      vi.stubEnv(each, undefined);
    vi.stubEnv('AWS_CONFIG_FILE', '/nowhere');
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/nowhere');
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
    const nowhere = await opened({ endpoint: null, more: { region: null } });
    expect((await expectFailed(nowhere, name, 'policy-invalid')).hint).toContain('AWS_REGION');
    const nobody = await opened({ endpoint: 'http://127.0.0.1:9', more: { credentials: null } });
    expect((await expectFailed(nobody, name, 'credential-missing')).hint).toContain('role');
  });

  it('says of a certificate of nobody that it is not trusted', async () => {
    const { certificate, privateKey } = await selfSigned();
    const tls = createTlsServer({ cert: certificate, key: privateKey });
    later(() => new Promise((resolve) => tls.close(resolve)));
    const endpoint = (await listen(tls)).replace('http:', 'https:');
    const store = await opened({ endpoint });
    const error = await expectFailed(store, name, 'store-unreachable');
    expect(error.message).toContain('not trusted');
    expect(error.hint).toContain('NODE_EXTRA_CA_CERTS');
  });

  it('says that what answers at an address with https does not speak TLS', async () => {
    const plain = createServer((_incoming, outgoing) => void outgoing.end());
    later(() => new Promise((resolve) => plain.close(resolve)));
    const store = await opened({ endpoint: (await listen(plain)).replace('http:', 'https:') });
    const error = await expectFailed(store, name, 'store-unreachable');
    expect(error.message).toContain('does not speak TLS as it should');
  });

  it('is not asked in plain http on another machine, whoever names it', async () => {
    vi.stubEnv('AWS_ENDPOINT_URL_SECRETS_MANAGER', 'http://192.0.2.1:4566');
    const store = await opened({ endpoint: null });
    const error = await expectFailed(store, name, 'policy-invalid');
    expect(error.message).toContain('plain http');
  });

  it('says of a probe without keyrings that nobody was asked', async () => {
    const store = await opened({ endpoint: 'http://127.0.0.1:9' });
    const { findings } = await store.probe({ use: 'orchestrator', names: [], plainKeys: [] });
    expect(findings[0]).toMatchObject({ name: 'reach', state: 'unknown' });
  });

  it('keeps within its prefix', async () => {
    const store = await opened({ endpoint: 'http://127.0.0.1:9' });
    await expectFailed(store, { secret: 'hook', key: '../hook' }, 'store-denied');
    await expectCode(store.plain.read('a/../b'), 'store-denied');
  });
});
