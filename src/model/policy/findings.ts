import { distance } from 'fastest-levenshtein';
import type { Path } from './text.ts';

/** How a sentence about something that is not there begins. */
export const absence = 'is missing';

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
export function meantPath({ path, at, didYouMean }: Finding): Path {
  return at === 'key' && didYouMean !== null ? [...path.slice(0, -1), didYouMean] : path;
}

function isNear(place: Path, path: Path): boolean {
  return isWithin(place, path) || isWithin(path, place);
}

export function isSame(path: Path, other: Path): boolean {
  return path.length === other.length && isWithin(path, other);
}

export function isWithin(path: Path, outer: Path): boolean {
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

/** True for a finding about something that is not there. */
export function isAbsence({ message }: Finding): boolean {
  return message.startsWith(absence);
}
