import { fileURLToPath } from 'node:url';
import { createSecretCache } from '../src/cache/cache.ts';
import type { SecretCache } from '../src/cache/types.ts';
import { emptyKeyring, nextKeyring } from '../src/model/keyring.ts';
import type { KeyringReader } from '../src/ports/secret-store.ts';
import { atMost, grouped, median, type Bench, type BenchRow } from './bench.ts';
import { collectGarbage } from './collect.ts';

const rounds = 9;
const timedCalls = 2_000_000;
/** So few that even one small object a call would fit the young generation: no collection hides an allocation. */
const weighedCalls = 20_000;
const allowedNs = 100;
/** Less than the smallest object takes, so that one allocation in a hundred calls shows. */
const allowedBytes = 0.1;

/** What `accepted()` costs per call: time and heap, over what is allowed. */
export async function cacheBench(): Promise<Bench> {
  const rows: BenchRow[] = [];
  for (const count of [1, 1_000]) {
    const secrets = Array.from({ length: count }, (_, index) => `tenant-${String(index)}/hook`);
    const cache = createSecretCache({ store: filledStore, secrets });
    await cache.ready();
    const of = count === 1 ? 'the only secret' : `${grouped(count)} secrets in turn`;
    const ns = medianOf(rounds, () => nsPerCall(cache, secrets));
    rows.push(allowed(`accepted(), ${of}`, ns, allowedNs, 'ns'));
    const bytes = medianOf(rounds, () => bytesPerCall(cache, secrets));
    rows.push(allowed(`heap of accepted(), ${of}`, bytes, allowedBytes, 'B'));
    await cache.close();
  }
  return { name: 'cache', rows };
}

/** Every secret in it has two accepted versions, as in the middle of a rotation. */
const filledStore: KeyringReader = {
  read: async (names) =>
    new Map(
      names.map(({ secret }) => {
        const createdAt = '2026-01-01T00:00:00.000Z';
        const keyring = nextKeyring(
          emptyKeyring(secret),
          [
            { kind: 'add', version: 'v1', value: 'the-value-of-the-old-version', createdAt },
            { kind: 'promote', version: 'v1' },
            { kind: 'add', version: 'v2', value: 'the-value-of-the-new-version', createdAt },
          ],
          { id: 'c1', highestRevision: 0 },
        );
        return [secret, { state: 'present', keyring, token: '1' }];
      }),
    ),
};

function allowed(name: string, value: number, most: number, unit: 'ns' | 'B'): BenchRow {
  return atMost(name, 1, { against: `${String(most)} ${unit}`, ratio: value / most, value, unit });
}

function medianOf(count: number, measure: () => number): number {
  measure();
  return median(Array.from({ length: count }, measure));
}

/** Where the loops' results go: what nobody reads, the compiler leaves out. */
const sink = { versions: 0 };

function callMany(cache: SecretCache, secrets: readonly string[], calls: number): void {
  let versions = 0;
  let next = 0;
  for (let call = 0; call < calls; call += 1) {
    versions += cache.accepted(secrets[next] ?? '').length;
    next = next + 1 === secrets.length ? 0 : next + 1;
  }
  sink.versions += versions;
}

/** Of processor, so that other processes do not show in it. */
function nsPerCall(cache: SecretCache, secrets: readonly string[]): number {
  const before = process.cpuUsage();
  callMany(cache, secrets, timedCalls);
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1_000) / timedCalls;
}

/** What weighing itself takes is weighed too, by no calls at all, and left out. */
function bytesPerCall(cache: SecretCache, secrets: readonly string[]): number {
  const ownGrowth = heapGrowth(cache, secrets, 0);
  return Math.max(0, heapGrowth(cache, secrets, weighedCalls) - ownGrowth) / weighedCalls;
}

function heapGrowth(cache: SecretCache, secrets: readonly string[], calls: number): number {
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  callMany(cache, secrets, calls);
  return process.memoryUsage().heapUsed - before;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(JSON.stringify(await cacheBench(), null, 2));
