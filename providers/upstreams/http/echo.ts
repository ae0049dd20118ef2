import { disguisesOf, oneLine } from '../../../src/model/shown.ts';

/** What may be shown of an upstream's own words: it may repeat what it was sent, whole, in part or encoded. */

const longestShown = 120;

/** So many characters of a value in a row are a part of it worth hiding. */
const telltale = 8;

/**
 * The short error text in the body of an answer, or null: where there is none, and where it holds a part of one of
 * `values` in any usual encoding, because what is left after cutting that out may still tell something.
 */
export function sayableText(body: string, values: readonly string[]): string | null {
  const found = errorField(body);
  if (found === null) return null;
  const text = oneLine(found);
  if (text === '' || repeats(found, values) || repeats(text, values)) return null;
  return text.length <= longestShown ? text : `${Array.from(text).slice(0, longestShown).join('')}…`;
}

function errorField(body: string): string | null {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return null;
  }
  if (!isRecord(json)) return null;
  const { message, error } = json;
  if (typeof message === 'string') return message;
  if (typeof error === 'string') return error;
  return isRecord(error) && typeof error['message'] === 'string' ? error['message'] : null;
}

function isRecord(thing: unknown): thing is Readonly<Record<string, unknown>> {
  return typeof thing === 'object' && thing !== null && !Array.isArray(thing);
}

/** True when the text holds a value, or a telltale piece of one. */
export function repeats(text: string, values: readonly string[]): boolean {
  const lower = text.toLowerCase();
  return values.flatMap(disguisesOf).some((encoded) => hasPieceOf(lower, encoded.toLowerCase()));
}

function hasPieceOf(text: string, encoded: string): boolean {
  if (encoded === '') return false;
  const size = Math.min(telltale, encoded.length);
  for (let start = 0; start + size <= encoded.length; start += 1) {
    if (text.includes(encoded.slice(start, start + size))) return true;
  }
  return false;
}
