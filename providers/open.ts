import { hostname, userInfo } from 'node:os';
import { dirname } from 'node:path';
import { createSecretCache } from '../src/cache/cache.ts';
import type { SecretCache } from '../src/cache/types.ts';
import { parseDuration } from '../src/model/duration.ts';
import { isKeyturnError, KeyturnError, messageOf } from '../src/model/errors.ts';
import type { AgePolicy, CredentialReference, Policy, SecretPolicy, StorePolicy } from '../src/model/policy.ts';
import type { Orchestrator } from '../src/orchestrator/orchestrator.ts';
import { fromLevel, linesLog, silentLog, type Log } from '../src/ports/log.ts';
import { withOrigin, type Origin } from '../src/ports/origin.ts';
import { realClock, realRandom } from '../src/ports/real.ts';
import { redacting, remembering, type RedactingLog } from '../src/ports/redact.ts';
import { failed } from '../src/ports/probe.ts';
import type { KeyringReader, ProbeFinding, SecretStore, StoreRead, StoreUse } from '../src/ports/secret-store.ts';
import {
  tracedCanary,
  tracedJournal,
  tracedLeases,
  tracedStore,
  tracedUpstream,
  tracedUsageLog,
  type Tracing,
} from '../src/ports/trace.ts';
import { createUsageReporter } from '../src/usage/reporter.ts';
import type { UsageReporter } from '../src/usage/types.ts';
import { createVerifier, type Verifier } from '../src/webhook/verifier.ts';
import type { Receiver } from '../src/webhook/receiver.ts';
import { readCredential, type Credential, type PartCredential } from './credentials.ts';
import { localProcesses } from './processes.ts';
import { openStore, registry, type Surroundings } from './registry.ts';
import { userAgent } from './version.ts';

/** The composition root: policy → opened adapters. Nothing else in keyturn knows which adapter is behind a port. */

export const surroundings: Surroundings = { clock: realClock, random: realRandom };

/** The log as all that is opened here uses it: it shows no value, and learns those that come by. */
export interface Watched extends Tracing {
  readonly log: RedactingLog;
}

export function watchedBy(log: Log): Watched {
  return { log: redacting(log), clock: realClock };
}

/** Opens each store of a policy once, at its first use. It keeps nothing else of the policy. */
export function storesOf(
  { source, stores }: Pick<Policy, 'source' | 'stores'>,
  watched: Watched,
): {
  readonly open: (name: string) => Promise<SecretStore>;
  readonly close: () => Promise<void>;
} {
  const opened = new Map<string, Promise<SecretStore>>();
  const open = (name: string): Promise<SecretStore> => {
    const before = opened.get(name);
    if (before !== undefined) return before;
    const settings = stores[name];
    if (settings === undefined) {
      throw new KeyturnError('policy-invalid', `The policy ${source} has no store ${name}.`, {
        hint: 'A run keeps the store that it began with. Give the policy that store again until the run has ended, or use the policy that the run was started with.',
      });
    }
    const store = openStore(settings, surroundings, storeCredentials(source, name, watched));
    const guarded = store.then((bare) => tracedStore(remembering(bare, watched.log), watched));
    opened.set(name, guarded);
    return guarded;
  };
  const close = async (): Promise<void> => {
    // One that could not be opened was told to whoever asked for it.
    for (const store of opened.values()) await (await store.catch(() => null))?.close();
  };
  return { open, close };
}

/** What a store needs to be opened; receivers read it too. */
function storeCredentials(source: string, store: string, { log }: Watched): PartCredential {
  return async (name, reference, options) => {
    const context = { folder: dirname(source), env: process.env, name, of: `the store ${store}`, ...options };
    const { value } = await readCredential(reference, context);
    log.remember(value);
    return value;
  };
}

async function parsedPolicy(policy: string | Policy | undefined): Promise<Policy> {
  if (typeof policy === 'object') return policy;
  const { loadPolicy } = await import('./policy-file.ts');
  return (await loadPolicy(policy, process.env)).policy;
}

export interface OpenReceiverOptions {
  /** The policy's file, or a policy that `loadPolicy` gave; default as for the CLI. */
  readonly policy?: string | Policy;
  /** The secrets this process receives with, by address or by an unambiguous end of it. */
  readonly secrets: readonly string[];
  /** The environment that short names are looked up in; default `KEYTURN_ENV`. */
  readonly environment?: string;
  /** What people call this process; default host, process id and a few random letters. */
  readonly id?: string;
  /** The pool it belongs to, as in the policy; `default`. */
  readonly pool?: string;
  /** A duration like `"60s"`; default is the shortest `receivers.refreshEvery` of the secrets. */
  readonly refreshEvery?: string;
  /** Default: warnings and errors as JSON lines on stderr. */
  readonly log?: Log;
}

export interface OpenedReceiver extends Receiver {
  readonly cache: SecretCache;
  readonly usage: UsageReporter;
  /** The verifier of a secret, by address or by the name it was opened with. Throws `secret-unknown`. */
  verifier(secret: string): Verifier;
  /** Reports a last time, signs this receiver off, stops. */
  close(): Promise<void>;
}

/**
 * One receiver process, any number of secrets, one refresher. Resolves after the first load was tried: a store that is
 * out of reach, or a secret without a value yet, is logged and tried again in the background, and requests get 503
 * until then. It reads no upstream credential and opens no journal. Throws `policy-missing`, `policy-invalid`,
 * `secret-unknown`, `secret-ambiguous`.
 */
export async function openReceiver(options: OpenReceiverOptions): Promise<OpenedReceiver> {
  const policy = await parsedPolicy(options.policy);
  const chosen = await chosenSecrets(policy, options);
  const watched = watchedBy(options.log ?? fromLevel('warn', linesLog(process.stderr, realClock)));
  const { log } = watched;
  const stores = storesOf(policy, watched);
  const secrets = [...new Set(chosen.values())];
  const cache = createSecretCache({
    store: acrossStores(secrets, stores.open),
    secrets: secrets.map(({ secret, key }) => ({ secret, key })),
    refreshIntervalMs: refreshInterval(options.refreshEvery, secrets),
    log,
  });
  const usage = createUsageReporter({
    log: tracedUsageLog(await registry.usage[policy.usage.kind](policy.usage, surroundings), watched),
    cache,
    ...(options.id === undefined ? {} : { receiverId: options.id }),
    pool: options.pool ?? 'default',
    reportIntervalMs: Math.min(...secrets.map(({ receivers }) => receivers.reportEveryMs)),
    diagnostics: log,
  });
  const verifiers = new Map<string, Verifier>();
  for (const { secret, scheme } of secrets) {
    if (scheme !== null) verifiers.set(secret, createVerifier({ cache, secret, scheme, usage, log }));
  }
  // Only this is kept, so that a policy that was read here, which may be large, is not.
  const addresses = new Map([...chosen].map(([name, { secret }]) => [name, secret]));
  // The cache logs what it could not load; a receiver that starts before its secret exists is as it should be.
  await cache.ready().catch(() => undefined);
  return {
    cache,
    usage,
    log,
    addressOf: (secret) => addresses.get(secret) ?? secret,
    verifier(secret) {
      const found = verifiers.get(addresses.get(secret) ?? secret);
      if (found !== undefined) return found;
      throw new KeyturnError('secret-unknown', `This receiver was not opened with the secret ${secret}.`, {
        hint: `It has ${[...addresses.keys()].join(', ')}.`,
      });
    },
    async close() {
      await usage.close();
      await cache.close();
      await stores.close();
    },
  };
}

/** By the name that the caller used. */
async function chosenSecrets(
  policy: Policy,
  { secrets, environment = process.env['KEYTURN_ENV'] }: OpenReceiverOptions,
): Promise<ReadonlyMap<string, SecretPolicy>> {
  if (secrets.length === 0) {
    throw new KeyturnError('usage', 'A receiver was opened without secrets.', {
      hint: 'Name them: secrets: ["my-hook"].',
    });
  }
  const { resolveAddress } = await import('../src/model/policy/parse.ts');
  return new Map(secrets.map((name) => [name, resolveAddress(policy, name, { environment })]));
}

function refreshInterval(refreshEvery: string | undefined, secrets: readonly SecretPolicy[]): number {
  if (refreshEvery === undefined) return Math.min(...secrets.map(({ receivers }) => receivers.refreshEveryMs));
  const ms = parseDuration(refreshEvery);
  if (ms !== null && ms > 0) return ms;
  throw new KeyturnError('usage', `refreshEvery is ${JSON.stringify(refreshEvery)}, which is no duration.`, {
    hint: 'Write it like "500ms", "30s" or "15m".',
  });
}

/** Secrets of one receiver may live in several stores: each read goes where its secret is. */
function acrossStores(secrets: readonly SecretPolicy[], open: (name: string) => Promise<SecretStore>): KeyringReader {
  const storeOf = new Map(secrets.map(({ secret, store }) => [secret, store]));
  return {
    async read(names) {
      const groups = Map.groupBy(names, ({ secret }) => storeOf.get(secret) ?? '');
      const reads = await Promise.all(
        [...groups].map(async ([name, group]): Promise<readonly [string, StoreRead][]> => {
          try {
            return [...(await (await open(name)).read(group))];
          } catch (error) {
            const failure = isKeyturnError(error)
              ? error
              : new KeyturnError('store-unreachable', `The store ${name} failed: ${messageOf(error)}`, {
                  cause: error,
                });
            return group.map(({ secret }) => [secret, { state: 'failed', error: failure }]);
          }
        }),
      );
      return new Map(reads.flat());
    },
  };
}

export interface OpenOrchestratorOptions {
  /** The policy's file, or a policy that `loadPolicy` gave; default as for the CLI. */
  readonly policy?: string | Policy;
  /** Default: none. */
  readonly log?: Log;
  /** The command that it is opened for, as the audit trail tells it; default: none, for a call of the library. */
  readonly command?: string;
}

export interface OpenedOrchestrator {
  readonly orchestrator: Orchestrator;
  readonly close: () => Promise<void>;
}

/** What the CLI calls. Throws `policy-missing`, `policy-invalid`, and the journal's errors. */
export async function openOrchestrator(options: OpenOrchestratorOptions = {}): Promise<OpenedOrchestrator> {
  const policy = await parsedPolicy(options.policy);
  const { Orchestrator } = await import('../src/orchestrator/orchestrator.ts');
  const watched = watchedBy(options.log ?? silentLog);
  const stores = storesOf(policy, watched);
  const opened = await registry.journals[policy.journal.kind](
    policy.journal,
    surroundings,
    journalCredentials(policy, watched),
  );
  const journal = withOrigin(opened, originOf(options.command ?? null));
  const usage = await registry.usage[policy.usage.kind](policy.usage, surroundings);
  const who = `${userName()}@${hostname()}`;
  const processes = localProcesses();
  const orchestrator = new Orchestrator({
    ...surroundings,
    policy,
    journal: tracedJournal(journal, watched),
    leases: tracedLeases(journal, watched),
    usage: tracedUsageLog(usage, watched),
    store: (name) => stores.open(name),
    upstream: async (secret) => {
      const credential = credentialsOf(policy, secret, watched);
      return tracedUpstream(await registry.upstreams[secret.upstream.kind](secret, surroundings, credential), watched);
    },
    canary: async ({ secret, canary }) => {
      if (canary === undefined) throw new KeyturnError('policy-invalid', `The policy of ${secret} has no canary.`);
      return tracedCanary(await registry.canaries.http(secret, canary, surroundings), watched);
    },
    log: watched.log,
    who,
    holder: { name: `${who}, process ${String(process.pid)}`, process: processes.self() },
    processes,
  });
  const close = async (): Promise<void> => {
    await usage.close();
    await journal.close();
    await stores.close();
  };
  return { orchestrator, close };
}

function originOf(command: string | null): Origin {
  return { host: hostname(), pid: process.pid, version: userAgent(), command };
}

/** The audit key, which has to be long enough that nobody finds it by trying. */
export function journalCredentials(policy: Policy, { log }: Watched): PartCredential {
  return async (name, reference) => {
    const { value } = await readAuditKey(reference, dirname(policy.source), name);
    log.remember(value);
    return value;
  };
}

const shortestAuditKey = 32;

async function readAuditKey(reference: CredentialReference, folder: string, name = 'auditKey'): Promise<Credential> {
  const read = await readCredential(reference, { folder, env: process.env, name, of: 'the journal' });
  if (read.value.length >= shortestAuditKey) return read;
  throw new KeyturnError('credential-missing', `The credential ${name} of the journal is shorter than 32 characters.`, {
    hint: 'Make one that nobody can guess: openssl rand -hex 32',
  });
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A user id without an entry in the password file, as containers have it.
    return `user ${String(process.getuid?.() ?? '')}`;
  }
}

function credentialsOf(
  policy: Policy,
  { secret, upstream }: SecretPolicy,
  { log }: Watched,
): (name: string) => Promise<string> {
  return async (name) => {
    const reference = upstream.credentials[name];
    if (reference === undefined) {
      throw new KeyturnError('policy-invalid', `The upstream of ${secret} has no credential ${name}.`);
    }
    const folder = dirname(policy.source);
    const { value } = await readCredential(reference, { folder, env: process.env, name, of: secret });
    log.remember(value);
    return value;
  };
}

/** One sentence for each credential of the policy that cannot be read here, or is kept carelessly. */
export async function credentialWarnings(policy: Policy): Promise<readonly string[]> {
  const findings = await credentialFindings(policy, policy.secrets);
  return findings.map(({ message, hint }) => (hint === null ? message : `${message} ${hint}`));
}

/**
 * Each credential that cannot be read here, or is kept carelessly. For a receiver those of the stores alone: it reads no
 * others.
 */
export async function credentialFindings(
  policy: Policy,
  secrets: readonly SecretPolicy[],
  use: StoreUse = 'orchestrator',
): Promise<readonly ProbeFinding[]> {
  const folder = dirname(policy.source);
  const ofStores = Object.entries(policy.stores).flatMap(([name, store]) =>
    storeWarnings(store, `the store ${name}`, folder),
  );
  const all = use === 'receiver' ? ofStores : [...ofStores, ...orchestratorWarnings(policy, secrets, folder)];
  const findings = all.map(async (warning): Promise<readonly ProbeFinding[]> => {
    try {
      const message = await warning;
      return message === null ? [] : [{ name: 'credential', state: 'warning', message, hint: null }];
    } catch (error) {
      if (!isKeyturnError(error)) throw error;
      return [failed('credential', error)];
    }
  });
  return (await Promise.all(findings)).flat();
}

/** What is said of each credential that the orchestrator alone reads; each throws where it does not work. */
function orchestratorWarnings(
  { journal: { auditKey } }: Policy,
  secrets: readonly SecretPolicy[],
  folder: string,
): readonly Promise<string | null>[] {
  const ofUpstreams = secrets.flatMap(({ secret, upstream }) =>
    Object.entries(upstream.credentials).map(
      async ([name, reference]) =>
        (await readCredential(reference, { folder, env: process.env, name, of: secret })).warning,
    ),
  );
  return auditKey === null
    ? ofUpstreams
    : [...ofUpstreams, readAuditKey(auditKey, folder).then(({ warning }) => warning)];
}

/** What is said of each credential of a store that works; each throws where it does not. */
function storeWarnings(store: StorePolicy, of: string, folder: string): readonly Promise<string | null>[] {
  if (store.kind === 'file') return store.age === null ? [] : [identityWarning(store.age, of, folder)];
  return storeReferences(store).map(
    async ([name, reference]) => (await readCredential(reference, { folder, env: process.env, name, of })).warning,
  );
}

/** By their place in the policy. */
function storeReferences(store: StorePolicy): readonly (readonly [string, CredentialReference])[] {
  if (store.kind === 'file') return [];
  if (store.kind === 'aws') {
    const named = Object.entries(store.credentials ?? {}) as [string, CredentialReference | null][];
    return named.flatMap(([name, reference]) => (reference === null ? [] : [[`credentials.${name}`, reference]]));
  }
  if (store.kind === 'google') return store.credentials === null ? [] : [['credentials', store.credentials]];
  const { auth } = store;
  if (auth.kind === 'token') return [['auth.token', auth.token]];
  if (auth.kind === 'kubernetes') return [['auth.tokenFile', { file: auth.tokenFile }]];
  return [
    ['auth.roleId', auth.roleId],
    ['auth.secretId', auth.secretId],
  ];
}

/** What is said of an identity that works; throws where nothing could be encrypted with it, or read again. */
async function identityWarning(
  { identity, recipients }: AgePolicy,
  of: string,
  folder: string,
): Promise<string | null> {
  const context = { folder, env: process.env, name: 'age.identity', of, isKeyFile: true };
  const { value, warning } = await readCredential(identity, context);
  const { AgeCipher } = await import('./stores/file/age.ts');
  const cipher = new AgeCipher({ identity: () => Promise.resolve(value), recipients }, of);
  await (await cipher.keys()).encrypt('');
  return warning;
}
