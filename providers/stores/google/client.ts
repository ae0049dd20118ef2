import { createRequire } from 'node:module';
import type { SecretManagerServiceClient } from '@google-cloud/secret-manager';
import { KeyturnError } from '../../../src/model/errors.ts';
import { parseObject } from '../../../src/model/json.ts';
import type { GoogleStorePolicy } from '../../../src/model/policy.ts';
import { optionalPackage } from '../../packages.ts';
import { refusal, type Asked } from './errors.ts';
import type { StoreOptions } from '../options.ts';

/** Of one call. */
interface CallOptions {
  readonly timeout: number;
  /** No tries of the SDK's own. */
  readonly retry: null;
  /** What is for gRPC itself. */
  readonly otherArgs: { readonly options: { readonly interceptors: readonly Interceptor[] } };
}

interface Status {
  readonly code: number;
  readonly details: string;
  readonly metadata: unknown;
}

/** Of what comes back in a call, what is handed on to whoever made it. */
interface Listener {
  readonly onReceiveMessage: (message: object) => void;
}

type Interceptor = (options: object, next: (options: object) => object) => object;

type SdkOptions = NonNullable<ConstructorParameters<typeof SecretManagerServiceClient>[0]>;

type AuthClient = NonNullable<SdkOptions['authClient']>;

interface ServiceAccount {
  readonly email: string;
  readonly key: string;
}

/** What is asked of the package that the SDK makes its calls with. */
interface Gax {
  readonly grpc: {
    readonly credentials: { readonly createInsecure: () => NonNullable<SdkOptions['sslCreds']> };
    readonly status: { readonly OK: number };
    readonly InterceptingCall: new (
      call: object,
      requester: {
        readonly start: (
          metadata: object,
          listener: Listener,
          next: (
            metadata: object,
            listener: { readonly onReceiveStatus: (status: Status, next: (status: Status) => void) => void },
          ) => void,
        ) => void;
      },
    ) => object;
  };
  readonly googleAuthLibrary: {
    readonly PassThroughClient: new () => AuthClient;
    readonly JWT: new (options: ServiceAccount & { readonly scopes: readonly string[] }) => AuthClient;
  };
}

/** What a call came to: its answer, or one of the codes that the caller asked to be told of. */
type Called<T, C extends number> =
  { readonly code: null; readonly answer: T } | { readonly code: C; readonly answer: null };

/** One call to Secret Manager: the SDK without tries of its own, which would hide what became of a write. */
export class GoogleClient {
  readonly label: string;
  readonly #sdk: SecretManagerServiceClient;
  readonly #grpc: Gax['grpc'];
  readonly #timeoutMs: number;

  private constructor(sdk: SecretManagerServiceClient, policy: GoogleStorePolicy) {
    const { project, location, endpoint, timeoutMs } = policy;
    this.#sdk = sdk;
    this.#grpc = gax().grpc;
    this.#timeoutMs = timeoutMs;
    const where = location === null ? '' : `, location ${location}`;
    this.label = `Google store of project ${project}${where}${endpoint === null ? '' : ` at ${endpoint}`}`;
  }

  /** Throws `package-missing`, `credential-missing`. */
  static async open(options: StoreOptions<GoogleStorePolicy>): Promise<GoogleClient> {
    const { SecretManagerServiceClient: Sdk } = await optionalPackage(
      '@google-cloud/secret-manager',
      'A store of kind google',
      () => import('@google-cloud/secret-manager'),
    );
    const sdk = new Sdk(await sdkOptions(options));
    // It logs requests and answers whole, values among them, where GOOGLE_SDK_NODE_LOGGING asks for it.
    if (!Reflect.set(sdk, '_log', { info: () => undefined }))
      throw new TypeError('the log of the Google SDK cannot be silenced');
    return new GoogleClient(sdk, options.policy);
  }

  /** Throws a `KeyturnError` for everything but an answer and the codes of gRPC in `told`. */
  async call<T, C extends number = never>(
    asked: Asked,
    work: (sdk: SecretManagerServiceClient, options: CallOptions) => Promise<T>,
    told: readonly C[] = [],
  ): Promise<Called<T, C>> {
    const heard: { code: C | null } = { code: null };
    const interceptor = this.#hearing(told, (code) => {
      heard.code = code;
    });
    // New each time: the SDK writes into them what is asked for, and reads it later.
    const options = { timeout: this.#timeoutMs, retry: null, otherArgs: { options: { interceptors: [interceptor] } } };
    try {
      const answer = await work(this.#sdk, options);
      return heard.code === null ? { code: null, answer } : { code: heard.code, answer: null };
    } catch (error) {
      throw refusal(error, asked, this.label);
    }
  }

  /**
   * Hears a status that is told before an error is made of it, and hands on an empty answer instead. For each error two stacks
   * are written out and a decoder for everything that Google can say is built: most of what an idle receiver would cost, whose
   * calls all end in "no such version".
   */
  #hearing<C extends number>(told: readonly C[], hear: (code: C) => void): Interceptor {
    const { InterceptingCall, status: known } = this.#grpc;
    return (options, next) =>
      new InterceptingCall(next(options), {
        start: (metadata, listener, begin) => {
          const onReceiveStatus = (status: Status, pass: (status: Status) => void): void => {
            const code = told.find((each) => each === status.code);
            if (code === undefined) {
              pass(status);
              return;
            }
            hear(code);
            listener.onReceiveMessage({});
            pass({ ...status, code: known.OK });
          };
          begin(metadata, { onReceiveStatus });
        },
      });
  }

  async close(): Promise<void> {
    await this.#sdk.close();
  }
}

async function sdkOptions({ policy, credential }: StoreOptions<GoogleStorePolicy>): Promise<SdkOptions> {
  const { project, location, endpoint, credentials } = policy;
  const regional = location === null ? {} : { apiEndpoint: `secretmanager.${location}.rep.googleapis.com` };
  const key = credentials === null ? null : keyIn(await credential('credentials', credentials));
  const options = { projectId: project, ...regional, ...(key === null ? {} : { authClient: clientOf(key) }) };
  if (endpoint === null) return options;
  const { hostname, port, protocol } = new URL(endpoint);
  const isPlain = protocol === 'http:';
  const there = { apiEndpoint: hostname, port: Number(port) || (isPlain ? 80 : 443) };
  if (!isPlain) return { ...options, ...there };
  const { grpc, googleAuthLibrary } = gax();
  // Without it the SDK would ask the machine who it is, although nothing of that is sent.
  const nobody = new googleAuthLibrary.PassThroughClient();
  return { ...options, ...there, authClient: nobody, sslCreds: grpc.credentials.createInsecure() };
}

/** The SDK's own, so that what is made with it is of the very classes that the SDK asks for. */
function gax(): Gax {
  return createRequire(import.meta.resolve('@google-cloud/secret-manager'))('google-gax') as Gax;
}

/** As the SDK would make it of `credentials`, an option that it warns of. */
function clientOf(key: ServiceAccount): AuthClient {
  const { JWT } = gax().googleAuthLibrary;
  return new JWT({ ...key, scopes: ['https://www.googleapis.com/auth/cloud-platform'] });
}

/** The key of a service account, as the console gives it. */
function keyIn(text: string): ServiceAccount {
  const { client_email: email, private_key: key } = parseObject(text) ?? {};
  if (typeof email === 'string' && typeof key === 'string') return { email, key };
  throw new KeyturnError(
    'credential-missing',
    'The "credentials" of the Google store are no key of a service account.',
    {
      hint: 'Name the JSON file that the console gives for it, whole; or leave "credentials" out where keyturn runs under a service account.',
    },
  );
}
