import { formatKeyring } from '../../src/model/document.ts';
import { isKeyturnError } from '../../src/model/errors.ts';
import { commitIdOf, type Keyring } from '../../src/model/keyring.ts';
import type { StoreName, StoreToken } from '../../src/ports/secret-store.ts';
import { storeConflict } from '../../src/ports/store-errors.ts';
import type { Readable } from './reads.ts';

/** What a store offers whose server compares before it writes. */
export interface ComparedWrites {
  /** For people, within a sentence: `the Vault store at … at "hook"`. */
  readonly place: string;
  /** What is there now; throws where that cannot be told, and for what was deleted. */
  readonly read: () => Promise<Readable>;
  /** False where something else is there than what is to be replaced. */
  readonly write: (text: string) => Promise<boolean>;
}

/**
 * Commits once, whatever becomes of the answers. Reads first: the same commit may have been done before, and what somebody
 * deleted or put there meanwhile is not written over. Throws `store-conflict`, and what `read` and `write` throw.
 */
export async function commitCompared(
  { secret, key }: StoreName,
  keyring: Keyring,
  expected: StoreToken,
  { place, read, write }: ComparedWrites,
): Promise<void> {
  const commit = commitIdOf(keyring, secret);
  const text = formatKeyring(keyring);
  /** Throws where something else is there than what the commit was made for. */
  const isCommitted = async (): Promise<boolean> => {
    const found = await read();
    const stored = found.state === 'present' ? found.keyring : null;
    if (stored?.commits.includes(commit) === true) return true;
    if (found.token === expected) return false;
    const now = stored === null ? 'it is not there' : `it is at revision ${String(stored.revision)}`;
    throw storeConflict(secret, place, { key, revision: stored?.revision ?? null }, now);
  };
  if (await isCommitted()) return;
  try {
    if (await write(text)) return;
  } catch (error) {
    if (!isKeyturnError(error, 'store-unreachable')) throw error;
    // It may have been done all the same.
    if (await isCommitted().catch(() => false)) return;
    throw error;
  }
  if (await isCommitted()) return;
  throw storeConflict(secret, place, { key });
}
