import { z } from 'zod';
import { broken, durationSentence, notInThisVersion, type Rule } from './rules.ts';

/** The kinds of fields that the policy's schema is made of. */

/** The rule of each part of the schema that has one, for the shape that `accepted.ts` goes by. */
export const ruleOf = z.registry<{ readonly rule: Rule }>();

/** The schema, and what the rule asks for beside. */
export function ruled<T extends z.ZodType>(schema: T, rule: Rule): T {
  const checked = schema.check((context) => {
    for (const message of broken(rule, context.value)) {
      context.issues.push({ code: 'custom', message, input: context.value });
    }
  });
  ruleOf.add(checked, { rule });
  return checked;
}

const durationPattern = '^\\d{1,12}(ms|s|m|h|d)$';

/** A duration of at least `least` and at most `most`. */
export function duration(description: string, options: { least?: string; most?: string; default?: string } = {}) {
  const { default: fallback, ...bounds } = options;
  return ruled(z.string({ error: durationSentence }), { is: 'duration', ...bounds }).meta({
    description,
    pattern: durationPattern,
    ...(fallback === undefined ? {} : { default: fallback }),
  });
}

/** A field that is understood, so that it is no unknown key, and refused whatever it holds. */
export function later(what: string) {
  return ruled(z.unknown(), { is: 'later', what })
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
