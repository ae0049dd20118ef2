import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressMatches, addressPart, formatAddress } from '../../src/model/address.ts';

test.each([
  [{ environment: null, tenant: null, name: 'hook' }, 'hook'],
  [{ environment: 'production', tenant: null, name: 'hook' }, 'production/hook'],
  [{ environment: null, tenant: 'globex', name: 'hook' }, 'globex/hook'],
  [{ environment: 'production', tenant: 'globex', name: 'hook' }, 'production/globex/hook'],
])('%j is %s', (parts, address) => {
  expect(formatAddress(parts)).toBe(address);
});

test.each([
  ['production/globex/hook', 'production/globex/hook', true],
  ['production/globex/hook', 'globex/hook', true],
  ['production/globex/hook', 'hook', true],
  ['production/globex/hook', 'production/globex', false],
  ['production/globex/hook', 'globex', false],
  ['production/globex/webhook', 'hook', false],
  ['production/globex/hook', 'production/hook', false],
  ['production/globex/hook', '', false],
  ['hook', 'production/hook', false],
  ['production/globex/hook', 'Hook', false],
])('%s is named by %j: %s', (address, short, matches) => {
  expect(addressMatches(address, short)).toBe(matches);
});

test.each(['a', '0', 'A9', 'my-hook', 'my_hook.v2', 'a..b', 'a'.repeat(64)])('a part may be %j', (part) => {
  expect(addressPart.test(part)).toBe(true);
});

test.each([
  '',
  '.',
  '..',
  '-a',
  'a-',
  '.a',
  'a.',
  '_a',
  'a/b',
  'a b',
  'a\n',
  'a\u0000',
  'é',
  '../a',
  '$(a)',
  'a;b',
  '*',
  'a'.repeat(65),
])('a part may not be %j', (part) => {
  expect(addressPart.test(part)).toBe(false);
});

test('a part is safe in a file name and in a shell, and what joins parts is in none of them', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      if (addressPart.test(text)) expect(text).toMatch(/^[\w.-]+$/);
    }),
  );
  fc.assert(
    fc.property(fc.stringMatching(addressPart), (part) => {
      expect(part).not.toMatch(/\/|^\.|^-|\s/);
    }),
  );
});
