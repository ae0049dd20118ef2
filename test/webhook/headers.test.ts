import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { doubled, readHeader, type HeaderSource } from '../../src/webhook/headers.ts';

describe('a header', () => {
  const forms: readonly (readonly [string, HeaderSource])[] = [
    ['Headers', new Headers({ Host: 'a', 'X-Hub-Signature-256': 'sha256=1' })],
    ["Node's object", { host: 'a', 'x-hub-signature-256': 'sha256=1' }],
    ['an object in another case', { Host: 'a', 'X-HUB-Signature-256': 'sha256=1' }],
    ["Node's distinct object", { host: ['a'], 'x-hub-signature-256': ['sha256=1'] }],
    ['a flat list', ['Host', 'a', 'X-Hub-Signature-256', 'sha256=1']],
    [
      'pairs',
      [
        ['Host', 'a'],
        ['X-Hub-Signature-256', 'sha256=1'],
      ],
    ],
  ];
  test.each(forms)('is read from %s', (_name, headers) => {
    expect(readHeader(headers, 'x-hub-signature-256')).toBe('sha256=1');
    expect(readHeader(headers, 'x-hub-signature')).toBe(null);
  });

  const twice: readonly (readonly [string, HeaderSource])[] = [
    ['a flat list', ['X-Sig', 'a', 'x-sig', 'b']],
    [
      'pairs',
      [
        ['X-Sig', 'a'],
        ['x-sig', 'a'],
      ],
    ],
    ["Node's distinct object", { 'x-sig': ['a', 'b'] }],
    ['an object in two cases', { 'X-Sig': 'a', 'X-SIG': 'b' }],
  ];
  test.each(twice)('that is doubled in %s has no value', (_name, headers) => {
    expect(readHeader(headers, 'x-sig')).toBe(doubled);
  });

  test('that was joined on the way comes back joined', () => {
    const headers = new Headers();
    headers.append('x-sig', 'a');
    headers.append('x-sig', 'b');
    expect(readHeader(headers, 'x-sig')).toBe('a, b');
  });

  test('of the name "get" does not make an object a Headers', () => {
    expect(readHeader({ get: 'it', 'x-sig': 'a' }, 'x-sig')).toBe('a');
  });

  test('is text or nothing, whatever the source holds', () => {
    fc.assert(
      fc.property(fc.oneof(fc.dictionary(fc.string(), fc.anything()), fc.array(fc.anything())), (headers) => {
        const value = readHeader(headers as HeaderSource, 'x-sig');
        expect(value === null || value === doubled || typeof value === 'string').toBe(true);
      }),
    );
  });
});
