/** Templates in the calls of a policy: `{{name}}` stands for a value. Spaces beside the name make no difference. */

const placeholder = /\{\{([^{}]*)\}\}/g;

/** The names that a text has templates of, in its order. */
export function templateNames(text: string): readonly string[] {
  return [...text.matchAll(placeholder)].map((match) => (match[1] ?? '').trim());
}

/** The text with something else in the place of each template. */
export function withoutTemplates(text: string, instead = ''): string {
  return text.replace(placeholder, instead);
}

/** True for a `{{` that opens no template. */
export function hasLooseBraces(text: string): boolean {
  return withoutTemplates(text).includes('{{');
}

/**
 * Puts the parts of an address in the place of their templates, in texts, lists and objects, keys included; other
 * templates stay. An address part needs no escaping anywhere: it has only letters, digits, `.`, `_` and `-`.
 */
export function fillAddress(value: unknown, parts: Readonly<Record<string, string | null>>): unknown {
  if (typeof value === 'string') return fillText(value, parts);
  if (Array.isArray(value)) return value.map((item) => fillAddress(item, parts));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]): readonly [string, unknown] => [
      fillText(key, parts),
      fillAddress(item, parts),
    ]),
  );
}

export function fillText(text: string, parts: Readonly<Record<string, string | null>>): string {
  return text.replace(placeholder, (whole, inner: string) => {
    const name = inner.trim();
    return (Object.hasOwn(parts, name) ? parts[name] : null) ?? whole;
  });
}
