import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { TextDecoder } from 'node:util';
import { KeyturnError } from '../../../src/model/errors.ts';
import { shellWord } from '../../../src/model/shell.ts';
import { syncFolder, systemCode } from '../../files.ts';
import { refuseForeignOwner, refuseOpenMode, type Owners, type Permissions } from './permissions.ts';

/** What is kept in a file, for messages. */
export interface Kept {
  /** Where the file is. */
  readonly place: string;
  /** The beginning of a sentence: `The keyring of production/hook`. */
  readonly what: string;
  /** What to do where its content is of no use. */
  readonly mend: string;
}

/** Temporary files have the name of their writer's lock in theirs. */
const temporaryPrefix = (lock: string): string => `.tmp-${lock}-`;

const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * The whole file, or null where there is none; anything that is not a private, plain file of ours is refused. It blocks
 * the thread for some microseconds: documents are small, on a disk of this machine, and mostly in its memory already,
 * and to ask for one asynchronously takes ten times as long, and leaves as much more garbage. Whoever reads many lets the
 * event loop turn in between.
 */
export function readWhole(
  kept: Kept,
  limits: { readonly owners: Owners; readonly permissions: Permissions; readonly maxBytes: number },
): Buffer | null {
  const { place } = kept;
  const away = `Move it away, and put the file itself there: ${shellWord(place)}`;
  let file: number;
  try {
    file = openSync(place, readFlags);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT') return null;
    if (code === 'ELOOP') throw corrupt(kept, 'it is a symbolic link, and links are not followed here', away);
    if (code === 'ENXIO') throw corrupt(kept, 'it is no regular file', away);
    throw error;
  }
  try {
    const found = fstatSync(file);
    if (found.isDirectory()) throw corrupt(kept, 'it is a folder, not a file', away);
    if (!found.isFile()) throw corrupt(kept, 'it is no regular file', away);
    refuseForeignOwner(place, found, limits.owners);
    refuseOpenMode(place, found, limits.permissions);
    if (found.size > limits.maxBytes) throw corrupt(kept, tooLong(found.size, limits.maxBytes));
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

export function tooLong(bytes: number, maxBytes: number): string {
  return `it takes ${String(bytes)} bytes, and at most ${String(maxBytes)} are read`;
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Strictly: a file with a stray byte was touched by something that is not keyturn. */
export function decode(bytes: Uint8Array, kept: Kept): string {
  let text: string;
  try {
    text = strict.decode(bytes);
  } catch {
    throw corrupt(kept, 'it is not valid UTF-8');
  }
  if (text.startsWith('\uFEFF')) throw corrupt(kept, 'it begins with a byte order mark', 'Save it again without one.');
  return text;
}

export function corrupt({ place, what, mend }: Kept, why: string, hint = mend): KeyturnError {
  return new KeyturnError('store-corrupt', `${what} in ${place} cannot be used: ${why}.`, {
    hint,
    details: { path: place },
  });
}

/**
 * Readers see the old file or the new one, whole, at every moment and after a power cut. The mode is set before the
 * first byte is written, and by name: a umask cannot change it. False, and nothing changed, where `isRight` says at the
 * last moment that it is not to be replaced.
 *
 * For the holder of that lock, and therefore synchronous: each turn of the event loop in between would be another wait for
 * the processor, with all who want the same lock waiting for this one.
 */
export function replaceFile(
  place: string,
  content: string | Uint8Array,
  { permissions, lock }: { readonly permissions: Permissions; readonly lock: string },
  isRight: () => boolean = () => true,
): boolean {
  const temporary = join(dirname(place), `${temporaryPrefix(lock)}${String(process.pid)}-${randomUUID()}`);
  let replaced = false;
  try {
    const file = openSync(temporary, 'wx', 0o600);
    try {
      if (permissions.gid !== null) fchownSync(file, process.geteuid?.() ?? -1, permissions.gid);
      fchmodSync(file, permissions.fileMode);
      writeFileSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    if (isRight()) {
      renameSync(temporary, place);
      replaced = true;
    }
  } finally {
    if (!replaced) rmSync(temporary, { force: true });
  }
  if (replaced) syncFolder(dirname(place));
  return replaced;
}

/**
 * Only for the holder of that lock: any temporary file of it was left by a writer that is dead. Those of other locks may
 * be somebody's who writes now.
 */
export function removeTemporaries(folder: string, lock: string): void {
  for (const entry of readdirSync(folder)) {
    if (basename(entry).startsWith(temporaryPrefix(lock))) rmSync(join(folder, entry), { force: true });
  }
}
