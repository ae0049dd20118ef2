import { chmod, chown, realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isKeyturnError, KeyturnError } from '../../../src/model/errors.ts';
import type { Clock } from '../../../src/ports/system.ts';
import { groupId, makeFolder, systemCode } from '../../files.ts';
import { lockOf, withDocumentLock } from './lock.ts';
import type { DocumentPath } from './name.ts';
import { FolderChecks, type Permissions } from './permissions.ts';

/** What could not be done with something in the folder. */
export type Done = 'read' | 'written' | 'purged' | 'removed';

export interface StoreFolderOptions {
  readonly path: string;
  readonly group: string | null;
  readonly clock: Clock;
  readonly lockTimeoutMs: number;
}

/** The folder of a file store: who may use what is in it, who writes to it now, and the system's errors in our words. */
export class StoreFolder {
  readonly root: string;
  readonly label: string;
  readonly permissions: Permissions;
  readonly #clock: Clock;
  readonly #lockTimeoutMs: number;

  /** Throws `policy-invalid` for a group that does not exist. */
  constructor({ path, group, clock, lockTimeoutMs }: StoreFolderOptions) {
    const gid = groupId(group);
    this.root = resolve(path);
    this.label = `file store at ${this.root}`;
    this.permissions = { gid, fileMode: gid === null ? 0o600 : 0o640, folderMode: gid === null ? 0o700 : 0o750 };
    this.#clock = clock;
    this.#lockTimeoutMs = lockTimeoutMs;
  }

  checks(): FolderChecks {
    return new FolderChecks(this.root, this.permissions);
  }

  /**
   * Runs `work` as the only writer of that document, with the folders above it there and as they should be. It gets the
   * name of its lock.
   */
  async asWriter<T>(path: DocumentPath, work: (lock: string) => T | Promise<T>): Promise<T> {
    const { folders } = path;
    await this.#prepare(this.root);
    // Before the lock, so that nothing of ours is left in a folder that is refused.
    this.checks().check([]);
    return this.locked(path, async (lock) => {
      // Before they are made, so that nothing is made behind a link.
      this.checks().check(folders);
      for (const folder of folders) await this.#prepare(join(this.root, folder));
      return work(lock);
    });
  }

  /** Runs `work` as the only writer of that document, in a folder that is there. It gets the name of its lock. */
  async locked<T>({ file }: DocumentPath, work: (lock: string) => T | Promise<T>): Promise<T> {
    const folder = await realpath(this.root);
    const lock = lockOf(file);
    return withDocumentLock({ folder, lock, clock: this.#clock, timeoutMs: this.#lockTimeoutMs }, () => work(lock));
  }

  /** Makes the folder where it is missing, and lets the group into one of ours that was made before there was a group. */
  async #prepare(folder: string): Promise<void> {
    const { gid, folderMode } = this.permissions;
    makeFolder(folder, { mode: folderMode, gid });
    if (gid === null) return;
    const found = await stat(folder);
    if (found.uid !== process.geteuid?.()) return;
    if (found.gid !== gid) await chown(folder, -1, gid);
    if ((found.mode & 0o050) !== 0o050) await chmod(folder, (found.mode | 0o050) & 0o7777);
  }

  /**
   * The system's errors in our words. Anything else is a mistake in the program and passes as it is. `what` is the
   * beginning of a sentence: `The keyring of production/hook`.
   */
  explain(error: unknown, what: string, done: Done, details: Readonly<Record<string, unknown>>): KeyturnError {
    if (isKeyturnError(error)) return error;
    const code = systemCode(error);
    if (code === null) throw error;
    const sentence = `${what} in the ${this.label} cannot be ${done}`;
    const options = { cause: error, details: { ...details, path: this.root, system: code } };
    if (deniedCodes.has(code)) {
      const hint =
        this.permissions.gid === null
          ? 'Run as the user who owns the folder; the folders above it must let that user through.'
          : 'Run as its owner or a member of its group; the folders above it must let the group through (x).';
      return new KeyturnError('store-denied', `${sentence}: permission denied (${code}).`, { ...options, hint });
    }
    const [reason, hint] = unreachableReasons[code] ?? ['the system refused it', 'Check the disk and the path.'];
    return new KeyturnError('store-unreachable', `${sentence}: ${reason} (${code}).`, { ...options, hint });
  }
}

const deniedCodes: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EROFS']);

/** By system code: what is wrong, and what to do. */
const unreachableReasons: Readonly<Record<string, readonly [string, string]>> = {
  ENOTDIR: ['a part of the path is a file, not a folder', 'Name a folder in the policy, or move that file away.'],
  ELOOP: ['its symbolic links go round in circles', 'Name a real folder in the policy.'],
  ENAMETOOLONG: ['the path is too long', 'Put the store nearer to the root of the file system.'],
  ENOSPC: ['the disk is full', 'Free some space, then try again.'],
  EDQUOT: ['the disk quota is used up', 'Free some space, then try again.'],
  EIO: ['the disk reports an error', 'Check the health of the disk.'],
  ESTALE: ['the network file system lost it', 'Mount it again.'],
  EMFILE: ['too many files are open in this process', 'Raise its limit of open files (ulimit -n).'],
  ENFILE: ['too many files are open on this machine', 'Raise its limit of open files.'],
};
