import pLimit from 'p-limit';
import { KeyturnError } from '../../../src/model/errors.ts';
import type { Clock } from '../../../src/ports/system.ts';
import { storeDeleted } from '../../../src/ports/store-errors.ts';
import type { Wanted } from '../key.ts';
import { readsAtOnce } from '../reads.ts';
import type { GoogleVersions, Numbered } from './versions.ts';

/**
 * The numbers of a secret's versions are a log of documents. Each carries its *counter*: that of the document it was made
 * from, and one more. Accepted is the highest counter, and the lowest number among equals, once the log was read by number to
 * its end. So of two documents that were made from one base the earlier wins, everybody who reads the same log comes to the
 * same, and nothing is asked that may be answered from an older moment. Why so: docs/google.md.
 */

/** The document that stands. */
export interface Accepted {
  readonly number: number;
  readonly counter: number;
  /** Null where its bytes are no text. */
  readonly text: string | null;
}

export type LogRead =
  { readonly state: 'absent' | 'empty' } | { readonly state: 'present'; readonly accepted: Accepted };

/** What is known of one log. */
interface Known {
  /** Up to here every number was looked at. */
  readonly end: number;
  readonly accepted: Accepted | null;
  /** A number beyond the accepted one that a person closed and can open again. */
  readonly disabled: number | null;
  /** A number that keyturn did not write. */
  readonly foreign: number | null;
  /** When a list was last looked at; a moment of the monotonic clock. */
  readonly listedAt: number;
}

/** A number that was skipped would hide what comes after it until a list shows that. */
const listEveryMs = 10 * 60_000;

/** How often a number is asked for again that is not there while a later one is, and how long is waited before, ms. */
const missingAgain = 3;
const missingPauseMs = 200;

/** The first line of a version; the document is all after it. */
const opening = /^\{"counter":(\d{1,15})\}\n/;

export function withCounter(text: string, counter: number): string {
  return `{"counter":${String(counter)}}\n${text}`;
}

/** Null where the line is missing: somebody else wrote it. */
export function splitCounter(text: string): { readonly counter: number; readonly text: string } | null {
  const found = opening.exec(text);
  return found === null ? null : { counter: Number(found[1]), text: text.slice(found[0].length) };
}

/** What it asks of Secret Manager. */
export type NumberedVersions = Pick<
  GoogleVersions,
  'label' | 'resourceOf' | 'access' | 'list' | 'isDisabled' | 'create' | 'add' | 'destroy' | 'remove' | 'secret'
>;

/** Reads and writes the logs of one store, and remembers how far each was read. */
export class GoogleLog {
  readonly #versions: NumberedVersions;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();

  constructor(versions: NumberedVersions, clock: Clock) {
    this.#versions = versions;
    this.#clock = clock;
  }

  /** One call where nothing is new. `secret` is whose keyring it is; `anew` forgets what was read before. */
  async read(wanted: Wanted, secret: string, { anew = false } = {}): Promise<LogRead> {
    if (anew) this.#known.delete(wanted.key);
    const known = await this.#readOn(wanted);
    if (known === null) return { state: 'absent' };
    const place = `the ${this.#versions.label} at ${JSON.stringify(wanted.key)}`;
    const resource = this.#versions.resourceOf(wanted);
    if (known.foreign !== null) {
      const version = `version ${String(known.foreign)} of ${resource}`;
      throw new KeyturnError(
        'store-corrupt',
        `The keyring of ${secret} in ${place} cannot be used: keyturn did not write its ${version}.`,
        {
          hint: `Find out who did; then destroy that version (gcloud secrets versions destroy ${String(known.foreign)} --secret=…). The one before it is still there.`,
          details: { resource, version: known.foreign },
        },
      );
    }
    if (known.disabled !== null) {
      const hint = `Version ${String(known.disabled)} is disabled. Enable it (gcloud secrets versions enable), or destroy it.`;
      throw storeDeleted(secret, place, { resource, version: known.disabled }, hint);
    }
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
    this.#known.delete(wanted.key);
  }

  /** Destroys every version but the accepted one, of what was read. */
  async destroyOthers(wanted: Wanted): Promise<void> {
    const known = await this.#readOn(wanted);
    const accepted = known?.accepted ?? null;
    if (known === null || accepted === null) return;
    const listed = await this.#versions.list(wanted);
    const others = listed.filter(({ number, isDestroyed }) => !isDestroyed && number !== accepted.number);
    // What came after the end that was read may be a later document.
    await pLimit(readsAtOnce).map(
      others.filter(({ number }) => number <= known.end),
      ({ number }) => this.#versions.destroy(wanted, number),
    );
  }

  /** Null where there is no such secret. `least` is a number that exists: the end is not before it. */
  async #readOn(wanted: Wanted, least = 0): Promise<Known | null> {
    const before = reconsidered(this.#known.get(wanted.key) ?? null);
    const isFresh = before !== null && this.#clock.monotonic() - before.listedAt < listEveryMs;
    const from = isFresh ? before : await this.#readListed(wanted, before);
    if (from === null) {
      this.#known.delete(wanted.key);
      return null;
    }
    let known = from;
    for (let number = known.end + 1; ; number += 1) {
      const found = await this.#numbered(wanted, number, number < least);
      if (found.state === 'none' && number >= least) break;
      known = await this.#taking(wanted, known, { number, found });
    }
    this.#known.set(wanted.key, known);
    return known;
  }

  /** What a list shows, read by number. Nothing is taken from the list but that a number exists, or is destroyed for good. */
  async #readListed(wanted: Wanted, before: Known | null): Promise<Known | null> {
    // No list is asked whether there is anything.
    const isFirstThere = before !== null || (await this.#versions.access(wanted, 1)).state !== 'none';
    if (!isFirstThere) {
      const isThere = (await this.#versions.secret(wanted)) !== null;
      return isThere ? { ...nothing, listedAt: this.#clock.monotonic() } : null;
    }
    const listed = await this.#versions.list(wanted);
    const accepted = before?.accepted ?? null;
    const isOpen = accepted !== null && (await this.#versions.access(wanted, accepted.number)).state === 'open';
    let known: Known = { ...((isOpen ? before : null) ?? nothing), listedAt: this.#clock.monotonic() };
    const last = listed.at(-1)?.number ?? 0;
    const destroyed = new Set(listed.filter(({ isDestroyed }) => isDestroyed).map(({ number }) => number));
    const numbers = Array.from({ length: Math.max(0, last - known.end) }, (_, index) => known.end + 1 + index);
    const read = await pLimit(readsAtOnce).map(numbers, async (number) => ({
      number,
      found: destroyed.has(number) ? none : await this.#numbered(wanted, number, true),
    }));
    for (const each of read) known = await this.#taking(wanted, known, each);
    return known;
  }

  /** A number that is not there while a later one is, is asked for again: then it was skipped. */
  async #numbered(wanted: Wanted, number: number, isBelow: boolean): Promise<Numbered> {
    let found = await this.#versions.access(wanted, number);
    for (let again = 0; isBelow && found.state === 'none' && again < missingAgain; again += 1) {
      await this.#clock.sleep(missingPauseMs * 2 ** again);
      found = await this.#versions.access(wanted, number);
    }
    return found;
  }

  async #taking(
    wanted: Wanted,
    known: Known,
    { number, found }: { readonly number: number; readonly found: Numbered },
  ): Promise<Known> {
    const reached = { ...known, end: number };
    if (found.state === 'none') return reached;
    if (found.state === 'closed') {
      return (await this.#versions.isDisabled(wanted, number)) ? { ...reached, disabled: number } : reached;
    }
    const document = found.text === null ? null : splitCounter(found.text);
    if (document === null) return { ...reached, foreign: number };
    if (known.accepted !== null && document.counter <= known.accepted.counter) return reached;
    return { ...reached, accepted: { number, ...document }, disabled: null };
  }
}

const nothing = { end: 0, accepted: null, disabled: null, foreign: null } as const;

const none = { state: 'none' } as const;

/** What a person may have mended since is looked at again. */
function reconsidered(known: Known | null): Known | null {
  if (known === null || (known.foreign === null && known.disabled === null)) return known;
  return { ...known, end: known.accepted?.number ?? 0, foreign: null, disabled: null };
}
