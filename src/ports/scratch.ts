import { idBytes, idFrom } from '../model/id.ts';
import type { StoreName } from './secret-store.ts';
import type { Random } from './system.ts';

/** Names that no secret of anybody has: what is kept under one was made to be removed again. */

const prefix = 'keyturn-doctor-';

/** A fresh name, for a keyring that nobody needs. */
export function scratchName(random: Pick<Random, 'bytes'>): StoreName {
  const secret = `${prefix}${idFrom('version', random.bytes(idBytes))}`;
  return { secret, key: secret };
}

/** Throws `RangeError` for any other name: nothing that a secret is kept under is ever erased. */
export function requireScratch({ secret, key }: StoreName): void {
  if (/^keyturn-doctor-[0-9a-z]+$/.test(secret) && key.endsWith(secret)) return;
  throw new RangeError('only what was made to be removed again is erased');
}
