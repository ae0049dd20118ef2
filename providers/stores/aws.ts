import type { Tag } from '@aws-sdk/client-secrets-manager';
import { maxDocumentBytes } from '../../src/model/document.ts';
import { isKeyturnError, type KeyturnError } from '../../src/model/errors.ts';
import type { Keyring } from '../../src/model/keyring.ts';
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
import { AwsClient } from './aws/client.ts';
import { ManySecrets, namesPerCall } from './aws/many.ts';
import type { AwsStoreOptions } from './aws/options.ts';
import { AwsPlainCopies } from './aws/plain.ts';
import { probeAws } from './aws/probe.ts';
import { AwsSecrets, type Found } from './aws/secrets.ts';
import { commitCompared } from './commit.ts';
import { wantedKeyring } from './key.ts';
import { ParsedKeyrings } from './parsed.ts';
import { readEach, type Readable } from './reads.ts';

export type { AwsStoreOptions } from './aws/options.ts';

/**
 * A secret store in AWS Secrets Manager: one secret per keyring, whose string is the document. The version id under
 * `AWSCURRENT` is the token. Throws `package-missing`.
 */
export async function createAwsStore(options: AwsStoreOptions): Promise<SecretStore> {
  return new AwsStore(await AwsClient.open(options), options);
}

class AwsStore implements SecretStore {
  readonly label: string;
  readonly capabilities: StoreCapabilities;
  readonly plain: PlainCopies;
  readonly #client: AwsClient;
  readonly #secrets: AwsSecrets;
  readonly #many: ManySecrets;
  readonly #tags: readonly Tag[];
  readonly #parsed = new ParsedKeyrings((name) => this.#place(name));

  constructor(client: AwsClient, options: AwsStoreOptions) {
    const { policy } = options;
    this.label = client.label;
    this.capabilities = {
      propagationLagMs: policy.propagationLagMs,
      namesPerCall,
      maxDocumentBytes,
      comparedBy: 'server',
      erases: 'what-readers-see',
      afterPurge:
        'Older versions lose their labels; Secrets Manager has no call that deletes one, so whoever may read and knows its id still can, until AWS collects it.',
    };
    this.#client = client;
    this.#secrets = new AwsSecrets(client, options);
    this.#many = new ManySecrets(client, this.#secrets);
    this.#tags = Object.entries({ 'managed-by': 'keyturn', ...policy.tags }).map(([Key, Value]) => ({ Key, Value }));
    this.plain = new AwsPlainCopies(this.#secrets, this.#tags);
  }

  async read(names: readonly StoreName[]): Promise<ReadonlyMap<string, StoreRead>> {
    const found = await this.#many.read(names.map(wantedKeyring));
    return readEach(names, async (name) => {
      const each = found.get(name.key) ?? { state: 'absent' };
      if (isKeyturnError(each)) throw each;
      return this.#present(name, each);
    });
  }

  /** Throws `store-deleted`, and for what is no keyring. */
  #present(name: StoreName, found: Found): Readable {
    if (found.state === 'deleted') throw this.#deleted(name, found.deletedAt);
    if (found.state !== 'present') return { state: found.state, token: null };
    // Bytes are somebody else's, and are never written over.
    const keyring = this.#parsed.of(name, found.text ?? '{}');
    return { state: 'present', keyring, token: found.version };
  }

  commit(name: StoreName, keyring: Keyring, expected: StoreToken): Promise<void> {
    const tags = [...this.#tags, { Key: 'keyturn:secret', Value: name.secret }];
    return commitCompared(name, keyring, expected, {
      place: this.#place(name),
      read: async () => this.#present(name, await this.#secrets.read(wantedKeyring(name))),
      write: (text) => this.#secrets.write(wantedKeyring(name), text, expected, tags),
    });
  }

  async purge(name: StoreName): Promise<void> {
    await this.#secrets.unlabelOlder(wantedKeyring(name));
  }

  async erase(name: StoreName): Promise<void> {
    requireScratch(name);
    await this.#secrets.remove(wantedKeyring(name));
  }

  probe(request: ProbeRequest): Promise<StoreProbe> {
    return probeAws(this, { client: this.#client, secrets: this.#secrets }, request);
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  #place({ key }: StoreName): string {
    return `the ${this.label} at ${JSON.stringify(key)}`;
  }

  #deleted(name: StoreName, deletedAt: Date | null): KeyturnError {
    const id = this.#secrets.nameOf(name.key, wantedKeyring(name).what);
    const until = deletedAt === null ? '' : ` It was scheduled for deletion, for ${deletedAt.toISOString()}.`;
    const hint = `Bring it back (aws secretsmanager restore-secret --secret-id ${id}), or delete it for good (delete-secret --force-delete-without-recovery).${until}`;
    return storeDeleted(name.secret, this.#place(name), { key: name.key }, hint);
  }
}
