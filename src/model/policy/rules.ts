import { addressPart } from '../address.ts';
import { cronMistakes, parseMoment } from '../calendar.ts';
import { parseDuration } from '../duration.ts';
import { withoutTemplates } from './template.ts';

/**
 * What a field of the policy has to be beyond what a JSON Schema can say, as data: the schema tells people what is wrong
 * by it, and `accepted.ts` knows by the same rule that nothing is. No schema library is loaded for it.
 */
export type Rule =
  /** Each bound is written as a duration too. */
  | { readonly is: 'duration'; readonly least?: string; readonly most?: string }
  /** A field that is understood, so that it is no unknown key, and refused whatever it holds. */
  | { readonly is: 'later'; readonly what: string }
  /** A template stands for a part of the address, which any key may hold. */
  | { readonly is: 'storeKey'; readonly templates: boolean }
  /** `body` is anything but null. */
  | { readonly is: 'body' | 'cron' | 'moment' };

/** The end of every sentence about something that keyturn knows of and does not do yet. */
export const notInThisVersion = 'not in this version of keyturn';

export const durationSentence = 'must be a duration such as "500ms", "30s", "15m", "1h" or "30d"';

const keySentence =
  'must be made of parts between slashes, each of letters, digits, ".", "_" and "-" with a letter or digit at both ends';

/** The sentence about a name that may not be one. */
export const nameSentence =
  'must be made of letters, digits, ".", "_" and "-", at most 64, with a letter or digit at both ends';

/** A sentence for each way in which the value breaks the rule; its type is the schema's business. */
export function broken(rule: Rule, value: unknown): readonly string[] {
  const text = typeof value === 'string' ? value : '';
  switch (rule.is) {
    case 'duration':
      return durationMistakes(rule, text);
    case 'later':
      return value === undefined ? [] : [`${rule.what} ${notInThisVersion}`];
    case 'storeKey':
      return isStoreKey(rule.templates ? withoutTemplates(text, 'x') : text) ? [] : [keySentence];
    case 'body':
      return value === null ? ['must not be null: leave it out to send no body'] : [];
    case 'cron':
      return cronMistakes(text);
    case 'moment':
      if (parseMoment(text) !== null) return [];
      return ['must be a day such as "2026-12-24", or an instant such as "2026-12-24T18:00:00+01:00"'];
  }
}

function durationMistakes({ least, most }: Rule & { readonly is: 'duration' }, text: string): readonly string[] {
  const ms = parseDuration(text);
  if (ms === null) return [durationSentence];
  if (least !== undefined && ms < (parseDuration(least) ?? 0)) return [`must be at least "${least}"`];
  if (most !== undefined && ms > (parseDuration(most) ?? Infinity)) return [`must be at most "${most}"`];
  return [];
}

/** True for what may be a key of any store; `mirrors.ts` asks it of keys whose templates are filled in. */
export function isStoreKey(key: string): boolean {
  return key.length <= 255 && key.split('/').every((part) => addressPart.test(part));
}
