import { KeyturnError, isKeyturnError } from '../model/errors.ts';
import {
  acceptedVersions,
  findVersion,
  isSettled,
  maxTombstones,
  validated,
  type AcceptedVersion,
  type Keyring,
} from '../model/keyring.ts';
import type { Snapshot } from './types.ts';

/** All that the cache holds of one secret. Immutable: a load makes a new one or none. */
export interface Held {
  readonly snapshot: Snapshot;
  /** The values of the accepted versions, primary first; the same array until it changes. */
  readonly values: readonly string[];
  /** Ids whose tombstone was seen: revoked is final, whatever a restored document says later. */
  readonly revoked: ReadonlySet<string>;
}

/**
 * What a loaded keyring does to what is held. `refused`: the store contradicts it, so it stays as it is.
 * `overtaken`: a load that began later was answered sooner, so this one says nothing.
 */
export type Merge =
  | { readonly outcome: 'replaced' | 'confirmed'; readonly held: Held; readonly drift: string | null }
  | { readonly outcome: 'refused'; readonly drift: string }
  | { readonly outcome: 'overtaken' };

/** Twice what a document keeps: enough to know every tombstone of it and of its predecessors. */
const maxRevokedIds = 2 * maxTombstones;

/** What `util.inspect` asks an object for its own words by; a symbol of the runtime, so that nothing has to be imported. */
const ownWords = Symbol.for('nodejs.util.inspect.custom');

type Inspect = (thing: unknown, options: unknown) => string;

/** A version as handed out: its value answers to `.value` alone, so that no log line, JSON or inspection shows it. */
class HeldVersion implements AcceptedVersion {
  readonly id: string;
  readonly stage: AcceptedVersion['stage'];
  readonly createdAt: string;
  readonly revokedAt = null;
  readonly compromised: boolean;
  readonly #value: string;

  constructor(version: AcceptedVersion, stage: AcceptedVersion['stage']) {
    this.id = version.id;
    this.stage = stage;
    this.createdAt = version.createdAt;
    this.compromised = version.compromised;
    this.#value = version.value;
    Object.freeze(this);
  }

  get value(): string {
    return this.#value;
  }

  /** Also for an inspection that asks what getters give. */
  [ownWords](_depth: number, options: object, inspect: Inspect): string {
    const { id, stage, createdAt, revokedAt, compromised } = this;
    return `HeldVersion ${inspect({ id, stage, createdAt, revokedAt, compromised }, options)}`;
  }
}

/** The keyring, or `store-corrupt` where it breaks a rule of the model or belongs to another secret. */
export function usableKeyring(secret: string, keyring: Keyring): Keyring | KeyturnError {
  const hint = 'Restore it from a backup, or remove it and adopt the value in use again.';
  try {
    if (keyring.secret !== secret) {
      const message = `What the secret store has for ${secret} is the keyring of ${keyring.secret}.`;
      return new KeyturnError('store-corrupt', message, { hint });
    }
    return validated(keyring);
  } catch (error) {
    const message = isKeyturnError(error) ? error.message : `The keyring of ${secret} has not the shape of one.`;
    return new KeyturnError('store-corrupt', message, { hint, cause: error });
  }
}

/**
 * Joins a usable keyring, whose load began at `loadBeganAt`, with what is held. The revision never goes back, and a
 * version leaves only by its tombstone: one that is merely absent is kept and reported as drift.
 */
export function mergeKeyring(held: Held | null, keyring: Keyring, loadBeganAt: number): Merge {
  if (held === null) return replace(null, keyring, loadBeganAt);
  const { snapshot } = held;
  if (keyring.revision <= snapshot.revision && loadBeganAt < snapshot.loadBeganAt) return { outcome: 'overtaken' };
  if (keyring.revision < snapshot.revision) {
    return refuse(
      `the store shows revision ${String(keyring.revision)}, below ${String(snapshot.revision)} which is held`,
    );
  }
  const changed = snapshot.accepted.find(({ id, value }) => (findVersion(keyring, id)?.value ?? value) !== value);
  if (changed !== undefined) {
    return refuse(`version ${changed.id} has another value in the store than the one held, and values never change`);
  }
  return keyring.revision > snapshot.revision
    ? replace(held, keyring, loadBeganAt)
    : confirm(held, keyring, loadBeganAt);
}

function refuse(drift: string): Merge {
  return { outcome: 'refused', drift };
}

/** The same revision again: the arrays stay, only the proof that nothing is missing is newer. */
function confirm(held: Held, keyring: Keyring, loadBeganAt: number): Merge {
  const { snapshot } = held;
  const next = join(held, keyring);
  if (!sameItems(next.accepted, snapshot.accepted)) {
    return refuse(
      `the store shows other versions than those held under the same revision ${String(snapshot.revision)}`,
    );
  }
  const confirmed: Held = { ...held, snapshot: Object.freeze({ ...snapshot, loadBeganAt }) };
  return { outcome: 'confirmed', held: confirmed, drift: next.drift };
}

function replace(held: Held | null, keyring: Keyring, loadBeganAt: number): Merge {
  const { accepted, drift } = join(held, keyring);
  const before = held?.snapshot.accepted ?? [];
  const unchanged = held !== null && sameItems(accepted, before);
  const primary = accepted.find((version) => version.stage === 'primary') ?? null;
  const snapshot: Snapshot = Object.freeze({
    secret: keyring.secret,
    revision: keyring.revision,
    accepted: unchanged ? before : Object.freeze(accepted),
    primary,
    settled: isSettled(keyring) && accepted.length === 1 && primary !== null,
    loadBeganAt,
  });
  const values = unchanged ? held.values : Object.freeze(valuesOf(primary, accepted));
  const revoked = new Set([...(held?.revoked ?? []), ...tombstonesOf(keyring)].slice(-maxRevokedIds));
  return { outcome: 'replaced', held: { snapshot, values, revoked }, drift };
}

/** The accepted versions of both, newest first; an unchanged version stays the same object. */
function join(held: Held | null, keyring: Keyring): { accepted: readonly AcceptedVersion[]; drift: string | null } {
  const before = held?.snapshot.accepted ?? [];
  const returned = acceptedVersions(keyring).filter((version) => held?.revoked.has(version.id) === true);
  const shown = acceptedVersions(keyring).filter((version) => !returned.includes(version));
  const known = new Set(keyring.versions.map((version) => version.id));
  const vanished = before.filter((version) => !known.has(version.id));
  const hasPrimary = shown.some((version) => version.stage === 'primary');
  const accepted: AcceptedVersion[] = shown.map((version) => reuse(before, version, version.stage));
  for (const version of vanished) {
    const stage = version.stage === 'primary' && hasPrimary ? 'deprecated' : version.stage;
    const older = accepted.findIndex((other) => Date.parse(other.createdAt) < Date.parse(version.createdAt));
    accepted.splice(older === -1 ? accepted.length : older, 0, reuse(before, version, stage));
  }
  const drift = [
    ...vanished.map(
      ({ id }) => `version ${id} is gone from the store without having been revoked; it is still accepted`,
    ),
    ...returned.map(({ id }) => `version ${id} is back in the store although it was revoked; it is not accepted`),
  ];
  return { accepted, drift: drift.length === 0 ? null : drift.join('; ') };
}

function reuse(
  before: readonly AcceptedVersion[],
  version: AcceptedVersion,
  stage: AcceptedVersion['stage'],
): AcceptedVersion {
  const old = before.find(({ id }) => id === version.id);
  const same =
    old?.stage === stage &&
    old.value === version.value &&
    old.createdAt === version.createdAt &&
    old.compromised === version.compromised;
  return same ? old : new HeldVersion(version, stage);
}

function valuesOf(primary: AcceptedVersion | null, accepted: readonly AcceptedVersion[]): readonly string[] {
  const others = accepted.filter((version) => version !== primary);
  return [...(primary === null ? [] : [primary]), ...others].map((version) => version.value);
}

function tombstonesOf(keyring: Keyring): readonly string[] {
  return keyring.versions.filter((version) => version.stage === 'revoked').map((version) => version.id);
}

function sameItems<T>(left: readonly T[], right: readonly T[]): boolean {
  return left.length === right.length && left.every((item, index) => item === right[index]);
}
