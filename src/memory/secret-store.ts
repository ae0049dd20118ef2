import { createHash } from 'node:crypto';
import { formatKeyring, maxDocumentBytes, parseKeyring, refuseCopy } from '../model/document.ts';
import { isKeyturnError, KeyturnError } from '../model/errors.ts';
import { commitIdOf, copyOfKeyring, type Keyring } from '../model/keyring.ts';
import { ok, readFindings } from '../ports/probe.ts';
import type {
  PlainCopies,
  ProbeRequest,
  SecretStore,
  StoreCapabilities,
  StoreName,
  StoreProbe,
  StoreRead,
  StoreToken,
} from '../ports/secret-store.ts';
import { requireScratch } from '../ports/scratch.ts';
import { storeConflict, storeDeleted } from '../ports/store-errors.ts';
import type { Clock } from '../ports/system.ts';

export interface MemoryStoreOptions {
  /** Moves documents through the propagation lag. */
  readonly clock: Clock;
  /** What adapters over the same place share, as processes share a server; default: a place of its own. */
  readonly place?: MemoryPlace;
  readonly propagationLagMs?: number;
  readonly label?: string;
}

/** A secret store in memory: what it returns was formatted and parsed as by any other, and tests can make it fail. */
export interface MemoryStore extends SecretStore {
  readonly control: MemoryStoreControl;
}

/** What a test can make go wrong, for this adapter alone. */
export interface MemoryStoreControl {
  /** While true nothing gets through, as behind a broken network. */
  unreachable: boolean;
  /** The next commits take effect, and then answer `store-unreachable`. */
  loseNextAnswers(count?: number): void;
  /** The next commits have no effect and answer `store-conflict`, as when another writer was first. */
  refuseNextCommits(count?: number): void;
  /** Every operation on this key answers with the error, until it is null. */
  fail(key: string, error: KeyturnError | null): void;
  /** How many operations reached the store. */
  readonly calls: { readonly reads: number; readonly commits: number; readonly purges: number };
}

type PresentRead = StoreRead & { readonly state: 'present' };

export interface StoredDocument {
  readonly text: string;
  /** Monotonic ms of the commit. */
  readonly at: number;
  /** The text as a store reads it, once one did: documents never change, and simulations read each very often. */
  read: PresentRead | null;
}

/** The server side: documents by key. Survives its adapters, as a server survives a process that crashed. */
export class MemoryPlace {
  /** Oldest first; the last one counts. */
  readonly #documents = new Map<string, readonly StoredDocument[]>();
  readonly #plain = new Map<string, string>();
  readonly #empty = new Set<string>();
  readonly #deleted = new Set<string>();

  /** The newest document's text; null where there is none. */
  newest(key: string): string | null {
    return this.#documents.get(key)?.at(-1)?.text ?? null;
  }

  /** True where somebody made a place for a document that nobody wrote yet. */
  isEmpty(key: string): boolean {
    return this.#empty.has(key) && this.newest(key) === null;
  }

  /** Makes a place without a document, as a tool that sets up the surroundings does. */
  makeEmpty(key: string): void {
    this.#empty.add(key);
  }

  /** Deletes a document so that it can come back. */
  softDelete(key: string): void {
    this.#deleted.add(key);
  }

  isDeleted(key: string): boolean {
    return this.#deleted.has(key);
  }

  /** What a reader gets who sees nothing that was written after this moment. */
  asOf(key: string, monotonicMs: number): StoredDocument | null {
    return this.#documents.get(key)?.findLast((stored) => stored.at <= monotonicMs) ?? null;
  }

  write(key: string, text: string, monotonicMs: number): void {
    this.#documents.set(key, [...(this.#documents.get(key) ?? []), { text, at: monotonicMs, read: null }]);
  }

  /** Forgets what no reader can be given any more. */
  purge(key: string, visibleSince: number): void {
    const stored = this.#documents.get(key) ?? [];
    const oldest = stored.findLastIndex(({ at }) => at <= visibleSince);
    this.#documents.set(key, stored.slice(Math.max(0, oldest)));
  }

  /** The texts of the documents before the newest. */
  older(key: string): readonly string[] {
    return (this.#documents.get(key) ?? []).slice(0, -1).map(({ text }) => text);
  }

  /** How many documents of this key exist, older ones included. */
  kept(key: string): number {
    return this.#documents.get(key)?.length ?? 0;
  }

  remove(key: string): void {
    this.#documents.delete(key);
  }

  /** The plain copy at that key; null where there is none. */
  plain(key: string): string | null {
    return this.#plain.get(key) ?? null;
  }

  writePlain(key: string, text: string): void {
    this.#plain.set(key, text);
  }
}

export function createMemoryStore(options: MemoryStoreOptions): MemoryStore {
  return new InMemoryStore(options);
}

class FaultControl implements MemoryStoreControl {
  unreachable = false;
  readonly calls = { reads: 0, commits: 0, purges: 0 };
  #answersToLose = 0;
  #commitsToRefuse = 0;
  readonly #failing = new Map<string, KeyturnError>();

  loseNextAnswers(count = 1): void {
    this.#answersToLose = count;
  }

  refuseNextCommits(count = 1): void {
    this.#commitsToRefuse = count;
  }

  fail(key: string, error: KeyturnError | null): void {
    if (error === null) this.#failing.delete(key);
    else this.#failing.set(key, error);
  }

  /** Throws when an operation on this key cannot get through. `what` is the beginning of a sentence. */
  admit(key: string, what: string, label: string): void {
    if (this.unreachable) throw unreachable(what, key, label);
    const error = this.#failing.get(key);
    if (error !== undefined) throw error;
  }

  refusesCommit(): boolean {
    return this.#commitsToRefuse > 0 && this.#commitsToRefuse-- > 0;
  }

  losesAnswer(): boolean {
    return this.#answersToLose > 0 && this.#answersToLose-- > 0;
  }
}

class InMemoryStore implements MemoryStore {
  readonly label: string;
  readonly capabilities: StoreCapabilities;
  readonly control = new FaultControl();
  readonly plain: PlainCopies = {
    read: (key) => this.#readPlain(key),
    write: (key, change) => this.#writePlain(key, change),
  };
  readonly #place: MemoryPlace;
  readonly #clock: Clock;

  constructor(options: MemoryStoreOptions) {
    this.label = options.label ?? 'memory store';
    this.capabilities = {
      propagationLagMs: options.propagationLagMs ?? 0,
      namesPerCall: null,
      maxDocumentBytes,
      comparedBy: 'server',
      erases: 'everything',
      afterPurge: 'Nothing of older documents stays, once no reader can be given them any more.',
    };
    this.#place = options.place ?? new MemoryPlace();
    this.#clock = options.clock;
  }

  async read(names: readonly StoreName[]): Promise<ReadonlyMap<string, StoreRead>> {
    await Promise.resolve();
    this.control.calls.reads += 1;
    return new Map(names.map((name) => [name.secret, this.#readOne(name)]));
  }

  #readOne(name: StoreName): StoreRead {
    try {
      this.control.admit(name.key, keyringOf(name), this.label);
      const stored = this.#place.asOf(name.key, this.#visibleSince());
      this.#refuseDeleted(name);
      if (stored === null) return { state: this.#place.isEmpty(name.key) ? 'empty' : 'absent', token: null };
      if (stored.read?.keyring.secret === name.secret) return copyOf(stored.read);
      const keyring = parseKeyring(stored.text, this.label, name.secret);
      stored.read = { state: 'present', keyring, token: tokenOf(keyring, stored.text) };
      return copyOf(stored.read);
    } catch (error) {
      if (isKeyturnError(error)) return { state: 'failed', error };
      throw error;
    }
  }

  async commit(name: StoreName, keyring: Keyring, expected: StoreToken): Promise<void> {
    await Promise.resolve();
    this.control.calls.commits += 1;
    this.control.admit(name.key, keyringOf(name), this.label);
    this.#refuseDeleted(name);
    const commit = commitIdOf(keyring, name.secret);
    const text = formatKeyring(keyring);
    const stored = this.#place.newest(name.key);
    const current = stored === null ? null : parseKeyring(stored, this.label, name.secret);
    if (current?.commits.includes(commit) !== true) {
      const token = stored === null || current === null ? null : tokenOf(current, stored);
      if (this.control.refusesCommit() || token !== expected)
        throw storeConflict(name.secret, this.label, { key: name.key });
      this.#place.write(name.key, text, this.#clock.monotonic());
    }
    if (this.control.losesAnswer()) throw unreachable(keyringOf(name), name.key, this.label);
  }

  #refuseDeleted({ secret, key }: StoreName): void {
    if (this.#place.isDeleted(key)) throw storeDeleted(secret, this.label, { key });
  }

  async purge(name: StoreName): Promise<void> {
    await Promise.resolve();
    this.control.calls.purges += 1;
    this.control.admit(name.key, keyringOf(name), this.label);
    this.#place.purge(name.key, this.#visibleSince());
  }

  async erase(name: StoreName): Promise<void> {
    requireScratch(name);
    await Promise.resolve();
    this.control.admit(name.key, keyringOf(name), this.label);
    this.#place.remove(name.key);
  }

  async probe(request: ProbeRequest): Promise<StoreProbe> {
    const findings = [ok('reach', `The ${this.label} is in this process.`), ...(await readFindings(this, request))];
    return { version: null, clockAheadMs: null, findings };
  }

  async #readPlain(key: string): Promise<string | null> {
    await Promise.resolve();
    this.control.admit(key, plainCopy(key), this.label);
    return this.#place.plain(key);
  }

  async #writePlain(key: string, change: (present: string | null) => string): Promise<void> {
    await Promise.resolve();
    this.control.admit(key, plainCopy(key), this.label);
    for (let attempt = 0; attempt < maxPlainAttempts; attempt += 1) {
      const present = this.#place.plain(key);
      const next = change(present);
      if (next === present) return;
      refuseCopy(next, plainCopy(key));
      if (this.#place.plain(key) !== present) continue;
      this.#place.writePlain(key, next);
      return;
    }
    throw new KeyturnError(
      'store-conflict',
      `${plainCopy(key)} in ${this.label} is changed by somebody else all the time.`,
      {
        hint: 'Let nothing else write there, or give the mirror a key of its own.',
        details: { key },
      },
    );
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #visibleSince(): number {
    return this.#clock.monotonic() - this.capabilities.propagationLagMs;
  }
}

function copyOf(read: PresentRead): PresentRead {
  return { ...read, keyring: copyOfKeyring(read.keyring) };
}

function tokenOf(keyring: Keyring, text: string): string {
  return `${String(keyring.revision)}.${createHash('sha256').update(text).digest('base64url')}`;
}

/** How often a plain copy is written again that somebody else changed at the same moment. */
const maxPlainAttempts = 3;

function plainCopy(key: string): string {
  return `The plain copy ${JSON.stringify(key)}`;
}

function keyringOf({ secret }: StoreName): string {
  return `The keyring of ${secret}`;
}

function unreachable(what: string, key: string, label: string): KeyturnError {
  return new KeyturnError('store-unreachable', `${what} cannot be reached: ${label} does not answer.`, {
    hint: 'Try again once the store answers.',
    details: { key },
  });
}
