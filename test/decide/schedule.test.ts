import { expect, test } from 'vitest';
import { dueOf } from '../../src/decide/schedule.ts';
import { emptyKeyring, type Keyring } from '../../src/model/keyring.ts';
import { add, keyringAfter, minute, now, onTopOf, policyWith, promote, run } from './build.ts';

const monthly = { ...policyWith(), rotateEveryMs: 30 * 24 * 60 * minute };
const made = (ageMs: number): Keyring => keyringAfter([add('v1', now - ageMs), promote('v1')]);

test.each([
  ['a millisecond before', monthly.rotateEveryMs - 1, false],
  ['on the moment', monthly.rotateEveryMs, true],
  ['long after', 3 * monthly.rotateEveryMs, true],
])('a secret is due rotateEvery after its primary was made: %s', (_when, ageMs, overdue) => {
  expect(dueOf(monthly, made(ageMs), null, now)).toEqual({ at: now - ageMs + monthly.rotateEveryMs, overdue });
});

test('the age of the primary counts, not that of what was added later', () => {
  const keyring = onTopOf(made(2 * monthly.rotateEveryMs), [add('v2', now)]);
  expect(dueOf(monthly, keyring, null, now).overdue).toBe(true);
});

test('no keyring, no primary or no schedule: never due', () => {
  const never = { at: null, overdue: false };
  expect(dueOf(monthly, null, null, now)).toEqual(never);
  expect(dueOf(monthly, emptyKeyring('hook'), null, now)).toEqual(never);
  expect(dueOf(monthly, keyringAfter([add('v1', 0)]), null, now)).toEqual(never);
  expect(dueOf({ ...monthly, rotateEveryMs: null }, made(1_000 * monthly.rotateEveryMs), null, now)).toEqual(never);
});

test('a clock that was set back makes nothing due', () => {
  expect(dueOf(monthly, made(-minute), null, now).overdue).toBe(false);
});

test('where the last run was aborted, the schedule leaves a day, or one period where that is shorter', () => {
  const day = 24 * 60 * minute;
  const aborted = run({ state: 'aborted', endedAt: now - minute });
  const overdue = made(2 * monthly.rotateEveryMs);
  expect(dueOf(monthly, overdue, aborted, now)).toEqual({ at: now - minute + day, overdue: false });
  expect(dueOf(monthly, overdue, aborted, now + day)).toMatchObject({ overdue: true });
  expect(dueOf({ ...monthly, rotateEveryMs: 1_000 }, overdue, aborted, now)).toMatchObject({ overdue: true });
  expect(dueOf(monthly, overdue, run({ state: 'completed', endedAt: now }), now)).toMatchObject({ overdue: true });
});

test('in a blackout nothing is due: what would be, is at the end of it', () => {
  const hour = 60 * minute;
  const blackouts = [
    { from: now - hour, until: now + hour, reason: 'a fair' },
    { from: now + hour, until: now + 2 * hour, reason: null },
    { from: now + 10 * hour, until: now + 11 * hour, reason: null },
  ];
  const policy = { ...monthly, blackouts };
  const after = { at: now + 2 * hour, overdue: false };
  expect(dueOf(policy, made(3 * monthly.rotateEveryMs), null, now)).toEqual(after);
  expect(dueOf(policy, made(monthly.rotateEveryMs - hour), null, now)).toEqual(after);
  expect(dueOf(policy, made(monthly.rotateEveryMs - 10 * hour), null, now)).toEqual({
    at: now + 11 * hour,
    overdue: false,
  });
  const between = { at: now + 3 * hour, overdue: false };
  expect(dueOf(policy, made(monthly.rotateEveryMs - 3 * hour), null, now)).toEqual(between);
  expect(dueOf(policy, made(monthly.rotateEveryMs - 3 * hour), null, now + 4 * hour)).toEqual({
    ...between,
    overdue: true,
  });
  expect(dueOf(policy, made(3 * monthly.rotateEveryMs), null, now + 2 * hour)).toMatchObject({ overdue: true });
});

test('a secret that is rotated by nobody stays so in a blackout', () => {
  const blackouts = [{ from: now - minute, until: now + minute, reason: null }];
  const never = { at: null, overdue: false };
  expect(dueOf({ ...monthly, blackouts, rotateEveryMs: null }, made(0), null, now)).toEqual(never);
});
