import { createHmac } from 'node:crypto';
import { Agent, type ClientRequest, type IncomingMessage, request as startRequest } from 'node:http';
import { formatTime } from '../../model/duration.ts';
import type { Clock, Random } from '../../ports/system.ts';

/** Deliveries as a real webhook sender makes them, at a steady rate, and the count of what became of them. */

export interface TrafficStats {
  /** Deliveries that came to an end: answered, or certainly without an answer. */
  readonly deliveries: number;
  /** Those of them that were not answered 2xx. */
  readonly rejected: number;
  /** Signed and not yet at an end: on their way, or waiting for the answer. */
  readonly inFlight: number;
  /** Deliveries that were due and not made: too many were waiting for answers, or this process had stalled. */
  readonly skipped: number;
  /** By status; `none` is no answer. */
  readonly byStatus: Readonly<Record<string, number>>;
  /** Why they were rejected: the status with the receiver's own reason, or the code of the network error. */
  readonly refusedReasons: Readonly<Record<string, number>>;
  /** When counting began, RFC 3339. */
  readonly since: string;
  /** Deliveries that ended per second, over the last seconds. */
  readonly perSecond: number;
}

export interface TrafficOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly targets: readonly URL[];
  readonly ratePerSecond: number;
  /** A delivery arrives so long after it was signed, evenly between the two. */
  readonly transitMs: readonly [number, number];
}

const tickMs = 5;

/** After a stall no more than this is made up for; the rest counts as skipped. */
const longestCatchUpMs = 1_000;

const maxWaitingForAnswers = 500;
const answerTimeoutMs = 10_000;
const rateWindowMs = 5_000;

export class Traffic {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #transitMs: readonly [number, number];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: maxWaitingForAnswers });
  readonly #stop = new AbortController();
  readonly #idle = Promise.withResolvers<undefined>();
  #targets: readonly URL[];
  #ratePerSecond: number;
  #secret: string | null = null;
  #made = 0;
  #inFlight = 0;
  #waitingForAnswers = 0;
  #tally: Tally;

  constructor({ clock, random, targets, ratePerSecond, transitMs }: TrafficOptions) {
    this.#clock = clock;
    this.#random = random;
    this.#targets = targets;
    this.#ratePerSecond = ratePerSecond;
    this.#transitMs = transitMs;
    this.#tally = new Tally(clock);
    void this.#pace();
  }

  get configured(): boolean {
    return this.#secret !== null;
  }

  /** Whatever is signed from now on is signed with this; nothing is sent before the first. */
  signWith(secret: string): void {
    this.#secret = secret;
  }

  sendTo(targets: readonly URL[]): void {
    this.#targets = targets;
  }

  sendAt(ratePerSecond: number): void {
    this.#ratePerSecond = ratePerSecond;
  }

  stats(): TrafficStats {
    return this.#tally.read(this.#inFlight);
  }

  resetStats(): void {
    this.#tally = new Tally(this.#clock);
  }

  /** Makes no new delivery, and resolves when those under way have ended. */
  async close(): Promise<void> {
    this.#stop.abort();
    if (this.#inFlight > 0) await this.#idle.promise;
    this.#agent.destroy();
  }

  async #pace(): Promise<void> {
    const { signal } = this.#stop;
    let due = 0;
    let last = this.#clock.monotonic();
    for (;;) {
      await this.#clock.sleep(tickMs, { signal });
      if (signal.aborted) return;
      const now = this.#clock.monotonic();
      due += ((now - last) * this.#ratePerSecond) / 1_000;
      last = now;
      if (this.#secret === null || this.#targets.length === 0) due = 0;
      const most = Math.max(1, (longestCatchUpMs * this.#ratePerSecond) / 1_000);
      for (; due >= most + 1; due -= 1) this.#tally.skip();
      for (; due >= 1; due -= 1) void this.#deliver();
    }
  }

  /** The signature is of the moment of sending; the delivery arrives later, whatever was changed in between. */
  async #deliver(): Promise<void> {
    const target = this.#targets[this.#made % this.#targets.length];
    if (target === undefined || this.#secret === null) return;
    this.#made += 1;
    this.#inFlight += 1;
    const delivery = this.#sign(this.#secret);
    const [from, to] = this.#transitMs;
    await this.#clock.sleep(from + this.#random.fraction() * (to - from));
    if (this.#waitingForAnswers >= maxWaitingForAnswers) this.#tally.skip();
    else {
      this.#waitingForAnswers += 1;
      const outcome = await send(this.#agent, target, delivery);
      this.#waitingForAnswers -= 1;
      this.#tally.count(outcome);
    }
    this.#inFlight -= 1;
    if (this.#inFlight === 0 && this.#stop.signal.aborted) this.#idle.resolve(undefined);
  }

  #sign(secret: string): Delivery {
    const id = uuidFrom(this.#random.bytes(16));
    const text = texts[this.#made % texts.length];
    const body = Buffer.from(JSON.stringify({ id, at: formatTime(this.#clock.now()), text }));
    return { id, body, signature: `sha256=${createHmac('sha256', secret).update(body).digest('hex')}` };
  }
}

/** Whoever signs or verifies anything but the bytes themselves stumbles over one of these. */
const texts = [
  'a plain line',
  'Grüße aus Köln — 5 €',
  '你好，世界',
  '🔑 turned 🔐',
  'a "quote", a \\ and a\nnew line',
  '',
];

function uuidFrom(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}

interface Delivery {
  readonly id: string;
  readonly body: Buffer;
  readonly signature: string;
}

interface Outcome {
  readonly status: number | null;
  /** Null when it was answered 2xx. */
  readonly refusedReason: string | null;
}

async function send(agent: Agent, target: URL, delivery: Delivery): Promise<Outcome> {
  const { id, body, signature } = delivery;
  const outgoing = startRequest(target, {
    method: 'POST',
    agent,
    timeout: answerTimeoutMs,
    headers: {
      'content-type': 'application/json',
      'content-length': body.length,
      'user-agent': 'keyturn-practice',
      'x-github-delivery': id,
      'x-github-event': 'practice',
      'x-hub-signature-256': signature,
    },
  });
  outgoing.on('timeout', () => outgoing.destroy(new NoAnswer()));
  outgoing.end(body);
  try {
    const response = await responseTo(outgoing);
    const status = response.statusCode ?? 0;
    const text = await readStart(response);
    return { status, refusedReason: status >= 200 && status < 300 ? null : reasonOf(status, text) };
  } catch (error) {
    // The receiver closed a connection that was idle just as this one was about to use it: no answer of anybody's.
    if (outgoing.reusedSocket && codeOf(error) === 'ECONNRESET') return send(agent, target, delivery);
    return { status: null, refusedReason: codeOf(error) };
  }
}

class NoAnswer extends Error {
  readonly code = 'no-answer-in-time';
}

function responseTo(outgoing: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.on('error', reject);
  });
}

/** Reads the body to its end, so that the connection can be used again, and keeps its beginning. */
async function readStart(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (text.length < 1_024) text += chunk.toString();
  }
  return text;
}

/** `401 signature-mismatch` where the answer names its reason in a kebab-case word, else `401`. */
function reasonOf(status: number, text: string): string {
  const word = /"(?:reason|error|code)"\s*:\s*"([a-z]+(?:-[a-z]+){0,5})"/.exec(text.slice(0, 1_024))?.[1];
  return word === undefined || word.length > 40 ? String(status) : `${status} ${word}`;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'no-answer';
}

class Tally {
  readonly #clock: Clock;
  readonly #since: string;
  readonly #startedAt: number;
  readonly #byStatus = new Map<string, number>();
  readonly #refusedReasons = new Map<string, number>();
  #deliveries = 0;
  #rejected = 0;
  #skipped = 0;
  /** Ends of deliveries by the second, for the rate; old seconds are dropped. */
  readonly #bySecond = new Map<number, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = formatTime(clock.now());
    this.#startedAt = clock.monotonic();
  }

  skip(): void {
    this.#skipped += 1;
  }

  count({ status, refusedReason }: Outcome): void {
    this.#deliveries += 1;
    raise(this.#byStatus, status === null ? 'none' : String(status));
    if (refusedReason !== null) {
      this.#rejected += 1;
      raise(this.#refusedReasons, refusedReason);
    }
    const second = Math.floor(this.#clock.monotonic() / 1_000);
    raise(this.#bySecond, second);
    for (const old of this.#bySecond.keys()) {
      if (old < second - rateWindowMs / 1_000) this.#bySecond.delete(old);
    }
  }

  read(inFlight: number): TrafficStats {
    return {
      deliveries: this.#deliveries,
      rejected: this.#rejected,
      inFlight,
      skipped: this.#skipped,
      byStatus: Object.fromEntries(this.#byStatus),
      refusedReasons: Object.fromEntries(this.#refusedReasons),
      since: this.#since,
      perSecond: this.#rate(),
    };
  }

  #rate(): number {
    const now = this.#clock.monotonic();
    const from = Math.max(this.#startedAt, (Math.floor(now / 1_000) - rateWindowMs / 1_000 + 1) * 1_000);
    const first = Math.floor(from / 1_000);
    const ended = [...this.#bySecond].reduce((sum, [second, count]) => (second < first ? sum : sum + count), 0);
    return now - from < 1 ? 0 : Math.round((ended * 10_000) / (now - from)) / 10;
  }
}

function raise<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
