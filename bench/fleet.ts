import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatKeyring } from '../src/model/document.ts';
import { emptyKeyring, nextKeyring, type Keyring, type KeyringMove } from '../src/model/keyring.ts';
import { realClock } from '../src/ports/real.ts';

/** What a policy calls a store that is not of files. */
export const storeOfFleet = 'fleet';

/** A temporary folder with a policy and the keyrings of many tenants, each with one secret. */
export class Fleet {
  readonly folder: string;
  readonly #rotating: boolean;
  #policies = 0;

  /** `rotating`: every keyring has two accepted versions, as in the middle of a rotation; else the primary alone. */
  constructor({ rotating }: { readonly rotating: boolean }) {
    this.folder = mkdtempSync(join(tmpdir(), 'keyturn-bench-'));
    this.#rotating = rotating;
  }

  get journal(): string {
    return join(this.folder, '.keyturn/journal.db');
  }

  get usageLog(): string {
    return join(this.folder, '.keyturn/usage/usage.db');
  }

  /** Writes the documents as a file store has them, without its care for power cuts: there are very many. */
  addKeyrings(from: number, to: number): void {
    const store = join(this.folder, '.keyturn/secrets');
    mkdirSync(store, { recursive: true, mode: 0o700 });
    const placeholder = 'tenant/of-this-keyring';
    const text = formatKeyring(this.keyring(placeholder));
    for (let index = from; index < to; index += 1) {
      const secret = secretOf(index);
      mkdirSync(join(store, tenantOf(index)), 0o700);
      writeFileSync(join(store, `${secret}.json`), text.replace(placeholder, secret), { mode: 0o600 });
    }
  }

  /** The policy of the first `count` tenants; returns its path. `store`: where their keyrings are, default in files. */
  writePolicy(count: number, store?: object): string {
    this.#policies += 1;
    const path = join(this.folder, `policy-${String(this.#policies)}.json`);
    const tenants = Array.from({ length: count }, (_, index) => tenantOf(index));
    const policy = { version: 1, secrets: { hook: { ...hook, tenants } } };
    const stores = store === undefined ? {} : { stores: { [storeOfFleet]: store }, defaults: { store: storeOfFleet } };
    writeFileSync(path, JSON.stringify({ ...policy, ...stores }));
    return path;
  }

  keyring(secret: string): Keyring {
    return nextKeyring(emptyKeyring(secret), this.#moves(), { id: 'c1', highestRevision: 0 });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #moves(): readonly KeyringMove[] {
    const createdAt = new Date(realClock.now()).toISOString();
    const next: KeyringMove = { kind: 'add', version: 'v2', value: 'the-value-of-the-new-version-of-it', createdAt };
    return [
      { kind: 'add', version: 'v1', value: 'the-value-of-the-old-version-of-it', createdAt },
      { kind: 'promote', version: 'v1' },
      ...(this.#rotating ? [next] : []),
    ];
  }
}

export function secretOf(index: number): string {
  return `${tenantOf(index)}/hook`;
}

function tenantOf(index: number): string {
  return `t${String(index).padStart(5, '0')}`;
}

const hook = {
  rotateEvery: '30d',
  scheme: 'github',
  receivers: { expect: 1 },
  upstream: {
    kind: 'http',
    allowHosts: ['127.0.0.1'],
    credentials: { token: { env: 'BENCH_TOKEN' } },
    capabilities: { valueOrigin: 'ours', activation: 'on-push', overlap: 'none', retriesResigned: 'yes' },
    steps: {
      activate: {
        method: 'PATCH',
        url: 'http://127.0.0.1:4747/{{tenant}}/hook',
        headers: { authorization: 'Bearer {{credentials.token}}' },
        json: { secret: '{{new}}' },
      },
    },
  },
};
