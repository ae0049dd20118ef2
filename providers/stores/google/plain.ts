import type { PlainCopies } from '../../../src/ports/secret-store.ts';
import { copyText, plainCopy, writeCopy } from '../copies.ts';
import type { Wanted } from '../key.ts';
import { splitCounter } from './log.ts';
import type { GoogleVersions } from './versions.ts';

/** A copy and the number that it is; 0: there is none. `end` is the last number that there is. */
interface Copy {
  readonly text: string | null;
  readonly token: { readonly end: number };
}

/**
 * Plain copies as secrets of their own, whose newest version is the whole text: what any client reads as `latest`. Adding a
 * version compares nothing, so who added another one in between is found out by the number that the own one became.
 */
export class GooglePlainCopies implements PlainCopies {
  readonly #versions: GoogleVersions;
  readonly #labels: Readonly<Record<string, string>>;

  constructor(versions: GoogleVersions, labels: Readonly<Record<string, string>>) {
    this.#versions = versions;
    this.#labels = labels;
  }

  async read(key: string): Promise<string | null> {
    return (await this.#read({ key, what: plainCopy(key) })).text;
  }

  write(key: string, change: (present: string | null) => string): Promise<void> {
    const wanted = { key, what: plainCopy(key) };
    return writeCopy(
      {
        key,
        label: this.#versions.label,
        read: () => this.#read(wanted),
        write: (text, { end }) => this.#write(wanted, text, end),
        isSame: (read, written) => read === written,
      },
      change,
    );
  }

  async #write(wanted: Wanted, text: string, end: number): Promise<boolean> {
    if (end === 0) await this.#versions.create(wanted, this.#labels);
    const number = await this.#versions.add(wanted, text);
    if (number === null) return false;
    if (number === end + 1) return true;
    // Made from what is not the newest any more: whoever came between would be lost.
    await this.#versions.destroy(wanted, number);
    return false;
  }

  /** The newest that is open, from the list on to the end by number, because a list may lag. */
  async #read(wanted: Wanted): Promise<Copy> {
    if ((await this.#versions.access(wanted, 1)).state === 'none') return { text: null, token: { end: 0 } };
    const listed = await this.#versions.list(wanted);
    let end = listed.at(-1)?.number ?? 0;
    while ((await this.#versions.access(wanted, end + 1)).state !== 'none') end += 1;
    const destroyed = new Set(listed.filter(({ isDestroyed }) => isDestroyed).map(({ number }) => number));
    for (let number = end; number > 0; number -= 1) {
      if (destroyed.has(number)) continue;
      const found = await this.#versions.access(wanted, number);
      if (found.state === 'open') return { text: this.#textOf(found.text, wanted), token: { end } };
    }
    return { text: null, token: { end } };
  }

  #textOf(text: string | null, { key }: Wanted): string {
    const { label } = this.#versions;
    const copy = copyText(text, key, label);
    // A keyring stands behind its counter.
    copyText(splitCounter(copy)?.text ?? copy, key, label);
    return copy;
  }
}
