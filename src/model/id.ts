const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/** What an id is of: it is the id's first letter, so that a reader of a log knows. */
export type IdKind =
  'version' | 'run' | 'commit' | 'journal' | 'intent' | 'receiver' | 'request' | 'message' | 'migration';

const letters: Readonly<Record<IdKind, string>> = {
  version: 'v',
  run: 'r',
  commit: 'c',
  journal: 'j',
  intent: 'i',
  receiver: 'w',
  request: 'q',
  message: 'm',
  migration: 'g',
};

/** How many random bytes an id takes; 50 bits of them end up in it. */
export const idBytes = 10;

/** An id from random bytes: the kind's letter and ten characters of Crockford's base 32. */
export function idFrom(kind: IdKind, random: Uint8Array): string {
  if (random.length < idBytes) throw new RangeError(`an id takes ${String(idBytes)} random bytes`);
  let id = letters[kind];
  for (const byte of random.subarray(0, idBytes)) id += alphabet.charAt(byte & 31);
  return id;
}
