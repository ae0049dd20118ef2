import { distance } from 'fastest-levenshtein';
import { z } from 'zod';
import { valueAt, type Path } from './text.ts';
import { notInThisVersion } from './fields.ts';

/** How a sentence about something that is not there begins. */
const absence = 'is missing';

/** One thing to say about a place in the policy, before it has a line and a column. */
export interface Finding {
  readonly path: Path;
  /** Whether it is about the key at that path or about its value. */
  readonly at: 'key' | 'value';
  readonly message: string;
  readonly didYouMean: string | null;
}

export interface FindingOptions {
  readonly at?: 'key' | 'value';
  readonly didYouMean?: string | null;
  /** Where it holds only in some environments. The same finding about several is told once, with their names. */
  readonly environment?: string | null;
  /** What to do, as a sentence without its point; it stands after the environments. */
  readonly advice?: string | null;
}

/** Collects; the same message about the same place counts once, however many secrets inherit it. */
export interface Findings {
  add(path: Path, message: string, options?: FindingOptions): void;
  /** What the schema found before any check. */
  readonly shape: readonly Finding[];
  /** True when the schema found something at, in or around `path`, so that what is missing there is no news. */
  touches(path: Path): boolean;
  list(): readonly Finding[];
}

export function createFindings(shape: readonly Finding[] = []): Findings {
  const found = new Map<string, Told>();
  const add = (finding: Finding, environment: string | null, advice: string | null): void => {
    const key = JSON.stringify([finding.path, finding.message]);
    const told = found.get(key) ?? { finding, advice, environments: new Set<string>() };
    if (environment !== null) told.environments.add(environment);
    found.set(key, told);
  };
  for (const finding of shape) add(finding, null, null);
  return {
    add: (path, message, { at = 'value', didYouMean = null, environment = null, advice = null } = {}) => {
      add({ path, at, message, didYouMean }, environment, advice);
    },
    shape,
    touches: (path) => shape.some((finding) => [finding.path, meantPath(finding)].some((place) => isNear(place, path))),
    list: () => [...found.values()].map((told) => ({ ...told.finding, message: wholeMessage(told) })),
  };
}

/** A finding with what is known of it beside its place. */
interface Told {
  readonly finding: Finding;
  readonly advice: string | null;
  readonly environments: Set<string>;
}

function wholeMessage({ finding, advice, environments }: Told): string {
  const where = environments.size === 0 ? '' : ` (in ${[...environments].join(', ')})`;
  return `${finding.message}${where}${advice === null ? '' : `. ${advice}.`}`;
}

/** A mistyped key stands for the one that was meant. */
function meantPath({ path, at, didYouMean }: Finding): Path {
  return at === 'key' && didYouMean !== null ? [...path.slice(0, -1), didYouMean] : path;
}

function isNear(place: Path, path: Path): boolean {
  return isWithin(place, path) || isWithin(path, place);
}

function isSame(path: Path, other: Path): boolean {
  return path.length === other.length && isWithin(path, other);
}

function isWithin(path: Path, outer: Path): boolean {
  return outer.every((part, index) => path[index] === part);
}

/** For people: `secrets.my-hook.steps[0]`; a key with other characters in it stands in brackets and quotes. */
export function formatPath(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${String(part)}]`;
      if (!/^[\w$-]+$/.test(part)) return `[${JSON.stringify(part)}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join('');
}

/** The known word that was probably meant, or null where none is near. Case, `-` and `_` make no difference. */
export function nearest(word: string, known: readonly string[]): string | null {
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[-_]/g, '');
  const wanted = plain(word);
  const allowed = wanted.length <= 3 ? 1 : wanted.length <= 7 ? 2 : 3;
  let best: { readonly word: string; readonly far: number } | null = null;
  for (const candidate of known) {
    const far = distance(wanted, plain(candidate));
    if (far <= allowed && far < candidate.length && (best === null || far < best.far)) best = { word: candidate, far };
  }
  return best?.word ?? null;
}

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

/** True for a finding about something that is not there. */
export function isAbsence({ message }: Finding): boolean {
  return message.startsWith(absence);
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
