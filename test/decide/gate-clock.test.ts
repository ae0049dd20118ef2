import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { clockToKeep, waitedMs } from '../../src/decide/gate-clock.ts';
import { check } from '../../src/decide/check.ts';
import type { Check, CheckName, WaitingFor } from '../../src/model/check.ts';
import type { GateClock, GateStep, Run } from '../../src/model/run.ts';
import { activated, decided, fleetBefore, minute, named, now, observation, rings, run, said, second } from './build.ts';
import { deploy, monitor, only } from './scenes.ts';

const hour = 60 * minute;
const day = 24 * hour;
const lookMs = 15 * minute;

const failingCheck = (name: CheckName, waitingFor: WaitingFor): Check =>
  check(name, false, waitingFor, { reason: 'not-yet', message: 'It is not as it should be.' });

/** What traffic, receivers and people can move, and what they cannot. */
const movable = failingCheck('roster', 'receivers');
const immovable: readonly Check[] = [
  failingCheck('held', 'person'),
  failingCheck('timeout', 'person'),
  failingCheck('cutover', 'time'),
  failingCheck('blackout', 'time'),
  failingCheck('grace', 'time'),
  failingCheck('retry-tail', 'time'),
  failingCheck('unreported', 'time'),
  failingCheck('propagation', 'time'),
  failingCheck('new-seen', 'time'),
];

const clockOf = (over: Partial<GateClock> = {}): GateClock => ({
  step: 'deploy',
  startedAt: now - hour,
  waitedMs: 0,
  countedAt: now - minute,
  runs: true,
  ...over,
});

/** The run after a look at which these checks failed. */
function lookedAt(of: Run, step: GateStep, checks: readonly Check[], at: number): Run {
  const gateClock = clockToKeep(of, step, checks, at);
  return gateClock === null ? of : { ...of, gateClock };
}

const withTimeout = (timeoutMs: number, over: Parameters<typeof run>[0] = {}): Run =>
  run({ ...over, policy: { gates: { timeoutMs } } });

describe('the timeout', () => {
  test('a gate that has waited long enough is closed for a person, whatever becomes of its other checks', () => {
    const gateClock = clockOf({ waitedMs: day });
    const out = only(deploy({ run: { gateClock } }), 'timeout');
    expect(out).toMatchObject({
      reason: 'timed-out',
      waitingFor: 'person',
      eta: null,
      command: 'keyturn unhold hook --reason "looked at it"',
      message: expect.stringContaining('longer than 1d'),
    });
    const late = clockOf({ step: 'monitor', waitedMs: day });
    only(monitor({ run: { intents: [activated], gateClock: late } }), 'timeout');
  });

  test('to the millisecond', () => {
    const at = (waited: number) =>
      named(deploy({ run: { gateClock: clockOf({ waitedMs: waited, runs: false }) } }), 'timeout').ok;
    expect(at(day - 1)).toBe(true);
    expect(at(day)).toBe(false);
  });

  test('I8: it is a problem with its own code, and letting the run go on opens the gate', () => {
    const gateClock = clockOf({ waitedMs: day });
    const of = run({ gateClock });
    const seen = observation(rings.pending, fleetBefore);
    expect(decided(of, seen)).toBe('wait timeout (deploy)');
    expect(decided({ ...of, moves: [said('unhold', now)] }, seen)).toBe('perform activate (update)');
  });

  test('the clock of one gate is none for the other, and under compromise nothing times out', () => {
    const gateClock = clockOf({ waitedMs: day });
    expect(named(monitor({ run: { intents: [activated], gateClock } }), 'timeout').ok).toBe(true);
    expect(deploy({ run: { gateClock, compromised: true } }).map(({ name }) => name)).not.toContain('timeout');
  });
});

describe('the clock of a gate', () => {
  test('begins at the first look that finds the gate closed', () => {
    const first = lookedAt(run(), 'deploy', [movable], now);
    expect(first.gateClock).toEqual({ step: 'deploy', startedAt: now, waitedMs: 0, countedAt: now, runs: true });
  });

  test('is journalled when it changes, and about once a minute while it only runs on', () => {
    const of = run({ gateClock: clockOf({ countedAt: now - 59 * second }) });
    expect(clockToKeep(of, 'deploy', [movable], now)).toBeNull();
    expect(clockToKeep(of, 'deploy', [movable], now + second)).toMatchObject({
      waitedMs: minute,
      countedAt: now + second,
    });
    expect(clockToKeep(of, 'deploy', [immovable[4]!], now)).toMatchObject({ waitedMs: 59 * second, runs: false });
    const still = run({ gateClock: clockOf({ runs: false, countedAt: now - hour }) });
    expect(clockToKeep(still, 'deploy', [immovable[4]!], now)).toBeNull();
    expect(clockToKeep(still, 'deploy', [movable], now)).toMatchObject({ waitedMs: 0, countedAt: now, runs: true });
  });

  test('is journalled as it times out, so that it stays timed out', () => {
    const of = withTimeout(hour, {
      gateClock: clockOf({ waitedMs: hour - 10 * second, countedAt: now - 10 * second }),
    });
    expect(clockToKeep(of, 'deploy', [movable], now - 1)).toBeNull();
    expect(clockToKeep(of, 'deploy', [movable], now)).toMatchObject({ waitedMs: hour });
  });

  test('one look counts a quarter of an hour at most, however long nobody looked', () => {
    expect(waitedMs(run({ gateClock: clockOf({ countedAt: now - 10 * hour }) }), 'deploy', now)).toBe(lookMs);
  });

  test('a grace that nothing shows the beginning of is for a person, and counts', () => {
    const of = lookedAt(run(), 'monitor', [failingCheck('grace', 'person')], now);
    expect(of.gateClock?.runs).toBe(true);
  });

  test('a hold stops it only while nothing else is closed', () => {
    const held = lookedAt(run(), 'deploy', [immovable[0]!], now);
    expect(held.gateClock?.runs).toBe(false);
    expect(lookedAt(run(), 'deploy', [immovable[0]!, movable], now).gateClock?.runs).toBe(true);
  });

  test('I8: a clock that was set back does not make a person’s word look older than the wait', () => {
    const timedOut = withTimeout(hour, {
      gateClock: clockOf({ startedAt: now + day, waitedMs: hour, countedAt: now + day }),
    });
    const seen = lookedAt(timedOut, 'deploy', [movable], now);
    const lifted = { ...seen, moves: [said('unhold', now + second)] };
    expect(waitedMs(lifted, 'deploy', now + minute)).toBe(0);
  });
});

interface Look {
  readonly afterMs: number;
  readonly checks: readonly Check[];
}

const anyChecks = fc.oneof(
  fc.subarray([...immovable], { minLength: 1 }),
  fc.constant([movable]),
  fc.constant([movable, immovable[4]!]),
);
const aLook: fc.Arbitrary<Look> = fc.record({
  afterMs: fc.oneof(fc.integer({ min: 1, max: 5 * minute }), fc.integer({ min: minute, max: 2 * day })),
  checks: anyChecks,
});

/** The run after these looks, and when the last one was. */
function through(of: Run, looks: readonly Look[], from = now): { readonly of: Run; readonly at: number } {
  return looks.reduce(
    (so, { afterMs, checks }) => ({ of: lookedAt(so.of, 'monitor', checks, so.at + afterMs), at: so.at + afterMs }),
    { of, at: from },
  );
}

describe('whatever the looks are', () => {
  test('it never counts while nothing is left but what nobody can move', () => {
    const waits = fc.record({
      afterMs: fc.integer({ min: 1, max: 3 * day }),
      checks: fc.subarray([...immovable], { minLength: 1 }),
    });
    fc.assert(
      fc.property(
        fc.array(aLook, { maxLength: 4 }),
        fc.array(waits, { minLength: 1, maxLength: 6 }),
        (before, then) => {
          const start = through(run(), before);
          const [first, ...rest] = then;
          const closed = through(start.of, [first!], start.at);
          const counted = waitedMs(closed.of, 'monitor', closed.at);
          const end = through(closed.of, rest, closed.at);
          expect(waitedMs(end.of, 'monitor', end.at + day)).toBe(counted);
        },
      ),
    );
  });

  test('it counts no more than the time that passed, and no more than a quarter of an hour for each look', () => {
    fc.assert(
      fc.property(fc.array(aLook, { maxLength: 12 }), (looks) => {
        const { of, at } = through(run(), looks);
        const waited = waitedMs(of, 'monitor', at);
        expect(waited).toBeGreaterThanOrEqual(0);
        expect(waited).toBeLessThanOrEqual(Math.min(at - now, looks.length * lookMs));
      }),
    );
  });

  test('it counts all the time of looks that are near enough, where something could be moved', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: second, max: lookMs - minute }), { minLength: 1, maxLength: 20 }),
        (gaps) => {
          const { of, at } = through(
            run(),
            [0, ...gaps].map((afterMs) => ({ afterMs, checks: [movable] })),
          );
          expect(waitedMs(of, 'monitor', at)).toBe(at - now);
        },
      ),
    );
  });

  test('once timed out it stays so, until a person lets the run go on, which begins it anew', () => {
    fc.assert(
      fc.property(fc.array(aLook, { minLength: 1, maxLength: 8 }), (looks) => {
        const out = withTimeout(hour, { gateClock: clockOf({ step: 'monitor', waitedMs: hour, countedAt: now }) });
        const { of, at } = through(out, looks);
        expect(waitedMs(of, 'monitor', at)).toBeGreaterThanOrEqual(hour);
        for (const kind of ['unhold', 'accept', 'abort'] as const) {
          const lifted = {
            ...of,
            moves: [said(kind, at + 1, { step: 'monitor', check: kind === 'accept' ? 'grace' : null })],
          };
          expect(waitedMs(lifted, 'monitor', at + 2)).toBe(0);
          expect(lookedAt(lifted, 'monitor', [movable], at + 2).gateClock).toMatchObject({
            startedAt: at + 2,
            waitedMs: 0,
          });
        }
      }),
    );
  });

  test('a wall clock that is set forward or back by a day never times a gate out in one look', () => {
    const jump = fc.constantFrom(-day, day, -hour, hour);
    fc.assert(
      fc.property(fc.array(aLook, { maxLength: 5 }), jump, fc.integer({ min: 0, max: minute }), (looks, by, after) => {
        const { of, at } = through(withTimeout(day), looks);
        const before = waitedMs(of, 'monitor', at);
        fc.pre(before < day - lookMs);
        const jumped = through(of, [{ afterMs: by + after, checks: [movable] }], at);
        expect(waitedMs(jumped.of, 'monitor', jumped.at)).toBeLessThanOrEqual(before + lookMs);
        // What was counted since it was last journalled, a minute at most, may be lost.
        expect(waitedMs(jumped.of, 'monitor', jumped.at)).toBeGreaterThanOrEqual(before - minute);
      }),
    );
  });
});
