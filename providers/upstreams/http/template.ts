import type { HttpStep } from '../../../src/model/policy.ts';
import { hasLooseBraces, templateNames } from '../../../src/model/policy/template.ts';

/**
 * Templates of an HTTP step. `{{name}}` stands for a value, which is escaped as the place asks for; text that comes out
 * of a value is never looked at as a template again.
 */

const placeholder = /\{\{([^{}]*)\}\}/g;

/** Thrown with a sentence's predicate about the template or the value: `names {{x}}, which nothing defines`. */
export class TemplateProblem extends Error {}

/** A template and where it stands in the step: `url`, `headers.authorization`, `json.secret`. */
export interface PlacedTemplate {
  readonly place: string;
  readonly template: string;
}

/** The names that a template uses. Throws `TemplateProblem` for braces that open no name. */
export function namesIn(template: string): readonly string[] {
  if (hasLooseBraces(template)) throw new TemplateProblem('has a {{ that no }} closes');
  return templateNames(template);
}

/** Every template of a step, keys included. */
export function templatesOf(step: HttpStep): readonly PlacedTemplate[] {
  return [
    { place: 'url', template: step.url },
    ...Object.entries(step.headers).map(([name, template]) => ({ place: `headers.${name}`, template })),
    ...inJson(step.json, 'json'),
    ...inJson(step.form, 'form'),
    ...(step.body === null ? [] : [{ place: 'body', template: step.body }]),
  ];
}

function inJson(json: unknown, place: string): readonly PlacedTemplate[] {
  if (typeof json === 'string') return [{ place, template: json }];
  if (typeof json !== 'object' || json === null) return [];
  return Object.entries(json).flatMap(([key, value]) => [
    ...(Array.isArray(json) ? [] : [{ place: `${place}.${key}`, template: key }]),
    ...inJson(value, `${place}.${key}`),
  ]);
}

/** What the names stand for in one call; it throws for a name without a value. */
export type ValueOf = (name: string) => string;

/** What `fetch` is given. */
export interface RenderedRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
}

/**
 * The request of a step; a header that the step states goes before one of `unlessStated`. Throws `TemplateProblem` where
 * a value does not fit its place.
 */
export function renderRequest(
  step: HttpStep,
  valueOf: ValueOf,
  unlessStated: Readonly<Record<string, string>>,
): RenderedRequest {
  const headers = new Map(Object.entries(unlessStated));
  const content = renderBody(step, valueOf);
  if (content.type !== null) headers.set('content-type', content.type);
  for (const [name, template] of Object.entries(step.headers)) {
    headers.set(name.toLowerCase(), renderHeader(name, template, valueOf));
  }
  return {
    url: renderUrl(step.url, valueOf),
    method: step.method,
    headers: Object.fromEntries(headers),
    body: content.text,
  };
}

function renderBody(step: HttpStep, valueOf: ValueOf): { readonly text: string | null; readonly type: string | null } {
  if (hasJson(step)) return { text: JSON.stringify(renderJson(step.json, valueOf)), type: 'application/json' };
  if (step.form !== null) {
    const form = new URLSearchParams();
    for (const [key, template] of Object.entries(step.form)) {
      form.append(render(key, valueOf, raw), render(template, valueOf, raw));
    }
    return { text: form.toString(), type: 'application/x-www-form-urlencoded' };
  }
  if (step.body !== null) return { text: render(step.body, valueOf, raw), type: 'text/plain; charset=utf-8' };
  return { text: null, type: null };
}

export function hasJson(step: HttpStep): boolean {
  return step.json !== null && step.json !== undefined;
}

/** Values go into the parsed structure, so no value can end a string or add a field. */
function renderJson(json: unknown, valueOf: ValueOf): unknown {
  if (typeof json === 'string') return render(json, valueOf, raw);
  if (Array.isArray(json)) return json.map((item) => renderJson(item, valueOf));
  if (typeof json !== 'object' || json === null) return json;
  return Object.fromEntries(
    Object.entries(json).map(([key, value]) => [render(key, valueOf, raw), renderJson(value, valueOf)]),
  );
}

/** Beyond printable ASCII the two ends of a connection do not agree on what a header's bytes mean. */
const unfitForHeader = /[^\t\x20-\x7e]/;

function renderHeader(name: string, template: string, valueOf: ValueOf): string {
  return render(template, valueOf, (value, of) => {
    if (unfitForHeader.test(value)) {
      throw new TemplateProblem(
        `puts {{${of}}} into the header ${name}, but that value holds a line break, another control character or non-ASCII text`,
      );
    }
    return value;
  });
}

/** `.` and `..`, also percent-encoded: URLs drop such segments, and the request would go to another path. */
const dotSegment = /^(?:\.|%2e){1,2}$/i;

function renderUrl(template: string, valueOf: ValueOf): string {
  const url = render(template, valueOf, (value) => encodeURIComponent(value));
  const segments = (url.split('?', 1)[0] ?? '').split('/');
  if (segments.some((segment) => dotSegment.test(segment))) {
    throw new TemplateProblem('has a path segment that is only dots');
  }
  return url;
}

type Escape = (value: string, name: string) => string;

const raw: Escape = (value) => value;

function render(template: string, valueOf: ValueOf, escape: Escape): string {
  return template.replace(placeholder, (_whole, name: string) => escape(valueOf(name.trim()), name.trim()));
}
