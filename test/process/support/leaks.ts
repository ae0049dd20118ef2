import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** How a value would look where somebody wrote, logged or sent it; base64 at each place in a group of three. */
function guises(value: string): readonly string[] {
  const bytes = Buffer.from(value);
  const inBase64 = [0, 1, 2].flatMap((offset) => {
    const whole = Buffer.concat([Buffer.alloc(offset), bytes]);
    const from = offset === 0 ? 0 : offset + 1;
    const to = Math.floor((whole.length * 4) / 3);
    return (['base64', 'base64url'] as const).map((encoding) => whole.toString(encoding).slice(from, to));
  });
  // A generated value is base64url itself; its bytes may be written too.
  const raw = Buffer.from(value.replace(/^.*[^\w-]/, ''), 'base64url');
  const hex = [bytes.toString('hex'), ...(raw.length < 16 ? [] : [raw.toString('hex')])];
  return [
    value,
    JSON.stringify(value).slice(1, -1),
    encodeURIComponent(value),
    new URLSearchParams({ '': value }).toString().slice(1),
    ...inBase64,
    ...hex,
    ...hex.map((digits) => digits.toUpperCase()),
  ];
}

/** Which of the named texts show one of the values, in any guise: `name shows value 1 as …`. */
export function leaks(values: Iterable<string>, texts: ReadonlyMap<string, Buffer | string>): readonly string[] {
  const found: string[] = [];
  for (const [index, value] of [...values].entries()) {
    for (const guise of new Set(guises(value))) {
      for (const [name, content] of texts) {
        if (content.includes(guise)) found.push(`${name} shows value ${String(index)} as ${guise}`);
      }
    }
  }
  return found;
}

/** Every file below a folder, by its path from there. */
export function filesBelow(folder: string): ReadonlyMap<string, Buffer> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) =>
    statSync(join(folder, path), { throwIfNoEntry: false })?.isFile(),
  );
  return new Map(paths.map((path) => [path, readFileSync(join(folder, path))]));
}
