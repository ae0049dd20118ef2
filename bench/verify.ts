import { randomBytes } from 'node:crypto';
import { createFakeClock } from '../src/memory/clock.ts';
import { createMemoryStore } from '../src/memory/secret-store.ts';
import { createSecretCache } from '../src/cache/cache.ts';
import type { SecretCache } from '../src/cache/types.ts';
import { emptyKeyring, nextKeyring } from '../src/model/keyring.ts';
import { realClock } from '../src/ports/real.ts';
import type { UsageReporter } from '../src/usage/types.ts';
import { createUsageReporter } from '../src/usage/reporter.ts';
import { createVerifier, type VerifierOptions } from '../src/webhook/verifier.ts';
import { atLeast, atMost, compared, median, type Bench, type BenchRow } from './bench.ts';
import {
  documentsOwn,
  githubHeader,
  keygrip,
  octokit,
  signedAsGithub,
  standardWebhooks,
  stripe,
  type Message,
  type Way,
} from './contenders.ts';

interface Contender extends Way {
  /** Messages that it must accept, one after the other. */
  readonly messages: readonly Message[];
}

interface Values {
  readonly old: string;
  readonly new: string;
}

const secret = 'bench';
const rounds = 61;
const roundMs = 8;

const sizes = [
  { bytes: 256, label: '256 B', target: 2.0 },
  { bytes: 1_024, label: '1 KB', target: 1.7 },
  { bytes: 16_384, label: '16 KB', target: 1.05 },
];

/** How many times as fast as these the verifier should be. */
const overOctokit = 3;
const overStandardWebhooks = 5;

/**
 * The verifier with an old and a new version accepted, against what everybody writes for one key, and against libraries
 * that people use instead.
 */
export async function verifyBench(): Promise<Bench> {
  const values: Values = { old: randomBytes(32).toString('base64url'), new: randomBytes(32).toString('base64url') };
  const cache = await cacheWith(values);
  const usage = createUsageReporter({ log: { report: async () => {}, close: async () => {} }, cache });
  const rows: BenchRow[] = [];
  for (const { bytes, label, target } of sizes) {
    rows.push(...(await ownRows({ cache, values, usage }, bytes, label, target)));
    rows.push(...(await othersRows({ cache, values }, bytes, label)));
  }
  rows.push(await usageCost(cache, usage, values.new));
  await usage.close();
  await cache.close();
  return { name: 'verify', rows };
}

interface Setting {
  readonly cache: SecretCache;
  readonly values: Values;
}

async function ownRows(
  { cache, values, usage }: Setting & { readonly usage: UsageReporter },
  bytes: number,
  label: string,
  target: number,
): Promise<readonly BenchRow[]> {
  const documents = contender(documentsOwn(values.new), values.new, bytes);
  const steady = contender(keyturn({ cache }), values.new, bytes);
  const counting = contender(keyturn({ cache, usage }), values.new, bytes);
  const both = contender(keyturn({ cache }), values.old, bytes);
  const alternating = { ...both, messages: interleaved(both.messages, steady.messages) };
  const times = await timesOf([documents, steady, counting, alternating]);
  const over = (index: number) => ({ against: documents.name, ratio: timesFaster(times, index, 0) });
  return [
    atLeast(`${label}, two live keys, traffic on one`, target, over(1)),
    atLeast(`${label}, the same with usage counted`, target, over(2)),
    // Where old and new alternate, every other message has to be hashed under both.
    atLeast(`${label}, two live keys, alternating`, Math.round((100 * target) / 1.5) / 100, over(3)),
  ];
}

async function othersRows({ cache, values }: Setting, bytes: number, label: string): Promise<readonly BenchRow[]> {
  const others = [
    { ...contender(octokit(values.new, values.old), values.old, bytes), target: overOctokit },
    { ...contender(standardWebhooks(values.new), values.new, bytes), target: overStandardWebhooks },
    { ...contender(stripe(values.new), values.new, bytes), target: null },
    { ...contender(keygrip(values.new, values.old), values.new, bytes), target: null },
  ];
  const documents = contender(documentsOwn(values.new), values.new, bytes);
  const times = await timesOf([documents, contender(keyturn({ cache }), values.new, bytes), ...others]);
  return others.flatMap(({ name, target }, index) => {
    const theirs = compared(`${label}, ${name}`, {
      against: documents.name,
      ratio: timesFaster(times, index + 2, 0),
    });
    const ours = { against: name, ratio: timesFaster(times, 1, index + 2) };
    const own = `${label}, two live keys, traffic on one`;
    return [theirs, target === null ? compared(own, ours) : atLeast(own, target, ours)];
  });
}

/** The counting alone, as a share of a verification: the difference of two whole verifications would be all noise. */
async function usageCost(cache: SecretCache, usage: UsageReporter, value: string): Promise<BenchRow> {
  const versionId = cache.primary(secret).id;
  const verifying = contender(keyturn({ cache }), value, 256);
  const counting = (): boolean => {
    usage.matched(secret, versionId, true);
    usage.answered(secret, versionId, true);
    return versionId !== '';
  };
  const times = await timesOf([verifying, { ...verifying, name: 'counting', accepts: counting }], [verifying]);
  return atMost('usage of one message', 0.02, { against: 'verifying 256 B', ratio: timesFaster(times, 0, 1) });
}

async function cacheWith(values: Values): Promise<SecretCache> {
  const store = createMemoryStore({ clock: createFakeClock() });
  const createdAt = new Date(realClock.now()).toISOString();
  const keyring = nextKeyring(
    emptyKeyring(secret),
    [
      { kind: 'add', version: 'v-old', value: values.old, createdAt },
      { kind: 'promote', version: 'v-old' },
      { kind: 'add', version: 'v-new', value: values.new, createdAt },
      { kind: 'promote', version: 'v-new' },
    ],
    { id: 'c-bench', highestRevision: 0 },
  );
  await store.commit({ secret, key: secret }, keyring, null);
  const cache = createSecretCache({ store, secrets: [secret] });
  await cache.ready();
  return cache;
}

function keyturn(options: Pick<VerifierOptions, 'cache' | 'usage'>): Way {
  const verifier = createVerifier({ ...options, secret, scheme: 'github' });
  return {
    name: 'keyturn',
    header: githubHeader,
    answersLater: false,
    signed: signedAsGithub,
    accepts: (message) => verifier.verifySync(message).ok,
  };
}

/** With several bodies signed with `value`, so that nobody profits from having seen the last one. */
function contender(way: Way, value: string, bytes: number): Contender {
  const messages = Array.from({ length: 8 }, () => {
    const body = jsonOf(bytes);
    return { headers: way.signed(value, body), body };
  });
  return { ...way, messages };
}

/** A JSON document of exactly so many bytes: some of the others take nothing else. */
function jsonOf(bytes: number): Buffer {
  const empty = '{"payload":""}';
  const payload = randomBytes(bytes)
    .toString('base64')
    .slice(0, bytes - empty.length);
  return Buffer.from(JSON.stringify({ payload }));
}

function interleaved(left: readonly Message[], right: readonly Message[]): readonly Message[] {
  return left.flatMap((message, index) => [message, right[index] ?? message]);
}

/**
 * What one message takes each contender, by round: everybody has a turn in each, so that whatever else the machine does
 * meets all alike. Who is timed is checked first; a mere part of the work, which cannot tell good from bad, is left out.
 */
async function timesOf(
  contenders: readonly Contender[],
  checked: readonly Contender[] = contenders,
): Promise<readonly (readonly number[])[]> {
  for (const each of checked) await assertCorrect(each);
  const passes = [];
  for (const each of contenders) passes.push(await passesFor(each));
  const times = contenders.map((): number[] => []);
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, each] of contenders.entries()) times[at]?.push(await timeOf(each, passes[at] ?? 1));
  }
  return times;
}

/** How many times as fast as `slower` the other is: the median of the rounds. */
function timesFaster(times: readonly (readonly number[])[], faster: number, slower: number): number {
  return median((times[faster] ?? []).map((time, round) => (times[slower]?.[round] ?? Number.NaN) / time));
}

/** As many passes as take `roundMs`; finding that out warms the code up. */
async function passesFor(contender: Contender): Promise<number> {
  return Math.max(1, Math.round(roundMs / (await timeOf(contender, 500)) / contender.messages.length));
}

/** Milliseconds of processor for one message, over `passes` times all of them: other processes do not show in it. */
async function timeOf(contender: Contender, passes: number): Promise<number> {
  const { name, messages } = contender;
  const begin = process.cpuUsage();
  // A loop of its own for those that answer at once: one that may wait costs as much as counting a use does.
  const accepted = contender.answersLater ? await acceptedLater(contender, passes) : acceptedNow(contender, passes);
  const { user, system } = process.cpuUsage(begin);
  if (accepted !== passes * messages.length) throw new Error(`${name} refused a good message`);
  return (user + system) / 1_000 / passes / messages.length;
}

function acceptedNow(contender: Contender, passes: number): number {
  const { messages } = contender;
  let accepted = 0;
  for (let pass = 0; pass < passes; pass += 1) {
    for (const message of messages) if (contender.accepts(message) === true) accepted += 1;
  }
  return accepted;
}

async function acceptedLater(contender: Contender, passes: number): Promise<number> {
  const { messages } = contender;
  let accepted = 0;
  for (let pass = 0; pass < passes; pass += 1) {
    for (const message of messages) if (await contender.accepts(message)) accepted += 1;
  }
  return accepted;
}

async function assertCorrect(contender: Contender): Promise<void> {
  const { name, header, signed } = contender;
  for (const message of contender.messages) {
    const { headers, body } = message;
    const signature = headers[header] ?? '';
    const flipped = signature.slice(0, -1) + (signature.endsWith('0') ? '1' : '0');
    const otherBody = jsonOf(body.length);
    if (!(await contender.accepts(message))) throw new Error(`${name} refuses a good message`);
    const bad: readonly Message[] = [
      { headers: { ...headers, [header]: flipped }, body },
      { headers: { ...headers, [header]: signature.slice(0, -2) }, body },
      { headers: { ...headers, ...signed('another value', body) }, body },
      { headers: {}, body },
      { headers, body: otherBody },
    ];
    for (const each of bad) if (await contender.accepts(each)) throw new Error(`${name} accepts a bad message`);
  }
}
