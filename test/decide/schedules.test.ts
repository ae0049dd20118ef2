import { describe, expect, test } from 'vitest';
import { decide } from '../../src/decide/decide.ts';
import { monitorGate } from '../../src/decide/gates.ts';
import { formatTime } from '../../src/model/duration.ts';
import { KeyturnError } from '../../src/model/errors.ts';
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
  forward,
  intent,
  keyringAfter,
  minute,
  named,
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
  use,
} from './build.ts';

/** Orders of events across processes, journals and people; each test tells one. */

const generate = intent('generate', {}, { at: now - 40 * minute });
const before = observation(rings.pending, fleetBefore);

describe('after a lost answer', () => {
  const lost = failed('activate', 20 * minute, 'upstream-unknown', { outcome: 'unknown' });
  const cutOff = intent('activate', null, { at: now - 20 * minute });

  test('I8: a person who confirms that the upstream has the value makes it primary', () => {
    expect(decided(run({ intents: [generate, lost], moves: [said('confirm')] }), before)).toBe(
      'perform promote (update)',
    );
  });

  test('I8: so it is where the process was cut off in the call', () => {
    expect(decided(run({ intents: [generate, cutOff], moves: [said('confirm')] }), before)).toBe(
      'perform promote (update)',
    );
  });

  test('I5: an upstream for which twice is not once is not told again', () => {
    const of = run({ intents: [generate, lost], policy: { capabilities: { idempotent: false } } });
    expect(decided(of, before)).not.toBe('perform activate (update)');
  });

  test('a delivery shows the switch: nobody tells the upstream again', () => {
    expect(decided(run({ intents: [generate, lost] }), observation(rings.pending, fleet))).toBe(
      'perform promote (update)',
    );
  });
});

describe('an abort', () => {
  test('I2: while the usage log cannot be read, nothing is known not to be used once the upstream was called', () => {
    const refused = failed('activate', minute, 'upstream-refused', { retryable: false });
    const error = new KeyturnError('usage-unreachable', 'Its disk is gone.');
    const seen = observation(rings.pending, [], { usage: { state: 'failed', error } });
    expect(decided(run({ intents: [generate, refused], moves: [said('abort')] }), seen)).not.toContain('withdraw');
  });

  test('I1: a claim with a deadline says that the upstream was called, even where the journal was put back and does not', () => {
    const called = onTopOf(rings.pending, [claim({ ...ourClaim, deadline: formatTime(now - 5 * minute) })]);
    const of = run({ intents: [generate], moves: [said('abort')] });
    expect(decided(of, observation(called, fleetBefore))).not.toContain('withdraw');
  });

  test('I8: a commit of the new version that may still arrive is waited for, or its claim would outlive the run', () => {
    const stalled = intent('generate', null, { at: now - second, deadline: now + second });
    const of = run({ intents: [stalled], moves: [said('abort')] });
    expect(decide(of, observation(rings.settledBefore, []), now).kind).toBe('wait');
  });
});

describe('a run whose work is done, and another that came after it', () => {
  const done = [activated, intent('revoke', {})];
  const next = [claim(foreignClaim), add('v9')];
  const later = onTopOf(rings.settledAfter, next, [promote('v9')], [revoke('v2'), release]);

  test('I8: it ends as completed when its version was revoked by the next rotation', () => {
    const purged = run({ intents: [...done, intent('purge', {})], step: 'revoke' });
    expect(decided(purged, observation(later))).toBe('end completed (revoke)');
  });

  test('I8: it does not wait for the claim of the next rotation', () => {
    const purged = run({ intents: [...done, intent('purge', {})], step: 'revoke' });
    expect(decided(purged, observation(onTopOf(rings.settledAfter, next)))).toBe('end completed (revoke)');
  });

  test('I8: a first rotation that let go of its claim does not wait for the next one either', () => {
    const first = firstRun({ intents: [activated, intent('promote', {})], step: 'revoke' });
    expect(decided(first, observation(onTopOf(rings.firstSettled, next)))).toBe('end completed (revoke)');
  });
});

describe('a store that was put back or edited', () => {
  test('I1: a new version revoked behind the run after the switch is drift, and no harmless way back', () => {
    const revoked = onTopOf(rings.pending, [revoke('v2'), release]);
    const decision = decide(run({ intents: [activated, intent('purge', {})] }), observation(revoked), now);
    expect(decision).toMatchObject({ kind: 'wait', problem: { code: 'drift' } });
  });

  test('I4: a version that was stored and is gone at a higher revision is drift, and not made again under its id', () => {
    const edited = onTopOf(rings.settledBefore, [add('v5')], [revoke('v5')], [claim(), release]);
    const decision = decide(run({ intents: [generate, activated], revision: 2 }), observation(edited), now);
    expect(decision).toMatchObject({ kind: 'wait', problem: { code: 'drift' } });
  });

  test('I1: a foreign claim on a keyring that lost our switched version does not end the run as if nothing was changed', () => {
    const putBack = onTopOf(rings.settledBefore, [claim(foreignClaim), add('v9')], [claim(foreignClaim)]);
    expect(decide(run({ intents: [generate, activated], revision: 3 }), observation(putBack), now).kind).toBe('wait');
  });

  test('I1: receivers that hold a newer revision than the store show that it was put back', () => {
    const newer = [receiver('w1', { revision: 9, holds: ['v4'] }), receiver('w2', { revision: 9, holds: ['v4'] })];
    const decision = decide(run(), observation(rings.settledBefore, newer), now);
    expect(decision).toMatchObject({ kind: 'wait', problem: { code: 'drift' } });
  });

  test('I8: a version made primary without a known switch waits for a person, not for a time that never comes', () => {
    const grace = named(
      monitorGate(run(), forward, rings.switched, observation(rings.switched, fleetBefore), now),
      'grace',
    );
    expect(grace).toMatchObject({ ok: false, waitingFor: 'person' });
  });

  test('I8: a compromised version is not pushed, as it could never become primary', () => {
    const marked = onTopOf(rings.pending, [{ kind: 'compromise', version: 'v2' }]);
    expect(decided(run({ intents: [generate] }), observation(marked, fleetBefore))).not.toBe(
      'perform activate (update)',
    );
  });
});

describe('clocks', () => {
  test('I8: a call that was started by a clock far ahead does not hold the run until that clock is reached', () => {
    const ahead = intent('activate', null, { at: now + 365 * 24 * 60 * minute });
    expect(decided(run({ intents: [generate, ahead] }), before)).not.toBe('wait effect-in-flight (update)');
  });

  test('I8: clocks that differ wait for a person', () => {
    const seen = observation(rings.switched, fleet, { usage: { state: 'read', evidence: evidence(fleet) } });
    const checks = monitorGate(run({ intents: [activated] }), forward, rings.switched, seen, now + minute);
    expect(named(checks, 'clock').waitingFor).toBe('person');
  });
});

describe('rosters', () => {
  test('an empty set of reporters never passes, even where no pool is named', () => {
    const of = run({ intents: [activated], policy: { receivers: { pools: {} } } });
    expect(named(monitorGate(of, forward, rings.switched, observation(rings.switched, []), now), 'roster').ok).toBe(
      false,
    );
  });
});

describe('an upstream that said yes and changed nothing', () => {
  const oldOnly = [receiver('w1', { uses: [use('v1', now - second)] }), receiver('w2')];
  const switchedRun = run({ intents: [generate, activated] });

  test('I8: it is told again when a person asks for another try, and by nothing else', () => {
    const seen = observation(rings.switched, oldOnly);
    expect(decided(switchedRun, seen)).toContain('wait new-seen');
    expect(decided(switchedRun, { ...seen, retrySince: now })).toBe('perform reassert (monitor)');
  });

  test('I5: it is told once for each time a person asks', () => {
    const told = run({ intents: [generate, activated, intent('reassert', {}, { at: now - second })] });
    const asked = observation(rings.switched, oldOnly, { retrySince: now - 2 * second });
    expect(decided(told, asked)).toContain('wait new-seen');
  });

  test('I5: one for which twice is not once is left alone', () => {
    const once = run({ intents: [generate, activated], policy: { capabilities: { idempotent: false } } });
    expect(decided(once, observation(rings.switched, oldOnly, { retrySince: now }))).toContain('wait new-seen');
  });
});

describe('a keyring that was lost for good and adopted anew', () => {
  const anew = keyringAfter([add('v7'), promote('v7')], [claim(), release], [claim(), release]);

  test('I8: a run that had not told the upstream ends when a person aborts it', () => {
    const lost = run({ intents: [generate], revision: 2 });
    expect(decided(lost, observation(anew))).toBe('wait keyring (generate)');
    const given = run({ intents: [generate], revision: 2, moves: [said('abort')] });
    expect(decided(given, observation(anew, fleetBefore))).toBe('end aborted (generate)');
  });

  test('I1: one that may have told it does not', () => {
    const told = run({ intents: [generate, activated], revision: 2, moves: [said('abort')] });
    expect(decided(told, observation(anew))).toBe('wait keyring (generate)');
  });
});
