import { createHmac } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findKey, prepareKey, readSignature, retireKey, sign } from '../../src/webhook/hmac.ts';
import { schemeNames, schemeOf } from '../../src/webhook/schemes.ts';
import { header, signatureOf } from './support.ts';

function matches(value: string, signature: string, body: Uint8Array): boolean {
  return readSignature(signature, 'sha256='.length) && findKey([{ key: prepareKey(value) }], body) === 0;
}

describe('the HMAC', () => {
  test("matches GitHub's published vector", () => {
    const published = 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17';
    const body = Buffer.from('Hello, World!');
    expect(sign('github', "It's a Secret to Everybody", body)).toEqual({ [header]: published });
    expect(matches("It's a Secret to Everybody", published, body)).toBe(true);
  });

  test('agrees with RFC 4231, for keys shorter and longer than a block', () => {
    const long = 'Test Using Larger Than Block-Size Key - Hash Key First';
    const jefe = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843';
    expect(sign('meta', 'Jefe', 'what do ya want for nothing?')[header]).toBe(`sha256=${jefe}`);
    expect(matches('Jefe', `sha256=${jefe}`, Buffer.from('what do ya want for nothing?'))).toBe(true);
    const longKey = 'k'.repeat(131);
    expect(matches(longKey, signatureOf(longKey, long), Buffer.from(long))).toBe(true);
  });

  test("is Node's own for every key and body, and for no other body or key", () => {
    const keys = fc.string({ unit: 'binary', minLength: 1, maxLength: 100 });
    const bodies = fc.oneof(
      fc.uint8Array({ maxLength: 2_000 }),
      fc.tuple(fc.integer({ min: 0, max: 200 * 1024 }), fc.integer()).map(([length, seed]) => patterned(length, seed)),
      fc.constantFrom(65_535, 65_536, 65_537).map((length) => patterned(length, 1)),
    );
    fc.assert(
      fc.property(keys, bodies, fc.nat(), (value, body, place) => {
        const signature = signatureOf(value, body);
        expect(matches(value, signature, body)).toBe(true);
        expect(sign('github', value, body)[header]).toBe(signature);
        expect(matches(`${value}!`, signature, body)).toBe(false);
        expect(matches(value, signature, Buffer.concat([body, Buffer.from([0])]))).toBe(false);
        const changed = Buffer.from(body);
        if (changed.length === 0) return;
        const at = place % changed.length;
        changed[at] = (changed[at] ?? 0) ^ 1;
        expect(matches(value, signature, changed)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  test('finds the key among several, whatever their order and the sizes of bodies between', () => {
    const keys = ['one', 'two', 'k'.repeat(65), 'k'.repeat(64)].map((value) => ({ value, key: prepareKey(value) }));
    for (const length of [0, 1, 300, 70_000, 300, 44, 1, 65_536]) {
      const body = patterned(length, length);
      for (const [index, { value }] of keys.entries()) {
        expect(readSignature(signatureOf(value, body), 7)).toBe(true);
        expect(findKey(keys, body)).toBe(index);
      }
      expect(readSignature(signatureOf('another', body), 7)).toBe(true);
      expect(findKey(keys, body)).toBe(-1);
    }
  });

  test('takes hexadecimal in either case, exactly one digest of it, and nothing else', () => {
    const signature = signatureOf('value', 'body');
    const hex = signature.slice(7);
    expect(matches('value', `sha256=${hex.toUpperCase()}`, Buffer.from('body'))).toBe(true);
    const wrong = [hex.slice(1), hex.slice(2), `${hex}0`, `${hex}00`, `g${hex.slice(1)}`, ` ${hex.slice(1)}`, ''];
    // Node's own decoder takes the low byte of U+0130 for the digit 0.
    wrong.push(`\u0130${hex.slice(1)}`, `${hex.slice(1)}\u0000`, `0x${hex.slice(2)}`, `${hex}, ${signature}`);
    for (const text of wrong) expect(readSignature(`sha256=${text}`, 7)).toBe(false);
    for (let code = 0; code < 0x250; code += 1) {
      const character = String.fromCharCode(code);
      expect(readSignature(`sha256=${hex.slice(1)}${character}`, 7)).toBe(/^[0-9a-fA-F]$/.test(character));
    }
  });

  test('refuses an empty key, and shows none', () => {
    expect(() => prepareKey('')).toThrow(expect.objectContaining({ code: 'value-refused' }));
    expect(() => sign('github', '', 'body')).toThrow(expect.objectContaining({ code: 'value-refused' }));
    expect(inspect(prepareKey('a-very-secret-value'))).not.toContain('secret-value');
  });

  test('erases what it prepared', () => {
    const key = prepareKey('a-very-secret-value');
    retireKey(key);
    expect(key.inner.every((byte) => byte === 0) && key.outer.every((byte) => byte === 0)).toBe(true);
  });

  test('reads text as UTF-8', () => {
    const expected = createHmac('sha256', 'schlüssel').update(Buffer.from('grüße')).digest('hex');
    expect(sign('github', 'schlüssel', 'grüße')[header]).toBe(`sha256=${expected}`);
  });
});

describe('the catalogue', () => {
  test('has github and meta, which sign alike', () => {
    expect(schemeNames).toEqual(['github', 'meta']);
    expect({ ...schemeOf('github'), name: '' }).toEqual({ ...schemeOf('meta'), name: '' });
  });

  test('names what it has when asked for another', () => {
    expect(() => schemeOf('stripe')).toThrow(expect.objectContaining({ code: 'not-in-this-version' }));
    expect(() => schemeOf('stripe')).toThrow(/github and meta/);
    expect(() => schemeOf('constructor')).toThrow(/not in this version/);
  });
});

function patterned(length: number, seed: number): Buffer {
  const body = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; at += 1) body[at] = (at * 31 + seed) & 255;
  return body;
}
