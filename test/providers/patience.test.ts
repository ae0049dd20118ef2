import { expect, it } from 'vitest';
import { pauseMs } from '../../providers/patience.ts';

it('whoever asks for a lock asks at once again, then seldom, and the more often the longer he has waited', () => {
  expect([1, 2, 3, 4, 5, 6].map((asked) => pauseMs(asked, 0))).toEqual([1, 2, 4, 8, 16, 32]);
  expect([0, 500, 1_000, 2_000, 2_250, 60_000].map((waitedMs) => pauseMs(100, waitedMs))).toEqual([
    50, 40, 30, 10, 5, 5,
  ]);
});
