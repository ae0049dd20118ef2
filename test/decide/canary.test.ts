import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs } from '../../src/decide/backoff.ts';
import { decide } from '../../src/decide/decide.ts';
import { deployGate } from '../../src/decide/gates.ts';
import { unjournalledCall } from '../../src/decide/leg.ts';
import type { Observation } from '../../src/decide/observation.ts';
import type { Run } from '../../src/model/run.ts';
import {
  decided,
  failed,
  firstRun,
  fleetBefore,
  forward,
  intent,
  minute,
  named,
  now,
  observation,
  ourClaim,
  receiver,
  rings,
  run,
  said,
  second,
  waitOf,
  type RunOver,
} from './build.ts';

const url = 'https://hooks.example/github';
const generated = intent('generate', {});

/** A run that has nothing left to wait for before the switch but its canaries. */
function asking(over: RunOver = {}, count = 3): Run {
  const { policy, intents = [], ...rest } = over;
  return run({
    step: 'deploy',
    ...rest,
    intents: [generated, ...intents],
    policy: { canary: { url, count }, ...policy },
  });
}

const seen = observation(rings.pending, fleetBefore);
const lonely = observation(rings.pending, [receiver('w1')]);
const took = (agoMs: number) => intent('canary', { at: now - agoMs }, { at: now - agoMs - second });

function canaryOf(of: Run, at = now, observed: Observation = seen) {
  return named(deployGate(of, forward, rings.pending, observed, at), 'canary');
}

describe('canaries before the switch', () => {
  it.each<[what: string, of: Run, then: string]>([
    ['are sent when nothing else is waited for', asking(), 'perform canary (deploy)'],
    ['let the switch be made when they were taken', asking({ intents: [took(second)] }), 'perform activate (update)'],
    [
      'are sent anew where the answers are a minute old',
      asking({ intents: [took(minute)] }),
      'perform canary (deploy)',
    ],
    [
      'are sent anew where the clock was set back since',
      asking({ intents: [took(-second)] }),
      'perform canary (deploy)',
    ],
    [
      'are sent anew by whoever finds a try without an end',
      asking({ intents: [intent('canary', null, { at: now - minute })] }),
      'perform canary (deploy)',
    ],
    [
      'wait while the upstream is left alone after a failure',
      asking({ intents: [took(10 * minute), failed('activate', second, 'upstream-unreachable')] }),
      'wait upstream (update)',
    ],
    [
      'are sent anew before the upstream is called again',
      asking({ intents: [took(10 * minute), failed('activate', 9 * minute, 'upstream-unreachable')] }),
      'perform canary (deploy)',
    ],
    [
      'let the run wait where they went wrong',
      asking({ intents: [failed('canary', second, 'canary-failed')] }),
      'wait canary (deploy)',
    ],
    [
      'are tried again after a pause',
      asking({ intents: [failed('canary', 2 * second, 'canary-unreachable')] }),
      'perform canary (deploy)',
    ],
    [
      'let the run wait longer after each failure',
      asking({ intents: [failed('canary', minute, 'canary-failed'), failed('canary', 3 * second, 'canary-failed')] }),
      'wait canary (deploy)',
    ],
    [
      'are left alone for a minute where anything was taken',
      asking({ intents: [failed('canary', 59 * second, 'canary-unverified', { retryable: false })] }),
      'wait canary (deploy)',
    ],
    [
      'are not sent where a person overruled them',
      asking({ moves: [said('accept', now, { check: 'canary' })] }),
      'perform activate (update)',
    ],
    ['are not sent under compromise', asking({ compromised: true }), 'perform activate (update)'],
    ['are not sent where a person holds the run', asking({ moves: [said('hold')] }), 'wait held (deploy)'],
    ['are not sent before people have approved', asking({ policy: { approvals: 1 } }), 'wait approvals (deploy)'],
  ])('%s', (_what, of, then) => {
    expect(decided(of, seen)).toBe(then);
  });

  it('are sent in a first rotation too', () => {
    const first = firstRun({ step: 'deploy', intents: [generated], policy: { canary: { url, count: 1 } } });
    const receivers = fleetBefore.map((each) => ({ ...each, holds: ['v2'], primary: null, uses: [] }));
    expect(decided(first, observation(rings.firstPending, receivers))).toBe('perform canary (deploy)');
  });

  it('are not sent on the way back', () => {
    const back = asking({ intents: [took(20 * minute), intent('activate', {})], moves: [said('abort')] });
    expect(decided(back, observation(rings.switched))).toBe('perform restore (update)');
  });

  it('are tried at once where a person asks for it', () => {
    const of = asking({ intents: [failed('canary', second, 'canary-failed')] });
    expect(decided(of, { ...seen, retrySince: now })).toBe('perform canary (deploy)');
  });

  it('time out as every gate does: then they are sent no more before a person lets the run go on', () => {
    const gateClock = {
      step: 'deploy',
      startedAt: now - minute,
      waitedMs: 25 * 60 * minute,
      countedAt: now,
      runs: true,
    } as const;
    const wait = waitOf(asking({ gateClock, intents: [failed('canary', 10 * minute, 'canary-failed')] }), seen);
    expect(wait.problem?.code).toBe('gate-timeout');
  });
});

describe('the check of canaries', () => {
  it('passes while something else is waited for: it is asked last', () => {
    expect(canaryOf(asking(), now, lonely)).toMatchObject({
      ok: true,
      reason: 'asked-last',
      message: 'The receivers are asked by 3 canaries right before the switch, when nothing else is waited for.',
    });
    expect(decided(asking(), lonely)).toBe('wait roster (deploy)');
    expect(canaryOf(asking())).toMatchObject({ ok: false, reason: 'not-asked' });
  });

  it('says what was answered, and when', () => {
    expect(canaryOf(asking({ intents: [took(second)] }, 1))).toMatchObject({
      ok: true,
      reason: 'accepted',
      since: now - second,
      message: 'The receivers took a canary signed with the new version, and refused one that a random key signed.',
    });
  });

  it('shows what went wrong, and when it is tried again', () => {
    const of = asking({
      intents: [failed('canary', 5 * second, 'canary-failed'), failed('canary', second, 'canary-failed')],
    });
    expect(canaryOf(of)).toMatchObject({
      ok: false,
      reason: 'canary-failed',
      waitingFor: 'receivers',
      message: 'It ended with canary-failed. Tried 2 times; it will be tried again.',
      eta: now + 3 * second,
      command: null,
    });
    // Also beside other checks: it is the newest that is known.
    expect(decided(of, lonely)).toBe('wait roster, canary (deploy)');
  });

  it('needs a person where anything is taken, whatever else is', () => {
    const of = asking({ intents: [failed('canary', second, 'canary-unverified', { retryable: false })] });
    expect(canaryOf(of)).toMatchObject({ ok: false, waitingFor: 'person', command: 'keyturn rotate hook' });
    expect(decide(of, seen, now)).toMatchObject({ kind: 'wait', problem: null });
  });

  it('is none where the policy has no canary, or was frozen before there were any', () => {
    const checks = deployGate(run({ intents: [generated] }), forward, rings.pending, seen, now);
    expect(checks.map(({ name }) => name)).not.toContain('canary');
  });
});

it('the deadline of canaries hides no call that only the claim knows of (I5)', () => {
  const late = intent('canary', {}, { at: now, deadline: now + minute });
  const called = { ...ourClaim, deadline: new Date(now + second).toISOString() };
  expect(unjournalledCall(asking({ intents: [late] }), called)).toBe(now + second);
});

/** Canaries whose results are of any kind and any time, one after the other. */
const anyTries = fc.array(
  fc.record({
    agoMs: fc.integer({ min: -minute, max: 10 * minute }),
    outcome: fc.constantFrom('done', 'failed', 'failed', null),
    retryable: fc.boolean(),
  }),
  { maxLength: 6 },
);

it('whatever became of earlier canaries, the switch is made on fresh answers alone, and none is asked for too often', () => {
  fc.assert(
    fc.property(anyTries, (tries) => {
      const intents = tries
        .toSorted((one, other) => other.agoMs - one.agoMs)
        .map(({ agoMs, outcome, retryable }) =>
          intent(
            'canary',
            outcome === null
              ? null
              : {
                  at: now - agoMs,
                  outcome,
                  retryable,
                  code: outcome === 'done' ? null : 'canary-failed',
                  message: 'No.',
                },
            { at: now - agoMs - 1 },
          ),
        );
      const ended = intents.filter(({ result }) => result !== null);
      const last = ended.at(-1)?.result ?? null;
      const failures = ended.length - 1 - ended.findLastIndex(({ result }) => result?.outcome === 'done');
      const ageMs = last === null ? Infinity : now - last.at;
      const decision = decide(asking({ intents }), seen, now);
      if (last?.outcome === 'done' && ageMs >= 0 && ageMs < minute) {
        expect(decision).toMatchObject({ kind: 'perform', effect: 'activate' });
      } else if (failures === 0 || ageMs < 0 || ageMs >= backoffMs(failures, last?.retryable ?? true)) {
        expect(decision).toMatchObject({ kind: 'perform', effect: 'canary' });
      } else {
        expect(decision).toMatchObject({ kind: 'wait', step: 'deploy', problem: null });
      }
    }),
    { numRuns: 2_000 },
  );
});
