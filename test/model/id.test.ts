import fc from 'fast-check';
import { expect, test } from 'vitest';
import { idBytes, idFrom, type IdKind } from '../../src/model/id.ts';

const kinds: Readonly<Record<IdKind, string>> = {
  version: 'v',
  run: 'r',
  commit: 'c',
  journal: 'j',
  intent: 'i',
  receiver: 'w',
  request: 'q',
  message: 'm',
  migration: 'g',
};

const anyKind = fc.constantFrom(...(Object.keys(kinds) as IdKind[]));
const anyBytes = fc.uint8Array({ minLength: idBytes, maxLength: idBytes });

test('an id is the letter of its kind and ten characters that nobody misreads', () => {
  fc.assert(
    fc.property(anyKind, anyBytes, (kind, bytes) => {
      const id = idFrom(kind, bytes);
      expect(id).toMatch(/^[a-z][0-9a-hjkmnp-tv-z]{10}$/);
      expect(id.startsWith(kinds[kind])).toBe(true);
    }),
  );
});

test('the same bytes give the same id, and five bits of every byte count', () => {
  fc.assert(
    fc.property(anyBytes, anyBytes, (one, other) => {
      const low = (bytes: Uint8Array): string => [...bytes].map((byte) => byte % 32).join();
      expect(idFrom('run', one) === idFrom('run', other)).toBe(low(one) === low(other));
    }),
  );
});

test('every letter of the alphabet is as likely as any other', () => {
  const counts = new Map<string, number>();
  for (let byte = 0; byte < 256; byte++) {
    const letter = idFrom('run', new Uint8Array(idBytes).fill(byte)).charAt(1);
    counts.set(letter, (counts.get(letter) ?? 0) + 1);
  }
  expect([...counts.values()]).toEqual(Array.from({ length: 32 }, () => 8));
});

test('more bytes than it takes change nothing, fewer are refused', () => {
  const bytes = Uint8Array.from({ length: 20 }, (_none, index) => index);
  expect(idFrom('version', bytes)).toBe(idFrom('version', bytes.subarray(0, idBytes)));
  expect(() => idFrom('version', bytes.subarray(0, idBytes - 1))).toThrow(RangeError);
});
