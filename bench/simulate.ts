import { Session, type Profiler } from 'node:inspector/promises';
import { fileURLToPath } from 'node:url';
import { loadPolicy } from '../providers/policy-file.ts';
import type { SecretPolicy } from '../src/model/policy.ts';
import { simulate } from '../src/simulator/simulate.ts';
import { atLeast, atMost, compared, figure, grouped, type Bench, type BenchRow } from './bench.ts';
import { collectGarbage } from './collect.ts';

const worlds = { first: 200, then: 800, profiled: 100 };

const wantedEventsPerSecond = 100_000;

/** How much more than its share the later worlds may cost, and still be called linear and flat. */
const slack = 1.2;

/** How fast worlds with hard faults go by, with every check on, and whether it stays so. */
export async function simulateBench(): Promise<Bench> {
  const policy = await examplePolicy();
  await worldsOf(policy, 1, 20);
  const first = await worldsOf(policy, 1_000, worlds.first);
  const later = await worldsOf(policy, 2_000, worlds.then);
  const perSecond = (events: number, ms: number): number => (1_000 * events) / ms;
  const rows: BenchRow[] = [
    atLeast('events a second of processor time, checks on', 1, {
      against: `${grouped(wantedEventsPerSecond)} a second`,
      ratio: perSecond(later.events, later.processorMs) / wantedEventsPerSecond,
    }),
    figure(
      `a world, of ${grouped(Math.round(later.events / worlds.then))} events`,
      later.processorMs / worlds.then,
      'ms',
    ),
    atMost(`processor time of an event, ${grouped(worlds.then)} worlds on`, slack, {
      against: `the first ${grouped(worlds.first)} worlds`,
      ratio: later.processorMs / later.events / (first.processorMs / first.events),
    }),
    atMost(`heap after ${grouped(worlds.then)} worlds more`, slack, {
      against: `after the first ${grouped(worlds.first)}`,
      ratio: later.heapBytes / first.heapBytes,
      value: later.heapBytes / 2 ** 20,
      unit: 'MiB',
    }),
    ...(await shares(policy)),
  ];
  return { name: 'simulate', rows };
}

async function examplePolicy(): Promise<SecretPolicy> {
  const file = fileURLToPath(new URL('../rotation-policy.example.json', import.meta.url));
  const { policy } = await loadPolicy(file, {});
  const found = policy.secrets.find(({ secret }) => secret === 'production/acme/messages-relay');
  if (found === undefined) throw new Error(`${file} has no production/acme/messages-relay`);
  return found;
}

interface Cost {
  readonly events: number;
  readonly processorMs: number;
  readonly heapBytes: number;
}

async function worldsOf(policy: SecretPolicy, seed: number, runs: number): Promise<Cost> {
  const from = process.cpuUsage();
  const { tally, found } = await simulate(policy, { runs, seed, faults: 'hard' });
  if (found !== null) throw new Error(`seed ${found.seed}: ${found.violation.invariant}, ${found.violation.message}`);
  const { user, system } = process.cpuUsage(from);
  collectGarbage();
  return { events: tally.events, processorMs: (user + system) / 1_000, heapBytes: process.memoryUsage().heapUsed };
}

/** Whose code the processor is in, by where a profile finds it. */
async function shares(policy: SecretPolicy): Promise<readonly BenchRow[]> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.start');
  await simulate(policy, { runs: worlds.profiled, seed: 3_000, faults: 'hard' });
  const { profile } = await session.post('Profiler.stop');
  session.disconnect();
  const micros = byOwner(profile);
  const all = Object.values(micros).reduce((sum, each) => sum + each, 0);
  return Object.entries(micros).map(([owner, own]) =>
    compared(`share of ${owner}`, { against: 'all processor time', ratio: own / all }),
  );
}

function byOwner({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Readonly<Record<string, number>> {
  const urls = new Map(nodes.map(({ id, callFrame }) => [id, callFrame.url]));
  const micros = { 'production code': 0, 'the world and its checks': 0, 'Node and V8': 0 };
  for (const [index, id] of samples.entries()) {
    const url = urls.get(id) ?? '';
    const owner = url.includes('/src/simulator/')
      ? 'the world and its checks'
      : url.includes('/src/')
        ? 'production code'
        : 'Node and V8';
    micros[owner] += timeDeltas[index] ?? 0;
  }
  return micros;
}
