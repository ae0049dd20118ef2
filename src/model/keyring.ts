import type { Address } from './address.ts';
import { KeyturnError } from './errors.ts';

export type Stage = 'pending' | 'primary' | 'deprecated' | 'revoked';

/** One immutable value. A revoked one is a tombstone: the id stays, the value is gone. */
export interface Version {
  readonly id: string;
  readonly stage: Stage;
  /** Never empty; null in a tombstone and only there. */
  readonly value: string | null;
  /** RFC 3339 UTC. */
  readonly createdAt: string;
  readonly revokedAt: string | null;
  readonly compromised: boolean;
}

/** A version that a verifier may try. */
export interface AcceptedVersion extends Version {
  readonly stage: 'pending' | 'primary' | 'deprecated';
  readonly value: string;
}

export type RunKind = 'first' | 'rotation';

/**
 * Who moves this keyring now. Another journal that reads it keeps its hands off. Where a store is left for another one, it
 * is a migration (see `migration.ts`), for good: `run` is its id, `from` and `to` are the names of the stores.
 */
export interface Claim {
  readonly run: string;
  readonly journal: string;
  readonly kind: RunKind;
  readonly from: string | null;
  readonly to: string;
  /** RFC 3339 UTC, when the outside effect in flight will have stopped; null when none is. */
  readonly deadline: string | null;
}

/** The one document per secret that a store holds. */
export interface Keyring {
  readonly secret: Address;
  /** keyturn's own counter, never the store's: it only grows, and readers never go back. */
  readonly revision: number;
  /** The last commit ids, newest last: after a lost answer they tell whether ours happened. */
  readonly commits: readonly string[];
  /** Oldest first. */
  readonly versions: readonly Version[];
  readonly claim: Claim | null;
}

export const maxCommits = 8;

/**
 * Tombstones a document keeps. A receiver forgets a version only by its tombstone, so the oldest may go once no running
 * process can still hold that version; 256 rotations back is far beyond that, and well below a store's size limit.
 */
export const maxTombstones = 256;

export type KeyringMove =
  | { readonly kind: 'add'; readonly version: string; readonly value: string; readonly createdAt: string }
  | { readonly kind: 'promote'; readonly version: string }
  | { readonly kind: 'revoke'; readonly version: string; readonly at: string }
  | { readonly kind: 'compromise'; readonly version: string }
  | { readonly kind: 'claim'; readonly claim: Claim }
  /** Puts this run in the place of another one's claim, which stops that run wherever it is. */
  | { readonly kind: 'take-over'; readonly claim: Claim }
  | { readonly kind: 'release' };

/** A keyring before its first commit. */
export function emptyKeyring(secret: Address): Keyring {
  return { secret, revision: 0, commits: [], versions: [], claim: null };
}

/** For a store that remembers: what a caller does to what it was handed must change nothing there. */
export function copyOfKeyring(keyring: Keyring): Keyring {
  const { claim, commits, versions } = keyring;
  return {
    ...keyring,
    commits: [...commits],
    versions: versions.map((version) => ({ ...version })),
    claim: claim === null ? null : { ...claim },
  };
}

export function isAccepted(version: Version): version is AcceptedVersion {
  return version.stage !== 'revoked';
}

/** The id of the commit that makes this keyring, for a store. Throws `keyring-invalid` where there is none, or it is another secret's. */
export function commitIdOf(keyring: Keyring, secret: Address): string {
  const id = keyring.commits.at(-1);
  if (id !== undefined && keyring.secret === secret) return id;
  throw new KeyturnError('keyring-invalid', `The keyring to commit for ${secret} has no commit id or is another's.`);
}

/** The versions a verifier may try, newest first. */
export function acceptedVersions(keyring: Keyring): readonly AcceptedVersion[] {
  return keyring.versions.filter(isAccepted).reverse();
}

/** Everything accepted but the primary, newest first: what a rotation revokes in the end. */
export function retireSet(keyring: Keyring): readonly string[] {
  return acceptedVersions(keyring)
    .filter((version) => version.stage !== 'primary')
    .map((version) => version.id);
}

export function primaryOf(keyring: Keyring): AcceptedVersion | null {
  return keyring.versions.filter(isAccepted).find((version) => version.stage === 'primary') ?? null;
}

export function findVersion(keyring: Keyring, id: string): Version | null {
  return keyring.versions.find((version) => version.id === id) ?? null;
}

/** I6: one primary, nothing else accepted, nobody at work. */
export function isSettled(keyring: Keyring): boolean {
  const accepted = acceptedVersions(keyring);
  return keyring.claim === null && accepted.length === 1 && accepted[0]?.stage === 'primary';
}

/**
 * One commit: applies `moves` in order, checks the whole keyring after each of them, and stamps the commit.
 * `highestRevision` is the highest revision known anywhere (document, journal, receivers), so that a restored old
 * document still ends above what receivers hold. Throws `illegal-move` or `keyring-invalid`.
 */
export function nextKeyring(
  base: Keyring,
  moves: readonly KeyringMove[],
  commit: { readonly id: string; readonly highestRevision: number },
): Keyring {
  const moved = moves.reduce((keyring, move) => validated(applyMove(keyring, move)), base);
  return validated({
    ...moved,
    versions: withoutOldestTombstones(moved.versions),
    revision: 1 + Math.max(base.revision, commit.highestRevision),
    commits: [...base.commits, commit.id].slice(-maxCommits),
  });
}

function withoutOldestTombstones(versions: readonly Version[]): readonly Version[] {
  let surplus = versions.filter((version) => version.stage === 'revoked').length - maxTombstones;
  return versions.filter((version) => version.stage !== 'revoked' || surplus-- <= 0);
}

/** The table of legal moves: there are no others. */
function applyMove(keyring: Keyring, move: KeyringMove): Keyring {
  switch (move.kind) {
    case 'add':
      return add(keyring, move);
    case 'promote':
      return promote(keyring, move.version);
    case 'revoke':
      return revoke(keyring, move.version, move.at);
    case 'compromise':
      return replace(keyring, existing(keyring, move.version), { compromised: true });
    case 'claim':
      return claim(keyring, move.claim);
    case 'take-over':
      return { ...keyring, claim: move.claim };
    case 'release':
      return { ...keyring, claim: null };
  }
}

function add(keyring: Keyring, move: KeyringMove & { kind: 'add' }): Keyring {
  if (findVersion(keyring, move.version) !== null) {
    throw illegal(keyring, `version ${move.version} is there already, and ids are never reused`);
  }
  if (keyring.versions.some((version) => version.value === move.value)) {
    throw illegal(keyring, `version ${move.version} has the value of an accepted version: a rotation needs a new one`);
  }
  const version: Version = {
    id: move.version,
    stage: 'pending',
    value: move.value,
    createdAt: move.createdAt,
    revokedAt: null,
    compromised: false,
  };
  return { ...keyring, versions: [...keyring.versions, version] };
}

/** pending → primary, or deprecated → primary (going back); the old primary becomes deprecated in the same commit. */
function promote(keyring: Keyring, id: string): Keyring {
  const version = existing(keyring, id);
  if (version.stage !== 'pending' && version.stage !== 'deprecated') {
    throw illegal(keyring, `version ${id} is ${version.stage} and cannot become primary`);
  }
  if (version.compromised) throw illegal(keyring, `version ${id} is compromised and may never become primary`);
  const primary = primaryOf(keyring);
  const stepped = primary === null ? keyring : replace(keyring, primary, { stage: 'deprecated' });
  return replace(stepped, version, { stage: 'primary' });
}

/** deprecated → revoked, pending → revoked. The value goes, the tombstone stays. */
function revoke(keyring: Keyring, id: string, at: string): Keyring {
  const version = existing(keyring, id);
  if (version.stage === 'primary') {
    throw illegal(keyring, `version ${id} is primary: signers use it, so it cannot be revoked`);
  }
  if (version.stage === 'revoked') throw illegal(keyring, `version ${id} is revoked already, which is final`);
  return replace(keyring, version, { stage: 'revoked', value: null, revokedAt: at });
}

function claim(keyring: Keyring, next: Claim): Keyring {
  const current = keyring.claim;
  if (current !== null && (current.run !== next.run || current.journal !== next.journal)) {
    throw illegal(keyring, `run ${current.run} of journal ${current.journal} has claimed it`);
  }
  return { ...keyring, claim: next };
}

function existing(keyring: Keyring, id: string): Version {
  const version = findVersion(keyring, id);
  if (version === null) throw illegal(keyring, `it has no version ${id}`);
  return version;
}

function replace(keyring: Keyring, version: Version, change: Partial<Version>): Keyring {
  return {
    ...keyring,
    versions: keyring.versions.map((each) => (each.id === version.id ? { ...each, ...change } : each)),
  };
}

function illegal(keyring: Keyring, why: string): KeyturnError {
  return new KeyturnError('illegal-move', `The keyring of ${keyring.secret} refuses this move: ${why}.`);
}

/** Returns the keyring, or throws `keyring-invalid` with the first rule it breaks; the message shows nothing of its content. */
export function validated(keyring: Keyring): Keyring {
  const problem = problemOf(keyring);
  if (problem === null) return keyring;
  throw new KeyturnError('keyring-invalid', `The keyring of ${keyring.secret} is not valid: ${problem}.`);
}

function problemOf(keyring: Keyring): string | null {
  const { versions, revision, commits } = keyring;
  if (!Number.isSafeInteger(revision) || revision < 0) return 'its revision is no whole number';
  if (commits.length > maxCommits) return `it lists more than ${String(maxCommits)} commits`;
  if (new Set(versions.map((version) => version.id)).size !== versions.length) return 'a version id appears twice';
  const broken = versions.map(problemOfVersion).findIndex((problem) => problem !== null);
  const version = versions[broken];
  if (version !== undefined)
    return `version ${String(broken + 1)} of ${String(versions.length)} ${problemOfVersion(version) ?? ''}`;
  const values = versions.flatMap((version) => version.value ?? []);
  if (new Set(values).size !== values.length) return 'two versions have the same value';
  const primaries = versions.filter((version) => version.stage === 'primary').length;
  if (primaries > 1) return 'it has two primary versions';
  if (primaries === 0 && versions.some((version) => version.stage === 'deprecated')) {
    return 'it has a deprecated version and no primary one';
  }
  return null;
}

function problemOfVersion({ id, stage, value, createdAt, revokedAt }: Version): string | null {
  if (id === '') return 'has no id';
  if (stage === 'revoked' && value !== null) return 'is revoked and still has a value';
  if (stage !== 'revoked' && value === null) return `is ${stage} and has no value`;
  if (value === '') return 'has an empty value';
  if ((stage === 'revoked') !== (revokedAt !== null)) return `is ${stage} and its revocation time says otherwise`;
  const isTime = (text: string): boolean => !Number.isNaN(Date.parse(text));
  return isTime(createdAt) && (revokedAt === null || isTime(revokedAt)) ? null : 'has a time that is none';
}
