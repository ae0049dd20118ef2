import { isKeyringText, refuseCopy } from '../../src/model/document.ts';
import { isKeyturnError, KeyturnError } from '../../src/model/errors.ts';

/** What plain copies have in common in the stores whose server compares before it writes. */

/** How often a copy is written again that somebody else changed at the same moment. */
const maxAttempts = 3;

/** A copy as it is there. `Token` is what the store compares by. */
export interface ReadCopy<Token> {
  /** What a change is made from. */
  readonly text: string | null;
  /** What ordinary readers get, where that may be something else. */
  readonly shown?: string | null;
  readonly token: Token;
}

/** One copy, and how the store replaces it. */
export interface ComparedCopy<Token> {
  readonly key: string;
  /** The store, for people. */
  readonly label: string;
  readonly read: () => Promise<ReadCopy<Token>>;
  /** False where something else is there than what that token was read with. */
  readonly write: (text: string, token: Token) => Promise<boolean>;
  /** Whether a text that was read is what was written, as far as the store keeps a text. */
  readonly isSame: (read: string | null, written: string) => boolean;
}

/** Writes what `change` makes of the present text, and reads it back. Throws `store-conflict`, and what the store throws. */
export async function writeCopy<Token>(
  copy: ComparedCopy<Token>,
  change: (present: string | null) => string,
): Promise<void> {
  const what = plainCopy(copy.key);
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    const read = await copy.read();
    const next = change(read.text);
    if (next === shownIn(read)) return;
    refuseCopy(next, what);
    if ((await isWritten(copy, next, read.token)) && copy.isSame(shownIn(await copy.read()), next)) return;
  }
  throw new KeyturnError('store-conflict', `${what} in the ${copy.label} is changed by somebody else all the time.`, {
    hint: 'Let nothing else write there, or give the mirror a key of its own.',
    details: { key: copy.key },
  });
}

export function shownIn({ text, shown }: ReadCopy<unknown>): string | null {
  return shown === undefined ? text : shown;
}

/** A write whose answer was lost may have been done. */
async function isWritten<Token>(copy: ComparedCopy<Token>, next: string, token: Token): Promise<boolean> {
  try {
    return await copy.write(next, token);
  } catch (error) {
    if (!isKeyturnError(error, 'store-unreachable')) throw error;
    const read = await copy.read().catch(() => null);
    if (read !== null && copy.isSame(shownIn(read), next)) return true;
    throw error;
  }
}

/**
 * The text, if it is one (null: bytes are there) and no keyring: what a mirror points at by mistake is neither shown nor
 * written over.
 */
export function copyText(text: string | null, key: string, label: string): string {
  if (text !== null && !isKeyringText(text)) return text;
  const what = text === null ? 'bytes are there, and no text' : 'a keyring is there';
  throw new KeyturnError('store-denied', `${plainCopy(key)} is refused by the ${label}: ${what}.`, {
    hint: 'Give the mirror a key of its own.',
    details: { key },
  });
}

/** The beginning of a sentence about it. */
export function plainCopy(key: string): string {
  return `The plain copy ${JSON.stringify(key)}`;
}
