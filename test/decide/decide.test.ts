import { describe, expect, test } from 'vitest';
import { decide } from '../../src/decide/decide.ts';
import { KeyturnError, type ErrorCode } from '../../src/model/errors.ts';
import type { Run } from '../../src/model/run.ts';
import {
  activated,
  add,
  claim,
  decided,
  evidence,
  failed,
  firstRun,
  fleet,
  fleetBefore,
  foreignClaim,
  intent,
  minute,
  now,
  observation,
  onTopOf,
  promote,
  receiver,
  release,
  revoke,
  rings,
  run,
  said,
  second,
  use,
  waitOf,
} from './build.ts';

const unused = receiver('w2');
const refusedByUpstream = failed('activate', 20 * minute, 'upstream-refused', { retryable: false });
const lostAnswer = failed('activate', 20 * minute, 'upstream-unknown', { outcome: 'unknown' });
const cutOff = intent('activate', null, { at: now - 20 * minute });

describe('every state, and what a person may have said in it', () => {
  type Said = 'nothing' | 'abort' | 'confirm';
  interface Row {
    readonly state: string;
    readonly of: Run;
    readonly seen: ReturnType<typeof observation>;
    readonly expected: string | Readonly<Partial<Record<Said, string>>>;
  }

  const reasserted = intent('reassert', {}, { at: now - 10 * second });
  const generate = intent('generate', {}, { at: now - 40 * minute });
  const before = observation(rings.pending, fleetBefore);
  const used = observation(rings.pending, [receiver('w1'), receiver('w2', { uses: [use('v2', now - minute)] })]);
  const lacking = observation(rings.pending, [receiver('w1', { holds: ['v1'] }), unused]);

  const rows: readonly Row[] = [
    {
      state: 'nothing is stored, a first rotation',
      of: firstRun(),
      seen: observation(null, []),
      expected: {
        nothing: 'perform generate (generate)',
        confirm: 'perform generate (generate)',
        abort: 'end aborted (generate)',
      },
    },
    {
      state: 'the old version is primary, nothing of the new one',
      of: run(),
      seen: observation(rings.settledBefore, []),
      expected: {
        nothing: 'perform generate (generate)',
        confirm: 'perform generate (generate)',
        abort: 'end aborted (generate)',
      },
    },
    {
      state: 'another version became primary before anything was changed',
      of: run(),
      seen: observation(onTopOf(rings.settledBefore, [add('v8'), promote('v8'), revoke('v1')])),
      expected: 'end aborted (generate)',
    },
    {
      state: 'pending, and somebody does not hold it',
      of: run({ intents: [generate] }),
      seen: lacking,
      expected: {
        nothing: 'wait holding (deploy)',
        confirm: 'wait holding (deploy)',
        abort: 'perform withdraw (generate)',
      },
    },
    {
      state: 'pending, held by all, the upstream not told',
      of: run({ intents: [generate], step: 'deploy' }),
      seen: before,
      expected: {
        nothing: 'perform activate (update)',
        confirm: 'perform activate (update)',
        abort: 'perform withdraw (deploy)',
      },
    },
    {
      state: 'pending, the upstream certainly refused',
      of: run({ intents: [refusedByUpstream], step: 'update' }),
      seen: before,
      expected: {
        nothing: 'perform activate (update)',
        confirm: 'perform activate (update)',
        abort: 'perform withdraw (update)',
      },
    },
    {
      state: 'pending, the upstream refused, and yet a delivery was signed with it',
      of: run({ intents: [refusedByUpstream], step: 'update' }),
      seen: used,
      expected: {
        nothing: 'perform promote (update)',
        confirm: 'perform promote (update)',
        abort: 'perform restore (update)',
      },
    },
    {
      state: 'pending, the upstream not told, and yet a delivery was signed with it',
      of: run({ step: 'deploy' }),
      seen: used,
      expected: {
        nothing: 'perform activate (update)',
        confirm: 'perform activate (update)',
        abort: 'perform restore (update)',
      },
    },
    {
      state: 'pending, the answer was lost, no delivery yet',
      of: run({ intents: [lostAnswer], step: 'update' }),
      seen: before,
      // What a confirmation does here is in schedules.test.ts.
      expected: { nothing: 'perform activate (update)', abort: 'perform restore (update)' },
    },
    {
      state: 'pending, the answer was lost, and a delivery was signed with it',
      of: run({ intents: [lostAnswer], step: 'update' }),
      seen: used,
      expected: {
        nothing: 'perform promote (update)',
        confirm: 'perform promote (update)',
        abort: 'perform restore (update)',
      },
    },
    {
      state: 'pending, cut off in the call long ago, no delivery yet',
      of: run({ intents: [cutOff], step: 'update' }),
      seen: before,
      // What a confirmation does here is in schedules.test.ts.
      expected: { nothing: 'perform activate (update)', abort: 'perform restore (update)' },
    },
    {
      state: 'pending, cut off in the call, and a delivery was signed with it',
      of: run({ intents: [cutOff], step: 'update' }),
      seen: used,
      expected: {
        nothing: 'perform promote (update)',
        confirm: 'perform promote (update)',
        abort: 'perform restore (update)',
      },
    },
    {
      state: 'pending, the upstream took it',
      of: run({ intents: [activated], step: 'update' }),
      seen: before,
      expected: {
        nothing: 'perform promote (update)',
        confirm: 'perform promote (update)',
        abort: 'perform restore (update)',
      },
    },
    {
      state: 'pending, the upstream took it, and a receiver has lost it since',
      of: run({ intents: [activated], step: 'update' }),
      seen: lacking,
      expected: {
        nothing: 'perform promote (update)',
        confirm: 'perform promote (update)',
        abort: 'perform restore (update)',
      },
    },
    {
      state: 'pending, the upstream took it, and the usage log is out of reach',
      of: run({ intents: [activated], step: 'update' }),
      seen: observation(rings.pending, [], {
        usage: { state: 'failed', error: new KeyturnError('usage-unreachable', 'It is gone.') },
      }),
      expected: {
        nothing: 'perform promote (update)',
        confirm: 'perform promote (update)',
        abort: 'perform restore (update)',
      },
    },
    {
      state: 'primary beside the old, all quiet',
      of: run({ intents: [activated], step: 'monitor' }),
      seen: observation(rings.switched),
      expected: {
        nothing: 'perform reassert (revoke)',
        confirm: 'perform reassert (revoke)',
        abort: 'perform restore (update)',
      },
    },
    {
      state: 'primary beside the old, all quiet, the upstream told once more',
      of: run({ intents: [activated, reasserted], step: 'revoke' }),
      seen: observation(rings.switched),
      expected: {
        nothing: 'perform revoke (revoke)',
        confirm: 'perform revoke (revoke)',
        abort: 'perform restore (update)',
      },
    },
    {
      state: 'primary beside the old, no traffic at all',
      of: run({ intents: [activated, reasserted], step: 'monitor' }),
      seen: observation(rings.switched, [receiver('w1'), receiver('w2')]),
      expected: {
        nothing: 'wait new-seen (monitor)',
        abort: 'perform restore (update)',
        confirm: 'perform revoke (revoke)',
      },
    },
    {
      state: 'primary beside the old, which was used a minute ago',
      of: run({ intents: [activated, reasserted], step: 'monitor' }),
      seen: observation(rings.switched, [
        receiver('w1', { uses: [use('v1', now - minute)] }),
        receiver('w2', { uses: [use('v2', now - second)] }),
      ]),
      expected: {
        nothing: 'wait old-quiet (monitor)',
        confirm: 'wait old-quiet (monitor)',
        abort: 'perform restore (update)',
      },
    },
    {
      state: 'everything else is revoked and the claim is gone, copies not erased',
      of: run({ intents: [activated, intent('revoke', {})], step: 'revoke' }),
      seen: observation(rings.settledAfter),
      expected: 'perform purge (revoke)',
    },
    {
      state: 'everything else is revoked, the answer to the commit was lost',
      of: run({ intents: [activated, intent('revoke', null)], step: 'revoke' }),
      seen: observation(rings.settledAfter),
      expected: 'perform purge (revoke)',
    },
    {
      state: 'everything else is revoked and the claim is still there',
      of: run({ intents: [activated], step: 'revoke' }),
      seen: observation(onTopOf(rings.settledAfter, [claim()])),
      expected: 'perform revoke (revoke)',
    },
    {
      state: 'everything else is revoked and the copies are erased',
      of: run({ intents: [activated, intent('revoke', {}), intent('purge', {})], step: 'revoke' }),
      seen: observation(rings.settledAfter),
      expected: 'end completed (revoke)',
    },
    {
      state: 'a first rotation, pending and held by all',
      of: firstRun(),
      seen: observation(rings.firstPending, [receiver('w1', { holds: ['v2'] }), receiver('w2', { holds: ['v2'] })]),
      expected: {
        nothing: 'perform activate (update)',
        confirm: 'perform activate (update)',
        abort: 'perform withdraw (generate)',
      },
    },
    {
      state: 'a first rotation, primary: there is nothing to watch and nothing to revoke',
      of: firstRun({ intents: [activated] }),
      seen: observation(rings.firstSettled, []),
      expected: 'end completed (revoke)',
    },
    {
      state: 'withdrawn, copies not erased',
      of: run({ intents: [intent('withdraw', {})], step: 'deploy' }),
      seen: observation(rings.withdrawn, fleetBefore),
      expected: 'perform purge (deploy)',
    },
    {
      state: 'withdrawn, copies erased',
      of: run({ intents: [intent('withdraw', {}), intent('purge', {})], step: 'deploy' }),
      seen: observation(rings.withdrawn, fleetBefore),
      expected: 'end aborted (deploy)',
    },
    {
      state: 'made deprecated by somebody else',
      of: run({ intents: [activated], step: 'monitor' }),
      seen: observation(rings.wentBack),
      expected: {
        nothing: 'wait keyring (monitor)',
        confirm: 'wait keyring (monitor)',
        abort: 'perform restore (update)',
      },
    },
    {
      state: 'claimed by another journal before anything was changed',
      of: run(),
      seen: observation(onTopOf(rings.settledBefore, [claim(foreignClaim)])),
      expected: 'end aborted (generate)',
    },
    {
      state: 'claimed by another run of this journal before anything was changed',
      of: run(),
      seen: observation(onTopOf(rings.settledBefore, [claim({ ...foreignClaim, journal: 'j1' })])),
      expected: 'end aborted (generate)',
    },
    {
      state: 'claimed by another journal while the new version is pending',
      of: run({ step: 'deploy' }),
      seen: observation(onTopOf(rings.pending, [release, claim(foreignClaim)])),
      expected: 'wait claim (deploy)',
    },
    {
      state: 'claimed by another journal while the new version is primary',
      of: run({ intents: [activated], step: 'monitor' }),
      seen: observation(onTopOf(rings.switched, [release, claim(foreignClaim)])),
      expected: 'wait claim (monitor)',
    },
    {
      state: 'the store is back at an older revision',
      of: run({ revision: 9, step: 'deploy' }),
      seen: before,
      expected: 'wait keyring (deploy)',
    },
    {
      state: 'the keyring is gone',
      of: run({ revision: 2, step: 'monitor' }),
      seen: observation(null),
      expected: 'wait keyring (monitor)',
    },
  ];

  const cases = rows.flatMap(({ state, of, seen, expected }) =>
    (['nothing', 'abort', 'confirm'] as const).flatMap((what) => {
      const outcome = typeof expected === 'string' ? expected : expected[what];
      const after = what === 'nothing' ? of : { ...of, moves: [said(what)] };
      return outcome === undefined ? [] : [{ state, what, of: after, seen, outcome }];
    }),
  );

  test.each(cases)('$state; a person said: $what → $outcome', ({ of, seen, outcome }) => {
    expect(decided(of, seen)).toBe(outcome);
  });
});

describe('what cannot be read', () => {
  test.each<[ErrorCode, boolean]>([
    ['store-unreachable', true],
    ['store-throttled', true],
    ['store-busy', true],
    ['store-denied', false],
    ['store-corrupt', false],
    ['store-newer-format', false],
    ['store-absent', false],
  ])('a store that fails with %s makes the run wait where it is, retryable: %s', (code, retryable) => {
    const error = new KeyturnError(code, 'The store said no.', { hint: 'Mend it.' });
    const wait = waitOf(run({ step: 'monitor' }), observation(null, [], { keyring: { state: 'failed', error } }));
    expect(wait).toMatchObject({
      step: 'monitor',
      checks: [{ name: 'store', ok: false, reason: code, waitingFor: retryable ? 'upstream' : 'person' }],
      problem: { code, message: 'The store said no.', hint: 'Mend it.', retryable },
    });
  });

  test('a store that cannot be read stops everything else, an abort included', () => {
    const error = new KeyturnError('store-unreachable', 'It is gone.');
    const seen = observation(null, [], { keyring: { state: 'failed', error } });
    expect(decided(run({ moves: [said('abort')] }), seen)).toBe('wait store (generate)');
  });

  const unread = {
    usage: { state: 'failed', error: new KeyturnError('usage-unreachable', 'Its disk is gone.') },
  } as const;

  test.each([
    ['before the switch', run(), rings.pending, 'deploy'],
    [
      'after it',
      run({ intents: [activated, intent('reassert', {}, { at: now - second })] }),
      rings.switched,
      'monitor',
    ],
  ] as const)('I1, I2: a usage log that cannot be read never lets a step end, %s', (_when, of, keyring, step) => {
    const wait = waitOf(of, observation(keyring, [], unread));
    expect(wait.step).toBe(step);
    expect(wait.checks.filter((check) => !check.ok)).toMatchObject([
      { name: 'usage-log', reason: 'usage-log-unread', waitingFor: 'receivers' },
    ]);
    expect(wait.checks.find((check) => !check.ok)?.message).toContain('Its disk is gone.');
  });

  const sentFor = { tookOver: { run: foreignClaim.run, journal: foreignClaim.journal } };

  test.each([
    ['stores a new version', run(), rings.settledBefore, 'wait usage-log (generate)'],
    ['stores the first one', run({ from: null, kind: 'first', revision: 0 }), null, 'wait usage-log (generate)'],
    ['stores one under compromise', run({ compromised: true }), rings.settledBefore, 'perform generate (generate)'],
    [
      'stores the first one under compromise',
      run({ from: null, kind: 'first', compromised: true, revision: 0 }),
      null,
      'wait usage-log (generate)',
    ],
    [
      'claims the keyring of a lost journal',
      run(sentFor),
      onTopOf(rings.settledBefore, [claim(foreignClaim)]),
      'wait usage-log (generate)',
    ],
    ['gives up', run({ moves: [said('abort')] }), rings.settledBefore, 'end aborted (generate)'],
  ])('I5: what it does while nobody can look what receivers hold: %s', (_what, of, keyring, expected) => {
    expect(decided(of, observation(keyring, [], unread))).toBe(expected);
  });

  test('a lost answer is not taken for a switch while the usage log cannot be read', () => {
    expect(decided(run({ intents: [lostAnswer] }), observation(rings.pending, [], unread))).toBe(
      'wait usage-log (deploy)',
    );
  });
});

describe('what is said to people', () => {
  test('a foreign claim names its run and journal', () => {
    const decision = decide(run(), observation(onTopOf(rings.settledBefore, [claim(foreignClaim)])), now);
    expect(decision).toMatchObject({
      kind: 'end',
      problem: { code: 'foreign-claim', message: expect.stringMatching(/run r9 of journal j9/), retryable: false },
    });
  });

  test('drift to an older revision names both revisions', () => {
    const wait = waitOf(run({ revision: 9 }), observation(rings.pending));
    expect(wait.problem).toMatchObject({ code: 'drift', message: expect.stringMatching(/revision 2, older than 9/) });
    expect(wait.checks).toMatchObject([{ waitingFor: 'person', reason: 'drift' }]);
  });

  test('a keyring that is gone is said to be gone', () => {
    expect(waitOf(run({ revision: 7 }), observation(null)).problem?.message).toMatch(/at revision 7 and is gone/);
  });

  test('a primary that changed before the start is named beside the expected one', () => {
    const seen = observation(onTopOf(rings.settledBefore, [add('v8'), promote('v8')]));
    expect(decide(run(), seen, now)).toMatchObject({
      message: expect.stringMatching(/primary is v8, not v1/),
      problem: null,
    });
    expect(decide(firstRun(), observation(rings.settledBefore), now)).toMatchObject({
      message: expect.stringMatching(/primary is v1, not none/),
    });
  });

  test('a run that ends says which version is primary', () => {
    const done = [activated, intent('revoke', {}), intent('purge', {})];
    expect(decide(run({ intents: done }), observation(rings.settledAfter), now)).toMatchObject({
      message: 'Version v2 is primary and everything else is revoked.',
    });
    expect(decide(firstRun({ intents: [activated] }), observation(rings.firstSettled), now)).toMatchObject({
      message: 'Version v2 is primary; there was nothing to retire.',
    });
    const back = [intent('withdraw', {}), intent('purge', {})];
    expect(decide(run({ intents: back }), observation(rings.withdrawn, fleetBefore), now)).toMatchObject({
      message: 'Aborted before the switch: version v2 is revoked, v1 is primary as before.',
    });
  });
});

describe('I5: an effect that another process may still have in flight', () => {
  const inFlight = (effect: 'activate' | 'reassert', deadline: number): ReturnType<typeof intent> =>
    intent(effect, null, { at: now - 5 * second, deadline });
  const before = observation(rings.pending, fleetBefore);

  test('the upstream is not called before the deadline of a call without a result, whoever made it', () => {
    const wait = waitOf(run({ intents: [inFlight('activate', now + 7 * second)] }), before);
    expect(wait).toMatchObject({
      step: 'update',
      checks: [
        {
          name: 'effect-in-flight',
          ok: false,
          waitingFor: 'time',
          since: now - 5 * second,
          eta: now + 7 * second,
        },
      ],
      problem: null,
    });
  });

  test.each([
    ['a millisecond before its deadline', 1, 'wait effect-in-flight (update)'],
    ['at its deadline', 0, 'perform activate (update)'],
    ['after its deadline', -1, 'perform activate (update)'],
  ])('%s', (_when, left, outcome) => {
    expect(decided(run({ intents: [inFlight('activate', now + left)] }), before)).toBe(outcome);
  });

  test('each of several counts', () => {
    const intents = [inFlight('activate', now - minute), inFlight('activate', now + 1)];
    expect(decided(run({ intents }), before)).toBe('wait effect-in-flight (update)');
  });

  test('a re-assert in flight keeps the next one waiting, and so the revoke', () => {
    const intents = [activated, intent('reassert', {}, { at: now - 30 * second }), inFlight('reassert', now + second)];
    expect(decided(run({ intents }), observation(rings.switched))).toBe('wait effect-in-flight (revoke)');
  });

  test('what has a result is in flight no more, whatever its deadline says', () => {
    const answered = failed('activate', 10 * minute, 'upstream-unknown', { outcome: 'unknown' });
    const intents = [{ ...answered, deadline: now + minute }];
    expect(decided(run({ intents }), before)).toBe('perform activate (update)');
  });

  test('a commit in flight keeps nobody waiting: the store lets one of two win', () => {
    const generating = intent('generate', null, { at: now - second, deadline: now + second });
    expect(decided(run({ intents: [generating] }), observation(rings.settledBefore))).toBe(
      'perform generate (generate)',
    );
  });

  test('a lost answer that a delivery since then has explained waits for nothing', () => {
    const of = run({ intents: [inFlight('activate', now + 7 * second)] });
    const usedAt = (moment: number) =>
      observation(rings.pending, [receiver('w1', { uses: [use('v2', moment)] }), unused]);
    expect(decided(of, usedAt(now - second))).toBe('perform promote (update)');
    expect(decided(of, usedAt(now - 6 * second))).toBe('wait effect-in-flight (update)');
  });

  test('while the call may still happen, an abort withdraws nothing', () => {
    const of = run({ intents: [inFlight('activate', now + 7 * second)], moves: [said('abort')] });
    expect(decided(of, before)).toBe('wait effect-in-flight (update)');
  });
});

describe('after failures', () => {
  const before = observation(rings.pending, fleetBefore);
  const attempt = (...intents: Run['intents']): string => decided(run({ intents }), before);
  const throttled = (agoMs: number, retryInMs: number): ReturnType<typeof failed> =>
    failed('activate', agoMs, 'upstream-throttled', { retryAt: now + retryInMs });

  test.each([
    ['one failure, 2 s not over', [failed('activate', 1_999, 'upstream-unreachable')], 'wait upstream (update)'],
    ['one failure, 2 s over', [failed('activate', 2_000, 'upstream-unreachable')], 'perform activate (update)'],
    [
      'two failures, 4 s not over',
      [failed('activate', 9_000, 'upstream-unreachable'), failed('activate', 3_999, 'upstream-unreachable')],
      'wait upstream (update)',
    ],
    [
      'two failures, 4 s over',
      [failed('activate', 9_000, 'upstream-unreachable'), failed('activate', 4_000, 'upstream-unreachable')],
      'perform activate (update)',
    ],
    [
      'refused, 1 minute not over',
      [failed('activate', 59_999, 'upstream-refused', { retryable: false })],
      'wait upstream (update)',
    ],
    [
      'refused, 1 minute over',
      [failed('activate', 60_000, 'upstream-refused', { retryable: false })],
      'perform activate (update)',
    ],
    ['Retry-After ahead', [throttled(minute, 1)], 'wait upstream (update)'],
    ['Retry-After over', [throttled(minute, 0)], 'perform activate (update)'],
    ['Retry-After shorter than the back-off', [throttled(second, -500)], 'wait upstream (update)'],
    [
      'a failure from the future: the clock was set back',
      [failed('activate', -minute, 'upstream-refused', { retryable: false })],
      'perform activate (update)',
    ],
    [
      'a failure from the future that named a time: the clock was set back',
      [failed('activate', -minute, 'upstream-throttled', { retryAt: now + 5 * minute })],
      'perform activate (update)',
    ],
    [
      'failures of another effect',
      [failed('generate', 1, 'store-denied', { retryable: false })],
      'perform activate (update)',
    ],
  ] as const)('%s', (_what, intents, outcome) => {
    expect(attempt(...intents)).toBe(outcome);
  });

  test('a cut-off try between two failures neither counts nor ends the row', () => {
    const cut = intent('activate', null, { at: now - 20 * second });
    const first = failed('activate', 30 * second, 'upstream-unreachable');
    expect(attempt(first, cut, failed('activate', 3_999, 'upstream-unreachable'))).toBe('wait upstream (update)');
    expect(attempt(first, cut, failed('activate', 4_000, 'upstream-unreachable'))).toBe('perform activate (update)');
  });

  test('a success ends the row of failures', () => {
    const reasserts = [
      failed('reassert', 9 * minute, 'upstream-unreachable'),
      failed('reassert', 8 * minute, 'upstream-unreachable'),
      intent('reassert', {}, { at: now - 7 * minute }),
      failed('reassert', 3 * second, 'upstream-unreachable'),
    ];
    expect(decided(run({ intents: [activated, ...reasserts] }), observation(rings.switched))).toBe(
      'perform reassert (revoke)',
    );
  });

  test('a person who asks for another try does not wait for the failures of before', () => {
    const intents = [failed('activate', 10 * second, 'upstream-refused', { retryable: false })];
    const asked = (retrySince: number): string =>
      decided(run({ intents }), observation(rings.pending, fleetBefore, { retrySince }));
    expect(asked(now)).toBe('perform activate (update)');
    expect(asked(now - 10 * second)).toBe('wait upstream (update)');
    expect(asked(now - minute)).toBe('wait upstream (update)');
  });

  test.each([
    [1, 'store-conflict', 'perform promote (update)'],
    [4, 'store-conflict', 'perform promote (update)'],
    [5, 'store-conflict', 'wait store (update)'],
    [4, 'lease-lost', 'perform promote (update)'],
    [5, 'lease-lost', 'wait store (update)'],
  ] as const)('%i lost races in a row, by %s: %s', (races, code, outcome) => {
    const intents = [activated, ...Array.from({ length: races }, () => failed('promote', 0, code))];
    expect(decided(run({ intents }), before)).toBe(outcome);
  });

  test('the wait shows the last answer, how often it was tried, since when, and who has to act', () => {
    const since = now - 3 * minute - second;
    const intents = [
      failed('activate', 3 * minute, 'upstream-unreachable'),
      failed('activate', second, 'upstream-refused', { retryable: false, message: 'It answered 401.' }),
    ];
    const wait = waitOf(run({ intents }), before);
    expect(wait.checks).toMatchObject([
      {
        name: 'upstream',
        reason: 'upstream-refused',
        waitingFor: 'person',
        since,
        eta: now - second + 2 * minute,
        message: expect.stringMatching(/^It answered 401\. Tried 2 times/),
      },
    ]);
    expect(wait.problem).toEqual({
      code: 'upstream-refused',
      message: 'It answered 401.',
      hint: 'Mend it, then: keyturn rotate hook',
      retryable: false,
    });
  });

  test.each([
    ['generate', run(), rings.settledBefore, 'store'],
    ['reassert', run({ intents: [activated] }), rings.switched, 'reassert'],
    ['purge', run({ intents: [activated, intent('revoke', {})] }), rings.settledAfter, 'store'],
    ['withdraw', run({ moves: [said('abort')] }), rings.pending, 'store'],
  ] as const)('a failing %s is waited for under its own name', (effect, of, keyring, name) => {
    const intents = [...of.intents, failed(effect, 0, 'store-denied', { retryable: false })];
    const seen = effect === 'withdraw' ? observation(keyring, fleetBefore) : observation(keyring);
    expect(waitOf({ ...of, intents }, seen).checks).toMatchObject([{ name, waitingFor: 'person' }]);
  });
});

describe('the re-assert before the revoke', () => {
  const decideAfter = (agoMs: number, result: Parameters<typeof intent>[1] = {}): string => {
    const reassert = intent('reassert', result, { at: now - agoMs - second });
    return decided(run({ intents: [activated, reassert] }), observation(rings.switched));
  };

  test.each([
    [0, 'perform revoke (revoke)'],
    [59_999, 'perform revoke (revoke)'],
    [60_000, 'perform reassert (revoke)'],
    [-1, 'perform reassert (revoke)'],
  ])('answered %i ms ago: %s', (ago, outcome) => {
    expect(decideAfter(ago)).toBe(outcome);
  });

  test('one whose answer was lost does not count', () => {
    expect(decideAfter(30 * second, { outcome: 'unknown', code: 'upstream-unknown' })).toBe(
      'perform reassert (revoke)',
    );
  });

  test('I2: one that fails holds the revoke, even right after one that went well', () => {
    const intents = [
      activated,
      intent('reassert', {}, { at: now - 30 * second }),
      failed('reassert', second, 'upstream-refused', { retryable: false }),
    ];
    expect(decided(run({ intents }), observation(rings.switched))).toBe('wait reassert (revoke)');
  });

  test('an upstream for which twice is not once is left alone', () => {
    const of = run({ intents: [activated], policy: { capabilities: { idempotent: false } } });
    expect(decided(of, observation(rings.switched))).toBe('perform revoke (revoke)');
  });

  test('I2: a fresh one does not outweigh a gate that fails meanwhile', () => {
    const reassert = intent('reassert', {}, { at: now - 2 * second });
    const seen = observation(rings.switched, [fleet[0]!, receiver('w2', { uses: [use('v1', now - second)] })]);
    expect(decided(run({ intents: [activated, reassert] }), seen)).toBe('wait new-seen, old-quiet (monitor)');
  });
});

describe('one rotation from its start to its end', () => {
  test('each effect leads to the next one, and the same is decided however often it is asked', () => {
    const effects = {
      generate: intent('generate', {}, { at: now - 40 * minute }),
      activate: activated,
      promote: intent('promote', {}, { at: now - 29 * minute }),
      reassert: intent('reassert', {}, { at: now - 3 * second }),
      revoke: intent('revoke', {}, { at: now - 2 * second }),
      purge: intent('purge', {}, { at: now - second }),
    };
    const story = [
      [rings.settledBefore, fleetBefore, [], 'perform generate (generate)'],
      [rings.pending, fleetBefore, [effects.generate], 'perform activate (update)'],
      [rings.pending, fleetBefore, [effects.generate, effects.activate], 'perform promote (update)'],
      [rings.switched, fleet, [effects.generate, effects.activate, effects.promote], 'perform reassert (revoke)'],
      [rings.switched, fleet, Object.values(effects).slice(0, 4), 'perform revoke (revoke)'],
      [rings.settledAfter, fleet, Object.values(effects).slice(0, 5), 'perform purge (revoke)'],
      [rings.settledAfter, fleet, Object.values(effects), 'end completed (revoke)'],
    ] as const;
    for (const [keyring, receivers, intents, outcome] of story) {
      const step = intents.some(({ effect }) => effect === 'revoke') ? 'revoke' : 'generate';
      const [of, seen] = [run({ intents, step }), observation(keyring, receivers)];
      expect(decided(of, seen)).toBe(outcome);
      expect(decide(of, seen, now)).toEqual(decide(structuredClone(of), seen, now));
    }
  });

  test("the moment of an observation is the usage log's and of a decision the orchestrator's", () => {
    const seen = observation(rings.switched, fleet, { usage: { state: 'read', evidence: evidence(fleet, { now }) } });
    expect(decided(run({ intents: [activated] }), seen, now + 6 * second)).toBe('wait clock (monitor)');
  });
});
