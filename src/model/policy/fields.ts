import { z } from 'zod';
import { parseDuration } from '../duration.ts';

/** The kinds of fields that the policy's schema is made of. */

/** The end of every sentence about something that keyturn knows of and does not do yet. */
export const notInThisVersion = 'not in this version of keyturn';

const durationPattern = '^\\d{1,12}(ms|s|m|h|d)$';
const durationSentence = 'must be a duration such as "500ms", "30s", "15m", "1h" or "30d"';

/** A duration of at least `least`, for which `leastMs` is the number. */
export function duration(description: string, options: { least?: string; most?: string; default?: string } = {}) {
  const bound = (text: string | undefined): number | null => (text === undefined ? null : parseDuration(text));
  const [leastMs, mostMs] = [bound(options.least), bound(options.most)];
  return z
    .string({ error: durationSentence })
    .check((context) => {
      const refuse = (message: string): void => {
        context.issues.push({ code: 'custom', message, input: context.value });
      };
      const ms = parseDuration(context.value);
      if (ms === null) refuse(durationSentence);
      else if (leastMs !== null && ms < leastMs) refuse(`must be at least "${options.least ?? ''}"`);
      else if (mostMs !== null && ms > mostMs) refuse(`must be at most "${options.most ?? ''}"`);
    })
    .meta({
      description,
      pattern: durationPattern,
      ...(options.default === undefined ? {} : { default: options.default }),
    });
}

/** A field that is understood, so that it is no unknown key, and refused whatever it holds. */
export function later(what: string) {
  return z
    .unknown()
    .check((context) => {
      if (context.value === undefined) return;
      context.issues.push({ code: 'custom', message: `${what} ${notInThisVersion}`, input: context.value });
    })
    .meta({ description: `Refused: ${what} ${notInThisVersion}.`, not: {} })
    .optional();
}

/** One of `now`; one of `soon` is refused by its name rather than as a mistake. */
export function choice<const T extends string>(what: string, now: readonly T[], soon: readonly string[]) {
  return z.enum(now, {
    error: ({ input }) =>
      typeof input === 'string' && soon.includes(input) ? `${what} "${input}" is ${notInThisVersion}` : undefined,
  });
}

export function text(description: string, pattern: RegExp, sentence: string) {
  return z.string().regex(pattern, sentence).meta({ description });
}

export function wholeNumber(description: string, least: number, most: number, fallback: number) {
  return z
    .number()
    .int('must be a whole number')
    .min(least, `must be at least ${String(least)}`)
    .max(most, `must be at most ${String(most)}`)
    .meta({ description, default: fallback });
}

/** A path that has no default where `fallback` is left out. */
export function filePath(description: string, fallback?: string) {
  return text(
    description,
    /^[^~\0][^\0]*$/,
    'must be a path, absolute or relative to the policy file ("~" is not replaced)',
  ).meta({
    description,
    ...(fallback === undefined ? {} : { default: fallback }),
  });
}

export const group = text(
  'The group of the system that may read and write it beside its owner.',
  /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/,
  'must be the name of a group',
);

export const credential = z
  .strictObject(
    {
      env: text(
        'The environment variable that holds it.',
        /^[A-Za-z_][A-Za-z0-9_]*$/,
        'must be the name of an environment variable',
      ).optional(),
      file: text(
        'The file that holds it, relative to the policy file.',
        /^[^~\0][^\0]*$/,
        'must be a path, absolute or relative to the policy file',
      ).optional(),
      secret: later('a credential that is itself a secret is'),
    },
    {
      error: ({ code, input }) =>
        code === 'invalid_type' && typeof input === 'string'
          ? 'a credential is never written into the policy: reference it as { "env": "NAME" } or { "file": "PATH" }, and replace it where it was written, for it may have been read'
          : undefined,
    },
  )
  .meta({
    description: 'Where a credential is read from when it is needed; never the credential itself.',
    oneOf: [{ required: ['env'] }, { required: ['file'] }],
  });

export type CredentialFields = z.infer<typeof credential>;
