import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { valueFrom } from '../../src/model/generate.ts';
import { pollutionOf } from '../../src/model/value.ts';

const value = 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('what somebody pasted', () => {
  test.each([
    ['', 'is empty'],
    [' \t\n', 'is empty'],
    ['\ufeff', 'is empty'],
    ['ä'.repeat(8_193), 'is longer than 16384 bytes, which no shared secret is'],
    ['abc\ud83d', 'has half a character in it, which cannot be written as UTF-8'],
    ['***', 'is a mask of dots or stars'],
    ['••••••••••••', 'is a mask of dots or stars'],
    ['...', 'is a mask of dots or stars'],
    ['…', 'is a mask of dots or stars'],
  ])('%j surely is a mistake: it %s', (pasted, what) => {
    expect(pollutionOf(pasted)).toMatchObject({ what, sure: true });
    expect(pollutionOf(pasted, { asIs: true })).toMatchObject({ what, sure: true });
  });

  test.each([
    ['abc\n', 'has a line break in it'],
    ['abc\r\n', 'has a line break in it'],
    ['"abc"\n', 'has a line break in it'],
    ['\nabc', 'has a line break in it'],
    ['"a\nb"', 'has a line break in it'],
    ['line one\nline two', 'has a line break in it'],
    ['line one\u2028line two', 'has a line break in it'],
    [`\ufeff${value}`, 'has an invisible character in it, such as a byte order mark or a zero-width space'],
    [`${value}\u200b`, 'has an invisible character in it, such as a byte order mark or a zero-width space'],
    ['ab\u00adcd', 'has an invisible character in it, such as a byte order mark or a zero-width space'],
    ['ab\u202ecd', 'has an invisible character in it, such as a byte order mark or a zero-width space'],
    [' abc', 'begins or ends with white space'],
    ['abc\t', 'begins or ends with white space'],
    ['abc\u00a0', 'begins or ends with white space'],
    ['a\tb', 'has a tab or another control character in it'],
    ['a\u0000b', 'has a tab or another control character in it'],
    ['\u001b[1mabc', 'has a tab or another control character in it'],
    [`{"secret":"${value}"}`, 'is JSON, not the text of one field in it'],
    [`["${value}"]`, 'is JSON, not the text of one field in it'],
    [`"secret": "${value}"`, 'is JSON, not the text of one field in it'],
    ['"abc"', 'is wrapped in quotes'],
    ["'abc'", 'is wrapped in quotes'],
    ['`abc`', 'is wrapped in quotes'],
    ['""', 'is wrapped in quotes'],
    ['“abc”', 'is wrapped in quotes'],
    ['„abc“', 'is wrapped in quotes'],
    [`sha256=${'0a'.repeat(32)}`, 'looks like a signature, not like what it is made with'],
    [`WEBHOOK_SECRET=${value}`, 'looks like a whole line of an env file, with its name'],
    [`export WEBHOOK_SECRET="${value}"`, 'looks like a whole line of an env file, with its name'],
    [`Bearer ${value}`, 'begins like a header, with the word before a credential'],
    [`Authorization: bearer ${value}`, 'begins like a header, with the word before a credential'],
    ['your-app-secret', 'looks like a placeholder'],
    ['your-webhook-secret', 'looks like a placeholder'],
    ['YOUR_API_KEY', 'looks like a placeholder'],
    ['<secret>', 'looks like a placeholder'],
    ['changeme', 'looks like a placeholder'],
    ['change-me', 'looks like a placeholder'],
    ['XXXX', 'looks like a placeholder'],
    ['example', 'looks like a placeholder'],
    ['${WEBHOOK_SECRET}', 'looks like a placeholder'],
    ['$WEBHOOK_SECRET', 'looks like a placeholder'],
    ['$(cat secret)', 'looks like a placeholder'],
    ['%WEBHOOK_SECRET%', 'looks like a placeholder'],
    ['{{ secrets.HOOK }}', 'looks like a placeholder'],
    ['replace-with-your-secret', 'looks like a placeholder'],
    ['undefined', 'is what a program writes where it has no value'],
    ['null', 'is what a program writes where it has no value'],
    ['[object Object]', 'is what a program writes where it has no value'],
    ['MfKQ9r8GKYq…', 'is cut off, or partly hidden'],
    ['MfKQ...aLaSw', 'is cut off, or partly hidden'],
    ['MfKQ****', 'is cut off, or partly hidden'],
    ['MfKQ••••', 'is cut off, or partly hidden'],
    ['two\u00a0words', 'has a space in it that is no ordinary one'],
    ['two words', 'has white space in it'],
    ['abc”def', 'has a character in it that only looks like an ordinary one'],
    ['abc–def', 'has a character in it that only looks like an ordinary one'],
    ['ａbc', 'has a character in it that only looks like an ordinary one'],
    ['аbc', 'has a character in it that only looks like an ordinary one'],
    ['abc\\n', 'has an escape with a backslash in it, as a platform adds to quotes, slashes and line breaks'],
    ['a\\"b', 'has an escape with a backslash in it, as a platform adds to quotes, slashes and line breaks'],
    ['a\\/b', 'has an escape with a backslash in it, as a platform adds to quotes, slashes and line breaks'],
    ['a\\u002fb', 'has an escape with a backslash in it, as a platform adds to quotes, slashes and line breaks'],
    ['a\\$b', 'has an escape with a backslash in it, as a platform adds to quotes, slashes and line breaks'],
    ['a&amp;b', 'has an HTML entity in it'],
    ['a&#39;b', 'has an HTML entity in it'],
    ['ab%2Bcd%3d', 'is URL-encoded'],
    [base64('secret\n'), 'is base64 of a line of text, with its line break'],
    [base64(`${value}\n`), 'is base64 of a line of text, with its line break'],
    [base64('secret-of-dos\r\n'), 'is base64 of a line of text, with its line break'],
  ])('%j is taken only when a person says so: it %s', (pasted, what) => {
    expect(pollutionOf(pasted)).toMatchObject({ what, sure: false });
    expect(pollutionOf(pasted, { asIs: true })).toBeNull();
  });

  test.each([
    `whsec_${value}`,
    'c2VjcmV0',
    'a',
    '"abc',
    'a"b"c',
    'examples-are-fine',
    'yourself',
    'nullable',
    'a..b',
    'a**b',
    'passwörd-mit-ümlaut',
    'только-кириллица',
    '100%-sure',
    '%2Babc%',
    'a&b;c',
    '{not-json',
    'A=',
    'AB==',
    'abc=',
    'WEBHOOK_SECRET=',
    'token-of-mine',
    'back\\slash',
    base64('secret'),
    base64('ab\n'),
    base64('\u0001\u0002\u0003\u0004\u0005\n'),
    '12345678',
    'deadbeef'.repeat(8),
  ])('%j is taken as it is', (pasted) => {
    expect(pollutionOf(pasted)).toBeNull();
  });

  test('a token that is compared as it is has 16 characters, unless a person says so; a key may be short', () => {
    expect(pollutionOf('fifteen-letters', { compared: true })).toMatchObject({ sure: false });
    expect(pollutionOf('fifteen-letters', { compared: true })?.what).toContain('16 characters');
    expect(pollutionOf('fifteen-letters', { compared: true, asIs: true })).toBeNull();
    expect(pollutionOf('fifteen-letters')).toBeNull();
    expect(pollutionOf('sixteen-letters-', { compared: true })).toBeNull();
  });

  test('I7: neither text shows any of the value, and each one says what to do', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 6, unit: fc.constantFrom('Q', 'Z', '9') }),
        fc.constantFrom<(mark: string) => string>(
          (mark) => `${mark}\n`,
          (mark) => ` ${mark}`,
          (mark) => `"${mark}"`,
          (mark) => `your-${mark}-secret`,
          (mark) => `<${mark}>`,
          (mark) => `{"a":"${mark}"}`,
          (mark) => `HOOK=${mark}`,
          (mark) => `Bearer ${mark}`,
          (mark) => `${mark}...`,
          (mark) => `${mark}%2B`,
          (mark) => base64(`${mark}\n`),
        ),
        (mark, pollute) => {
          const found = pollutionOf(pollute(mark));
          expect(found?.hint.length).toBeGreaterThan(5);
          expect(`${found?.what ?? ''} ${found?.hint ?? ''}`).not.toContain(mark);
        },
      ),
    );
  });
});

describe('what is generated', () => {
  const bytes = Uint8Array.from([0, 1, 250, 251, 252, 253, 254, 255]);

  test.each([
    ['hex', '', '0001fafbfcfdfeff'],
    ['base64', '', 'AAH6+/z9/v8='],
    ['base64url', '', 'AAH6-_z9_v8'],
    ['hex', 'whsec_', 'whsec_0001fafbfcfdfeff'],
  ] as const)('%s with the prefix %j is %s', (encoding, prefix, value) => {
    expect(valueFrom({ bytes: 8, encoding, prefix }, bytes)).toBe(value);
  });

  test('too few or too many random bytes are refused', () => {
    for (const count of [7, 9])
      expect(() => valueFrom({ bytes: count, encoding: 'hex', prefix: '' }, bytes)).toThrow(RangeError);
  });

  test('every byte is in it, and what is generated is never taken for pollution', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 16, maxLength: 64 }),
        fc.constantFrom('hex', 'base64', 'base64url'),
        (random, encoding) => {
          const value = valueFrom({ bytes: random.length, encoding, prefix: 'p_' }, random);
          expect([...Buffer.from(value.slice(2), encoding)]).toEqual([...random]);
          expect(pollutionOf(value)).toBeNull();
        },
      ),
    );
  });
});
