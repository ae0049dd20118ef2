import type { SecretCache } from '../cache/types.ts';
import { isKeyturnError, KeyturnError } from '../model/errors.ts';
import { idBytes, idFrom } from '../model/id.ts';
import type { AcceptedVersion } from '../model/keyring.ts';
import { errorFields, type Log } from '../ports/log.ts';
import { realClock, realRandom } from '../ports/real.ts';
import type { Clock, Random } from '../ports/system.ts';
import type { UsageReporter } from '../usage/types.ts';
import { answerHandshake, type HandshakeAnswer } from './handshake.ts';
import { readHeader, type HeaderSource } from './headers.ts';
import { retryAfterSeconds, type Reason } from './result.ts';
import type { Verifier } from './verifier.ts';

/** One process that receives: what the adapters of web frameworks need of it. */
export interface Receiver {
  /** The same verifier for the same secret. Throws `secret-unknown`. */
  verifier(secret: string): Verifier;
  /** The address behind a name that the receiver was opened with; the name itself where it is none. */
  addressOf(secret: string): string;
  readonly cache: SecretCache;
  readonly usage: UsageReporter;
  readonly log: Log;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  /** Reports a last time, signs off and stops. */
  close(): Promise<void>;
}

/** `Incoming` is the framework's own request. */
export interface WebhookOptions<Incoming> {
  /** The secret that signs, or how to find it by the request; undefined: an unknown tenant. */
  readonly secret: string | ((request: Incoming) => string | undefined);
  /** The secret of the verify tokens for Meta's GET handshake; without it a GET is refused. */
  readonly handshake?: string | undefined;
  /** The longest body in bytes; 1 MiB. */
  readonly limit?: number | undefined;
  /** Told of every refusal before it is answered. What it throws is logged and changes nothing. */
  readonly onRefused?: ((refusal: Refusal, request: Incoming) => void) | undefined;
}

export type RefusalReason =
  Reason | 'method-not-allowed' | 'handshake-refused' | 'handshake-malformed' | 'body-aborted' | 'receiver-failed';

export interface Refusal {
  readonly reason: RefusalReason;
  readonly status: number;
  /** Null when the request did not lead to a secret. */
  readonly secret: string | null;
  /** The id in the answer's `x-request-id`, and in every log line about the request. */
  readonly requestId: string;
  readonly retryAfterSeconds?: number;
}

/** A verified message. */
export interface Webhook {
  readonly secret: string;
  readonly versionId: string;
  readonly stage: AcceptedVersion['stage'];
  /** The id in the answer's `x-request-id`, and in every log line about the request. */
  readonly requestId: string;
  /** Exactly the bytes that were signed. */
  readonly body: Buffer;
  /** The body as JSON; throws SyntaxError where it is none. */
  json<T = unknown>(): T;
}

/** The body, or why there is none. */
export type BodyRead = Buffer | 'too-large' | 'aborted' | 'already-parsed';

export interface ReceivedRequest {
  readonly method: string;
  /** A path with its query, or a whole URL. */
  readonly url: string;
  readonly headers: HeaderSource;
  /** Buffers at most `limit` bytes. Never rejects; called at most once. */
  readBody(limit: number): Promise<BodyRead>;
}

/** An answer that keyturn itself gives. */
export interface Answer {
  readonly kind: 'refuse' | 'handshake' | 'canary';
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Pass {
  readonly kind: 'pass';
  readonly webhook: Webhook;
  /** To be added to the handler's answer. */
  readonly headers: Readonly<Record<string, string>>;
  /** The final status of the handler's answer; 0 where none arrived. Only the first call counts. */
  answered(httpStatus: number): void;
}

export type Decision = Answer | Pass;

const defaultLimit = 1024 * 1024;
const bodyMethods: readonly string[] = ['POST', 'PUT', 'PATCH'];
const requestIdShape = /^[\w.-]{1,64}$/;
/** Of W3C Trace Context; an id of zeros alone is none. */
const traceparentShape = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})[\da-f]{16}-[\da-f]{2}$/;

/** Fails at start rather than at the first message. Throws `secret-unknown` or `usage`. */
export function checkOptions<Incoming>(receiver: Receiver, options: WebhookOptions<Incoming>): void {
  const { secret, handshake, limit } = options;
  if (typeof secret === 'string') receiver.verifier(secret);
  if (handshake !== undefined && !receiver.cache.secrets.includes(receiver.addressOf(handshake))) {
    throw new KeyturnError('secret-unknown', `The receiver does not hold ${JSON.stringify(handshake)}.`, {
      hint: 'Name it in the list of secrets that the receiver is opened with.',
    });
  }
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0)) {
    throw new KeyturnError(
      'usage',
      `The limit of a body must be a whole number of bytes above 0, not ${String(limit)}.`,
    );
  }
}

/** What to do with a request: the same for every framework. Never rejects. */
export async function handle<Incoming>(
  receiver: Receiver,
  options: WebhookOptions<Incoming>,
  message: ReceivedRequest,
  request: Incoming,
): Promise<Decision> {
  const requestId = requestIdOf(receiver, message.headers);
  const refuse = (reason: RefusalReason, status: number, secret: string | null, retryAfter?: number): Answer => {
    const refusal: Refusal = {
      ...{ reason, status, secret, requestId },
      ...(retryAfter === undefined ? {} : { retryAfterSeconds: retryAfter }),
    };
    return answerOf(receiver, options, refusal, request);
  };
  try {
    return await decide(receiver, options, message, request, requestId, refuse);
  } catch (error) {
    receiver.log.error('A request could not be judged because of a failure on this side.', {
      ...{ requestId, ...errorFields(error) },
    });
    return refuse('receiver-failed', 500, null);
  }
}

type Refuse = (reason: RefusalReason, status: number, secret: string | null, retryAfter?: number) => Answer;

async function decide<Incoming>(
  receiver: Receiver,
  options: WebhookOptions<Incoming>,
  message: ReceivedRequest,
  request: Incoming,
  requestId: string,
  refuse: Refuse,
): Promise<Decision> {
  const { method, url, headers } = message;
  if (method === 'GET' && options.handshake !== undefined) {
    const secret = receiver.addressOf(options.handshake);
    const answer = await answerHandshake({ ...partsOf(receiver), secret }, url);
    return answerToHandshake(answer, secret, requestId, refuse);
  }
  if (!bodyMethods.includes(method)) return refuse('method-not-allowed', 405, null);

  const verifier = verifierFor(receiver, options, request);
  if (verifier === null) return refuse('unknown-tenant', 401, null);
  const { secret } = verifier;
  const premature = verifier.checkHeaders(headers);
  if (premature !== null) return refuse(premature.reason, premature.status, secret);

  const limit = options.limit ?? defaultLimit;
  const body = declaredLength(headers) > limit ? 'too-large' : await message.readBody(limit);
  if (body === 'too-large') return refuse('body-too-large', 413, secret);
  if (body === 'aborted') return refuse('body-aborted', 400, secret);
  if (body === 'already-parsed') {
    receiver.log.error(parsedAdvice, { reason: 'body-already-parsed', secret, requestId });
    return refuse('body-already-parsed', 500, secret);
  }

  const result = await verifier.verify({ headers, body, method, url, requestId });
  if (!result.ok) return refuse(result.reason, result.status, secret, result.retryAfterSeconds);
  const { versionId, stage } = result;
  if (result.canary) return answerToCanary(versionId, requestId);
  return {
    kind: 'pass',
    webhook: { secret, versionId, stage, requestId, body, json: <T>() => parsed(body) as T },
    headers: { 'x-request-id': requestId },
    answered: (httpStatus) => verifier.outcome(result, httpStatus),
  };
}

/** An error that quotes nothing of the message: what a handler throws is logged. */
function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw new SyntaxError('The body of this message is no JSON.');
  }
}

const parsedAdvice =
  'The body was read before keyturn could, so its signature cannot be verified. Mount keyturn before express.json() ' +
  'or any other parser, or keep the raw bytes: express.json({ verify: (req, res, bytes) => { req.rawBody = bytes; } }).';

function partsOf(receiver: Receiver): { cache: SecretCache; usage: UsageReporter; clock: Clock } {
  return { cache: receiver.cache, usage: receiver.usage, clock: receiver.clock ?? realClock };
}

/** Null for an unknown tenant: none was named, or one by the request that this receiver does not hold. */
function verifierFor<Incoming>(
  receiver: Receiver,
  options: WebhookOptions<Incoming>,
  request: Incoming,
): Verifier | null {
  if (typeof options.secret === 'string') return receiver.verifier(options.secret);
  const secret = options.secret(request);
  if (secret === undefined) return null;
  try {
    return receiver.verifier(secret);
  } catch (error) {
    if (isKeyturnError(error, 'secret-unknown')) return null;
    throw error;
  }
}

/** What the sender says; a false number only costs the sender the connection. */
function declaredLength(headers: HeaderSource): number {
  const value = readHeader(headers, 'content-length');
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : 0;
}

/** The sender's own id where it is a plain one, else the id of the trace that the request is part of, else one made here. */
function requestIdOf(receiver: Receiver, headers: HeaderSource): string {
  const given = readHeader(headers, 'x-request-id');
  if (typeof given === 'string' && requestIdShape.test(given)) return given;
  const parent = readHeader(headers, 'traceparent');
  const trace = typeof parent === 'string' ? traceparentShape.exec(parent)?.[1] : undefined;
  return trace ?? idFrom('request', (receiver.random ?? realRandom).bytes(idBytes));
}

function answerToHandshake(answer: HandshakeAnswer, secret: string, requestId: string, refuse: Refuse): Answer {
  if (!answer.ok) {
    return refuse(answer.reason, answer.status, secret, answer.status === 503 ? answer.retryAfterSeconds : undefined);
  }
  const headers = { ...plainHeaders('text/plain; charset=utf-8', answer.challenge), 'x-request-id': requestId };
  return { kind: 'handshake', status: 200, headers, body: answer.challenge };
}

/** No handler sees it: to one that knows nothing of canaries it would be a message. */
function answerToCanary(versionId: string, requestId: string): Answer {
  const body = JSON.stringify({ canary: true, versionId, requestId });
  const headers = { ...plainHeaders('application/json; charset=utf-8', body), 'x-request-id': requestId };
  return { kind: 'canary', status: 200, headers, body };
}

function answerOf<Incoming>(
  receiver: Receiver,
  options: WebhookOptions<Incoming>,
  refusal: Refusal,
  request: Incoming,
): Answer {
  const { reason, status, secret, requestId } = refusal;
  receiver.log.warn('A request was refused.', { reason, status, secret, requestId });
  try {
    options.onRefused?.(refusal, request);
  } catch (error) {
    receiver.log.error('onRefused failed.', { secret, requestId, ...errorFields(error) });
  }
  const body = JSON.stringify({ error: reason, requestId });
  const methods = options.handshake === undefined ? bodyMethods : ['GET', ...bodyMethods];
  const headers = {
    ...plainHeaders('application/json; charset=utf-8', body),
    'x-request-id': requestId,
    ...(status === 503 ? { 'retry-after': String(refusal.retryAfterSeconds ?? retryAfterSeconds) } : {}),
    ...(status === 405 ? { allow: methods.join(', ') } : {}),
  };
  return { kind: 'refuse', status, headers, body };
}

function plainHeaders(type: string, body: string): Readonly<Record<string, string>> {
  return {
    'content-type': type,
    'content-length': String(Buffer.byteLength(body)),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  };
}
