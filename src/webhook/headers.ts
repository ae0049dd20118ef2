/**
 * The headers of a message: a `Headers` object, Node's object (names in any case), a flat list as `rawHeaders` has it,
 * or pairs.
 */
export type HeaderSource =
  | { get(name: string): string | null }
  | Readonly<Record<string, string | readonly string[] | undefined>>
  | readonly string[]
  | readonly (readonly [name: string, value: string])[];

/** The header is there more than once, so that no single value can be trusted. */
export const doubled = Symbol('doubled');

/**
 * The one value of a header, null when it is missing, or `doubled`. `name` is in lower case. What was joined on the way
 * (`a, b`) comes back joined. Throws whatever a hostile object throws.
 */
export function readHeader(headers: HeaderSource, name: string): string | null | typeof doubled {
  if (Array.isArray(headers)) return readList(headers, name);
  if (isGetter(headers)) return single(headers.get(name));
  const direct = (headers as Readonly<Record<string, unknown>>)[name];
  return typeof direct === 'string' ? direct : readObject(headers, name);
}

/** A plain object may have a header of the name `get`, but not as a function. */
function isGetter(headers: HeaderSource): headers is { get(name: string): string | null } {
  return typeof (headers as { readonly get?: unknown }).get === 'function';
}

function readObject(headers: object, name: string): string | null | typeof doubled {
  const values: unknown[] = [];
  for (const [key, value] of Object.entries(headers)) {
    if (key.length !== name.length || key.toLowerCase() !== name) continue;
    values.push(...(Array.isArray(value) ? (value as readonly unknown[]) : [value]));
  }
  return oneOf(values);
}

function readList(headers: readonly unknown[], name: string): string | null | typeof doubled {
  const values: unknown[] = [];
  if (typeof headers[0] === 'string') {
    for (let at = 0; at + 1 < headers.length; at += 2) if (isName(headers[at], name)) values.push(headers[at + 1]);
  } else {
    for (const pair of headers) if (Array.isArray(pair) && isName(pair[0], name)) values.push(pair[1]);
  }
  return oneOf(values);
}

function isName(candidate: unknown, name: string): boolean {
  return typeof candidate === 'string' && candidate.toLowerCase() === name;
}

function oneOf(values: readonly unknown[]): string | null | typeof doubled {
  return values.length > 1 ? doubled : single(values[0]);
}

function single(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
