import { refuseCopy } from '../../../src/model/document.ts';
import { isKeyturnError, KeyturnError } from '../../../src/model/errors.ts';
import { isRecord, parseObject, type Fields } from '../../../src/model/json.ts';
import type { PlainCopies } from '../../../src/ports/secret-store.ts';
import { keyringField, type Found, type VaultMount } from './mount.ts';

/** How often a copy is written again that somebody else changed at the same moment. */
const maxAttempts = 3;

/** Says of a key that its `value` is the whole text of the copy, and not one property of a JSON object. */
const mark = { keyturn: 'plain-copy' } as const;

/**
 * Plain copies as keys of their own. A JSON object is the key's fields, so that a property of it is what `bao kv get -field`
 * shows; any other text is the field `value`, beside a mark. The engine sorts fields, forgets white space, and keeps numbers as
 * doubles, whoever writes them.
 */
export class VaultPlainCopies implements PlainCopies {
  readonly #mount: VaultMount;

  constructor(mount: VaultMount) {
    this.#mount = mount;
  }

  async read(key: string): Promise<string | null> {
    return this.#textOf(await this.#mount.read(key, plainCopy(key)), key);
  }

  async write(key: string, change: (present: string | null) => string): Promise<void> {
    const what = plainCopy(key);
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const found = await this.#mount.read(key, what);
      const present = this.#textOf(found, key);
      const next = change(present);
      if (next === present) return;
      refuseCopy(next, what);
      const cas = found.state === 'present' || found.state === 'deleted' ? found.version : 0;
      const data = fieldsOf(next);
      if (await this.#written(key, data, cas)) {
        const read = await this.#mount.read(key, what);
        if (read.state === 'present' && isSame(read.data, data)) return;
      }
    }
    throw new KeyturnError(
      'store-conflict',
      `${what} in the ${this.#mount.label} is changed by somebody else all the time.`,
      {
        hint: 'Let nothing else write there, or give the mirror a key of its own.',
        details: { key },
      },
    );
  }

  /** A write whose answer was lost may have been done. */
  async #written(key: string, data: Fields, cas: number): Promise<boolean> {
    const what = plainCopy(key);
    try {
      return await this.#mount.write(key, what, data, cas);
    } catch (error) {
      if (!isKeyturnError(error, 'store-unreachable')) throw error;
      const read = await this.#mount.read(key, what).catch(() => null);
      if (read?.state === 'present' && isSame(read.data, data)) return true;
      throw error;
    }
  }

  #textOf(found: Found, key: string): string | null {
    if (found.state !== 'present') return null;
    const { data } = found;
    if (isKeyring(data)) {
      throw new KeyturnError(
        'store-denied',
        `${plainCopy(key)} is refused by the ${this.#mount.label}: a keyring is there.`,
        {
          hint: 'Give the mirror a key of its own.',
          details: { key },
        },
      );
    }
    const { value, keyturn, ...more } = data;
    const isWhole = keyturn === mark.keyturn && typeof value === 'string' && Object.keys(more).length === 0;
    return isWhole ? value : JSON.stringify(data);
  }
}

function fieldsOf(text: string): Fields {
  return parseObject(text) ?? { value: text, ...mark };
}

function isKeyring(data: Fields): boolean {
  const text = data[keyringField];
  return typeof text === 'string' && /^\s*\{\s*"format":\s*"keyturn\.keyring\//.test(text);
}

function isSame(one: Fields, other: Fields): boolean {
  return JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isRecord(value)) return value;
  const entries = Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(entries.map(([name, each]) => [name, sorted(each)]));
}

function plainCopy(key: string): string {
  return `The plain copy ${JSON.stringify(key)}`;
}
