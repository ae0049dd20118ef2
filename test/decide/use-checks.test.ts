import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { failing, type Check } from '../../src/model/check.ts';
import type { Capabilities, PoolPolicy } from '../../src/model/policy.ts';
import type { Run } from '../../src/model/run.ts';
import type { ReceiverEvidence } from '../../src/ports/usage-log.ts';
import {
  activated,
  failed,
  fleet,
  fleetBefore,
  generated,
  intent,
  minute,
  named,
  now,
  observation,
  onTopOf,
  pool,
  promote,
  receiver,
  rings,
  run,
  said,
  second,
  switched,
  use,
  decided,
  type PolicyOver,
  type RunOver,
} from './build.ts';
import { deploy, isGood, monitor, only } from './scenes.ts';

const hour = 60 * minute;

/** Retries of what the old version signed come for so long, and the upstream needs a minute to switch everywhere. */
const retrying = (retryHorizonMs: number, over: Partial<Capabilities> = {}): PolicyOver => ({
  capabilities: { retriesResigned: 'no', retryHorizonMs, switchLagMs: minute, ...over },
});

/** The fleet whose first delivery under the new version came at `at`. */
const provenSince = (at: number, lastOld = now - 20 * minute): readonly ReceiverEvidence[] => [
  receiver('w1', { uses: [use('v1', lastOld)] }),
  receiver('w2', { uses: [use('v2', now - second, { firstMatchedAt: at })] }),
];

describe('retry-tail', () => {
  const tail = (policy: PolicyOver, receivers = fleet, over: Partial<Run> = {}): Check =>
    named(
      monitor({ receivers, run: { intents: [activated], ...over, policy: { gates: { quietMs: second }, ...policy } } }),
      'retry-tail',
    );

  test.each<[string, PolicyOver, string]>([
    ['no retries', retrying(0), 'no-tail'],
    ['retries that are signed anew', retrying(24 * hour, { retriesResigned: 'yes' }), 'no-tail'],
    ['retries within the horizon', retrying(24 * hour), 'in-tail'],
    ['nobody knows how retries are signed', retrying(24 * hour, { retriesResigned: 'unknown' }), 'in-tail'],
    ['a horizon that is over', retrying(8 * minute), 'tail-over'],
    ['the policy ignores them', { ...retrying(24 * hour), gates: { retryTail: 'ignore' } }, 'ignored'],
  ])('%s', (_what, policy, reason) => {
    const check = tail(policy);
    expect(check.reason).toBe(reason);
    expect(check.ok).toBe(reason !== 'in-tail');
    expect(check.waitingFor).toBe('time');
  });

  test('it is counted from the first delivery under the new version, with the time that the upstream needs to switch', () => {
    const policy = retrying(10 * minute);
    expect(tail(policy, provenSince(now - 11 * minute)).ok).toBe(true);
    const open = tail(policy, provenSince(now - 11 * minute + 1));
    expect(open).toMatchObject({ ok: false, since: now - 11 * minute + 1, eta: now + 1 });
    expect(open.message).toContain('may be tried again for 10m, signed with the old version');
  });

  test('I2: what was answered 2xx ends it no sooner: the load balancer may have been down', () => {
    const quiet = provenSince(now - 5 * minute, now - 20 * minute).map((each) => ({
      ...each,
      uses: each.uses.map((used) => ({ ...used, notOk: 0 })),
    }));
    expect(tail(retrying(24 * hour), quiet).ok).toBe(false);
  });

  test('without any sign of the switch it has not begun, and names what a person can say', () => {
    const silent = [receiver('w1', { uses: [use('v1', now - 20 * minute)] }), receiver('w2')];
    expect(tail(retrying(10 * minute), silent)).toMatchObject({
      ok: false,
      reason: 'switch-unproven',
      waitingFor: 'traffic',
      command: expect.stringContaining('keyturn confirm hook'),
    });
    const confirmed = { moves: [said('confirm', now - 3 * minute)] };
    expect(tail(retrying(10 * minute), silent, confirmed)).toMatchObject({
      since: now - 3 * minute,
      eta: now + 8 * minute,
    });
  });

  test('what it costs to ignore them is said', () => {
    const check = tail({ ...retrying(24 * hour), gates: { retryTail: 'ignore' } });
    expect(check.message).toBe(
      'The policy ignores retries: those that come up to 1d after the switch, signed with the old version, will be refused.',
    );
  });

  test('the proof that was journalled counts, whatever the receivers still know', () => {
    const proven = { version: 'v2', at: now - 2 * minute, shiftedMs: 0, witnesses: [] };
    expect(tail(retrying(10 * minute), provenSince(now - 30 * minute), { proven }).since).toBe(now - 2 * minute);
    const other = { ...proven, version: 'v1' };
    expect(tail(retrying(10 * minute), provenSince(now - 30 * minute), { proven: other }).since).toBe(
      now - 30 * minute,
    );
  });
});

describe('the old version after the tail', () => {
  const quiet = (policy: PolicyOver, lastOld: number): Check =>
    named(
      monitor({
        receivers: provenSince(now - 20 * minute, lastOld),
        run: { intents: [activated], step: 'monitor', policy },
      }),
      'old-quiet',
    );

  test.each<[string, PolicyOver, number, boolean]>([
    ['within what a delivery may be under way', retrying(0), now - 14 * minute, false],
    ['later than that', retrying(0), now - 14 * minute + 1, true],
    ['a retry within the horizon', retrying(10 * minute), now - 4 * minute, false],
    ['later than any retry', retrying(10 * minute), now - 4 * minute + 1, true],
    [
      'a retry where retries are signed anew',
      retrying(10 * minute, { retriesResigned: 'yes' }),
      now - 13 * minute,
      true,
    ],
  ])('%s', (_what, policy, lastOld, isStray) => {
    const check = quiet(policy, lastOld);
    expect(check.reason === 'old-used-after-switch').toBe(isStray);
  });

  test('I8: it is for a person, who is told when it came and what to say', () => {
    const at = now - 13 * minute;
    const check = quiet(retrying(0), at);
    expect(check).toMatchObject({
      ok: false,
      waitingFor: 'person',
      eta: null,
      command: 'keyturn unhold hook --accept old-quiet --reason "found the sender"',
      message: expect.stringContaining('2026-03-01T11:47:00.000Z'),
    });
    expect(check.message).toContain('there is a second sender');
  });

  test('that person’s word lets the run go on', () => {
    const moves = [said('accept', now, { step: 'monitor', check: 'old-quiet' })];
    const receivers = provenSince(now - 20 * minute, now - 13 * minute);
    isGood(monitor({ receivers, run: { intents: [activated], step: 'monitor', moves } }));
  });

  test('it stays, however long it was quiet since', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 3_000 }), (minutes) => {
        const later = now + minutes * minute;
        const receivers = provenSince(now - 20 * minute, now - 13 * minute).map((each) => ({
          ...each,
          lastReportAt: later,
        }));
        const checks = monitor({
          receivers,
          usage: { now: later },
          now: later,
          run: { intents: [activated], step: 'monitor' },
        });
        expect(failing(checks).map(({ reason }) => reason)).toEqual(['old-used-after-switch']);
      }),
    );
  });
});

describe('pools that give no roster', () => {
  const none: PoolPolicy = pool(0, { reporting: 'none' });
  const spot: PoolPolicy = pool(0, { ephemeral: true, maxAgeMs: 5 * minute });
  const pools = (each: Readonly<Record<string, PoolPolicy>>): PolicyOver => ({ receivers: { pools: each } });
  const confirmed = { moves: [said('confirm', now - 10 * minute, { step: 'update' })] };

  describe('before the switch', () => {
    test.each<[string, PoolPolicy, number]>([
      ['that do not report: a refresh, its jitter, and a slow load', none, 66 * second + 15 * second],
      ['that come and go: the age that a snapshot may have', spot, 5 * minute + 15 * second],
    ])('%s', (_what, each, boundMs) => {
      const at = (moment: number) =>
        deploy({ receivers: [], usage: { now: moment }, now: moment, run: { policy: pools({ jobs: each }) } });
      isGood(at(generated + boundMs));
      expect(only(at(generated + boundMs - 1), 'unreported')).toMatchObject({
        reason: 'refreshing',
        waitingFor: 'time',
        since: generated,
        eta: generated + boundMs,
        message: expect.stringContaining('Pool jobs, which nobody counts'),
      });
    });

    test('the store’s lag comes on top', () => {
      const seen = { propagationLagMs: minute };
      const moment = generated + 81 * second;
      const checks = deploy({
        receivers: [],
        usage: { now: moment },
        now: moment,
        seen,
        run: { policy: pools({ jobs: none }) },
      });
      expect(named(checks, 'unreported').eta).toBe(generated + 81 * second + minute);
    });

    test('no roster is asked for where there is none, and the one that is there is asked for as ever', () => {
      const alone = deploy({ receivers: [], run: { policy: pools({ jobs: none }) } });
      expect(alone.map(({ name }) => name)).toEqual([
        'held',
        'timeout',
        'read-back',
        'propagation',
        'clock',
        'unreported',
      ]);
      const mixed = deploy({ receivers: [], run: { policy: pools({ web: pool(2), jobs: none }) } });
      expect(failing(mixed).map(({ name }) => name)).toEqual(['roster', 'holding']);
    });

    test('one that lags behind in such a pool stops nobody', () => {
      const late = receiver('s1', { pool: 'jobs', holds: ['v1'], lastReportAt: now - 5 * minute });
      isGood(deploy({ receivers: [...fleetBefore, late], run: { policy: pools({ web: pool(2), jobs: spot }) } }));
    });
  });

  describe('before the revocation', () => {
    const alone = pools({ jobs: none });

    test('a person has to vouch for them, and is told how', () => {
      const checks = monitor({ receivers: [], run: { intents: [activated], policy: alone } });
      expect(failing(checks).map(({ name }) => name)).toEqual(['new-seen', 'unreported']);
      expect(named(checks, 'unreported')).toMatchObject({
        reason: 'not-confirmed',
        waitingFor: 'person',
        command: expect.stringContaining('keyturn confirm hook'),
        message: expect.stringContaining('What pool jobs receives is in no report.'),
      });
      expect(checks.map(({ name }) => name)).not.toContain('old-quiet');
    });

    test('with that word the whole horizon has to be over, and what a refresh may take', () => {
      const after = (policy: PolicyOver) =>
        monitor({ receivers: [], run: { intents: [activated], ...confirmed, policy } });
      // Confirmed ten minutes ago: a minute until it switched everywhere, five under way, 81 s until it was fetched.
      isGood(after(alone));
      const retries = { ...retrying(2 * minute), ...alone };
      isGood(after(retries));
      const long = after({ ...retrying(3 * minute), ...alone });
      expect(only(long, 'unreported')).toMatchObject({
        reason: 'in-horizon',
        waitingFor: 'time',
        eta: now + 21 * second,
      });
    });

    test('a delivery that a report shows proves the switch, and does not vouch for the rest', () => {
      const checks = monitor({ run: { intents: [activated], policy: pools({ web: pool(2), jobs: none }) } });
      expect(only(checks, 'unreported').reason).toBe('not-confirmed');
      isGood(monitor({ run: { intents: [activated], ...confirmed, policy: pools({ web: pool(2), jobs: none }) } }));
    });

    test('I2: what they report of the old version counts as use', () => {
      const receivers = [...fleet, receiver('s1', { pool: 'jobs', uses: [use('v1', now - 2 * minute)] })];
      const policy = pools({ web: pool(2), jobs: pool(0, { ephemeral: true, maxAgeMs: minute }) });
      const checks = monitor({ receivers, run: { intents: [activated], ...confirmed, policy } });
      expect(failing(checks).map(({ name }) => name)).toEqual(['new-seen', 'old-quiet']);
    });

    test('a restart or an end of one of them is no gap and nobody to miss', () => {
      const gone = receiver('s1', { pool: 'jobs', lastReportAt: now - 2 * minute, holds: ['v1'] });
      const policy = pools({ web: pool(2), jobs: pool(0, { ephemeral: true, maxAgeMs: minute }) });
      isGood(monitor({ receivers: [...fleet, gone], run: { intents: [activated], ...confirmed, policy } }));
    });
  });
});

describe('the same checks on the way back', () => {
  const ring = onTopOf(rings.switched, [promote('v1')]);
  const restored = intent('restore', {}, { at: now - 10 * minute });
  const going = (over: RunOver = {}): RunOver & { readonly moves: Run['moves'] } => ({
    intents: [activated, restored],
    step: 'monitor',
    moves: [said('abort', now - 11 * minute, { step: 'monitor' })],
    ...over,
  });
  const back = (oldAt: number | null, newAt: number | null): readonly ReceiverEvidence[] => [
    receiver('w1', { uses: newAt === null ? [] : [use('v2', newAt)] }),
    receiver('w2', { uses: oldAt === null ? [] : [use('v1', oldAt)] }),
  ];
  const gate = (receivers: readonly ReceiverEvidence[], over: RunOver = {}) =>
    monitor({ keyring: ring, receivers, run: going(over) });

  test('all quiet, the old version seen again: the new one may go', () => {
    isGood(gate(back(now - 9 * minute, now - 11 * minute)));
    const of = run({
      ...going(),
      intents: [activated, restored, intent('reassert', {}, { at: now - 9 * second, version: 'v1' })],
    });
    expect(decided(of, observation(ring, back(now - 9 * minute, now - 11 * minute)))).toBe('perform revoke (revoke)');
  });

  test('the words are those of the way back', () => {
    const checks = gate(back(now - 9 * minute, now - 2 * minute));
    expect(named(checks, 'new-seen').message).toContain('signed with the new version, 2m ago');
    const none = named(gate(back(null, null)), 'new-seen');
    expect(none.message).toContain('No delivery signed with the old version has arrived since');
    expect(none.command).toContain('keyturn confirm');
    expect(named(gate(back(now - 9 * minute, now - 11 * minute)), 'old-quiet').message).toContain(
      'The new version has not',
    );
  });

  test('I2: a delivery under the old version of before the call proves nothing, nor one that is only reported after it', () => {
    const seen = (sinceCall: number) =>
      named(gate(back(now - 10 * minute + sinceCall, now - 12 * minute)), 'new-seen').ok;
    expect(seen(-second)).toBe(false);
    expect(seen(29_999)).toBe(false);
    expect(seen(30_000)).toBe(true);
  });

  test('I2: while retries of before the switch may come, one under the old version proves nothing', () => {
    const policy = retrying(hour);
    const checks = gate(back(now - 9 * minute, null), { policy });
    const until = switched + hour + minute;
    expect(named(checks, 'new-seen')).toMatchObject({
      ok: false,
      reason: 'too-early-to-tell',
      waitingFor: 'time',
      eta: until,
      command: expect.stringContaining('keyturn confirm'),
    });
    const moves = [...going().moves, said('confirm', now - minute, { step: 'monitor' })];
    expect(named(gate(back(now - 9 * minute, null), { policy, moves }), 'new-seen').reason).toBe('confirmed');
  });

  test('I8: a late delivery under the other version, and then no more traffic: a person can say so again', () => {
    const moves = [...going().moves, said('confirm', now - 5 * minute, { step: 'monitor' })];
    expect(named(gate(back(null, now - 2 * minute), { moves }), 'new-seen')).toMatchObject({
      reason: 'old-seen-after-new',
      command: expect.stringContaining('keyturn confirm'),
    });
  });

  test('I8: where only the other version is seen, the wait says how the upstream is told once more', () => {
    const again = `To have the upstream told the old value once more: keyturn rotate`;
    const message = (able: Partial<Capabilities>): string =>
      named(gate(back(null, now - 2 * minute), { policy: { capabilities: able } }), 'new-seen').message;
    expect(message({ idempotent: true })).toContain(again);
    expect(message({ idempotent: false })).not.toContain(again);
  });

  test('I2: an answer that was lost is not given by a delivery: it may have been signed before the switch', () => {
    const lost = failed('restore', 10 * minute, 'upstream-unknown', { outcome: 'unknown' });
    const told = run({ ...going(), intents: [activated, { ...lost, version: 'v1' }] });
    const seen = observation(rings.switched, back(now - 9 * minute, now - 11 * minute));
    expect(decided(told, seen)).toBe('perform restore (update)');
    const once = run({ ...told, policy: { capabilities: { idempotent: false } } });
    expect(decided(once, seen)).toBe('wait upstream (update)');
    const moves = [...told.moves, said('confirm', now - minute, { step: 'monitor' })];
    expect(decided({ ...once, moves }, seen)).toBe('perform reinstate (update)');
  });
});
