import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createHttpCanary } from '../../../providers/canaries/http.ts';
import { createFakeClock } from '../../../src/memory/clock.ts';
import type { CanaryCall } from '../../../src/ports/canary.ts';
import { signedCanary } from '../../../src/webhook/canary.ts';
import { describeCanary, type OpenedCanary } from '../../conformance/canary.ts';

const call: CanaryCall = {
  runId: 'r0123456789',
  id: 'm0123456789',
  ...signedCanary('github', 'a-value', 'm0123456789'),
  signal: new AbortController().signal,
};

type Got = Pick<IncomingMessage, 'method' | 'url' | 'headers'> & { readonly body: string };
type Handler = (response: ServerResponse) => void;

interface FarSide {
  readonly url: string;
  readonly got: Got[];
  handler: Handler;
  close(): Promise<void>;
}

async function startFarSide(handler: Handler = (response) => void response.end('ok')): Promise<FarSide> {
  const server = createServer((request, response) => {
    const { method, url, headers } = request;
    void text(request).then((body) => {
      far.got.push({ method, url, headers, body });
      far.handler(response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far: FarSide = {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/hooks?of=me`,
    got: [],
    handler,
    close: async () => {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return far;
}

async function open(): Promise<OpenedCanary> {
  const far = await startFarSide();
  const canary = createHttpCanary({ secret: 'hook', policy: { url: far.url, count: 3 } });
  let arrive = (): void => undefined;
  const arrival = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  return {
    canary,
    answer: ({ status, reason }) => {
      far.handler = (response) => {
        const location = status === 302 ? { location: far.url } : {};
        response.writeHead(status, location).end(reason === null ? '' : JSON.stringify({ error: reason }));
      };
    },
    fault: async (kind) => {
      if (kind === 'unreachable') await far.close();
      else far.handler = arrive;
    },
    got: () => far.got,
    arrived: () => arrival,
    close: async () => {
      await canary.close();
      await far.close();
    },
  };
}

describeCanary('http', { open });

/** One message, to a far side that answers so. */
async function answered(handler: Handler, send = call) {
  const far = await startFarSide(handler);
  onTestFinished(far.close);
  const canary = createHttpCanary({ secret: 'hook', policy: { url: far.url, count: 3 } });
  return { far, answer: await canary.send(send) };
}

describe('a canary over HTTP', () => {
  it('is posted to the url, query included, with ids for the logs of both sides', async () => {
    const { far } = await answered((response) => void response.end());
    expect(far.got[0]).toMatchObject({
      method: 'POST',
      url: '/hooks?of=me',
      headers: {
        'content-type': 'application/json',
        'x-keyturn-canary': 'm0123456789',
        'x-request-id': 'm0123456789',
        'x-correlation-id': 'r0123456789',
      },
    });
    expect(far.got[0]?.headers['user-agent']).toMatch(/^keyturn\//);
  });

  it.each([
    ['no JSON', '<html>signature-mismatch</html>'],
    ['no object', '["signature-mismatch"]'],
    ['another shape', '{"error":{"message":"signature-mismatch"}}'],
    ['no plain word', '{"error":"Signature of x9Z does not fit"}'],
    ['a value', '{"error":"9f8e7d6c5b4a"}'],
    ['a flood', `{"error":"signature-mismatch","rest":"${'x'.repeat(100_000)}"}`],
  ])('shows nothing of an answer that is %s', async (_what, body) => {
    const { answer } = await answered((response) => void response.writeHead(401).end(body));
    expect(answer).toEqual({ status: 401, reason: null });
  });

  it('goes by the status where the body is cut short', async () => {
    const { answer } = await answered((response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('part', () => response.destroy());
    });
    expect(answer).toEqual({ status: 200, reason: null });
  });

  it('waits for an answer as long as one may take, and not longer', async () => {
    const far = await startFarSide(() => undefined);
    onTestFinished(far.close);
    const clock = createFakeClock();
    const canary = createHttpCanary({ secret: 'hook', policy: { url: far.url, count: 3 }, clock });
    const sending = expect(canary.send(call)).rejects.toMatchObject({
      code: 'canary-unreachable',
      details: { why: 'within 5s' },
    });
    await clock.advance(5_000);
    await sending;
  });

  it.each(['http://hooks.example.com/', 'ftp://127.0.0.1/', 'https://a:b@hooks.example.com/', 'hooks.example.com'])(
    'is refused at once where it may not go: %s',
    (url) => {
      expect(() => createHttpCanary({ secret: 'hook', policy: { url, count: 3 } })).toThrow(
        'The canary of hook has no usable url.',
      );
    },
  );
});
