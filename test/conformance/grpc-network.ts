import {
  connect,
  constants,
  createServer,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { retryAfterMs, type Network } from '../../src/testing/stores/place.ts';
import { Disturber, nonsense } from './disturber.ts';
import { listen } from './http-network.ts';

/** One call as it came: `/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion`. */
export interface GrpcCall {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface GrpcAnswer {
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
  readonly trailers: OutgoingHttpHeaders;
}

export interface GrpcNetwork extends Network {
  /** Where adapters find the server through this network: `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** Every call since it was opened. */
  readonly seen: readonly GrpcCall[];
  close(): Promise<void>;
}

/** The answer of a call that went well: a message with one field of these texts. */
export function textsAnswer(number: number, texts: readonly string[]): GrpcAnswer {
  const message = Buffer.concat(texts.map((text) => field(number, Buffer.from(text))));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return {
    headers: { ':status': 200, 'content-type': 'application/grpc' },
    body: Buffer.concat([head, message]),
    trailers: { 'grpc-status': '0' },
  };
}

/**
 * A proxy for gRPC on real sockets, with `answered` for calls that the server does not know: null passes one on. One connection carries all calls of a client, so what is cut is the call's own stream, and
 * the others go on.
 */
export async function openGrpcNetwork(
  target: string,
  answered: (call: GrpcCall) => GrpcAnswer | null = () => null,
): Promise<GrpcNetwork> {
  const disturber = new Disturber();
  const seen: GrpcCall[] = [];
  const upstream = connect(target);
  upstream.on('error', () => undefined);
  const server = createServer();
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => undefined);
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    void (async () => {
      const call = { path: String(headers[':path']), headers, body: await whole(stream) };
      seen.push(call);
      await disturber.serve<GrpcAnswer>({
        forward: async () => answered(call) ?? (await send(upstream, call)),
        answer: (given) => answer(stream, given),
        cut: () => cut(stream),
        cutAnswer: (given) => cutAnswer(stream, given),
        throttled,
        talkNonsense: () => talkNonsense(stream),
      });
    })().catch(() => cut(stream));
  });
  const url = await listen(server);
  return Object.assign(disturber, {
    url,
    seen,
    async close() {
      for (const session of sessions) session.destroy();
      upstream.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

function answer(stream: ServerHttp2Stream, { headers, body, trailers }: GrpcAnswer): void {
  if (stream.destroyed) return;
  if (headers['grpc-status'] !== undefined && body.length === 0) {
    // All that there is to say may stand in the headers; then they are the end too.
    stream.respond(onward(headers), { endStream: true });
    return;
  }
  stream.on('wantTrailers', () => stream.sendTrailers(onward(trailers)));
  stream.respond(onward(headers), { waitForTrailers: true });
  stream.end(body);
}

function cut(stream: ServerHttp2Stream): void {
  if (!stream.destroyed) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
}

function cutAnswer(stream: ServerHttp2Stream, { headers, body }: GrpcAnswer): void {
  if (!stream.destroyed) stream.respond(onward(headers));
  if (!stream.destroyed) stream.write(body.subarray(0, Math.floor(body.length / 2)), () => cut(stream));
}

function talkNonsense(stream: ServerHttp2Stream): void {
  if (stream.destroyed) return;
  stream.respond({ ':status': 200, 'content-type': 'text/html' });
  stream.end(nonsense);
}

/** What of headers is not the connection's own. */
function onward(headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !['date', 'connection'].includes(name)));
}

function send(session: ClientHttp2Session, { headers, body }: GrpcCall): Promise<GrpcAnswer> {
  return new Promise((resolve, reject) => {
    const asked = Object.fromEntries(Object.entries(headers).filter(([name]) => name !== ':authority'));
    const stream = session.request(asked);
    let head: OutgoingHttpHeaders = {};
    let trailers: OutgoingHttpHeaders = {};
    stream.on('response', (given: OutgoingHttpHeaders) => (head = { ...given }));
    stream.on('trailers', (given: OutgoingHttpHeaders) => (trailers = { ...given }));
    whole(stream).then((text) => resolve({ headers: head, body: text, trailers }), reject);
    stream.end(body);
  });
}

async function whole(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** A field of a message of protobuf whose content is bytes. */
function field(number: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2, content.length]), content]);
}

/** `google.rpc.Status` with a `google.rpc.RetryInfo`, as Google's services ask to wait. */
function retryStatus(): Buffer {
  const seconds = Buffer.from([1 << 3, retryAfterMs / 1_000]);
  const info = field(1, seconds);
  const any = Buffer.concat([field(1, Buffer.from('type.googleapis.com/google.rpc.RetryInfo')), field(2, info)]);
  return Buffer.concat([Buffer.from([1 << 3, 8]), field(2, Buffer.from('Quota exceeded')), field(3, any)]);
}

const throttled: GrpcAnswer = {
  headers: { ':status': 200, 'content-type': 'application/grpc' },
  body: Buffer.alloc(0),
  trailers: {
    'grpc-status': '8',
    'grpc-message': 'Quota exceeded',
    'grpc-status-details-bin': retryStatus().toString('base64'),
  },
};
