import { Cron } from 'croner';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  cronMistakes,
  cronTimes,
  endOf,
  isTimezone,
  parseMoment,
  startOf,
  timezones,
} from '../../src/model/calendar.ts';

const at = (text: string): number => Date.parse(text);
/** As the expression itself says it, asked for the first time. */
function spanOf(cron: string, moment: number): { readonly latest: number | null; readonly next: number | null } {
  const times = new Cron(cron, { timezone: 'Europe/Berlin', mode: '5-or-6-parts', fixedTimeRule: 'no-wildcard' });
  const latest = times.previousRuns(1, new Date(moment + 1))[0]?.getTime() ?? null;
  return { latest, next: times.nextRun(new Date(moment))?.getTime() ?? null };
}

const time = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

describe('a cron expression', () => {
  it.each([
    '0 3 * * 2',
    '*/15 0-5,22 1,15 * MON-FRI',
    '30 0 3 * JAN-MAR *',
    '0 0 L * *',
    '0 3 * * TUE#2',
    '0 3 * * 7',
    '  0   3 *\t* * ',
  ])('may be %j', (cron) => {
    expect(cronMistakes(cron)).toEqual([]);
    expect(cronTimes(cron, 'UTC').next(at('2026-01-01T00:00:00Z'))).not.toBeNull();
  });

  it.each(['', '3', '* * * *', '* * * * * * *', '@daily', '@reboot'])('has five fields or six: %j', (cron) => {
    expect(cronMistakes(cron)).toEqual([expect.stringMatching(/^must be five fields .* or six with the second/)]);
  });

  it.each([
    ['60 * * * *', ['minute']],
    ['* 24 * * *', ['hour']],
    ['* * 0 * *', ['day of the month']],
    ['* * * 13 *', ['month']],
    ['* * * * 8', ['weekday']],
    ['60 * * * * *', ['second']],
    ['a b c d e', ['minute', 'hour', 'day of the month', 'month', 'weekday']],
    ['*/0 5-3 * * *', ['minute', 'hour']],
    ['1,,2 * * * FRY', ['minute', 'weekday']],
    ['5/5 1.5 -1 * *', ['minute', 'hour', 'day of the month']],
  ])('has each wrong field named: %j', (cron, names) => {
    const found = cronMistakes(cron);
    expect(found.map((sentence) => /^has no valid (.+?): it may be /.exec(sentence)?.[1])).toEqual(names);
    expect(found.join()).not.toContain('FRY');
  });

  it('has a last time and a next one, the last one being now at the earliest', () => {
    const times = cronTimes('0 3 * * 2', 'Europe/Berlin');
    const tuesday = at('2026-03-03T02:00:00Z');
    expect(time(times.latest(tuesday))).toBe('2026-03-03T02:00:00.000Z');
    expect(time(times.latest(tuesday - 1))).toBe('2026-02-24T02:00:00.000Z');
    expect(time(times.next(tuesday))).toBe('2026-03-10T02:00:00.000Z');
    expect(time(times.next(tuesday - 1))).toBe('2026-03-03T02:00:00.000Z');
  });

  it('has the same times whatever was asked before', () => {
    const hours = Array.from({ length: 4 * 24 }, (_, index) => at('2026-03-27T00:00:00Z') + index * 3_600_000);
    const shuffled = hours.map((_, index) => hours[(index * 37) % hours.length] ?? 0);
    for (const cron of ['*/7 * * * *', '30 2 * * *', '0 3 * * 7']) {
      for (const moment of shuffled) {
        const { latest, next } = spanOf(cron, moment);
        const times = cronTimes(cron, 'Europe/Berlin');
        expect([times.latest(moment), times.next(moment)]).toEqual([latest, next]);
      }
    }
  });

  it('may have no time at all', () => {
    const never = cronTimes('0 0 31 4,6 *', 'UTC');
    expect([never.latest(at('2026-01-01T00:00:00Z')), never.next(at('2026-01-01T00:00:00Z'))]).toEqual([null, null]);
  });
});

describe('a time zone', () => {
  it.each(['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5', 'Asia/Calcutta'])('is %s', (name) => {
    expect(isTimezone(name)).toBe(true);
  });

  it.each(['', 'Europe/Belin', '+01:00', 'Berlin', 'local', 'UTC+1', 'Europe/Berlin '])('is not %j', (name) => {
    expect(isTimezone(name)).toBe(false);
  });

  it('is one of many, all of which are zones', () => {
    expect(timezones().length).toBeGreaterThan(300);
    expect(timezones().filter((name) => !isTimezone(name))).toEqual([]);
  });
});

describe('a moment', () => {
  it.each([
    ['2026-12-24', { day: '2026-12-24' }],
    ['2028-02-29', { day: '2028-02-29' }],
    ['2026-12-24T18:00:00Z', { at: at('2026-12-24T18:00:00Z') }],
    ['2026-12-24T18:00:00.5+01:00', { at: at('2026-12-24T17:00:00.500Z') }],
  ])('is a day or an instant: %s', (text, moment) => {
    expect(parseMoment(text)).toEqual(moment);
  });

  it.each([
    '2026-02-29',
    '2026-02-30T00:00:00Z',
    '2026-13-01',
    '2026-00-10',
    '2026-1-1',
    '24.12.2026',
    '1999-12-31',
    '2026-12-24T18:00:00',
    '2026-12-24 18:00:00Z',
    '2026-12-24T24:00:00Z',
    '2026-12-24T18:60:00Z',
    '2026-12-24T18:00Z',
    '2026-12-24T18:00:00+25:00',
    'tomorrow',
    '',
  ])('is not %j', (text) => {
    expect(parseMoment(text)).toBeNull();
  });

  it.each([
    ['2026-12-24', 'UTC', '2026-12-24T00:00:00.000Z', '2026-12-25T00:00:00.000Z'],
    ['2026-12-31', 'Europe/Berlin', '2026-12-30T23:00:00.000Z', '2026-12-31T23:00:00.000Z'],
    ['2026-03-29', 'Europe/Berlin', '2026-03-28T23:00:00.000Z', '2026-03-29T22:00:00.000Z'],
    ['2026-10-25', 'Europe/Berlin', '2026-10-24T22:00:00.000Z', '2026-10-25T23:00:00.000Z'],
    ['2026-06-01', 'Pacific/Kiritimati', '2026-05-31T10:00:00.000Z', '2026-06-01T10:00:00.000Z'],
    ['2026-06-01', 'Etc/GMT+12', '2026-06-01T12:00:00.000Z', '2026-06-02T12:00:00.000Z'],
    // Its midnight is not there: the clocks go from 24:00 to 01:00.
    ['2026-04-24', 'Africa/Cairo', '2026-04-23T22:00:00.000Z', '2026-04-24T21:00:00.000Z'],
    // Its midnight is there twice: the clocks go from 01:00 back to it.
    ['2026-11-01', 'America/Havana', '2026-11-01T04:00:00.000Z', '2026-11-02T05:00:00.000Z'],
  ])('that is a day lasts as long as its zone says: %s in %s', (day, zone, from, until) => {
    expect([time(startOf({ day }, zone)), time(endOf({ day }, zone))]).toEqual([from, until]);
  });

  it('that is an instant begins and ends at once, in every zone', () => {
    const moment = { at: at('2026-12-24T18:00:00Z') };
    expect([startOf(moment, 'Asia/Tokyo'), endOf(moment, 'Asia/Tokyo')]).toEqual([moment.at, moment.at]);
  });

  describe('on a machine of another zone', () => {
    const zone = process.env['TZ'];
    beforeAll(() => {
      process.env['TZ'] = 'Africa/Cairo';
    });
    afterAll(() => {
      if (zone === undefined) delete process.env['TZ'];
      else process.env['TZ'] = zone;
    });

    it('is the same', () => {
      expect(new Date(at('2026-06-01T00:00:00Z')).getHours()).toBe(3);
      expect(time(startOf({ day: '2026-04-24' }, 'Europe/Berlin'))).toBe('2026-04-23T22:00:00.000Z');
      expect(time(startOf({ day: '2026-12-24' }, 'UTC'))).toBe('2026-12-24T00:00:00.000Z');
      const times = cronTimes('30 0 24 4 *', 'America/New_York');
      expect(time(times.next(at('2026-01-01T00:00:00Z')))).toBe('2026-04-24T04:30:00.000Z');
    });
  });
});
