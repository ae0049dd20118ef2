import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide } from '../../src/decide/decide.ts';
import { canGoBack, legOf, provenAt, provenToKeep, switchMoment, unjournalledCall } from '../../src/decide/leg.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import { retireSet, type Keyring } from '../../src/model/keyring.ts';
import type { EffectKind, Intent, Proven, Run } from '../../src/model/run.ts';
import type { ReceiverEvidence } from '../../src/ports/usage-log.ts';
import {
  activated,
  add,
  back,
  claim,
  decided,
  evidence,
  failed,
  firstRun,
  fleet,
  fleetBefore,
  foreignClaim,
  forward,
  intent,
  keyringAfter,
  minute,
  now,
  observation,
  onTopOf,
  ourClaim,
  promote,
  receiver,
  release,
  revoke,
  rings,
  run,
  said,
  second,
  switched,
  use,
  waitOf,
} from './build.ts';

const hour = 60 * minute;
const abort = said('abort', now - minute, { step: 'monitor' });
const refused = failed('activate', 20 * minute, 'upstream-refused', { retryable: false });
const lost = failed('activate', 20 * minute, 'upstream-unknown', { outcome: 'unknown' });
const restored = intent('restore', {}, { at: now - 10 * minute });
const compromisedOld = onTopOf(rings.switched, [{ kind: 'compromise', version: 'v1' }]);
const wentBack = onTopOf(rings.wentBack, [claim()]);
const unread = {
  usage: { state: 'failed', error: new KeyturnError('usage-unreachable', 'Its disk is gone.') },
} as const;

describe('which way a run goes', () => {
  test.each<[string, Run, Keyring, readonly ReceiverEvidence[], boolean]>([
    ['nobody said anything', run({ intents: [activated] }), rings.switched, fleet, false],
    ['abort, nothing told', run({ moves: [abort] }), rings.pending, fleetBefore, false],
    ['abort, certainly refused', run({ intents: [refused], moves: [abort] }), rings.pending, fleetBefore, false],
    ['abort, refused and yet seen in use', run({ intents: [refused], moves: [abort] }), rings.pending, fleet, true],
    ['abort, the answer lost', run({ intents: [lost], moves: [abort] }), rings.pending, fleetBefore, true],
    [
      'abort, in flight',
      run({ intents: [intent('activate', null)], moves: [abort] }),
      rings.pending,
      fleetBefore,
      true,
    ],
    ['abort, told', run({ intents: [activated], moves: [abort] }), rings.pending, fleetBefore, true],
    ['abort, primary', run({ moves: [abort] }), rings.switched, fleet, true],
    ['abort, gone back already', run({ moves: [abort] }), wentBack, fleet, true],
    ['abort, the old one revoked', run({ intents: [activated], moves: [abort] }), rings.settledAfter, fleet, false],
    ['abort, the old one compromised', run({ intents: [activated], moves: [abort] }), compromisedOld, fleet, false],
    ['abort of a first rotation', firstRun({ intents: [activated], moves: [abort] }), rings.firstPending, fleet, false],
    ['the switch was denied', run({ intents: [lost], moves: [said('deny')] }), rings.pending, fleetBefore, true],
    [
      'the revocation was denied',
      run({ intents: [activated], moves: [said('deny', now, { step: 'monitor' })] }),
      rings.switched,
      fleet,
      false,
    ],
  ])('%s', (_what, of, keyring, receivers, isBack) => {
    expect(legOf(of, keyring, observation(keyring, receivers))).toEqual(isBack ? back : forward);
  });

  test('while the usage log cannot be read, a call that failed may have happened', () => {
    const of = run({ intents: [refused], moves: [abort] });
    expect(legOf(of, rings.pending, observation(rings.pending, [], unread)).isBack).toBe(true);
    const untold = run({ moves: [abort] });
    expect(legOf(untold, rings.pending, observation(rings.pending, [], unread)).isBack).toBe(false);
  });

  test('a call that only the claim knows of may have happened; one of an older claim is known', () => {
    const claimed = onTopOf(rings.pending, [claim({ ...ourClaim, deadline: new Date(now).toISOString() })]);
    const of = run({ moves: [abort] });
    expect(legOf(of, claimed, observation(claimed, fleetBefore)).isBack).toBe(true);
    expect(unjournalledCall(of, claimed.claim!)).toBe(now);
    const known = run({ intents: [{ ...refused, deadline: now }], moves: [abort] });
    expect(unjournalledCall(known, claimed.claim!)).toBeNull();
    expect(decided(known, observation(claimed, fleetBefore))).toBe('perform withdraw (generate)');
    expect(unjournalledCall(of, ourClaim)).toBeNull();
  });

  test('to go back, the version must be there, with its value, and nobody may have it who should not', () => {
    expect(canGoBack(run(), rings.switched)).toBe(true);
    expect(canGoBack(run(), rings.settledAfter)).toBe(false);
    expect(canGoBack(run(), compromisedOld)).toBe(false);
    expect(canGoBack(run({ from: 'v8' }), rings.switched)).toBe(false);
    expect(canGoBack(firstRun(), rings.firstPending)).toBe(false);
  });
});

const effectKinds: readonly EffectKind[] = ['activate', 'restore', 'promote', 'reinstate', 'reassert', 'reclaim'];
const anyIntent: fc.Arbitrary<Intent> = fc
  .record({
    effect: fc.constantFrom(...effectKinds),
    outcome: fc.constantFrom('done' as const, 'failed' as const, 'unknown' as const, null),
    ago: fc.integer({ min: 0, max: 30 * minute }),
  })
  .map(({ effect, outcome, ago }) => intent(effect, outcome === null ? null : { outcome }, { at: now - ago }));

test('past the switch a run that was told to go back never turns round again, whatever it does and sees', () => {
  const anyRing = fc.constantFrom<Keyring>(rings.pending, rings.switched, wentBack);
  const anyFleet = fc.constantFrom<readonly ReceiverEvidence[]>(fleet, fleetBefore, []);
  fc.assert(
    fc.property(
      fc.array(anyIntent, { maxLength: 6 }),
      anyRing,
      anyFleet,
      fc.boolean(),
      (more, ring, seenBy, isRead) => {
        const of = run({ intents: [activated, ...more], moves: [abort, said('confirm'), said('unhold')] });
        const seen = observation(ring, seenBy, isRead ? {} : unread);
        expect(legOf(of, ring, seen).isBack).toBe(true);
        const decision = decide(of, seen, now);
        if (decision.kind === 'perform') {
          expect(['restore', 'reinstate', 'reassert', 'revoke', 'reclaim']).toContain(decision.effect);
          if (decision.effect === 'revoke') expect(retireSet(ring)).toEqual(['v2']);
        }
      },
    ),
  );
});

describe('the way back, from its start to its end', () => {
  const reinstated = intent('reinstate', {}, { at: now - 9 * minute });
  const reasserted = intent('reassert', {}, { at: now - 5 * second, version: 'v1' });
  const quiet = [
    receiver('w1', { uses: [use('v2', now - 11 * minute)] }),
    receiver('w2', { uses: [use('v1', now - minute)] }),
  ];
  const settled = onTopOf(wentBack, [claim(), revoke('v2'), release]);
  const promoted = intent('promote', {}, { at: switched + second });

  test.each<[string, Keyring, readonly ReceiverEvidence[], readonly Intent[], string]>([
    ['told to go back after the promotion', rings.switched, fleet, [activated, promoted], 'perform restore (update)'],
    ['told to go back before it', rings.pending, fleet, [activated], 'perform restore (update)'],
    ['the upstream took it', rings.switched, fleet, [activated, promoted, restored], 'perform reinstate (update)'],
    [
      'before the promotion the old one is primary as it is',
      rings.pending,
      quiet,
      [activated, restored],
      'perform reassert (revoke)',
    ],
    [
      'the new one still in use',
      wentBack,
      [receiver('w1', { uses: [use('v2', now - second)] }), receiver('w2', { uses: [use('v1', now - minute)] })],
      [activated, promoted, restored, reinstated],
      'wait new-seen, old-quiet (monitor)',
    ],
    ['the new one quiet', wentBack, quiet, [activated, promoted, restored, reinstated], 'perform reassert (revoke)'],
    [
      'told once more',
      wentBack,
      quiet,
      [activated, promoted, restored, reinstated, reasserted],
      'perform revoke (revoke)',
    ],
    [
      'the new one revoked',
      settled,
      quiet,
      [activated, promoted, restored, reinstated, reasserted, intent('revoke', {})],
      'perform purge (generate)',
    ],
    [
      'all done',
      settled,
      quiet,
      [activated, promoted, restored, reinstated, reasserted, intent('revoke', {}), intent('purge', {})],
      'end aborted (generate)',
    ],
  ])('%s', (_what, keyring, receivers, intents, outcome) => {
    expect(decided(run({ intents, moves: [abort] }), observation(keyring, receivers))).toBe(outcome);
  });

  test('it ends saying that it went back, and not that nothing was switched', () => {
    const intents = [activated, promoted, restored, reinstated, reasserted, intent('revoke', {}), intent('purge', {})];
    expect(decide(run({ intents, moves: [abort] }), observation(settled, quiet), now)).toMatchObject({
      state: 'aborted',
      message: 'Went back: version v2 is revoked, v1 is primary again.',
    });
  });

  test('it is tried again like any call, waits for those under way, and counts what a person says', () => {
    const of = (...intents: readonly Intent[]): Run => run({ intents: [activated, ...intents], moves: [abort] });
    const seen = observation(rings.switched);
    expect(decided(of(failed('restore', second, 'upstream-refused', { retryable: false })), seen)).toBe(
      'wait upstream (update)',
    );
    expect(decided(of(failed('restore', second, 'upstream-refused')), { ...seen, retrySince: now })).toBe(
      'perform restore (update)',
    );
    const inFlight = intent('reassert', null, { at: now - second, deadline: now + second });
    expect(decided(of(inFlight), seen)).toBe('wait effect-in-flight (update)');
    const unsure = { ...failed('restore', second, 'upstream-unknown', { outcome: 'unknown' }), version: 'v1' };
    expect(decided({ ...of(unsure), moves: [abort, said('confirm', now)] }, seen)).toBe('perform reinstate (update)');
    expect(decided({ ...of(unsure), moves: [said('confirm', now - 2 * minute), abort] }, seen)).toBe(
      'wait upstream (update)',
    );
  });

  test('a hold stops the call that leads back, too', () => {
    const moves = [abort, said('hold', now, { step: 'monitor' })];
    expect(decided(run({ intents: [activated], moves }), observation(rings.switched))).toBe('wait held (monitor)');
  });

  test('I8: where somebody went back by hand, an abort has the upstream told, and the wait says so', () => {
    const of = run({ intents: [activated], step: 'monitor' });
    expect(waitOf(of, observation(wentBack)).problem?.hint).toContain('keyturn abort hook');
    expect(decided({ ...of, moves: [abort] }, observation(wentBack))).toBe('perform restore (update)');
    const gone = onTopOf(rings.wentBack, [revoke('v2')], [claim()]);
    expect(waitOf(of, observation(gone)).problem?.hint).toContain('keyturn abort hook');
    expect(decided({ ...of, moves: [abort] }, observation(gone))).toBe('perform restore (update)');
    const told = { ...of, intents: [activated, restored, reasserted], moves: [abort] };
    expect(decided(told, observation(gone, quiet))).toBe('perform revoke (revoke)');
    const over = { ...told, intents: [...told.intents, intent('revoke', {}), intent('purge', {})] };
    expect(decided(over, observation(onTopOf(gone, [release]), quiet))).toBe('end aborted (monitor)');
  });

  test('I2: a run that completed and whose version a later rotation replaced did not go back', () => {
    const later = onTopOf(rings.settledAfter, [claim(foreignClaim), add('v9')], [promote('v9'), revoke('v2'), release]);
    const done = [activated, promoted, intent('revoke', {}), intent('purge', {})];
    expect(decide(run({ intents: done }), observation(later), now)).toMatchObject({ state: 'completed' });
  });
});

describe('under compromise', () => {
  const marked = onTopOf(rings.switched, [
    claim(),
    { kind: 'compromise', version: 'v1' },
    { kind: 'compromise', version: 'v2' },
    add('v4'),
  ]);
  const to = { to: 'v4', from: 'v2', compromised: true } as const;
  const told = intent('activate', {}, { at: now - 2 * second, version: 'v4' });
  const switchedOver = onTopOf(marked, [promote('v4')]);
  const nobody: readonly ReceiverEvidence[] = [];

  test.each<[string, Keyring, readonly Intent[], string]>([
    ['nothing stored yet', rings.switched, [], 'perform generate (generate)'],
    ['stored: nobody is waited for', marked, [intent('generate', {})], 'perform activate (update)'],
    ['told', marked, [told], 'perform promote (update)'],
    ['primary: everything else goes at once', switchedOver, [told], 'perform revoke (revoke)'],
    [
      'told longer than a minute ago: it is told once more',
      switchedOver,
      [intent('activate', {}, { at: now - 2 * minute, version: 'v4' })],
      'perform reassert (revoke)',
    ],
  ])('%s', (_what, keyring, intents, outcome) => {
    expect(decided(run({ ...to, intents }), observation(keyring, nobody, unread))).toBe(outcome);
    expect(decided(run({ ...to, intents, moves: [said('hold')] }), observation(keyring, nobody))).toBe(
      outcome.startsWith('perform generate') || outcome.startsWith('perform promote')
        ? outcome
        : `wait held (${keyring === switchedOver ? 'monitor' : 'deploy'})`,
    );
  });

  test('a call of the superseded run that may be under way is waited for', () => {
    const inherited = intent('activate', null, { at: now - second, deadline: now + 5 * second, version: 'v2' });
    const intents = [inherited, intent('reclaim', {}, { at: now })];
    expect(decided(run({ ...to, intents }), observation(marked))).toBe('wait effect-in-flight (update)');
    expect(decided(run({ ...to, intents }), observation(marked), now + 5 * second)).toBe('perform activate (update)');
  });

  test('it takes the claim of the run whose place it took with its first commit, whatever became primary meanwhile', () => {
    const tookOver = { run: 'r0', journal: 'j1' };
    const held = onTopOf(rings.switched, [{ kind: 'take-over', claim: { ...ourClaim, run: 'r0' } }]);
    expect(decided(run({ ...to, tookOver }), observation(held))).toBe('perform generate (generate)');
    expect(decided(run({ ...to, from: 'v1', tookOver }), observation(held))).toBe('perform generate (generate)');
  });

  test('an abort before its first commit changes nothing', () => {
    expect(decided(run({ ...to, moves: [abort] }), observation(rings.switched))).toBe('end aborted (generate)');
  });
});

describe('in the place of a run whose journal is lost', () => {
  const theirs = { run: 'r7', journal: 'j7' };
  const theirClaim = { ...ourClaim, ...theirs };
  const unknown = intent('activate', null, { at: now - second, token: 0, deadline: now + 5 * second });
  const standIn = (over: Parameters<typeof run>[0] = {}): Run => run({ tookOver: theirs, intents: [unknown], ...over });
  const claimed = onTopOf(rings.settledBefore, [claim(theirClaim), add('v2')]);
  const reclaimed = intent('reclaim', {}, { at: now });

  test('it claims the keyring before anything else, and then calls nobody before the deadline of the lost one', () => {
    expect(decided(standIn(), observation(claimed, fleetBefore))).toBe('perform reclaim (generate)');
    const ours = onTopOf(claimed, [{ kind: 'take-over', claim: ourClaim }]);
    const mine = standIn({ intents: [unknown, reclaimed] });
    expect(decided(mine, observation(ours, fleetBefore))).toBe('wait effect-in-flight (update)');
    expect(decided(mine, observation(ours, fleetBefore), now + 5 * second)).toBe('perform activate (update)');
    expect(decided(standIn(), observation(ours, fleetBefore))).toBe('perform reclaim (generate)');
  });

  test('I2: nothing is withdrawn: the switch may have happened', () => {
    const ours = onTopOf(claimed, [{ kind: 'take-over', claim: ourClaim }]);
    const mine = standIn({ intents: [unknown, reclaimed], moves: [said('abort', now)] });
    expect(decided(mine, observation(ours, fleetBefore), now + 5 * second)).toBe('perform restore (update)');
  });

  test.each<[string, Keyring, string]>([
    ['completed it after all', onTopOf(claimed, [promote('v2')], [revoke('v1'), release]), 'end completed (revoke)'],
    ['aborted it after all', onTopOf(claimed, [revoke('v2'), release]), 'end aborted (generate)'],
    [
      'has begun another one since',
      onTopOf(claimed, [promote('v2')], [revoke('v1'), release], [claim({ ...theirClaim, run: 'r8' }), add('v8')]),
      'end aborted (generate)',
    ],
  ])('I3: where the other journal %s before the claim was taken, it ends', (_what, keyring, outcome) => {
    expect(decided(standIn(), observation(keyring, fleetBefore))).toBe(outcome);
  });

  test('the other journal keeps its hands off, and its run ends when this one has', () => {
    const other = (over: Parameters<typeof run>[0] = {}) => run({ ...over, id: 'r7' });
    const at = (keyring: Keyring) => ({ ...observation(keyring, fleet), journal: 'j7' });
    const taken = onTopOf(claimed, [{ kind: 'take-over', claim: ourClaim }]);
    expect(decided(other({ intents: [activated] }), at(taken))).toBe('wait claim (generate)');
    expect(waitOf(other(), at(taken)).problem?.hint).toContain('keyturn rotate hook --take-over r1');
    const finished = onTopOf(taken, [promote('v2')], [revoke('v1'), release]);
    expect(decided(other({ intents: [activated] }), at(finished))).toBe('end completed (revoke)');
    const undone = onTopOf(taken, [revoke('v2'), release]);
    expect(decided(other({ intents: [activated] }), at(undone))).toBe('wait keyring (generate)');
    expect(decided(other({ intents: [activated], moves: [abort] }), at(undone))).toBe('perform restore (update)');
  });

  test('a version that is deprecated already may be left by the way back', () => {
    const turned = onTopOf(claimed, [promote('v2')], [promote('v1')], [{ kind: 'take-over', claim: ourClaim }]);
    const mine = standIn({ intents: [{ ...unknown, deadline: now }, reclaimed] });
    expect(waitOf(mine, observation(turned)).problem?.hint).toContain('keyturn abort hook');
    expect(decided({ ...mine, moves: [abort] }, observation(turned))).toBe('perform restore (update)');
  });
});

describe('the proof of the switch', () => {
  const first = now - 10 * minute;
  const seen = (receivers: readonly ReceiverEvidence[], at = now) => evidence(receivers, { now: at });
  const w1 = (over: Partial<ReceiverEvidence> = {}) =>
    receiver('w1', { uses: [use('v2', now - second, { firstMatchedAt: first })], ...over });
  const w2 = (over: Partial<ReceiverEvidence> = {}) => receiver('w2', { coveredSince: now - hour, ...over });
  const of = (proven: Proven | null = null): Run => run({ intents: [activated], proven });
  const kept = (receivers: readonly ReceiverEvidence[], proven: Proven | null = null) =>
    provenToKeep(of(proven), forward, seen(receivers));
  const known: Proven = {
    version: 'v2',
    at: first,
    shiftedMs: 0,
    witnesses: [
      { instance: 'w1', coveredSince: now - 2 * hour },
      { instance: 'w2', coveredSince: now - hour },
    ],
  };

  test('is the first delivery since the call, with receivers that live', () => {
    expect(kept([w1(), w2()])).toEqual(known);
    expect(kept([w1({ uses: [] }), w2()])).toBeNull();
    expect(kept([w1({ uses: [use('v2', switched - minute)] }), w2()])).toBeNull();
  });

  test('is kept as it is while one of them lives', () => {
    expect(kept([w1(), w2()], known)).toBeNull();
    expect(kept([w1({ signedOffAt: now - minute }), w2()], known)).toBeNull();
    expect(kept([w1({ lastReportAt: now - 11 * minute }), w2()], known)).toBeNull();
  });

  test('gets other witnesses when they are gone, and those that are silent stay', () => {
    const next = receiver('w3', { coveredSince: now - minute });
    expect(kept([w1({ signedOffAt: now - minute }), w2({ forgottenAt: now }), next], known)?.witnesses).toEqual([
      { instance: 'w3', coveredSince: now - minute },
    ]);
    expect(kept([w1({ lastReportAt: now - 11 * minute }), w2({ signedOffAt: now }), next], known)?.witnesses).toEqual([
      { instance: 'w3', coveredSince: now - minute },
      { instance: 'w1', coveredSince: now - 2 * hour },
    ]);
    expect(kept([w1({ lastReportAt: now - 11 * minute }), w2({ lastReportAt: now - 11 * minute })], known)).toBeNull();
  });

  test('at most three, the ones that have lived longest', () => {
    const many = [1, 2, 3, 4, 5].map((age) => receiver(`r${String(age)}`, { coveredSince: now - age * hour }));
    expect(kept([w1({ coveredSince: now - minute }), ...many])?.witnesses.map(({ instance }) => instance)).toEqual([
      'r5',
      'r4',
      'r3',
    ]);
  });

  test.each([
    ['forward by a day', 24 * hour, 24 * hour],
    ['forward by just over a minute', minute + 1, minute + 1],
    ['by what a late report or an adjustment explains', minute, 0],
    ['back by an hour', -hour, 0],
  ])('a wall clock that is set %s', (_what, by, shift) => {
    // Its stored beginning only ever moves later.
    const jumped = w1({ coveredSince: now - 2 * hour + Math.max(0, by), lastReportAt: now });
    const view = seen([jumped, w2({ lastReportAt: now - second })]);
    expect(provenAt(of(known), forward, view)).toBe(first + shift);
    expect(switchMoment(of(known), forward, view)).toBe(switched + shift);
    const next = provenToKeep(of(known), forward, view);
    if (shift === 0) {
      expect(next).toBeNull();
      return;
    }
    expect(next).toMatchObject({ at: first + shift, shiftedMs: shift });
    // The one that has not reported since is expected to have moved as far.
    expect(next?.witnesses).toContainEqual({ instance: 'w2', coveredSince: now - hour + shift });
    const settled = seen([jumped, w2({ coveredSince: now - hour + shift, lastReportAt: now })]);
    expect(provenToKeep(of(next), forward, settled)).toBeNull();
    expect(switchMoment(of(next), forward, settled)).toBe(switched + shift);
  });

  test('each leg has its own', () => {
    const onlyNew = seen([w1(), w2()]);
    expect(provenToKeep({ ...of(known), intents: [activated, restored] }, back, onlyNew)).toBeNull();
    const oldAgain = seen([w1({ uses: [use('v1', now - minute)] }), w2()]);
    const turned = provenToKeep({ ...of(known), intents: [activated, restored] }, back, oldAgain);
    expect(turned).toMatchObject({ version: 'v1', at: now - minute, shiftedMs: 0 });
  });

  test('a clock that jumps time and again is followed each time, by whatever witnesses are left', () => {
    const steps = fc.array(
      fc.record({
        jump: fc.constantFrom(0, 2 * minute, hour, 24 * hour),
        reports: fc.constantFrom('one', 'other', 'both'),
      }),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(steps, (all) => {
        let proven = kept([w1(), w2()]);
        let shifted = 0;
        // What each shows: it is silent at some looks, and then shows what it showed before.
        let [one, other] = [w1(), w2()];
        for (const { jump, reports } of all) {
          shifted += jump;
          if (reports !== 'other') one = w1({ coveredSince: now - 2 * hour + shifted });
          if (reports !== 'one') other = w2({ coveredSince: now - hour + shifted });
          proven = provenToKeep(of(proven), forward, seen([one, other])) ?? proven;
        }
        expect(proven).toMatchObject({ at: first + shifted, shiftedMs: shifted });
      }),
    );
  });
});

test('an adopted keyring of after a loss is no run’s, and the hint says how a new value comes about', () => {
  const anew = keyringAfter([add('v7'), promote('v7')], [claim(), release], [claim(), release]);
  const told = run({ intents: [intent('generate', {}), activated], revision: 2 });
  expect(waitOf(told, observation(anew)).problem?.hint).toContain('keyturn rotate hook --compromised');
});
