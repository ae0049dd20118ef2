import { createHmac } from 'node:crypto';
import { createSecretCache } from '../../src/cache/cache.ts';
import type { SecretCache } from '../../src/cache/types.ts';
import type { Keyring } from '../../src/model/keyring.ts';
import { logOf, type Log, type LogFields, type LogLevel } from '../../src/ports/log.ts';
import { createSeededRandom } from '../../src/memory/clock.ts';
import type { UsageReporter } from '../../src/usage/types.ts';
import type { Receiver } from '../../src/webhook/receiver.ts';
import { createVerifier } from '../../src/webhook/verifier.ts';
import { add, committed, createWorld, promote, settled, steady, valueOf, type World } from '../cache/support.ts';

export const header = 'x-hub-signature-256';

/** Computed with Node's own HMAC, by nothing of ours. */
export function signatureOf(value: string, body: Uint8Array | string): string {
  return `sha256=${createHmac('sha256', value).update(body).digest('hex')}`;
}

export function signed(version: string, body: Uint8Array | string): Record<string, string> {
  return { [header]: signatureOf(valueOf(version), body) };
}

export interface RecordingUsage extends UsageReporter {
  readonly calls: readonly string[];
}

export function createRecordingUsage(): RecordingUsage {
  const calls: string[] = [];
  return {
    calls,
    matched: (secret, version, exclusive) => void calls.push(`matched ${secret} ${version} ${String(exclusive)}`),
    answered: (secret, version, ok) => void calls.push(`answered ${secret} ${version} ${String(ok)}`),
    flush: async () => true,
    close: async () => {},
  };
}

export interface LogLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

export interface RecordingLog extends Log {
  readonly lines: readonly LogLine[];
  /** Resolves with the first line, past or future, that has this reason. */
  withReason(reason: string): Promise<LogLine>;
}

export function createRecordingLog(): RecordingLog {
  const lines: LogLine[] = [];
  const waiters = new Set<() => void>();
  const log = logOf((level) => (message, fields = {}) => {
    lines.push({ level, message, fields });
    for (const wake of waiters) wake();
  });
  const withReason = (reason: string): Promise<LogLine> =>
    new Promise((resolve) => {
      const look = (): void => {
        const line = lines.find(({ fields }) => fields['reason'] === reason);
        if (line === undefined) return;
        waiters.delete(look);
        resolve(line);
      };
      waiters.add(look);
      look();
    });
  return { lines, ...log, withReason };
}

export interface TestReceiver extends Receiver {
  readonly world: World;
  /** The keyring of `hook`. */
  readonly hook: Keyring;
  readonly cache: SecretCache;
  readonly usage: RecordingUsage;
  readonly log: RecordingLog;
}

/** Holds `hook` with versions v2 (primary) and v1, `verify-token` with t1, and `lost` of which nothing could be loaded. */
export async function openTestReceiver(): Promise<TestReceiver> {
  const world = createWorld();
  const hook = committed(settled('hook'), add('v2'), promote('v2'));
  await world.put(hook);
  await world.put(settled('verify-token', 't1'));
  const { clock, store } = world;
  const log = createRecordingLog();
  const usage = createRecordingUsage();
  const cache = createSecretCache({ store, secrets: ['hook', 'verify-token', 'lost'], clock, random: steady });
  await cache.ready().catch(() => {});
  return {
    ...{ world, hook, cache, usage, log, clock, random: createSeededRandom(7) },
    addressOf: (secret) => secret,
    verifier: (secret) => createVerifier({ cache, secret, scheme: 'github', usage, clock, log }),
    close: () => cache.close(),
  };
}
