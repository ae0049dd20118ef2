/** A JSON object as it was parsed: own keys, in the order of the text. */
export type Fields = Readonly<Record<string, unknown>>;

export function isRecord(data: unknown): data is Fields {
  return typeof data === 'object' && data !== null && !Array.isArray(data);
}

/** The JSON object that a text is; null for any other text. */
export function parseObject(text: string): Fields | null {
  return objectFrom(() => JSON.parse(text));
}

/**
 * As `parseObject`, for a text that is written again: its numbers are kept as they are written there, because reading
 * them as numbers would round the long ones. `JSON.stringify` writes them so; nothing else can use them.
 */
export function parseObjectToRewrite(text: string): Fields | null {
  // A number alone would come out as an object.
  if (parseObject(text) === null) return null;
  const { parse, rawJSON } = JSON as unknown as SourceAwareJson;
  return objectFrom(() =>
    parse(text, (_, value, { source }) =>
      typeof value === 'number' && source !== undefined ? rawJSON(source) : value,
    ),
  );
}

/** What every Node that keyturn runs on has, and its types do not tell yet. */
interface SourceAwareJson {
  readonly parse: (
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ) => unknown;
  readonly rawJSON: (source: string) => unknown;
}

function objectFrom(parse: () => unknown): Fields | null {
  let data: unknown;
  try {
    data = parse();
  } catch {
    return null;
  }
  return isRecord(data) ? data : null;
}
