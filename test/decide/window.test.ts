import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { blackoutAt, cutoverAt, nextOpening } from '../../src/decide/window.ts';
import type { Blackout, CutoverPolicy } from '../../src/model/policy.ts';
import { minute, now, second } from './build.ts';

const hour = 60 * minute;
const day = 24 * hour;

const at = (text: string): number => Date.parse(text);
const time = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

function cutover(cron: string, durationMs: number, timezone = 'UTC'): CutoverPolicy {
  return { cron, durationMs, timezone };
}

/** The window around a moment: whether it is open, and when that changes. */
function around(policy: CutoverPolicy, moment: string): readonly [boolean, string | null] {
  const { open, opensAt, closesAt } = cutoverAt(policy, at(moment));
  expect(open ? opensAt : closesAt).toBeNull();
  return [open, time(open ? closesAt : opensAt)];
}

/** When the windows of a day or two open and close, asked from one change to the next. */
function changes(policy: CutoverPolicy, from: string, count: number): readonly (string | null)[] {
  const found: (string | null)[] = [];
  let moment = at(from);
  while (found.length < count) {
    const { open, opensAt, closesAt } = cutoverAt(policy, moment);
    const change = open ? closesAt : opensAt;
    found.push(time(change));
    if (change === null) break;
    moment = change;
  }
  return found;
}

describe('a cutover window', () => {
  const tuesday = cutover('0 3 * * 2', 2 * hour);

  it('is open from its first moment until its last, which it does not hold', () => {
    expect(around(tuesday, '2026-03-03T02:59:59.999Z')).toEqual([false, '2026-03-03T03:00:00.000Z']);
    expect(around(tuesday, '2026-03-03T03:00:00.000Z')).toEqual([true, '2026-03-03T05:00:00.000Z']);
    expect(around(tuesday, '2026-03-03T04:59:59.999Z')).toEqual([true, '2026-03-03T05:00:00.000Z']);
    expect(around(tuesday, '2026-03-03T05:00:00.000Z')).toEqual([false, '2026-03-10T03:00:00.000Z']);
  });

  it('may begin at a second', () => {
    const policy = cutover('30 0 3 * * *', 10 * second);
    expect(changes(policy, '2026-03-03T00:00:00Z', 3)).toEqual([
      '2026-03-03T03:00:30.000Z',
      '2026-03-03T03:00:40.000Z',
      '2026-03-04T03:00:30.000Z',
    ]);
  });

  it('is one with those that follow without a gap', () => {
    const everyHourFromTwoToFour = cutover('0 2-4 * * *', hour);
    expect(changes(everyHourFromTwoToFour, '2026-03-03T00:00:00Z', 3)).toEqual([
      '2026-03-03T02:00:00.000Z',
      '2026-03-03T05:00:00.000Z',
      '2026-03-04T02:00:00.000Z',
    ]);
    const overlapping = cutover('0,30 2 * * *', 50 * minute);
    expect(around(overlapping, '2026-03-03T02:10:00Z')).toEqual([true, '2026-03-03T03:20:00.000Z']);
  });

  it('that is longer than from one to the next is always open, and no end is told', () => {
    const always = cutover('0 3 * * *', 2 * day);
    for (const moment of ['2026-03-03T00:00:00Z', '2026-03-29T01:30:00Z', '2026-10-25T00:30:00Z'])
      expect(cutoverAt(always, at(moment))).toEqual({ open: true, opensAt: null, closesAt: null });
    expect(cutoverAt(cutover('* * * * *', minute), now)).toMatchObject({ open: true, closesAt: null });
  });

  it('that is on no day, or on none soon, does not open', () => {
    const closed = { open: false, opensAt: null, closesAt: null };
    expect(cutoverAt(cutover('0 0 30 2 *', hour), now)).toEqual(closed);
    expect(cutoverAt(cutover('0 0 29 2 *', hour), at('2025-02-28T23:00:00Z'))).toEqual(closed);
    expect(around(cutover('0 0 29 2 *', hour), '2027-01-01T00:00:00Z')).toEqual([false, '2028-02-29T00:00:00.000Z']);
  });

  it('goes by the zone, also by one that never changes its clocks', () => {
    expect(around(cutover('30 2 * * *', hour, 'Asia/Kolkata'), '2026-03-28T20:00:00Z')).toEqual([
      false,
      '2026-03-28T21:00:00.000Z',
    ]);
  });
});

describe('where clocks go forward', () => {
  it.each([
    [
      'Europe/Berlin',
      '2026-03-28T12:00:00Z',
      ['2026-03-29T01:00:00.000Z', '2026-03-29T02:00:00.000Z', '2026-03-30T00:30:00.000Z'],
    ],
    [
      'America/New_York',
      '2026-03-07T12:00:00Z',
      ['2026-03-08T07:00:00.000Z', '2026-03-08T08:00:00.000Z', '2026-03-09T06:30:00.000Z'],
    ],
  ])('02:30, which is not there, opens right after the gap: %s', (zone, from, expected) => {
    expect(changes(cutover('30 2 * * *', hour, zone), from, 3)).toEqual(expected);
    expect(changes(cutover('30 2,14 * * *', hour, zone), from, 3)).toEqual([
      new Date(at(expected[0]!) - 11.5 * hour).toISOString(),
      new Date(at(expected[0]!) - 10.5 * hour).toISOString(),
      expected[0],
    ]);
  });

  it('a window that spans the change is as long as ever', () => {
    expect(changes(cutover('30 1 * * *', 2 * hour, 'Europe/Berlin'), '2026-03-28T12:00:00Z', 2)).toEqual([
      '2026-03-29T00:30:00.000Z',
      '2026-03-29T02:30:00.000Z',
    ]);
  });

  it('a step skips what is not there', () => {
    expect(changes(cutover('*/30 2 * * *', 10 * minute, 'Europe/Berlin'), '2026-03-28T12:00:00Z', 1)).toEqual([
      '2026-03-30T00:00:00.000Z',
    ]);
  });
});

describe('where clocks go back', () => {
  it.each([
    [
      'Europe/Berlin',
      '30 2 * * *',
      '2026-10-24T12:00:00Z',
      ['2026-10-25T00:30:00.000Z', '2026-10-25T00:50:00.000Z', '2026-10-26T01:30:00.000Z'],
    ],
    [
      'America/New_York',
      '30 1 * * *',
      '2026-10-31T12:00:00Z',
      ['2026-11-01T05:30:00.000Z', '2026-11-01T05:50:00.000Z', '2026-11-02T06:30:00.000Z'],
    ],
    [
      'America/New_York',
      '30 2 * * *',
      '2026-10-31T12:00:00Z',
      ['2026-11-01T07:30:00.000Z', '2026-11-01T07:50:00.000Z', '2026-11-02T07:30:00.000Z'],
    ],
  ])('a time that is there twice opens once, the first time: %s %s', (zone, cron, from, expected) => {
    expect(changes(cutover(cron, 20 * minute, zone), from, 3)).toEqual(expected);
  });

  it('a step opens both times', () => {
    expect(changes(cutover('*/30 2 * * *', 10 * minute, 'Europe/Berlin'), '2026-10-24T12:00:00Z', 7)).toEqual([
      '2026-10-25T00:00:00.000Z',
      '2026-10-25T00:10:00.000Z',
      '2026-10-25T00:30:00.000Z',
      '2026-10-25T00:40:00.000Z',
      '2026-10-25T01:00:00.000Z',
      '2026-10-25T01:10:00.000Z',
      '2026-10-25T01:30:00.000Z',
    ]);
  });

  it('a window that spans the change is as long as ever', () => {
    expect(changes(cutover('30 1 * * *', 2 * hour, 'Europe/Berlin'), '2026-10-24T12:00:00Z', 2)).toEqual([
      '2026-10-24T23:30:00.000Z',
      '2026-10-25T01:30:00.000Z',
    ]);
  });
});

/** A minute, and what a clock on the wall of some zone shows in it, in minutes since some Thursday. */
interface WallMinute {
  readonly at: number;
  readonly wall: number;
}

/** Every minute of that many days. No zone of these tests changes its clocks but on the half hour. */
function wallMinutes(zone: string, from: string, days: number): readonly WallMinute[] {
  const format = new Intl.DateTimeFormat('en-GB', { timeZone: zone, dateStyle: 'short', timeStyle: 'short' });
  return Array.from({ length: days * 48 }, (_, index) => at(from) + index * 30 * minute).flatMap((half) => {
    const shown = /(\d+)\/(\d+)\/(\d+), (\d+):(\d+)/.exec(format.format(half))?.map(Number) ?? [];
    const [, dayOf, month, year, hours, minutes] = shown;
    const wall = Date.UTC(year!, month! - 1, dayOf, hours, minutes) / minute;
    return Array.from({ length: 30 }, (_, more) => ({ at: half + more * minute, wall: wall + more }));
  });
}

interface Wanted {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly weekdays: readonly number[];
}

/** When windows open, minute by minute: as said once for a list of times, without any library. */
function openings(month: readonly WallMinute[], { minutes, hours, weekdays }: Wanted): readonly number[] {
  const weekdayOf = (wall: number): number => (Math.floor(wall / (24 * 60)) + 4) % 7;
  const isWanted = (wall: number): boolean =>
    minutes.includes(wall % 60) && hours.includes(Math.floor(wall / 60) % 24) && weekdays.includes(weekdayOf(wall));
  const found: number[] = [];
  let shown = (month[0]?.wall ?? 0) - 1;
  for (const { at: moment, wall } of month) {
    const skipped = Array.from({ length: Math.max(0, wall - shown - 1) }, (_, index) => shown + 1 + index);
    if (wall > shown && [...skipped, wall].some(isWanted)) found.push(moment);
    shown = Math.max(shown, wall);
  }
  return found;
}

describe('minute by minute', () => {
  const months = [
    ['Europe/Berlin', '2026-03-14T00:00:00Z'],
    ['Europe/Berlin', '2026-10-10T00:00:00Z'],
    ['America/New_York', '2026-02-22T00:00:00Z'],
    ['America/New_York', '2026-10-18T00:00:00Z'],
    ['Australia/Lord_Howe', '2026-03-21T00:00:00Z'],
    ['Africa/Cairo', '2026-04-10T00:00:00Z'],
    ['Asia/Kathmandu', '2026-03-14T00:00:00Z'],
  ] as const;

  it.each(months)(
    'open agrees with a clock on the wall: %s from %s',
    (zone, from) => {
      const month = wallMinutes(zone, from, 30);
      const some = (values: readonly number[]) => fc.subarray([...values], { minLength: 1, maxLength: 3 });
      const wanted = fc.record({
        minutes: some([0, 5, 15, 30, 59]),
        hours: some([0, 1, 2, 3, 12, 23]),
        weekdays: fc.oneof(fc.constant([0, 1, 2, 3, 4, 5, 6]), some([0, 1, 5, 6])),
      });
      const length = fc.constantFrom(1, 10, 60, 150, 25 * 60);
      const asked = fc.array(fc.nat(30 * 24 * 60 - 1), { minLength: 5, maxLength: 10 });
      fc.assert(
        fc.property(wanted, length, asked, (times, minutes, indexes) => {
          const policy = cutover(
            `${times.minutes.join()} ${times.hours.join()} * * ${times.weekdays.length === 7 ? '*' : times.weekdays.join()}`,
            minutes * minute,
            zone,
          );
          const opened = openings(month, times);
          const edges = opened
            .filter((each) => Math.abs(each - month[month.length / 2]!.at) < 2 * day)
            .flatMap((each) => [each - minute, each, each + (minutes - 1) * minute, each + minutes * minute]);
          // What opened before the month cannot be seen in it.
          const first = at(from) + minutes * minute;
          for (const moment of [...indexes.map((index) => month[index]!.at), ...edges]) {
            if (moment < first || moment > month.at(-1)!.at) continue;
            const expected = opened.some((each) => each <= moment && moment < each + minutes * minute);
            expect([time(moment), cutoverAt(policy, moment).open]).toEqual([time(moment), expected]);
          }
        }),
        { numRuns: 12 },
      );
    },
    60_000,
  );
});

describe('a blackout', () => {
  const span = (from: number, until: number, reason: string | null = null): Blackout => ({ from, until, reason });

  it('holds from its first moment until its end, which it does not hold', () => {
    const one = [span(100, 200, 'fair')];
    expect(blackoutAt(one, 99)).toBeNull();
    expect(blackoutAt(one, 100)).toEqual({ until: 200, reason: 'fair' });
    expect(blackoutAt(one, 199)).toEqual({ until: 200, reason: 'fair' });
    expect(blackoutAt(one, 200)).toBeNull();
    expect(blackoutAt([], 100)).toBeNull();
  });

  it('is over when those that adjoin or overlap are, in whatever order they stand', () => {
    const chain = [span(300, 400, 'third'), span(150, 300), span(100, 200, 'first'), span(401, 500)];
    expect(blackoutAt(chain, 120)).toEqual({ until: 400, reason: 'first' });
    expect(blackoutAt(chain, 160)).toEqual({ until: 400, reason: 'first' });
    expect(blackoutAt(chain, 250)).toEqual({ until: 400, reason: null });
    expect(blackoutAt(chain, 350)).toEqual({ until: 400, reason: 'third' });
    expect(blackoutAt(chain, 400)).toBeNull();
    expect(blackoutAt(chain, 450)).toEqual({ until: 500, reason: null });
  });

  it('that lies in another changes nothing', () => {
    expect(blackoutAt([span(100, 500, 'outer'), span(200, 300, 'inner')], 250)).toEqual({
      until: 500,
      reason: 'outer',
    });
  });
});

describe('the next opening', () => {
  const nightly = cutover('0 3 * * *', 2 * hour);
  const span = (from: string, until: string): Blackout => ({ from: at(from), until: at(until), reason: null });
  const opening = (policy: CutoverPolicy | null, blackouts: readonly Blackout[], moment: string): string | null =>
    time(nextOpening(policy, blackouts, at(moment)));

  it('is now where nothing stands against it', () => {
    expect(opening(null, [], '2026-03-03T00:00:00Z')).toBe('2026-03-03T00:00:00.000Z');
    expect(opening(nightly, [], '2026-03-03T04:00:00Z')).toBe('2026-03-03T04:00:00.000Z');
  });

  it('waits for the window, for the blackout, and for both', () => {
    expect(opening(nightly, [], '2026-03-03T05:00:00Z')).toBe('2026-03-04T03:00:00.000Z');
    expect(opening(null, [span('2026-03-03T00:00:00Z', '2026-03-05T00:00:00Z')], '2026-03-03T05:00:00Z')).toBe(
      '2026-03-05T00:00:00.000Z',
    );
    const two = [
      span('2026-03-03T00:00:00Z', '2026-03-05T04:00:00Z'),
      span('2026-03-06T00:00:00Z', '2026-03-06T12:00:00Z'),
    ];
    expect(opening(nightly, two, '2026-03-03T05:00:00Z')).toBe('2026-03-05T04:00:00.000Z');
    expect(opening(nightly, two, '2026-03-05T05:00:00Z')).toBe('2026-03-07T03:00:00.000Z');
  });

  it('is in the window and in no blackout, whatever they are, and nothing before it is', () => {
    const blackout = fc
      .tuple(fc.integer({ min: -60, max: 400 }), fc.integer({ min: 1, max: 90 }))
      .map(([from, length]) => ({ from: now + from * hour, until: now + (from + length) * hour, reason: null }));
    const policy = fc.constantFrom(
      null,
      nightly,
      cutover('0 */5 * * *', hour, 'Europe/Berlin'),
      cutover('0 3 * * 2', hour),
    );
    fc.assert(
      fc.property(policy, fc.array(blackout, { maxLength: 6 }), (some, blackouts) => {
        const may = (moment: number): boolean =>
          blackoutAt(blackouts, moment) === null && (some === null || cutoverAt(some, moment).open);
        const found = nextOpening(some, blackouts, now) ?? Number.NaN;
        expect(may(found)).toBe(true);
        for (let moment = now; moment < found; moment += 20 * minute) expect(may(moment)).toBe(false);
        if (found > now) expect(may(found - 1)).toBe(false);
      }),
      { numRuns: 40 },
    );
  });

  it('is none where the window never opens, or not within two years', () => {
    expect(opening(cutover('0 0 30 2 *', hour), [], '2026-03-03T00:00:00Z')).toBeNull();
    expect(opening(cutover('0 0 29 2 *', hour), [], '2025-03-03T00:00:00Z')).toBeNull();
    expect(opening(null, [span('2026-01-01T00:00:00Z', '2029-01-01T00:00:00Z')], '2026-03-03T00:00:00Z')).toBeNull();
    const yearly = cutover('0 3 1 4 *', hour);
    const aprils = ['2026', '2027', '2028'].map((year) => span(`${year}-04-01T00:00:00Z`, `${year}-04-02T00:00:00Z`));
    expect(opening(yearly, aprils, '2026-03-03T00:00:00Z')).toBeNull();
    expect(opening(yearly, aprils.slice(0, 1), '2026-03-03T00:00:00Z')).toBe('2027-04-01T03:00:00.000Z');
  });
});

describe('what the answer depends on', () => {
  afterEach(() => vi.useRealTimers());

  it('is what was asked, and no clock; and no timer is left', () => {
    const policy = cutover('0 3 * * 2', hour, 'America/New_York');
    const ask = () => [cutoverAt(policy, now), nextOpening(policy, [], now)];
    const today = ask();
    vi.useFakeTimers({ now: at('1999-12-31T23:59:59Z') });
    expect(ask()).toEqual(today);
    vi.setSystemTime(at('2100-06-01T00:00:00Z'));
    expect(ask()).toEqual(today);
    expect(vi.getTimerCount()).toBe(0);
  });
});
