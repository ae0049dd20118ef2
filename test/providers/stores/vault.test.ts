import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { createFakeClock } from '../../../src/memory/clock.ts';
import type { VaultStorePolicy } from '../../../src/model/policy.ts';
import type { SecretStore } from '../../../src/ports/secret-store.ts';
import { listen, openHttpNetwork, type HttpNetwork } from '../../conformance/http-network.ts';
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
} from '../../conformance/secret-store.ts';
import { describeOn } from '../../servers/describe.ts';
import { closingAfterEach } from './network-support.ts';
import { authWith, BaoAdmin, openBaoPlace, openVault, type StoreOptions } from './vault-support.ts';

const name = { secret: 'hook', key: 'hook' };

const { later, kept } = closingAfterEach();

const opened = (options: StoreOptions): Promise<SecretStore> => kept(openVault(options));

describeOn('openbao', 'vault on OpenBao (covers R-21)', (server) => {
  const admin = new BaoAdmin(server);
  const { address } = server;

  describeSecretStore('vault on OpenBao', {
    open: () => openBaoPlace(server),
    lacks: { overwritePlain: 'writing there takes a call' },
  });

  async function openAs(policies: readonly string[], more: Partial<VaultStorePolicy> = {}): Promise<SecretStore> {
    return opened({ address, credentials: { 'auth.token': await admin.token(policies) }, more });
  }

  const fresh = (): string => `keyturn/${randomUUID()}`;

  describe('the policies in deploy/vault', () => {
    it('let a receiver read keyrings and do nothing else', async () => {
      const prefix = fresh();
      const orchestrator = await openAs([await admin.writePolicy('orchestrator')], { prefix });
      const receiver = await openAs([await admin.writePolicy('receiver')], { prefix });
      const keyring = firstKeyring('hook');
      await orchestrator.commit(name, keyring, null);
      const read = await readPresent(receiver, name);
      expect(read.keyring).toEqual(keyring);
      expect((await readOne(receiver, { secret: 'none', key: 'none' })).state).toBe('absent');
      await expectCode(receiver.commit(name, next(keyring, adding('v2', 'x')), read.token), 'store-denied');
      await expectCode(receiver.commit({ secret: 'n', key: 'n' }, firstKeyring('n'), null), 'store-denied');
      await expectCode(receiver.purge(name), 'store-denied');
      await expectCode(
        receiver.plain.write('copy', () => 'x'),
        'store-denied',
      );
      const { findings } = await receiver.probe({ use: 'receiver', names: [name], plainKeys: [] });
      expect(findings.filter(({ state }) => state !== 'ok')).toEqual([]);
    });

    it('let the orchestrator do nothing beside its prefix', async () => {
      const store = await openAs([await admin.writePolicy('orchestrator')], { prefix: `elsewhere-${randomUUID()}` });
      await expectFailed(store, name, 'store-denied');
      await expectCode(store.commit(name, firstKeyring('hook'), null), 'store-denied');
    });

    it('are missed by a probe, right by right', async () => {
      const store = await openAs([await admin.writePolicy('receiver')], { prefix: fresh() });
      const { version, clockAheadMs, findings } = await store.probe({
        use: 'orchestrator',
        names: [name],
        plainKeys: ['copy'],
      });
      expect(version).toBe('2.7.2');
      expect(Math.abs(clockAheadMs ?? Infinity)).toBeLessThanOrEqual(5_000);
      const states = Object.fromEntries(findings.map(({ name: what, state }) => [what, state]));
      expect(states).toMatchObject({ reach: 'ok', mount: 'ok', commit: 'failed', purge: 'failed', read: 'ok' });
      expect(findings.find((each) => each.name === 'commit')?.message).toContain('create and update on secret/data/');
    });
  });

  describe('a mount that is not what it has to be', () => {
    it('of version 1 is refused, and nothing is written to it', async () => {
      const mount = `kv1-${randomUUID()}`;
      await admin.call('POST', `sys/mounts/${mount}`, { type: 'kv', options: { version: '1' } });
      later(() => admin.call('DELETE', `sys/mounts/${mount}`));
      const store = await opened({ address, credentials: { 'auth.token': 'root' }, more: { mount } });
      const read = await expectFailed(store, name, 'policy-invalid');
      expect(read.message).toContain('version 1');
      expect(read.hint).toContain('enable-versioning');
      await expectCode(store.commit(name, firstKeyring('hook'), null), 'policy-invalid');
      await expectCode(store.purge(name), 'policy-invalid');
      await expectCode(
        store.plain.write('copy', () => 'x'),
        'policy-invalid',
      );
      const { findings } = await store.probe({ use: 'receiver', names: [name], plainKeys: [] });
      expect(findings.find((each) => each.name === 'mount')?.state).toBe('failed');
      expect(await admin.call('LIST', `${mount}/data`)).toMatchObject({ errors: [] });
    });

    it('that is not there, or is of another kind, is refused', async () => {
      const token = { 'auth.token': 'root' };
      const none = await opened({ address, credentials: token, more: { mount: 'nowhere' } });
      expect((await errorOf(none.commit(name, firstKeyring('hook'), null))).hint).toMatch(/\w/);
      expect((await readOne(none, name)).state).toBe('failed');
      const other = await opened({ address, credentials: token, more: { mount: 'cubbyhole' } });
      await expectFailed(other, name, 'policy-invalid');
    });
  });

  it('keeps namespaces apart', async () => {
    const namespace = `team-${randomUUID().slice(0, 8)}`;
    await admin.call('PUT', `sys/namespaces/${namespace}`, {});
    const inside = { 'x-vault-namespace': namespace };
    await admin.call('POST', 'sys/mounts/secret', { type: 'kv', options: { version: '2' } }, inside);
    const prefix = fresh();
    const credentials = { 'auth.token': 'root' };
    const store = await opened({ address, credentials, more: { namespace, prefix } });
    const keyring = firstKeyring('hook');
    await expect.poll(async () => (await readOne(store, name)).state).toBe('absent');
    await store.commit(name, keyring, null);
    expect((await readPresent(store, name)).keyring).toEqual(keyring);
    vi.stubEnv('VAULT_NAMESPACE', namespace);
    vi.stubEnv('VAULT_TOKEN', 'another');
    const outside = await opened({ address, credentials, more: { prefix } });
    expect((await readOne(outside, name)).state).toBe('absent');
    const { findings } = await store.probe({ use: 'orchestrator', names: [name], plainKeys: [] });
    expect(findings.filter(({ state }) => state !== 'ok')).toEqual([]);
  });

  it('says what becomes of a version that was deleted, and of one that was destroyed', async () => {
    const prefix = fresh();
    const store = await opened({ address, credentials: { 'auth.token': 'root' }, more: { prefix } });
    const keyring = firstKeyring('hook');
    await store.commit(name, keyring, null);
    await admin.call('DELETE', `secret/data/${prefix}/hook`);
    expect((await expectFailed(store, name, 'store-deleted')).hint).toContain('undelete -versions=1');
    await admin.call('PUT', `secret/undelete/${prefix}/hook`, { versions: [1] });
    expect((await readPresent(store, name)).keyring).toEqual(keyring);
    await admin.call('PUT', `secret/destroy/${prefix}/hook`, { versions: [1] });
    expect((await expectFailed(store, name, 'store-deleted')).hint).toContain('destroyed');
    await admin.call('DELETE', `secret/metadata/${prefix}/hook`);
    expect((await readOne(store, name)).state).toBe('absent');
  });

  it('writes plain copies as fields that `bao kv get -field` shows', async () => {
    const prefix = fresh();
    const store = await opened({ address, credentials: { 'auth.token': 'root' }, more: { prefix } });
    await admin.call('POST', `secret/data/${prefix}/app`, { data: { theirs: 'kept', value: 'old' } });
    await store.plain.write('app', (text) => JSON.stringify({ ...(JSON.parse(text ?? '{}') as object), value: 'new' }));
    await store.plain.write('whole', () => 'the whole text\n');
    const fields = async (key: string): Promise<unknown> =>
      (await admin.call('GET', `secret/data/${prefix}/${key}`)).data['data'];
    expect(await fields('app')).toEqual({ theirs: 'kept', value: 'new' });
    expect(await fields('whole')).toMatchObject({ value: 'the whole text\n' });
    await store.commit(name, firstKeyring('hook'), null);
    await expectCode(
      store.plain.write('hook', () => 'x'),
      'store-denied',
    );
    await expectCode(store.plain.read('../hook'), 'store-denied');
  });

  describe('a session', () => {
    async function behindNetwork(): Promise<HttpNetwork> {
      const network = await openHttpNetwork({
        target: address,
        throttled: { status: 429, headers: {}, body: '{"errors":[]}' },
      });
      later(() => network.close());
      return network;
    }

    async function appRoleStore(): Promise<{
      readonly store: SecretStore;
      readonly network: HttpNetwork;
      readonly clock: ReturnType<typeof createFakeClock>;
      readonly calls: (path: string) => number;
      readonly lastToken: () => string;
    }> {
      const network = await behindNetwork();
      const role = await admin.appRole([await admin.writePolicy('orchestrator')], {
        token_ttl: '1h',
        token_max_ttl: '4h',
      });
      const clock = createFakeClock();
      const credentials = { 'auth.roleId': role.roleId, 'auth.secretId': role.secretId };
      const more = { prefix: fresh() };
      const store = await opened({ address: network.url, auth: authWith.approle, credentials, more, clock });
      return {
        store,
        network,
        clock,
        calls: (path) => network.seen.filter((call) => call.path.endsWith(path)).length,
        lastToken: () => String(network.seen.at(-1)?.headers['x-vault-token']),
      };
    }

    it('logs in once for many calls', async () => {
      const { store, calls } = await appRoleStore();
      await store.read(
        Array.from({ length: 40 }, (_, index) => ({ secret: `s${String(index)}`, key: `s${String(index)}` })),
      );
      expect(calls('/approle/login')).toBe(1);
    });

    it('is renewed when two thirds of its time are over, and logs in again when it is over', async () => {
      const { store, clock, calls } = await appRoleStore();
      await readOne(store, name);
      await clock.advance(39 * 60_000);
      await readOne(store, name);
      expect(calls('/renew-self')).toBe(0);
      await clock.advance(2 * 60_000);
      await readOne(store, name);
      expect([calls('/renew-self'), calls('/approle/login')]).toEqual([1, 1]);
      await clock.advance(3 * 3_600_000);
      expect((await readOne(store, name)).state).toBe('absent');
      expect(calls('/approle/login')).toBe(2);
    });

    it('survives a renewal that fails, and tries it again', async () => {
      const { store, clock, network, calls } = await appRoleStore();
      await readOne(store, name);
      await clock.advance(41 * 60_000);
      network.disturb('refuse', [0]);
      expect((await readOne(store, name)).state).toBe('absent');
      await network.calm();
      const before = calls('/renew-self');
      expect((await readOne(store, name)).state).toBe('absent');
      expect(calls('/renew-self')).toBe(before);
      await clock.advance(16_000);
      expect((await readOne(store, name)).state).toBe('absent');
      expect(calls('/renew-self')).toBe(before + 1);
      expect(calls('/approle/login')).toBe(1);
    });

    it('logs in again when its token was revoked, and keeps nothing of the old one', async () => {
      const { store, calls, lastToken } = await appRoleStore();
      await readOne(store, name);
      const old = lastToken();
      await admin.call('POST', 'auth/token/revoke', { token: old });
      await store.commit(name, firstKeyring('hook'), null);
      expect((await readOne(store, name)).state).toBe('present');
      expect(calls('/approle/login')).toBe(2);
      expect(lastToken()).not.toBe(old);
      expectNoLeak(lastToken(), store);
    });

    it('says that a token is no good any more, and takes the one that is in its place', async () => {
      const policy = await admin.writePolicy('orchestrator');
      const credentials = { 'auth.token': await admin.token([policy]) };
      const store = await opened({ address, credentials, more: { prefix: fresh() } });
      expect((await readOne(store, name)).state).toBe('absent');
      const old = credentials['auth.token'];
      await admin.call('POST', 'auth/token/revoke', { token: old });
      const error = await expectFailed(store, name, 'store-denied');
      expect(error.message).toContain('not valid any more');
      expectNoLeak(old, error);
      credentials['auth.token'] = await admin.token([policy]);
      expect((await readOne(store, name)).state).toBe('absent');
    });

    it('is refused with a sentence where the role is unknown', async () => {
      const credentials = { 'auth.roleId': 'no-such-role', 'auth.secretId': 'no-such-secret' };
      await admin.appRole([]);
      const store = await opened({ address, auth: authWith.approle, credentials });
      const error = await expectFailed(store, name, 'store-denied');
      expect(error.hint).toContain('auth/approle');
      expectNoLeak('no-such-secret', error);
    });
  });

  it('trusts the authorities of caFile, and says of others that they are not trusted', async () => {
    const { certificate, privateKey, authority } = await admin.certificate();
    const tls = createTlsServer({ cert: certificate, key: privateKey }, (incoming, outgoing) => {
      const { method = 'GET', url = '/', headers } = incoming;
      void fetch(`${address}${url}`, { method, headers: { 'x-vault-token': String(headers['x-vault-token']) } }).then(
        async (answer) => outgoing.writeHead(answer.status).end(await answer.text()),
      );
    });
    later(() => new Promise((resolve) => tls.close(resolve)));
    const url = (await listen(tls)).replace('http:', 'https:');
    const folder = mkdtempSync(join(tmpdir(), 'keyturn-ca-'));
    later(() => rmSync(folder, { recursive: true }));
    const caFile = join(folder, 'ca.pem');
    writeFileSync(caFile, authority);
    const more = { prefix: fresh() };
    const credentials = { 'auth.token': 'root' };
    const trusting = await opened({ address: url, credentials, more: { ...more, caFile } });
    expect((await readOne(trusting, name)).state).toBe('absent');
    const doubting = await opened({ address: url, credentials, more });
    const error = await expectFailed(doubting, name, 'store-unreachable');
    expect(error.message).toContain('not trusted');
    expect(error.hint).toContain('caFile');
    await expectCode(openVault({ address: url, credentials, more: { caFile: join(folder, 'no') } }), 'policy-invalid');
    writeFileSync(caFile, 'no certificate');
    await expectCode(openVault({ address: url, credentials, more: { caFile } }), 'policy-invalid');
  });

  it('prints nothing where DEBUG asks every library to', async () => {
    const value = 'Marker+Value/That?Must=NeverShow';
    const file = join(import.meta.dirname, 'fixtures/vault-process.ts');
    const args = ['--conditions=keyturn-source', file, address, 'root', fresh(), value];
    const env = { ...process.env, DEBUG: '*', NODE_DEBUG: '' };
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { env });
    expectNoLeak(value, stdout, stderr);
    expect(stdout + stderr).not.toContain('node-vault');
  });
});

describe('vault without a server', () => {
  it('follows no redirect with its token', async () => {
    const asked: string[] = [];
    const elsewhere = createServer((incoming, outgoing) => {
      asked.push(incoming.url ?? '');
      outgoing.end('{}');
    });
    const elsewhereUrl = await listen(elsewhere);
    const redirecting = createServer((incoming, outgoing) => {
      outgoing.writeHead(307, { location: `${elsewhereUrl}${incoming.url ?? ''}` }).end();
    });
    later(
      () => new Promise((resolve) => elsewhere.close(resolve)),
      () => new Promise((resolve) => redirecting.close(resolve)),
    );
    const store = await opened({ address: await listen(redirecting), credentials: { 'auth.token': 't' } });
    const error = await expectFailed(store, name, 'store-unreachable');
    expect(error.message).toContain('redirect');
    expect(asked).toEqual([]);
  });

  it('logs in with the service account of a pod', async () => {
    const bodies: unknown[] = [];
    const kubernetes = createServer((incoming, outgoing) => {
      void (async () => {
        let text = '';
        for await (const chunk of incoming) text += String(chunk);
        const isLogin = incoming.url === '/v1/auth/cluster/login';
        if (isLogin) bodies.push(JSON.parse(text));
        const isKnown = incoming.headers['x-vault-token'] === 'from-kubernetes';
        outgoing.statusCode = isLogin ? 200 : isKnown ? 404 : 403;
        outgoing.end(
          isLogin
            ? '{"auth":{"client_token":"from-kubernetes","lease_duration":3600,"renewable":true}}'
            : '{"errors":[]}',
        );
      })();
    });
    later(() => new Promise((resolve) => kubernetes.close(resolve)));
    const store = await opened({
      address: await listen(kubernetes),
      auth: { kind: 'kubernetes', role: 'receivers', tokenFile: '/var/run/token', mount: 'cluster' },
      credentials: { 'auth.tokenFile': 'the-jwt' },
    });
    const error = (await readOne(store, name)) as { readonly error?: unknown };
    expect(bodies).toEqual([{ role: 'receivers', jwt: 'the-jwt' }]);
    expectNoLeak('the-jwt', error, store);
  });

  const neverEnding = (outgoing: ServerResponse): void => {
    const chunk = Buffer.alloc(65_536, ' ');
    const more = (): void => {
      while (!outgoing.destroyed && outgoing.write(chunk));
      if (!outgoing.destroyed) outgoing.once('drain', more);
    };
    more();
  };

  it.each<[string, (outgoing: ServerResponse) => unknown, string]>([
    ['never begins', () => null, 'does not answer in time'],
    ['stops in the middle', (outgoing) => outgoing.write('{"data":'), 'does not answer in time'],
    [
      'is cut off in the middle',
      (outgoing) => outgoing.write('{"data":', () => outgoing.destroy()),
      'closes the connection before its answer is whole',
    ],
    ['never ends', neverEnding, 'answers with more than it is ever asked for'],
  ])('says of an answer that %s what became of it', async (_, answer, words) => {
    const server = createServer((_incoming, outgoing) => void answer(outgoing));
    later(() => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    });
    const credentials = { 'auth.token': 't' };
    const timeoutMs = words.includes('in time') ? 200 : 60_000;
    const store = await opened({ address: await listen(server), credentials, more: { timeoutMs } });
    const error = await expectFailed(store, name, 'store-unreachable');
    expect(error.message).toContain(words);
  });

  it.each([
    ['http', 'answers with something that is no HTTP'],
    ['https', 'does not speak TLS as it should (ERR_SSL_'],
  ])('says that what answers at an address with %s is something else', async (protocol, words) => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => null);
      socket.resume().end('SSH-2.0-something\r\n');
    });
    later(() => new Promise((resolve) => server.close(resolve)));
    const address = (await listen(server)).replace('http:', `${protocol}:`);
    const store = await opened({ address, credentials: { 'auth.token': 't' } });
    const error = await expectFailed(store, name, 'store-unreachable');
    expect(error.message).toContain(words);
  });

  it('says that a token cannot be sent', async () => {
    const token = 'hvs.\u20acuro';
    const store = await opened({ address: 'http://127.0.0.1:9', credentials: { 'auth.token': token } });
    const error = await expectFailed(store, name, 'store-denied');
    expect(error.message).toContain('its token cannot be sent');
    expectNoLeak(token, error, store);
  });

  it('says which address does not answer', async () => {
    const store = await opened({ address: 'http://127.0.0.1:9', credentials: { 'auth.token': 't' } });
    const error = await expectFailed(store, name, 'store-unreachable');
    expect(error.message).toContain('http://127.0.0.1:9');
    const { findings } = await store.probe({ use: 'receiver', names: [name], plainKeys: [] });
    expect(findings).toMatchObject([{ name: 'reach', state: 'failed' }]);
  });
});
