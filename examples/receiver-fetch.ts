import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { webhook } from 'keyturn/fetch';
import { openReceiver } from 'keyturn/receiver';

// The policy is ./rotation-policy.json, or the one that KEYTURN_POLICY names.
const secret = process.env['SECRET'] ?? 'practice-hook';
const keyturn = await openReceiver({ secrets: [secret] });

// This is all that Hono, Next route handlers and other fetch runtimes need.
const handle = webhook(keyturn, { secret }, (request) => {
  request.webhook.json();
  return new Response('ok');
});

// Bare Node has no fetch server, so this one turns its requests into web ones.
const server = createServer((request, response) => {
  const headers = new Headers();
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    headers.append(request.rawHeaders[i] ?? '', request.rawHeaders[i + 1] ?? '');
  }
  const hasBody = request.method !== 'GET' && request.method !== 'HEAD';
  const url = new URL(request.url ?? '/', 'http://localhost');
  const init = { method: request.method ?? 'GET', headers, duplex: 'half' as const };
  const body = hasBody ? { body: Readable.toWeb(request) as ReadableStream<Uint8Array> } : {};
  const answered = handle(new Request(url, { ...init, ...body })).then(async (answer) => {
    const bytes = Buffer.from(await answer.arrayBuffer());
    response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(bytes);
  });
  // What the handler throws goes to the platform, which has to go on.
  answered.catch((error: unknown) => {
    console.error(error);
    response.writeHead(500).end();
  });
});
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  const address = server.address();
  console.log(`listening on http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? '') : ''}`);
});

process.once('SIGTERM', () => {
  // A sender that keeps its connections open would keep a closing server up for as long as it sends.
  server.prependListener('request', (_, response) => response.setHeader('connection', 'close'));
  // First the last answers, then the sign-off: what is answered after it would not be counted.
  server.close(() => void keyturn.close());
});
