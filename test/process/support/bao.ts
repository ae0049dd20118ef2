import { randomUUID } from 'node:crypto';
import { openHttpNetwork, type HttpNetwork } from '../../conformance/http-network.ts';
import { BaoAdmin } from '../../providers/stores/vault-support.ts';
import type { RunningServer } from '../../servers/types.ts';
import type { Later } from './processes.ts';

/** A place of its own in OpenBao, with the rights that deploy/vault gives, and a network in between. */
export interface Bao {
  readonly network: HttpNetwork;
  /** What a policy says of it; its token is in `STORE_TOKEN`. */
  readonly store: object;
  readonly orchestrator: Readonly<Record<string, string>>;
  readonly receiver: Readonly<Record<string, string>>;
  /** With the rights to nothing there. */
  readonly nobody: Readonly<Record<string, string>>;
  /** The fields of a key, as a client that knows nothing of keyturn reads them; null where there is none. */
  fields(key: string): Promise<Readonly<Record<string, unknown>> | null>;
  write(key: string, data: object): Promise<void>;
  /** The names of all keys. */
  keys(): Promise<readonly string[]>;
}

export async function openBao(server: RunningServer, later: Later): Promise<Bao> {
  const admin = new BaoAdmin(server);
  const network = await openHttpNetwork({
    target: server.address,
    throttled: { status: 429, headers: { 'retry-after': '1' }, body: '{"errors":[]}' },
  });
  later(() => network.close());
  const prefix = `keyturn/${randomUUID()}`;
  const tokenWith = async (...policies: readonly string[]): Promise<Readonly<Record<string, string>>> => ({
    STORE_TOKEN: await admin.token(policies),
  });
  const auth = { kind: 'token', token: { env: 'STORE_TOKEN' } };
  return {
    network,
    store: { kind: 'vault', address: network.url, prefix, timeout: '2s', auth },
    orchestrator: await tokenWith(await admin.writePolicy('orchestrator', prefix)),
    receiver: await tokenWith(await admin.writePolicy('receiver', prefix)),
    nobody: await tokenWith('default'),
    async fields(key) {
      // Where there is none, the answer has no data.
      const { data } = await admin.call('GET', `secret/data/${prefix}/${key}`);
      return ((data as Found | undefined)?.['data'] ?? null) as Readonly<Record<string, unknown>> | null;
    },
    async write(key, data) {
      await admin.call('POST', `secret/data/${prefix}/${key}`, { data });
    },
    async keys() {
      const { data } = await admin.call('LIST', `secret/metadata/${prefix}`);
      return ((data as Found | undefined)?.['keys'] ?? []) as readonly string[];
    },
  };
}

type Found = Readonly<Record<string, unknown>>;
