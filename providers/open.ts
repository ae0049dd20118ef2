import { hostname, userInfo } from 'node:os';
import { dirname } from 'node:path';
import { createSecretCache } from '../src/cache/cache.ts';
import type { SecretCache } from '../src/cache/types.ts';
import { parseDuration } from '../src/model/duration.ts';
import { isKeyturnError, KeyturnError, messageOf } from '../src/model/errors.ts';
import type { Policy, SecretPolicy } from '../src/model/policy.ts';
import type { Orchestrator } from '../src/orchestrator/orchestrator.ts';
import { fromLevel, linesLog, silentLog, type Log } from '../src/ports/log.ts';
import { withOrigin, type Origin } from '../src/ports/origin.ts';
import { realClock } from '../src/ports/real.ts';
import type { KeyringReader, SecretStore, StoreRead } from '../src/ports/secret-store.ts';
import { tracedCanary, tracedJournal, tracedLeases, tracedUpstream, tracedUsageLog } from '../src/ports/trace.ts';
import { createUsageReporter } from '../src/usage/reporter.ts';
import type { UsageReporter } from '../src/usage/types.ts';
import { createVerifier, type Verifier } from '../src/webhook/verifier.ts';
import type { Receiver } from '../src/webhook/receiver.ts';
import { readCredential } from './credentials.ts';
import { localProcesses } from './processes.ts';
import { registry } from './registry.ts';
import { userAgent } from './version.ts';
import { journalCredentials, storesOf, surroundings, watchedBy, type Watched } from './watched.ts';

/** The composition root: policy → opened adapters. Nothing else in keyturn knows which adapter is behind a port. */

async function parsedPolicy(policy: string | Policy | undefined): Promise<Policy> {
  if (typeof policy === 'object') return policy;
  const { loadPolicy } = await import('./policy-file.ts');
  return (await loadPolicy(policy, process.env)).policy;
}

export { credentialWarnings } from './credential-findings.ts';

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
  const { resolveAddress } = await import('../src/model/policy/find.ts');
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
