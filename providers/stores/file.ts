import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import pLimit from 'p-limit';
import { formatKeyring, maxDocumentBytes, parseKeyring } from '../../src/model/document.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import { commitIdOf, type Keyring } from '../../src/model/keyring.ts';
import { realClock } from '../../src/ports/real.ts';
import { readFindings } from '../../src/ports/probe.ts';
import type {
  PlainCopies,
  ProbeRequest,
  SecretStore,
  StoreCapabilities,
  StoreName,
  StoreProbe,
  StoreRead,
  StoreToken,
} from '../../src/ports/secret-store.ts';
import { requireScratch } from '../../src/ports/scratch.ts';
import { storeConflict } from '../../src/ports/store-errors.ts';
import type { Clock } from '../../src/ports/system.ts';
import { syncFolder } from '../files.ts';
import { AgeCipher, isEncrypted, type AgeKeys, type AgeOptions } from './file/age.ts';
import { corrupt, decode, readWhole, removeTemporaries, replaceFile, tooLong, type Kept } from './file/disk.ts';
import { StoreFolder, type Done } from './file/folder.ts';
import { documentPath, type DocumentPath } from './file/name.ts';
import type { FolderChecks } from './file/permissions.ts';
import { FilePlainCopies } from './file/plain.ts';
import { probeFolder } from './file/probe.ts';

export type { AgeOptions };

export interface FileStoreOptions {
  /** The folder of the documents. It is made by the first commit. */
  readonly path: string;
  /** Whose members may read the documents beside their owner: a name or number; null: nobody. */
  readonly group?: string | null;
  /** Encrypts keyrings, and decrypts those that are encrypted; null: they stay in plain text. */
  readonly age?: AgeOptions | null;
  /** Paces the wait for another writer. */
  readonly clock?: Clock;
  /** How long a commit waits for another writer. */
  readonly lockTimeoutMs?: number;
}

const defaultLockTimeoutMs = 5_000;

/** How long documents are read one after the other, ms, before the event loop turns. */
const readingMs = 1;

/** Few, because each holds its document in memory; how many are worked on at once is said in `age.ts`. */
const decryptionsAtOnce = 16;

/** Encryption adds some bytes, for each recipient. */
const maxFileBytes = 2 * maxDocumentBytes;

/**
 * A secret store in a folder: one document per secret, readable by its owner and, where a group is given, by that group.
 * Reading takes no lock and needs no write permission. Throws `policy-invalid` for a group that does not exist.
 */
export function createFileStore(options: FileStoreOptions): SecretStore {
  return new FileStore(options);
}

interface Document {
  readonly keyring: Keyring;
  readonly token: string;
}

/** A document as it is on the disk. */
interface Stored {
  readonly kept: Kept;
  readonly bytes: Buffer;
  readonly hash: string;
}

/** Keeps the place of a keyring in the order of what was asked for, until it is decrypted. */
const undecrypted: StoreRead = { state: 'absent', token: null };

/** What one read of many, or one commit, looks at once. */
interface Visit {
  readonly folders: FolderChecks;
  readonly keys: () => Promise<AgeKeys | null>;
}

class FileStore implements SecretStore {
  readonly label: string;
  readonly capabilities: StoreCapabilities = {
    propagationLagMs: 0,
    namesPerCall: null,
    maxDocumentBytes,
    comparedBy: 'lock',
    erases: 'everything',
    afterPurge: 'No file of an older document stays; what a disk or a backup keeps of replaced files is theirs.',
  };
  readonly plain: PlainCopies;
  readonly #folder: StoreFolder;
  readonly #age: AgeCipher | null;
  readonly #clock: Clock;

  constructor({ path, group = null, age = null, clock = realClock, lockTimeoutMs }: FileStoreOptions) {
    this.#folder = new StoreFolder({ path, group, clock, lockTimeoutMs: lockTimeoutMs ?? defaultLockTimeoutMs });
    this.#clock = clock;
    this.label = this.#folder.label;
    this.plain = new FilePlainCopies(this.#folder);
    this.#age = age === null ? null : new AgeCipher(age, `the ${this.label}`);
  }

  #visit(): Visit {
    let keys: Promise<AgeKeys | null> | null = null;
    return {
      folders: this.#folder.checks(),
      keys: () => (keys ??= this.#age === null ? Promise.resolve(null) : this.#age.keys()),
    };
  }

  async read(names: readonly StoreName[]): Promise<ReadonlyMap<string, StoreRead>> {
    const visit = this.#visit();
    const reads = new Map<string, StoreRead>();
    const encrypted: { readonly name: StoreName; readonly stored: Stored }[] = [];
    // The event loop turns at least once: whoever reads again and again must not keep everybody else from working.
    let since = -Infinity;
    for (const name of names) {
      if (this.#clock.monotonic() - since >= readingMs) {
        await turn();
        since = this.#clock.monotonic();
      }
      const read = this.#readOne(name, visit);
      reads.set(name.secret, 'state' in read ? read : undecrypted);
      if (!('state' in read)) encrypted.push({ name, stored: read });
    }
    const decrypted = await pLimit(decryptionsAtOnce).map(
      encrypted,
      async ({ name, stored }) => [name.secret, await this.#readEncrypted(name, stored, visit)] as const,
    );
    for (const [secret, read] of decrypted) reads.set(secret, read);
    return reads;
  }

  /** What is read, or what has to be decrypted first. */
  #readOne(name: StoreName, visit: Visit): StoreRead | Stored {
    try {
      const stored = this.#stored(name, documentPath(name), visit);
      if (stored === null) return { state: 'absent', token: null };
      return isEncrypted(stored.bytes) ? stored : { state: 'present', ...documentIn(name, stored, stored.bytes) };
    } catch (error) {
      return { state: 'failed', error: this.#explain(error, name, 'read') };
    }
  }

  async #readEncrypted(name: StoreName, stored: Stored, visit: Visit): Promise<StoreRead> {
    try {
      return { state: 'present', ...documentIn(name, stored, await decrypted(stored, visit)) };
    } catch (error) {
      return { state: 'failed', error: this.#explain(error, name, 'read') };
    }
  }

  async #load(name: StoreName, path: DocumentPath, visit: Visit): Promise<Document | null> {
    const stored = this.#stored(name, path, visit);
    if (stored === null) return null;
    return documentIn(name, stored, isEncrypted(stored.bytes) ? await decrypted(stored, visit) : stored.bytes);
  }

  #stored(name: StoreName, path: DocumentPath, visit: Visit): Stored | null {
    const owners = visit.folders.check(path.folders);
    if (owners === null) return null;
    const kept = this.#keptAt(name, path);
    const bytes = readWhole(kept, { owners, permissions: this.#folder.permissions, maxBytes: maxFileBytes });
    return bytes === null ? null : { kept, bytes, hash: createHash('sha256').update(bytes).digest('base64url') };
  }

  async commit(name: StoreName, keyring: Keyring, expected: StoreToken): Promise<void> {
    const commit = commitIdOf(keyring, name.secret);
    const text = formatKeyring(keyring);
    const path = documentPath(name);
    const { place } = this.#keptAt(name, path);
    try {
      // Before the lock: whoever has it keeps others waiting.
      const keys = await this.#visit().keys();
      const content = keys === null ? text : await keys.encrypt(text);
      await this.#folder.asWriter(path, async (lock) => {
        const visit = { folders: this.#folder.checks(), keys: () => Promise.resolve(keys) };
        const stored = await this.#load(name, path, visit);
        removeTemporaries(dirname(place), lock);
        if (stored?.keyring.commits.includes(commit) === true) syncFolder(dirname(place));
        else if ((stored?.token ?? null) !== expected) throw conflict(name, place, stored);
        else replaceFile(place, content, { permissions: this.#folder.permissions, lock });
      });
    } catch (error) {
      throw this.#explain(error, name, 'written');
    }
  }

  /** The store keeps no older documents, but a writer that was killed may have left its temporary file. */
  async purge(name: StoreName): Promise<void> {
    const path = documentPath(name);
    try {
      if (this.#folder.checks().check(path.folders) === null) return;
      const folder = dirname(this.#keptAt(name, path).place);
      await this.#folder.locked(path, (lock) => removeTemporaries(folder, lock));
    } catch (error) {
      throw this.#explain(error, name, 'purged');
    }
  }

  async erase(name: StoreName): Promise<void> {
    requireScratch(name);
    const path = documentPath(name);
    const { place } = this.#keptAt(name, path);
    try {
      if (this.#folder.checks().check(path.folders) === null) return;
      await this.#folder.locked(path, (lock) => {
        removeTemporaries(dirname(place), lock);
        rmSync(place, { force: true });
        syncFolder(dirname(place));
      });
    } catch (error) {
      throw this.#explain(error, name, 'removed');
    }
  }

  async probe(request: ProbeRequest): Promise<StoreProbe> {
    const findings = [...(await probeFolder(this.#folder, request.use)), ...(await readFindings(this, request))];
    return { version: null, clockAheadMs: null, findings };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #keptAt({ secret }: StoreName, { file }: DocumentPath): Kept {
    return {
      place: join(this.#folder.root, file),
      what: `The keyring of ${secret}`,
      mend: 'Restore it from a backup, or remove it and adopt the value in use again.',
    };
  }

  #explain(error: unknown, { secret }: StoreName, done: Done): KeyturnError {
    return this.#folder.explain(error, `The keyring of ${secret}`, done, { secret });
  }
}

function documentIn({ secret }: StoreName, { kept, hash }: Stored, content: Uint8Array): Document {
  if (content.length === 0) throw corrupt(kept, 'it is empty');
  if (content.length > maxDocumentBytes) throw corrupt(kept, tooLong(content.length, maxDocumentBytes));
  const keyring = parseKeyring(decode(content, kept), kept.place, secret);
  return { keyring, token: `${String(keyring.revision)}.${hash}` };
}

async function decrypted({ bytes, hash, kept }: Stored, visit: Visit): Promise<Uint8Array> {
  const keys = await visit.keys();
  if (keys !== null) return keys.decrypt(bytes, hash, kept);
  throw new KeyturnError('store-encrypted', `${kept.what} in ${kept.place} is encrypted, and the store has no "age".`, {
    hint: 'Say in the policy where the identity is: "age": { "identity": { "file": "PATH" } }',
    details: { path: kept.place },
  });
}

function conflict({ secret }: StoreName, place: string, stored: Document | null): KeyturnError {
  const revision = stored?.keyring.revision ?? null;
  const now = revision === null ? 'it is not there any more' : `it is at revision ${String(revision)}`;
  return storeConflict(secret, place, { path: place, revision }, now);
}
