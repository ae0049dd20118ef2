import { lstatSync, statSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { KeyturnError } from '../../../src/model/errors.ts';
import { shellWord } from '../../../src/model/shell.ts';
import { modeText, systemCode } from '../../files.ts';

/** What every document and folder of the store must look like. */
export interface Permissions {
  readonly gid: number | null;
  readonly fileMode: number;
  readonly folderMode: number;
}

/** Users that a document may belong to. */
export type Owners = ReadonlySet<number>;

/**
 * Looks at each folder once per read, however many documents are in it: whoever can write to a folder can put another
 * document there. As with the documents themselves, the look is synchronous: see `disk.ts`.
 */
export class FolderChecks {
  readonly #root: string;
  readonly #permissions: Permissions;
  #owners: Owners | null = null;
  /** Those that are there and as they should be. */
  readonly #checked = new Set<string>();

  constructor(root: string, permissions: Permissions) {
    this.#root = root;
    this.#permissions = permissions;
  }

  /** Who may own what is in there; null when one of the folders is missing, and with it all that would be inside. */
  check(folders: readonly string[]): Owners | null {
    const owners = (this.#owners ??= this.#checkRoot());
    if (owners === null) return null;
    for (const folder of folders) {
      if (this.#checked.has(folder)) continue;
      if (!this.#checkFolder(join(this.#root, folder), owners)) return null;
      this.#checked.add(folder);
    }
    return owners;
  }

  /** The root may be a symbolic link: its path is the operator's own word. With a group, its owner owns the documents. */
  #checkRoot(): Owners | null {
    const found = statIfThere(this.#root);
    if (found === null) return null;
    const owners = new Set([0, process.geteuid?.() ?? found.uid]);
    if (this.#permissions.gid !== null && found.gid === this.#permissions.gid) owners.add(found.uid);
    refuseForeignFolder(this.#root, found, owners);
    return owners;
  }

  #checkFolder(path: string, owners: Owners): boolean {
    const found = statIfThere(path, lstatSync);
    if (found === null) return false;
    if (found.isSymbolicLink()) throw refusedLink(path);
    refuseForeignFolder(path, found, owners);
    return true;
  }
}

function statIfThere(path: string, look: (path: string) => Stats = statSync): Stats | null {
  try {
    return look(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function refuseForeignFolder(path: string, found: Stats, owners: Owners): void {
  if (!found.isDirectory()) throw noFolder(path, 'is no folder');
  refuseForeignOwner(path, found, owners);
  if ((found.mode & 0o022) !== 0) {
    throw denied(path, `others may write to it (mode ${modeText(found.mode)})`, `chmod go-w ${shellWord(path)}`);
  }
}

export function refuseForeignOwner(path: string, found: Stats, owners: Owners): void {
  if (owners.has(found.uid)) return;
  const us = process.geteuid?.() ?? found.uid;
  throw denied(
    path,
    `it belongs to user ${String(found.uid)}, who is neither this process's user (${String(us)}) nor root`,
    `chown ${String(us)} ${shellWord(path)}`,
    `Run keyturn as user ${String(found.uid)}, or, if you trust what is in there, run:`,
  );
}

function noFolder(path: string, is: string): KeyturnError {
  return new KeyturnError('store-unreachable', `The file store cannot be used: ${path} ${is}.`, {
    hint: 'Put a real folder there, or name the right one in the policy.',
    details: { path },
  });
}

function refusedLink(path: string): KeyturnError {
  return new KeyturnError(
    'store-denied',
    `The folder ${path} is refused: it is a symbolic link, and what is read would be somewhere else.`,
    {
      hint: 'Put a real folder there. Only the folder of the store itself, as the policy names it, may be a link.',
      details: { path },
    },
  );
}

function denied(
  path: string,
  why: string,
  command: string,
  first = 'Make sure that nobody changed or read it, then run:',
): KeyturnError {
  return new KeyturnError('store-denied', `${path} is refused: ${why}.`, {
    hint: `${first} ${command}`,
    details: { path, command },
  });
}

export function refuseOpenMode(place: string, found: Stats, { gid, fileMode }: Permissions): void {
  if ((found.mode & 0o777 & ~fileMode & 0o077) !== 0) {
    throw denied(
      place,
      `more users may use it than should (mode ${modeText(found.mode)})`,
      `chmod ${modeText(fileMode)} ${shellWord(place)}`,
      'If others may have read it, rotate the secret afterwards. Run:',
    );
  }
  if (gid !== null && (found.mode & 0o040) !== 0 && found.gid !== gid) {
    throw denied(
      place,
      `group ${String(found.gid)} may read it, and not the configured group ${String(gid)}`,
      `chgrp ${String(gid)} ${shellWord(place)}`,
      'If others may have read it, rotate the secret afterwards. Run:',
    );
  }
}
