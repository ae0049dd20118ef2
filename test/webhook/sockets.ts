import { once } from 'node:events';
import { createServer, request, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import express from 'express';
import { webhook as expressWebhook } from '../../src/webhook/express.ts';
import { webhook as fetchWebhook } from '../../src/webhook/fetch.ts';
import { webhook as nodeWebhook } from '../../src/webhook/node.ts';
import type { Receiver, Refusal, Webhook } from '../../src/webhook/receiver.ts';

export interface Served {
  readonly port: number;
  close(): Promise<void>;
}

export async function listen(listener: RequestListener): Promise<Served> {
  const server: Server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return { port, close };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface Sending {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** Several chunks are sent in chunked encoding. */
  readonly body?: Uint8Array | readonly Uint8Array[];
}

export function send(
  port: number,
  { method = 'POST', path = '/hook', headers = {}, body = [] }: Sending,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = { ...headers } as Record<string, string | string[]>;
    const outgoing = request({ port, host: '127.0.0.1', method, path, headers: sent, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
      answer.on('end', () => {
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          text: Buffer.concat(chunks).toString('utf8'),
        });
      });
    });
    outgoing.on('error', reject);
    if (body instanceof Uint8Array) {
      outgoing.end(body);
      return;
    }
    for (const chunk of body) outgoing.write(chunk);
    outgoing.end();
  });
}

/** Sends the head of a request and part of its body, and hangs up when told. */
export async function sendPart(port: number, head: readonly string[], part: Uint8Array): Promise<{ hangUp(): void }> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  await new Promise<void>((resolve) => void socket.write(part, () => resolve()));
  return { hangUp: () => socket.destroy() };
}

/** What the tests ask of every framework alike. `handle` throws to fail. */
export interface App {
  readonly secret: string | (() => string | undefined);
  readonly handshake?: string;
  readonly limit?: number;
  onRefused?(refusal: Refusal): void;
  handle(webhook: Webhook): { readonly status: number; readonly text: string };
}

export type Framework = 'express' | 'node' | 'fetch';

export function serve(framework: Framework, receiver: Receiver, app: App): Promise<Served> {
  const { secret, handshake, limit } = app;
  const options = { secret, handshake, limit, onRefused: (refusal: Refusal) => app.onRefused?.(refusal) };
  switch (framework) {
    case 'express': {
      const server = express();
      // Express prints what handlers throw, unless it believes that nobody wants to see it.
      server.set('env', 'test');
      server.all('/hook', expressWebhook(receiver, options), (incoming, outgoing) => {
        const { status, text } = app.handle(incoming.webhook);
        outgoing.status(status).send(text);
      });
      return listen(server as RequestListener);
    }
    case 'node':
      return listen(
        nodeWebhook(receiver, options, (incoming, outgoing) => {
          const { status, text } = app.handle(incoming.webhook);
          outgoing.writeHead(status).end(text);
        }),
      );
    case 'fetch':
      return listen(
        bridge(
          fetchWebhook(receiver, options, (incoming) => {
            const { status, text } = app.handle(incoming.webhook);
            return new Response(text === '' ? null : text, { status });
          }),
        ),
      );
  }
}

/** What a platform of fetch handlers does: hands over a Request, writes the Response, turns a rejection into 500. */
function bridge(handler: (request: Request) => Promise<Response>): RequestListener {
  const answer = async (...[incoming, outgoing]: Parameters<RequestListener>): Promise<void> => {
    const { method = 'GET', url = '/', rawHeaders } = incoming;
    const headers = new Headers();
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) headers.append(rawHeaders[at]!, rawHeaders[at + 1]!);
    const hasBody = method !== 'GET' && method !== 'HEAD';
    const body = hasBody ? streamOf(incoming) : null;
    const init: RequestInit = { method, headers, body, ...(hasBody ? { duplex: 'half' } : {}) };
    const response = await handler(new Request(new URL(url, 'http://127.0.0.1'), init));
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(Buffer.from(await response.arrayBuffer()));
  };
  return (incoming, outgoing) => {
    answer(incoming, outgoing).catch(() => outgoing.writeHead(500).end());
  };
}

function streamOf(incoming: Parameters<RequestListener>[0]): ReadableStream {
  let open = true;
  const finish = (close: () => void): void => {
    if (open) close();
    open = false;
  };
  return new ReadableStream({
    start: (controller) => {
      incoming.on('data', (chunk: Buffer) => {
        if (open) controller.enqueue(new Uint8Array(chunk));
      });
      incoming.on('end', () => finish(() => controller.close()));
      incoming.on('error', (error) => finish(() => controller.error(error)));
    },
    cancel: () => {
      open = false;
    },
  });
}
