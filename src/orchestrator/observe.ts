import { isKeyturnError, KeyturnError, messageOf } from '../model/errors.ts';
import type { SecretPolicy } from '../model/policy.ts';
import type { Observation, UsageRead } from '../decide/observation.ts';
import type { StoreRead } from '../ports/secret-store.ts';
import type { Parts } from './parts.ts';
import { tellSeen } from './tell.ts';

export interface Looking {
  readonly token: number | null;
  readonly retrySince: number | null;
}

/**
 * Reads everything that `decide` looks at. Failures are part of what is seen: it never throws. The store is read after
 * the usage log, so that no receiver can be ahead of it but where the store was put back.
 */
export async function observe(parts: Parts, policy: SecretPolicy, looking: Looking): Promise<Observation> {
  const from = parts.clock.monotonic();
  const usage = await readUsage(parts, policy);
  const store = await readStore(parts, policy);
  const seen: Observation = { journal: parts.journal.id, ...store, usage, ...looking };
  tellSeen(parts.log, policy.secret, seen, parts.clock.monotonic() - from);
  return seen;
}

async function readStore(
  parts: Parts,
  policy: SecretPolicy,
): Promise<Pick<Observation, 'keyring' | 'propagationLagMs'>> {
  try {
    const store = await parts.store(policy.store);
    const reads = await store.read([{ secret: policy.secret, key: policy.key }]);
    const keyring: StoreRead = reads.get(policy.secret) ?? { state: 'absent', token: null };
    return { keyring, propagationLagMs: store.capabilities.propagationLagMs };
  } catch (error) {
    return { keyring: { state: 'failed', error: asKeyturnError(error, 'store-unreachable') }, propagationLagMs: 0 };
  }
}

export async function readUsage(parts: Parts, policy: Pick<SecretPolicy, 'secret'>): Promise<UsageRead> {
  try {
    return { state: 'read', evidence: await parts.usage.evidence(policy.secret) };
  } catch (error) {
    return { state: 'failed', error: asKeyturnError(error, 'usage-unreachable') };
  }
}

function asKeyturnError(error: unknown, code: 'store-unreachable' | 'usage-unreachable'): KeyturnError {
  return isKeyturnError(error) ? error : new KeyturnError(code, messageOf(error), { cause: error });
}
