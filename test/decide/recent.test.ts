import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { changedHoldings, type StoredHolding, type StoredReceiver } from '../../src/decide/arrival.ts';
import { byMinute, recentAt, recentMinutes, spread } from '../../src/decide/recent.ts';
import type { RecentUse } from '../../src/ports/usage-log.ts';
import { reportOf, secretOf, useOf } from '../conformance/report-samples.ts';

const minuteMs = 60_000;
const now = Date.parse('2026-03-01T12:00:30.000Z');
const minute = Math.floor(now / minuteMs);

function total(uses: readonly RecentUse[]): number {
  return uses.reduce((sum, { exclusive }) => sum + exclusive, 0);
}

describe('spread', () => {
  test('puts a span within one minute there', () => {
    expect(byMinute(spread(7, now - 10_000, now))).toEqual([{ minute, exclusive: 7 }]);
  });

  test('is even over the span, and gives what cannot be divided to its end', () => {
    expect(byMinute(spread(6, now - minuteMs, now))).toEqual([
      { minute: minute - 1, exclusive: 3 },
      { minute, exclusive: 3 },
    ]);
    expect(byMinute(spread(1, now - 5 * minuteMs, now))).toEqual([{ minute, exclusive: 1 }]);
  });

  test('takes a span that ends before it begins for a moment: a clock was set back', () => {
    expect(byMinute(spread(5, now + 60 * minuteMs, now))).toEqual([{ minute, exclusive: 5 }]);
    expect(byMinute(spread(5, now + 60 * minuteMs, minute * minuteMs))).toEqual([{ minute, exclusive: 5 }]);
  });

  test('loses nothing of ten minutes, invents nothing, and leaves out what is older', () => {
    fc.assert(
      fc.property(fc.nat({ max: 1_000_000 }), fc.nat({ max: 60 * minuteMs }), (growth, ageMs) => {
        const uses = spread(growth, now - ageMs, now);
        expect(uses.every(({ exclusive }) => Number.isInteger(exclusive) && exclusive >= 0)).toBe(true);
        expect(total(uses)).toBeLessThanOrEqual(growth);
        if (ageMs <= 9 * minuteMs) expect(total(uses)).toBe(growth);
        const share = (growth * 10 * minuteMs) / Math.max(ageMs, 10 * minuteMs);
        expect(total(uses)).toBeLessThanOrEqual(share + 1);
      }),
    );
  });
});

test('a minute counts for ten minutes, and not while it is ahead of the clock', () => {
  const uses = [{ minute, exclusive: 1 }];
  expect(recentAt(uses, now)).toEqual(uses);
  expect(recentAt(uses, (minute + recentMinutes) * minuteMs - 1)).toEqual(uses);
  expect(recentAt(uses, (minute + recentMinutes) * minuteMs)).toEqual([]);
  expect(recentAt(uses, minute * minuteMs - 1)).toEqual([]);
});

/** One step in the life of an instance and of the log's clock. */
interface Step {
  readonly passesMs: number;
  readonly clockMovesMs: number;
  readonly matches: number;
  /** A lost report is one that the log never sees; a doubled one comes again at once. */
  readonly report: 'arrives' | 'lost' | 'doubled' | 'none';
}

const anyStep: fc.Arbitrary<Step> = fc.record({
  passesMs: fc.oneof(fc.nat({ max: 20_000 }), fc.nat({ max: 30 * minuteMs })),
  clockMovesMs: fc.option(fc.integer({ min: -60 * minuteMs, max: 60 * minuteMs }), { nil: 0, freq: 6 }),
  matches: fc.nat({ max: 50 }),
  report: fc.constantFrom('arrives', 'arrives', 'arrives', 'lost', 'doubled', 'none'),
});

test('whatever happens, at most ten minutes are kept, in order, none ahead of the last report, and none twice', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
      let [wall, uptimeMs, matched, reported] = [now, 0, 0, 0];
      let known: StoredReceiver | null = null;
      let holdings: ReadonlyMap<string, StoredHolding> = new Map();
      const arrive = (): void => {
        const report = reportOf('w-1', { uptimeMs, secrets: [secretOf('hook', [useOf('v1', matched, 0)])] });
        const before = holdings.get('hook')?.uses[0];
        holdings = new Map([...holdings, ...changedHoldings(holdings, known, report, wall)]);
        known = { ...report, coveredSince: 0, lastReportAt: wall, signedOffAt: null, forgottenAt: null };
        const after = holdings.get('hook')!.uses[0]!;
        expect(after.recent.length).toBeLessThanOrEqual(recentMinutes);
        expect(byMinute(after.recent)).toEqual(after.recent);
        if (matched === reported) expect(after.recent).toEqual(before?.recent ?? []);
        else expect(recentAt(after.recent, wall)).toEqual(after.recent);
        expect(total(after.recent)).toBeLessThanOrEqual(matched);
        reported = matched;
      };
      for (const step of steps) {
        wall += step.passesMs + step.clockMovesMs;
        uptimeMs += step.passesMs;
        matched += step.matches;
        if (step.report === 'arrives' || step.report === 'doubled') arrive();
        if (step.report === 'doubled') arrive();
      }
    }),
  );
});

test('nothing is written for a receiver that sees nothing, while the minutes grow old', () => {
  const receiver: StoredReceiver = {
    ...reportOf('w-1'),
    coveredSince: 0,
    lastReportAt: now,
    signedOffAt: null,
    forgottenAt: null,
  };
  const report = (ageMs: number) =>
    reportOf('w-1', { uptimeMs: 1_000 + ageMs, secrets: [secretOf('hook', [useOf('v1', 5, ageMs)])] });
  const holdings = new Map(changedHoldings(new Map(), null, report(0), now));
  expect(holdings.get('hook')?.uses[0]?.recent).toEqual([{ minute, exclusive: 5 }]);
  for (let ageMs = 10_000; ageMs < 20 * minuteMs; ageMs += 10_000) {
    expect([...changedHoldings(holdings, receiver, report(ageMs), now + ageMs)]).toEqual([]);
  }
});
