import { createMemoryStore, MemoryPlace, type MemoryStore } from '../../src/memory/secret-store.ts';
import { createFakeClock, type FakeClock } from '../../src/memory/clock.ts';
import { KeyturnError, type ErrorCode } from '../../src/model/errors.ts';
import { emptyKeyring, nextKeyring, type Claim, type Keyring, type KeyringMove } from '../../src/model/keyring.ts';
import type { KeyringReader, StoreName, StoreRead } from '../../src/ports/secret-store.ts';

/** No jitter: a fraction of a half stretches nothing. */
export const steady = { fraction: () => 0.5 };

export function valueOf(version: string): string {
  return `value-of-${version}-0123456789`;
}

let commits = 0;

/** One legal commit on top of `base`; times grow with the revision. */
export function committed(base: Keyring, ...moves: readonly KeyringMove[]): Keyring {
  commits += 1;
  return nextKeyring(base, moves, { id: `c${String(commits)}`, highestRevision: 0 });
}

let added = 0;

export function add(version: string): KeyringMove {
  added += 1;
  const createdAt = new Date(1_767_225_600_000 + added * 1_000).toISOString();
  return { kind: 'add', version, value: valueOf(version), createdAt };
}

export function promote(version: string): KeyringMove {
  return { kind: 'promote', version };
}

export function revoke(version: string): KeyringMove {
  return { kind: 'revoke', version, at: '2026-01-02T00:00:00.000Z' };
}

export function claim(to: string): KeyringMove {
  const held: Claim = { run: 'r1', journal: 'j1', kind: 'rotation', from: null, to, deadline: null };
  return { kind: 'claim', claim: held };
}

export const release: KeyringMove = { kind: 'release' };

/** A keyring with one primary version, revision 1. */
export function settled(secret: string, version = 'v1'): Keyring {
  return committed(emptyKeyring(secret), add(version), promote(version));
}

export interface World {
  readonly clock: FakeClock;
  readonly place: MemoryPlace;
  readonly store: MemoryStore;
  /** Puts a document in place, whatever was there. */
  put(keyring: Keyring, key?: string): Promise<void>;
}

export function createWorld(): World {
  const clock = createFakeClock();
  const place = new MemoryPlace();
  const store = createMemoryStore({ clock, place });
  const put = async (keyring: Keyring, key = keyring.secret): Promise<void> => {
    place.remove(key);
    await createMemoryStore({ clock, place }).commit({ secret: keyring.secret, key }, keyring, null);
  };
  return { clock, place, store, put };
}

export function storeError(code: ErrorCode): KeyturnError {
  return new KeyturnError(code, `The test's store says ${code}.`);
}

/** One read that the test answers when it likes. */
export interface PendingRead {
  readonly names: readonly string[];
  answer(keyrings: Readonly<Record<string, Keyring | 'absent' | KeyturnError>>): void;
  reject(error: unknown): void;
}

/** A store whose every read waits for the test. */
export class HandStore implements KeyringReader {
  readonly reads: PendingRead[] = [];

  read(names: readonly StoreName[]): Promise<ReadonlyMap<string, StoreRead>> {
    return new Promise((resolve, reject) => {
      this.reads.push({
        names: names.map((name) => name.secret),
        answer: (keyrings) => {
          resolve(new Map(Object.entries(keyrings).map(([secret, found]) => [secret, toRead(found)])));
        },
        reject,
      });
    });
  }
}

function toRead(found: Keyring | 'absent' | KeyturnError): StoreRead {
  if (found === 'absent') return { state: 'absent', token: null };
  if (found instanceof KeyturnError) return { state: 'failed', error: found };
  return { state: 'present', keyring: found, token: 'token' };
}
