import { randomUUID } from 'node:crypto';
import { SecretsManager } from '@aws-sdk/client-secrets-manager';
import { createAwsStore } from '../../../providers/stores/aws.ts';
import type { AwsStorePolicy } from '../../../src/model/policy.ts';
import { realClock, realRandom } from '../../../src/ports/real.ts';
import type { SecretStore, StoreName } from '../../../src/ports/secret-store.ts';
import { retryAfterMs, type SecretStorePlace } from '../../../src/testing/stores/place.ts';
import { placeTimeoutMs } from '../../conformance/disturber.ts';
import { openHttpNetwork, type HttpCall, type HttpNetwork } from '../../conformance/http-network.ts';
import type { RunningServer } from '../../servers/types.ts';

const somewhere = { env: 'SOMEWHERE' };

export const region = 'eu-central-1';

/** What either server takes for a key: each takes any. */
export const anyKeys = { 'credentials.accessKeyId': 'AKIAANYBODY', 'credentials.secretAccessKey': 'of-anybody' };

export interface AwsStoreOptions {
  readonly endpoint: string | null;
  readonly credentials?: Readonly<Record<string, string>>;
  readonly more?: Partial<AwsStorePolicy>;
}

export function openAws({ endpoint, credentials = anyKeys, more }: AwsStoreOptions): Promise<SecretStore> {
  return createAwsStore({
    policy: {
      kind: 'aws',
      region,
      endpoint,
      prefix: 'keyturn',
      kmsKeyId: null,
      tags: {},
      credentials: { accessKeyId: somewhere, secretAccessKey: somewhere, sessionToken: null },
      timeoutMs: 10_000,
      propagationLagMs: 0,
      ...more,
    },
    credential: (name) => Promise.resolve(credentials[name] ?? ''),
    clock: realClock,
    random: realRandom,
  });
}

/** Secrets Manager as somebody with every right uses it, by the SDK alone. */
export function awsAdmin({ address }: Pick<RunningServer, 'address'>): SecretsManager {
  return new SecretsManager({
    region,
    endpoint: address,
    credentials: { accessKeyId: 'AKIAADMIN', secretAccessKey: 'of-the-admin' },
  });
}

export const throttledByAws = {
  status: 400,
  headers: { 'content-type': 'application/x-amz-json-1.1', 'retry-after': String(retryAfterMs / 1_000) },
  body: '{"__type":"ThrottlingException","message":"Rate exceeded"}',
} as const;

/** `secretsmanager:GetSecretValue`, as a policy of IAM names it. */
export function actionOf({ headers }: HttpCall): string {
  return String(headers['x-amz-target']).replace('.', ':');
}

export async function openAwsPlace(
  server: RunningServer,
): Promise<SecretStorePlace & { readonly network: HttpNetwork }> {
  const admin = awsAdmin(server);
  const network = await openHttpNetwork({ target: server.address, throttled: throttledByAws });
  const prefix = `keyturn/${randomUUID()}`;
  const more = { prefix, timeoutMs: placeTimeoutMs };
  const id = ({ key }: StoreName): string => `${prefix}/${key}`;
  return {
    network,
    adapter: () => openAws({ endpoint: network.url, more }),
    name: (secret) => ({ secret, key: secret }),
    async overwrite(name, text) {
      try {
        await admin.putSecretValue({ SecretId: id(name), SecretString: text });
      } catch {
        await admin.createSecret({ Name: id(name), SecretString: text });
      }
    },
    makeEmpty: async (name) => {
      await admin.createSecret({ Name: id(name) });
    },
    softDelete: async (name) => {
      await admin.deleteSecret({ SecretId: id(name), RecoveryWindowInDays: 7 });
    },
    olderTexts: async (name) => {
      const { Versions = [] } = await admin.listSecretVersionIds({ SecretId: id(name), IncludeDeprecated: true });
      const older = Versions.filter(({ VersionStages }) => VersionStages?.includes('AWSCURRENT') !== true);
      const read = older.map(({ VersionId }) => admin.getSecretValue({ SecretId: id(name), VersionId }));
      return (await Promise.all(read)).map(({ SecretString }) => SecretString ?? '');
    },
    close: async () => {
      admin.destroy();
      await network.close();
    },
  };
}
