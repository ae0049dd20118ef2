/**
 * What a log comes to, number by number; no I/O. Each document carries its *counter*: that of the document it was made from,
 * and one more. Accepted is the highest counter, and the lowest number among equals. Why so: docs/google.md.
 */

/** The document that stands. */
export interface Accepted {
  readonly number: number;
  readonly counter: number;
  readonly text: string;
}

/** A number that a person has to decide about. */
interface Trouble {
  readonly number: number;
  /** `disabled` can be enabled again; `foreign` keyturn did not write. */
  readonly kind: 'disabled' | 'foreign';
  /** The highest counter that it can have. */
  readonly most: number;
}

/** What is known of one log. */
export interface Known {
  /** Up to here every number was looked at. */
  readonly end: number;
  readonly accepted: Accepted | null;
  /** The highest counter that any of them can have, also of those whose content is not to be had. */
  readonly most: number;
  readonly trouble: Trouble | null;
  /** What was known before the first trouble. */
  readonly sound: Known | null;
}

/** What a number turned out to be. `gone` was skipped, or is destroyed for good. */
export type Seen =
  | { readonly state: 'gone' | 'disabled' | 'foreign' }
  | { readonly state: 'document'; readonly counter: number; readonly text: string };

export const nothing: Known = { end: 0, accepted: null, most: 0, trouble: null, sound: null };

export function taken(known: Known, number: number, seen: Seen): Known {
  if (seen.state === 'document') return takenDocument(known, number, seen);
  // Whatever it was made from came before it.
  const reached = { ...known, end: number, most: known.most + 1 };
  if (seen.state === 'gone') return reached;
  const trouble = { number, kind: seen.state, most: reached.most };
  return {
    ...reached,
    trouble: known.trouble?.kind === 'foreign' ? known.trouble : trouble,
    sound: known.sound ?? known,
  };
}

function takenDocument(
  known: Known,
  number: number,
  { counter, text }: { readonly counter: number; readonly text: string },
): Known {
  const reached = { ...known, end: number, most: Math.max(known.most, counter) };
  const { accepted, trouble } = known;
  if (accepted !== null && counter <= accepted.counter) return reached;
  const taking = { ...reached, accepted: { number, counter, text } };
  if (trouble?.kind !== 'disabled') return taking;
  // It may have the counter of the disabled one, which came first; then it lost, and stays lost when nobody enables that.
  return counter > trouble.most ? { ...taking, trouble: null, sound: null } : reached;
}

/** What a person may have mended since is to be looked at again. */
export function reconsidered(known: Known): Known {
  return known.sound ?? known;
}

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
