import type { SecretsManager, SecretsManagerClientConfig } from '@aws-sdk/client-secrets-manager';
import { KeyturnError } from '../../../src/model/errors.ts';
import { isRecord } from '../../../src/model/json.ts';
import { isLoopbackHost } from '../../../src/model/loopback.ts';
import type { Clock } from '../../../src/ports/system.ts';
import { startDeadline } from '../../deadline.ts';
import { optionalPackage } from '../../packages.ts';
import { credentialsRefusal, exceptionOf, refusal, type Asked } from './errors.ts';
import type { AwsStoreOptions } from './options.ts';

/** What a call came to: its answer, or one of the exceptions that the caller asked to be told of. */
type Called<T, E extends string> =
  { readonly exception: null; readonly answer: T } | { readonly exception: E; readonly answer: null };

/** How long credentials of the policy are used before they are read again: the SDK reads them five minutes before they end. */
const credentialsForMs = 10 * 60_000;

/** One call to Secrets Manager: the SDK without tries of its own, which would hide what became of a write. */
export class AwsClient {
  readonly label: string;
  readonly #sdk: SecretsManager;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  /** What the service's clock showed last, epoch ms, and when that was here. */
  #heard: { readonly there: number; readonly here: number } | null = null;

  private constructor(sdk: SecretsManager, { policy, clock }: AwsStoreOptions) {
    const { region, endpoint, timeoutMs } = policy;
    this.#sdk = sdk;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.label = `AWS store${region === null ? '' : ` in ${region}`}${endpoint === null ? '' : ` at ${endpoint}`}`;
  }

  /** Throws `package-missing`. */
  static async open(parts: AwsStoreOptions): Promise<AwsClient> {
    const { SecretsManager: Sdk } = await optionalPackage(
      '@aws-sdk/client-secrets-manager',
      'A store of kind aws',
      () => import('@aws-sdk/client-secrets-manager'),
    );
    const client = new AwsClient(new Sdk(configOf(parts)), parts);
    client.#keepPrivate();
    client.#listen();
    return client;
  }

  /** How far the service's clock is ahead, ms, to the second; null before its first answer. */
  get clockAheadMs(): number | null {
    return this.#heard === null ? null : this.#heard.there - Math.floor(this.#heard.here / 1_000) * 1_000;
  }

  /** Throws a `KeyturnError` for everything but an answer and the exceptions named in `told`. */
  async call<T, E extends string = never>(
    asked: Asked,
    work: (sdk: SecretsManager, options: { readonly abortSignal: AbortSignal }) => Promise<T>,
    told: readonly E[] = [],
  ): Promise<Called<T, E>> {
    const deadline = startDeadline(this.#clock, this.#timeoutMs, new AbortController().signal);
    try {
      await this.#haveCredentials(asked);
      return { exception: null, answer: await work(this.#sdk, { abortSignal: deadline.signal }) };
    } catch (error) {
      const exception = told.find((each) => each === exceptionOf(error));
      if (exception !== undefined) return { exception, answer: null };
      throw refusal(error, asked, this.label);
    } finally {
      deadline.end();
    }
  }

  /** Else the refusal of a role would look like one of Secrets Manager. The SDK keeps them until they end. */
  async #haveCredentials(asked: Asked): Promise<void> {
    try {
      await this.#sdk.config.credentials();
    } catch (error) {
      throw credentialsRefusal(error, asked, this.label) ?? error;
    }
  }

  close(): void {
    this.#sdk.destroy();
  }

  /** Whatever the environment or a profile names as an endpoint: values must not be readable on their way. */
  #keepPrivate(): void {
    this.#sdk.middlewareStack.add(
      (next) => async (args) => {
        const { request } = args;
        const { protocol, hostname } = isRecord(request) ? request : {};
        if (protocol !== 'http:' || isLoopbackHost(String(hostname))) return next(args);
        throw new KeyturnError(
          'policy-invalid',
          `The ${this.label} is not asked: its endpoint is plain http to another machine.`,
          {
            hint: 'Name an endpoint with https:// in the policy, or take the one out of AWS_ENDPOINT_URL or the profile.',
          },
        );
      },
      { step: 'build', name: 'keyturnPrivate' },
    );
  }

  #listen(): void {
    this.#sdk.middlewareStack.add(
      (next) => async (args) => {
        const output = await next(args);
        const { response } = output;
        const headers = isRecord(response) ? response['headers'] : null;
        const there = isRecord(headers) ? Date.parse(String(headers['date'])) : Number.NaN;
        if (!Number.isNaN(there)) this.#heard = { there, here: this.#clock.now() };
        return output;
      },
      { step: 'deserialize', priority: 'low', name: 'keyturnClock' },
    );
  }
}

function configOf({ policy, credential, clock }: AwsStoreOptions): SecretsManagerClientConfig {
  const { region, endpoint, credentials } = policy;
  return {
    maxAttempts: 1,
    ...(region === null ? {} : { region }),
    ...(endpoint === null ? {} : { endpoint }),
    ...(credentials === null
      ? {}
      : {
          credentials: async () => ({
            accessKeyId: await credential('credentials.accessKeyId', credentials.accessKeyId),
            secretAccessKey: await credential('credentials.secretAccessKey', credentials.secretAccessKey),
            ...(credentials.sessionToken === null
              ? {}
              : { sessionToken: await credential('credentials.sessionToken', credentials.sessionToken) }),
            expiration: new Date(clock.now() + credentialsForMs),
          }),
        }),
  };
}
