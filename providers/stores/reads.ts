import pLimit from 'p-limit';
import { isKeyturnError } from '../../src/model/errors.ts';
import type { StoreName, StoreRead } from '../../src/ports/secret-store.ts';

/** What reading one keyring gives where nothing failed. */
export type Readable = Exclude<StoreRead, { readonly state: 'failed' }>;

/** Where each has to be asked for by itself, and takes a connection while it is. */
export const readsAtOnce = 16;

/** By secret; what one read throws is the failure of that secret alone. */
export async function readEach(
  names: readonly StoreName[],
  readOne: (name: StoreName) => Promise<Readable>,
  atOnce = readsAtOnce,
): Promise<ReadonlyMap<string, StoreRead>> {
  const reads = await pLimit(atOnce).map(names, async (name): Promise<readonly [string, StoreRead]> => {
    try {
      return [name.secret, await readOne(name)];
    } catch (error) {
      if (isKeyturnError(error)) return [name.secret, { state: 'failed', error }];
      throw error;
    }
  });
  return new Map(reads);
}
