import { existsSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { loadPolicy } from '../providers/policy-file.ts';
import { storesOf, watchedBy } from '../providers/watched.ts';
import { createSecretCache } from '../src/cache/cache.ts';
import { silentLog } from '../src/ports/log.ts';
import { realClock } from '../src/ports/real.ts';
import type { SecretStore, StoreName } from '../src/ports/secret-store.ts';
import { storeWorlds, type StoreWorld } from '../test/process/support/store-worlds.ts';
import { kinds } from '../test/servers/kinds.ts';
import { down, find, up } from '../test/servers/running.ts';
import type { RunningServer, ServerName } from '../test/servers/types.ts';
import { atMost, compared, figure, grouped, median, type Bench, type BenchRow } from './bench.ts';
import { withChild } from './child.ts';
import { Fleet, secretOf, storeOfFleet } from './fleet.ts';
import type { Idle, IdleJob, Opened } from './idle-process.ts';

const library = fileURLToPath(new URL('../dist/providers/open.js', import.meta.url));

/** The servers that everybody can have. */
const servers: readonly ServerName[] = ['openbao', 'moto', 'ministack', 'gcp'];
const sizes = [1, 100, 1_000];
const most = 1_000;
const rounds = 3;

/** How many calls AWS may be asked for a refresh of a thousand secrets. */
const awsCalls = 50;

/** The share of a core that an idle receiver may take. */
const idleShare = 0.005;
const watchedRefreshes = 5;
const refreshMs = 60_000;

/** Longer than any machine needs: what is slow is measured, not cut off. */
const timeout = '30s';

/**
 * What the refreshes of a receiver ask of each store on its server, by calls counted on the wire and by time, and what a
 * receiver costs to which no message comes. A server that is not there is left out, with what would bring it.
 */
export async function storesBench(): Promise<Bench> {
  if (!existsSync(library)) throw new Error(`${library} is missing: run \`npm run build\` first.`);
  const closers: Closers = [];
  const fleet = new Fleet({ rotating: true });
  closers.push(() => fleet.remove());
  try {
    const places: Place[] = [];
    for (const name of servers) {
      const server = await running(name, closers);
      if (server !== null) places.push(await placeOn(server, fleet, closers));
    }
    const rows: BenchRow[] = [];
    for (const place of places) rows.push(...(await callRows(place)), ...(await timeRows(place)));
    return { name: 'stores', rows: [...rows, ...(await idleRows(fleet, places))] };
  } finally {
    for (const close of closers.toReversed()) await close();
  }
}

/** What is to be undone at the end, the last first. */
type Closers = (() => unknown)[];

/** A store on its server, with the keyrings of the whole fleet in it. */
interface Place {
  /** `aws on moto`. */
  readonly title: string;
  readonly kind: string;
  readonly world: StoreWorld;
  /** Straight to the server. */
  readonly direct: SecretStore;
  /** Through a proxy that counts. */
  readonly counted: SecretStore;
  /** What the policy says of the first. */
  readonly settings: object;
}

async function running(name: ServerName, closers: Closers): Promise<RunningServer | null> {
  const kind = kinds.find((each) => each.name === name);
  if (kind === undefined) return null;
  const found = await find(kind);
  if (found !== null) return found;
  try {
    const server = await up(kind, (line) => console.error(line));
    closers.push(() => down(kind));
    return server;
  } catch (error) {
    console.error(`stores: without ${name}: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

async function placeOn(server: RunningServer, fleet: Fleet, closers: Closers): Promise<Place> {
  const open = storeWorlds.find(([name]) => name === server.name)?.[2];
  if (open === undefined) throw new Error(`nothing opens a store on ${server.name}`);
  const world = await open(server, (close) => closers.push(close));
  Object.assign(process.env, world.orchestratorEnv);
  const counted = { ...world.store, timeout };
  const settings = { ...counted, ['address' in counted ? 'address' : 'endpoint']: server.address };
  const opened = async (store: object): Promise<SecretStore> => {
    const { policy } = await loadPolicy(fleet.writePolicy(most, store), {});
    const stores = storesOf(policy, watchedBy(silentLog));
    closers.push(() => stores.close());
    return stores.open(storeOfFleet);
  };
  const direct = await opened(settings);
  // One after the other: moto breaks where several write.
  for (const name of names(most)) await direct.commit(name, fleet.keyring(name.secret), null);
  const { kind = '' } = settings as { readonly kind?: string };
  return { title: `${kind} on ${server.name}`, kind, world, settings, direct, counted: await opened(counted) };
}

function names(count: number): readonly StoreName[] {
  return Array.from({ length: count }, (_, index) => ({ secret: secretOf(index), key: secretOf(index) }));
}

/** Every call counts that reaches the server, whatever it is for. */
async function callRows({ title, kind, world, counted }: Place): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const size of sizes) {
    const calls = await withCache(counted, size, async (refresh) => {
      const before = world.network.calls;
      await refresh();
      return world.network.calls - before;
    });
    const name = `${title}, a refresh of ${counting(size)}`;
    const measured = { value: calls, unit: 'calls' } as const;
    rows.push(compared(name, { against: 'one call per secret', ratio: calls / size, ...measured }));
    if (kind === 'aws' && size === most) {
      rows.push(atMost(name, 1, { against: `${String(awsCalls)} calls`, ratio: calls / awsCalls, ...measured }));
    }
  }
  return rows;
}

async function timeRows({ title, direct }: Place): Promise<readonly BenchRow[]> {
  const sequential = async (): Promise<void> => {
    for (const name of names(most)) await direct.read([name]);
  };
  const [together, oneByOne] = await withCache(direct, most, async (refresh) => {
    const taken: (readonly [number, number])[] = [];
    for (let round = 0; round < rounds; round += 1) taken.push([await timed(refresh), await timed(sequential)]);
    return [median(taken.map(([ms]) => ms)), median(taken.map(([, ms]) => ms))];
  });
  return [
    figure(`${title}, reading ${counting(most)} one after the other`, oneByOne, 'ms'),
    compared(`${title}, a refresh of ${counting(most)}`, {
      against: 'reading them one after the other',
      ratio: together / oneByOne,
      value: together,
      unit: 'ms',
    }),
  ];
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = realClock.monotonic();
  await work();
  return realClock.monotonic() - began;
}

/** With a cache that holds all of them, and what refreshes it. */
async function withCache<T>(
  store: SecretStore,
  size: number,
  work: (refresh: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const cache = createSecretCache({ store, secrets: names(size), refreshIntervalMs: 24 * 3_600_000 });
  try {
    await cache.ready();
    return await work(async () => {
      await cache.refresh();
      const failed = cache.secrets.find((secret) => cache.status(secret).state !== 'fresh');
      if (failed !== undefined) throw cache.status(failed).error ?? new Error(`${failed} was not refreshed`);
    });
  } finally {
    await cache.close();
  }
}

/** What is loaded for each kind of store and for no other. */
const modulesOf: Readonly<Record<string, RegExp>> = {
  file: /\/dist\/providers\/stores\/file[./]/,
  vault: /\/dist\/providers\/stores\/vault[./]|\/node_modules\/(node-vault|undici)\//,
  aws: /\/dist\/providers\/stores\/aws[./]|\/node_modules\/@(aws-sdk|smithy)\//,
  google: /\/dist\/providers\/stores\/google[./]|\/node_modules\/(@google-cloud|google-gax|@grpc)\//,
};

/**
 * All of them side by side, because they take five minutes: each by the time of its own threads, and begun one after the
 * other, so that their refreshes, one a minute, do not fall together: a core that two share is no core.
 */
async function idleRows(fleet: Fleet, places: readonly Place[]): Promise<readonly BenchRow[]> {
  fleet.addKeyrings(0, most);
  const inFiles = { title: 'file', kind: 'file', policy: fleet.writePolicy(most), env: {} };
  const elsewhere = places.map(({ title, kind, settings, world }) => {
    return { title, kind, policy: fleet.writePolicy(most, settings), env: world.receiverEnv };
  });
  const receivers = [inFiles, ...elsewhere];
  const rows = await Promise.all(
    receivers.map(async ({ title, kind, policy, env }, index) => {
      await realClock.sleep((index * refreshMs) / receivers.length);
      const job: IdleJob = {
        library: pathToFileURL(library).href,
        policy,
        secrets: names(most).map(({ secret }) => secret),
        refreshes: watchedRefreshes,
      };
      return withChild(
        './idle-process.ts',
        job,
        async ({ answer, ask }) => {
          const { modules } = (await answer()) as Opened;
          const { processorMs, wallMs } = (await ask('watch')) as Idle;
          return [idleRow(title, processorMs / wallMs), moduleRow(title, kind, modules)];
        },
        env,
      );
    }),
  );
  return rows.flat();
}

function idleRow(title: string, share: number): BenchRow {
  return atMost(`${title}, processor of an idle receiver of ${counting(most)}`, 1, {
    against: `${String(idleShare * 100)} % of a core`,
    ratio: share / idleShare,
    value: share * 100,
    unit: '%',
  });
}

function moduleRow(title: string, kind: string, modules: readonly string[]): BenchRow {
  const own = modulesOf[kind];
  if (own === undefined || !modules.some((module) => own.test(module)))
    throw new Error(`${title} loads nothing of ${kind}`);
  const others = Object.entries(modulesOf).filter(([other]) => other !== kind);
  const foreign = modules.filter((module) => others.some(([, mark]) => mark.test(module))).length;
  return atMost(`${title}, modules of other stores that its receiver loads`, 0, {
    against: 'all that it loads',
    ratio: foreign / modules.length,
    value: foreign,
    unit: 'modules',
  });
}

function counting(size: number): string {
  return size === 1 ? 'one secret' : `${grouped(size)} secrets`;
}
