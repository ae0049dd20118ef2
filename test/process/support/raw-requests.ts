import { createHmac } from 'node:crypto';
import { connect } from 'node:net';

/** One request as it goes over the wire, however wrong it is. */
export interface RawRequest {
  readonly name: string;
  readonly text: string;
  /** Ends the connection in the middle. */
  readonly isCut?: boolean;
}

export function signatureOf(value: string, body: string): string {
  return createHmac('sha256', value).update(body).digest('hex');
}

function post(name: string, headers: readonly string[], body: string, path = '/'): RawRequest {
  const head = [`POST ${path} HTTP/1.1`, 'host: x', 'connection: close', `content-length: ${String(body.length)}`];
  return { name, text: [...head, ...headers, '', body].join('\r\n') };
}

function get(name: string, query: Readonly<Record<string, string>>): RawRequest {
  const path = `/?${new URLSearchParams(query).toString()}`;
  return { name, text: `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n` };
}

/** Everything that a receiver may be sent: good, bad, malformed; `token` is for Meta's handshake. */
export function rawRequests(value: string, token: string): readonly RawRequest[] {
  const body = '{"text":"hello"}';
  const hex = signatureOf(value, body);
  const signed = [`x-hub-signature-256: sha256=${hex}`, 'content-type: application/json'];
  const long = 'x'.repeat(3_000_000);
  const subscribe = { 'hub.mode': 'subscribe', 'hub.challenge': '12345' };
  return [
    post('good', signed, body),
    post('good, and no JSON', [`x-hub-signature-256: sha256=${signatureOf(value, '{"half":')}`], '{"half":'),
    post('another body', signed, '{"text":"other"}'),
    post('the value itself as the signature', [`x-hub-signature-256: sha256=${value}`], body),
    post('the signature with something after it', [`x-hub-signature-256: sha256=${hex}00`], body),
    post('two signatures', [...signed, ...signed], body),
    post('without its prefix', [`x-hub-signature-256: ${hex}`], body),
    post('SHA-1 alone', [`x-hub-signature: sha1=${hex.slice(0, 40)}`], body),
    post('no signature', [], body),
    post('a body that is too long', [`x-hub-signature-256: sha256=${signatureOf(value, long)}`], long),
    post('the value in the query', signed, body, `/?key=${encodeURIComponent(value)}`),
    { ...post('cut in the middle', signed, body), text: post('', signed, body).text.slice(0, -5), isCut: true },
    { name: 'no HTTP at all', text: `${value}\r\n\r\n` },
    { name: 'a header that is too long', text: `POST / HTTP/1.1\r\nhost: x\r\na: ${hex.repeat(2_000)}\r\n\r\n` },
    get('the handshake', { ...subscribe, 'hub.verify_token': token }),
    get('the handshake with a wrong token', { ...subscribe, 'hub.verify_token': `${token}x` }),
    get('the handshake without a challenge', { 'hub.mode': 'subscribe', 'hub.verify_token': token }),
  ];
}

/** All that comes back until the connection ends. */
export async function answerTo(url: string, { text, isCut = false }: RawRequest): Promise<Buffer> {
  const { port } = new URL(url);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), '127.0.0.1');
    const end = (): void => resolve(Buffer.concat(chunks));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('close', end);
    // Whoever refuses early closes while we still send.
    socket.on('error', () => undefined);
    socket.write(text, () => {
      if (isCut) socket.end();
    });
    socket.setTimeout(10_000, () => socket.destroy());
  });
}
