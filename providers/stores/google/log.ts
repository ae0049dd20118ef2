import pLimit from 'p-limit';
import { KeyturnError } from '../../../src/model/errors.ts';
import { storeDeleted } from '../../../src/ports/store-errors.ts';
import type { Clock } from '../../../src/ports/system.ts';
import type { Wanted } from '../key.ts';
import { readsAtOnce } from '../reads.ts';
import {
  nothing,
  reconsidered,
  splitCounter,
  taken,
  withCounter,
  type Accepted,
  type Known,
  type Seen,
} from './known.ts';
import { destroyedIn, type GoogleVersions, type Numbered } from './versions.ts';

/**
 * The numbers of a secret's versions are a log of documents, and what is accepted is judged once it was read by number to its
 * end. So of two documents that were made from one base the earlier wins, everybody who reads the same log comes to the same,
 * and nothing is asked that may be answered from an older moment. The rules are in `known.ts`.
 */

export type LogRead =
  { readonly state: 'absent' | 'empty' } | { readonly state: 'present'; readonly accepted: Accepted };

/** What is remembered of one log. */
interface Remembered {
  readonly known: Known;
  /** When a list was last looked at; a moment of the monotonic clock. */
  readonly listedAt: number;
}

/** A number that was skipped would hide what comes after it until a list shows that. */
const listEveryMs = 10 * 60_000;

/** How often a number is asked for again that is not there while a later one is, and how long is waited before, ms. */
const missingAgain = 3;
const missingPauseMs = 200;

/** What it asks of Secret Manager. */
export type NumberedVersions = Pick<
  GoogleVersions,
  'label' | 'resourceOf' | 'access' | 'list' | 'isDisabled' | 'create' | 'add' | 'destroy' | 'remove' | 'secret'
>;

/** Reads and writes the logs of one store, and remembers how far each was read. */
export class GoogleLog {
  readonly #versions: NumberedVersions;
  readonly #clock: Clock;
  readonly #remembered = new Map<string, Remembered>();

  constructor(versions: NumberedVersions, clock: Clock) {
    this.#versions = versions;
    this.#clock = clock;
  }

  /** One call where nothing is new. `secret` is whose keyring it is; `anew` forgets what was read before. */
  async read(wanted: Wanted, secret: string, { anew = false } = {}): Promise<LogRead> {
    if (anew) this.#remembered.delete(wanted.key);
    const known = await this.#readOn(wanted);
    if (known === null) return { state: 'absent' };
    this.#refuseTrouble(wanted, secret, known);
    return known.accepted === null ? { state: 'empty' } : { state: 'present', accepted: known.accepted };
  }

  /**
   * Adds the document to the log and reads on to its end. False where another one made from the same base came first; the own
   * one is then destroyed. `base` is what was accepted when it was made; null: nothing.
   */
  async write(
    wanted: Wanted,
    text: string,
    base: Accepted | null,
    labels: Readonly<Record<string, string>>,
  ): Promise<boolean> {
    const payload = withCounter(text, (base?.counter ?? 0) + 1);
    if (base === null) await this.#versions.create(wanted, labels);
    const number = await this.#versions.add(wanted, payload);
    if (number === null) return false;
    const known = await this.#readOn(wanted, number);
    if (known?.accepted?.number === number) return true;
    await this.#versions.destroy(wanted, number);
    return false;
  }

  /** Takes the secret away, with its whole log. */
  async remove(wanted: Wanted): Promise<void> {
    await this.#versions.remove(wanted);
    this.#remembered.delete(wanted.key);
  }

  /** Destroys every version but the accepted one, of what was read; none while a person has to decide about one. */
  async destroyOthers(wanted: Wanted, secret: string): Promise<void> {
    const known = await this.#readOn(wanted);
    const kept = known?.accepted?.number ?? null;
    if (known === null || kept === null) return;
    this.#refuseTrouble(wanted, secret, known);
    // A list may not show yet what is to be destroyed; what it shows as destroyed is so for good.
    const destroyed = destroyedIn(await this.#versions.list(wanted));
    const others = numbersTo(1, known.end).filter((number) => number !== kept && !destroyed.has(number));
    await pLimit(readsAtOnce).map(others, (number) => this.#versions.destroy(wanted, number));
  }

  #refuseTrouble(wanted: Wanted, secret: string, { trouble }: Known): void {
    if (trouble === null) return;
    const { number, kind } = trouble;
    const place = `the ${this.#versions.label} at ${JSON.stringify(wanted.key)}`;
    const resource = this.#versions.resourceOf(wanted);
    if (kind === 'disabled') {
      const hint = `Version ${String(number)} is disabled. Enable it (gcloud secrets versions enable), or destroy it.`;
      throw storeDeleted(secret, place, { resource, version: number }, hint);
    }
    const version = `version ${String(number)} of ${resource}`;
    throw new KeyturnError(
      'store-corrupt',
      `The keyring of ${secret} in ${place} cannot be used: keyturn did not write its ${version}.`,
      {
        hint: `Find out who did; then destroy that version (gcloud secrets versions destroy ${String(number)} --secret=…). The one before it is still there.`,
        details: { resource, version: number },
      },
    );
  }

  /** Null where there is no such secret. `least` is a number that exists: the end is not before it. */
  async #readOn(wanted: Wanted, least = 0): Promise<Known | null> {
    const before = this.#remembered.get(wanted.key) ?? null;
    const isFresh = before !== null && this.#clock.monotonic() - before.listedAt < listEveryMs;
    const listedAt = isFresh ? before.listedAt : this.#clock.monotonic();
    let known = before === null ? null : reconsidered(before.known);
    if (!isFresh) known = await this.#readListed(wanted, known);
    if (known === null && least === 0) {
      this.#remembered.delete(wanted.key);
      return null;
    }
    known ??= nothing;
    for (let number = known.end + 1; ; number += 1) {
      const found = await this.#numbered(wanted, number, number <= least);
      if (found.state === 'none' && number > least) break;
      if (found.state === 'none' && number === least) throw this.#unseen(wanted, number);
      known = taken(known, number, await this.#seen(wanted, number, found));
    }
    this.#remembered.set(wanted.key, { known, listedAt });
    return known;
  }

  /** What a list shows, read by number. Nothing is taken from the list but that a number exists, or is destroyed for good. */
  async #readListed(wanted: Wanted, before: Known | null): Promise<Known | null> {
    const accepted = before?.accepted ?? null;
    const found = await this.#versions.access(wanted, accepted?.number ?? 1);
    // Not every server has a list of what is not there.
    if (found.state === 'none' && (await this.#versions.secret(wanted)) === 'absent') return null;
    const listed = await this.#versions.list(wanted);
    // No list alone is believed that there is nothing.
    if (found.state === 'none' && (listed ?? []).length === 0) return listed === null ? null : nothing;
    // A secret that was deleted and made again begins at 1 again.
    const isSame =
      accepted !== null && found.state === 'open' && found.text === withCounter(accepted.text, accepted.counter);
    let known = (isSame ? before : null) ?? nothing;
    const destroyed = destroyedIn(listed);
    const numbers = numbersTo(known.end + 1, listed?.at(-1)?.number ?? 0);
    const seen = await pLimit(readsAtOnce).map(numbers, async (number): Promise<Seen> => {
      if (destroyed.has(number)) return { state: 'gone' };
      return this.#seen(wanted, number, await this.#numbered(wanted, number, true));
    });
    for (const [index, each] of seen.entries()) known = taken(known, numbers[index] ?? 0, each);
    return known;
  }

  /** A number that is not there while a later one is, is asked for again: then it was skipped. */
  async #numbered(wanted: Wanted, number: number, isThere: boolean): Promise<Numbered> {
    let found = await this.#versions.access(wanted, number);
    for (let again = 0; isThere && found.state === 'none' && again < missingAgain; again += 1) {
      await this.#clock.sleep(missingPauseMs * 2 ** again);
      found = await this.#versions.access(wanted, number);
    }
    return found;
  }

  async #seen(wanted: Wanted, number: number, found: Numbered): Promise<Seen> {
    if (found.state === 'none') return { state: 'gone' };
    if (found.state === 'closed') {
      return { state: (await this.#versions.isDisabled(wanted, number)) ? 'disabled' : 'gone' };
    }
    const document = found.text === null ? null : splitCounter(found.text);
    return document === null ? { state: 'foreign' } : { state: 'document', ...document };
  }

  /** Neither won nor lost: it is left there, and the same commit again finds out. */
  #unseen(wanted: Wanted, number: number): KeyturnError {
    const resource = this.#versions.resourceOf(wanted);
    return new KeyturnError(
      'store-unreachable',
      `${wanted.what} cannot be judged: the ${this.#versions.label} does not show yet the version that was added.`,
      { hint: 'It is tried again.', details: { resource, version: number } },
    );
  }
}

function numbersTo(first: number, last: number): readonly number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
}
