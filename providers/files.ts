import {
  chmodSync,
  chownSync,
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { KeyturnError } from '../src/model/errors.ts';
import { shellWord } from '../src/model/shell.ts';

/** The `code` of a system error, such as `ENOENT`; null for anything else. */
export function systemCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}

/** Permission bits the way `chmod` takes them: `600`. */
export function modeText(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(3, '0');
}

/**
 * The id of a group by its name; null for no name. The machine's own list is read, and nothing is started to ask a
 * directory service: a group that lives there is written by its number. Throws `policy-invalid` for an unknown one.
 */
export function groupId(name: string | null, list = '/etc/group'): number | null {
  if (name === null) return null;
  if (/^\d{1,9}$/.test(name)) return Number(name);
  for (const line of groupLines(list)) {
    const [found, , id] = line.split(':');
    if (found === name && id !== undefined && /^\d+$/.test(id)) return Number(id);
  }
  throw new KeyturnError('policy-invalid', `The group ${JSON.stringify(name)} is not in ${list}.`, {
    hint: `Create it with: groupadd ${shellWord(name)} - or write its number in the policy.`,
    details: { group: name },
  });
}

function groupLines(list: string): readonly string[] {
  try {
    return readFileSync(list, 'utf8').split('\n');
  } catch (error) {
    throw new KeyturnError(
      'policy-invalid',
      `The group list ${list} cannot be read (${systemCode(error) ?? 'unknown'}).`,
      {
        hint: 'Write the number of the group in the policy.',
        cause: error,
      },
    );
  }
}

export interface FolderOptions {
  readonly mode: number;
  /** The group of every folder made on the way; null: the process's own. */
  readonly gid: number | null;
}

/**
 * Makes a folder and what is missing above it, each durable and with exactly this mode, whatever the umask is.
 * Folders that exist are left as people made them. Throws the system's error.
 */
export function makeFolder(path: string, options: FolderOptions): void {
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent, options);
  try {
    mkdirSync(path, options.mode);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return;
    throw error;
  }
  if (options.gid !== null) chownSync(path, -1, options.gid);
  chmodSync(path, options.mode);
  syncFolder(parent);
}

/**
 * Makes an empty file with exactly this mode, whatever the umask is; false where there is one, which is not opened. Made
 * by root, it belongs to the folder's owner, who would else be shut out by one command run with sudo.
 */
export function makeFile(path: string, { mode, gid }: FolderOptions): boolean {
  let file: number;
  try {
    file = openSync(path, 'wx', mode);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
  try {
    if (process.geteuid?.() === 0) fchownSync(file, statSync(dirname(path)).uid, -1);
    if (gid !== null) fchownSync(file, -1, gid);
    fchmodSync(file, mode);
    return true;
  } finally {
    closeSync(file);
  }
}

/** Makes a rename or a new entry in this folder survive a power cut. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
