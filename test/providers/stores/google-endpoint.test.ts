import type * as sdkModule from '@google-cloud/secret-manager';
import { afterEach, expect, it, vi } from 'vitest';
import { selfSigned } from './certificate.ts';
import { openGoogle } from './google-support.ts';

/** Where the SDK is told to call where no policy gives an endpoint; undefined leaves it to the SDK. No call is made. */

const endpoints: (string | undefined)[] = [];

vi.mock('@google-cloud/secret-manager', async (original) => {
  const real = await original<typeof sdkModule>();
  class SecretManagerServiceClient extends real.SecretManagerServiceClient {
    constructor(...given: ConstructorParameters<typeof real.SecretManagerServiceClient>) {
      super(...given);
      endpoints.push(given[0]?.apiEndpoint);
    }
  }
  return { ...real, SecretManagerServiceClient };
});

afterEach(() => endpoints.splice(0));

it.each([
  [null, undefined],
  ['europe-west3', 'secretmanager.europe-west3.rep.googleapis.com'],
])('is asked for location %s at %s (covers R-22)', async (location, endpoint) => {
  const { privateKey } = await selfSigned();
  const credentials = JSON.stringify({ client_email: 'it@relay.iam.gserviceaccount.com', private_key: privateKey });
  const store = await openGoogle({ endpoint: null, credentials, more: { location } });
  await store.close();
  expect(endpoints).toEqual([endpoint]);
});
