import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatDuration, formatTime, parseDuration } from '../../src/model/duration.ts';

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** What a formatted duration says, ms. */
function readBack(text: string): number {
  return text.split(' ').reduce((sum, part) => {
    const ms = parseDuration(part);
    if (ms === null) throw new Error(`${part} of ${text} is no duration`);
    return sum + ms;
  }, 0);
}

describe('reading', () => {
  test.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['15m', 900_000],
    ['1h', 3_600_000],
    ['30d', 2_592_000_000],
    ['0s', 0],
    ['007s', 7_000],
    ['36500d', 36_500 * 86_400_000],
  ])('%s is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    '',
    '5',
    's',
    '1.5h',
    '-1s',
    '+1s',
    ' 1s',
    '1s ',
    '1 s',
    '1s\n',
    '1S',
    '1w',
    '1y',
    '1h30m',
    '1e3s',
    '٣s',
    '36501d',
    '9999999999999ms',
    '999999999999d',
  ])('%j is none', (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  test('any number with a unit is itself, any other text is none', () => {
    fc.assert(
      fc.property(fc.nat({ max: 36_500 }), fc.constantFrom(...Object.keys(unitMs)), (count, unit) => {
        expect(parseDuration(`${String(count)}${unit}`)).toBe(count * (unitMs[unit] ?? 0));
      }),
    );
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (!/^\d+(ms|s|m|h|d)$/.test(text)) expect(parseDuration(text)).toBeNull();
      }),
    );
  });
});

describe('writing', () => {
  test.each([
    [0, '0ms'],
    [-5, '0ms'],
    [0.2, '1ms'],
    [850, '850ms'],
    [999.5, '1s'],
    [1_000, '1s'],
    [1_001, '2s'],
    [12_000, '12s'],
    [59_001, '1m'],
    [60_000, '1m'],
    [250_000, '4m 10s'],
    [3_599_001, '1h'],
    [3_600_000, '1h'],
    [11_100_000, '3h 5m'],
    [11_100_001, '3h 6m'],
    [86_340_001, '1d'],
    [86_400_000, '1d'],
    [2_520_000_000, '29d 4h'],
  ])('%d ms is %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  test('a wait is never said to be shorter than it is, and at most one part of its smaller unit longer', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000 * 86_400_000 }), (ms) => {
        const text = formatDuration(ms);
        const grain = ms < 1_000 ? 1 : ms < 3_600_000 ? 1_000 : ms < 86_400_000 ? 60_000 : 3_600_000;
        expect(readBack(text)).toBeGreaterThanOrEqual(ms);
        expect(readBack(text) - ms).toBeLessThan(grain);
        expect(text.split(' ').length).toBeLessThanOrEqual(2);
      }),
    );
  });

  test('longer is never said to be shorter', () => {
    fc.assert(
      fc.property(fc.nat({ max: 10 * 86_400_000 }), fc.nat({ max: 86_400_000 }), (ms, more) => {
        expect(readBack(formatDuration(ms + more))).toBeGreaterThanOrEqual(readBack(formatDuration(ms)));
      }),
    );
  });
});

test('a moment is written in UTC, to the millisecond', () => {
  expect(formatTime(0)).toBe('1970-01-01T00:00:00.000Z');
  expect(Date.parse(formatTime(1_767_225_600_123))).toBe(1_767_225_600_123);
});
