import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createVaultStore } from '../../../providers/stores/vault.ts';
import type { CredentialReference, VaultAuthPolicy, VaultStorePolicy } from '../../../src/model/policy.ts';
import { realClock } from '../../../src/ports/real.ts';
import type { SecretStore, StoreName } from '../../../src/ports/secret-store.ts';
import type { Clock } from '../../../src/ports/system.ts';
import { retryAfterMs } from '../../../src/testing/stores/place.ts';
import type { SecretStorePlace } from '../../../src/testing/stores/place.ts';
import { placeTimeoutMs } from '../../conformance/disturber.ts';
import { openHttpNetwork, type HttpNetwork } from '../../conformance/http-network.ts';
import { rootToken } from '../../servers/kinds.ts';
import type { RunningServer } from '../../servers/types.ts';

/** OpenBao as somebody with every right uses it, past the adapter. */
export class BaoAdmin {
  readonly address: string;

  constructor({ address }: Pick<RunningServer, 'address'>) {
    this.address = address;
  }

  /** The answer's body; an empty one where it has none. Throws for a status of 400 and above, but 404. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<BaoBody> {
    const answer = await fetch(`${this.address}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': rootToken, ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (answer.status >= 400 && answer.status !== 404) throw new Error(`${method} ${path}: ${text}`);
    return (text === '' ? { data: {}, auth: {} } : JSON.parse(text)) as BaoBody;
  }

  /** A policy of deploy/vault, as it is, or for another prefix. */
  async writePolicy(name: 'orchestrator' | 'receiver', prefix = 'keyturn'): Promise<string> {
    const shipped = readFileSync(join(import.meta.dirname, `../../../deploy/vault/${name}.hcl`), 'utf8');
    const policy = shipped.replaceAll('/keyturn/', `/${prefix}/`);
    const called = `keyturn-${name}${prefix === 'keyturn' ? '' : `-${prefix.replaceAll('/', '-')}`}`;
    await this.call('PUT', `sys/policies/acl/${called}`, { policy });
    return called;
  }

  async token(policies: readonly string[], more: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const { auth } = await this.call('POST', 'auth/token/create', { policies, ...more });
    if (auth.client_token === undefined) throw new Error('no token was given');
    return auth.client_token;
  }

  /** A certificate for 127.0.0.1, and that of the authority behind it; all in PEM. */
  async certificate(): Promise<{
    readonly certificate: string;
    readonly privateKey: string;
    readonly authority: string;
  }> {
    const mount = `pki-${randomUUID()}`;
    await this.call('POST', `sys/mounts/${mount}`, { type: 'pki' });
    await this.call('POST', `${mount}/root/generate/internal`, { common_name: 'Authority of a test', ttl: '24h' });
    await this.call('POST', `${mount}/roles/local`, { allow_ip_sans: true, allow_any_name: true });
    const { data } = await this.call('POST', `${mount}/issue/local`, {
      common_name: 'local',
      ip_sans: '127.0.0.1',
      ttl: '1h',
    });
    return {
      certificate: String(data['certificate']),
      privateKey: String(data['private_key']),
      authority: String(data['issuing_ca']),
    };
  }

  /** Who may log in with AppRole and gets those policies. */
  async appRole(policies: readonly string[], more: Readonly<Record<string, unknown>> = {}): Promise<AppRole> {
    const methods = await this.call('GET', 'sys/auth');
    if (methods.data['approle/'] === undefined) {
      // Another test may be first.
      await this.call('POST', 'sys/auth/approle', { type: 'approle' }).catch(() => undefined);
    }
    const role = `keyturn-${randomUUID()}`;
    await this.call('POST', `auth/approle/role/${role}`, { token_policies: policies, ...more });
    const id = await this.call('GET', `auth/approle/role/${role}/role-id`);
    const secret = await this.call('POST', `auth/approle/role/${role}/secret-id`, {});
    return { roleId: String(id.data['role_id']), secretId: String(secret.data['secret_id']) };
  }
}

export interface BaoBody {
  readonly data: Readonly<Record<string, unknown>>;
  readonly auth: { readonly client_token?: string };
}

export interface AppRole {
  readonly roleId: string;
  readonly secretId: string;
}

export interface StoreOptions {
  readonly address: string;
  readonly credentials: Readonly<Record<string, string>>;
  readonly auth?: VaultAuthPolicy;
  readonly more?: Partial<VaultStorePolicy>;
  readonly clock?: Clock;
}

const somewhere: CredentialReference = { env: 'SOMEWHERE' };

export const authWith = {
  token: { kind: 'token', token: somewhere },
  approle: { kind: 'approle', roleId: somewhere, secretId: somewhere, mount: 'approle' },
} as const satisfies Readonly<Record<string, VaultAuthPolicy>>;

export function openVault({
  address,
  credentials,
  auth = authWith.token,
  more,
  clock,
}: StoreOptions): Promise<SecretStore> {
  return createVaultStore({
    policy: {
      kind: 'vault',
      address,
      mount: 'secret',
      prefix: 'keyturn',
      namespace: null,
      auth,
      caFile: null,
      timeoutMs: 10_000,
      propagationLagMs: 0,
      ...more,
    },
    credential: (name) => Promise.resolve(credentials[name] ?? ''),
    clock: clock ?? realClock,
  });
}

/** A place of its own under the prefix that the shipped policies are for. */
export async function openBaoPlace(
  server: RunningServer,
): Promise<SecretStorePlace & { readonly network: HttpNetwork }> {
  const admin = new BaoAdmin(server);
  const network = await openHttpNetwork({
    target: server.address,
    throttled: {
      status: 429,
      headers: { 'retry-after': String(retryAfterMs / 1_000), 'content-type': 'application/json' },
      body: '{"errors":["request path rate limited"]}',
    },
  });
  const prefix = `keyturn/${randomUUID()}`;
  const orchestrator = await admin.appRole([await admin.writePolicy('orchestrator', prefix)]);
  const more = { prefix, timeoutMs: placeTimeoutMs };
  const path = (kind: string, { key }: StoreName): string => `secret/${kind}/${prefix}/${key}`;
  return {
    network,
    adapter: () =>
      openVault({
        address: network.url,
        auth: authWith.approle,
        credentials: { 'auth.roleId': orchestrator.roleId, 'auth.secretId': orchestrator.secretId },
        more,
      }),
    denied: async () => {
      const token = await admin.token(['default']);
      return openVault({ address: network.url, credentials: { 'auth.token': token }, more });
    },
    name: (secret) => ({ secret, key: secret }),
    async overwrite(name, text) {
      await admin.call('POST', path('data', name), { data: { keyring: text } });
    },
    makeEmpty: async (name) => {
      await admin.call('POST', path('metadata', name), { max_versions: 10 });
    },
    softDelete: async (name) => {
      await admin.call('DELETE', path('data', name));
    },
    olderTexts: async (name) => {
      const { data } = await admin.call('GET', path('metadata', name));
      const older = Object.keys(data['versions'] ?? {}).filter(
        (version) => Number(version) !== data['current_version'],
      );
      const bodies = older.map((version) => admin.call('GET', `${path('data', name)}?version=${version}`));
      return (await Promise.all(bodies)).map((body) => JSON.stringify(body));
    },
    close: () => network.close(),
  };
}
