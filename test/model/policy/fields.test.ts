import { describe, expect, it } from 'vitest';
import { findings, hook, parse, problemsOf, put, smallestWith, upstream } from './fixture.ts';

const gates = [...hook, 'gates'];
const capability = (name: string) => [...upstream, 'capabilities', name];

describe('gates', () => {
  it('have a time that they may wait, and a word on retries', () => {
    expect(parse(smallestWith(gates, { timeout: '36h', retryTail: 'ignore' })).policy.secrets[0]?.gates).toEqual({
      graceMs: 3_600_000,
      quietMs: 1_800_000,
      timeoutMs: 36 * 3_600_000,
      retryTail: 'ignore',
    });
    expect(parse(smallestWith(gates, { grace: '0s', quiet: '0s', timeout: '1s' })).policy.secrets[0]?.gates).toEqual({
      graceMs: 0,
      quietMs: 0,
      timeoutMs: 1_000,
      retryTail: 'respect',
    });
    expect(findings(smallestWith([...gates, 'timeout'], '999ms'))).toEqual([
      'secrets.my-hook.gates.timeout: must be at least "1s"',
    ]);
    expect(problemsOf(smallestWith([...gates, 'retryTail'], 'ignored'))).toMatchObject([
      { message: 'must be one of "respect", "ignore"', didYouMean: 'ignore' },
    ]);
  });
});

describe('retries', () => {
  const resolved = (resigned: string, horizon?: string) => {
    const draft = smallestWith(capability('retriesResigned'), resigned);
    put(draft, capability('retryHorizon'), horizon);
    return draft;
  };

  it.each([
    ['yes', undefined, 0],
    ['yes', '36h', 36 * 3_600_000],
    ['no', '0ms', 0],
    ['no', '7d', 7 * 86_400_000],
    ['unknown', '36h', 36 * 3_600_000],
  ])('resigned "%s" with a horizon of %s', (retriesResigned, horizon, retryHorizonMs) => {
    expect(parse(resolved(retriesResigned, horizon)).policy.secrets[0]?.upstream.capabilities).toMatchObject({
      retriesResigned,
      retryHorizonMs,
    });
  });

  it.each(['no', 'unknown'])('resigned "%s" need a horizon: a guess would not be safe', (retriesResigned) => {
    expect(findings(resolved(retriesResigned))).toEqual([
      expect.stringMatching(
        /retriesResigned: needs a retryHorizon beside it: .*"0ms" where the upstream never retries$/,
      ),
    ]);
    expect(findings(resolved(retriesResigned, 'long'))).toEqual([
      expect.stringMatching(/retryHorizon: must be a duration/),
    ]);
  });

  it('may lag behind the switch', () => {
    const lag = (text: string) =>
      parse(smallestWith(capability('switchLag'), text)).policy.secrets[0]?.upstream.capabilities.switchLagMs;
    expect([lag('0ms'), lag('5m')]).toEqual([0, 300_000]);
  });
});

describe('approvals', () => {
  it.each([0, 1, 10])('may be %s', (approvals) => {
    expect(parse(smallestWith([...hook, 'approvals'], approvals)).policy.secrets[0]?.approvals).toBe(approvals);
  });

  it.each([
    [-1, 'must be at least 0'],
    [11, 'must be at most 10'],
    [1.5, 'must be a whole number'],
    ['2', 'must be a number, not text in double quotes'],
  ])('may not be %j', (approvals, message) => {
    expect(findings(smallestWith([...hook, 'approvals'], approvals))).toEqual([
      `secrets.my-hook.approvals: ${message}`,
    ]);
  });
});

describe('what the journal keeps', () => {
  it.each([
    [undefined, 50],
    [{}, 50],
    [{ runs: 1 }, 1],
    [{ runs: 100_000 }, 100_000],
  ])('is %j: %s runs', (retain, runs) => {
    expect(parse(smallestWith(['retain'], retain)).policy.retain).toEqual({ runs });
  });

  it.each([
    [{ runs: 0 }, 'retain.runs: must be at least 1'],
    [{ runs: 100_001 }, 'retain.runs: must be at most 100000'],
    [{ days: 3 }, 'retain.days: is no known key here'],
    [50, 'retain: must be an object { … }, not a number'],
  ])('is not %j', (retain, message) => {
    expect(findings(smallestWith(['retain'], retain))).toEqual([message]);
  });
});

describe('naming', () => {
  it('is a regular expression', () => {
    expect(parse(smallestWith(['naming'], '[a-z-]+')).policy.naming).toBe('[a-z-]+');
    expect(problemsOf(`{ "version": 1,\n  "naming": "([a-z]+", "secrets": {} }`)).toEqual([
      { path: 'naming', message: 'is no regular expression: unterminated group', line: 2, column: 13 },
    ]);
    expect(findings(smallestWith(['naming'], 'a{2}{3}'))).toEqual([
      'naming: is no regular expression: nothing to repeat',
    ]);
  });
});
