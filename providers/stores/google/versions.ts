import type { protos } from '@google-cloud/secret-manager';
import { KeyturnError } from '../../../src/model/errors.ts';
import type { GoogleStorePolicy } from '../../../src/model/policy.ts';
import type { GoogleClient } from './client.ts';
import type { Wanted } from '../key.ts';
import { grpcCode, type Asked } from './errors.ts';
import { idOf, parentOf } from './name.ts';

/** What a number is. `closed` is disabled or destroyed: it is there, and its content is not to be had. */
export type Numbered =
  | { readonly state: 'none' }
  | { readonly state: 'closed' }
  /** `text` is null where it is no UTF-8. */
  | { readonly state: 'open'; readonly text: string | null };

/** What a list tells of one number. Lists may lag: what it does not tell may be all the same. */
interface Listed {
  readonly number: number;
  readonly isDestroyed: boolean;
}

type Secret = protos.google.cloud.secretmanager.v1.ISecret;

/** Secrets and their versions by number, as Secret Manager has them; no keyrings. */
export class GoogleVersions {
  readonly label: string;
  readonly #client: GoogleClient;
  readonly #policy: GoogleStorePolicy;

  constructor(client: GoogleClient, policy: GoogleStorePolicy) {
    this.label = client.label;
    this.#client = client;
    this.#policy = policy;
  }

  /** The resource of that key. Throws `store-denied` for a key that has no place here. */
  resourceOf({ key, what }: Wanted): string {
    return `${parentOf(this.#policy)}/secrets/${idOf(key, this.#policy.prefix, what)}`;
  }

  /** By number, which alone is never answered from an older moment. */
  async access(wanted: Wanted, number: number): Promise<Numbered> {
    const asked = this.#asked(wanted, 'secretmanager.versions.access');
    const name = `${asked.resource}/versions/${String(number)}`;
    const { code, answer } = await this.#client.call(
      asked,
      (sdk, options) => sdk.accessSecretVersion({ name }, options),
      [grpcCode.notFound, grpcCode.failedPrecondition],
    );
    if (code === grpcCode.notFound) return { state: 'none' };
    if (code !== null) return { state: 'closed' };
    return { state: 'open', text: textOf(answer[0].payload?.data ?? '') };
  }

  /** Ascending; null where there is no such secret. */
  async list(wanted: Wanted): Promise<readonly Listed[] | null> {
    const asked = this.#asked(wanted, 'secretmanager.versions.list');
    const { answer } = await this.#client.call(
      asked,
      (sdk, options) => sdk.listSecretVersions({ parent: asked.resource }, options),
      [grpcCode.notFound],
    );
    if (answer === null) return null;
    const listed = answer[0].map(({ name, state }) => ({
      number: numberOf(name),
      isDestroyed: state === 'DESTROYED',
    }));
    // They come sorted as text in some places.
    return listed.toSorted((one, other) => one.number - other.number);
  }

  /** Whether a person disabled that number, and can enable it again; false where it is destroyed, or about to be. */
  async isDisabled(wanted: Wanted, number: number): Promise<boolean> {
    const asked = this.#asked(wanted, 'secretmanager.versions.get');
    const name = `${asked.resource}/versions/${String(number)}`;
    const { answer } = await this.#client.call(asked, (sdk, options) => sdk.getSecretVersion({ name }, options));
    const version = answer?.[0];
    return version?.state === 'DISABLED' && (version.scheduledDestroyTime ?? null) === null;
  }

  /** False where there is one already. */
  async create(wanted: Wanted, labels: Readonly<Record<string, string>>): Promise<boolean> {
    const asked = this.#asked(wanted, 'secretmanager.secrets.create');
    const parent = parentOf(this.#policy);
    const { code } = await this.#client.call(
      asked,
      (sdk, options) =>
        sdk.createSecret(
          { parent, secretId: asked.resource.slice(`${parent}/secrets/`.length), secret: this.#secretOf(labels) },
          options,
        ),
      [grpcCode.alreadyExists],
    );
    return code === null;
  }

  /** The number that it became; null where there is no such secret. */
  async add(wanted: Wanted, text: string): Promise<number | null> {
    const asked = this.#asked(wanted, 'secretmanager.versions.add');
    const payload = { data: Buffer.from(text) };
    const { code, answer } = await this.#client.call(
      asked,
      (sdk, options) => sdk.addSecretVersion({ parent: asked.resource, payload }, options),
      [grpcCode.notFound],
    );
    return code === null ? numberOf(answer[0].name) : null;
  }

  /** Doing it twice is doing it once. */
  async destroy(wanted: Wanted, number: number): Promise<void> {
    const asked = this.#asked(wanted, 'secretmanager.versions.destroy');
    const name = `${asked.resource}/versions/${String(number)}`;
    await this.#client.call(asked, (sdk, options) => sdk.destroySecretVersion({ name }, options), [
      grpcCode.failedPrecondition,
      grpcCode.notFound,
    ]);
  }

  /** `unknown` where the account may not know. */
  async secret(wanted: Wanted): Promise<Secret | 'absent' | 'unknown'> {
    const asked = this.#asked(wanted, 'secretmanager.secrets.get');
    const { answer, code } = await this.#client.call(
      asked,
      (sdk, options) => sdk.getSecret({ name: asked.resource }, options),
      [grpcCode.notFound, grpcCode.permissionDenied],
    );
    return answer?.[0] ?? (code === grpcCode.notFound ? 'absent' : 'unknown');
  }

  /**
   * Of these permissions on a secret that is there, the ones that the account has; asking takes none. Null where nobody tells:
   * not every installation does.
   */
  async allowed(wanted: Wanted, permissions: readonly string[]): Promise<ReadonlySet<string> | null> {
    const asked = this.#asked(wanted, 'secretmanager.secrets.get');
    const { answer } = await this.#client.call(
      asked,
      (sdk, options) => sdk.testIamPermissions({ resource: asked.resource, permissions: [...permissions] }, options),
      [grpcCode.unimplemented, grpcCode.permissionDenied],
    );
    return answer === null ? null : new Set(answer[0].permissions);
  }

  /** With all its versions; one that is not there too. */
  async remove(wanted: Wanted): Promise<void> {
    const asked = this.#asked(wanted, 'secretmanager.secrets.delete');
    await this.#client.call(asked, (sdk, options) => sdk.deleteSecret({ name: asked.resource }, options), [
      grpcCode.notFound,
    ]);
  }

  #secretOf(labels: Readonly<Record<string, string>>): Secret {
    const { location, replication, kmsKeyName, destroyAfterMs } = this.#policy;
    const encryption = kmsKeyName === null ? {} : { customerManagedEncryption: { kmsKeyName } };
    const ttl = destroyAfterMs === null ? {} : { versionDestroyTtl: { seconds: Math.ceil(destroyAfterMs / 1_000) } };
    // A regional secret lies where it lies.
    if (location !== null) return { labels: { ...labels }, ...encryption, ...ttl };
    const replicas = replication?.map((each) => ({ location: each, ...encryption }));
    const everywhere = replicas === undefined ? { automatic: encryption } : { userManaged: { replicas } };
    return { labels: { ...labels }, replication: everywhere, ...ttl };
  }

  #asked(wanted: Wanted, permission: string): Asked {
    return { what: wanted.what, permission, resource: this.resourceOf(wanted) };
  }
}

/** What a list shows as destroyed is so for good. */
export function destroyedIn(listed: readonly Listed[] | null): ReadonlySet<number> {
  return new Set((listed ?? []).filter(({ isDestroyed }) => isDestroyed).map(({ number }) => number));
}

function numberOf(name: string | null | undefined): number {
  const number = Number(/\/versions\/(\d+)$/.exec(name ?? '')?.[1]);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new KeyturnError('store-unreachable', 'Secret Manager named a version that has no number.', {
    hint: 'Check the endpoint in the policy: something else may answer there.',
  });
}

function textOf(data: Uint8Array | string): string | null {
  if (typeof data === 'string') return data;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return null;
  }
}
