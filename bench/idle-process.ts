import { once } from 'node:events';
import { registerHooks } from 'node:module';
import { createInterface } from 'node:readline';
import type * as providers from '../providers/open.ts';

/** A receiver to which no message comes: what it costs to stay ready. Runs as `withChild` says. */
export interface IdleJob {
  /** The address of the built library. */
  readonly library: string;
  readonly policy: string;
  readonly secrets: readonly string[];
  /** How many refreshes it is watched for. */
  readonly refreshes: number;
}

/** What it says first, when it holds all of its secrets. */
export interface Opened {
  /** The addresses of every module that it loaded. */
  readonly modules: readonly string[];
}

/** What it says after a line that it is sent: from right after one refresh to right after another. */
export interface Idle {
  /** Of all its threads. */
  readonly processorMs: number;
  readonly wallMs: number;
}

/** How often it looks whether it was refreshed. */
const lookEveryMs = 500;

const job = JSON.parse(process.argv.at(-1) ?? '') as IdleJob;
const modules = new Set<string>();
registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    modules.add(resolved.url);
    return resolved;
  },
});
const { openReceiver } = (await import(job.library)) as typeof providers;
const receiver = await openReceiver({ policy: job.policy, secrets: job.secrets });
const { cache } = receiver;
await cache.ready();
say({ modules: [...modules] });
const lines = createInterface({ input: process.stdin });
lines.on('line', () => void watch().then(say));
await once(lines, 'close');
await receiver.close();

async function watch(): Promise<Idle> {
  const [began, before] = [performance.now(), process.cpuUsage()];
  for (let refreshes = 0; refreshes < job.refreshes; refreshes += 1) await refreshed();
  const { user, system } = process.cpuUsage(before);
  for (const secret of job.secrets) {
    const { state } = cache.status(secret);
    if (state !== 'fresh') throw new Error(`${secret} is ${state} after a refresh`);
  }
  return { processorMs: (user + system) / 1_000, wallMs: performance.now() - began };
}

/** The last one is taken in last. */
async function refreshed(): Promise<void> {
  const last = job.secrets.at(-1) ?? '';
  const ageMs = (): number => cache.status(last).ageMs ?? 0;
  for (let before = ageMs(); ;) {
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
    const now = ageMs();
    if (now < before) return;
    before = now;
  }
}

function say(answer: Opened | Idle): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
