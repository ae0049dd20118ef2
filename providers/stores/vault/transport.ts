import type { Dispatcher } from 'undici';

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

export type Transport = ((options: CallOptions) => Promise<Answer>) & { readonly close: () => Promise<void> };

/** More than are ever asked at once. */
const connections = 32;

/** Shorter than load balancers keep an idle connection (60 s in many): a call on one that closes meanwhile would be lost. */
const keptAliveMs = 30_000;

/**
 * By undici's dispatcher, because a refresh asks for every secret, and `node:http` takes half as much again for each. Throws the
 * system's errors and undici's, and an `Error` with the code ETIMEDOUT where nothing came in time.
 */
export async function createTransport({ address, ca, timeoutMs }: TransportOptions): Promise<Transport> {
  // Loaded when a store is opened, as node-vault is.
  const { Pool } = await import('undici');
  const server = new URL(address);
  const prefix = server.pathname.replace(/\/$/, '');
  const pool = new Pool(server.origin, {
    connections,
    keepAliveTimeout: keptAliveMs,
    maxResponseSize: maxAnswerBytes,
    // One deadline for the whole of a call is set below.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: timeoutMs, ...(ca === null ? {} : { ca }) },
  });
  const call = async (options: CallOptions): Promise<Answer> => {
    const path = `${prefix}${options.uri.slice(address.length)}`;
    const body = options.json === undefined ? null : JSON.stringify(options.json);
    const headers = {
      ...options.headers,
      accept: 'application/json',
      ...(body === null ? {} : { 'content-type': 'application/json' }),
    };
    const answer = await new Promise<Answer>((resolve, reject) => {
      const handler = new Receiving(path, { timeoutMs, resolve, reject });
      pool.dispatch({ path, method: options.method, headers, body }, handler);
    });
    options.onAnswer?.(answer);
    return answer;
  };
  return Object.assign(call, { close: () => pool.destroy() });
}

interface Waiting {
  readonly timeoutMs: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** One answer while it comes. */
class Receiving implements Dispatcher.DispatchHandler {
  readonly #path: string;
  readonly #waiting: Waiting;
  readonly #deadline: NodeJS.Timeout;
  readonly #chunks: Buffer[] = [];
  #controller: Dispatcher.DispatchController | null = null;
  #late: Error | null = null;
  #statusCode = 0;
  #retryAfter: unknown;

  constructor(path: string, waiting: Waiting) {
    this.#path = path;
    this.#waiting = waiting;
    this.#deadline = setTimeout(() => this.#giveUp(), waiting.timeoutMs);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#late !== null) controller.abort(this.#late);
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: Readonly<Record<string, unknown>>,
  ): void {
    this.#statusCode = statusCode;
    this.#retryAfter = headers['retry-after'];
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    clearTimeout(this.#deadline);
    const seconds = Number(this.#retryAfter);
    this.#waiting.resolve({
      statusCode: this.#statusCode,
      body: parsed(Buffer.concat(this.#chunks).toString('utf8')),
      request: { path: this.#path },
      retryAfterMs: Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : null,
    });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    clearTimeout(this.#deadline);
    this.#waiting.reject(error);
  }

  #giveUp(): void {
    const error = Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' });
    this.#late = error;
    this.#waiting.reject(error);
    this.#controller?.abort(error);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
