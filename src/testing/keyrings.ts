import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { isKeyturnError, type ErrorCode, type KeyturnError } from '../model/errors.ts';
import { emptyKeyring, nextKeyring, type Keyring, type KeyringMove } from '../model/keyring.ts';
import type { SecretStore, StoreName, StoreRead } from '../ports/secret-store.ts';

/** Keyrings to commit, and what to expect of a store, for tests. */

const at = '2026-01-01T00:00:00.000Z';

let commits = 0;

/** The next keyring with a commit id of its own. */
export function next(base: Keyring, ...moves: readonly KeyringMove[]): Keyring {
  commits += 1;
  return nextKeyring(base, moves, { id: `c-${String(commits)}`, highestRevision: base.revision });
}

export function adding(version: string, value: string): KeyringMove {
  return { kind: 'add', version, value, createdAt: at };
}

/** A keyring after its first commit, with one primary version. */
export function firstKeyring(secret: string, value = `value of ${secret}`): Keyring {
  return next(emptyKeyring(secret), adding('v1', value), { kind: 'promote', version: 'v1' });
}

export async function readOne(store: Pick<SecretStore, 'read'>, name: StoreName): Promise<StoreRead> {
  const read = (await store.read([name])).get(name.secret);
  if (read === undefined) throw new Error(`the read left out ${name.secret}`);
  return read;
}

export async function readPresent(
  store: Pick<SecretStore, 'read'>,
  name: StoreName,
): Promise<StoreRead & { state: 'present' }> {
  const read = await readOne(store, name);
  if (read.state === 'failed') throw read.error;
  if (read.state !== 'present') throw new Error(`${name.secret} is ${read.state}`);
  return read;
}

export async function errorOf(promise: Promise<unknown>): Promise<KeyturnError> {
  try {
    await promise;
  } catch (error) {
    if (isKeyturnError(error)) return error;
    throw error;
  }
  throw new Error('it was expected to fail');
}

export async function expectCode(promise: Promise<unknown>, ...codes: readonly ErrorCode[]): Promise<KeyturnError> {
  const error = await errorOf(promise);
  expectError(error, codes);
  return error;
}

export async function expectFailed(
  store: Pick<SecretStore, 'read'>,
  name: StoreName,
  ...codes: readonly ErrorCode[]
): Promise<KeyturnError> {
  const read = await readOne(store, name);
  if (read.state !== 'failed') throw new Error(`${name.secret} is ${read.state}`);
  expectError(read.error, codes);
  return read.error;
}

function expectError({ code, message, hint }: KeyturnError, codes: readonly ErrorCode[]): void {
  assert.ok(codes.includes(code), `${code} instead of ${codes.join(' or ')}: ${message}`);
  assert.match(hint ?? '', /\w/, `an error without a hint: ${message}`);
}

/** Everything that anybody could print of it, searched for the value in the forms in which values travel. */
export function expectNoLeak(value: string, ...subjects: readonly unknown[]): void {
  const bytes = Buffer.from(value);
  const forms = [value, ...(['base64', 'base64url', 'hex'] as const).map((encoding) => bytes.toString(encoding))];
  for (const subject of subjects) {
    const texts = printed(subject).map((text) => text.toLowerCase());
    for (const form of forms) {
      assert.ok(!texts.some((text) => text.includes(form.toLowerCase())), 'a value shows where something is printed');
    }
  }
}

function printed(subject: unknown): readonly string[] {
  const texts = [inspect(subject, { depth: Infinity, showHidden: true, getters: true, maxStringLength: null })];
  texts.push(JSON.stringify({ subject }, withoutCycles()));
  if (subject instanceof Error) texts.push(String(subject.stack), subject.message, inspect(subject.cause));
  return texts;
}

function withoutCycles(): (key: string, value: unknown) => unknown {
  const seen = new Set<unknown>();
  return (_, value) => {
    if (typeof value !== 'object' || value === null) return value;
    if (seen.has(value)) return undefined;
    seen.add(value);
    return value;
  };
}
