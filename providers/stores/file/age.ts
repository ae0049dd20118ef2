import { setImmediate } from 'node:timers/promises';
import pLimit from 'p-limit';
import { KeyturnError } from '../../../src/model/errors.ts';
import { keysIn } from '../../credentials.ts';
import type {} from './browser-types.ts';
import { corrupt, type Kept } from './disk.ts';

export interface AgeOptions {
  /**
   * Gives the text of a key file as age-keygen writes it: one identity or several, of which the first that fits
   * decrypts. It is asked again for each read, so that nobody has to restart who rotates identities. Its errors pass as
   * they are.
   */
  readonly identity: () => Promise<string>;
  /** Who can decrypt what is written from now on; one of the identities has to be among them. Default: the identities. */
  readonly recipients?: readonly string[] | null;
}

const header = Buffer.from('age-encryption.org/');

/** True for what age has encrypted, which no keyring in plain text begins like. */
export function isEncrypted(bytes: Buffer): boolean {
  return bytes.subarray(0, header.length).equals(header);
}

/** Enough to use both a core and the pool that the key exchange runs in, and few enough for requests to come in between. */
const decryptionsAtOnce = pLimit(4);

/** Encryption with identities that may change at any time. The package that does it is loaded at the first use. */
export class AgeCipher {
  readonly #options: AgeOptions;
  readonly #of: string;
  #known: { readonly identity: string; readonly keys: AgeKeys } | null = null;

  /** `of` names the store in messages: `the store local`. */
  constructor(options: AgeOptions, of: string) {
    this.#options = options;
    this.#of = of;
  }

  /** The keys as they are now. Throws `credential-missing` and `policy-invalid`, and shows nothing of an identity. */
  async keys(): Promise<AgeKeys> {
    const identity = await this.#options.identity();
    if (this.#known?.identity === identity) return this.#known.keys;
    const keys = await readKeys(identity, this.#options.recipients ?? null, this.#of);
    this.#known = { identity, keys };
    return keys;
  }
}

/** What of the package is used. Its own types name those of a browser, which no user of this module should need. */
interface Encrypter {
  encrypt(text: string): Promise<Uint8Array>;
}

interface Decrypter {
  decrypt(bytes: Uint8Array): Promise<Uint8Array>;
}

export class AgeKeys {
  readonly #encrypter: Encrypter;
  readonly #decrypter: Decrypter;
  readonly #of: string;
  /** What was decrypted last, by place. Most of what is read many times stays the same, and a key exchange takes its time. */
  readonly #decrypted = new Map<string, { readonly hash: string; readonly content: Uint8Array }>();

  constructor(encrypter: Encrypter, decrypter: Decrypter, of: string) {
    this.#encrypter = encrypter;
    this.#decrypter = decrypter;
    this.#of = of;
  }

  /** `hash` is that of the bytes. Throws `store-encrypted` where no identity fits, and `store-corrupt`. */
  async decrypt(bytes: Buffer, hash: string, kept: Kept): Promise<Uint8Array> {
    const known = this.#decrypted.get(kept.place);
    if (known?.hash === hash) return known.content;
    const content = await this.#tryDecrypt(bytes);
    if (content === 'no identity fits') {
      throw new KeyturnError(
        'store-encrypted',
        `${kept.what} in ${kept.place} is encrypted to others than the age identity of ${this.#of}.`,
        {
          hint: 'Give it the identity that this was encrypted to; its file may hold several, the old ones below the new.',
          details: { path: kept.place },
        },
      );
    }
    if (content === 'damaged') throw corrupt(kept, 'it is encrypted, and not whole or damaged');
    this.#decrypted.set(kept.place, { hash, content });
    return content;
  }

  /** Throws `policy-invalid`, before anything is written, where the identity could not decrypt it again. */
  async encrypt(text: string): Promise<Buffer> {
    const bytes = Buffer.from(await this.#encrypter.encrypt(text));
    if (typeof (await this.#tryDecrypt(bytes)) === 'string') {
      throw new KeyturnError(
        'policy-invalid',
        `The age identity of ${this.#of} is not among its recipients, so what it writes could not be read again.`,
        { hint: 'Add its recipient, which age-keygen -y prints, to "recipients", or leave "recipients" out.' },
      );
    }
    return bytes;
  }

  /** The package's own words may quote what they are about, so they go no further. */
  #tryDecrypt(bytes: Uint8Array): Promise<Uint8Array | 'no identity fits' | 'damaged'> {
    return decryptionsAtOnce(async () => {
      // A turn of the event loop, never time: a key exchange of the hybrid kind would otherwise follow on the other.
      await setImmediate();
      try {
        return await this.#decrypter.decrypt(bytes);
      } catch (error) {
        return error === noneFits ? 'no identity fits' : 'damaged';
      }
    });
  }
}

/** Thrown by the last in the row of identities, which is asked only where no other fits. */
const noneFits = new Error('no identity fits');

async function readKeys(identity: string, recipients: readonly string[] | null, of: string): Promise<AgeKeys> {
  const age = await import('age-encryption');
  const [encrypter, decrypter] = [new age.Encrypter(), new age.Decrypter()];
  const identities = keysIn(identity);
  if (identities.length === 0) throw notIdentity('', 'it', of);
  for (const [index, each] of identities.entries()) {
    try {
      decrypter.addIdentity(each);
    } catch {
      const which = identities.length === 1 ? 'it' : `key ${String(index + 1)} of ${String(identities.length)} in it`;
      throw notIdentity(each, which, of);
    }
  }
  decrypter.addIdentity({ unwrapFileKey: () => Promise.reject(noneFits) });
  const encryptTo = recipients ?? (await Promise.all(identities.map((each) => age.identityToRecipient(each))));
  for (const [index, each] of encryptTo.entries()) {
    try {
      encrypter.addRecipient(each);
    } catch {
      throw new KeyturnError('policy-invalid', `Recipient ${String(index + 1)} of ${of} is not whole.`, {
        hint: 'Copy it again, as age-keygen -y prints it.',
      });
    }
  }
  return new AgeKeys(encrypter, decrypter, of);
}

const notIdentities: readonly { readonly begins: RegExp; readonly is: string; readonly hint: string }[] = [
  { begins: /^$/, is: 'is empty', hint: 'Make one with age-keygen.' },
  {
    begins: /^age1/,
    is: 'is a recipient, which encrypts and cannot decrypt',
    hint: 'Name the identity that belongs to it, which begins with AGE-SECRET-KEY-.',
  },
  {
    begins: /^AGE-PLUGIN-/i,
    is: 'is for a plugin of age, and keyturn runs none',
    hint: 'Use an identity that age-keygen made.',
  },
  {
    begins: /^(?:-----BEGIN|age-encryption\.org)/,
    is: 'is encrypted itself, or a key of another kind',
    hint: 'Decrypt it first, or make an identity with age-keygen; keys of SSH are not read.',
  },
];

function notIdentity(text: string, which: string, of: string): KeyturnError {
  const { is, hint } = notIdentities.find(({ begins }) => begins.test(text)) ?? {
    is: 'is no age identity, or not whole',
    hint: 'An identity begins with AGE-SECRET-KEY- and is one line; age-keygen makes one.',
  };
  return new KeyturnError('credential-missing', `The age identity of ${of} cannot be used: ${which} ${is}.`, {
    hint,
  });
}
