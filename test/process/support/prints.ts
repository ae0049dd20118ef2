import { readFileSync, writeFileSync } from 'node:fs';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { inspect } from 'node:util';
import { realClock, realRandom } from '../../../src/ports/real.ts';
import { createHttpUpstream } from '../../../providers/upstreams/http.ts';
import { createFileStore } from 'keyturn/stores/file';
import { createAwsStore } from 'keyturn/stores/aws';
import { createGoogleStore } from 'keyturn/stores/google';
import { createVaultStore } from 'keyturn/stores/vault';
import * as memory from 'keyturn/memory';
import { createSqliteUsageLog } from 'keyturn/usage/sqlite';
import { loadPolicy } from 'keyturn/policy';
import { openOrchestrator } from 'keyturn/orchestrator';
import { openReceiver } from 'keyturn/receiver';
import { webhook as fetchWebhook } from 'keyturn/fetch';
import { webhook as nodeWebhook } from 'keyturn/node';
import { webhook as expressWebhook } from 'keyturn/express';
import { createSecretCache, createUsageReporter, createVerifier, isKeyturnError, KeyturnError, sign } from 'keyturn';

// Prints everything that holds or has touched a value, in every way that people print things, and ends by an error that
// nobody caught. The secret is `hook`, in the folder that it is started in.

const deep = { depth: Infinity, showHidden: true, maxArrayLength: null, maxStringLength: null } as const;

function print(name: string, thing: unknown): void {
  // What getters give is asked of `inspect` alone: `console.dir` would let no object answer for itself.
  console.log(name, inspect(thing, { ...deep, getters: true }), JSON.stringify(thing), String(thing));
  console.log('%o %O %j', thing, thing, thing);
  console.dir(thing, deep);
  console.table(thing);
}

const { policy } = await loadPolicy(undefined, process.env);
const store = createFileStore({ path: '.keyturn/secrets' });
const usage = createSqliteUsageLog({ path: `${process.cwd()}/.keyturn/usage/usage.db` });
const cache = createSecretCache({ store, secrets: ['hook'] });
await cache.ready();
const reporter = createUsageReporter({ log: usage, cache });
const verifier = createVerifier({ cache, secret: 'hook', scheme: 'github', usage: reporter });
const body = Buffer.from('{}');
const { value } = cache.primary('hook');
const signed = sign('github', value, body);
const result = await verifier.verify({ headers: signed, body });
const receiver = await openReceiver({ secrets: ['hook'] });
await receiver.verifier('hook').verify({ headers: {}, body });
const opened = await openOrchestrator();
const state = await opened.orchestrator.look('hook');
const [secret] = policy.secrets;
if (secret === undefined) throw new Error('the policy has no secret');
const upstream = createHttpUpstream({
  ...{ secret: 'hook', policy: secret.upstream },
  credential: () => Promise.resolve(String(process.env['HOOK_TOKEN'])),
});
const call = { runId: 'r1', intentId: 'i1', oldValue: null, newValue: value, signal: new AbortController().signal };
const failure: unknown = await upstream.activate(call).catch((error: unknown) => error);
if (!isKeyturnError(failure, 'upstream-refused')) throw new Error('the upstream was to refuse', { cause: failure });

// What a handler is given, and the handlers themselves.
const onFetch = fetchWebhook(receiver, { secret: 'hook' }, (request) => {
  print('webhook', request.webhook);
  return new Response('ok');
});
const answered = await onFetch(new Request('http://x/', { method: 'POST', headers: { ...signed }, body }));
const onNode = nodeWebhook(receiver, { secret: 'hook' }, () => undefined);
const onExpress = expressWebhook(receiver, { secret: 'hook' });

// The adapters in memory hold the same value.
const clock = memory.createFakeClock();
const place = new memory.MemoryPlace();
const memoryStore = memory.createMemoryStore({ clock, place });
const read = (await store.read([{ secret: 'hook', key: 'hook' }])).get('hook');
if (read?.state !== 'present') throw new Error('the store has no keyring');
await memoryStore.commit({ secret: 'hook', key: 'hook' }, read.keyring, null);
await memoryStore.plain.write('copy', () => value);
const memoryUpstream = memory.createMemoryUpstream({ signsWith: value });
await memoryUpstream.upstream.activate(call);
const memoryCache = createSecretCache({ store: memoryStore, secrets: ['hook'], clock });
await memoryCache.ready();
const memoryJournal = memory.createMemoryJournal({ clock, id: 'j1' });
const memoryUsage = memory.createMemoryUsageLog({ clock });

const document = '.keyturn/secrets/hook.json';
writeFileSync(document, readFileSync(document, 'utf8').slice(0, -5));
const broken = (await store.read([{ secret: 'hook', key: 'hook' }])).get('hook');
await cache.refresh();
const orchestratorFailure: unknown = await opened.orchestrator.rotate('hook').catch((error: unknown) => error);

// Nobody listens there, and the credential for it is the value.
const vault = await createVaultStore({
  policy: {
    ...{ kind: 'vault', address: 'http://127.0.0.1:1', mount: 'secret', prefix: null, namespace: null, caFile: null },
    ...{ auth: { kind: 'token', token: { env: 'TOKEN' } }, propagationLagMs: 0, timeoutMs: 1_000 },
  },
  credential: () => Promise.resolve(value),
  clock: realClock,
});
const aws = await createAwsStore({
  policy: {
    ...{ kind: 'aws', region: 'eu-central-1', endpoint: 'http://127.0.0.1:1', prefix: null, kmsKeyId: null, tags: {} },
    credentials: { accessKeyId: { env: 'ID' }, secretAccessKey: { env: 'KEY' }, sessionToken: null },
    ...{ propagationLagMs: 0, timeoutMs: 1_000 },
  },
  credential: () => Promise.resolve(value),
  ...{ clock: realClock, random: realRandom },
});
const unreadThere = (await aws.read([{ secret: 'hook', key: 'hook' }])).get('hook');
const google = await createGoogleStore({
  policy: {
    ...{ kind: 'google', project: 'relay-prod', location: null, replication: null, kmsKeyName: null, labels: {} },
    ...{ prefix: null, endpoint: 'http://127.0.0.1:1', destroyAfterMs: null, credentials: null },
    ...{ propagationLagMs: 0, timeoutMs: 1_000 },
  },
  credential: () => Promise.resolve(value),
  clock: realClock,
});
const unreadFar = (await google.read([{ secret: 'hook', key: 'hook' }])).get('hook');
const unread = (await vault.read([{ secret: 'hook', key: 'hook' }])).get('hook');

/** What each function of the library gives; a new one has to be told of here. */
const made: Readonly<Record<string, readonly unknown[]>> = {
  createSecretCache: [
    cache,
    cache.snapshot('hook'),
    cache.status('hook'),
    cache.primary('hook'),
    cache.accepted('hook'),
  ],
  isKeyturnError: [],
  KeyturnError: [failure, orchestratorFailure, new KeyturnError('upstream-failed', 'No.', { cause: failure })],
  createUsageReporter: [reporter],
  sign: [],
  isCanary: [],
  createVerifier: [verifier, result, verifier.checkHeaders({})],
  openReceiver: [receiver, receiver.verifier('hook'), receiver.cache, receiver.usage, receiver.log],
  openOrchestrator: [opened, opened.orchestrator, state.live, state.due],
  credentialWarnings: [],
  webhook: [onFetch, onNode, onExpress, answered, new IncomingMessage(new Socket())],
  createFileStore: [store, broken],
  createVaultStore: [vault, vault.plain, unread],
  createGoogleStore: [google, google.plain, unreadFar],
  createAwsStore: [aws, aws.plain, unreadThere],
  createSqliteUsageLog: [usage, await usage.evidence('hook')],
  loadPolicy: [policy],
  policyPath: [],
  parsePolicy: [],
  createFakeClock: [clock],
  createSeededRandom: [memory.createSeededRandom(1)],
  createMemoryJournal: [memoryJournal],
  createMemoryStore: [memoryStore, memoryStore.control, memoryStore.plain, memoryCache, memoryCache.accepted('hook')],
  MemoryPlace: [place],
  createMemoryUpstream: [memoryUpstream, memoryUpstream.control],
  createMemoryUsageLog: [memoryUsage],
  createMemoryCanary: [memory.createMemoryCanary()],
};
/** For tests alone: they are handed values, and keep none. */
const forTests: Readonly<Record<string, unknown>> = await import('keyturn/testing');
const { exports } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  readonly exports: Readonly<Record<string, unknown>>;
};
for (const path of Object.keys(exports).filter((each) => !each.endsWith('.json'))) {
  const library = (await import(path.replace('.', 'keyturn'))) as Readonly<Record<string, unknown>>;
  for (const [name, thing] of Object.entries(library)) {
    if (typeof thing !== 'function') continue;
    if (made[name] === undefined && forTests[name] !== thing)
      throw new Error(`${path} exports ${name}, of which nothing is printed here`);
    print(`${path} ${name}`, thing);
  }
}
for (const [name, things] of Object.entries({ ...made, createHttpUpstream: [upstream, failure] })) {
  for (const thing of things) print(name, thing);
}
await receiver.close();
await reporter.close();
await cache.close();
await memoryCache.close();
await opened.close();
await google.close();
// A process that dies of an error leaves behind what a busy reader has not taken from the pipe yet.
await new Promise<void>((resolve) => process.stdout.write('\n', () => resolve()));
await Promise.reject(
  new KeyturnError('upstream-failed', 'Nobody caught this.', { cause: failure, details: { cache } }),
);
