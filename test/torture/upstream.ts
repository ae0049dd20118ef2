import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSeededRandom } from 'keyturn/memory';
import { type Delivery, UpstreamState } from './upstream-state.ts';
import { attemptMs, givesUpAfterMs, retryEveryMs, upstreamToken } from './terms.ts';

// The outside system: it is told values by `PATCH /NAME {"secret": …}`, and sends signed messages to the receivers that
// `receivers.json` lists. All it knows is in its database, so it may be killed at any moment. What it says on standard
// output tells whoever wants to kill it where it is: `call NAME`, `took NAME`, `answered NAME`.

const { PORT = '0', SEED = '1', RATE = '2' } = process.env;
const state = new UpstreamState('upstream.db');
const { fraction } = createSeededRandom(Number(SEED));
const agent = new Agent({ keepAlive: false });

/** How long it thinks before and after it takes a value, ms at the most. */
const thinksMs = 40;
const tickMs = 50;

/** The share of new deliveries that never reaches a receiver, and how much later such a one comes again at the most, ms. */
const turnedAway = 0.1;
const turnsAwayForMs = 1_000;
/** So soon that one which then meets a stopped receiver comes by once more before it is too old. */
const comesAgainMs = 2_500;

const say = (word: string, hook: string): void => void process.stdout.write(`${word} ${hook}\n`);

async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const hook = (incoming.url ?? '').slice(1);
  if (incoming.method !== 'PATCH' || incoming.headers.authorization !== `Bearer ${upstreamToken}`) {
    response.writeHead(401).end();
    return;
  }
  const { secret } = JSON.parse(await text(incoming)) as { secret: string };
  say('call', hook);
  await sleep(fraction() * thinksMs);
  const luck = fraction();
  if (luck < 0.1) {
    response.writeHead(500).end();
    return;
  }
  state.take(hook, secret);
  say('took', hook);
  await sleep(fraction() * thinksMs);
  if (luck < 0.2) {
    response.destroy();
    return;
  }
  response.writeHead(200).end('{}', () => say('answered', hook));
}

/** One message of each hook that has a value, in turn, each `1 / RATE` seconds. */
async function makeMessages(): Promise<never> {
  for (let turn = 0; ; turn += 1) {
    const hooks = [...state.signing()];
    const now = Date.now();
    for (const [hook, value] of hooks) {
      const body = JSON.stringify({ id: randomUUID(), hook, turn, text: 'Grüße 🔑' });
      state.add(hook, body, `sha256=${createHmac('sha256', value).update(body).digest('hex')}`, now);
    }
    await sleep(1_000 / Number(RATE));
  }
}

function targets(): readonly string[] {
  return JSON.parse(readFileSync('receivers.json', 'utf8')) as string[];
}

let next = 0;

async function deliverDue(): Promise<never> {
  for (;;) {
    const now = Date.now();
    for (const delivery of state.due(now, 50)) {
      if (now - delivery.madeAt > givesUpAfterMs) {
        state.giveUp(delivery.id, now);
        continue;
      }
      state.postpone(delivery.id, now + 10 * attemptMs);
      void attempt(delivery);
    }
    await sleep(tickMs);
  }
}

async function attempt(delivery: Delivery): Promise<void> {
  if (Date.now() - delivery.madeAt < turnsAwayForMs && fraction() < turnedAway) {
    // A balancer that nobody has told of: no receiver ever hears of it before it comes again.
    state.note(delivery.id, 'turned away');
    state.postpone(delivery.id, Date.now() + Math.round(fraction() * comesAgainMs));
    return;
  }
  const all = targets();
  const target = all[(next += 1) % all.length];
  const status = target === undefined ? 'nobody' : await post(`${target}/${delivery.hook}`, delivery);
  const now = Date.now();
  state.note(delivery.id, status);
  if (status.startsWith('2')) state.end(delivery.id, 'taken', now);
  else if (status.startsWith('4')) state.end(delivery.id, 'refused', now);
  else state.postpone(delivery.id, now + retryEveryMs);
}

/** The status of the answer, or the code of what went wrong. */
function post(target: string, { body, signature }: Delivery): Promise<string> {
  return new Promise((resolve) => {
    const headers = { 'content-type': 'application/json', 'x-hub-signature-256': signature };
    const outgoing = request(target, { method: 'POST', agent, headers });
    const timer = setTimeout(() => outgoing.destroy(new Error('no answer')), attemptMs);
    outgoing.on('close', () => clearTimeout(timer));
    outgoing.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    outgoing.on('response', (response) => {
      response.on('error', () => resolve('cut')).on('end', () => resolve(String(response.statusCode)));
      response.resume();
    });
    outgoing.end(body);
  });
}

const server = createServer((incoming, response) => {
  answer(incoming, response).catch(() => response.destroy());
});
server.listen(Number(PORT), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${PORT}`);
  // What was under way when it died is sent again.
  state.resume();
  void makeMessages();
  void deliverDue();
});
