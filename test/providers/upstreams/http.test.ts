import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createHttpUpstream } from '../../../providers/upstreams/http.ts';
import type { UpstreamFault } from '../../../src/memory/upstream.ts';
import { isKeyturnError, KeyturnError } from '../../../src/model/errors.ts';
import type { HttpStep, HttpUpstreamPolicy } from '../../../src/model/policy.ts';
import type { Upstream, UpstreamCall } from '../../../src/ports/upstream.ts';
import { describeUpstream } from '../../conformance/upstream.ts';

const token = 'token-9f8e7d6c5b4a-zyxw';
const newValue = 'new-value-ABCDEFGH-0123456789';
const oldValue = 'old-value-ABCDEFGH-9876543210';
const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
const { version } = JSON.parse(manifest) as { version: string };

interface Got {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

type Handler = (response: ServerResponse, got: Got) => void;

interface FarSide {
  readonly origin: string;
  readonly host: string;
  readonly got: readonly Got[];
  close(): Promise<void>;
}

async function startFarSide(handler: Handler): Promise<FarSide> {
  const got: Got[] = [];
  const server = createServer((request, response) => {
    void buffer(request).then((body) => {
      const { method, url, headers } = request;
      const one = { method, url, headers, body: body.toString() };
      got.push(one);
      handler(response, one);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return { origin: `http://${host}`, host, got, close };
}

function stepWith(url: string, over: Partial<HttpStep> = {}): HttpStep {
  return {
    method: 'PATCH',
    url,
    headers: { authorization: 'Bearer {{credentials.token}}' },
    json: { secret: '{{new}}' },
    form: null,
    body: null,
    expect: [200],
    retryOn: [],
    timeoutMs: 5_000,
    ...over,
  };
}

function policyWith(activate: HttpStep, over: Partial<HttpUpstreamPolicy> = {}): HttpUpstreamPolicy {
  return {
    kind: 'http',
    allowHosts: ['127.0.0.1'],
    credentials: { token: { env: 'HOOK_TOKEN' }, id: { file: '/run/secrets/hook-id' } },
    capabilities: {
      valueOrigin: 'ours',
      activation: 'on-push',
      overlap: 'none',
      dualSigned: false,
      retriesResigned: 'unknown',
      retryHorizonMs: 0,
      switchLagMs: 60_000,
      redelivers: false,
      idempotent: true,
    },
    steps: { activate },
    ...over,
  };
}

function upstreamFor(
  activate: HttpStep,
  over: Partial<HttpUpstreamPolicy> = {},
  values: Readonly<Record<string, string>> = { token, id: 'hook 7/ä' },
): Upstream {
  const credential = async (name: string): Promise<string> => values[name] ?? '';
  return createHttpUpstream({ secret: 'sandbox/my-hook', policy: policyWith(activate, over), credential });
}

function callWith(over: Partial<UpstreamCall> = {}): UpstreamCall {
  return {
    runId: 'r0123456789',
    intentId: 'i0123456789',
    newValue,
    oldValue,
    signal: new AbortController().signal,
    ...over,
  };
}

/** The error of a call, after a look that it tells no value. */
async function failureOf(promise: Promise<unknown>): Promise<KeyturnError> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!isKeyturnError(error)) throw new Error(`expected a KeyturnError, got ${inspect(error)}`);
  const shown = `${inspect(error, { depth: Infinity, showHidden: true })} ${error.hint ?? ''}`;
  for (const value of [newValue, oldValue, token]) expect(shown).not.toContain(value);
  return error;
}

/** One call against a far side that answers so. */
async function answered(handler: Handler, over: Partial<HttpStep> = {}): Promise<KeyturnError> {
  const far = await startFarSide(handler);
  onTestFinished(far.close);
  return failureOf(upstreamFor(stepWith(`${far.origin}/hook`, over)).activate(callWith()));
}

/** What a call sends, to a far side that accepts everything. */
async function sent(over: Partial<HttpStep>, call: Partial<UpstreamCall> = {}, path = '/hook'): Promise<Got> {
  const far = await startFarSide((response) => response.end());
  onTestFinished(far.close);
  await upstreamFor(stepWith(`${far.origin}${path}`, over)).activate(callWith(call));
  expect(far.got).toHaveLength(1);
  return far.got[0]!;
}

const status =
  (code: number, headers: Record<string, string> = {}, body = ''): Handler =>
  (response) => {
    response.writeHead(code, headers).end(body);
  };

describeUpstream('http', {
  credentials: [token],
  open: async () => {
    let signsWith: string | null = null;
    let fault: UpstreamFault | null = null;
    const arrived = Promise.withResolvers<undefined>();
    const far = await startFarSide((response, { body, headers }) => {
      const now = fault;
      fault = null;
      const echo = JSON.stringify({ message: `bad ${body} ${headers.authorization ?? ''}` });
      if (now === null || now === 'fail-after' || now === 'lose-answer') {
        signsWith = (JSON.parse(body) as { secret: string }).secret;
      }
      if (now === 'hang') arrived.resolve(undefined);
      else if (now === 'lose-answer') response.destroy();
      else if (now === 'refuse') response.writeHead(422).end(echo);
      else if (now === 'throttle') response.writeHead(429, { 'retry-after': '2' }).end(echo);
      else if (now === 'fail-before' || now === 'fail-after') response.writeHead(500).end(echo);
      else response.end(echo);
    });
    return {
      upstream: upstreamFor(stepWith(`${far.origin}/hook`)),
      signsWith: () => signsWith,
      fault: async (kind) => {
        fault = kind;
        if (kind === 'unreachable') await far.close();
      },
      arrived: () => arrived.promise,
      close: () => far.close(),
    };
  },
});

describe('what the http upstream sends', () => {
  it('sends json whose strings hold the values, whatever is in them', async () => {
    const nasty = '"},{"é": "\\u0000\n{{old}} $& 你好 🔑';
    const got = await sent(
      { json: { a: ['{{new}}', 7, null, true], '{{runId}}': { __proto__x: 'x{{ old }}y' } } },
      { newValue: nasty },
    );
    expect(JSON.parse(got.body)).toEqual({
      a: [nasty, 7, null, true],
      r0123456789: { __proto__x: `x${oldValue}y` },
    });
    expect(got).toMatchObject({ method: 'PATCH', url: '/hook' });
    expect(got.headers).toMatchObject({
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'user-agent': `keyturn/${version}`,
      'x-request-id': 'i0123456789',
      'x-correlation-id': 'r0123456789',
    });
  });

  it('sends a form with the values encoded', async () => {
    const nasty = 'a&b=c+d é\r\n🔑';
    const got = await sent({ json: null, form: { secret: '{{new}}', 'x y': 'v' } }, { newValue: nasty });
    expect(got.headers['content-type']).toBe('application/x-www-form-urlencoded');
    expect(Object.fromEntries(new URLSearchParams(got.body))).toEqual({ secret: nasty, 'x y': 'v' });
  });

  it('sends a text body as it is, with the content type of the policy', async () => {
    const got = await sent(
      { json: undefined, body: 'secret={{new}};\n{"a":{"b":1}}', headers: { 'Content-Type': 'text/x-hook' } },
      { newValue: 'ü€🔑' },
    );
    expect(got.body).toBe('secret=ü€🔑;\n{"a":{"b":1}}');
    expect(got.headers['content-type']).toBe('text/x-hook');
  });

  it('encodes values in path and query, so that none adds a segment or a parameter', async () => {
    const got = await sent(
      { method: 'POST', json: null },
      { newValue: 'a/b?c&d=e#f ü' },
      '/hooks/{{credentials.id}}?secret={{new}}&run={{runId}}',
    );
    expect(got.url).toBe('/hooks/hook%207%2F%C3%A4?secret=a%2Fb%3Fc%26d%3De%23f%20%C3%BC&run=r0123456789');
    expect(got.body).toBe('');
  });

  it('asks for the credentials that it uses, anew for every call', async () => {
    const far = await startFarSide((response) => response.end());
    onTestFinished(far.close);
    const asked: string[] = [];
    const upstream = createHttpUpstream({
      secret: 'my-hook',
      policy: policyWith(stepWith(`${far.origin}/hook`)),
      credential: async (name) => `t${String(asked.push(name))}`,
    });
    await upstream.activate(callWith());
    await upstream.activate(callWith());
    expect(asked).toEqual(['token', 'token']);
    expect(far.got.map(({ headers }) => headers.authorization)).toEqual(['Bearer t1', 'Bearer t2']);
  });

  it('takes any status that the policy expects as done', async () => {
    const far = await startFarSide(status(204));
    onTestFinished(far.close);
    await upstreamFor(stepWith(`${far.origin}/hook`, { expect: [200, 204] })).activate(callWith());
    expect(far.got).toHaveLength(1);
  });

  it('takes a huge answer as done without reading all of it', async () => {
    let written = 0;
    const far = await startFarSide((response) => {
      const chunk = Buffer.alloc(64 * 1024, 'x');
      const more = (): void => {
        while (!response.destroyed && response.write(chunk)) written += chunk.length;
        written += chunk.length;
      };
      response.on('drain', more);
      more();
    });
    onTestFinished(far.close);
    await upstreamFor(stepWith(`${far.origin}/hook`)).activate(callWith());
    expect(written).toBeLessThan(100 * 1024 * 1024);
  });
});

describe('the ids of a call', () => {
  it('leave a header alone that the step states itself, in whatever case', async () => {
    const got = await sent({
      headers: { 'X-Request-Id': 'of the policy', 'x-correlation-id': '{{runId}}!', 'User-Agent': 'mine' },
    });
    expect(got.headers).toMatchObject({
      'x-request-id': 'of the policy',
      'x-correlation-id': 'r0123456789!',
      'user-agent': 'mine',
    });
  });

  it.each([
    ['x-request-id', '5b1d2a1e-77f6-4e0c-9d41-0c1f2e3d4c5b'],
    ['x-github-request-id', 'ABCD:1F2E:3D4C5B:6A7988:665F0A11'],
    ['x-fb-trace-id', 'Hs3fQy9vXkL'],
    ['x-amzn-requestid', '8c2b3f3a-1d2e-4f5a-9b8c-7d6e5f4a3b2c'],
    ['Request-Id', 'req_1a2b3c'],
  ])('that the upstream names in %s are kept for its support', async (header, id) => {
    const answer = status(422, { [header]: id }, JSON.stringify({ message: 'no such hook' }));
    const error = await answered(answer);
    expect(error.message).toContain(`answered 422. It says: "no such hook". Its id of this request: ${id}.`);
    expect(error.details).toEqual({ status: 422, upstreamRequestId: id });
    const far = await startFarSide(status(200, { [header]: id }));
    onTestFinished(far.close);
    const done = await upstreamFor(stepWith(`${far.origin}/hook`)).activate(callWith());
    expect(done).toEqual({ requestId: id });
  });

  it('come out of a half answer too, where support has most to explain', async () => {
    const half = (response: ServerResponse): void => {
      response.writeHead(200, { 'content-length': '100', 'x-request-id': 'far-7' });
      response.write('part');
    };
    const cut = await answered((response) => {
      half(response);
      setImmediate(() => response.destroy());
    });
    const late = await answered(half, { timeoutMs: 1_500 });
    for (const error of [cut, late]) {
      expect(error).toMatchObject({ code: 'upstream-unknown', details: { upstreamRequestId: 'far-7' } });
      expect(error.message).toMatch(/ Its id of this request: far-7\.$/);
    }
  });

  it.each([
    ['is ours given back', 'i0123456789'],
    ['is the credential given back', `Bearer ${token}`],
    ['holds a part of the value', `id-${newValue.slice(0, 12)}`],
    ['holds the credential in base64', Buffer.from(token).toString('base64')],
    ['has a space', 'far 7'],
    ['would colour a terminal', 'far\u009b31m7'],
    ['is a page', '<b>7</b>'],
    ['is too long', 'x'.repeat(129)],
    ['is empty', ''],
  ])('are none where what the upstream names %s', async (_how, id) => {
    const error = await answered(status(500, { 'x-request-id': id }));
    expect(error.details).toEqual({ status: 500 });
    expect(error.message).toMatch(/answered 500\.$/);
  });

  it('go on to the next header where the first is of no use', async () => {
    const error = await answered(status(500, { 'x-request-id': 'i0123456789', 'cf-ray': '8a1b2c3d4e5f-FRA' }));
    expect(error.details).toMatchObject({ upstreamRequestId: '8a1b2c3d4e5f-FRA' });
  });
});

describe('what the http upstream makes of an answer', () => {
  it.each([
    [401, 'variable HOOK_TOKEN'],
    [403, 'permission'],
    [404, 'steps.activate.url'],
    [405, 'steps.activate.method'],
    [422, 'body of steps.activate'],
  ])('refuses on %i with a hint of its own', async (code, hint) => {
    const error = await answered(status(code));
    expect(error).toMatchObject({ code: 'upstream-refused', details: { status: code } });
    expect(error.message).toContain('sandbox/my-hook');
    expect(error.message).toMatch(/PATCH 127\.0\.0\.1:\d+ answered/);
    expect(error.hint).toContain(hint);
  });

  it.each([
    [429, {}, undefined],
    [429, { 'retry-after': '7' }, 7_000],
    [429, { 'retry-after': 'soon' }, undefined],
    [429, { 'retry-after': '999999999' }, 86_400_000],
    [429, { date: 'Tue, 05 May 2026 10:00:00 GMT', 'retry-after': 'Tue, 05 May 2026 10:01:30 GMT' }, 90_000],
    [429, { date: 'Tue, 05 May 2026 10:00:00 GMT', 'retry-after': 'Tue, 05 May 2026 09:00:00 GMT' }, 0],
    [503, { 'retry-after': '3' }, 3_000],
    [425, {}, undefined],
  ])('waits on %i with %o', async (code, headers, retryAfterMs) => {
    const error = await answered(status(code, headers));
    expect(error.code).toBe('upstream-throttled');
    expect(error.details['retryAfterMs']).toBe(retryAfterMs);
  });

  it.each([500, 502, 503, 504, 408, 202, 303])('leaves open whether it happened on %i', async (code) => {
    expect(await answered(status(code))).toMatchObject({ code: 'upstream-failed', details: { status: code } });
  });

  it('leaves open whether it happened on a status that the policy retries', async () => {
    expect((await answered(status(409), { retryOn: [409] })).code).toBe('upstream-failed');
  });

  it('follows no redirect, and names the host it points to without the query', async () => {
    const other = await startFarSide((response) => response.end());
    onTestFinished(other.close);
    const location = `${other.origin}/elsewhere?token=${token}`;
    const error = await answered(status(307, { location }));
    expect(error.code).toBe('upstream-refused');
    expect(error.message).toContain(`points to ${other.host}; redirects are not followed`);
    expect(error.message).not.toContain('elsewhere');
    expect(other.got).toHaveLength(0);
  });

  it('shows what the upstream says, on one line and cut short', async () => {
    const error = await answered(
      status(422, {}, JSON.stringify({ message: `Not\n\u001b[31mthis ${'x'.repeat(500)}` })),
    );
    expect(error.message).toMatch(/It says: "Not \[31mthis x+…"\.$/);
    expect(error.message.length).toBeLessThan(300);
  });

  it.each([
    ['error', { error: 'no such hook' }],
    ['error.message', { error: { message: 'no such hook' } }],
  ])('finds the text in %s', async (_where, body) => {
    expect((await answered(status(422, {}, JSON.stringify(body)))).message).toContain('It says: "no such hook".');
  });

  it.each([
    ['raw', newValue],
    ['the old value', oldValue],
    ['the credential', token],
    ['a part', newValue.slice(4, 14)],
    ['lower case', newValue.toLowerCase()],
    ['hex', Buffer.from(newValue).toString('hex').toUpperCase()],
    ['base64', Buffer.from(newValue).toString('base64')],
    ['base64 after other text', Buffer.from(`user:${newValue}!`).toString('base64')],
    ['base64url after other text', Buffer.from(`u:${newValue}`).toString('base64url')],
  ])('drops a text that holds a value: %s', async (_how, echo) => {
    const error = await answered(status(422, {}, JSON.stringify({ message: `the value ${echo} is too long` })));
    expect(error.message).not.toContain('It says');
    expect(error.message).not.toContain('too long');
  });

  it('drops a text that holds the value url-encoded', async () => {
    const far = await startFarSide((response, got) => {
      const secret = (JSON.parse(got.body) as { secret: string }).secret;
      response.writeHead(400).end(JSON.stringify({ message: `not ${encodeURIComponent(secret)}` }));
    });
    onTestFinished(far.close);
    const error = await failureOf(
      upstreamFor(stepWith(`${far.origin}/hook`)).activate(callWith({ newValue: 'ä+/=ö&ü?ß#%' })),
    );
    expect(error.message).toMatch(/answered 400\.$/);
  });

  it('shows nothing of a body that is huge, or no JSON', async () => {
    expect(
      (await answered(status(500, {}, JSON.stringify({ message: 'm', pad: 'x'.repeat(100_000) })))).message,
    ).toMatch(/answered 500\.$/);
    expect((await answered(status(500, {}, '<h1>Oops</h1>'))).message).toMatch(/answered 500\.$/);
  });

  it('keeps the status as the answer when the body of a refusal is cut short', async () => {
    const error = await answered((response) => {
      response.writeHead(401, { 'content-length': '100' }).flushHeaders();
      response.write('part');
      setImmediate(() => response.destroy());
    });
    expect(error.code).toBe('upstream-refused');
  });
});

describe('what the http upstream makes of no whole answer', () => {
  it('does not know when the connection closes before the answer', async () => {
    expect((await answered((response) => response.destroy())).code).toBe('upstream-unknown');
  });

  it('does not know when the connection closes in the middle of a yes', async () => {
    const error = await answered((response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('part');
      setImmediate(() => response.destroy());
    });
    expect(error.code).toBe('upstream-unknown');
  });

  it('does not know when no answer comes within the step’s timeout', async () => {
    const error = await answered(() => undefined, { timeoutMs: 50 });
    expect(error.code).toBe('upstream-unknown');
    expect(error.message).toContain('within 50ms');
  });

  it('does not know when a yes does not end within the step’s timeout', async () => {
    const error = await answered((response) => response.write('on and on'), { timeoutMs: 200 });
    expect(error.code).toBe('upstream-unknown');
  });

  it('is certain that nothing was sent where nobody listens', async () => {
    const far = await startFarSide(() => undefined);
    await far.close();
    const error = await failureOf(upstreamFor(stepWith(`${far.origin}/hook`)).activate(callWith()));
    expect(error).toMatchObject({ code: 'upstream-unreachable', details: { cause: 'ECONNREFUSED' } });
  });

  it('is certain of it too where localhost has several addresses', async () => {
    const far = await startFarSide(() => undefined);
    await far.close();
    const url = far.origin.replace('127.0.0.1', 'localhost');
    const upstream = upstreamFor(stepWith(url), { allowHosts: ['localhost'] });
    expect((await failureOf(upstream.activate(callWith()))).code).toBe('upstream-unreachable');
  });

  it('is certain of it for a port that no HTTP client connects to', async () => {
    const error = await failureOf(upstreamFor(stepWith('http://127.0.0.1:1/hook')).activate(callWith()));
    expect(error.code).toBe('upstream-unreachable');
  });

  it('is certain of it when the other side speaks no TLS', async () => {
    const far = await startFarSide(() => undefined);
    onTestFinished(far.close);
    const error = await failureOf(upstreamFor(stepWith(`https://${far.host}/hook`)).activate(callWith()));
    expect(error.code).toBe('upstream-unreachable');
    expect(far.got).toHaveLength(0);
  });

  it.each([
    ['ENOTFOUND', 'upstream-unreachable'],
    ['EAI_AGAIN', 'upstream-unreachable'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'upstream-unreachable'],
    ['CERT_HAS_EXPIRED', 'upstream-unreachable'],
    ['UND_ERR_CONNECT_TIMEOUT', 'upstream-unreachable'],
    ['ECONNRESET', 'upstream-unknown'],
    ['EPIPE', 'upstream-unknown'],
    ['UND_ERR_SOCKET', 'upstream-unknown'],
    ['UND_ERR_HEADERS_TIMEOUT', 'upstream-unknown'],
    ['SOMETHING_NEW', 'upstream-unknown'],
  ])('takes %s as %s, and keeps no cause that may quote the request', async (code, expected) => {
    const upstream = createHttpUpstream({
      secret: 'my-hook',
      policy: policyWith(stepWith('http://127.0.0.1:4747/hook')),
      credential: async () => token,
      fetch: async () => {
        throw new TypeError('fetch failed', { cause: Object.assign(new Error(`with ${newValue} ${token}`), { code }) });
      },
    });
    const error = await failureOf(upstream.activate(callWith()));
    expect(error).toMatchObject({ code: expected, details: { cause: code } });
    expect(error.cause).toBeUndefined();
  });
});

describe('what the http upstream does not send', () => {
  async function refusal(
    over: Partial<HttpStep>,
    call: Partial<UpstreamCall> = {},
    values?: Readonly<Record<string, string>>,
  ): Promise<KeyturnError> {
    const far = await startFarSide((response) => response.end());
    onTestFinished(far.close);
    const step = stepWith(`${far.origin}/hook`, over);
    const at = { ...step, url: step.url.replace('ORIGIN', far.origin) };
    const error = await failureOf(upstreamFor(at, {}, values).activate(callWith(call)));
    expect(far.got).toHaveLength(0);
    return error;
  }

  it.each(['a\r\nx-evil: 1', 'a\nb', 'a\0b', 'tökén'])('a header that holds %j', async (value) => {
    const error = await refusal({}, {}, { token: value });
    expect(error.code).toBe('upstream-refused');
    expect(error.message).toContain('{{credentials.token}} into the header authorization');
    expect(error.message).not.toContain('evil');
  });

  it('{{old}} in a first rotation', async () => {
    const error = await refusal({ json: { from: '{{old}}', to: '{{new}}' } }, { oldValue: null });
    expect(error.code).toBe('upstream-refused');
    expect(error.message).toContain('{{old}}, and a first rotation has none');
  });

  it('a path that a value would bend', async () => {
    const error = await refusal({ url: 'ORIGIN/hooks/{{credentials.id}}/config' }, {}, { token, id: '..' });
    expect(error).toMatchObject({ code: 'upstream-refused' });
    expect(error.message).toContain('only dots');
  });

  it.each([
    ['an empty value', { newValue: '' }, 'empty'],
    ['half a character', { newValue: 'abc\ud800' }, 'no valid Unicode'],
  ])('%s', async (_what, call, said) => {
    const error = await refusal({}, call);
    expect(error.code).toBe('upstream-refused');
    expect(error.message).toContain(said);
  });

  it('anything without its credential', async () => {
    const error = await refusal({}, {}, { token: '' });
    expect(error.code).toBe('credential-missing');
    expect(error.hint).toContain('HOOK_TOKEN');
  });

  it('anything when reading the credential fails, whose own words stay unsaid', async () => {
    const upstream = createHttpUpstream({
      secret: 'my-hook',
      policy: policyWith(stepWith('http://127.0.0.1:4747/hook')),
      credential: async () => {
        throw new Error(`half read: ${token}`);
      },
    });
    expect((await failureOf(upstream.activate(callWith()))).code).toBe('credential-missing');
  });

  it('anything when the time ran out while the credential was read', async () => {
    const deadline = new AbortController();
    const upstream = createHttpUpstream({
      secret: 'my-hook',
      policy: policyWith(stepWith('http://127.0.0.1:4747/hook')),
      credential: async () => {
        deadline.abort();
        return token;
      },
      fetch: async () => {
        throw new Error('was called');
      },
    });
    expect((await failureOf(upstream.activate(callWith({ signal: deadline.signal })))).code).toBe(
      'upstream-unreachable',
    );
  });
});

describe('a policy that no call could make right', () => {
  const local = 'http://127.0.0.1:4747/hook';

  it.each<[string, Partial<HttpStep>, string]>([
    ['a host that is not allowed', { url: 'https://evil.example/hook' }, 'evil.example is not among allowHosts'],
    ['http beyond loopback', { url: 'http://api.example.com/hook' }, 'without encryption'],
    ['a user in the url', { url: 'https://u:p@127.0.0.1/hook' }, 'user or password'],
    ['a template as the host', { url: 'https://{{credentials.id}}/hook' }, 'no usable url'],
    ['a template that continues the host', { url: 'https://127.0.0.1{{credentials.id}}/' }, 'no usable url'],
    ['a backslash in the host', { url: 'https://evil.example\\@127.0.0.1/' }, 'no usable url'],
    ['another protocol', { url: 'ftp://127.0.0.1/' }, 'no usable url'],
    ['an unknown name', { json: { a: ['{{nwe}}'] } }, 'json.a.0 uses {{nwe}}'],
    [
      'an unknown credential',
      { headers: { a: '{{credentials.toString}}' } },
      'headers.a uses {{credentials.toString}}',
    ],
    ['an open brace', { json: null, body: 'x {{new' }, 'body has a {{'],
    ['two bodies', { form: {} }, 'more than one body'],
    ['GET with a body', { method: 'GET' }, 'body for GET'],
    ['a header of the connection', { headers: { Host: 'evil.example' } }, '"Host"'],
    ['a header that is none', { headers: { 'a b': 'c' } }, '"a b"'],
  ])('has %s', (_what, over, said) => {
    const create = (): Upstream => upstreamFor(stepWith(local, over), { allowHosts: ['127.0.0.1', 'api.example.com'] });
    expect(create).toThrow(KeyturnError);
    expect(create).toThrow(expect.objectContaining({ code: 'policy-invalid', message: expect.stringContaining(said) }));
  });

  it.each([
    ['https://api.example.com/x', 'api.example.com', true],
    ['https://api.example.com/x', 'API.example.com:443', true],
    ['https://api.example.com:8443/x', 'api.example.com', true],
    ['https://api.example.com:8443/x', 'api.example.com:8443', true],
    ['https://api.example.com:8443/x', 'api.example.com:443', false],
    ['https://api.example.com/x', 'example.com', false],
    ['https://example.com.evil.example/x', 'example.com', false],
    ['https://api.example.com/x', 'https://api.example.com', false],
    ['https://api.example.com/x', '*', false],
    ['https://bücher.example/x', 'xn--bcher-kva.example', true],
    ['http://[::1]:80/x', '[::1]', true],
    ['http://[::1]:81/x', '::1', true],
    ['http://[::1]:81/x', '[::1]:81', true],
    ['http://[::1]:81/x', '[::1]:82', false],
    ['http://127.0.0.1:80/x', '127.0.0.1:80', true],
    ['http://localhost:80/x', '127.0.0.1', false],
  ])('%s with allowHosts %j: %j', (url, entry, allowed) => {
    const create = (): Upstream => upstreamFor(stepWith(url), { allowHosts: [entry] });
    if (allowed) expect(create().label).toMatch(/^http /);
    else expect(create).toThrow(expect.objectContaining({ code: 'policy-invalid' }));
  });
});
