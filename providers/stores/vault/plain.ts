import { isRecord, parseObject, type Fields } from '../../../src/model/json.ts';
import type { PlainCopies } from '../../../src/ports/secret-store.ts';
import { copyText, plainCopy, writeCopy } from '../copies.ts';
import { keyringField, type Found, type VaultMount } from './mount.ts';

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

  write(key: string, change: (present: string | null) => string): Promise<void> {
    const what = plainCopy(key);
    return writeCopy(
      {
        key,
        label: this.#mount.label,
        read: async () => {
          const found = await this.#mount.read(key, what);
          const token = found.state === 'present' || found.state === 'deleted' ? found.version : 0;
          return { text: this.#textOf(found, key), token };
        },
        write: (text, cas) => this.#mount.write(key, what, fieldsOf(text), cas),
        isSame: (read, written) => read !== null && isSame(fieldsOf(read), fieldsOf(written)),
      },
      change,
    );
  }

  #textOf(found: Found, key: string): string | null {
    if (found.state !== 'present') return null;
    const { data } = found;
    const keyring = data[keyringField];
    if (typeof keyring === 'string') copyText(keyring, key, this.#mount.label);
    const { value, keyturn, ...more } = data;
    const isWhole = keyturn === mark.keyturn && typeof value === 'string' && Object.keys(more).length === 0;
    return isWhole ? value : JSON.stringify(data);
  }
}

function fieldsOf(text: string): Fields {
  return parseObject(text) ?? { value: text, ...mark };
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
