import { existsSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { openDatabase } from '../providers/sqlite.ts';
import { atMost, figure, grouped, median, type Bench, type BenchRow } from './bench.ts';
import { withChild } from './child.ts';
import { Fleet, secretOf } from './fleet.ts';
import type { Memory, ReceiverJob, Watched } from './receiver-process.ts';

const library = fileURLToPath(new URL('../dist/providers/open.js', import.meta.url));
const secrets = 1_000;
const rounds = 5;
const watchMs = 3_000;

/** How much more a receiver may take than a bare process, MiB. */
const allowedMiB = 40;

/** How long an event loop may stand still, ms. */
const allowedMs = 5;

/**
 * A receiver with a thousand secrets, two accepted versions each, beside a bare process: what memory it takes, and how
 * long its event loop stands still while it reports all of them ten times a second, with and without somebody else at
 * the usage log's lock. The bare process shows what the machine itself does to an event loop at the same time.
 */
export async function memoryBench(): Promise<Bench> {
  if (!existsSync(library)) throw new Error(`${library} is missing: run \`npm run build\` first.`);
  const fleet = new Fleet({ rotating: true });
  try {
    fleet.addKeyrings(0, secrets);
    const taken: Round[] = [];
    for (let round = 0; round < rounds; round += 1) taken.push(await measuredRound(fleet));
    return { name: 'memory', rows: rowsOf(taken) };
  } finally {
    fleet.remove();
  }
}

/** What one round measured, in MiB and ms; `over` is over the bare process. */
interface Round {
  readonly bareRss: number;
  readonly bareHeap: number;
  /** What the system counts as the process's alone; of one that does not tell, all that is resident. */
  readonly ownOver: number;
  readonly rssOver: number;
  readonly heapOver: number;
  readonly lockedLoop: number;
  readonly besideLockedLoop: number;
  readonly freeLoop: number;
  readonly besideFreeLoop: number;
}

function rowsOf(taken: readonly Round[]): Bench['rows'] {
  const of = (what: keyof Round): number => median(taken.map((round) => round[what]));
  const over = (name: string, value: number): BenchRow =>
    atMost(`${name} of a receiver of ${grouped(secrets)} secrets, over a bare process`, 1, {
      against: `${String(allowedMiB)} MiB`,
      ratio: value / allowedMiB,
      value,
      unit: 'MiB',
    });
  const loop = (when: string, value: number, beside: number): readonly BenchRow[] => [
    figure(`event loop of a bare process at its longest, ${when}`, beside, 'ms'),
    atMost(`event loop of the receiver at its longest, ${when}`, 1, {
      against: `${String(allowedMs)} ms`,
      ratio: value / allowedMs,
      value,
      unit: 'ms',
    }),
  ];
  return [
    figure('resident memory of a bare process', of('bareRss'), 'MiB'),
    figure('heap of a bare process', of('bareHeap'), 'MiB'),
    over('memory of its own', of('ownOver')),
    figure('the same with the pages of Node that all processes share', of('rssOver'), 'MiB'),
    over('heap', of('heapOver')),
    ...loop('usage log locked', of('lockedLoop'), of('besideLockedLoop')),
    ...loop('reports arriving', of('freeLoop'), of('besideFreeLoop')),
  ];
}

async function measuredRound(fleet: Fleet): Promise<Round> {
  const policy = fleet.writePolicy(secrets);
  const names = Array.from({ length: secrets }, (_, index) => secretOf(index));
  const job: ReceiverJob = { library: null, policy, secrets: names, watchMs };
  return withProcess(job, (bare) =>
    withProcess({ ...job, library: pathToFileURL(library).href }, async (receiver) => {
      // At the same time, so that whatever else the machine does meets both.
      const watch = (): Promise<readonly [Watched, Watched]> => Promise.all([receiver.watch(), bare.watch()]);
      const [free, besideFree] = await watch();
      const [locked, besideLocked] = await underLock(fleet.usageLog, watch);
      if (free.refused > 0) throw new Error('reports were refused although nobody held the lock');
      if (locked.arrived > 0) throw new Error('reports arrived although the lock was held');
      return {
        bareRss: bare.memory.rss / 2 ** 20,
        bareHeap: bare.memory.heap / 2 ** 20,
        ownOver: (ownOf(receiver.memory) - ownOf(bare.memory)) / 2 ** 20,
        rssOver: (receiver.memory.rss - bare.memory.rss) / 2 ** 20,
        heapOver: (receiver.memory.heap - bare.memory.heap) / 2 ** 20,
        lockedLoop: locked.longestMs,
        besideLockedLoop: besideLocked.longestMs,
        freeLoop: free.longestMs,
        besideFreeLoop: besideFree.longestMs,
      };
    }),
  );
}

function ownOf({ own, rss }: Memory): number {
  return own ?? rss;
}

interface MeasuredProcess {
  readonly memory: Memory;
  watch(): Promise<Watched>;
}

function withProcess<T>(job: ReceiverJob, work: (process: MeasuredProcess) => Promise<T>): Promise<T> {
  return withChild('./receiver-process.ts', job, async ({ answer, ask }) => {
    const memory = (await answer()) as Memory;
    return work({ memory, watch: async () => (await ask('watch')) as Watched });
  });
}

/** This process is another one to those that report. */
async function underLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const database = openDatabase({ path, mode: 0o600, timeoutMs: 5_000 });
  database.exec('BEGIN IMMEDIATE');
  try {
    return await work();
  } finally {
    database.exec('ROLLBACK');
    database.close();
  }
}
