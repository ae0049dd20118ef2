import { randomUUID } from 'node:crypto';
import { splitCounter } from '../../../providers/stores/google/known.ts';
import type { Network } from '../../../src/testing/stores/place.ts';
import { openGrpcNetwork } from '../../conformance/grpc-network.ts';
import { openHttpNetwork } from '../../conformance/http-network.ts';
import { awsAdmin, region, throttledByAws } from '../../providers/stores/aws-support.ts';
import { GoogleAdmin, project } from '../../providers/stores/google-support.ts';
import type { RunningServer, ServerName } from '../../servers/types.ts';
import { openBao } from './bao.ts';
import type { Later } from './processes.ts';

/** A store for a rotation with real processes, and how to look into it past keyturn. */
export interface StoreWorld {
  /** What the policy says of it. */
  readonly store: object;
  readonly orchestratorEnv: Readonly<Record<string, string>>;
  /** With the rights of a receiver alone. */
  readonly receiverEnv: Readonly<Record<string, string>>;
  /** Between every process and the server. */
  readonly network: Network;
  /** The keyring document at that key. */
  keyringText(key: string): Promise<string>;
  /** One property of the plain copy at that key, as a client that knows nothing of keyturn reads it. */
  plainText(key: string, property: string): Promise<string>;
}

type Open = (server: RunningServer, later: Later) => Promise<StoreWorld>;

/** One property of a text that is a JSON object. */
function propertyOf(text: string, property: string): string {
  return String((JSON.parse(text) as Readonly<Record<string, unknown>>)[property]);
}

const openVaultWorld: Open = async (server, later) => {
  const bao = await openBao(server, later);
  return {
    network: bao.network,
    store: bao.store,
    orchestratorEnv: bao.orchestrator,
    receiverEnv: bao.receiver,
    keyringText: async (key) => String((await bao.fields(key))?.['keyring']),
    plainText: async (key, property) => String((await bao.fields(key))?.[property]),
  };
};

const openAwsWorld: Open = async (server, later) => {
  const network = await openHttpNetwork({ target: server.address, throttled: throttledByAws });
  const admin = awsAdmin(server);
  later(async () => {
    admin.destroy();
    await network.close();
  });
  const prefix = `keyturn/${randomUUID()}`;
  const textAt = async (key: string): Promise<string> =>
    (await admin.getSecretValue({ SecretId: `${prefix}/${key}`, VersionStage: 'AWSCURRENT' })).SecretString ?? '';
  const credentials = { accessKeyId: { env: 'STORE_KEY' }, secretAccessKey: { env: 'STORE_SECRET' } };
  const env = { STORE_KEY: 'AKIAANYBODY', STORE_SECRET: 'of-anybody' };
  return {
    network,
    store: { kind: 'aws', region, endpoint: network.url, prefix, timeout: '2s', propagationLag: '500ms', credentials },
    orchestratorEnv: env,
    receiverEnv: env,
    keyringText: textAt,
    plainText: async (key, property) => propertyOf(await textAt(key), property),
  };
};

const openGoogleWorld: Open = async (server, later) => {
  const network = await openGrpcNetwork(server.address);
  const prefix = `keyturn/${randomUUID()}`;
  const admin = new GoogleAdmin(server, prefix);
  later(async () => {
    await admin.sdk.close();
    await network.close();
  });
  return {
    network,
    store: { kind: 'google', project, endpoint: network.url, prefix, timeout: '2s' },
    orchestratorEnv: {},
    receiverEnv: {},
    keyringText: async (key) => splitCounter(await admin.newest(key))?.text ?? '',
    plainText: async (key, property) => propertyOf(await admin.newest(key), property),
  };
};

/** Every store beyond one machine, on every server. */
export const storeWorlds: readonly (readonly [server: ServerName, title: string, open: Open])[] = [
  ['openbao', 'OpenBao', openVaultWorld],
  ['moto', 'AWS, as moto is it', openAwsWorld],
  ['ministack', 'AWS, as ministack is it', openAwsWorld],
  ['gcp', 'Google, as the gRPC emulator is it', openGoogleWorld],
  ['gcp-etag', 'Google, as the emulator with etags is it', openGoogleWorld],
];
