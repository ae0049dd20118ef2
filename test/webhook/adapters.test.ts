import { gzipSync } from 'node:zlib';
import express from 'express';
import { afterEach, describe, expect, test } from 'vitest';
import { webhook as expressWebhook } from '../../src/webhook/express.ts';
import { webhook as fetchWebhook } from '../../src/webhook/fetch.ts';
import { webhook as nodeWebhook } from '../../src/webhook/node.ts';
import { signedCanary } from '../../src/webhook/canary.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import type { Refusal, Webhook } from '../../src/webhook/receiver.ts';
import { add, committed, valueOf } from '../cache/support.ts';
import { listen, send, sendPart, serve, type App, type Framework, type Served, type Sending } from './sockets.ts';
import { openTestReceiver, signatureOf, signed, type TestReceiver } from './support.ts';

const body = Buffer.from('{"message":"grüße"}');
const notUtf8 = Buffer.from([0x7b, 0xff, 0xfe, 0x00, 0xc3, 0x28, 0x7d]);

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

function closedAfter(served: Served, receiver: TestReceiver): void {
  closing.push(served.close, () => receiver.close());
}

async function open(framework: Framework, change: Partial<App> = {}) {
  const receiver = await openTestReceiver();
  const passed: Webhook[] = [];
  const refusals: Refusal[] = [];
  const served = await serve(framework, receiver, {
    secret: 'hook',
    onRefused: (refusal) => void refusals.push(refusal),
    ...change,
    handle: (webhook) => {
      passed.push(webhook);
      return change.handle?.(webhook) ?? { status: 200, text: 'taken' };
    },
  });
  closedAfter(served, receiver);
  return { receiver, passed, refusals, port: served.port, send: (sending: Sending) => send(served.port, sending) };
}

/** Reads what the last matched delivery was counted as answered with; the server may finish just after the client. */
async function answeredOk(receiver: TestReceiver): Promise<boolean> {
  for (;;) {
    const call = receiver.usage.calls.find((each) => each.startsWith('answered'));
    if (call !== undefined) return call.endsWith('true');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe.each<Framework>(['express', 'node', 'fetch'])('a webhook in %s', (framework) => {
  test('gets a verified message with its exact bytes', async () => {
    const { receiver, send, passed } = await open(framework);
    for (const [version, bytes] of [
      ['v2', body],
      ['v1', notUtf8],
      ['v2', Buffer.alloc(0)],
      ['v2', Buffer.alloc(300_000, 7)],
    ] as const) {
      const headers = { ...signed(version, bytes), 'content-type': 'application/json' };
      expect(await send({ headers, body: bytes })).toMatchObject({ status: 200, text: 'taken' });
      expect(passed.at(-1)).toMatchObject({ secret: 'hook', versionId: version });
      expect(passed.at(-1)!.body.equals(bytes)).toBe(true);
    }
    expect(passed[0]!.json<{ message: string }>().message).toBe('grüße');
    expect(passed[1]!.stage).toBe('deprecated');
    expect(() => passed[1]!.json()).toThrow(new SyntaxError('The body of this message is no JSON.'));
    expect(await answeredOk(receiver)).toBe(true);
  });

  test('answers a canary itself: no handler sees it, and it counts as no delivery', async () => {
    const { receiver, send, passed, refusals } = await open(framework);
    for (const version of ['v2', 'v1']) {
      const { headers, body: text } = signedCanary('github', valueOf(version), 'm0123456789');
      const answer = await send({ headers: { ...headers, 'x-request-id': 'm0123456789' }, body: Buffer.from(text) });
      expect(answer).toMatchObject({ status: 200, headers: { 'x-request-id': 'm0123456789' } });
      expect(JSON.parse(answer.text)).toEqual({ canary: true, versionId: version, requestId: 'm0123456789' });
    }
    const stray = signedCanary('github', 'a random key', 'm0123456789');
    const refused = await send({ headers: stray.headers, body: Buffer.from(stray.body) });
    expect(refused).toMatchObject({ status: 401 });
    expect(JSON.parse(refused.text)).toMatchObject({ error: 'signature-mismatch' });
    expect(refusals).toHaveLength(1);
    expect([passed, receiver.usage.calls]).toEqual([[], []]);
    const delivery = { headers: { ...signed('v2', body), 'x-keyturn-canary': 'm0123456789' }, body };
    expect(await send(delivery)).toMatchObject({ status: 200, text: 'taken' });
    expect(passed).toHaveLength(1);
  });

  test('takes a chunked body, and a compressed one as the bytes that were sent', async () => {
    const { send, passed } = await open(framework);
    const chunks = [body.subarray(0, 3), body.subarray(3, 4), body.subarray(4)];
    expect(await send({ headers: signed('v2', body), body: chunks })).toMatchObject({ status: 200 });
    const zipped = gzipSync(body);
    const headers = { ...signed('v2', zipped), 'content-encoding': 'gzip', 'content-type': 'application/json' };
    expect(await send({ headers, body: zipped })).toMatchObject({ status: 200 });
    expect(passed[1]!.body.equals(zipped)).toBe(true);
  });

  test('refuses with a reason, a request id, and nothing of the message (R-63)', async () => {
    const { receiver, send, passed, refusals } = await open(framework);
    const good = signed('v2', body)['x-hub-signature-256']!;
    const cases: readonly (readonly [Sending['headers'], number, string])[] = [
      [{}, 401, 'header-missing'],
      [{ 'x-hub-signature-256': [good, good] }, 401, 'header-malformed'],
      [{ 'x-hub-signature-256': good.slice(7) }, 401, 'prefix-wrong'],
      [{ 'x-hub-signature-256': `${good.slice(0, -1)}x` }, 401, 'header-malformed'],
      [{ 'x-hub-signature': `sha1=${'0'.repeat(40)}` }, 401, 'algorithm-refused'],
      [signed('v9', body), 401, 'signature-mismatch'],
    ];
    for (const [headers, status, reason] of cases) {
      const answer = await send({ headers: headers ?? {}, body });
      const requestId = answer.headers['x-request-id'];
      expect(answer).toMatchObject({ status, headers: { 'content-type': 'application/json; charset=utf-8' } });
      expect(requestId).toMatch(/^q[0-9a-z]{10}$/);
      expect(JSON.parse(answer.text)).toEqual({ error: reason, requestId });
      expect(refusals.at(-1)).toEqual({ reason, status, secret: 'hook', requestId });
      expect(receiver.log.lines.at(-1)).toMatchObject({
        level: 'warn',
        fields: { reason, status, secret: 'hook', requestId },
      });
    }
    expect(passed).toEqual([]);
    const logged = JSON.stringify(receiver.log.lines);
    for (const secret of [good.slice(7), valueOf('v2'), 'grüße']) expect(logged).not.toContain(secret);
  });

  test('answers "try again" with Retry-After while a version may be unknown here', async () => {
    const { receiver, send, refusals } = await open(framework);
    await receiver.world.clock.advance(5_000);
    receiver.world.store.control.unreachable = true;
    const answer = await send({ headers: signed('v9', body), body });
    expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
    expect(refusals).toMatchObject([{ reason: 'store-unreachable', retryAfterSeconds: 5 }]);
    receiver.world.store.control.unreachable = false;
    await receiver.world.clock.advance(60_000);
    await receiver.world.put(committed(receiver.hook, add('v3')));
    await receiver.cache.refresh();
    expect(await send({ headers: signed('v3', body), body })).toMatchObject({ status: 200 });
  });

  test('passes a request id on when it is a plain one, and makes another of any other', async () => {
    const { send, passed } = await open(framework);
    const headers = signed('v2', body);
    for (const plain of ['trace.7-a_B', '7', 'x'.repeat(64), '5b1d2a1e-77f6-4e0c-9d41-0c1f2e3d4c5b']) {
      const answer = await send({ headers: { ...headers, 'x-request-id': plain }, body });
      expect(answer).toMatchObject({ status: 200, headers: { 'x-request-id': plain } });
      expect(passed.at(-1)!.requestId).toBe(plain);
    }
    for (const strange of [
      '',
      'a b',
      'x'.repeat(65),
      '<script>',
      'ü'.normalize('NFD').slice(0, 1) + ';',
      'a\u009b31m',
    ]) {
      const answer = await send({ headers: { ...headers, 'x-request-id': strange }, body });
      expect(answer.headers['x-request-id']).toMatch(/^q[0-9a-z]{10}$/);
      expect(passed.at(-1)!.requestId).toBe(answer.headers['x-request-id']);
    }
    const twice = await send({ headers: { ...headers, 'x-request-id': ['one', 'two'] }, body });
    expect(twice.headers['x-request-id']).toMatch(/^q[0-9a-z]{10}$/);
  });

  test('takes the id of the trace that a request is part of, where it names itself in no other way', async () => {
    const { send, passed } = await open(framework);
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
    const traceparent = `00-${trace}-00f067aa0ba902b7-01`;
    const headers = { ...signed('v2', body), traceparent };
    expect((await send({ headers, body })).headers['x-request-id']).toBe(trace);
    expect(passed.at(-1)!.requestId).toBe(trace);
    const own = await send({ headers: { ...headers, 'x-request-id': 'own' }, body });
    expect(own.headers['x-request-id']).toBe('own');
    const strange = await send({ headers: { ...headers, 'x-request-id': 'a b' }, body });
    expect(strange.headers['x-request-id']).toBe(trace);
    for (const broken of [
      traceparent.toUpperCase(),
      traceparent.replace('00-', 'ff-'),
      traceparent.replace(trace, '0'.repeat(32)),
      traceparent.replace('00f067aa0ba902b7', '0'.repeat(16)),
      `${traceparent}-more`,
      traceparent.slice(1),
      `${traceparent}, ${traceparent}`,
    ]) {
      const answer = await send({ headers: { ...headers, traceparent: broken }, body });
      expect(answer.headers['x-request-id']).toMatch(/^q[0-9a-z]{10}$/);
    }
  });

  test('gives the request id back in every answer, and names it in every line of the log (R-64)', async () => {
    let failing = false;
    const { receiver, send } = await open(framework, {
      limit: 1_000,
      handshake: 'verify-token',
      handle: () => ({ status: failing ? 500 : 200, text: 'x' }),
      onRefused: () => {
        throw new Error('no');
      },
    });
    const good = signed('v2', body);
    const tooMuch = Buffer.alloc(1_001, 1);
    const token = encodeURIComponent(valueOf('t1'));
    const sendings: readonly (readonly [number, Sending])[] = [
      [200, { headers: good, body }],
      [401, { body }],
      [401, { headers: signed('v9', body), body }],
      [413, { headers: signed('v2', tooMuch), body: tooMuch }],
      [405, { method: 'DELETE' }],
      [403, { method: 'GET' }],
      [400, { method: 'GET', path: `/hook?hub.mode=subscribe&hub.verify_token=${token}` }],
      [200, { method: 'GET', path: `/hook?hub.mode=subscribe&hub.verify_token=${token}&hub.challenge=1` }],
    ];
    for (const [index, [status, sending]] of sendings.entries()) {
      const requestId = `request-${String(index)}`;
      const before = receiver.log.lines.length;
      const answer = await send({ ...sending, headers: { ...sending.headers, 'x-request-id': requestId } });
      expect(answer).toMatchObject({ status, headers: { 'x-request-id': requestId } });
      const lines = receiver.log.lines.slice(before);
      // What is refused is two lines here: the refusal, and that onRefused failed.
      expect(lines).toHaveLength(status === 200 ? 0 : 2);
      for (const line of lines) expect(line.fields).toMatchObject({ requestId });
    }
    failing = true;
    const failed = await send({ headers: { ...good, 'x-request-id': 'failed' }, body });
    expect(failed).toMatchObject({ status: 500, headers: { 'x-request-id': 'failed' } });
  });

  test("names the request where the failure is on keyturn's own side", async () => {
    const { receiver, send } = await open(framework);
    receiver.usage.matched = () => {
      throw new KeyturnError('usage-corrupt', 'broken', { cause: new Error(valueOf('v2')) });
    };
    const answer = await send({ headers: { ...signed('v2', body), 'x-request-id': 'mine' }, body });
    expect(answer).toMatchObject({ status: 503, headers: { 'x-request-id': 'mine' } });
    expect(receiver.log.lines.map(({ fields }) => fields)).toEqual([
      { secret: 'hook', requestId: 'mine', error: 'broken', code: 'usage-corrupt', causes: 'Error' },
      { secret: 'hook', requestId: 'mine', reason: 'store-unreachable', status: 503 },
    ]);
  });

  test('answers 413 above the limit, announced or not, and takes exactly the limit', async () => {
    const { send, passed } = await open(framework, { limit: 1_000 });
    const most = Buffer.alloc(1_000, 1);
    const tooMuch = Buffer.alloc(1_001, 1);
    expect(await send({ headers: signed('v2', most), body: most })).toMatchObject({ status: 200 });
    for (const each of [tooMuch, [tooMuch.subarray(0, 600), tooMuch.subarray(600)]]) {
      const answer = await send({ headers: signed('v2', tooMuch), body: each });
      expect(answer).toMatchObject({ status: 413 });
      expect(JSON.parse(answer.text)).toMatchObject({ error: 'body-too-large' });
    }
    expect(passed).toHaveLength(1);
  });

  test('judges the signature header before it reads the body', async () => {
    const { receiver, port } = await open(framework);
    const head = ['POST /hook HTTP/1.1', 'host: a', 'content-length: 100'];
    const sender = await sendPart(port, head, Buffer.alloc(10));
    expect((await receiver.log.withReason('header-missing')).fields['status']).toBe(401);
    sender.hangUp();
  });

  test('does not call the handler for a body that breaks off', async () => {
    const { receiver, port, passed } = await open(framework);
    const head = [
      'POST /hook HTTP/1.1',
      'host: a',
      'content-length: 100',
      `x-hub-signature-256: ${signatureOf('a', '')}`,
    ];
    const sender = await sendPart(port, head, Buffer.alloc(10));
    sender.hangUp();
    expect((await receiver.log.withReason('body-aborted')).fields['secret']).toBe('hook');
    expect(passed).toEqual([]);
  });

  test("counts the handler's answer: a business error as ok, trouble as not", async () => {
    for (const [status, ok] of [
      [200, true],
      [204, true],
      [302, false],
      [500, false],
    ] as const) {
      const { receiver, send } = await open(framework, { handle: () => ({ status, text: '' }) });
      expect(await send({ headers: signed('v2', body), body })).toMatchObject({ status });
      expect(await answeredOk(receiver)).toBe(ok);
    }
  });

  test('answers 500 when the handler throws, lives on, and counts it as not answered', async () => {
    let failing = true;
    const { receiver, send } = await open(framework, {
      handle: () => {
        if (failing) throw new Error('the queue is full');
        return { status: 200, text: '' };
      },
    });
    const failed = await send({ headers: { ...signed('v2', body), 'x-request-id': 'mine' }, body });
    // In fetch the platform answers.
    expect(failed).toMatchObject({ status: 500, headers: framework === 'fetch' ? {} : { 'x-request-id': 'mine' } });
    expect(await answeredOk(receiver)).toBe(false);
    failing = false;
    expect(await send({ headers: signed('v2', body), body })).toMatchObject({ status: 200 });
  });

  test('finds the secret by the request: unknown tenants get 401, a failure 500', async () => {
    const answers: (() => string | undefined)[] = [
      () => 'hook',
      () => undefined,
      () => 'not-held',
      () => {
        throw new Error('the tenants cannot be read');
      },
    ];
    const { send, refusals } = await open(framework, { secret: () => answers.shift()?.() });
    const statuses: number[] = [];
    for (let turn = 0; turn < 4; turn += 1) statuses.push((await send({ headers: signed('v2', body), body })).status);
    expect(statuses).toEqual([200, 401, 401, 500]);
    expect(refusals.map(({ reason }) => reason)).toEqual(['unknown-tenant', 'unknown-tenant', 'receiver-failed']);
  });

  test("answers Meta's handshake as plain text, and refuses any other", async () => {
    const { receiver, send } = await open(framework, { handshake: 'verify-token' });
    const path = (token: string): string =>
      `/hook?hub.mode=subscribe&hub.verify_token=${encodeURIComponent(token)}&hub.challenge=%3Cb%3E1158201444`;
    const answer = await send({ method: 'GET', path: path(valueOf('t1')) });
    expect(answer).toMatchObject({ status: 200, text: '<b>1158201444' });
    expect(answer.headers).toMatchObject({
      'content-type': 'text/plain; charset=utf-8',
      'x-content-type-options': 'nosniff',
    });
    expect(receiver.usage.calls).toContain('answered verify-token t1 true');
    const wrong = await send({ method: 'GET', path: path('wrong') });
    expect(wrong).toMatchObject({ status: 403 });
    expect(wrong.text).not.toContain('1158201444');
    expect(JSON.stringify(receiver.log.lines)).not.toContain('wrong');
    expect(await send({ method: 'GET' })).toMatchObject({ status: 403 });
    expect(await send({ headers: signed('v2', body), body })).toMatchObject({ status: 200 });
  });

  test('answers 405 to what carries no message', async () => {
    const { send, passed } = await open(framework);
    for (const method of ['GET', 'HEAD', 'DELETE', 'OPTIONS']) {
      expect(await send({ method })).toMatchObject({ status: 405, headers: { allow: 'POST, PUT, PATCH' } });
    }
    expect(passed).toEqual([]);
  });

  test('stays up when onRefused throws', async () => {
    const { send, receiver } = await open(framework, {
      onRefused: () => {
        throw new Error('no');
      },
    });
    expect(await send({ body })).toMatchObject({ status: 401 });
    expect(receiver.log.lines.at(-1)).toMatchObject({ level: 'error', message: 'onRefused failed.' });
  });
});

describe('keyturn/express', () => {
  async function openWith(...before: readonly express.RequestHandler[]) {
    const receiver = await openTestReceiver();
    const app = express();
    for (const each of before) app.use(each);
    app.all(
      '/hook/:tenant',
      expressWebhook(receiver, { secret: ({ params }) => String(params['tenant']) }),
      (req, res) => {
        res.json({ bytes: req.webhook.body.toString('hex'), query: req.query });
      },
    );
    const served = await listen(app as Parameters<typeof listen>[0]);
    closedAfter(served, receiver);
    const headers = { ...signed('v2', notUtf8), 'content-type': 'application/json' };
    return { receiver, send: (sending: Sending) => send(served.port, { path: '/hook/hook?a=1', headers, ...sending }) };
  }

  test('takes the bytes that express.raw() kept, whatever it calls them', async () => {
    const { send } = await openWith(express.raw({ type: () => true }));
    expect(JSON.parse((await send({ body: notUtf8 })).text)).toEqual({
      bytes: notUtf8.toString('hex'),
      query: { a: '1' },
    });
  });

  test('takes the bytes that the verify option of express.json() kept', async () => {
    const keep = express.json({ verify: (req, _res, bytes) => void Object.assign(req, { rawBody: bytes }) });
    const { send } = await openWith(keep);
    const headers = { ...signed('v2', body), 'content-type': 'application/json' };
    expect(await send({ headers, body })).toMatchObject({ status: 200 });
  });

  test('says so when a parser took the bytes before', async () => {
    const { send, receiver } = await openWith(express.json());
    const headers = { ...signed('v2', body), 'content-type': 'application/json' };
    const answer = await send({ headers, body });
    expect(answer).toMatchObject({ status: 500 });
    expect(JSON.parse(answer.text)).toMatchObject({ error: 'body-already-parsed' });
    const advice = receiver.log.lines.find(({ level }) => level === 'error');
    expect(advice).toMatchObject({ message: expect.stringMatching(/before express\.json\(\).*rawBody/) });
    expect(await send({ headers: { 'content-type': 'application/json' }, body })).toMatchObject({ status: 401 });
  });

  test('reads a body that a parser left alone, as Express 4 shows it', async () => {
    const { send } = await openWith(express.json(), (req, _res, next) => {
      req.body = {};
      next();
    });
    const headers = { ...signed('v2', notUtf8), 'content-type': 'application/octet-stream' };
    expect(await send({ headers, body: notUtf8 })).toMatchObject({ status: 200 });
  });

  test('finds the tenant in the path', async () => {
    const { send } = await openWith();
    expect(await send({ body: notUtf8 })).toMatchObject({ status: 200 });
    expect(await send({ path: '/hook/nobody', body: notUtf8 })).toMatchObject({ status: 401 });
  });
});

describe('keyturn/node', () => {
  test('cuts an answer off that had begun when the handler failed', async () => {
    const receiver = await openTestReceiver();
    const listener = nodeWebhook(receiver, { secret: 'hook' }, async (_request, response) => {
      response.writeHead(200);
      await new Promise<void>((resolve) => void response.write('half', () => resolve()));
      throw new Error('too late');
    });
    const served = await listen(listener);
    closedAfter(served, receiver);
    await expect(send(served.port, { headers: signed('v2', body), body })).rejects.toThrow();
    expect(await answeredOk(receiver)).toBe(false);
    expect(receiver.log.lines).toMatchObject([
      { level: 'error', fields: { error: 'too late', requestId: expect.stringMatching(/^q/), secret: 'hook' } },
    ]);
  });

  test('counts an answer that never went out as not ok', async () => {
    const receiver = await openTestReceiver();
    const listener = nodeWebhook(receiver, { secret: 'hook' }, (request) => void request.socket.destroy());
    const served = await listen(listener);
    closedAfter(served, receiver);
    await expect(send(served.port, { headers: signed('v2', body), body })).rejects.toThrow();
    expect(await answeredOk(receiver)).toBe(false);
  });
});

describe('keyturn/fetch', () => {
  test('says so when the body was read before, and hands on what the platform gives', async () => {
    const receiver = await openTestReceiver();
    closing.push(() => receiver.close());
    const handler = fetchWebhook(receiver, { secret: 'hook' }, (request, environment: { readonly region: string }) =>
      Response.json({ region: environment.region, message: request.webhook.json() }),
    );
    const make = () => new Request('https://a.example/hook', { method: 'POST', headers: signed('v2', body), body });
    const answer = await handler(make(), { region: 'fra' });
    expect(await answer.json()).toEqual({ region: 'fra', message: { message: 'grüße' } });
    const read = make();
    await read.json();
    expect((await handler(read, { region: 'fra' })).status).toBe(500);
  });

  test('adds the request id to answers whose headers cannot be changed', async () => {
    const receiver = await openTestReceiver();
    closing.push(() => receiver.close());
    const handler = fetchWebhook(receiver, { secret: 'hook' }, () => Response.redirect('https://a.example/', 303));
    const request = new Request('https://a.example/', { method: 'POST', headers: signed('v2', body), body });
    const answer = await handler(request);
    expect(answer.status).toBe(303);
    expect(answer.headers.get('x-request-id')).toMatch(/^q/);
    expect(answer.headers.get('location')).toBe('https://a.example/');
  });

  test('throws on what the handler throws', async () => {
    const receiver = await openTestReceiver();
    closing.push(() => receiver.close());
    const handler = fetchWebhook(receiver, { secret: 'hook' }, () => Promise.reject(new Error('the queue is full')));
    const request = new Request('https://a.example/', { method: 'POST', headers: signed('v2', body), body });
    await expect(handler(request)).rejects.toThrow('the queue is full');
    expect(await answeredOk(receiver)).toBe(false);
  });
});

describe('options that make no sense', () => {
  test.each([
    [{ secret: 'not-held' }, 'secret-unknown'],
    [{ secret: 'hook', handshake: 'not-held' }, 'secret-unknown'],
    [{ secret: 'hook', limit: 0 }, 'usage'],
    [{ secret: 'hook', limit: Number.NaN }, 'usage'],
  ])('fail at start: %j', async (options, code) => {
    const receiver = await openTestReceiver();
    closing.push(() => receiver.close());
    const refused = expect.objectContaining({ code });
    expect(() => expressWebhook(receiver, options)).toThrow(refused);
    expect(() => nodeWebhook(receiver, options, () => {})).toThrow(refused);
    expect(() => fetchWebhook(receiver, options, () => new Response())).toThrow(refused);
  });
});
