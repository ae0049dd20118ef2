import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createHttpUpstream } from '../../providers/upstreams/http.ts';
import { policyOf } from '../conformance/run-samples.ts';
import { startProgram } from '../../src/cli/practice/children.ts';
import { naiveReceiverProgram, startNaiveReceiver } from '../../src/cli/practice/naive-receiver.ts';
import { Traffic, type TrafficOptions, type TrafficStats } from '../../src/cli/practice/traffic.ts';
import {
  type PracticeUpstream,
  type PracticeUpstreamOptions,
  practiceUpstreamProgram,
  startPracticeUpstream,
} from '../../src/cli/practice/upstream.ts';
import { createFakeClock, createSeededRandom, type FakeClock } from '../../src/memory/clock.ts';
import type { HttpUpstreamPolicy } from '../../src/model/policy.ts';
import type { Clock } from '../../src/ports/system.ts';

const token = 'practice-token-5f4e3d2c1b';
const secret = 'first-sëcret-0123456789';

interface Delivered {
  readonly body: string;
  readonly headers: IncomingMessage['headers'];
}

async function startTarget(respond: (response: ServerResponse) => void): Promise<{ url: string; got: Delivered[] }> {
  const got: Delivered[] = [];
  const server = createServer((request, response) => {
    void buffer(request).then((body) => {
      got.push({ body: body.toString(), headers: request.headers });
      respond(response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/webhook`, got };
}

async function start(over: Partial<PracticeUpstreamOptions> = {}): Promise<PracticeUpstream> {
  const upstream = await startPracticeUpstream({
    port: 0,
    host: '127.0.0.1',
    token,
    targets: [],
    ratePerSecond: 50,
    transitMs: [0, 10],
    scheme: 'github',
    ...over,
  });
  onTestFinished(() => upstream.close());
  return upstream;
}

/** What one of the routes answers; a test knows which. */
type Answered = TrafficStats & { readonly configured?: boolean; readonly secret?: string | null };

async function ask(
  url: string,
  method: string,
  path: string,
  body?: unknown,
  authorization = `Bearer ${token}`,
): Promise<{ status: number; body: Answered }> {
  const response = await fetch(url + path, {
    method,
    headers: { authorization },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Answered };
}

function practicePolicy(url: string): HttpUpstreamPolicy {
  const { upstream } = policyOf('hook');
  const headers = { authorization: 'Bearer {{credentials.token}}' };
  const activate = { ...upstream.steps.activate, method: 'PATCH' as const, url, headers };
  return { ...upstream, allowHosts: ['127.0.0.1'], steps: { activate } };
}

async function until<Value>(read: () => Value | Promise<Value>, ok: (value: Value) => boolean): Promise<Value> {
  for (;;) {
    const value = await read();
    if (ok(value)) return value;
    await sleep(10);
  }
}

function signatureOf(body: string, key: string): string {
  return `sha256=${createHmac('sha256', key).update(body).digest('hex')}`;
}

describe('the practice upstream', () => {
  it('sends nothing before it has a secret', async () => {
    const target = await startTarget((response) => response.end());
    const { url } = await start({ targets: [target.url] });
    expect((await ask(url, 'GET', '/hook')).body).toMatchObject({ secret: null, configured: false });
    await sleep(100);
    expect(target.got).toHaveLength(0);
  });

  it('signs with the secret at once, and never shows it', async () => {
    const target = await startTarget((response) => response.end());
    const upstream = await start({ targets: [target.url] });
    const patched = await ask(upstream.url, 'PATCH', '/hook', { secret });
    expect(patched).toMatchObject({ status: 200, body: { secret: '********', configured: true } });
    await until(
      () => target.got.length,
      (count) => count >= 20,
    );
    for (const { body, headers } of target.got) {
      expect(headers['x-hub-signature-256']).toBe(signatureOf(body, secret));
      expect(headers['x-github-delivery']).toBe((JSON.parse(body) as { id: string }).id);
    }
    expect(new Set(target.got.map(({ headers }) => headers['x-github-delivery'])).size).toBe(target.got.length);
    expect(target.got.some(({ body }) => body.includes('你好'))).toBe(true);

    await ask(upstream.url, 'PATCH', '/hook', { secret: 'second' });
    const last = await until(
      () => target.got.at(-1)!,
      ({ body, headers }) => headers['x-hub-signature-256'] === signatureOf(body, 'second'),
    );
    expect(last).toBeDefined();
    const hook = await ask(upstream.url, 'GET', '/hook');
    const stats = await ask(upstream.url, 'GET', '/stats');
    const shown = `${JSON.stringify([patched, hook, stats])}${inspect(upstream, { depth: Infinity })}`;
    expect(shown).not.toContain(secret);
    expect(shown).not.toContain('second"');
  });

  it('is changed by the http upstream of a policy', async () => {
    const target = await startTarget((response) => response.end());
    const { url } = await start({ targets: [target.url] });
    const policy = practicePolicy(`${url}/hook`);
    const adapter = createHttpUpstream({ secret: 'my-hook', policy, credential: async () => token });
    const { signal } = new AbortController();
    const ids = { runId: 'r0123456789', intentId: 'i0123456789' };
    await adapter.activate({ ...ids, newValue: secret, oldValue: null, signal });
    const { body, headers } = await until(
      () => target.got[0]!,
      () => target.got.length > 0,
    );
    expect(headers['x-hub-signature-256']).toBe(signatureOf(body, secret));
    const denied = createHttpUpstream({ secret: 'my-hook', policy, credential: async () => 'another' });
    await expect(denied.activate({ ...ids, newValue: 'second', oldValue: secret, signal })).rejects.toMatchObject({
      code: 'upstream-refused',
      details: { status: 401 },
    });
  });

  it('counts what it delivered since it was told to begin anew', async () => {
    const target = await startTarget((response) => response.end());
    const { url } = await start({ targets: [target.url] });
    await ask(url, 'PATCH', '/hook', { secret });
    const counted = async (): Promise<TrafficStats> => {
      await until(
        () => ask(url, 'GET', '/stats'),
        ({ body }) => body.deliveries > 10,
      );
      await ask(url, 'POST', '/traffic', { ratePerSecond: 0 });
      const still = await until(
        () => ask(url, 'GET', '/stats'),
        ({ body }) => body.inFlight === 0,
      );
      return still.body;
    };
    const before = await counted();
    const { body: none } = await ask(url, 'POST', '/stats/reset');
    expect(none).toMatchObject({ deliveries: 0, byStatus: {}, inFlight: 0 });
    expect(Date.parse(none.since)).toBeGreaterThanOrEqual(Date.parse(before.since));
    await ask(url, 'POST', '/traffic', { ratePerSecond: 50 });
    const after = await counted();
    expect(after).toMatchObject({ rejected: 0, refusedReasons: {}, byStatus: { 200: after.deliveries } });
    expect(target.got).toHaveLength(before.deliveries + after.deliveries);
  });

  it('counts every answer but 2xx, and every missing one, as rejected', async () => {
    const refusing = await startTarget((response) => response.writeHead(401).end('{"error":"signature-mismatch"}'));
    const plain = await startTarget((response) => response.writeHead(302).end());
    const breaking = await startTarget((response) => response.destroy());
    const { url } = await start({ targets: [refusing.url, plain.url, breaking.url] });
    await ask(url, 'PATCH', '/hook', { secret });
    await until(
      () => ask(url, 'GET', '/stats'),
      ({ body }) => body.deliveries > 20,
    );
    await ask(url, 'POST', '/traffic', { ratePerSecond: 0 });
    const { body: stats } = await until(
      () => ask(url, 'GET', '/stats'),
      ({ body }) => body.inFlight === 0,
    );
    expect(stats.rejected).toBe(stats.deliveries);
    expect(stats.byStatus['401']).toBeGreaterThan(0);
    expect(Object.keys(stats.byStatus).sort()).toEqual(['302', '401', 'none']);
    expect(stats.refusedReasons).toEqual({
      '401 signature-mismatch': stats.byStatus['401'],
      302: stats.byStatus['302'],
      ECONNRESET: stats.byStatus['none'],
    });
  });

  it.each([
    ['PATCH', '/hook', { secret: 'x' }],
    ['POST', '/targets', { targets: [] }],
    ['POST', '/traffic', { ratePerSecond: 1 }],
    ['POST', '/stats/reset', {}],
  ])('lets nobody without the token %s %s', async (method, path, body) => {
    const { url } = await start();
    expect((await ask(url, method, path, body, 'Bearer wrong')).status).toBe(401);
    expect((await ask(url, method, path, body, token)).status).toBe(401);
    expect((await ask(url, method, path, body)).status).toBe(200);
  });

  it.each([
    ['PATCH', '/hook', { secret: '' }],
    ['PATCH', '/hook', {}],
    ['POST', '/targets', { targets: ['http://example.com/hook'] }],
    ['POST', '/targets', { targets: ['https://127.0.0.1/hook'] }],
    ['POST', '/traffic', { ratePerSecond: -1 }],
    ['POST', '/traffic', { ratePerSecond: '7' }],
  ])('does not take %s %s %j', async (method, path, body) => {
    const { url } = await start();
    expect(await ask(url, method, path, body)).toMatchObject({ status: 422, body: { error: 'not-usable' } });
  });

  it('does not take what is no JSON, too much, or nowhere', async () => {
    const { url } = await start();
    const authorization = `Bearer ${token}`;
    const patch = async (body: string): Promise<number> =>
      (await fetch(`${url}/hook`, { method: 'PATCH', headers: { authorization }, body })).status;
    expect(await patch('{')).toBe(422);
    expect(await patch(`{"secret":"${'x'.repeat(70_000)}"}`)).toBe(413);
    expect((await ask(url, 'GET', '/nowhere')).status).toBe(404);
  });

  it('needs a token and a free port', async () => {
    await expect(start({ token: '' })).rejects.toMatchObject({ code: 'usage' });
    const { url } = await start();
    await expect(start({ port: Number(new URL(url).port) })).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('its traffic', () => {
  /** Time passes as far as a test moves it, and with a stall so much more at once after 10 ms; deliveries are real ones. */
  function startTraffic(over: Partial<TrafficOptions>, stallMs = 0): { traffic: Traffic; clock: FakeClock } {
    const clock = createFakeClock();
    const random = createSeededRandom(5);
    const stalling: Clock = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic() + (clock.monotonic() >= 10 ? stallMs : 0),
      sleep: (ms, options) => clock.sleep(ms, options),
    };
    const options = { clock: stalling, random, targets: [], ratePerSecond: 200, transitMs: [1, 1], ...over } as const;
    const traffic = new Traffic(options);
    onTestFinished(async () => {
      const closed = traffic.close();
      await clock.advance(1_000);
      await closed;
    });
    traffic.signWith(secret);
    return { traffic, clock };
  }

  it('keeps its rate', async () => {
    const target = await startTarget((response) => response.end());
    const { traffic, clock } = startTraffic({ targets: [new URL(target.url)], ratePerSecond: 400 });
    for (let passed = 0; passed < 1_500; passed += 100) {
      await clock.advance(100);
      // The last two are on their way.
      await until(
        () => traffic.stats().inFlight,
        (inFlight) => inFlight <= 2,
      );
    }
    expect(traffic.stats()).toMatchObject({ deliveries: 598, inFlight: 2, skipped: 0, perSecond: 398.7 });
  });

  it('goes round its targets', async () => {
    const targets = await Promise.all([1, 2, 3].map(() => startTarget((response) => response.end())));
    const { traffic, clock } = startTraffic({ targets: targets.map((target) => new URL(target.url)) });
    await clock.advance(75);
    traffic.sendAt(0);
    await clock.advance(10);
    await until(
      () => traffic.stats().inFlight,
      (inFlight) => inFlight === 0,
    );
    expect(targets.map(({ got }) => got.length)).toEqual([5, 5, 5]);
  });

  it('does not pile up in front of a target that hangs: what cannot be sent is skipped', async () => {
    const held: ServerResponse[] = [];
    const target = await startTarget((response) => held.push(response));
    const { traffic, clock } = startTraffic({ targets: [new URL(target.url)], ratePerSecond: 2_000 });
    await clock.advance(300);
    traffic.sendAt(0);
    await clock.advance(10);
    expect(traffic.stats()).toMatchObject({ deliveries: 0, skipped: 100, inFlight: 500 });
    await until(
      () => {
        for (const response of held.splice(0)) response.end();
        return traffic.stats().inFlight;
      },
      (inFlight) => inFlight === 0,
    );
    expect(target.got).toHaveLength(500);
  });

  it('makes up for a stall of a second, and skips what was due in a longer one', async () => {
    const target = await startTarget((response) => response.end());
    const { traffic, clock } = startTraffic({ targets: [new URL(target.url)] }, 3_000);
    await clock.advance(10);
    expect(traffic.stats()).toMatchObject({ skipped: 401, inFlight: 1 + 200 });
  });

  it('is signed before the transit: what is on its way keeps the signature it had', async () => {
    const target = await startTarget((response) => response.end());
    const { traffic, clock } = startTraffic({ targets: [new URL(target.url)], transitMs: [150, 200] });
    await clock.advance(50);
    traffic.signWith('second');
    traffic.sendAt(0);
    expect(target.got).toEqual([]);
    await clock.advance(200);
    await until(
      () => traffic.stats().inFlight,
      (inFlight) => inFlight === 0,
    );
    expect(target.got).toHaveLength(10);
    for (const { body, headers } of target.got) {
      expect(headers['x-hub-signature-256']).toBe(signatureOf(body, secret));
    }
  });
});

describe('the naive receiver', () => {
  function secretFile(text: string): string {
    const folder = mkdtempSync(join(tmpdir(), 'keyturn-practice-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'secret');
    writeFileSync(path, text);
    return path;
  }

  const post = async (url: string, body: string, key: string | null): Promise<number> => {
    const headers: Record<string, string> = key === null ? {} : { 'x-hub-signature-256': signatureOf(body, key) };
    return (await fetch(url, { method: 'POST', headers, body })).status;
  };

  it('accepts one secret, and only the new one after a reload', async () => {
    const path = secretFile(`${secret}\n`);
    const receiver = await startNaiveReceiver({ port: 0, secretFile: path });
    onTestFinished(() => receiver.close());
    expect(await post(receiver.url, 'ä body', secret)).toBe(200);
    expect(await post(receiver.url, 'ä body', 'second')).toBe(401);
    expect(await post(receiver.url, 'ä body', null)).toBe(401);
    writeFileSync(path, 'second');
    expect(await post(receiver.url, 'ä body', secret)).toBe(200);
    receiver.reload();
    expect(await post(receiver.url, 'ä body', secret)).toBe(401);
    expect(await post(receiver.url, 'ä body', 'second')).toBe(200);
  });

  it('takes no empty secret', async () => {
    await expect(startNaiveReceiver({ port: 0, secretFile: secretFile('\n') })).rejects.toMatchObject({
      code: 'usage',
    });
  });

  it('runs as a program: reloads on SIGHUP, keeps the old secret when it cannot, ends on SIGTERM', async () => {
    const path = secretFile(secret);
    const program = await launch(naiveReceiverProgram, ['--secret-file', path]);
    writeFileSync(path, 'second');
    program.child.kill('SIGHUP');
    await until(
      () => post(program.url, 'b', 'second'),
      (status) => status === 200,
    );
    rmSync(path);
    program.child.kill('SIGHUP');
    await until(program.errors, (text) => text.includes('old secret stays'));
    expect(await post(program.url, 'b', 'second')).toBe(200);
    program.child.kill('SIGTERM');
    expect(await program.exit).toBe(0);
    expect(program.output() + program.errors()).not.toMatch(/second|sëcret/);
  });
});

interface Launched {
  readonly child: ChildProcessWithoutNullStreams;
  readonly url: string;
  readonly exit: Promise<number | null>;
  output(): string;
  errors(): string;
}

function spawnProgram(program: string, args: readonly string[], env: Record<string, string>) {
  const child = spawn(process.execPath, [program, ...args], { env: { PATH: process.env['PATH'], ...env } });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const exit = once(child, 'close').then(([code]) => code as number | null);
  return { child, exit, output: () => output, errors: () => errors };
}

async function launch(program: string, args: readonly string[], env: Record<string, string> = {}): Promise<Launched> {
  const spawned = spawnProgram(program, args, env);
  const [first] = (await once(createInterface({ input: spawned.child.stdout }), 'line')) as [string];
  return { ...spawned, url: (JSON.parse(first) as { listening: string }).listening };
}

describe('the practice upstream as a program', () => {
  it('takes options by environment, finishes what is under way on SIGTERM, and prints one line', async () => {
    const target = await startTarget((response) => response.end());
    const program = await launch(practiceUpstreamProgram, ['--port', '0', '--rate', '100', '--transit-ms', '300-400'], {
      KEYTURN_PRACTICE_TOKEN: token,
      KEYTURN_PRACTICE_TARGETS: target.url,
    });
    expect((await ask(program.url, 'PATCH', '/hook', { secret })).status).toBe(200);
    await until(
      () => ask(program.url, 'GET', '/stats'),
      ({ body }) => body.inFlight >= 5,
    );
    program.child.kill('SIGTERM');
    expect(await program.exit).toBe(0);
    expect(target.got.length).toBeGreaterThanOrEqual(5);
    expect(program.output()).toBe(`${JSON.stringify({ listening: program.url })}\n`);
    expect(program.errors()).toBe('');
  });

  it('ends with the process that started it', async () => {
    const child = await startProgram(practiceUpstreamProgram, { env: { KEYTURN_PRACTICE_TOKEN: token } });
    onTestFinished(() => child.stop());
    const exit = once(child.process, 'exit');
    child.process.stdin?.destroy();
    expect(await exit).toEqual([0, null]);
  });

  it.each([
    [['--rate', 'fast'], 'rate'],
    [['--nonsense'], '--nonsense'],
    [['--token-file', '/nowhere/token'], 'token file'],
    [['--port', '70000'], 'port'],
    [['--target', 'http://example.com/'], 'loopback'],
    [[], 'KEYTURN_PRACTICE_TOKEN'],
  ])('ends with 2 and one sentence for %j', async (args, said) => {
    const env: Record<string, string> = args.length === 0 ? {} : { KEYTURN_PRACTICE_TOKEN: token };
    const { exit, errors } = spawnProgram(practiceUpstreamProgram, args, env);
    expect(await exit).toBe(2);
    expect(errors()).toContain(said);
    expect(errors()).not.toContain(token);
    expect(errors().trim().split('\n')).toHaveLength(1);
  });
});
