import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { overrulable } from '../../src/decide/person-checks.ts';
import { failing, type CheckName } from '../../src/model/check.ts';
import type { PersonMove, Step } from '../../src/model/run.ts';
import {
  activated,
  decided,
  fleetBefore,
  minute,
  named,
  now,
  observation,
  receiver,
  rings,
  run,
  said,
  second,
  use,
  waitOf,
  type PolicyOver,
} from './build.ts';
import { deploy, isGood, monitor, only } from './scenes.ts';

const lacking = [receiver('w1', { holds: ['v1'] }), receiver('w2')];
const inMonitor = (kind: PersonMove['kind'], atMs?: number, over: Partial<PersonMove> = {}): PersonMove =>
  said(kind, atMs, { step: 'monitor', ...over });

describe('held', () => {
  test('a hold closes both gates, whatever else passes, and names who and how to lift it', () => {
    const moves = [said('hold', now - minute, { why: 'a launch' })];
    const expected = {
      reason: 'held',
      waitingFor: 'person',
      since: now - minute,
      eta: null,
      command: 'keyturn unhold hook --reason "it may go on"',
      message: 'ada holds the run since 2026-03-01T11:59:00.000Z: a launch',
    };
    expect(only(deploy({ run: { moves } }), 'held')).toMatchObject(expected);
    expect(only(monitor({ run: { intents: [activated], moves } }), 'held')).toMatchObject(expected);
  });

  test('the wait is a problem for a person, with its own code', () => {
    const wait = waitOf(run({ moves: [said('hold')] }), observation(rings.pending, fleetBefore));
    expect(wait.problem).toMatchObject({ code: 'run-held', retryable: false, hint: expect.stringContaining('unhold') });
  });

  test.each<[string, readonly PersonMove['kind'][], boolean]>([
    ['nothing', [], true],
    ['a hold', ['hold'], false],
    ['a hold that was lifted', ['hold', 'unhold'], true],
    ['a hold that was lifted with a check overruled', ['hold', 'accept'], true],
    ['a hold, lifted, and held again', ['hold', 'unhold', 'hold'], false],
    ['a hold, and approvals and confirmations since', ['hold', 'approve', 'confirm'], false],
  ])('%s', (_what, kinds, ok) => {
    const moves = kinds.map((kind, index) =>
      said(kind, now - minute + index, { check: kind === 'accept' ? 'grace' : null }),
    );
    expect(named(deploy({ run: { moves } }), 'held').ok).toBe(ok);
  });

  test('who denies the revocation holds it', () => {
    const moves = [inMonitor('deny', now - minute, { why: 'not yet' })];
    expect(only(monitor({ run: { intents: [activated], step: 'monitor', moves } }), 'held')).toMatchObject({
      reason: 'denied',
      message: expect.stringContaining('denied the revocation'),
    });
  });

  test('an abort lifts it: it is the later word', () => {
    const moves = [inMonitor('hold', now - 2 * minute), inMonitor('abort', now - minute)];
    const of = run({ intents: [activated], step: 'monitor', moves });
    expect(decided(of, observation(rings.switched))).toBe('perform restore (update)');
    const again = { ...of, moves: [...moves, inMonitor('hold', now - second)] };
    expect(decided(again, observation(rings.switched))).toBe('wait held (monitor)');
  });
});

describe('approvals', () => {
  const two: PolicyOver = { approvals: 2 };
  const by = (who: string, step: Step, at = now - minute): PersonMove => said('approve', at, { who, step });

  test.each<[string, readonly PersonMove[], number]>([
    ['nobody', [], 0],
    ['one of two', [by('ada', 'deploy')], 1],
    ['the same person twice', [by('ada', 'deploy'), by('ada', 'deploy')], 1],
    ['two people', [by('ada', 'deploy'), by('bob', 'deploy')], 2],
    ['early, while the new version is being made', [by('ada', 'generate'), by('bob', 'update')], 2],
    ['one of them for the other gate', [by('ada', 'deploy'), by('bob', 'monitor')], 1],
  ])('the switch: %s', (_what, moves, count) => {
    const checks = deploy({ run: { moves, policy: two } });
    if (count >= 2) {
      isGood(checks);
      return;
    }
    expect(only(checks, 'approvals')).toMatchObject({
      reason: 'not-approved',
      waitingFor: 'person',
      eta: null,
      command: 'keyturn approve hook --reason "looked at it"',
      message: `${String(count)} of 2 people have approved the switch.`,
    });
  });

  test('the revocation asks again', () => {
    const before = [by('ada', 'deploy'), by('bob', 'deploy')];
    const open = (moves: readonly PersonMove[]) =>
      monitor({ run: { intents: [activated], step: 'monitor', moves, policy: two } });
    expect(only(open(before), 'approvals').message).toBe('0 of 2 people have approved the revocation.');
    isGood(open([...before, by('ada', 'monitor'), by('bob', 'revoke')]));
  });

  test('a denial takes back what was approved before it, and who lets the run go on asks for all of it again', () => {
    const moves = [by('ada', 'monitor'), by('bob', 'monitor'), inMonitor('deny'), inMonitor('unhold')];
    const checks = (all: readonly PersonMove[]) =>
      monitor({ run: { intents: [activated], step: 'monitor', moves: all, policy: two } });
    expect(only(checks(moves), 'approvals').evidence).toMatchObject({ approvals: [], wanted: 2 });
    isGood(checks([...moves, by('ada', 'monitor'), by('bob', 'monitor')]));
  });

  test('who denies the switch ends the run', () => {
    const of = run({ step: 'deploy', moves: [said('deny')], policy: two });
    expect(decided(of, observation(rings.pending, fleetBefore))).toBe('perform withdraw (deploy)');
  });

  test('no approvals are asked for where the policy wants none, nor under compromise', () => {
    expect(deploy().map(({ name }) => name)).not.toContain('approvals');
    const hasty = deploy({ run: { compromised: true, policy: two } });
    expect(hasty.map(({ name }) => name)).toEqual(['held', 'read-back']);
    expect(monitor({ run: { compromised: true, policy: two } }).map(({ name }) => name)).toEqual(['held']);
  });
});

describe('cutover and blackout', () => {
  const noon = { durationMs: 60 * minute, timezone: 'UTC' };

  test('inside the window the gate is open, outside it waits for time and says until when', () => {
    isGood(deploy({ run: { policy: { cutover: { cron: '30 11 * * *', ...noon } } } }));
    const closed = only(deploy({ run: { policy: { cutover: { cron: '0 3 * * *', ...noon } } } }), 'cutover');
    expect(closed).toMatchObject({
      reason: 'window-closed',
      waitingFor: 'time',
      eta: Date.parse('2026-03-02T03:00:00Z'),
      message: 'An update starts only in the cutover window: 0 3 * * * (UTC), for 1h.',
    });
  });

  test('a window that a blackout covers is not the next one', () => {
    const blackouts = [{ from: now, until: Date.parse('2026-03-02T05:00:00Z'), reason: null }];
    const policy = { cutover: { cron: '0 3 * * *', ...noon }, blackouts };
    const checks = deploy({ run: { policy } });
    expect(failing(checks).map(({ name }) => name)).toEqual(['cutover', 'blackout']);
    expect(named(checks, 'cutover').eta).toBe(Date.parse('2026-03-03T03:00:00Z'));
  });

  test('I8: a window that never opens again is for a person, with the way on', () => {
    const policy = { cutover: { cron: '0 0 30 2 *', ...noon } };
    expect(only(deploy({ run: { policy } }), 'cutover')).toMatchObject({
      reason: 'never-opens',
      waitingFor: 'person',
      eta: null,
      command: expect.stringContaining('keyturn unhold hook --accept cutover'),
    });
  });

  test('in a blackout nothing is switched, and its reason and end are said', () => {
    const during = [{ from: now - minute, until: now + minute, reason: 'a launch' }];
    expect(only(deploy({ run: { policy: { blackouts: during } } }), 'blackout')).toMatchObject({
      reason: 'in-blackout',
      waitingFor: 'time',
      eta: now + minute,
      message: 'No update starts during a blackout: a launch.',
    });
    isGood(deploy({ run: { policy: { blackouts: [{ ...during[0]!, until: now }] } } }));
  });

  test('neither stops the revocation, which takes nothing that anybody signs with', () => {
    const policy = {
      cutover: { cron: '0 3 * * *', ...noon },
      blackouts: [{ from: now - minute, until: now + minute, reason: null }],
    };
    isGood(monitor({ run: { intents: [activated], policy } }));
  });
});

describe('overruling', () => {
  const accept = (check: CheckName, step: Step = 'deploy'): PersonMove => said('accept', now - minute, { check, step });

  test('one check passes by a person’s word, which stays visible', () => {
    const checks = deploy({ receivers: lacking, run: { moves: [accept('holding')] } });
    expect(failing(checks)).toEqual([]);
    expect(named(checks, 'holding')).toMatchObject({
      ok: true,
      reason: 'overruled',
      since: now - minute,
      message: expect.stringMatching(/^ada overruled it \(she knows\): 1 of 2 receivers hold the new version/),
      evidence: { overruled: 'some-lack-it' },
    });
  });

  test('it is for that check alone', () => {
    const checks = deploy({ receivers: [lacking[0]!], run: { moves: [accept('holding')] } });
    only(checks, 'roster');
  });

  test('it is for that gate alone', () => {
    const without = [receiver('w1', { uses: [use('v1', now - 20 * minute)], holds: ['v1'] }), receiver('w2')];
    const at = (step: Step) =>
      failing(
        monitor({
          receivers: without,
          run: { intents: [activated], step: 'monitor', moves: [accept('holding', step)] },
        }),
      ).map(({ name }) => name);
    expect(at('deploy')).toContain('holding');
    expect(at('monitor')).not.toContain('holding');
  });

  test('a check that passes by itself is not overruled, and one that nobody can answer for stays closed', () => {
    expect(named(deploy({ run: { moves: [accept('holding')] } }), 'holding').reason).toBe('all-hold');
    for (const name of [
      'held',
      'timeout',
      'read-back',
      'usage-log',
      'approvals',
      'store',
      'claim',
      'upstream',
    ] as const) {
      expect(overrulable).not.toContain(name);
    }
  });

  test('what was overruled before an abort counts for the way back no more', () => {
    const moves = [accept('grace', 'monitor'), said('abort', now - second, { step: 'monitor' })];
    const restored = { ...activated, id: 'i-restore', effect: 'restore' as const, version: 'v1', at: now - 2 * second };
    const intents = [activated, { ...restored, result: { ...activated.result!, at: now - second } }];
    const checks = monitor({ run: { intents, step: 'monitor', moves } });
    expect(named(checks, 'grace').ok).toBe(false);
  });

  test('any check that may be overruled passes when it is, and nothing else changes', () => {
    fc.assert(
      fc.property(fc.constantFrom(...overrulable), fc.boolean(), (name, isFar) => {
        const receivers = isFar ? [receiver('w1', { holds: ['v1'], lastReportAt: now - 5 * minute })] : lacking;
        const before = deploy({ receivers });
        const after = deploy({ receivers, run: { moves: [accept(name)] } });
        expect(failing(after).map((check) => check.name)).toEqual(
          failing(before).flatMap((check) => (check.name === name ? [] : check.name)),
        );
      }),
    );
  });
});
