import { Agent, createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Network } from '../../src/testing/stores/place.ts';
import { Disturber, nonsense } from './disturber.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Buffer | string;
}

export interface HttpNetworkOptions {
  /** The server's address: `http://127.0.0.1:8200`. */
  readonly target: string;
  /** How that server asks to wait. */
  readonly throttled: HttpAnswer;
}

/** One call as it came. */
export interface HttpCall {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export interface HttpNetwork extends Network {
  /** Where adapters find the server through this network. */
  readonly url: string;
  /** Every call since it was opened. */
  readonly seen: readonly HttpCall[];
  close(): Promise<void>;
}

/** A proxy for HTTP/1.1 on real sockets. Calls of one connection are disturbed like any others. */
export async function openHttpNetwork(options: HttpNetworkOptions): Promise<HttpNetwork> {
  const agent = new Agent({ keepAlive: true });
  const disturber = new Disturber();
  const seen: HttpCall[] = [];
  const server = createServer((incoming, outgoing) => {
    void (async () => {
      const call = await received(incoming);
      seen.push(call);
      await disturber.serve<HttpAnswer>({
        forward: () => send(options.target, agent, call),
        answer: (given) => answer(outgoing, given),
        cut: () => void outgoing.destroy(),
        cutAnswer: (given) => cut(outgoing, given),
        throttled: options.throttled,
        talkNonsense: () => answer(outgoing, { status: 200, headers: { 'content-type': 'text/html' }, body: nonsense }),
      });
    })().catch(() => incoming.socket.destroy());
  });
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  const url = await listen(server);
  return Object.assign(disturber, {
    url,
    seen,
    async close() {
      for (const socket of sockets) socket.destroy();
      agent.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

function answer(outgoing: ServerResponse, { status, headers, body }: HttpAnswer): void {
  outgoing.writeHead(status, headersOf(headers, body));
  outgoing.end(body);
}

/** The length that was promised, and half of what was to come. */
function cut(outgoing: ServerResponse, { status, headers, body }: HttpAnswer): void {
  outgoing.writeHead(status, headersOf(headers, body));
  const half = body.slice(0, Math.floor(body.length / 2));
  if (half.length === 0) outgoing.destroy();
  else outgoing.write(half, () => outgoing.destroy());
}

function headersOf(headers: HttpAnswer['headers'], body: Buffer | string): Record<string, string | string[]> {
  const kept = Object.entries(headers).flatMap(([name, value]): [string, string | string[]][] =>
    value === undefined || ['transfer-encoding', 'content-length', 'connection', 'keep-alive'].includes(name)
      ? []
      : [[name, typeof value === 'string' ? value : [...value]]],
  );
  return { ...Object.fromEntries(kept), 'content-length': String(Buffer.byteLength(body)) };
}

async function received(incoming: IncomingMessage): Promise<HttpCall> {
  const { method = 'GET', url = '/', headers } = incoming;
  return { method, path: url, headers, body: await whole(incoming) };
}

async function whole(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function send(target: string, agent: Agent, { method, path, headers, body }: HttpCall): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(new URL(path, target), { method, headers, agent }, (incoming) => {
      whole(incoming).then(
        (text) => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: text }),
        reject,
      );
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** A server of whatever protocol. */
interface Listening {
  listen(port: number, host: string, listening: () => void): unknown;
  address(): unknown;
}

export async function listen(server: Listening): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}
