import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { openHttpNetwork } from '../conformance/http-network.ts';
import { describeOn } from '../servers/describe.ts';
import { openGrpcNetwork } from '../conformance/grpc-network.ts';
import { splitCounter } from '../../providers/stores/google/log.ts';
import { GoogleAdmin, project } from '../providers/stores/google-support.ts';
import { awsAdmin, region, throttledByAws } from '../providers/stores/aws-support.ts';
import { BaoAdmin } from '../providers/stores/vault-support.ts';
import type { Later } from './support/processes.ts';
import { rotateOn, type StoreWorld } from './support/store-rotation.ts';

/** A whole rotation with real processes on each store beyond one machine, with an outage in the middle. */

function describeRotation(openWorld: (later: Later) => Promise<StoreWorld>): void {
  describe('with live receivers', { timeout: 120_000 }, () => {
    it('refuses no message, through an outage of the store, and mirrors the primary (I1 I2 I6 I7, covers R-21)', async ({
      onTestFinished,
    }) => {
      const told = await rotateOn(await openWorld(onTestFinished), onTestFinished);
      expect(told.refusals).toEqual({});
      expect(told.deliveries).toBeGreaterThan(100);
    });
  });
}

describeOn('openbao', 'a rotation on OpenBao', (server) => {
  describeRotation(async (later) => {
    const admin = new BaoAdmin(server);
    const network = await openHttpNetwork({
      target: server.address,
      throttled: { status: 429, headers: { 'retry-after': '1' }, body: '{"errors":[]}' },
    });
    later(() => network.close());
    const prefix = `keyturn/${randomUUID()}`;
    const fieldsOf = async (key: string): Promise<Readonly<Record<string, unknown>>> =>
      (await admin.call('GET', `secret/data/${prefix}/${key}`)).data['data'] as Readonly<Record<string, unknown>>;
    return {
      network,
      store: {
        kind: 'vault',
        address: network.url,
        prefix,
        timeout: '2s',
        auth: { kind: 'token', token: { env: 'STORE_TOKEN' } },
      },
      orchestratorEnv: { STORE_TOKEN: await admin.token([await admin.writePolicy('orchestrator')]) },
      receiverEnv: { STORE_TOKEN: await admin.token([await admin.writePolicy('receiver')]) },
      keyringText: async (key) => String((await fieldsOf(key))['keyring']),
      plainText: async (key, property) => String((await fieldsOf(key))[property]),
    };
  });
});

for (const server of ['moto', 'ministack'] as const) {
  describeOn(server, `a rotation on AWS, as ${server} is it`, (running) => {
    describeRotation(async (later) => {
      const network = await openHttpNetwork({ target: running.address, throttled: throttledByAws });
      const admin = awsAdmin(running);
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
        store: { kind: 'aws', region, endpoint: network.url, prefix, timeout: '2s', propagationLag: '1s', credentials },
        orchestratorEnv: env,
        receiverEnv: env,
        keyringText: textAt,
        plainText: async (key, property) =>
          String((JSON.parse(await textAt(key)) as Readonly<Record<string, unknown>>)[property]),
      };
    });
  });
}

for (const server of ['gcp', 'gcp-etag'] as const) {
  describeOn(server, `a rotation on Google, as ${server} is it`, (running) => {
    describeRotation(async (later) => {
      const network = await openGrpcNetwork(running.address);
      const prefix = `keyturn/${randomUUID()}`;
      const admin = new GoogleAdmin(running, prefix);
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
        plainText: async (key, property) =>
          String((JSON.parse(await admin.newest(key)) as Readonly<Record<string, unknown>>)[property]),
      };
    });
  });
}
