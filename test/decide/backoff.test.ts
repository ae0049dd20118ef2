import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffMs } from '../../src/decide/backoff.ts';

test.each([
  [1, true, 2_000],
  [2, true, 4_000],
  [7, true, 128_000],
  [8, true, 256_000],
  [9, true, 300_000],
  [1, false, 60_000],
  [6, false, 1_920_000],
  [7, false, 3_600_000],
])('failure %i in a row, retryable: %s: %i ms', (failures, canRetry, ms) => {
  expect(backoffMs(failures, canRetry)).toBe(ms);
});

test('I8: it never shrinks as failures go on, is never nothing, and has an end', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100_000 }), fc.boolean(), (failures, canRetry) => {
      const ms = backoffMs(failures, canRetry);
      expect(backoffMs(failures + 1, canRetry)).toBeGreaterThanOrEqual(ms);
      expect(ms).toBeGreaterThan(0);
      expect(ms).toBeLessThanOrEqual(canRetry ? 5 * 60_000 : 60 * 60_000);
    }),
  );
});

test('what a person has to mend is tried less often', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), (failures) => {
      expect(backoffMs(failures, false)).toBeGreaterThan(backoffMs(failures, true));
    }),
  );
});
