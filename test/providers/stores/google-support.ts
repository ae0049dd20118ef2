import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { SecretManagerServiceClient } from '@google-cloud/secret-manager';
import { splitCounter, withCounter } from '../../../providers/stores/google/known.ts';
import { createGoogleStore } from '../../../providers/stores/google.ts';
import { idOf, parentOf } from '../../../providers/stores/google/name.ts';
import type { GoogleStorePolicy } from '../../../src/model/policy.ts';
import { realClock } from '../../../src/ports/real.ts';
import type { SecretStore } from '../../../src/ports/secret-store.ts';
import type { Clock } from '../../../src/ports/system.ts';
import type { SecretStorePlace } from '../../../src/testing/stores/place.ts';
import { placeTimeoutMs } from '../../conformance/disturber.ts';
import { openGrpcNetwork, type GrpcCall, type GrpcNetwork } from '../../conformance/grpc-network.ts';
import type { RunningServer } from '../../servers/types.ts';

/** One of the servers takes numbers alone. */
export const project = '1234567890';

export interface GoogleStoreOptions {
  readonly endpoint: string | null;
  readonly credentials?: string;
  readonly more?: Partial<GoogleStorePolicy>;
  readonly clock?: Clock;
}

export function openGoogle({ endpoint, credentials, more, clock }: GoogleStoreOptions): Promise<SecretStore> {
  return createGoogleStore({
    policy: {
      kind: 'google',
      project,
      location: null,
      replication: null,
      kmsKeyName: null,
      labels: {},
      prefix: 'keyturn',
      endpoint,
      destroyAfterMs: null,
      credentials: credentials === undefined ? null : { env: 'SOMEWHERE' },
      timeoutMs: 10_000,
      propagationLagMs: 0,
      ...more,
    },
    credential: () => Promise.resolve(credentials ?? ''),
    clock: clock ?? realClock,
  });
}

/** A clock whose hours can be passed. */
export class PassingClock implements Clock {
  #passedMs = 0;

  now(): number {
    return realClock.now() + this.#passedMs;
  }

  monotonic(): number {
    return realClock.monotonic() + this.#passedMs;
  }

  sleep(...asked: Parameters<Clock['sleep']>): Promise<void> {
    return realClock.sleep(...asked);
  }

  pass(ms: number): void {
    this.#passedMs += ms;
  }
}

interface Gax {
  readonly googleAuthLibrary: { readonly PassThroughClient: new () => never };
  readonly grpc: { readonly credentials: { readonly createInsecure: () => never } };
}

/** Secret Manager as somebody with every right uses it, by the SDK alone. */
export class GoogleAdmin {
  readonly sdk: SecretManagerServiceClient;
  readonly #prefix: string;

  constructor({ address }: Pick<RunningServer, 'address'>, prefix: string) {
    const { hostname, port } = new URL(address);
    const { grpc, googleAuthLibrary } = createRequire(import.meta.resolve('@google-cloud/secret-manager'))(
      'google-gax',
    ) as Gax;
    const sslCreds = grpc.credentials.createInsecure();
    this.sdk = new SecretManagerServiceClient({
      apiEndpoint: hostname,
      port: Number(port),
      sslCreds,
      authClient: new googleAuthLibrary.PassThroughClient(),
      projectId: project,
    });
    this.#prefix = prefix;
  }

  resource(key: string): string {
    return `${parentOf({ project, location: null })}/secrets/${idOf(key, this.#prefix, 'It')}`;
  }

  async make(key: string): Promise<void> {
    const parent = parentOf({ project, location: null });
    const secretId = this.resource(key).slice(`${parent}/secrets/`.length);
    await this.sdk.createSecret({ parent, secretId, secret: { replication: { automatic: {} } } });
  }

  async add(key: string, text: string): Promise<number> {
    const [{ name }] = await this.sdk.addSecretVersion({
      parent: this.resource(key),
      payload: { data: Buffer.from(text) },
    });
    return Number(name?.split('/').at(-1));
  }

  /** Every number that there is, ascending, and its text where it can be read. */
  async texts(key: string): Promise<ReadonlyMap<number, string | null>> {
    const [versions] = await this.sdk.listSecretVersions({ parent: this.resource(key) });
    const numbers = versions.map(({ name }) => Number(name?.split('/').at(-1))).toSorted((one, other) => one - other);
    const texts = numbers.map(async (number) => [number, await this.text(key, number)] as const);
    return new Map(await Promise.all(texts));
  }

  async text(key: string, number: number): Promise<string | null> {
    try {
      const [{ payload }] = await this.sdk.accessSecretVersion({ name: this.#version(key, number) });
      return Buffer.from(payload?.data ?? '').toString('utf8');
    } catch {
      return null;
    }
  }

  /** The text of the newest that can be read, as `latest` gives it. */
  async newest(key: string): Promise<string> {
    const texts = [...(await this.texts(key)).values()].filter((text) => text !== null);
    return texts.at(-1) ?? '';
  }

  async disable(key: string, number: number): Promise<void> {
    await this.sdk.disableSecretVersion({ name: this.#version(key, number) });
  }

  async enable(key: string, number: number): Promise<void> {
    await this.sdk.enableSecretVersion({ name: this.#version(key, number) });
  }

  async destroy(key: string, number: number): Promise<void> {
    await this.sdk.destroySecretVersion({ name: this.#version(key, number) });
  }

  #version(key: string, number: number): string {
    return `${this.resource(key)}/versions/${String(number)}`;
  }
}

/** `AccessSecretVersion`, as the service names it. */
export function methodOf({ path }: GrpcCall): string {
  return path.split('/').at(-1) ?? '';
}

export async function openGooglePlace(
  server: RunningServer,
): Promise<SecretStorePlace & { readonly network: GrpcNetwork }> {
  const prefix = `keyturn/${randomUUID()}`;
  const admin = new GoogleAdmin(server, prefix);
  const network = await openGrpcNetwork(server.address);
  const clock = new PassingClock();
  return {
    network,
    adapter: () => openGoogle({ endpoint: network.url, more: { prefix, timeoutMs: placeTimeoutMs }, clock }),
    name: (secret) => ({ secret, key: secret }),
    async overwrite({ key }, text) {
      const texts = await admin.texts(key).catch(() => null);
      if (texts === null) await admin.make(key);
      const counters = [...(texts ?? new Map<number, string>()).values()].map(
        (each) => splitCounter(each ?? '')?.counter ?? 0,
      );
      await admin.add(key, withCounter(text, Math.max(0, ...counters) + 1));
    },
    makeEmpty: ({ key }) => admin.make(key),
    async softDelete({ key }) {
      const last = [...(await admin.texts(key)).keys()].at(-1);
      if (last !== undefined) await admin.disable(key, last);
    },
    async olderTexts({ key }) {
      return [...(await admin.texts(key)).values()].slice(0, -1).map((text) => text ?? '');
    },
    // Whoever has read up to the end looks back once in a while.
    propagate: async () => clock.pass(10 * 60_000),
    async close() {
      await admin.sdk.close();
      await network.close();
    },
  };
}
