import { describe, expect, it } from 'vitest';
import { findings, hook, parse, problemsOf, put, smallestWith, type Draft } from './fixture.ts';

const cutover = (fields: unknown) => smallestWith([...hook, 'cutover'], fields);
const resolved = (draft: Draft) => parse(draft).policy.secrets[0];
const weekly = { cron: '0 3 * * 2', duration: '2h', timezone: 'Europe/Berlin' };

describe('a cutover', () => {
  it('has an expression, a duration, and a zone that is UTC where none is said', () => {
    expect(resolved(cutover(weekly))?.cutover).toEqual({
      cron: '0 3 * * 2',
      durationMs: 7_200_000,
      timezone: 'Europe/Berlin',
    });
    expect(resolved(cutover({ cron: '30 0 3 * * TUE', duration: '1s' }))?.cutover).toEqual({
      cron: '30 0 3 * * TUE',
      durationMs: 1_000,
      timezone: 'UTC',
    });
  });

  it.each([
    [{ ...weekly, cron: '0 25 * * 2' }, 'cron', /^has no valid hour: it may be 0 to 23/],
    [{ ...weekly, cron: '0 3 * 2' }, 'cron', /^must be five fields/],
    [{ ...weekly, cron: '@weekly' }, 'cron', /^must be five fields/],
    [{ ...weekly, cron: 3 }, 'cron', /^must be text/],
    [{ ...weekly, duration: '0s' }, 'duration', /^must be at least "1s"/],
    [{ ...weekly, duration: '2 hours' }, 'duration', /^must be a duration/],
    [{ ...weekly, timezone: '+01:00' }, 'timezone', /^is no time zone/],
    [{ duration: '2h' }, 'cron', /^is missing/],
    [{ cron: '0 3 * * 2' }, 'duration', /^is missing/],
  ])('is not %j', (fields, field, message) => {
    const problems = problemsOf(cutover(fields));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({
      path: `secrets.my-hook.cutover.${field}`,
      message: expect.stringMatching(message),
    });
  });

  it('has every mistake named, at its line and column, with the zone that was probably meant', () => {
    const text = JSON.stringify(cutover({ cron: '61 24 * * 2', duration: '2h', timezone: 'Europe/Belin' }), null, 1);
    const lines = text.split('\n');
    const place = (field: string) => {
      const line = lines.findIndex((one) => one.includes(`"${field}"`));
      return { line: line + 1, column: lines[line]!.indexOf(': ') + 3 };
    };
    expect(problemsOf(text)).toEqual([
      { path: 'secrets.my-hook.cutover.cron', message: expect.stringContaining('minute'), ...place('cron') },
      { path: 'secrets.my-hook.cutover.cron', message: expect.stringContaining('hour'), ...place('cron') },
      {
        path: 'secrets.my-hook.cutover.timezone',
        message: 'is no time zone: write an IANA name such as "Europe/Berlin" or "UTC"',
        didYouMean: 'Europe/Berlin',
        ...place('timezone'),
      },
    ]);
  });

  it('is replaced as a whole by a stronger one', () => {
    const draft = { ...cutover({ cron: '0 4 * * *', duration: '1h' }), defaults: { cutover: weekly } };
    expect(resolved(draft)?.cutover).toEqual({ cron: '0 4 * * *', durationMs: 3_600_000, timezone: 'UTC' });
    put(draft, [...hook, 'cutover'], undefined);
    expect(resolved(draft)?.cutover).toMatchObject({ timezone: 'Europe/Berlin' });
    expect(findings({ ...draft, defaults: { cutover: { ...weekly, timezone: 'Mars/Olympus' } } })).toEqual([
      expect.stringMatching(/^defaults\.cutover\.timezone: is no time zone/),
    ]);
  });
});

describe('blackouts', () => {
  const withBlackouts = (...blackouts: readonly Draft[]): Draft => ({ ...smallestWith([], undefined), blackouts });
  const utc = (text: string): number => Date.parse(text);

  it('hold from the start of the first day to the end of the last, as their zone has them', () => {
    expect(
      resolved(
        withBlackouts({ from: '2026-12-24', until: '2026-12-27', timezone: 'Europe/Berlin', reason: 'holidays' }),
      )?.blackouts,
    ).toEqual([{ from: utc('2026-12-23T23:00:00Z'), until: utc('2026-12-27T23:00:00Z'), reason: 'holidays' }]);
    expect(resolved(withBlackouts({ from: '2026-12-24', until: '2026-12-24' }))?.blackouts).toEqual([
      { from: utc('2026-12-24T00:00:00Z'), until: utc('2026-12-25T00:00:00Z'), reason: null },
    ]);
  });

  it('may begin and end at an instant', () => {
    const mixed = { from: '2026-03-28T18:00:00+01:00', until: '2026-03-29', timezone: 'Europe/Berlin' };
    expect(resolved(withBlackouts(mixed))?.blackouts).toEqual([
      { from: utc('2026-03-28T17:00:00Z'), until: utc('2026-03-29T22:00:00Z'), reason: null },
    ]);
  });

  it('are sorted, and are those of the environment', () => {
    const draft = {
      ...withBlackouts(
        { from: '2026-12-24', until: '2026-12-27' },
        { from: '2026-11-27', until: '2026-11-27', environments: ['production'], reason: 'sale' },
      ),
      environments: { production: {}, sandbox: {} },
    };
    const of = (environment: string) =>
      parse(draft).policy.secrets.find((secret) => secret.environment === environment)?.blackouts;
    expect(of('production')).toMatchObject([{ reason: 'sale' }, { reason: null }]);
    expect(of('sandbox')).toEqual([{ from: utc('2026-12-24'), until: utc('2026-12-28'), reason: null }]);
  });

  it.each([
    [{ until: '2026-12-27' }, 'from', /^is missing/],
    [{ from: '2026-12-24' }, 'until', /^is missing/],
    [{ from: '2026-02-30', until: '2026-12-27' }, 'from', /^must be a day such as/],
    [{ from: '2026-12-24 10:00', until: '2026-12-27' }, 'from', /^must be a day such as/],
    [{ from: '2026-12-24', until: 'Christmas' }, 'until', /^must be a day such as/],
    [{ from: '2026-12-27', until: '2026-12-24' }, 'until', /^is not after from/],
    [{ from: '2026-12-24T10:00:00Z', until: '2026-12-24T11:00:00+01:00' }, 'until', /^is not after from/],
    [{ from: '2026-12-24', until: '2026-12-27', timezone: 'CEST' }, 'timezone', /^is no time zone/],
    [{ from: '2026-12-24', until: '2026-12-27', reason: 'a\nb' }, 'reason', /^must be one line/],
    [{ from: '2026-12-24', until: '2026-12-27', environments: [] }, 'environments', /^must name at least one/],
    [{ from: '2026-12-24', until: '2026-12-27', environments: ['live'] }, 'environments[0]', /^is no environment/],
  ])('are not %j', (blackout, field, message) => {
    const problems = problemsOf(withBlackouts({ from: '2026-01-01', until: '2026-01-01' }, blackout));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ path: `blackouts[1].${field}`, message: expect.stringMatching(message) });
    expect(problems[0]?.line).toBeGreaterThan(1);
  });

  it('name an environment with the nearest one', () => {
    const draft = withBlackouts({ from: '2026-12-24', until: '2026-12-27', environments: ['prodution'] });
    expect(problemsOf({ ...draft, environments: { production: {} } })).toMatchObject([{ didYouMean: 'production' }]);
  });
});
