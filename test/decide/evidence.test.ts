import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  coverageOf,
  lastExclusiveUse,
  lastUseOf,
  lateAfterMs,
  latest,
  rosterOf,
  usesOf,
  withStanding,
  type Coverage,
  type Standing,
} from '../../src/decide/evidence.ts';
import type { ReceiversPolicy } from '../../src/model/policy.ts';
import type { ReceiverEvidence } from '../../src/ports/usage-log.ts';
import { evidence, minute, now, policyWith, pool, receiver, second, use } from './build.ts';

const policy = policyWith().receivers;

function coverage(receivers: readonly ReceiverEvidence[], over: Partial<ReceiversPolicy> = {}): Coverage {
  const whole = { ...policy, ...over };
  const seen = evidence(receivers);
  return coverageOf(rosterOf(seen, whole), seen, whole);
}

describe('standing', () => {
  const late = lateAfterMs(policy);
  test.each<[string, Partial<ReceiverEvidence>, Standing]>([
    ['reports now', { lastReportAt: now }, 'live'],
    ['as late as may be', { lastReportAt: now - late }, 'live'],
    ['a millisecond later', { lastReportAt: now - late - 1 }, 'missing'],
    ['silent for missingAfter', { lastReportAt: now - 10 * minute }, 'missing'],
    ['silent for longer', { lastReportAt: now - 10 * minute - 1 }, 'vanished'],
    ['signed off a second ago', { signedOffAt: now - second }, 'departed'],
    ['signed off long ago', { lastReportAt: now - 60 * minute, signedOffAt: now - 60 * minute }, 'departed'],
    ['forgotten while missing', { lastReportAt: now - minute, forgottenAt: now }, 'departed'],
    ['stamped ahead of the clock', { lastReportAt: now + minute }, 'live'],
  ])('%s', (_what, over, standing) => {
    expect(rosterOf(evidence([receiver('w1', over)]), policy)).toMatchObject([{ standing }]);
  });

  test('a report is late after two lost ones, and never under a second', () => {
    expect(lateAfterMs({ ...policy, reportEveryMs: 10 * second })).toBe(30 * second);
    expect(lateAfterMs({ ...policy, reportEveryMs: 100 })).toBe(1_100);
    expect(lateAfterMs({ ...policy, reportEveryMs: 500 })).toBe(1_500);
  });

  test('receivers are picked by any of several standings, in their order', () => {
    const all = [
      receiver('vanished', { lastReportAt: now - 60 * minute }),
      receiver('live'),
      receiver('missing', { lastReportAt: now - minute }),
    ];
    const picked = withStanding(rosterOf(evidence(all), policy), 'missing', 'vanished');
    expect(picked.map((each) => each.instance)).toEqual(['vanished', 'missing']);
  });
});

describe('coverage by example', () => {
  const since = (agoMs: number): Partial<ReceiverEvidence> => ({ coveredSince: now - agoMs });

  test('from when the last of the expected receivers started', () => {
    const all = [receiver('w1', since(60 * minute)), receiver('w2', since(20 * minute))];
    expect(coverage(all)).toEqual({ from: now - 20 * minute, until: now - second, because: 'pool web' });
  });

  test('a cold start beside enough receivers opens no gap', () => {
    const all = [receiver('w1', since(60 * minute)), receiver('w2', since(50 * minute)), receiver('w3', since(second))];
    expect(coverage(all).from).toBe(now - 50 * minute);
  });

  test('until the oldest of the newest reports of those who are live', () => {
    const all = [
      receiver('w1', { lastReportAt: now - 9 * second }),
      receiver('w2'),
      receiver('gone', { signedOffAt: now - minute, lastReportAt: now - minute }),
    ];
    expect(coverage(all).until).toBe(now - 9 * second);
  });

  test('an empty set of reporters covers nothing', () => {
    expect(coverage([])).toEqual({ from: now, until: 0, because: 'pool web' });
    expect(coverage([receiver('gone', { signedOffAt: now - second })]).until).toBe(0);
  });

  test('fewer than expected: uncovered up to now', () => {
    expect(coverage([receiver('w1')])).toMatchObject({ from: now, because: 'pool web' });
  });

  test('every pool of the policy is needed', () => {
    const pools = { web: pool(1), jobs: pool(1) };
    const web = receiver('w1', since(60 * minute));
    expect(coverage([web], { pools })).toMatchObject({ from: now, because: 'pool jobs' });
    expect(coverage([web, receiver('b1', { pool: 'jobs', ...since(7 * minute) })], { pools })).toMatchObject({
      from: now - 7 * minute,
      because: 'pool jobs',
    });
  });

  test('a receiver that vanished leaves a gap until it is given up', () => {
    const gone = receiver('w3', { lastReportAt: now - 15 * minute });
    expect(coverage([receiver('w1'), receiver('w2'), gone])).toMatchObject({
      from: now - 5 * minute,
      because: 'receiver id-w3',
    });
  });

  test('one that vanished from a pool nobody asked for leaves its gap too', () => {
    const gone = receiver('x', { pool: 'laptops', lastReportAt: now - 15 * minute });
    expect(coverage([receiver('w1'), receiver('w2'), gone]).from).toBe(now - 5 * minute);
  });

  test('a receiver that was forgotten leaves a gap until it was', () => {
    const gone = receiver('w3', { lastReportAt: now - 15 * minute, forgottenAt: now - 12 * minute });
    expect(coverage([receiver('w1'), receiver('w2'), gone])).toMatchObject({
      from: now - 12 * minute,
      because: 'receiver id-w3',
    });
  });

  test('a receiver that signed off leaves none, whatever a person said of it', () => {
    for (const forgottenAt of [null, now - minute]) {
      const gone = receiver('w3', { lastReportAt: now - 5 * minute, signedOffAt: now - 5 * minute, forgottenAt });
      expect(coverage([receiver('w1'), receiver('w2'), gone]).from).toBe(now - 120 * minute);
    }
  });

  const signedOff = (agoMs: number): Partial<ReceiverEvidence> => ({
    lastReportAt: now - agoMs,
    signedOffAt: now - agoMs,
  });

  test('a restart with a gap starts anew', () => {
    const all = [receiver('w1'), receiver('w2', signedOff(30 * minute)), receiver('w2b', since(29 * minute))];
    expect(coverage(all).from).toBe(now - 29 * minute);
  });

  test('a rolling replacement without overlap starts anew at the last replacement', () => {
    const all = [
      receiver('w1', signedOff(40 * minute)),
      receiver('w1b', since(39 * minute)),
      receiver('w2', signedOff(35 * minute)),
      receiver('w2b', since(34 * minute)),
    ];
    expect(coverage(all).from).toBe(now - 34 * minute);
  });

  test('a rolling replacement with overlap opens no gap', () => {
    const all = [
      receiver('w1', signedOff(39 * minute)),
      receiver('w1b', since(40 * minute)),
      receiver('w2', signedOff(34 * minute)),
      receiver('w2b', since(35 * minute)),
    ];
    expect(coverage(all).from).toBe(now - 120 * minute);
  });

  test('a successor that starts at the very moment its predecessor signs off opens no gap', () => {
    const all = [receiver('w1'), receiver('w2', signedOff(30 * minute)), receiver('w2b', since(30 * minute))];
    expect(coverage(all).from).toBe(now - 120 * minute);
  });

  test('a live receiver that was silent for a while and is back has no gap: its counts went on', () => {
    expect(coverage([receiver('w1', { lastReportAt: now - 25 * second }), receiver('w2')]).from).toBe(
      now - 120 * minute,
    );
  });
});

/** A life of a receiver in a small world of whole milliseconds, all of them before `end`. */
interface Life {
  readonly pool: 'a' | 'b' | 'unknown';
  readonly startedAt: number;
  readonly reportedAt: number;
  readonly ending: 'reports' | 'signs-off' | 'forgotten';
  readonly forgottenAfter: number;
}

const end = 400;
const small = { reportEveryMs: 1, refreshEveryMs: 1 };

const anyLife: fc.Arbitrary<Life> = fc
  .record({
    pool: fc.constantFrom('a', 'a', 'a', 'b', 'b', 'unknown'),
    span: fc.tuple(fc.nat({ max: end }), fc.nat({ max: end })),
    ending: fc.constantFrom('live', 'live', 'live', 'silent', 'signs-off', 'signs-off', 'forgotten'),
    forgottenAfter: fc.integer({ min: 1, max: 60 }),
  })
  .map(({ pool, span, ending, forgottenAfter }) => ({
    pool,
    startedAt: Math.min(...span),
    // A word about somebody comes after its last report, so there is a moment left for it.
    reportedAt: ending === 'live' ? end : Math.min(end - 1, Math.max(...span)),
    ending: ending === 'live' || ending === 'silent' ? 'reports' : ending,
    forgottenAfter,
  }));

function evidenceOfLife(life: Life, index: number): ReceiverEvidence {
  return receiver(`w${String(index)}`, {
    pool: life.pool,
    coveredSince: life.startedAt,
    lastReportAt: life.reportedAt,
    signedOffAt: life.ending === 'signs-off' ? life.reportedAt : null,
    forgottenAt: life.ending === 'forgotten' ? Math.min(end, life.reportedAt + life.forgottenAfter) : null,
  });
}

describe('coverage by property', () => {
  /** Lateness is 1001 ms at least, so times are stretched: a moment of the small world is two seconds. */
  const moment = 2 * second;
  const stretched = (each: ReceiverEvidence): ReceiverEvidence => ({
    ...each,
    coveredSince: each.coveredSince * moment,
    lastReportAt: each.lastReportAt * moment,
    signedOffAt: each.signedOffAt === null ? null : each.signedOffAt * moment,
    forgottenAt: each.forgottenAt === null ? null : each.forgottenAt * moment,
  });

  interface World {
    readonly lives: readonly Life[];
    readonly expectA: number;
    readonly expectB: number;
    readonly missingAfter: number;
  }
  const anyWorld: fc.Arbitrary<World> = fc.record({
    lives: fc.array(anyLife, { maxLength: 14, size: 'max' }),
    expectA: fc.integer({ min: 1, max: 3 }),
    expectB: fc.integer({ min: 1, max: 2 }),
    missingAfter: fc.integer({ min: 2, max: 60 }),
  });

  function judged({ lives, expectA, expectB, missingAfter }: World): Coverage {
    const receivers = lives.map(evidenceOfLife).map(stretched);
    const seen = { now: end * moment, newestStampAt: null, receivers };
    const pools: ReceiversPolicy['pools'] = { a: pool(expectA), b: pool(expectB) };
    const whole = { ...small, pools, missingAfterMs: missingAfter * moment };
    return coverageOf(rosterOf(seen, whole), seen, whole);
  }

  /** A life still reports while its silence is shorter than one moment: one moment is longer than any lateness. */
  const isLive = (life: Life): boolean => life.ending === 'reports' && end - life.reportedAt < 1;

  function isCovered(world: World, at: number): boolean {
    const counts = (life: Life): boolean =>
      life.startedAt <= at && (isLive(life) || (at < life.reportedAt && at < end));
    const ofPool = (pool: string): number => world.lives.filter((life) => life.pool === pool && counts(life)).length;
    const isSilent = (life: Life): boolean => {
      if (life.ending === 'signs-off' || isLive(life) || at < life.reportedAt) return false;
      if (life.ending === 'forgotten') return at < Math.min(end, life.reportedAt + life.forgottenAfter);
      const givenUp = life.reportedAt + world.missingAfter;
      // One that is not given up yet is missing, which is a check of its own.
      return givenUp < end && at < givenUp;
    };
    return ofPool('a') >= world.expectA && ofPool('b') >= world.expectB && !world.lives.some(isSilent);
  }

  /** Every moment from now backwards, until one is not covered. */
  function scannedFrom(world: World): number {
    if (!isCovered(world, end)) return end;
    let at = end;
    while (at > 0 && isCovered(world, at - 1)) at -= 1;
    return at;
  }

  test('I2: it begins where a scan over all moments finds the last uncovered one', () => {
    fc.assert(
      fc.property(anyWorld, (world) => {
        expect(judged(world).from / moment).toBe(scannedFrom(world));
      }),
      { numRuns: 3_000 },
    );
  });

  test('the worlds are not all alike: many are covered for a while', () => {
    const spans = fc.sample(anyWorld, { numRuns: 2_000, seed: 7 }).map((world) => end - scannedFrom(world));
    expect(spans.filter((span) => span > 0).length).toBeGreaterThan(50);
    expect(new Set(spans).size).toBeGreaterThan(20);
  });

  test('I2: taking a receiver away never makes more covered, unless what goes is a silence', () => {
    fc.assert(
      fc.property(anyWorld, fc.nat(), (world, pick) => {
        const index = pick % Math.max(1, world.lives.length);
        const gone = world.lives[index];
        if (gone === undefined || (gone.ending !== 'signs-off' && !isLive(gone))) return;
        const without = { ...world, lives: world.lives.filter((life) => life !== gone) };
        expect(judged(without).from).toBeGreaterThanOrEqual(judged(world).from);
      }),
    );
  });

  test('I2: asking for more receivers never makes more covered', () => {
    fc.assert(
      fc.property(anyWorld, (world) => {
        expect(judged({ ...world, expectA: world.expectA + 1 }).from).toBeGreaterThanOrEqual(judged(world).from);
      }),
    );
  });

  test('the order of receivers does not matter', () => {
    fc.assert(
      fc.property(anyWorld, (world) => {
        expect(judged({ ...world, lives: world.lives.toReversed() }).from).toBe(judged(world).from);
      }),
    );
  });
});

describe('uses', () => {
  test('those of every receiver that ever held the secret count, the departed included', () => {
    const all = [
      receiver('w1', { uses: [use('v1', now - 3 * minute), use('v2', now - 9 * minute)] }),
      receiver('w2', { signedOffAt: now - minute, uses: [use('v1', now - 2 * minute)] }),
      receiver('w3', { forgottenAt: now - minute, uses: [use('v1', now - 4 * minute)] }),
    ];
    expect(usesOf(evidence(all), ['v1']).map((each) => each.lastMatchedAt)).toEqual(
      [3, 2, 4].map((ago) => now - ago * minute),
    );
    expect(lastUseOf(evidence(all), 'v1')).toBe(now - 2 * minute);
    expect(lastUseOf(evidence(all), 'v2')).toBe(now - 9 * minute);
    expect(lastUseOf(evidence(all), 'v3')).toBeNull();
  });

  test('the latest of no moments is none', () => {
    expect(latest([])).toBeNull();
    expect(latest([null, null])).toBeNull();
    expect(latest([3, null, 7, 5])).toBe(7);
  });

  function lastUse(...receivers: readonly ReceiverEvidence[]): number | null {
    const seen = evidence(receivers);
    return lastExclusiveUse(rosterOf(seen, policy), seen, ['v1'], policy);
  }

  test('only exclusive uses of the old count: where both are signed, a match of both proves nothing', () => {
    const both = use('v1', now - minute, { lastExclusiveAt: now - 40 * minute });
    expect(lastUse(receiver('w1', { uses: [both] }))).toBe(now - 40 * minute);
    expect(lastUse(receiver('w1', { uses: [use('v1', now, { exclusive: 0, lastExclusiveAt: null })] }))).toBeNull();
  });

  test('I2: a receiver that vanished is taken to have used what it held until it was given up', () => {
    const gone = { lastReportAt: now - 15 * minute };
    expect(lastUse(receiver('w1', gone))).toBe(now - 5 * minute);
    expect(lastUse(receiver('w1', { ...gone, holds: ['v2'] }))).toBeNull();
    expect(lastUse(receiver('w1', gone), receiver('w2', { uses: [use('v1', now - minute)] }))).toBe(now - minute);
  });

  test('who is live, missing or departed is taken at its reports', () => {
    expect(lastUse(receiver('w1'))).toBeNull();
    expect(lastUse(receiver('w1', { lastReportAt: now - 5 * minute }))).toBeNull();
    expect(lastUse(receiver('w1', { lastReportAt: now - 15 * minute, signedOffAt: now - 15 * minute }))).toBeNull();
  });
});
