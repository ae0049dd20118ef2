import { createHmac, randomUUID } from 'node:crypto';
import { Agent, type IncomingMessage, request as startRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const tickMs = 10;
const answerTimeoutMs = 20_000;

/** A delivery arrives so long after it was signed, evenly between the two, ms. */
const transitMs = [10, 100] as const;

/**
 * Signed deliveries at a steady rate. Each has a connection of its own: on one that is kept open, a receiver that closes
 * it for being idle and a delivery that was just sent may cross, and that would look like a refusal.
 */
export class Sender {
  readonly #agent = new Agent({ keepAlive: false });
  readonly #refusals = new Map<string, number>();
  readonly #inFlight = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  #targets: readonly string[] = [];
  #ratePerSecond = 0;
  #value: string | null = null;
  #due = 0;
  #made = 0;
  #ended = 0;

  constructor() {
    this.#timer = setInterval(() => this.#tick(), tickMs);
  }

  /** Deliveries that were answered, or certainly were not. */
  get deliveries(): number {
    return this.#ended;
  }

  /** How often a delivery was not answered 2xx, by status or by the code of the error. */
  get refusals(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#refusals);
  }

  /** Whatever is signed from now on is signed with this; nothing is sent before the first. */
  signWith(value: string): void {
    this.#value = value;
  }

  sendTo(targets: readonly string[]): void {
    this.#targets = targets;
  }

  sendAt(ratePerSecond: number): void {
    this.#ratePerSecond = ratePerSecond;
  }

  /** Resolves when what is under way has ended. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#inFlight);
    this.#agent.destroy();
  }

  #tick(): void {
    this.#due += (this.#ratePerSecond * tickMs) / 1_000;
    for (; this.#due >= 1; this.#due -= 1) {
      const target = this.#targets[this.#made % this.#targets.length];
      if (target === undefined || this.#value === null) continue;
      this.#made += 1;
      const delivery = this.#deliver(target, this.#value).finally(() => this.#inFlight.delete(delivery));
      this.#inFlight.add(delivery);
    }
  }

  async #deliver(target: string, value: string): Promise<void> {
    const signed = sign(value);
    const [least, most] = transitMs;
    await sleep(least + Math.random() * (most - least));
    const refusal = await post(target, signed, this.#agent).then(
      (status) => (status >= 200 && status < 300 ? null : String(status)),
      (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : String(error)),
    );
    this.#ended += 1;
    if (refusal !== null) this.#refusals.set(refusal, (this.#refusals.get(refusal) ?? 0) + 1);
  }
}

interface Signed {
  readonly body: string;
  readonly signature: string;
}

function sign(value: string): Signed {
  const body = JSON.stringify({ id: randomUUID(), text: 'Grüße 🔑\n"quoted"' });
  return { body, signature: `sha256=${createHmac('sha256', value).update(body).digest('hex')}` };
}

function post(target: string, { body, signature }: Signed, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = startRequest(target, {
      method: 'POST',
      agent,
      timeout: answerTimeoutMs,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'x-hub-signature-256': signature,
      },
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer')));
    outgoing.on('error', reject);
    outgoing.on('response', (response: IncomingMessage) => {
      response.on('error', reject).on('end', () => resolve(response.statusCode ?? 0));
      response.resume();
    });
    outgoing.end(body);
  });
}

/** One delivery signed with `value`, as the upstream would make it. Returns the status of the answer. */
export async function deliver(target: string, value: string): Promise<number> {
  const agent = new Agent({ keepAlive: false });
  try {
    return await post(target, sign(value), agent);
  } finally {
    agent.destroy();
  }
}
