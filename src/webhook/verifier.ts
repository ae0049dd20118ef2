import type { SecretCache } from '../cache/types.ts';
import { KeyturnError } from '../model/errors.ts';
import type { AcceptedVersion } from '../model/keyring.ts';
import { errorFields, silentLog, type Log, type LogFields } from '../ports/log.ts';
import { realClock } from '../ports/real.ts';
import type { Clock } from '../ports/system.ts';
import type { UsageReporter } from '../usage/types.ts';
import { isCanary } from './canary.ts';
import { doubled, readHeader, type HeaderSource } from './headers.ts';
import { findKey, prepareKey, readSignature, retireKey, type HmacKey } from './hmac.ts';
import { missWithoutRefetch, settleMiss, withoutVersion } from './miss.ts';
import { refused, tryLater, type Matched, type Refused, type Result } from './result.ts';
import { schemeOf, type Scheme } from './schemes.ts';

/** The parts of a message that schemes sign. */
export interface VerifyRequest {
  readonly headers: HeaderSource;
  /** Exactly the bytes that arrived; text is taken as UTF-8. */
  readonly body: Uint8Array | ArrayBuffer | string;
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  /** What log lines about this message name it by. */
  readonly requestId?: string | undefined;
}

export interface Verifier {
  readonly secret: string;
  readonly scheme: Scheme;
  /** Never throws and never rejects. A signature that nothing explains costs one refetch, shared and limited. */
  verify(request: VerifyRequest): Promise<Result>;
  /** Never throws. Without a refetch: a miss on a snapshot that is not fresh is 503. */
  verifySync(request: VerifyRequest): Result;
  /** Never throws. The refusal that the headers alone justify, before a body is read; null when it takes the body. */
  checkHeaders(headers: HeaderSource): Refused | null;
  /** How the message was answered. Counts once for each result of this verifier, whoever calls it again. */
  outcome(result: Result, httpStatus: number): void;
}

export interface VerifierOptions {
  readonly cache: SecretCache;
  readonly secret: string;
  readonly scheme: string | Scheme;
  readonly usage?: UsageReporter | undefined;
  readonly clock?: Clock | undefined;
  readonly log?: Log | undefined;
}

/** Throws `not-in-this-version` for a scheme it does not have, and `secret-unknown` for a secret the cache does not hold. */
export function createVerifier(options: VerifierOptions): Verifier {
  const { cache, secret } = options;
  if (!cache.secrets.includes(secret)) {
    throw new KeyturnError('secret-unknown', `The cache does not hold ${JSON.stringify(secret)}.`, {
      hint: 'Name it in the list of secrets that the receiver is opened with.',
      details: { secrets: cache.secrets },
    });
  }
  return new HmacVerifier(options);
}

const headerMissing = refused('header-missing', 401);
const headerMalformed = refused('header-malformed', 401);
const prefixWrong = refused('prefix-wrong', 401);
const algorithmRefused = refused('algorithm-refused', 401);
const mismatch = refused('signature-mismatch', 401);
const bodyAlreadyParsed = refused('body-already-parsed', 500);
const troubleHere = tryLater('store-unreachable');

const nothingElse: readonly string[] = Object.freeze([]);

/** A match that remembers whose it is until its answer is counted. */
class Match implements Matched {
  readonly ok = true;
  readonly versionId: string;
  readonly stage: AcceptedVersion['stage'];
  readonly alsoMatched = nothingElse;
  readonly canary: boolean;
  #owner: Verifier | null;

  constructor(version: AcceptedVersion, canary: boolean, owner: Verifier) {
    this.versionId = version.id;
    this.stage = version.stage;
    this.canary = canary;
    this.#owner = owner;
  }

  /** True once, and only for the verifier that made it. */
  static take(result: unknown, owner: Verifier): result is Match {
    if (typeof result !== 'object' || result === null || !(#owner in result) || result.#owner !== owner) return false;
    result.#owner = null;
    return true;
  }
}

interface Candidate {
  readonly version: AcceptedVersion;
  readonly key: HmacKey;
}

class HmacVerifier implements Verifier {
  readonly secret: string;
  readonly scheme: Scheme;
  readonly #cache: SecretCache;
  readonly #usage: UsageReporter | null;
  readonly #clock: Clock;
  readonly #log: Log;
  /** What `#candidates` were prepared from: the cache hands out the same array until it changes. */
  #accepted: readonly AcceptedVersion[] = [];
  /** In the order in which they are tried. */
  #candidates: Candidate[] = [];
  /** The version that matched last although it was not tried first. */
  #rising: Candidate | null = null;

  constructor(options: VerifierOptions) {
    this.secret = options.secret;
    this.scheme = schemeOf(options.scheme);
    this.#cache = options.cache;
    this.#usage = options.usage ?? null;
    this.#clock = options.clock ?? realClock;
    this.#log = options.log ?? silentLog;
  }

  verifySync(request: VerifyRequest): Result {
    try {
      const result = this.#attempt(request);
      if (result !== null) return result;
      const snapshot = this.#cache.snapshot(this.secret);
      if (snapshot === null) return withoutVersion(this.#cache, this.secret);
      const now = this.#clock.monotonic();
      return missWithoutRefetch(snapshot, now, now, mismatch);
    } catch (error) {
      return this.#trouble(error, request);
    }
  }

  async verify(request: VerifyRequest): Promise<Result> {
    try {
      const arrivedAt = this.#clock.monotonic();
      const result = this.#attempt(request);
      if (result !== null) return result;
      const miss = { cache: this.#cache, clock: this.#clock, secret: this.secret, arrivedAt, forGood: mismatch };
      return await settleMiss(miss, () => this.#attempt(request));
    } catch (error) {
      return this.#trouble(error, request);
    }
  }

  checkHeaders(headers: HeaderSource): Refused | null {
    try {
      return this.#readSignature(headers);
    } catch {
      return headerMalformed;
    }
  }

  outcome(result: Result, httpStatus: number): void {
    if (!Match.take(result, this) || result.canary) return;
    try {
      this.#usage?.answered(this.secret, result.versionId, httpStatus >= 200 && httpStatus <= 299);
    } catch (error) {
      this.#trouble(error, null);
    }
  }

  /** One pass over the accepted versions; null on a miss. Between reading the signature and comparing, nothing awaits. */
  #attempt(request: VerifyRequest): Result | null {
    const { headers, body } = nullish(request) ? nothing : request;
    const snapshot = this.#cache.snapshot(this.secret);
    const refusal = this.checkHeaders(headers);
    if (refusal !== null) return refusal;
    const bytes = body instanceof Uint8Array ? body : bytesOf(body);
    if (bytes === null) {
      this.#log.error(alreadyParsedAdvice, { reason: bodyAlreadyParsed.reason, ...this.#named(request) });
      return bodyAlreadyParsed;
    }
    if (snapshot === null || snapshot.accepted.length === 0) return withoutVersion(this.#cache, this.secret);
    if (snapshot.accepted !== this.#accepted) this.#adopt(snapshot.accepted);
    const index = findKey(this.#candidates, bytes);
    const found = index === -1 ? undefined : this.#candidates[index];
    if (found === undefined) return null;
    // A canary tells nothing of what the upstream signs with, so it is neither counted nor learned from.
    if (isCanary(bytes)) return new Match(found.version, true, this);
    this.#reorder(index, found);
    this.#usage?.matched(this.secret, found.version.id, true);
    return new Match(found.version, false, this);
  }

  /** Leaves the signature to `findKey`, or says why there is none. */
  #readSignature(headers: HeaderSource): Refused | null {
    const { header, prefix, legacyHeader } = this.scheme;
    const value = readHeader(headers, header);
    if (typeof value === 'string') {
      if (!value.startsWith(prefix)) return value === '' ? headerMalformed : prefixWrong;
      return readSignature(value, prefix.length) ? null : headerMalformed;
    }
    if (value === doubled) return headerMalformed;
    return legacyHeader !== null && readHeader(headers, legacyHeader) !== null ? algorithmRefused : headerMissing;
  }

  /** Prepares the versions of a new snapshot, keeps the order of those that stay, and erases those that are gone. */
  #adopt(accepted: readonly AcceptedVersion[]): void {
    const before = this.#candidates;
    const rank = (version: AcceptedVersion): number => {
      const known = before.findIndex((candidate) => candidate.version.id === version.id);
      return known === -1 ? before.length : known;
    };
    this.#candidates = accepted
      .map((version) => ({ version, key: prepareKey(version.value) }))
      .sort((a, b) => rank(a.version) - rank(b.version));
    this.#accepted = accepted;
    this.#rising = null;
    for (const candidate of before) retireKey(candidate.key);
  }

  /**
   * What matched twice in a row is tried first. Once would do as well for a switch, but where old and new alternate it
   * would make every single message pay for both keys.
   */
  #reorder(index: number, found: Candidate): void {
    if (index === 0) {
      this.#rising = null;
    } else if (this.#rising === found) {
      this.#candidates.splice(index, 1);
      this.#candidates.unshift(found);
      this.#rising = null;
    } else {
      this.#rising = found;
    }
  }

  /** Whatever fails on our side must not cost a message: the sender is asked to come again. */
  #trouble(error: unknown, request: VerifyRequest | null): Refused {
    this.#log.error('A message could not be verified because of a failure on this side.', {
      ...this.#named(request),
      ...errorFields(error),
    });
    return troubleHere;
  }

  /** What a log line is about; never throws, whatever the request is. */
  #named(request: VerifyRequest | null): LogFields {
    const { secret } = this;
    try {
      const requestId = request?.requestId;
      return typeof requestId === 'string' ? { secret, requestId } : { secret };
    } catch {
      return { secret };
    }
  }
}

const alreadyParsedAdvice =
  'The body is no longer the bytes that arrived, so its signature cannot be verified. ' +
  'Take the raw bytes before any parser: mount keyturn before express.json(), or keep them with its verify option.';

const nothing: VerifyRequest = { headers: {}, body: '' };

/** Callers without types may hand over nothing at all. */
function nullish(request: VerifyRequest | null | undefined): request is null | undefined {
  return request === null || request === undefined;
}

function bytesOf(body: unknown): Uint8Array | null {
  if (typeof body === 'string') return Buffer.from(body, 'utf8');
  return body instanceof ArrayBuffer ? new Uint8Array(body) : null;
}
