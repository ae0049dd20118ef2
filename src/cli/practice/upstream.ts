import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { KeyturnError, messageOf } from '../../model/errors.ts';
import { realClock, realRandom } from '../../ports/real.ts';
import type { Clock, Random } from '../../ports/system.ts';
import { isProgram, listenOnLoopback, type PracticeServer, readBody, runProgram } from './program.ts';
import { Traffic, type TrafficStats } from './traffic.ts';

/** An upstream to practise with on this machine: settings by HTTP, and signed deliveries at a steady rate. */
export interface PracticeUpstreamOptions {
  /** 0 takes a free one. */
  readonly port: number;
  readonly host?: '127.0.0.1';
  /** What settings are changed with, as `Authorization: Bearer …`. */
  readonly token: string;
  /** Urls on loopback, called in turn. */
  readonly targets: readonly string[];
  readonly ratePerSecond: number;
  /** A delivery arrives so long after it was signed, evenly between the two. */
  readonly transitMs: readonly [number, number];
  readonly scheme: 'github';
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface PracticeUpstream extends PracticeServer {
  stats(): TrafficStats;
}

const maxBodyBytes = 64 * 1024;
const maxRatePerSecond = 5_000;
const maxTransitMs = 60_000;

export async function startPracticeUpstream(options: PracticeUpstreamOptions): Promise<PracticeUpstream> {
  const { port, token, clock = realClock, random = realRandom } = options;
  if (token === '') throw usage('The practice upstream has no token.', 'Set KEYTURN_PRACTICE_TOKEN or --token-file.');
  const traffic = new Traffic({
    clock,
    random,
    targets: parseTargets(options.targets),
    ratePerSecond: parseRate(options.ratePerSecond),
    transitMs: parseTransit(options.transitMs),
  });
  const server = createServer((request, response) => {
    void answer(request, token, traffic).then(({ status, body }) => reply(response, status, body));
  });
  const close = async (): Promise<void> => {
    await traffic.close();
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  };
  try {
    const url = await listenOnLoopback(server, port);
    return { url, stats: () => traffic.stats(), close };
  } catch (error) {
    await traffic.close();
    throw error;
  }
}

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
}

async function answer(request: IncomingMessage, token: string, traffic: Traffic): Promise<Reply> {
  const route = `${request.method ?? ''} ${(request.url ?? '').split('?', 1)[0] ?? ''}`;
  const body = await readBody(request, maxBodyBytes);
  if (route === 'GET /hook') return { status: 200, body: describeHook(traffic) };
  if (route === 'GET /stats') return { status: 200, body: traffic.stats() };
  const change = changes[route];
  if (change === undefined) return refusal(404, 'no-such-route');
  if (!isAuthorized(request.headers.authorization, token)) return refusal(401, 'token-wrong');
  if (body === null) return refusal(413, 'body-too-large');
  try {
    return change(traffic, parseFields(body));
  } catch (error) {
    if (error instanceof KeyturnError) return refusal(422, 'not-usable', error.message);
    throw error;
  }
}

function refusal(status: number, error: string, message: string = error): Reply {
  return { status, body: { error, message } };
}

type Fields = Readonly<Record<string, unknown>>;

/** What the token allows, by method and path. */
const changes: Readonly<Record<string, (traffic: Traffic, fields: Fields) => Reply>> = {
  'PATCH /hook': (traffic, { secret }) => {
    if (typeof secret !== 'string' || secret === '')
      throw usage('secret is no text, or empty.', 'Send {"secret": "…"}.');
    traffic.signWith(secret);
    return { status: 200, body: describeHook(traffic) };
  },
  'POST /targets': (traffic, { targets }) => {
    traffic.sendTo(parseTargets(targets));
    return { status: 200, body: { targets } };
  },
  'POST /traffic': (traffic, { ratePerSecond }) => {
    traffic.sendAt(parseRate(ratePerSecond));
    return { status: 200, body: { ratePerSecond } };
  },
  'POST /stats/reset': (traffic) => {
    traffic.resetStats();
    return { status: 200, body: traffic.stats() };
  },
};

function describeHook(traffic: Traffic): unknown {
  const { deliveries, rejected } = traffic.stats();
  const { configured } = traffic;
  return { secret: configured ? '********' : null, configured, deliveries, rejected };
}

/** Digests have one length, so comparing them tells nothing about the token's. */
function isAuthorized(header: string | undefined, token: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(header ?? ''), digest(`Bearer ${token}`));
}

function parseFields(body: Buffer): Fields {
  if (body.length === 0) return {};
  let fields: unknown;
  try {
    fields = JSON.parse(body.toString());
  } catch {
    throw usage('The text is no JSON.', 'Send one JSON object.');
  }
  if (typeof fields !== 'object' || fields === null) throw usage('The JSON is no object.', 'Send one JSON object.');
  return { ...fields };
}

/** Loopback alone: nobody else asked for this much traffic. */
function parseTargets(targets: unknown): readonly URL[] {
  const list: readonly unknown[] = Array.isArray(targets) ? targets : [null];
  return list.map((target) => {
    const url = typeof target === 'string' && URL.canParse(target) ? new URL(target) : null;
    if (url?.protocol !== 'http:' || !/^(?:localhost|\[::1\]|127(?:\.\d{1,3}){3})$/.test(url.hostname)) {
      throw usage('A target is no http url on loopback.', 'Write targets like http://127.0.0.1:8080/webhook.');
    }
    return url;
  });
}

function parseRate(rate: unknown): number {
  if (typeof rate === 'number' && rate >= 0 && rate <= maxRatePerSecond) return rate;
  throw usage('The rate is no number of deliveries a second.', `Give 0 to ${maxRatePerSecond}.`);
}

function parseTransit(transit: unknown): readonly [number, number] {
  const list: readonly unknown[] = Array.isArray(transit) ? transit : [];
  const [from, to] = list;
  if (typeof from === 'number' && typeof to === 'number' && from >= 0 && to >= from && to <= maxTransitMs) {
    return [from, to];
  }
  throw usage('The transit time is no range of milliseconds.', `Give two numbers from 0 to ${maxTransitMs}: 20-200.`);
}

function usage(message: string, hint: string): KeyturnError {
  return new KeyturnError('usage', message, { hint });
}

// As a program. The token comes by environment or file, never by argument: those are public.

const flags = {
  port: { type: 'string' },
  target: { type: 'string', multiple: true },
  rate: { type: 'string' },
  'transit-ms': { type: 'string' },
  'token-file': { type: 'string' },
} as const;

function readOptions(env: NodeJS.ProcessEnv): PracticeUpstreamOptions {
  const given = readFlags();
  const tokenFile = given['token-file'];
  const fields: Fields = {
    port: Number(given.port ?? env['KEYTURN_PRACTICE_PORT'] ?? 0),
    targets: given.target ?? env['KEYTURN_PRACTICE_TARGETS']?.split(',') ?? [],
    ratePerSecond: Number(given.rate ?? env['KEYTURN_PRACTICE_RATE'] ?? 200),
    transitMs: (given['transit-ms'] ?? env['KEYTURN_PRACTICE_TRANSIT_MS'] ?? '20-200').split('-').map(Number),
    token: tokenFile === undefined ? env['KEYTURN_PRACTICE_TOKEN'] : readToken(tokenFile),
  };
  const { port, targets, token } = fields;
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw usage('The port is none.', 'Give 0 to 65535; 0 takes a free one.');
  }
  return {
    port,
    token: typeof token === 'string' ? token : '',
    targets: parseTargets(targets).map(String),
    ratePerSecond: parseRate(fields['ratePerSecond']),
    transitMs: parseTransit(fields['transitMs']),
    scheme: 'github',
  };
}

function readFlags(): ReturnType<typeof parseArgs<{ options: typeof flags }>>['values'] {
  try {
    return parseArgs({ options: flags }).values;
  } catch (error) {
    throw usage(
      messageOf(error),
      `Known are ${Object.keys(flags)
        .map((flag) => `--${flag}`)
        .join(', ')}.`,
    );
  }
}

function readToken(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw usage(`The token file cannot be read: ${messageOf(error)}.`, 'Check the path and its permissions.');
  }
}

/** What to start with `node`: this very file, from the sources or from the package. */
export const practiceUpstreamProgram = fileURLToPath(import.meta.url);

if (isProgram(import.meta.url)) {
  await runProgram(async () => startPracticeUpstream(readOptions(process.env)));
}
