import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { dotenvLine, variableName, variableOf } from '../../src/model/dotenv.ts';

const folder = mkdtempSync(join(tmpdir(), 'keyturn-dotenv-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a shell has in the variables after `. file`. */
function byShell(lines: readonly string[]): readonly string[] {
  const file = join(folder, 'env');
  writeFileSync(file, `${lines.join('\n')}\n`);
  const print = lines.map((_, index) => `printf '%s\\0' "$V${String(index)}"`).join('; ');
  const output = execFileSync('sh', ['-c', `. ${file}; ${print}`], { encoding: 'utf8', env: {} });
  return output.split('\0').slice(0, -1);
}

function byNode(lines: readonly string[]): readonly (string | undefined)[] {
  const read = parseEnv(`${lines.join('\n')}\n`);
  return lines.map((_, index) => read[`V${String(index)}`]);
}

const special = [
  '$',
  '`',
  '"',
  "'",
  '\\',
  '#',
  ' ',
  '=',
  '\n',
  '\r',
  '\t',
  '%',
  '!',
  '~',
  '*',
  '&',
  ';',
  '{',
  '}',
  '(',
  ')',
  '<',
];
const odd = fc.string({
  minLength: 1,
  maxLength: 12,
  unit: fc.oneof(
    fc.constantFrom(...special),
    fc.constantFrom('a', 'n', 'V', '0', 'ü', '€', '🔑'),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
  ),
});

describe('a line of an env file', () => {
  test.each([
    ['plain', "V0='plain'"],
    ['with # and = and $HOME', "V0='with # and = and $HOME'"],
    [`it's`, `V0="it's"`],
    [`it's "quoted"`, null],
    [`it's $HOME`, null],
    ['a\r\nb', null],
    ['a\nb', "V0='a\nb'"],
  ])('%j is %j', (value, line) => {
    expect(dotenvLine('V0', value)).toBe(line);
  });

  test('a shell and Node read every value that can be written back as it is', () => {
    fc.assert(
      fc.property(fc.array(odd, { minLength: 20, maxLength: 40 }), (values) => {
        const written = values.flatMap((value) => (dotenvLine('V', value) === null ? [] : [value]));
        const lines = written.flatMap((value, index) => dotenvLine(`V${String(index)}`, value) ?? []);
        expect(byNode(lines)).toEqual(written);
        expect(byShell(lines)).toEqual(written);
      }),
      { numRuns: 40 },
    );
  });

  test('only a value that neither quote can hold, or with a character that Node drops, cannot be written', () => {
    fc.assert(
      fc.property(odd, (value) => {
        const isHard = /[\0\r]/.test(value) || (value.includes("'") && /["$`\\]/.test(value));
        expect(dotenvLine('V0', value) === null).toBe(isHard);
      }),
    );
  });
});

describe('the variable for a secret', () => {
  test.each([
    ['github-webhook', 'GITHUB_WEBHOOK'],
    ['meta.verify_token', 'META_VERIFY_TOKEN'],
    ['2nd--hook', '_2ND_HOOK'],
  ])('of %s is %s', (name, variable) => {
    expect(variableOf(name)).toBe(variable);
    expect(variable).toMatch(variableName);
  });
});
