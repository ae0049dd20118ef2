import { z } from 'zod';
import { absence, isAbsence, isSame, isWithin, meantPath, nearest, type Finding } from './findings.ts';
import { notInThisVersion } from './rules.ts';
import { valueAt, type Path } from './text.ts';

export interface SchemaFindings {
  /** What to tell people. */
  readonly findings: readonly Finding[];
  /** Every place whose value the schema did not accept, the ones that are told as part of something else included. */
  readonly refused: readonly Path[];
}

/** Everything that the schema has to say about `data`. */
export function schemaFindings(schema: z.ZodType, data: unknown): SchemaFindings {
  const result = schema.safeParse(data, { error: sentence });
  if (result.success) return { findings: [], refused: [] };
  const all = result.error.issues.flatMap((issue) => findingsOf(issue, [], schema, data));
  // What belongs to a kind that is not there yet cannot be judged by the fields of another kind.
  const unknownWholes = all.filter(({ path, message }) => {
    const key = path.at(-1);
    return message.includes(notInThisVersion) && (key === 'kind' || key === 'recipe');
  });
  const holders = unknownWholes.map(({ path }) => path.slice(0, -1));
  const typed = all.filter(({ at, didYouMean }) => at === 'key' && didYouMean !== null).map(meantPath);
  const findings = all.filter(
    (finding) =>
      (unknownWholes.includes(finding) || !holders.some((holder) => isWithin(finding.path, holder))) &&
      !(isAbsence(finding) && typed.some((path) => isSame(path, finding.path))),
  );
  return { findings, refused: [...all.map(({ path }) => path), ...holders] };
}

type Issue = z.core.$ZodIssue;

function findingsOf(issue: Issue, base: Path, schema: z.ZodType, data: unknown): readonly Finding[] {
  const path: Path = [...base, ...issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part))];
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, path);
    return issue.keys.map((key) => ({
      path: [...path, key],
      at: 'key' as const,
      message: 'is no known key here',
      didYouMean: nearest(key, known),
    }));
  }
  if (issue.code === 'invalid_union') {
    // The branch that the value was meant for is the one that did not refuse it as a whole.
    const meant = issue.errors.find((errors) => errors.length > 0 && errors.every((error) => !refusesWhole(error)));
    if (meant !== undefined) return meant.flatMap((inner) => findingsOf(inner, path, schema, data));
  }
  const value = valueAt(data, path);
  const { message } = issue;
  if (value === undefined && path.length > 0)
    return [{ path, at: 'key', message: `${absence}: it ${message}`, didYouMean: null }];
  const didYouMean =
    issue.code === 'invalid_value' && typeof value === 'string' ? nearest(value, issue.values.map(String)) : null;
  return [{ path, at: 'value', message, didYouMean }];
}

function refusesWhole(issue: Issue): boolean {
  return issue.path.length === 0 && (issue.code === 'invalid_type' || issue.code === 'invalid_value');
}

/** The keys that the strict object at `path` knows; none where the schema is no such object. */
function keysAt(schema: z.core.$ZodType, path: Path): readonly string[] {
  if (schema instanceof z.ZodOptional) return keysAt(schema.unwrap(), path);
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option) => keysAt(option, path));
  const [part, ...rest] = path;
  if (schema instanceof z.ZodObject) {
    const shape: Readonly<Record<string, z.core.$ZodType>> = schema.shape;
    if (part === undefined) return Object.keys(shape);
    const field = shape[String(part)];
    return field === undefined ? [] : keysAt(field, rest);
  }
  if (part !== undefined && schema instanceof z.ZodRecord) return keysAt(schema.valueType, rest);
  return [];
}

/** What the schema says where it has no sentence of its own. Never shows a value: it may be a secret in the wrong place. */
function sentence(issue: z.core.$ZodRawIssue): string {
  if (issue.code === 'invalid_type')
    return `must be ${wordFor(issue.expected)}${issue.input === undefined ? '' : `, not ${wordFor(kindOf(issue.input))}`}`;
  if (issue.code === 'invalid_value') {
    const values = issue.values.map((value) => JSON.stringify(value));
    return values.length === 1 ? `must be ${values.join('')}` : `must be one of ${values.join(', ')}`;
  }
  return 'is not valid here';
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

function wordFor(type: string): string {
  const words: Readonly<Record<string, string>> = {
    string: 'text in double quotes',
    number: 'a number',
    int: 'a whole number',
    boolean: 'true or false',
    array: 'a list [ … ]',
    object: 'an object { … }',
    record: 'an object { … }',
    null: 'null',
  };
  return words[type] ?? type;
}
