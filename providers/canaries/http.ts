import type { Address } from '../../src/model/address.ts';
import { isKeyturnError, KeyturnError } from '../../src/model/errors.ts';
import type { CanaryPolicy } from '../../src/model/policy.ts';
import { isRecord, parseObject } from '../../src/model/json.ts';
import { isLoopbackHost } from '../../src/model/loopback.ts';
import type { Canary, CanaryAnswer, CanaryCall } from '../../src/ports/canary.ts';
import { realClock, realFetch } from '../../src/ports/real.ts';
import type { Clock, Fetch } from '../../src/ports/system.ts';
import { startDeadline } from '../deadline.ts';
import { userAgent } from '../version.ts';

export interface HttpCanaryOptions {
  readonly secret: Address;
  readonly policy: CanaryPolicy;
  readonly fetch?: Fetch | undefined;
  readonly clock?: Clock | undefined;
}

/** A receiver answers at once, also one that has to look in its store first. */
const timeoutMs = 5_000;

/** No more of an answer's body is read than this. */
const maxAnswerBytes = 4 * 1024;

/** The way to receivers behind a url. Throws `policy-invalid` for one that no message may go to. */
export function createHttpCanary(options: HttpCanaryOptions): Canary {
  const { secret, policy, fetch = realFetch, clock = realClock } = options;
  const url = placeOf(secret, policy.url);

  async function send({ runId, id, headers, body, signal }: CanaryCall): Promise<CanaryAnswer> {
    if (signal.aborted) throw unreachable('its time was over before it was sent');
    const deadline = startDeadline(clock, timeoutMs, signal);
    try {
      const response = await fetch(url.href, {
        method: 'POST',
        headers: { 'user-agent': userAgent(), 'x-request-id': id, 'x-correlation-id': runId, ...headers },
        body,
        redirect: 'manual',
        credentials: 'omit',
        signal: deadline.signal,
      });
      return { status: response.status, reason: reasonIn(await readStart(response)) };
    } catch (error) {
      if (isKeyturnError(error)) throw error;
      throw unreachable(deadline.signal.aborted ? deadline.reason() : codeOf(error));
    } finally {
      deadline.end();
    }
  }

  function unreachable(why: string): KeyturnError {
    return new KeyturnError('canary-unreachable', `A canary of ${secret} had no answer from ${url.host} (${why}).`, {
      hint: "Check the canary's url in the policy, the receivers behind it, and the network of this machine.",
      details: { why },
    });
  }

  return { label: url.host, timeoutMs, send, close: async () => {} };
}

function placeOf(secret: Address, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isEncrypted = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopbackHost(url.hostname));
  if (url !== null && isEncrypted && url.username === '' && url.password === '') return url;
  throw new KeyturnError('policy-invalid', `The canary of ${secret} has no usable url.`, {
    hint: 'Write https://HOST/PATH, without user and password; http is for loopback alone.',
  });
}

/** What the body begins with; a body that is cut short says nothing, and the status was said before it. */
async function readStart(response: Response): Promise<string> {
  if (response.body === null) return '';
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    const body: AsyncIterable<Uint8Array> = response.body;
    for await (const chunk of body) {
      size += chunk.byteLength;
      if (size > maxAnswerBytes) return '';
      chunks.push(chunk);
    }
  } catch {
    return '';
  }
  return Buffer.concat(chunks).toString();
}

/** Receivers of keyturn refuse with `{"error":"signature-mismatch"}`. Nothing else of an answer is ever shown. */
function reasonIn(text: string): string | null {
  const answer = parseObject(text);
  const error = isRecord(answer) ? answer['error'] : null;
  return typeof error === 'string' && /^[a-z]{2,20}(?:-[a-z]{2,20}){0,3}$/.test(error) ? error : null;
}

/** The error itself is not kept: it may quote the request. */
function codeOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? error.cause : null;
  const code: unknown = typeof cause === 'object' && cause !== null ? Reflect.get(cause, 'code') : null;
  return typeof code === 'string' && /^[A-Z0-9_]{1,60}$/.test(code) ? code : 'the connection failed';
}
