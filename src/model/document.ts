import { KeyturnError } from './errors.ts';
import { isRecord, type Fields } from './json.ts';
import { validated, type Claim, type Keyring, type RunKind, type Stage, type Version } from './keyring.ts';

/** The shape of a stored keyring and its version. A reader refuses a number it does not know. */
export const keyringFormat = 'keyturn.keyring/1';

/** A keyring may take this much in any store: the smallest store's limit. */
export const maxDocumentBytes = 64 * 1024;

/** The keyring as the text a store keeps. Throws `store-too-large` above 64 KiB. */
export function formatKeyring(keyring: Keyring): string {
  const { secret, revision, commits, claim } = keyring;
  const versions = keyring.versions.map(({ id, stage, value, createdAt, revokedAt, compromised }) => ({
    id,
    stage,
    ...(value === null ? {} : { value }),
    createdAt,
    ...(revokedAt === null ? {} : { revokedAt }),
    ...(compromised ? { compromised } : {}),
  }));
  const text = JSON.stringify(
    { format: keyringFormat, secret, revision, commits, versions, ...(claim === null ? {} : { claim }) },
    null,
    2,
  );
  const bytes = Buffer.byteLength(text);
  if (bytes > maxDocumentBytes) {
    throw new KeyturnError(
      'store-too-large',
      `The keyring of ${secret} would take ${String(bytes)} bytes; a store holds at most ${String(maxDocumentBytes)}.`,
      { hint: 'Use shorter values, or finish the rotations that keep old ones.' },
    );
  }
  return text;
}

/**
 * Refuses the text of a plain copy that some store could not keep as it is; `what` is the beginning of a sentence. Throws
 * `store-too-large` above 64 KiB, and `value-refused` for half a character.
 */
export function refuseCopy(text: string, what: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > maxDocumentBytes) {
    throw new KeyturnError(
      'store-too-large',
      `${what} would take ${String(bytes)} bytes; a store holds at most ${String(maxDocumentBytes)}.`,
      { hint: 'Use shorter values, or give the mirror a key of its own.' },
    );
  }
  if (text.isWellFormed()) return;
  throw new KeyturnError('value-refused', `${what} cannot be written: half a character in it has no UTF-8.`, {
    hint: 'Rotate the secret: its value was cut in the middle of a character.',
  });
}

/** Whether a text is meant as a keyring, whole or not. */
export function isKeyringText(text: string): boolean {
  return /^\s*\{\s*"format":\s*"keyturn\.keyring\//.test(text);
}

/**
 * Reads a stored keyring. `place` names where it was read, for messages; `secret` is whose it must be, so that a
 * document copied to another secret's place is noticed. Throws `store-corrupt` or `store-newer-format`; no message
 * shows any part of the text.
 */
export function parseKeyring(text: string, place: string, secret: string): Keyring {
  const corrupt: Corrupt = (why, hint = 'Restore it from a backup, or remove it and adopt the value in use again.') =>
    new KeyturnError('store-corrupt', `The keyring of ${secret} in ${place} cannot be used: ${why}.`, { hint });
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw corrupt('it is not whole JSON');
  }
  if (!isRecord(data)) throw corrupt('it is no JSON object');
  if (typeof data['format'] !== 'string' || !data['format'].startsWith('keyturn.keyring/')) {
    throw corrupt('it is not a keyturn keyring', 'Something else wrote it: move it away, and correct what wrote it.');
  }
  if (data['format'] !== keyringFormat) {
    throw new KeyturnError(
      'store-newer-format',
      `The keyring of ${secret} in ${place} has ${formatWords(data['format'])}; this version of keyturn reads ${keyringFormat}.`,
      { hint: 'Update keyturn in this process.' },
    );
  }
  const read = new FieldReader(corrupt);
  read.only(data, 'it', ['format', 'secret', 'revision', 'commits', 'versions', 'claim']);
  const owner = read.string(data, 'it', 'secret');
  if (owner !== secret) {
    const hint = 'It was copied or moved there: put the right one back from a backup, or correct "key" in the policy.';
    throw corrupt('it is the keyring of another secret', hint);
  }
  const revision = data['revision'];
  if (typeof revision !== 'number' || !Number.isSafeInteger(revision) || revision < 1) {
    throw corrupt('its revision is no whole number above 0');
  }
  const commits = read.list(data, 'it', 'commits').map((commit) => {
    if (typeof commit !== 'string' || commit === '') throw corrupt('a commit id is no text');
    return commit;
  });
  const keyring: Keyring = {
    secret: owner,
    revision,
    commits,
    versions: read.list(data, 'it', 'versions').map((version) => readVersion(read, version)),
    claim: data['claim'] === undefined ? null : readClaim(read, data['claim']),
  };
  try {
    return validated(keyring);
  } catch (error) {
    if (error instanceof KeyturnError) throw corrupt(error.message.replace(/^.*is not valid: /, '').replace(/\.$/, ''));
    throw error;
  }
}

const stages: readonly Stage[] = ['pending', 'primary', 'deprecated', 'revoked'];
const runKinds: readonly RunKind[] = ['first', 'rotation'];

function readVersion(read: FieldReader, data: unknown): Version {
  const of = 'a version';
  const record = read.record(data, of);
  read.only(record, of, ['id', 'stage', 'value', 'createdAt', 'revokedAt', 'compromised']);
  return {
    id: read.string(record, of, 'id'),
    stage: read.oneOf(record, of, 'stage', stages),
    value: record['value'] === undefined ? null : read.string(record, of, 'value'),
    createdAt: read.time(record, of, 'createdAt'),
    revokedAt: record['revokedAt'] === undefined ? null : read.time(record, of, 'revokedAt'),
    compromised: record['compromised'] === undefined ? false : read.flag(record, of, 'compromised'),
  };
}

function readClaim(read: FieldReader, data: unknown): Claim {
  const of = 'its claim';
  const record = read.record(data, of);
  read.only(record, of, ['run', 'journal', 'kind', 'from', 'to', 'deadline']);
  return {
    run: read.string(record, of, 'run'),
    journal: read.string(record, of, 'journal'),
    kind: read.oneOf(record, of, 'kind', runKinds),
    from: record['from'] === null ? null : read.string(record, of, 'from'),
    to: read.string(record, of, 'to'),
    deadline: record['deadline'] === null ? null : read.time(record, of, 'deadline'),
  };
}

/** A format is shown only where it can be nothing but one: the text is a secret's document, or was meant to be. */
function formatWords(format: string): string {
  return /^keyturn\.keyring\/\d{1,6}$/.test(format) ? `the format ${format}` : 'an unknown format';
}

type Corrupt = (why: string, hint?: string) => KeyturnError;

/** Reads typed fields and says which one is wrong; written by hand because receivers load no schema library. */
class FieldReader {
  readonly #corrupt: Corrupt;

  constructor(corrupt: Corrupt) {
    this.#corrupt = corrupt;
  }

  record(data: unknown, of: string): Fields {
    if (!isRecord(data)) throw this.#corrupt(`${of} is no JSON object`);
    return data;
  }

  only(data: Fields, of: string, known: readonly string[]): void {
    const isUnknown = Object.keys(data).some((key) => !known.includes(key));
    if (!isUnknown) return;
    const hint = 'Take out what was added by hand; where a newer keyturn wrote it, update keyturn in this process.';
    throw this.#corrupt(`${of} has a field beside ${known.join(', ')}`, hint);
  }

  list(data: Fields, of: string, key: string): readonly unknown[] {
    const value = data[key];
    if (!Array.isArray(value)) throw this.#corrupt(`${of} has no list "${key}"`);
    return value;
  }

  string(data: Fields, of: string, key: string): string {
    const value = data[key];
    if (typeof value !== 'string') throw this.#corrupt(`${of} has no text "${key}"`);
    return value;
  }

  flag(data: Fields, of: string, key: string): boolean {
    const value = data[key];
    if (typeof value !== 'boolean') throw this.#corrupt(`${of} has a "${key}" that is neither true nor false`);
    return value;
  }

  time(data: Fields, of: string, key: string): string {
    const value = this.string(data, of, key);
    if (Number.isNaN(Date.parse(value))) throw this.#corrupt(`${of} has a "${key}" that is no time`);
    return value;
  }

  oneOf<T extends string>(data: Fields, of: string, key: string, known: readonly T[]): T {
    const value = this.string(data, of, key);
    const found = known.find((each) => each === value);
    if (found === undefined) throw this.#corrupt(`${of} has a "${key}" that is none of ${known.join(', ')}`);
    return found;
  }
}
