/** What is wrong with a value that somebody pasted. Neither text shows any of it. */
export interface Pollution {
  /** The end of a sentence that begins with the value: "is wrapped in quotes". */
  readonly what: string;
  readonly hint: string;
  /**
   * True: no upstream can be using this. False: it looks like a mistake, and yet an upstream may have been given exactly
   * this, however careless; then a person says so.
   */
  readonly sure: boolean;
}

export interface ValueUse {
  /** True where the value is shown by the other side and compared, as a verify token is, instead of being a key. */
  readonly compared?: boolean;
  /** True: a person says that it is as it should be; only what is surely a mistake counts. */
  readonly asIs?: boolean;
}

/** What is wrong with a value to take over, and what to do; null when nothing is. The first fault that fits is named. */
export function pollutionOf(value: string, { compared = false, asIs = false }: ValueUse = {}): Pollution | null {
  const rules = [...(asIs ? [] : likely), ...(compared && !asIs ? [shortToken] : [])];
  const rule = [...sure, ...rules].find(({ test }) => test(value));
  return rule === undefined ? null : { what: rule.what, hint: rule.hint, sure: sure.includes(rule) };
}

interface Rule {
  readonly test: (value: string) => boolean;
  readonly what: string;
  readonly hint: string;
}

/** A value longer than this is no shared secret, bytes. */
export const maxValueBytes = 16 * 1024;

const sure: readonly Rule[] = [
  {
    test: (value) => value.trim() === '',
    what: 'is empty',
    hint: 'Pass the value that the upstream signs with now.',
  },
  {
    test: (value) => Buffer.byteLength(value) > maxValueBytes,
    what: `is longer than ${String(maxValueBytes)} bytes, which no shared secret is`,
    hint: 'Pass the value alone.',
  },
  {
    test: (value) => !value.isWellFormed(),
    what: 'has half a character in it, which cannot be written as UTF-8',
    hint: 'Copy it again; an escape like \\ud83d was cut in two.',
  },
  {
    test: (value) => /^(?:[*.•●∙·▪■]{3,}|…+)$/u.test(value),
    what: 'is a mask of dots or stars',
    hint: 'Copy the value itself: the page that showed it hid it. Many have a button that reveals or copies it.',
  },
];

/** Something that was copied along with the value, or in its place. */
const wrapped: readonly Rule[] = [
  {
    test: (value) => isJson(value) || /^"[^"\\]+"\s*:\s*["{[]/.test(value),
    what: 'is JSON, not the text of one field in it',
    hint: 'Pass what stands in the field, without its quotes. From a store: --from-store KEY#PROPERTY.',
  },
  {
    test: (value) => /^(["'`]).*\1$/s.test(value) || /^[“”„‘’‚«»].*[“”„‘’‚«»]$/su.test(value),
    what: 'is wrapped in quotes',
    hint: 'Remove the quotes around it; they are not part of it.',
  },
  {
    test: (value) => /^sha(?:1|256|512)=[0-9a-f]+$/i.test(value),
    what: 'looks like a signature, not like what it is made with',
    hint: 'Pass the secret that the upstream was given, not a header of one of its messages.',
  },
  {
    test: (value) => /^(?:export\s+)?[A-Za-z_]\w{2,}=[^=]/.test(value),
    what: 'looks like a whole line of an env file, with its name',
    hint: 'Pass what stands behind the =. To take over an env file: keyturn import --dotenv FILE NAME=SECRET.',
  },
  {
    test: (value) => /^(?:authorization:\s*)?(?:bearer|basic|token)\s+\S/i.test(value),
    what: 'begins like a header, with the word before a credential',
    hint: 'Pass what stands behind "Bearer "; the word is added where a request needs it.',
  },
];

/** In this order: what befell the whole of it comes before what befell a character. */
const likely: readonly Rule[] = [
  {
    test: (value) => /[\r\n\u2028\u2029]/.test(value),
    what: 'has a line break in it',
    hint: 'Pass the one line that is the value; printf %s writes no line break, echo does.',
  },
  {
    test: (value) => /\p{Cf}|\p{Variation_Selector}|[\u115f\u1160\u3164]/u.test(value),
    what: 'has an invisible character in it, such as a byte order mark or a zero-width space',
    hint: 'Copy it again as plain text; web pages and editors leave such characters behind.',
  },
  {
    test: (value) => value !== value.trim(),
    what: 'begins or ends with white space',
    hint: 'Copy it again without the space around it.',
  },
  {
    test: (value) => /\p{Cc}/u.test(value),
    what: 'has a tab or another control character in it',
    hint: 'Copy it again as plain text, alone.',
  },
  ...wrapped,
  {
    test: (value) =>
      /^(?:(?:your|my|the)(?:[-_ ]\w+)*[-_ ](?:secret|token|key)|<.*>|change[-_]?me|x{3,}|example|placeholder|todo)$/i.test(
        value,
      ) || /^(?:\$\{?\w+\}?|\$\(.*\)|\{\{.*\}\}|%[a-z_]\w*%|(?:replace|insert|paste)[-_ ].*)$/is.test(value),
    what: 'looks like a placeholder',
    hint: 'Pass the real value.',
  },
  {
    test: (value) => /^(?:undefined|null|none|nil|nan|\[object \w+\])$/i.test(value),
    what: 'is what a program writes where it has no value',
    hint: 'Look at the variable it came from: it was not set.',
  },
  {
    test: (value) => /…|\.{3}|\*{3}|[•●]{2}|\(truncated\)/iu.test(value),
    what: 'is cut off, or partly hidden',
    hint: 'Copy the whole of it; a narrow column or a page that masks it left a mark in it.',
  },
  {
    test: (value) => /[\u00a0\u2000-\u200a\u202f\u205f\u3000]/.test(value),
    what: 'has a space in it that is no ordinary one',
    hint: 'Copy it again as plain text; web pages have such spaces.',
  },
  {
    test: (value) => /\s/.test(value),
    what: 'has white space in it',
    hint: 'Pass the value alone, without a word before or behind it.',
  },
  {
    test: (value) => /[‘’‚“”„«»‹›‐-―−]/u.test(value) || /[！-～]/u.test(value) || mixesAlphabets(value),
    what: 'has a character in it that only looks like an ordinary one',
    hint: 'Copy it from where it was made; word processors and chats replace quotes, dashes and letters.',
  },
  {
    test: (value) => /\\(?:[nrt"'`\\/$]|u[0-9a-f]{4}|x[0-9a-f]{2})/i.test(value),
    what: 'has an escape with a backslash in it, as a platform adds to quotes, slashes and line breaks',
    hint: 'Pass it as it was before it was escaped.',
  },
  {
    test: (value) => /&(?:amp|lt|gt|quot|apos|#\d{1,6}|#x[0-9a-f]{1,5});/i.test(value),
    what: 'has an HTML entity in it',
    hint: 'Pass the character itself, as the upstream shows it.',
  },
  {
    test: (value) => value.includes('%') && !/%(?![0-9a-f]{2})/i.test(value),
    what: 'is URL-encoded',
    hint: 'Pass it decoded, as the upstream shows it: %2B is a +, %2F a /, %3D an =.',
  },
  {
    test: isBase64OfLine,
    what: 'is base64 of a line of text, with its line break',
    hint: 'Pass the text that was encoded, without the line break: somebody ran echo … | base64.',
  },
];

/** Below this a token that is compared as it is can be tried out. */
const minTokenLength = 16;

const shortToken: Rule = {
  test: (value) => value.length < minTokenLength,
  what: `is shorter than ${String(minTokenLength)} characters, too short for a token that is compared as it is`,
  hint: 'Somebody could find it by trying. If it is in use all the same, take it over and rotate it at once.',
};

function isJson(value: string): boolean {
  if (!/^[{[]/.test(value)) return false;
  try {
    JSON.parse(value);
    return true;
  } catch {
    return false;
  }
}

/** Latin letters beside Cyrillic or Greek ones, many of which look the same. */
function mixesAlphabets(value: string): boolean {
  return /\p{Script=Latin}/u.test(value) && /[\p{Script=Cyrillic}\p{Script=Greek}]/u.test(value);
}

/** Six characters and more: shorter ones are hit by chance. */
function isBase64OfLine(value: string): boolean {
  if (!/^[\w+/-]+={0,2}$/.test(value)) return false;
  const bytes = Buffer.from(value, 'base64');
  const isWhole = [bytes.toString('base64'), bytes.toString('base64url')].includes(value);
  return isWhole && /^[\x20-\x7e]{5,}\r?\n$/.test(bytes.toString('latin1'));
}
