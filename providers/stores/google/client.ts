import { createRequire } from 'node:module';
import type { SecretManagerServiceClient } from '@google-cloud/secret-manager';
import { KeyturnError } from '../../../src/model/errors.ts';
import { parseObject } from '../../../src/model/json.ts';
import type { GoogleStorePolicy } from '../../../src/model/policy.ts';
import { optionalPackage } from '../../packages.ts';
import { codeOf, refusal, type Asked } from './errors.ts';
import type { GoogleStoreOptions } from './options.ts';

/** Of each call. */
interface CallOptions {
  readonly timeout: number;
  /** No tries of the SDK's own. */
  readonly retry: null;
}

type SdkOptions = NonNullable<ConstructorParameters<typeof SecretManagerServiceClient>[0]>;

/** What is asked of the package that the SDK makes its calls with. */
interface Gax {
  readonly grpc: { readonly credentials: { readonly createInsecure: () => NonNullable<SdkOptions['sslCreds']> } };
}

/** What a call came to: its answer, or one of the codes that the caller asked to be told of. */
export type Called<T, C extends number> =
  { readonly code: null; readonly answer: T } | { readonly code: C; readonly answer: null };

/** One call to Secret Manager: the SDK without tries of its own, which would hide what became of a write. */
export class GoogleClient {
  readonly label: string;
  readonly #sdk: SecretManagerServiceClient;
  readonly #options: CallOptions;

  private constructor(sdk: SecretManagerServiceClient, policy: GoogleStorePolicy) {
    const { project, location, endpoint, timeoutMs } = policy;
    this.#sdk = sdk;
    this.#options = { timeout: timeoutMs, retry: null };
    const where = location === null ? '' : `, location ${location}`;
    this.label = `Google store of project ${project}${where}${endpoint === null ? '' : ` at ${endpoint}`}`;
  }

  /** Throws `package-missing`, `credential-missing`. */
  static async open(options: GoogleStoreOptions): Promise<GoogleClient> {
    const { SecretManagerServiceClient: Sdk } = await optionalPackage(
      '@google-cloud/secret-manager',
      'A store of kind google',
      () => import('@google-cloud/secret-manager'),
    );
    return new GoogleClient(new Sdk(await sdkOptions(options)), options.policy);
  }

  /** Throws a `KeyturnError` for everything but an answer and the codes of gRPC in `told`. */
  async call<T, C extends number = never>(
    asked: Asked,
    work: (sdk: SecretManagerServiceClient, options: CallOptions) => Promise<T>,
    told: readonly C[] = [],
  ): Promise<Called<T, C>> {
    try {
      return { code: null, answer: await work(this.#sdk, this.#options) };
    } catch (error) {
      const code = told.find((each) => each === codeOf(error));
      if (code !== undefined) return { code, answer: null };
      throw refusal(error, asked, this.label);
    }
  }

  async close(): Promise<void> {
    await this.#sdk.close();
  }
}

async function sdkOptions({ policy, credential }: GoogleStoreOptions): Promise<SdkOptions> {
  const { project, location, endpoint, credentials } = policy;
  const regional = location === null ? {} : { apiEndpoint: `secretmanager.${location}.rep.googleapis.com` };
  const key = credentials === null ? {} : { credentials: keyIn(await credential('credentials', credentials)) };
  const options = { projectId: project, ...regional, ...key };
  if (endpoint === null) return options;
  const { hostname, port, protocol } = new URL(endpoint);
  const isPlain = protocol === 'http:';
  const there = { apiEndpoint: hostname, port: Number(port) || (isPlain ? 80 : 443) };
  if (!isPlain) return { ...options, ...there };
  // The SDK's own gRPC, so that the credentials are of the very class that it asks for.
  const load = createRequire(import.meta.resolve('@google-cloud/secret-manager'));
  const { grpc } = load('google-gax') as Gax;
  // Without a key the SDK would ask the machine who it is, although nothing of that is sent.
  const nobody = { client_email: 'nobody', private_key: 'none' };
  return { ...options, ...there, credentials: nobody, sslCreds: grpc.credentials.createInsecure() };
}

/** The key of a service account, as the console gives it. */
function keyIn(text: string): { readonly client_email: string; readonly private_key: string } {
  const { client_email: email, private_key: key } = parseObject(text) ?? {};
  if (typeof email === 'string' && typeof key === 'string') return { client_email: email, private_key: key };
  throw new KeyturnError(
    'credential-missing',
    'The "credentials" of the Google store are no key of a service account.',
    {
      hint: 'Name the JSON file that the console gives for it, whole; or leave "credentials" out where keyturn runs under a service account.',
    },
  );
}
