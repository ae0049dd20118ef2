import { isRecord, type Fields } from '../json.ts';
import { broken, type Rule } from './rules.ts';
import type { PolicyFile } from './schema.ts';
import policyShape from './shape.json' with { type: 'json' };

/**
 * True only for what the schema accepts. False is no verdict: where this is not sure, the schema has to be asked. It goes by
 * the shape that is generated from the schema, because the schema's library takes as much memory as a thousand secrets,
 * and only a policy with a mistake has use for it.
 */
export function isAccepted(data: unknown): data is PolicyFile {
  return fits(data, policyShape);
}

type Shape = Readonly<Record<string, unknown>>;

function fits(data: unknown, shape: Shape): boolean {
  return Object.entries(shape).every(([keyword, wanted]) => keywords.get(keyword)?.(data, wanted, shape) === true);
}

type Keyword = (data: unknown, wanted: unknown, shape: Shape) => boolean;

/**
 * The keywords of the shape, with what `wanted` is there. Each judges data of its own type and leaves the rest to `type`.
 * A keyword that is not here lets nothing pass.
 */
const keywords: ReadonlyMap<string, Keyword> = new Map<string, Keyword>([
  ['$schema', () => true],
  ['definitions', () => true],
  ['$ref', (data, wanted) => fits(data, definition(String(wanted)))],
  ['rule', (data, wanted) => broken(wanted as Rule, data).length === 0],
  ['allOf', (data, wanted) => (wanted as readonly Shape[]).every((shape) => fits(data, shape))],
  ['anyOf', (data, wanted) => (wanted as readonly Shape[]).some((shape) => fits(data, shape))],
  // Each has a kind of its own, so that no two of them fit.
  ['oneOf', (data, wanted) => (wanted as readonly Shape[]).some((shape) => fits(data, shape))],
  ['type', (data, wanted) => typeOf(data) === wanted || (wanted === 'number' && typeOf(data) === 'integer')],
  ['const', (data, wanted) => data === wanted],
  ['enum', (data, wanted) => (wanted as readonly unknown[]).includes(data)],
  ['minimum', (data, wanted) => typeof data !== 'number' || data >= Number(wanted)],
  ['maximum', (data, wanted) => typeof data !== 'number' || data <= Number(wanted)],
  ['pattern', (data, wanted) => typeof data !== 'string' || pattern(String(wanted)).test(data)],
  ['minItems', (data, wanted) => !Array.isArray(data) || data.length >= Number(wanted)],
  ['maxItems', (data, wanted) => !Array.isArray(data) || data.length <= Number(wanted)],
  ['items', (data, wanted) => !Array.isArray(data) || data.every((item) => fits(item, wanted as Shape))],
  ['required', (data, wanted) => !isRecord(data) || (wanted as readonly string[]).every((key) => hasField(data, key))],
  ['propertyNames', (data, wanted) => !isRecord(data) || Object.keys(data).every((key) => fits(key, wanted as Shape))],
  ['properties', (data, wanted) => !isRecord(data) || knownFit(data, wanted as Shapes)],
  ['additionalProperties', (data, wanted, shape) => !isRecord(data) || othersFit(data, wanted as Shape | false, shape)],
]);

type Shapes = Readonly<Record<string, Shape>>;

function definition(reference: string): Shape {
  const shapes: Shapes = policyShape.definitions;
  return shapes[reference.slice('#/definitions/'.length)] ?? { nothing: true };
}

function typeOf(data: unknown): string {
  if (data === null) return 'null';
  if (Array.isArray(data)) return 'array';
  return Number.isSafeInteger(data) ? 'integer' : typeof data;
}

/** Own keys only: `constructor` is no field of an object that does not state it. */
function hasField(data: Fields, key: string): boolean {
  return Object.hasOwn(data, key);
}

function knownFit(data: Fields, properties: Shapes): boolean {
  return Object.entries(properties).every(([key, shape]) => !hasField(data, key) || fits(data[key], shape));
}

function othersFit(data: Fields, wanted: Shape | false, { properties = {} }: Shape): boolean {
  const others = Object.keys(data).filter((key) => !hasField(properties as Fields, key));
  return others.every((key) => wanted !== false && fits(data[key], wanted));
}

const patterns = new Map<string, RegExp>();

/** By code points, as JSON Schema has them. */
function pattern(source: string): RegExp {
  const known = patterns.get(source) ?? new RegExp(source, 'u');
  patterns.set(source, known);
  return known;
}
