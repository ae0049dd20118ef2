import { createScanner, parseTree, printParseErrorCode, visit, type Node, type ParseError } from 'jsonc-parser';

/** A place in the policy: keys and list indexes from the top. */
export type Path = readonly (string | number)[];

export interface Position {
  /** Both from 1. */
  readonly line: number;
  readonly column: number;
}

export interface TextProblem extends Position {
  readonly path: Path;
  readonly message: string;
}

export interface PolicyText {
  /** Plain data of what could be read; undefined where nothing could. */
  readonly data: unknown;
  readonly problems: readonly TextProblem[];
  /** Where the key of `path` stands, or its value; the nearest thing around it where it is not there. */
  locate(path: Path, at: 'key' | 'value'): Position;
}

/** What stands at `path`; undefined where nothing does. Own keys only. */
export function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Readonly<Record<string | number, unknown>>)[part];
  }
  return value;
}

/** Deeper than any policy, and shallow enough for every recursion over it. */
const maxDepth = 64;
const maxCharacters = 1024 * 1024;

/** What is wrong with the text, by the parser's name for it. None of them shows any part of the text. */
const sentences: Readonly<Record<string, string>> = {
  InvalidSymbol: 'this is no JSON value; text needs double quotes',
  InvalidNumberFormat: 'this is no JSON number',
  PropertyNameExpected: 'a key in double quotes is expected here',
  ValueExpected: 'a value is expected here',
  ColonExpected: 'a colon is expected here',
  CommaExpected: 'a comma is expected here',
  CloseBraceExpected: 'a closing brace } is missing',
  CloseBracketExpected: 'a closing bracket ] is missing',
  EndOfFileExpected: 'the policy has ended before this',
  InvalidCommentToken: 'this comment is not one',
  UnexpectedEndOfComment: 'a comment is not closed with */',
  UnexpectedEndOfString: 'text is not closed with a double quote',
  UnexpectedEndOfNumber: 'this number is not whole',
  InvalidUnicode: 'this \\u escape is not valid',
  InvalidEscapeCharacter: 'this escape in text is not valid',
  InvalidCharacter: 'text holds a control character that must be escaped',
};

/** Reads JSON with comments and trailing commas, going on after mistakes. Never throws. */
export function readPolicyText(raw: string): PolicyText {
  const text = raw.startsWith('\uFEFF') ? raw.slice(1) : raw;
  const starts = lineStarts(text);
  const position = (offset: number): Position => positionOf(starts, Math.min(offset, text.length));
  const refused = (message: string, offset: number): PolicyText => ({
    data: undefined,
    problems: [{ path: [], message, ...position(offset) }],
    locate: () => position(0),
  });
  if (text.length > maxCharacters) return refused('the file is larger than 1 MiB, which no policy is', 0);
  const deep = firstTooDeep(text);
  if (deep !== null) return refused(`nested deeper than ${String(maxDepth)} levels, which no policy is`, deep);

  const whole = wholeData(text);
  if (whole !== null) {
    let tree: Node | undefined;
    const locate: PolicyText['locate'] = (path, at) => {
      tree ??= parseTree(text, [], { allowTrailingComma: true });
      return position(offsetOf(tree, path, at));
    };
    return { data: whole.data, problems: [], locate };
  }

  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true });
  if (root === undefined && text.trim() === '') return refused('the file is empty', 0);
  const problems: TextProblem[] = [];
  for (const { error, offset } of errors) {
    const problem = {
      path: [],
      message: sentences[printParseErrorCode(error)] ?? 'not valid JSON',
      ...position(offset),
    };
    // At the end of the text every open brace is missed at the same place.
    const { message, line, column } = problem;
    if (problems.some((one) => one.message === message && one.line === line && one.column === column)) continue;
    problems.push(problem);
  }
  const data =
    root === undefined
      ? undefined
      : toData(root, [], (path, message, offset) => problems.push({ path, message, ...position(offset) }));
  return { data, problems, locate: (path, at) => position(offsetOf(root, path, at)) };
}

/** What is open while a text is read. */
interface Holder {
  readonly data: unknown[] | Record<string, unknown>;
  key: string;
}

/**
 * The data of a text without any mistake; null for any other. A tree that knows where everything stands takes several times the
 * memory, and only who has something to say needs it.
 */
function wholeData(text: string): { readonly data: unknown } | null {
  const found: { data: unknown; isWhole: boolean } = { data: undefined, isWhole: true };
  const open: Holder[] = [];
  const add = (value: unknown): void => {
    const holder = open.at(-1);
    if (holder === undefined) found.data = value;
    else if (Array.isArray(holder.data)) holder.data.push(value);
    else holder.data[holder.key] = value;
  };
  const begin = (data: Holder['data']): void => {
    add(data);
    open.push({ data, key: '' });
  };
  visit(
    text,
    {
      onObjectBegin: () => begin({}),
      onObjectProperty(name) {
        const holder = open.at(-1);
        if (holder === undefined) return;
        found.isWhole &&= !Object.hasOwn(holder.data, name) && name !== '__proto__';
        holder.key = found.isWhole ? name : '';
      },
      onObjectEnd: () => void open.pop(),
      onArrayBegin: () => begin([]),
      onArrayEnd: () => void open.pop(),
      onLiteralValue: add,
      onError: () => {
        found.isWhole = false;
      },
    },
    { allowTrailingComma: true },
  );
  return found.isWhole && found.data !== undefined ? found : null;
}

/** The offset where nesting becomes too deep; found without recursion. */
function firstTooDeep(text: string): number | null {
  const scanner = createScanner(text, true);
  let depth = 0;
  while (scanner.getPosition() < text.length) {
    scanner.scan();
    const first = text.charAt(scanner.getTokenOffset());
    if (scanner.getTokenLength() !== 1) continue;
    if (first === '{' || first === '[') depth += 1;
    if (first === '}' || first === ']') depth -= 1;
    if (depth > maxDepth) return scanner.getTokenOffset();
  }
  return null;
}

type Complain = (path: Path, message: string, offset: number) => void;

function toData(node: Node, path: Path, complain: Complain): unknown {
  if (node.type === 'array') {
    return (node.children ?? []).map((child, index) => toData(child, [...path, index], complain));
  }
  if (node.type !== 'object') return node.value as unknown;
  const data: Record<string, unknown> = {};
  for (const property of node.children ?? []) {
    const [key, value] = property.children ?? [];
    if (key === undefined || value === undefined) continue;
    const name = String(key.value);
    const place = [...path, name];
    if (Object.hasOwn(data, name)) complain(place, 'stands here a second time', key.offset);
    // Assigning to it would change the object's prototype instead of adding a key.
    if (name === '__proto__') complain(place, 'may not be a key', key.offset);
    else data[name] = toData(value, place, complain);
  }
  return data;
}

interface Place {
  readonly key: number;
  readonly value: number;
  readonly node: Node | undefined;
}

function offsetOf(root: Node | undefined, path: Path, at: 'key' | 'value'): number {
  if (root === undefined) return 0;
  let place: Place = { key: root.offset, value: root.offset, node: root };
  for (const part of path) {
    const next = place.node === undefined ? null : child(place.node, part);
    if (next === null) return place.key;
    place = next;
  }
  return place[at];
}

function child(node: Node, part: string | number): Place | null {
  if (node.type === 'array') {
    const item = typeof part === 'number' ? node.children?.[part] : undefined;
    return item === undefined ? null : { key: item.offset, value: item.offset, node: item };
  }
  // Of a key that stands there twice the last one counts, as in the data.
  const property = node.children?.findLast((one) => one.children?.[0]?.value === part);
  const [key, value] = property?.children ?? [];
  return key === undefined ? null : { key: key.offset, value: value?.offset ?? key.offset, node: value };
}

function lineStarts(text: string): readonly number[] {
  return [0, ...[...text.matchAll(/\r\n|\n|\r/g)].map((match) => match.index + match[0].length)];
}

function positionOf(starts: readonly number[], offset: number): Position {
  const line = starts.findLastIndex((start) => start <= offset);
  return { line: line + 1, column: offset - (starts[line] ?? 0) + 1 };
}
