import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { urlToHttpOptions } from 'node:url';

/**
 * What carries node-vault's calls, in the place of its own: it would follow a redirect with the token in the call, use the
 * proxies of the environment, hide the answer's headers, and wait for ever.
 */

/** An answer as node-vault takes it, and what it leaves out. */
export interface Answer {
  readonly statusCode: number;
  /** Parsed where it is JSON; else null. */
  readonly body: unknown;
  readonly request: { readonly path: string };
  /** What `Retry-After` says, ms; null where it is not there or no number of seconds. */
  readonly retryAfterMs: number | null;
}

/** The options of node-vault's `request`, and ours, which it passes on. */
export interface CallOptions {
  readonly uri: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly onAnswer?: (answer: Answer) => void;
}

export interface TransportOptions {
  /** What every `uri` begins with; whatever comes after it can stand in a request as it is. */
  readonly address: string;
  /** PEM; null: what the system trusts. */
  readonly ca: string | null;
  readonly timeoutMs: number;
}

/** No answer of the calls that are made here is longer. */
const maxAnswerBytes = 4 * 1024 * 1024;

export type Transport = ((options: CallOptions) => Promise<Answer>) & { readonly close: () => void };

/** Throws the system's errors, and an `Error` with the code ETIMEDOUT where nothing came in time. */
export function createTransport({ address, ca, timeoutMs }: TransportOptions): Transport {
  // Once, not for each call: reading an address takes as long as a fifth of one.
  const server = new URL(address);
  const { protocol, hostname, port } = urlToHttpOptions(server);
  const prefix = server.pathname.replace(/\/$/, '');
  const http = new HttpAgent({ keepAlive: true, maxSockets: 32 });
  const https = new HttpsAgent({ keepAlive: true, maxSockets: 32, ...(ca === null ? {} : { ca }) });
  const call = async (options: CallOptions): Promise<Answer> => {
    const path = `${prefix}${options.uri.slice(address.length)}`;
    const body = options.json === undefined ? null : JSON.stringify(options.json);
    const headers = {
      ...options.headers,
      accept: 'application/json',
      ...(body === null
        ? {}
        : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }),
    };
    const answer = await new Promise<Answer>((resolve, reject) => {
      const settings = { protocol, hostname, port, path, method: options.method, headers };
      const received = (incoming: IncomingMessage): void => {
        collect(incoming, (text) => resolve(answerOf(incoming, text, path)), reject);
      };
      const outgoing =
        protocol === 'https:'
          ? httpsRequest({ ...settings, agent: https }, received)
          : httpRequest({ ...settings, agent: http }, received);
      const deadline = setTimeout(() => {
        reject(failure('ETIMEDOUT', 'no answer in time'));
        outgoing.destroy();
      }, timeoutMs);
      outgoing.on('error', reject);
      outgoing.on('close', () => clearTimeout(deadline));
      outgoing.end(body ?? undefined);
    });
    options.onAnswer?.(answer);
    return answer;
  };
  const close = (): void => {
    http.destroy();
    https.destroy();
  };
  return Object.assign(call, { close });
}

function answerOf(incoming: IncomingMessage, text: string, path: string): Answer {
  const seconds = Number(incoming.headers['retry-after']);
  return {
    statusCode: incoming.statusCode ?? 0,
    body: parsed(text),
    request: { path },
    retryAfterMs: Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : null,
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** By events, because a refresh asks for every secret: an iterator of each answer costs more. */
function collect(incoming: IncomingMessage, done: (text: string) => void, failed: (error: Error) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  incoming.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxAnswerBytes) incoming.destroy(failure('EMSGSIZE', 'the answer is too long'));
    else chunks.push(chunk);
  });
  incoming.on('end', () => done(Buffer.concat(chunks).toString('utf8')));
  incoming.on('error', failed);
}

function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
