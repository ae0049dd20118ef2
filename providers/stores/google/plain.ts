import type { PlainCopies } from '../../../src/ports/secret-store.ts';
import { copyText, plainCopy, shownIn, writeCopy, type ReadCopy } from '../copies.ts';
import type { Wanted } from '../key.ts';
import { splitCounter } from './known.ts';
import { destroyedIn, type GoogleVersions } from './versions.ts';

/** `token` is the last number that there is; 0: there is none. */
type Copy = ReadCopy<number>;

/**
 * Plain copies as secrets of their own, whose newest version is the whole text: what any client reads as `latest`. That is the
 * newest number, whatever became of it: where it is closed they get nothing. So no version is ever taken away, and a closed
 * one gets another on top. Adding a version compares nothing; who came between is found out by the number that the own one became.
 */
export class GooglePlainCopies implements PlainCopies {
  readonly #versions: GoogleVersions;
  readonly #labels: Readonly<Record<string, string>>;

  constructor(versions: GoogleVersions, labels: Readonly<Record<string, string>>) {
    this.#versions = versions;
    this.#labels = labels;
  }

  async read(key: string): Promise<string | null> {
    return shownIn(await this.#read({ key, what: plainCopy(key) }, new Set()));
  }

  write(key: string, change: (present: string | null) => string): Promise<void> {
    const wanted = { key, what: plainCopy(key) };
    /** Own versions that stand on somebody else's without having taken that in. */
    const hasty = new Set<number>();
    return writeCopy(
      {
        key,
        label: this.#versions.label,
        read: () => this.#read(wanted, hasty),
        write: async (text, end) => {
          if (end === 0) await this.#versions.create(wanted, this.#labels);
          const number = await this.#versions.add(wanted, text);
          if (number === end + 1) return true;
          if (number !== null) hasty.add(number);
          return false;
        },
        isSame: (read, written) => read === written,
      },
      change,
    );
  }

  /** From the list on to the end by number, because a list may lag. `passed` are no base for a change. */
  async #read(wanted: Wanted, passed: ReadonlySet<number>): Promise<Copy> {
    const first = await this.#versions.access(wanted, 1);
    // Not every server has a list of what is not there.
    if (first.state === 'none' && (await this.#versions.secret(wanted)) === 'absent') {
      return { text: null, shown: null, token: 0 };
    }
    const listed = await this.#versions.list(wanted);
    let end = listed?.at(-1)?.number ?? 0;
    while ((await this.#versions.access(wanted, end + 1)).state !== 'none') end += 1;
    const destroyed = destroyedIn(listed);
    let shown: string | null = null;
    for (let number = end; number > 0; number -= 1) {
      if (destroyed.has(number)) continue;
      const found = await this.#versions.access(wanted, number);
      if (found.state !== 'open') continue;
      const text = this.#textOf(found.text, wanted);
      if (number === end) shown = text;
      if (!passed.has(number)) return { text, shown, token: end };
    }
    return { text: null, shown, token: end };
  }

  #textOf(text: string | null, { key }: Wanted): string {
    const { label } = this.#versions;
    const copy = copyText(text, key, label);
    // A keyring stands behind its counter.
    copyText(splitCounter(copy)?.text ?? copy, key, label);
    return copy;
  }
}
