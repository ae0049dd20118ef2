import { isKeyturnError, KeyturnError, messageOf } from '../model/errors.ts';
import type { SecretPolicy } from '../model/policy.ts';
import type { StoreRead } from '../ports/secret-store.ts';
import type { Parts } from './parts.ts';

/** How many keyrings are asked for at a time, so that not all of them are in memory at once. */
export const batchSize = 500;

export interface ManyRead {
  readonly policy: SecretPolicy;
  readonly read: StoreRead;
}

/** Reads many keyrings, batch by batch and store by store. A store that fails as a whole fails for each of its secrets. */
export async function* readMany(
  parts: Parts,
  policies: readonly SecretPolicy[],
): AsyncGenerator<readonly ManyRead[], void, undefined> {
  for (const [name, group] of Map.groupBy(policies, (policy) => policy.store)) {
    for (let start = 0; start < group.length; start += batchSize) {
      yield readBatch(parts, name, group.slice(start, start + batchSize));
    }
  }
}

async function readBatch(parts: Parts, name: string, batch: readonly SecretPolicy[]): Promise<readonly ManyRead[]> {
  try {
    const store = await parts.store(name);
    const reads = await store.read(batch.map(({ secret, key }) => ({ secret, key })));
    return batch.map((policy) => ({ policy, read: reads.get(policy.secret) ?? { state: 'absent', token: null } }));
  } catch (error) {
    const failure = isKeyturnError(error)
      ? error
      : new KeyturnError('store-unreachable', `The store ${name} failed: ${messageOf(error)}`, { cause: error });
    return batch.map((policy) => ({ policy, read: { state: 'failed', error: failure } }));
  }
}
