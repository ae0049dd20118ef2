import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Later } from './processes.ts';
import { Sender } from './sender.ts';

/** What becomes of one call to an upstream. `takes`: whether it signs with the new value from then on. */
export type Reaction =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: unknown;
      readonly takes: boolean;
    }
  /** Answers only when the test says so, by `Call.release`. */
  | { readonly kind: 'hold'; readonly takes: 'at once' | 'when released' | 'never' }
  /** Ends the connection in the middle of an answer. */
  | { readonly kind: 'cut'; readonly takes: boolean };

export const accepts: Reaction = { kind: 'answer', status: 200, takes: true };

export function answers(status: number, more: { headers?: Record<string, string>; body?: unknown } = {}): Reaction {
  return { kind: 'answer', status, takes: false, ...more };
}

/** One call that arrived. */
export interface Call {
  /** Epoch ms. */
  readonly at: number;
  readonly value: string;
  readonly headers: IncomingHttpHeaders;
  /** True when the caller went away before it had an answer. */
  wasLeft: boolean;
  /** For a call that is held. */
  release(): void;
}

/** The right value of the one credential. */
export const hookToken = 'tok/en+5f4e=3d2c1b';

/** Where one secret is set at the upstream, and what this signs and sends. */
export class Hook {
  readonly calls: Call[] = [];
  readonly traffic = new Sender();
  /** Every value that it was told or given. */
  readonly values = new Set<string>();
  #signingValue: string | null = null;
  #reaction: Reaction = accepts;
  #once: Reaction[] = [];

  /** How it reacts from now on. */
  react(reaction: Reaction): void {
    this.#reaction = reaction;
  }

  /** How it reacts to the next calls, before what `react` says. */
  reactOnce(...reactions: readonly Reaction[]): void {
    this.#once.push(...reactions);
  }

  /** What it signs with now; null before it was given anything. */
  get signingValue(): string | null {
    return this.#signingValue;
  }

  signWith(value: string): void {
    this.#signingValue = value;
    this.values.add(value);
    this.traffic.signWith(value);
  }

  send(ratePerSecond: number, ...targets: readonly string[]): void {
    if (targets.length > 0) this.traffic.sendTo(targets);
    this.traffic.sendAt(ratePerSecond);
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { secret: value } = JSON.parse(await text(request)) as { secret: string };
    const { promise: released, resolve } = Promise.withResolvers<undefined>();
    const { headers } = request;
    const call: Call = { at: Date.now(), value, headers, wasLeft: false, release: () => resolve(undefined) };
    response.once('close', () => (call.wasLeft = !response.writableFinished));
    this.values.add(value);
    this.calls.push(call);
    const allowed = headers.authorization === `Bearer ${hookToken}`;
    const reaction = allowed ? (this.#once.shift() ?? this.#reaction) : answers(401);
    if (reaction.kind === 'hold') {
      if (reaction.takes === 'at once') this.signWith(value);
      await released;
      if (reaction.takes === 'when released') this.signWith(value);
      response.writeHead(200).end('{}');
      return;
    }
    if (reaction.takes) this.signWith(value);
    if (reaction.kind === 'cut') {
      response.writeHead(200, { 'content-length': '1000' }).write('{"half":', () => response.destroy());
      return;
    }
    response.writeHead(reaction.status, { 'content-type': 'application/json', ...reaction.headers });
    response.end(JSON.stringify(reaction.body ?? {}));
  }
}

/** An upstream of the test's own: `PATCH /NAME {"secret": …}` sets the secret of the hook of that name. */
export class TestUpstream {
  readonly #hooks = new Map<string, Hook>();
  readonly #server: Server;
  #port = 0;

  private constructor() {
    this.#server = createServer((request, response) => {
      const hook = this.#hooks.get((request.url ?? '').slice(1));
      if (hook === undefined || request.method !== 'PATCH') response.writeHead(404).end();
      else void hook.answer(request, response);
    });
  }

  static async start(later: Later): Promise<TestUpstream> {
    const upstream = new TestUpstream();
    later(async () => {
      await Promise.all([...upstream.#hooks.values()].map((hook) => hook.traffic.close()));
      await upstream.stop();
    });
    await upstream.listen();
    return upstream;
  }

  get url(): string {
    return `http://127.0.0.1:${String(this.#port)}`;
  }

  hook(name: string): Hook {
    const known = this.#hooks.get(name);
    if (known !== undefined) return known;
    const made = new Hook();
    this.#hooks.set(name, made);
    return made;
  }

  hooks(): Readonly<Record<string, Hook>> {
    return Object.fromEntries(this.#hooks);
  }

  /** On a free port, and after `stop` on the same one again. */
  async listen(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
