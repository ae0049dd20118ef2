import { dirname, join } from 'node:path';
import { addressPart } from '../../../src/model/address.ts';
import { maxDocumentBytes, refuseCopy } from '../../../src/model/document.ts';
import { KeyturnError } from '../../../src/model/errors.ts';
import type { PlainCopies } from '../../../src/ports/secret-store.ts';
import { syncFolder } from '../../files.ts';
import { decode, readWhole, removeTemporaries, replaceFile, type Kept } from './disk.ts';
import type { StoreFolder } from './folder.ts';
import type { DocumentPath } from './name.ts';
import type { FolderChecks } from './permissions.ts';

/** The folder of the plain copies in that of the store. No keyring's name begins with a dot. */
const plainFolder = '.plain';

/** How often a copy is written again that somebody else changed at the same moment. */
const maxAttempts = 3;

interface PlainCopy extends Kept {
  readonly key: string;
  readonly path: DocumentPath;
}

/**
 * Plain copies in files: the copy at `prod/github` is `.plain/prod/github` in the store's folder, named as it is, because
 * other programs are pointed at it. Reading takes no lock.
 */
export class FilePlainCopies implements PlainCopies {
  readonly #folder: StoreFolder;

  constructor(folder: StoreFolder) {
    this.#folder = folder;
  }

  async read(key: string): Promise<string | null> {
    const copy = this.#copyAt(key);
    try {
      return this.#load(copy, this.#folder.checks());
    } catch (error) {
      throw this.#folder.explain(error, copy.what, 'read', { key });
    }
  }

  async write(key: string, change: (present: string | null) => string): Promise<void> {
    const copy = this.#copyAt(key);
    try {
      const present = this.#load(copy, this.#folder.checks());
      if (present !== null && change(present) === present) syncFolder(dirname(copy.place));
      else await this.#folder.asWriter(copy.path, (lock) => this.#replace(copy, change, lock));
    } catch (error) {
      throw this.#folder.explain(error, copy.what, 'written', { key });
    }
  }

  /** For the lock's holder, which keeps other processes of keyturn out, and nobody else. */
  #replace(copy: PlainCopy, change: (present: string | null) => string, lock: string): void {
    const { place } = copy;
    removeTemporaries(dirname(place), lock);
    const { permissions } = this.#folder;
    const load = (): string | null => this.#load(copy, this.#folder.checks());
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const present = load();
      const next = change(present);
      if (next === present) {
        syncFolder(dirname(place));
        return;
      }
      refuseCopy(next, copy.what);
      const isUnchanged = (): boolean => load() === present;
      const written = replaceFile(place, next, { permissions, lock }, isUnchanged);
      if (written && load() === next) return;
    }
    throw new KeyturnError('store-conflict', `${copy.what} in ${place} is changed by somebody else all the time.`, {
      hint: 'Let nothing else write there, or give the mirror a key of its own.',
      details: { key: copy.key, path: place },
    });
  }

  #load(copy: PlainCopy, folders: FolderChecks): string | null {
    const owners = folders.check(copy.path.folders);
    if (owners === null) return null;
    const { permissions } = this.#folder;
    const bytes = readWhole(copy, { owners, permissions, maxBytes: maxDocumentBytes });
    return bytes === null ? null : decode(bytes, copy);
  }

  /** Throws `store-denied` for a key that could lead out of the folder, or to a file of the store's own. */
  #copyAt(key: string): PlainCopy {
    const what = `The plain copy ${JSON.stringify(key)}`;
    const parts = key.split('/');
    if (!parts.every((part) => addressPart.test(part))) {
      throw new KeyturnError(
        'store-denied',
        `${what} is refused by the ${this.#folder.label}: its key could lead out of the folder, or to a file of the store's own.`,
        {
          hint: 'Use a key of parts between slashes, each of letters, digits, ".", "_" and "-" with a letter or digit at both ends, at most 64.',
          details: { key },
        },
      );
    }
    return {
      key,
      what,
      place: join(this.#folder.root, plainFolder, key),
      mend: 'Move it away: it is written again, as the policy says, by the next run.',
      path: {
        folders: parts.map((_, index) => join(plainFolder, ...parts.slice(0, index))),
        file: join(plainFolder, key),
      },
    };
  }
}
