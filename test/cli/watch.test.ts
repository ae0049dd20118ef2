import { describe, expect, it } from 'vitest';
import { pauseMs } from '../../src/cli/watch.ts';

const now = 1_767_225_600_000;
const well = { everyMs: 10_000, failures: 0, until: null };

describe('the pause between two visits', () => {
  it('is regular, give or take a tenth, so that many who watch do not come at once', () => {
    expect(pauseMs(well, now, 0)).toBe(9_000);
    expect(pauseMs(well, now, 0.5)).toBe(10_000);
    expect(pauseMs(well, now, 1)).toBe(11_000);
  });

  it('is shorter where it is known that a run may go on before, and never too short for that', () => {
    for (const fraction of [0, 0.3, 1]) {
      const pause = pauseMs({ ...well, until: now + 3_000 }, now, fraction);
      expect(pause).toBeGreaterThanOrEqual(3_000);
      expect(pause).toBeLessThanOrEqual(3_500);
    }
    expect(pauseMs({ ...well, until: now + 60_000 }, now, 0)).toBe(9_000);
    expect(pauseMs({ ...well, until: now - 1 }, now, 0)).toBe(9_000);
  });

  it('grows while every visit comes to nothing, to five minutes and no further', () => {
    const pauses = [1, 2, 3, 4, 5, 6, 7, 8, 9, 50].map((failures) => pauseMs({ ...well, failures }, now, 0.5));
    expect(pauses).toEqual([10_000, 10_000, 10_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000]);
    expect(pauseMs({ everyMs: 600_000, failures: 9, until: null }, now, 0.5)).toBe(600_000);
    expect(pauseMs({ ...well, failures: 9, until: now + 100 }, now, 0.5)).toBe(300_000);
  });
});
