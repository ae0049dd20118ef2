import { MemoryPlace, type StoredDocument } from '../memory/secret-store.ts';

/** Told of every document as it is written, by whom, and of what was there before, which a hand may have put there. */
export type OnWrite = (text: string, author: string, replaced: string | null) => void;

/** One process's way to the place that all share, so that the world knows whose a commit is. */
export class AuthoredPlace extends MemoryPlace {
  readonly #shared: MemoryPlace;
  readonly #author: string;
  readonly #onWrite: OnWrite;

  constructor(shared: MemoryPlace, author: string, onWrite: OnWrite) {
    super();
    this.#shared = shared;
    this.#author = author;
    this.#onWrite = onWrite;
  }

  override newest(key: string): string | null {
    return this.#shared.newest(key);
  }

  override asOf(key: string, monotonicMs: number): StoredDocument | null {
    return this.#shared.asOf(key, monotonicMs);
  }

  override write(key: string, text: string, monotonicMs: number): void {
    const replaced = this.#shared.newest(key);
    this.#shared.write(key, text, monotonicMs);
    this.#onWrite(text, this.#author, replaced);
  }

  override purge(key: string, visibleSince: number): void {
    this.#shared.purge(key, visibleSince);
  }

  override plain(key: string): string | null {
    return this.#shared.plain(key);
  }

  override writePlain(key: string, text: string): void {
    this.#shared.writePlain(key, text);
  }
}
