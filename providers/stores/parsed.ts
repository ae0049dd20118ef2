import { parseKeyring } from '../../src/model/document.ts';
import { copyOfKeyring, type Keyring } from '../../src/model/keyring.ts';
import type { StoreName } from '../../src/ports/secret-store.ts';

interface Parsed {
  readonly secret: string;
  readonly text: string;
  readonly keyring: Keyring;
}

/**
 * The keyrings of texts that were read before, by key: a refresh that finds nothing new parses nothing, which is a seventh
 * of what a receiver of many secrets costs while nothing happens. Everybody gets a copy.
 */
export class ParsedKeyrings {
  readonly #place: (name: StoreName) => string;
  readonly #byKey = new Map<string, Parsed>();

  /** `place` names where a keyring is, for messages. */
  constructor(place: (name: StoreName) => string) {
    this.#place = place;
  }

  /** Throws `store-corrupt`, `store-newer-format`. */
  of(name: StoreName, text: string): Keyring {
    const { secret, key } = name;
    const before = this.#byKey.get(key);
    if (before?.text === text && before.secret === secret) return copyOfKeyring(before.keyring);
    const keyring = parseKeyring(text, this.#place(name), secret);
    this.#byKey.set(key, { secret, text, keyring });
    return copyOfKeyring(keyring);
  }
}
