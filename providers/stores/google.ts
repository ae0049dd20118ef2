import { maxDocumentBytes } from '../../src/model/document.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import type { Keyring } from '../../src/model/keyring.ts';
import type { GoogleStorePolicy } from '../../src/model/policy.ts';
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
import { requireScratch } from '../../src/ports/scratch.ts';
import { commitCompared } from './commit.ts';
import { GoogleClient } from './google/client.ts';
import type { Accepted } from './google/known.ts';
import { GoogleLog } from './google/log.ts';
import { GooglePlainCopies } from './google/plain.ts';
import { probeGoogle } from './google/probe.ts';
import { GoogleVersions } from './google/versions.ts';
import { wantedKeyring } from './key.ts';
import type { StoreOptions } from './options.ts';
import { ParsedKeyrings } from './parsed.ts';
import { readEach, type Readable } from './reads.ts';

export type GoogleStoreOptions = StoreOptions<GoogleStorePolicy>;

/**
 * A secret store in Google Secret Manager: one secret per keyring, the numbers of whose versions are a log of documents. The
 * accepted number is the token. Throws `package-missing`, `credential-missing`.
 */
export async function createGoogleStore(options: GoogleStoreOptions): Promise<SecretStore> {
  return new GoogleStore(await GoogleClient.open(options), options);
}

/** What the line before a document takes at most, and some more. */
const counterBytes = 64;

/** All calls share one connection, and what is sent and received together costs less; a server takes a hundred at once. */
const readsOfOneConnection = 64;

const ours = { 'managed-by': 'keyturn' } as const;

class GoogleStore implements SecretStore {
  readonly label: string;
  readonly capabilities: StoreCapabilities;
  readonly plain: PlainCopies;
  readonly #client: GoogleClient;
  readonly #versions: GoogleVersions;
  readonly #log: GoogleLog;
  readonly #parsed = new ParsedKeyrings((name) => this.#place(name));
  readonly #labels: Readonly<Record<string, string>>;

  constructor(client: GoogleClient, { policy, clock }: GoogleStoreOptions) {
    this.label = client.label;
    this.capabilities = {
      propagationLagMs: policy.propagationLagMs,
      namesPerCall: 1,
      maxDocumentBytes: maxDocumentBytes - counterBytes,
      comparedBy: 'version-numbers',
      erases: 'everything',
      afterPurge:
        policy.destroyAfterMs === null
          ? 'Older versions are destroyed; nobody can read them any more.'
          : 'Older versions are disabled at once, and destroyed when the time of "destroyAfter" is over; until then a person can bring them back.',
    };
    this.#client = client;
    this.#versions = new GoogleVersions(client, policy);
    this.#log = new GoogleLog(this.#versions, clock);
    this.#labels = { ...policy.labels, ...ours };
    this.plain = new GooglePlainCopies(this.#versions, this.#labels);
  }

  read(names: readonly StoreName[]): Promise<ReadonlyMap<string, StoreRead>> {
    const readOne = async (name: StoreName): Promise<Readable> =>
      this.#readable(name, await this.#log.read(wantedKeyring(name), name.secret));
    return readEach(names, readOne, readsOfOneConnection);
  }

  #readable(name: StoreName, read: Awaited<ReturnType<GoogleLog['read']>>): Readable {
    if (read.state !== 'present') return { state: read.state, token: null };
    const { text, number } = read.accepted;
    const keyring = this.#parsed.of(name, text);
    return { state: 'present', keyring, token: String(number) };
  }

  commit(name: StoreName, keyring: Keyring, expected: StoreToken): Promise<void> {
    const asked = wantedKeyring(name);
    let base: Accepted | null = null;
    return commitCompared(name, keyring, expected, {
      place: this.#place(name),
      // What somebody disabled meanwhile must not be written over.
      read: async () => {
        const read = await this.#log.read(asked, name.secret, { anew: true });
        base = read.state === 'present' ? read.accepted : null;
        return this.#readable(name, read);
      },
      write: (text) => {
        this.#refuseLarge(name, text);
        return this.#log.write(asked, text, base, this.#labels);
      },
    });
  }

  async purge(name: StoreName): Promise<void> {
    await this.#log.destroyOthers(wantedKeyring(name), name.secret);
  }

  async erase(name: StoreName): Promise<void> {
    requireScratch(name);
    await this.#log.remove(wantedKeyring(name));
  }

  probe(request: ProbeRequest): Promise<StoreProbe> {
    return probeGoogle(this, this.#versions, request);
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  #place({ key }: StoreName): string {
    return `the ${this.label} at ${JSON.stringify(key)}`;
  }

  #refuseLarge(name: StoreName, text: string): void {
    const bytes = Buffer.byteLength(text);
    const most = this.capabilities.maxDocumentBytes;
    if (bytes <= most) return;
    throw new KeyturnError(
      'store-too-large',
      `The keyring of ${name.secret} would take ${String(bytes)} bytes; ${this.#place(name)} holds at most ${String(most)}.`,
      { hint: 'Use shorter values, or finish the rotations that keep old ones.' },
    );
  }
}
