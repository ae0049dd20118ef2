import { describe, expect, test } from 'vitest';
import { switchMoment } from '../../src/decide/leg.ts';
import { failing, type Check, type CheckName, type WaitingFor } from '../../src/model/check.ts';
import { retireSet } from '../../src/model/keyring.ts';
import type { Run } from '../../src/model/run.ts';
import type { ReceiverEvidence, UsageEvidence } from '../../src/ports/usage-log.ts';
import {
  activated,
  add,
  evidence,
  failed,
  fleet,
  fleetBefore,
  forward,
  generated,
  intent,
  minute,
  named,
  now,
  onTopOf,
  pool,
  receiver,
  rings,
  run,
  said,
  second,
  switched,
  use,
  type RunOver,
} from './build.ts';
import { deploy, isGood, monitor, only, type Scene } from './scenes.ts';

test('the deploy gate has its checks in this order', () => {
  const checks = deploy();
  isGood(checks);
  expect(checks.map((check) => check.name)).toEqual([
    'held',
    'timeout',
    'read-back',
    'propagation',
    'clock',
    'roster',
    'missing',
    'holding',
  ]);
});

test('the monitor gate has its checks in this order', () => {
  const checks = monitor();
  isGood(checks);
  expect(checks.map((check) => check.name)).toEqual([
    'held',
    'timeout',
    'grace',
    'clock',
    'roster',
    'missing',
    'holding',
    'coverage',
    'new-seen',
    'retry-tail',
    'old-quiet',
  ]);
});

test('what is retired is everything accepted but the primary', () => {
  expect(retireSet(rings.settledBefore)).toEqual([]);
  expect(retireSet(rings.switched)).toEqual(['v1']);
  expect(retireSet(onTopOf(rings.switched, [add('v3')]))).toEqual(['v3', 'v1']);
});

test('the switch is the last answer of the upstream, else the promotion that followed, the first delivery, a person’s word', () => {
  const promotion = intent('promote', {}, { at: now - 20 * minute });
  const lost = failed('activate', 25 * minute, 'upstream-unknown', { outcome: 'unknown' });
  expect(switchMoment(run(), forward, null)).toBeNull();
  expect(switchMoment(run({ intents: [lost] }), forward, null)).toBeNull();
  expect(switchMoment(run({ moves: [said('confirm')] }), forward, evidence(fleetBefore))).toBe(now - minute);
  expect(switchMoment(run({ moves: [said('confirm')] }), forward, evidence(fleet))).toBe(now - 10 * minute);
  expect(switchMoment(run({ intents: [lost, promotion] }), forward, evidence())).toBe(now - 20 * minute);
  expect(switchMoment(run({ intents: [activated, promotion] }), forward, evidence())).toBe(switched);
  const again = intent('promote', {}, { at: now - 15 * minute });
  expect(switchMoment(run({ intents: [lost, promotion, again] }), forward, evidence())).toBe(now - 15 * minute);
});

describe('read-back', () => {
  test.each([
    ['absent', rings.settledBefore],
    ['primary', rings.switched],
    ['revoked', rings.withdrawn],
  ])('I4: a new version that is %s in the store is not pushed', (_stage, keyring) => {
    expect(named(deploy({ keyring }), 'read-back')).toMatchObject({ ok: false, reason: 'not-stored' });
  });
});

describe('propagation', () => {
  const lag = (propagationLagMs: number): Scene => ({ seen: { propagationLagMs } });

  test('no lag asks for nothing, even by a clock that was set back', () => {
    isGood(deploy({ ...lag(0) }));
    expect(named(deploy({ ...lag(0), now: generated - minute }), 'propagation').ok).toBe(true);
  });

  test('the lag counts from when the version was made, to the millisecond', () => {
    const age = now - generated;
    isGood(deploy(lag(age)));
    const check = only(deploy(lag(age + 1)), 'propagation');
    expect(check).toMatchObject({ reason: 'propagating', waitingFor: 'time', eta: now + 1, command: null });
  });
});

describe('clock', () => {
  test.each<[string, UsageEvidence['newestStampAt'], number, boolean]>([
    ['the newest stamp a second ahead', now + second, now, true],
    ['the newest stamp more than a second ahead', now + second + 1, now, false],
    ['no stamp at all', null, now, true],
    ['this machine five seconds ahead', now, now + 5 * second, true],
    ['this machine more than five seconds ahead', now, now + 5 * second + 1, false],
    ['this machine five seconds behind', now, now - 5 * second, true],
    ['this machine more than five seconds behind', now, now - 5 * second - 1, false],
  ])('%s', (_what, newestStampAt, at, ok) => {
    for (const checks of [
      deploy({ usage: { newestStampAt }, now: at }),
      monitor({ usage: { newestStampAt }, now: at }),
    ]) {
      if (ok) isGood(checks);
      else expect(only(checks, 'clock').reason).toBe('clock-jumped');
    }
  });

  test('a clock that was set back passes when it gets there, and says when', () => {
    const check = only(deploy({ usage: { newestStampAt: now + minute } }), 'clock');
    expect(check).toMatchObject({ waitingFor: 'time', eta: now + minute, evidence: { aheadMs: minute } });
    expect(check.message).toContain('1m');
  });

  test('clocks that differ pass when somebody sets them', () => {
    const check = only(deploy({ now: now + minute }), 'clock');
    expect(check).toMatchObject({ eta: null, evidence: { offMs: minute } });
    expect(check.message).toContain('NTP');
  });
});

describe('roster', () => {
  const gone = { lastReportAt: now - 70 * minute, signedOffAt: now - 70 * minute };
  const pools = { web: pool(1), jobs: pool(1) };

  test.each<[string, Scene, string, string]>([
    ['one of two', { receivers: [receiver('w1')] }, 'too-few-live', '1 of 2 in pool web'],
    ['nobody ever', { receivers: [] }, 'nobody-reports', '0 of 2 in pool web'],
    ['everybody signed off', { receivers: [receiver('w1', gone), receiver('w2', gone)] }, 'nobody-reports', '0 of 2'],
    [
      'only receivers of other pools',
      { receivers: [receiver('x', { pool: 'x' }), receiver('y', { pool: 'x' })] },
      'nobody-reports',
      '0 of 2 in pool web',
    ],
    [
      'one of two pools',
      { receivers: fleet, run: { policy: { receivers: { pools } } } },
      'nobody-reports',
      '2 of 1 in pool web, 0 of 1 in pool jobs',
    ],
    [
      'a pool that expects nobody, and nobody is there',
      { receivers: [], run: { policy: { receivers: { pools: { web: pool(0) } } } } },
      'nobody-reports',
      '0 of 0 in pool web',
    ],
  ])('%s', (_what, scene, reason, words) => {
    for (const checks of [deploy(scene), monitor({ ...scene, run: { intents: [activated], ...scene.run } })]) {
      const check = named(checks, 'roster');
      expect(check).toMatchObject({ ok: false, reason, waitingFor: 'receivers', eta: null });
      expect(check.message).toContain(words);
    }
  });

  test('a short pool fails alone where the others hold the new version', () => {
    expect(only(deploy({ receivers: [receiver('w1')] }), 'roster').evidence).toEqual({
      pools: [{ pool: 'web', expect: 2, live: 1, receivers: ['id-w1'] }],
    });
  });

  test('enough of each pool is said with the numbers', () => {
    expect(named(deploy(), 'roster')).toMatchObject({
      reason: 'all-live',
      message: 'Enough receivers report: 2 of 2 in pool web.',
    });
  });

  test('more than expected, and more pools than named, are fine', () => {
    isGood(deploy({ receivers: [...fleetBefore, receiver('w3'), receiver('x', { pool: 'x' })] }));
  });

  test('I1, I2: nobody reporting passes neither gate, whatever the pools', () => {
    for (const expect_ of [0, 1, 3]) {
      const policy = { receivers: { pools: { web: pool(expect_) } } };
      expect(failing(deploy({ receivers: [], run: { policy } }))).not.toEqual([]);
      expect(
        failing(monitor({ receivers: [], run: { policy, intents: [activated], moves: [said('confirm')] } })),
      ).not.toEqual([]);
    }
    const none = { receivers: { pools: {} } };
    expect(failing(deploy({ receivers: [], run: { policy: none } }))).not.toEqual([]);
    expect(
      failing(monitor({ receivers: [], run: { policy: none, intents: [activated], moves: [said('confirm')] } })),
    ).not.toEqual([]);
  });
});

describe('missing', () => {
  const silent = (agoMs: number, over: Partial<ReceiverEvidence> = {}): ReceiverEvidence =>
    receiver('w3', { lastReportAt: now - agoMs, holds: ['v2'], ...over });
  const redelivers = (yes: boolean): RunOver => ({ policy: { capabilities: { redelivers: yes } } });

  test.each<[string, number, boolean, string]>([
    ['in time', 30 * second, true, 'passes'],
    ['in time', 30 * second, false, 'passes'],
    ['late', 30 * second + 1, true, 'blocks until it is given up'],
    ['late', 30 * second + 1, false, 'blocks, and may still come'],
    ['at missingAfter', 10 * minute, false, 'blocks, and may still come'],
    ['at missingAfter', 10 * minute, true, 'blocks until it is given up'],
    ['vanished', 10 * minute + 1, true, 'passes'],
    ['vanished', 10 * minute + 1, false, 'blocks until a person says that it is gone'],
    ['vanished for a week', 7 * 24 * 60 * minute, false, 'blocks until a person says that it is gone'],
  ])('I1: before the switch, one that is %s (silent %i ms), redelivers %s: %s', (_what, agoMs, yes, outcome) => {
    const checks = deploy({ receivers: [...fleetBefore, silent(agoMs)], run: redelivers(yes) });
    if (outcome === 'passes') {
      isGood(checks);
      return;
    }
    expect(only(checks, 'missing')).toMatchObject({
      reason: 'receiver-missing',
      since: now - agoMs,
      eta: outcome.includes('given up') ? now - agoMs + 10 * minute : null,
      waitingFor: outcome.includes('person') ? 'person' : 'receivers',
      command: 'keyturn forget id-w3 --reason "it is gone"',
      evidence: { receivers: ['id-w3'], secret: 'hook' },
    });
  });

  test.each([
    ['late', minute, false],
    ['at missingAfter', 10 * minute, false],
    ['vanished', 10 * minute + 1, true],
  ])(
    'I2: after the switch, one that is %s blocks until missingAfter, wherever deliveries come again',
    (_what, agoMs, ok) => {
      for (const yes of [true, false]) {
        const of = { intents: [activated], ...redelivers(yes) };
        expect(named(monitor({ receivers: [...fleet, silent(agoMs)], run: of }), 'missing')).toMatchObject({
          ok,
          eta: ok ? null : now - agoMs + 10 * minute,
        });
      }
    },
  );

  test('one of a pool that nobody asked for blocks too', () => {
    const stranger = silent(minute, { pool: 'laptops' });
    only(deploy({ receivers: [...fleetBefore, stranger] }), 'missing');
    only(monitor({ receivers: [...fleet, stranger] }), 'missing');
  });

  test('several are all named, and the last to be given up tells when', () => {
    const receivers = [...fleetBefore, silent(2 * minute), receiver('w4', { lastReportAt: now - 5 * minute })];
    const check = only(deploy({ receivers }), 'missing');
    expect(check.message).toContain('id-w3, id-w4');
    expect(check.message).toContain('5m ago');
    expect(check).toMatchObject({ since: now - 5 * minute, eta: now + 8 * minute });
  });

  test('who signed off or was forgotten is not missing', () => {
    const ago = { lastReportAt: now - 15 * minute, holds: ['v1'] };
    const receivers = [
      ...fleetBefore,
      receiver('w3', { ...ago, signedOffAt: now - 15 * minute }),
      receiver('w4', { ...ago, forgottenAt: now - minute }),
    ];
    isGood(deploy({ receivers, run: redelivers(false) }));
  });
});

describe('holding', () => {
  test.each<[string, Partial<ReceiverEvidence>, boolean]>([
    ['a live one that lacks it', { holds: ['v1'] }, false],
    ['a live one that holds nothing', { holds: [], revision: 0 }, false],
    ['a live one of a pool that nobody asked for', { holds: ['v1'], pool: 'laptops' }, false],
    ['one that signed off', { holds: ['v1'], signedOffAt: now - second }, true],
    ['one that was forgotten', { holds: ['v1'], forgottenAt: now - second }, true],
  ])('I1: %s', (_what, over, ok) => {
    const checks = deploy({ receivers: [...fleetBefore, receiver('w3', over)] });
    if (ok) {
      isGood(checks);
      return;
    }
    const check = only(checks, 'holding');
    expect(check).toMatchObject({
      reason: 'some-lack-it',
      waitingFor: 'receivers',
      eta: null,
      evidence: { without: ['id-w3'] },
    });
    expect(check.message).toContain('2 of 3 receivers');
    expect(check.message).toContain('id-w3');
  });

  test('I1: nobody live holds nothing', () => {
    expect(named(deploy({ receivers: [] }), 'holding')).toMatchObject({ ok: false, reason: 'nobody-reports' });
  });
});

describe('grace', () => {
  const grace = (graceMs: number): RunOver => ({ intents: [activated], policy: { gates: { graceMs } } });

  test('it counts from the switch, to the millisecond', () => {
    const age = now - switched;
    isGood(monitor({ run: grace(age) }));
    expect(only(monitor({ run: grace(age + 1) }), 'grace')).toMatchObject({
      reason: 'in-grace',
      waitingFor: 'time',
      since: switched,
      eta: now + 1,
    });
  });

  test('a switch that the clock has not reached yet is not over', () => {
    const ahead = intent('activate', {}, { at: now + minute });
    expect(named(monitor({ run: { intents: [ahead] } }), 'grace').ok).toBe(false);
  });

  test('I2: without a known switch it never ends', () => {
    const check = named(monitor({ run: { intents: [] }, receivers: fleetBefore }), 'grace');
    expect(check).toMatchObject({ ok: false, since: null, eta: null, waitingFor: 'person' });
    expect(check.command).toMatch(/^keyturn confirm hook/);
  });
});

describe('coverage', () => {
  const quiet = (quietMs: number): RunOver => ({ intents: [activated], policy: { gates: { quietMs } } });
  const started = (agoMs: number): readonly ReceiverEvidence[] => [
    fleet[0]!,
    receiver('w2', { ...fleet[1]!, coveredSince: now - agoMs }),
  ];

  test('I2: the quiet time has to be covered up to the last report, to the millisecond', () => {
    isGood(monitor({ receivers: started(5 * minute + second), run: quiet(5 * minute) }));
    const check = only(monitor({ receivers: started(5 * minute + second - 1), run: quiet(5 * minute) }), 'coverage');
    expect(check).toMatchObject({
      reason: 'gap-in-reports',
      waitingFor: 'receivers',
      since: now - 5 * minute - second + 1,
      eta: now,
    });
    expect(check.message).toContain('pool web');
  });

  test('the eta is when the last gap is a quiet time ago', () => {
    expect(only(monitor({ receivers: started(2 * minute), run: quiet(5 * minute) }), 'coverage').eta).toBe(
      now + 3 * minute,
    );
  });

  test('nobody live: nothing is covered and no clock can tell when', () => {
    expect(named(monitor({ receivers: [] }), 'coverage')).toMatchObject({ ok: false, eta: null });
  });

  const gone = { pool: 'laptops', holds: ['v2'] };

  test('a receiver that vanished holds it for a quiet time after it was given up', () => {
    const receivers = [...fleet, receiver('w3', { ...gone, lastReportAt: now - 12 * minute })];
    expect(only(monitor({ receivers }), 'coverage')).toMatchObject({
      since: now - 2 * minute,
      eta: now + 3 * minute,
      message: expect.stringContaining('id-w3'),
    });
  });

  test('a receiver that was forgotten holds it for a quiet time after the word', () => {
    const forgotten = { ...gone, lastReportAt: now - 12 * minute, forgottenAt: now - minute };
    expect(only(monitor({ receivers: [...fleet, receiver('w3', forgotten)] }), 'coverage').since).toBe(now - minute);
  });

  test('a rolling replacement with overlap does not, one without does', () => {
    const left = { lastReportAt: now - 3 * minute, signedOffAt: now - 3 * minute };
    const replaced = (overlapMs: number): readonly ReceiverEvidence[] => [
      fleet[0]!,
      receiver('w2', { ...fleet[1]!, ...left }),
      receiver('w2b', { coveredSince: now - 3 * minute - overlapMs }),
    ];
    isGood(monitor({ receivers: replaced(second) }));
    isGood(monitor({ receivers: replaced(0) }));
    expect(only(monitor({ receivers: replaced(-second) }), 'coverage').since).toBe(now - 3 * minute + second);
  });

  test('a receiver more, started a moment ago, takes nothing away', () => {
    isGood(monitor({ receivers: [...fleet, receiver('w3', { coveredSince: now - second })] }));
  });

  test('more expected than are live: nothing is covered, and the roster says so too', () => {
    const policy = { receivers: { pools: { web: pool(3) } } };
    const names = failing(monitor({ run: { intents: [activated], policy } })).map((check) => check.name);
    expect(names).toEqual(['roster', 'coverage', 'old-quiet'].filter((name) => names.includes(name as CheckName)));
    expect(names).toContain('coverage');
  });
});

describe('new-seen', () => {
  type Uses = readonly (readonly [version: string, agoMs: number])[];
  const receivers = (uses: Uses): readonly ReceiverEvidence[] => [
    receiver('w1', { uses: uses.map(([version, ago]) => use(version, now - ago)) }),
    receiver('w2'),
  ];

  test.each<[string, Uses, number | null, string]>([
    ['no traffic', [], null, 'no-traffic'],
    ['only the old', [['v1', 20 * minute]], null, 'only-old-seen'],
    [
      'the new after the old',
      [
        ['v1', 20 * minute],
        ['v2', 19 * minute],
      ],
      null,
      'seen',
    ],
    ['only the new', [['v2', 19 * minute]], null, 'seen'],
    [
      'the new, and then the old again',
      [
        ['v2', 20 * minute],
        ['v1', 19 * minute],
      ],
      null,
      'old-seen-after-new',
    ],
    [
      'both at one moment',
      [
        ['v2', 20 * minute],
        ['v1', 20 * minute],
      ],
      null,
      'old-seen-after-new',
    ],
    ['confirmed, no traffic', [], 10 * minute, 'confirmed'],
    ['confirmed after the old', [['v1', 20 * minute]], 10 * minute, 'confirmed'],
    ['confirmed before the old', [['v1', 20 * minute]], 25 * minute, 'old-seen-after-new'],
    ['confirmed at the moment of the old', [['v1', 20 * minute]], 20 * minute, 'old-seen-after-new'],
    [
      'seen and confirmed',
      [
        ['v1', 20 * minute],
        ['v2', 15 * minute],
      ],
      10 * minute,
      'seen',
    ],
    [
      'new, then old, then confirmed',
      [
        ['v2', 25 * minute],
        ['v1', 20 * minute],
      ],
      10 * minute,
      'confirmed',
    ],
  ])('I2: %s', (_what, uses, confirmedAgo, reason) => {
    const moves = confirmedAgo === null ? [] : [said('confirm', now - confirmedAgo)];
    const checks = monitor({ receivers: receivers(uses), run: { intents: [activated], moves } });
    const check = named(checks, 'new-seen');
    expect(check).toMatchObject({ ok: reason === 'seen' || reason === 'confirmed', reason, waitingFor: 'traffic' });
    expect(check.message).not.toBe('');
    if (check.ok) isGood(checks);
    else only(checks, 'new-seen');
  });

  test('I8: where nothing was seen, the command that moves it is named', () => {
    for (const uses of [[], [['v1', 20 * minute]]] as const) {
      const check = named(monitor({ receivers: receivers(uses) }), 'new-seen');
      expect(check.command).toMatch(/^keyturn confirm hook --reason/);
      expect(check).toMatchObject({ since: switched, eta: null });
    }
  });

  test('the last confirmation counts', () => {
    const old = receivers([['v1', 20 * minute]]);
    const seen = (moves: Run['moves']): string =>
      named(monitor({ receivers: old, run: { intents: [activated], moves } }), 'new-seen').reason;
    const early = said('confirm', now - 25 * minute);
    expect(seen([early])).toBe('old-seen-after-new');
    expect(seen([early, said('confirm', now - 5 * minute)])).toBe('confirmed');
  });

  test('where both signatures are sent, a match of both is a use of the new and none of the old', () => {
    const both = [
      receiver('w1', {
        uses: [use('v2', now - second), use('v1', now - second, { lastExclusiveAt: now - 20 * minute })],
      }),
      receiver('w2'),
    ];
    isGood(monitor({ receivers: both }));
  });
});

describe('old-quiet', () => {
  const usedAgo = (ms: number, over: Partial<ReceiverEvidence> = {}): readonly ReceiverEvidence[] => [
    receiver('w1', { uses: [use('v1', now - ms)], ...over }),
    receiver('w2', { uses: [use('v2', now - 2 * second)] }),
  ];

  test('I2: a quiet time has to pass from the last use to the last report, to the millisecond', () => {
    isGood(monitor({ receivers: usedAgo(5 * minute + second) }));
    expect(only(monitor({ receivers: usedAgo(5 * minute + second - 1) }), 'old-quiet')).toMatchObject({
      reason: 'old-used-recently',
      waitingFor: 'traffic',
      since: now - 5 * minute - second + 1,
      eta: now,
      evidence: { quietMs: 5 * minute, retire: ['v1'] },
    });
  });

  test('the oldest of the newest reports ends the quiet, not the clock', () => {
    const late = usedAgo(5 * minute + 10 * second, { lastReportAt: now - 20 * second });
    only(monitor({ receivers: late }), 'old-quiet');
  });

  test('I2: the uses of receivers that are gone count for as long as any others', () => {
    const gone = { lastReportAt: now - 2 * minute, uses: [use('v1', now - 2 * minute)] };
    for (const left of [{ signedOffAt: now - 2 * minute }, { forgottenAt: now - 2 * minute }]) {
      const w2 = receiver('w2', { uses: [use('v2', now - 5 * minute)] });
      const checks = monitor({ receivers: [receiver('w1'), w2, receiver('w3', { ...gone, ...left })] });
      expect(named(checks, 'old-quiet')).toMatchObject({ ok: false, since: now - 2 * minute, eta: now + 3 * minute });
    }
  });

  test('I2: one that vanished holding the old is taken to have used it until it was given up', () => {
    const vanished = (holds: readonly string[]): readonly Check[] =>
      monitor({ receivers: [...fleet, receiver('w3', { lastReportAt: now - 13 * minute, holds })] });
    expect(named(vanished(['v2', 'v1']), 'old-quiet')).toMatchObject({ ok: false, since: now - 3 * minute });
    expect(named(vanished(['v2']), 'old-quiet').ok).toBe(true);
  });

  test('the quiet begins at the switch at the earliest', () => {
    const justSwitched = { intents: [intent('activate', {}, { at: now - 3 * minute - second })] };
    const checks = monitor({
      run: justSwitched,
      receivers: [fleet[0]!, receiver('w2', { uses: [use('v2', now - minute)] })],
    });
    expect(only(checks, 'old-quiet')).toMatchObject({
      reason: 'not-quiet-long-enough',
      since: now - 3 * minute,
      eta: now + 2 * minute,
    });
  });

  test('every version that would be revoked has to be quiet', () => {
    const keyring = onTopOf(rings.switched, [add('v3')]);
    const receivers = [receiver('w1', { uses: [use('v3', now - minute)] }), receiver('w2', { uses: [use('v2', now)] })];
    expect(only(monitor({ keyring, receivers }), 'old-quiet').evidence).toMatchObject({ retire: ['v3', 'v1'] });
  });

  test('nobody live is never quiet', () => {
    expect(named(monitor({ receivers: [] }), 'old-quiet').ok).toBe(false);
  });
});

test('every check that fails says who can move it', () => {
  const waits: Readonly<Partial<Record<CheckName, readonly WaitingFor[]>>> = {
    propagation: ['time'],
    grace: ['time'],
    roster: ['receivers'],
    holding: ['receivers'],
    coverage: ['receivers'],
    missing: ['receivers', 'person'],
    'new-seen': ['traffic', 'person'],
    'old-quiet': ['traffic'],
  };
  const scenes = [
    deploy({ receivers: [] }),
    monitor({ receivers: [] }),
    deploy({ seen: { propagationLagMs: 60 * minute } }),
  ];
  for (const check of scenes.flatMap(failing)) {
    expect(waits[check.name] ?? [check.waitingFor]).toContain(check.waitingFor);
  }
});
