import { describe, expect, test } from 'vitest';
import {
  approversOf,
  confirmedAt,
  gateOf,
  holdOf,
  intentsOf,
  isBeforeSwitch,
  isDone,
  lastIntent,
  liftedAt,
  presentMoves,
  steps,
  wantsAbort,
  type Intent,
  type IntentResult,
  type PersonMoveKind,
  type Run,
  type Step,
} from '../../src/model/run.ts';
import { runOf } from '../conformance/run-samples.ts';

/** The version that `runOf` heads for. */
const toldVersion = runOf('hook', 'r1').to;

function intent(effect: Intent['effect'], outcome: IntentResult['outcome'] | null, at: number): Intent {
  const result: IntentResult | null =
    outcome === null ? null : { outcome, at: at + 1, code: null, message: null, retryAt: null, retryable: true };
  return { id: `i${String(at)}`, effect, version: toldVersion, token: 1, at, deadline: at + 10, result };
}

const withIntents = (...intents: readonly Intent[]) => runOf('hook', 'r1', { intents });

test('a rotation has five steps, in this order', () => {
  expect(steps).toEqual(['generate', 'deploy', 'update', 'monitor', 'revoke']);
});

test('intents are picked by their effect, oldest first', () => {
  const run = withIntents(intent('activate', 'failed', 1), intent('promote', 'done', 2), intent('activate', null, 3));
  expect(intentsOf(run, 'activate').map((each) => each.at)).toEqual([1, 3]);
  expect(lastIntent(run, 'activate')?.at).toBe(3);
  expect(lastIntent(run, 'purge')).toBeNull();
  expect([isDone(run, 'promote'), isDone(run, 'activate'), isDone(run, 'purge')]).toEqual([true, false, false]);
});

describe('I2: before the switch', () => {
  test.each<[string, readonly Intent[], boolean]>([
    ['nothing was tried', [], true],
    ['other effects only', [intent('generate', 'done', 1), intent('reassert', 'unknown', 2)], true],
    ['every try certainly failed', [intent('activate', 'failed', 1), intent('activate', 'failed', 2)], true],
    ['one was answered', [intent('activate', 'done', 1)], false],
    ['one answer was lost', [intent('activate', 'unknown', 1)], false],
    ['one has no result', [intent('activate', null, 1)], false],
    ['a lost answer, then a failure', [intent('activate', 'unknown', 1), intent('activate', 'failed', 2)], false],
    ['cut off, then a failure', [intent('activate', null, 1), intent('activate', 'failed', 2)], false],
    ['a call of the run whose place it took', [{ ...intent('activate', null, 1), version: 'v-other' }], true],
  ])('%s: %s', (_what, intents, before) => {
    expect(isBeforeSwitch(withIntents(...intents))).toBe(before);
  });
});

/** What people said, oldest first; each a second after the one before. */
function said(...moves: readonly (readonly [PersonMoveKind, Step?, string?])[]): Run {
  const spoken = moves.map(([kind, step = 'monitor', who = 'ada'], index) => ({
    kind,
    step,
    check: kind === 'accept' ? ('roster' as const) : null,
    who,
    why: null,
    at: (index + 1) * 1_000,
  }));
  return runOf('hook', 'r1', { moves: spoken });
}

describe('a hold', () => {
  test.each<[string, Run, PersonMoveKind | null]>([
    ['nobody said anything', said(), null],
    ['held', said(['hold']), 'hold'],
    ['held and let go on', said(['hold'], ['unhold']), null],
    ['overruling a check lets it go on', said(['hold'], ['accept']), null],
    ['held again', said(['hold'], ['unhold'], ['hold']), 'hold'],
    ['an approval lifts nothing', said(['hold'], ['approve']), 'hold'],
    ['the revocation denied', said(['deny', 'monitor']), 'deny'],
    ['an abort lifts it', said(['hold'], ['abort']), null],
    ['held on the way back', said(['hold'], ['abort'], ['hold']), 'hold'],
  ])('%s', (_what, run, kind) => {
    expect(holdOf(run)?.kind ?? null).toBe(kind);
  });

  test('when it was last lifted is when somebody last said so, or aborted', () => {
    expect(liftedAt(said())).toBeNull();
    expect(liftedAt(said(['hold']))).toBeNull();
    expect(liftedAt(said(['unhold'], ['hold']))).toBe(1_000);
    expect(liftedAt(said(['unhold'], ['accept'], ['hold']))).toBe(2_000);
    expect(liftedAt(said(['unhold'], ['abort']))).toBe(2_000);
  });
});

describe('an abort', () => {
  test('is wanted by who says so, and by who denies the switch; who denies the revocation holds it', () => {
    expect(wantsAbort(said())).toBe(false);
    expect(wantsAbort(said(['abort']))).toBe(true);
    for (const step of ['generate', 'deploy', 'update'] as const) expect(wantsAbort(said(['deny', step]))).toBe(true);
    for (const step of ['monitor', 'revoke'] as const) expect(wantsAbort(said(['deny', step]))).toBe(false);
  });

  test('makes what was said before it void: it was about the other way', () => {
    expect(confirmedAt(said(['confirm']))).toBe(1_000);
    expect(confirmedAt(said(['confirm'], ['abort']))).toBeNull();
    expect(confirmedAt(said(['confirm'], ['abort'], ['confirm']))).toBe(3_000);
    expect(presentMoves(said(['hold'], ['abort'], ['confirm'])).map(({ kind }) => kind)).toEqual(['confirm']);
  });
});

describe('approvals', () => {
  test('count people, for the gate at which they were given, since the last denial', () => {
    const twice = said(['approve', 'deploy', 'ada'], ['approve', 'deploy', 'ada'], ['approve', 'generate', 'bob']);
    expect(approversOf(twice, 'deploy')).toEqual(['ada', 'bob']);
    expect(approversOf(twice, 'monitor')).toEqual([]);
    const denied = said(['approve', 'monitor', 'ada'], ['deny', 'monitor', 'bob'], ['approve', 'revoke', 'eve']);
    expect(approversOf(denied, 'monitor')).toEqual(['eve']);
  });

  test('the gate before the switch has the steps up to it, the other one the rest', () => {
    expect(steps.map(gateOf)).toEqual(['deploy', 'deploy', 'deploy', 'monitor', 'monitor']);
  });
});
