import { parseKeyring } from '../../src/model/document.ts';
import { copyOfKeyring, type Keyring } from '../../src/model/keyring.ts';
import type { StoreName } from '../../src/ports/secret-store.ts';

interface Parsed {
  readonly secret: string;
  readonly text: string;
  readonly keyring: Keyring;
}

/**
 * The keyrings of texts that were read before, by key: a refresh that finds nothing new parses nothing, which is a tenth of
 * what a receiver of many secrets costs while nothing happens. Everybody gets a copy.
 */
export class ParsedKeyrings {
  readonly #byKey = new Map<string, Parsed>();

  /** `place` names where it was read, for messages. Throws `store-corrupt`, `store-newer-format`. */
  of({ secret, key }: StoreName, text: string, place: (name: StoreName) => string): Keyring {
    const before = this.#byKey.get(key);
    if (before?.text === text && before.secret === secret) return copyOfKeyring(before.keyring);
    // What cannot be parsed now has to be looked at again.
    this.#byKey.delete(key);
    const keyring = parseKeyring(text, place({ secret, key }), secret);
    this.#byKey.set(key, { secret, text, keyring });
    return copyOfKeyring(keyring);
  }
}
