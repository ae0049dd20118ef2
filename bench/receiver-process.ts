import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import type * as providers from '../providers/open.ts';

/**
 * A process whose memory and event loop are measured: a receiver, or a bare one. It runs as JavaScript with the built
 * library, because what strips types takes memory as well; so it imports nothing that is not Node's but by address.
 */
export interface ReceiverJob {
  /** The address of the library; null for a bare process. */
  readonly library: string | null;
  readonly policy: string;
  readonly secrets: readonly string[];
  /** For how long the event loop is watched each time, ms. */
  readonly watchMs: number;
}

/** What it says first, after it received a message for each secret, reported them, and collected its garbage. */
export interface Memory {
  readonly rss: number;
  /** Without the pages of programs and libraries, which the processes of a machine share; null where the system does not tell. */
  readonly own: number | null;
  readonly heap: number;
}

/** What it says after each line that it is sent. */
export interface Watched {
  /** The longest time in which the event loop did not turn, ms. */
  readonly longestMs: number;
  readonly arrived: number;
  readonly refused: number;
}

type Receiver = providers.OpenedReceiver;

const flushEveryMs = 100;
const resolutionMs = 1;

const job = JSON.parse(process.argv.at(-1) ?? '') as ReceiverJob;
const receiver = await opened();
if (receiver !== null) {
  count(receiver);
  if (!(await receiver.usage.flush())) throw new Error('the first report did not arrive');
}
say(await settledMemory());
const lines = createInterface({ input: process.stdin });
lines.on('line', () => void watch().then(say));
await once(lines, 'close');
await receiver?.close();

async function opened(): Promise<Receiver | null> {
  if (job.library === null) return null;
  const { openReceiver } = (await import(job.library)) as typeof providers;
  const made = await openReceiver({ policy: job.policy, secrets: job.secrets });
  // A message for each secret, so that the keys of all its versions are prepared.
  const headers = { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` };
  for (const secret of job.secrets) {
    if (made.cache.accepted(secret).length !== 2) throw new Error(`${secret} has not two accepted versions`);
    made.verifier(secret).verifySync({ headers, body: '{}' });
  }
  return made;
}

/** One use more of each secret, so that each report has all of them to write. */
function count({ cache, usage }: Receiver): void {
  for (const secret of job.secrets) usage.matched(secret, cache.primary(secret).id, true);
}

async function settledMemory(): Promise<Memory> {
  for (let round = 0; round < 3; round += 1) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { rss, heapUsed } = process.memoryUsage();
  return { rss, own: ownMemory(), heap: heapUsed };
}

function ownMemory(): number | null {
  try {
    const kibibytes = /^RssAnon:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    return kibibytes === undefined ? null : Number(kibibytes) * 1_024;
  } catch {
    return null;
  }
}

async function watch(): Promise<Watched> {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  let [arrived, refused] = [0, 0];
  const until = performance.now() + job.watchMs;
  delays.enable();
  while (performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, flushEveryMs));
    if (receiver === null) continue;
    count(receiver);
    if (await receiver.usage.flush()) arrived += 1;
    else refused += 1;
  }
  delays.disable();
  return { longestMs: delays.max / 1e6 - resolutionMs, arrived, refused };
}

function say(answer: Memory | Watched): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
