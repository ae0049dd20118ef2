import { maxDocumentBytes } from '../../src/model/document.ts';
import type { KeyturnError } from '../../src/model/errors.ts';
import type { Fields } from '../../src/model/json.ts';
import type { Keyring } from '../../src/model/keyring.ts';
import type { VaultStorePolicy } from '../../src/model/policy.ts';
import { requireScratch } from '../../src/ports/scratch.ts';
import { storeDeleted } from '../../src/ports/store-errors.ts';
import type {
  PlainCopies,
  ProbeRequest,
  SecretStore,
  StoreCapabilities,
  StoreName,
  StoreProbe,
  StoreRead,
  StoreToken,
} from '../../src/ports/secret-store.ts';
import type { Clock } from '../../src/ports/system.ts';
import { commitCompared } from './commit.ts';
import { wantedKeyring } from './key.ts';
import type { StoreOptions } from './options.ts';
import { ParsedKeyrings } from './parsed.ts';
import { readEach, type Readable } from './reads.ts';
import { VaultClient } from './vault/client.ts';
import { keyringField, VaultMount, type Found } from './vault/mount.ts';
import { VaultPlainCopies } from './vault/plain.ts';
import { probeVault } from './vault/probe.ts';
import { VaultSession } from './vault/session.ts';

export type VaultStoreOptions = StoreOptions<VaultStorePolicy>;

/**
 * A secret store in a KV secrets engine, version 2, of Vault or OpenBao: one key per keyring, whose text is the field
 * `keyring`. The engine's version number is the token. Nothing is kept in `custom_metadata`, which has no compare-and-set.
 * Throws `package-missing`, `policy-invalid`.
 */
export async function createVaultStore({ policy, credential, clock }: VaultStoreOptions): Promise<SecretStore> {
  const client = await VaultClient.open(policy);
  const session = new VaultSession({ client, auth: policy.auth, credential, clock });
  return new VaultStore({ policy, client, session, clock });
}

interface Parts {
  readonly policy: VaultStorePolicy;
  readonly client: VaultClient;
  readonly session: VaultSession;
  readonly clock: Clock;
}

class VaultStore implements SecretStore {
  readonly label: string;
  readonly capabilities: StoreCapabilities;
  readonly plain: PlainCopies;
  readonly #parts: Parts;
  readonly #mount: VaultMount;
  readonly #parsed = new ParsedKeyrings((name) => this.#place(name));

  constructor(parts: Parts) {
    this.label = parts.client.label;
    this.capabilities = {
      propagationLagMs: parts.policy.propagationLagMs,
      namesPerCall: 1,
      maxDocumentBytes,
      comparedBy: 'server',
      erases: 'everything',
      afterPurge: 'Older versions are destroyed; what snapshots and backups of the server hold of them stays there.',
    };
    this.#parts = parts;
    this.#mount = new VaultMount(parts);
    this.plain = new VaultPlainCopies(this.#mount);
  }

  read(names: readonly StoreName[]): Promise<ReadonlyMap<string, StoreRead>> {
    return readEach(names, (name) => this.#present(name));
  }

  async #present(name: StoreName): Promise<Readable> {
    const found = await this.#mount.read(name.key, wantedKeyring(name).what);
    if (found.state === 'deleted') throw this.#deleted(name, found);
    if (found.state !== 'present') return { state: found.state, token: null };
    return { state: 'present', keyring: this.#keyringIn(found.data, name), token: String(found.version) };
  }

  /** The engine compares version numbers alone. */
  commit(name: StoreName, keyring: Keyring, expected: StoreToken): Promise<void> {
    const cas = expected === null ? 0 : Number(expected);
    return commitCompared(name, keyring, expected, {
      place: this.#place(name),
      read: () => this.#present(name),
      write: (text) => this.#mount.write(name.key, wantedKeyring(name).what, { [keyringField]: text }, cas),
    });
  }

  async purge(name: StoreName): Promise<void> {
    await this.#mount.destroyOlder(name.key, wantedKeyring(name).what);
  }

  async erase(name: StoreName): Promise<void> {
    requireScratch(name);
    await this.#mount.remove(name.key, wantedKeyring(name).what);
  }

  probe(request: ProbeRequest): Promise<StoreProbe> {
    return probeVault(this, { ...this.#parts, mount: this.#mount }, request);
  }

  close(): Promise<void> {
    return this.#parts.client.close();
  }

  #place({ key }: StoreName): string {
    return `the ${this.label} at ${JSON.stringify(key)}`;
  }

  /** A key with other fields than ours holds something else, and is never written over. */
  #keyringIn(data: Fields, name: StoreName): Keyring {
    const text = data[keyringField];
    const isOurs = typeof text === 'string' && Object.keys(data).length === 1;
    return this.#parsed.of(name, isOurs ? text : '{}');
  }

  #deleted(name: StoreName, { version, destroyed }: Found & { readonly state: 'deleted' }): KeyturnError {
    const hint = destroyed
      ? `Version ${String(version)} was destroyed and is lost. Take its key away (bao kv metadata delete), then adopt the value in use.`
      : `Bring version ${String(version)} back (bao kv undelete -versions=${String(version)}), or take its key away for good (bao kv metadata delete).`;
    return storeDeleted(name.secret, this.#place(name), { key: name.key, version }, hint);
  }
}
