import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decide } from '../../src/decide/decide.ts';
import type { Decision } from '../../src/decide/decision.ts';
import { lastExclusiveUse, lastUseOf, rosterOf, usesOf, withStanding } from '../../src/decide/evidence.ts';
import { deployGate, monitorGate } from '../../src/decide/gates.ts';
import { canGoBack, isSwitched, legOf, mayHaveSwitched, provenToKeep } from '../../src/decide/leg.ts';
import { clockToKeep } from '../../src/decide/gate-clock.ts';
import type { Observation } from '../../src/decide/observation.ts';
import { overrulable } from '../../src/decide/person-checks.ts';
import { failing } from '../../src/model/check.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import {
  emptyKeyring,
  findVersion,
  nextKeyring,
  primaryOf,
  retireSet,
  type Claim,
  type Keyring,
  type KeyringMove,
} from '../../src/model/keyring.ts';
import type { PoolPolicy } from '../../src/model/policy.ts';
import {
  holdOf,
  intentsOf,
  isBeforeSwitch,
  steps,
  wantsAbort,
  type EffectKind,
  type PersonMoveKind,
  type Run,
} from '../../src/model/run.ts';
import type { ReceiverEvidence } from '../../src/ports/usage-log.ts';
import {
  add,
  claim,
  foreignClaim,
  journal,
  minute,
  now,
  ourClaim,
  policyWith,
  pool,
  promote,
  release,
  revoke,
  run,
  secret,
  second,
} from './build.ts';

/** Everything that `decide` may ever be shown, well-typed and otherwise put together at random. */

const anyAge = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 40 * minute }) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 40 * second }) },
  { weight: 1, arbitrary: fc.integer({ min: -20 * minute, max: 0 }) },
);
const anyMoment = anyAge.map((age) => now - age);
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary, { nil: null, freq: 3 });

/** The runs whose place a run may have taken: one of this journal, one of another. */
const superseded: Claim = { ...ourClaim, run: 'r0' };
const lost: Claim = { ...ourClaim, run: 'r7', journal: 'j7' };

const inFlight = (ofClaim: Claim, at: number): Claim => ({ ...ofClaim, deadline: new Date(at).toISOString() });
const anyClaim = fc
  .tuple(fc.constantFrom(ourClaim, ourClaim, superseded, lost, foreignClaim), maybe(anyMoment))
  .map(([of, at]) => (at === null ? of : inFlight(of, at)));

const anyMove: fc.Arbitrary<KeyringMove> = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom('v1', 'v2', 'v3'), anyMoment).map(([id, at]) => add(id, at)) },
  { weight: 3, arbitrary: fc.constantFrom('v1', 'v2', 'v2', 'v3').map(promote) },
  { weight: 1, arbitrary: fc.constantFrom('v1', 'v2', 'v3').map(revoke) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('v1', 'v2', 'v3').map((version): KeyringMove => ({ kind: 'compromise', version })),
  },
  { weight: 3, arbitrary: anyClaim.map(claim) },
  { weight: 2, arbitrary: anyClaim.map((held): KeyringMove => ({ kind: 'take-over', claim: held })) },
  { weight: 1, arbitrary: fc.constant(release) },
);

/** What comes of moves of which the illegal ones are left out: any keyring that can be reached. */
function reached(start: readonly KeyringMove[], moves: readonly KeyringMove[]): Keyring {
  return [...start, ...moves].reduce((keyring, move) => {
    try {
      return nextKeyring(keyring, [move], { id: 'c', highestRevision: 0 });
    } catch {
      return keyring;
    }
  }, emptyKeyring(secret));
}

const oldOnly = [add('v1'), promote('v1')];
const anyKeyring: fc.Arbitrary<Keyring | null> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc
      .tuple(
        fc.constantFrom(
          [],
          oldOnly,
          [...oldOnly, claim(), add('v2')],
          [...oldOnly, claim(), add('v2'), promote('v2')],
          [...oldOnly, claim(), add('v2'), promote('v2'), promote('v1')],
          [...oldOnly, claim(), add('v2'), promote('v2'), revoke('v1'), release],
          [...oldOnly, claim(), add('v2'), promote('v2'), promote('v1'), revoke('v2'), release],
        ),
        fc.array(anyMove, { maxLength: 3 }),
      )
      .map(([start, moves]) => reached(start, moves)),
  },
  { weight: 1, arbitrary: fc.constant(null) },
);

const anyUse = fc.record({
  version: fc.constantFrom('v1', 'v2', 'v3'),
  matched: fc.nat({ max: 9 }),
  exclusive: fc.nat({ max: 9 }),
  notOk: fc.nat({ max: 9 }),
  firstMatchedAt: maybe(anyMoment),
  lastMatchedAt: maybe(anyMoment),
  lastExclusiveAt: maybe(anyMoment),
  recent: fc.constant([]),
});

const anyReceiver: fc.Arbitrary<ReceiverEvidence> = fc.record({
  id: fc.constantFrom('a', 'b', 'c'),
  instance: fc.string({ minLength: 1, maxLength: 4 }),
  pool: fc.constantFrom('web', 'web', 'web', 'other', 'spot'),
  coveredSince: anyAge.map((age) => now - 30 * minute - age),
  lastReportAt: fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: now - 20 * second, max: now }) },
    { weight: 1, arbitrary: anyMoment },
  ),
  signedOffAt: fc.option(anyMoment, { nil: null, freq: 6 }).map((at) => (at === null || at % 3 === 0 ? at : null)),
  forgottenAt: fc.option(anyMoment, { nil: null, freq: 6 }).map((at) => (at === null || at % 3 === 0 ? at : null)),
  revision: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 9 }) }),
  holds: fc.oneof(
    { weight: 4, arbitrary: fc.constant(['v2', 'v1']) },
    { weight: 1, arbitrary: fc.subarray(['v1', 'v2', 'v3']) },
  ),
  primary: maybe(fc.constantFrom('v1', 'v2')),
  uses: fc.array(anyUse, { maxLength: 2 }),
});

const anyObservation: fc.Arbitrary<Observation> = fc.record({
  journal: fc.constant(journal),
  token: fc.constantFrom(null, 1, 2),
  keyring: fc.oneof(
    {
      weight: 12,
      arbitrary: anyKeyring.map((keyring): Observation['keyring'] =>
        keyring === null || keyring.revision === 0
          ? { state: 'absent', token: null }
          : { state: 'present', keyring, token: 't' },
      ),
    },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom('store-denied', 'store-unreachable', 'store-corrupt', 'unexpected')
        .map((code): Observation['keyring'] => ({
          state: 'failed',
          error: new KeyturnError(code, 'It failed.', { hint: 'Mend it.' }),
        })),
    },
  ),
  propagationLagMs: fc.constantFrom(0, 0, 0, 5 * second, 60 * minute),
  usage: fc.oneof(
    {
      weight: 12,
      arbitrary: fc
        .record({
          now: fc.oneof({ weight: 6, arbitrary: fc.constant(now) }, { weight: 1, arbitrary: anyMoment }),
          newestStampAt: maybe(anyMoment),
          receivers: fc.uniqueArray(anyReceiver, { maxLength: 4, selector: ({ instance }) => instance }),
        })
        .map((evidence): Observation['usage'] => ({ state: 'read', evidence })),
    },
    {
      weight: 1,
      arbitrary: fc.constant<Observation['usage']>({
        state: 'failed',
        error: new KeyturnError('usage-unreachable', 'It is gone.'),
      }),
    },
  ),
  retrySince: maybe(anyMoment),
});

const anyResult = fc.record({
  outcome: fc.constantFrom('done', 'done', 'failed', 'unknown'),
  at: anyMoment,
  code: maybe(fc.constantFrom('store-conflict', 'upstream-refused', 'upstream-unknown', 'store-unreachable')),
  message: maybe(fc.constant('It ended.')),
  retryAt: maybe(anyMoment),
  retryable: fc.boolean(),
});

const effects: readonly EffectKind[] = [
  'generate',
  'reclaim',
  'canary',
  'activate',
  'promote',
  'restore',
  'reinstate',
  'mirror',
  'reassert',
  'revoke',
  'purge',
  'withdraw',
];

const anyIntent = fc
  .record({
    id: fc.string({ maxLength: 3 }),
    effect: fc.constantFrom<EffectKind>('activate', 'activate', 'restore', ...effects),
    told: fc.constantFrom('v1', 'v2', 'v2', 'v2', 'v3'),
    token: fc.constantFrom(0, 1, 1, 1, 2),
    at: anyMoment,
    lasts: fc.integer({ min: 0, max: minute }),
    result: fc.option(anyResult, { nil: null, freq: 6 }),
  })
  .map(({ lasts, told, ...rest }) => ({
    ...rest,
    version: rest.effect === 'restore' ? 'v1' : ['activate', 'reassert'].includes(rest.effect) ? told : null,
    deadline: rest.at + lasts,
  }));

const saidKinds: readonly PersonMoveKind[] = [
  'confirm',
  'confirm',
  'abort',
  'hold',
  'unhold',
  'accept',
  'approve',
  'deny',
];
const anySaid = fc
  .record({
    kind: fc.constantFrom(...saidKinds),
    step: fc.constantFrom(...steps),
    check: fc.constantFrom(...overrulable),
    who: fc.constantFrom('ada', 'bob'),
    why: fc.constant(null),
    at: anyMoment,
  })
  .map((move) => ({ ...move, check: move.kind === 'accept' ? move.check : null }));

const anyPools: fc.Arbitrary<Readonly<Record<string, PoolPolicy>>> = fc.constantFrom(
  { web: pool(1) },
  { web: pool(1) },
  { web: pool(2) },
  { web: pool(1), spot: pool(0, { ephemeral: true, maxAgeMs: 5 * minute }) },
  { spot: pool(0, { ephemeral: true, maxAgeMs: 5 * minute }) },
  { web: pool(0, { reporting: 'none' }) },
  {},
);

const anyPolicy = fc
  .record({
    pools: anyPools,
    graceMs: fc.constantFrom(0, second, 20 * minute),
    quietMs: fc.constantFrom(0, second, minute, 20 * minute),
    timeoutMs: fc.constantFrom(minute, 24 * 60 * minute, 24 * 60 * minute),
    retryTail: fc.constantFrom('respect' as const, 'ignore' as const),
    retriesResigned: fc.constantFrom('yes' as const, 'no' as const, 'unknown' as const),
    retryHorizonMs: fc.constantFrom(0, 0, 10 * minute, 24 * 60 * minute),
    switchLagMs: fc.constantFrom(0, minute),
    redelivers: fc.boolean(),
    idempotent: fc.boolean(),
    approvals: fc.constantFrom(0, 0, 0, 1, 2),
    cutover: fc.constantFrom(
      null,
      null,
      { cron: '0 12 * * *', durationMs: 60 * minute, timezone: 'UTC' },
      { cron: '0 3 * * *', durationMs: 60 * minute, timezone: 'UTC' },
    ),
    isBlackout: fc.boolean(),
    isMirrored: fc.boolean(),
    canaries: fc.constantFrom(0, 1, 3),
  })
  .map(
    ({
      pools,
      graceMs,
      quietMs,
      timeoutMs,
      retryTail,
      approvals,
      cutover,
      isBlackout,
      isMirrored,
      canaries,
      ...able
    }) =>
      policyWith({
        receivers: { pools },
        gates: { graceMs, quietMs, timeoutMs, retryTail },
        capabilities: able,
        approvals,
        cutover,
        blackouts: isBlackout ? [{ from: now + 10 * minute, until: now + 20 * minute, reason: 'a launch' }] : [],
        ...(canaries === 0 ? {} : { canary: { url: 'https://hooks.example/', count: canaries } }),
        mirrors: isMirrored ? [{ key: 'plain', property: null, format: 'plain' }] : [],
      }),
  );

const anyGateClock = fc.record({
  step: fc.constantFrom('deploy' as const, 'monitor' as const),
  startedAt: anyMoment,
  waitedMs: fc.constantFrom(0, 30 * second, 23 * 60 * minute, 25 * 60 * minute),
  countedAt: anyMoment,
  runs: fc.boolean(),
});

const anyProven = fc.record({
  version: fc.constantFrom('v1', 'v2'),
  at: anyMoment,
  shiftedMs: fc.constantFrom(0, 0, 60 * minute),
  witnesses: fc.array(fc.record({ instance: fc.string({ minLength: 1, maxLength: 2 }), coveredSince: anyMoment }), {
    maxLength: 2,
  }),
});

const anyRun: fc.Arbitrary<Run> = fc
  .record({
    kind: fc.constantFrom('first', 'rotation', 'rotation'),
    step: fc.constantFrom(...steps),
    from: maybe(fc.constantFrom('v1', 'v1', 'v3')),
    revision: fc.constantFrom(0, 1, 1, 2, 9),
    intents: fc.array(anyIntent, { maxLength: 6 }),
    moves: fc.array(anySaid, { maxLength: 3 }),
    compromised: fc.constantFrom(false, false, false, false, true),
    tookOver: fc.constantFrom(null, null, null, superseded, lost),
    gateClock: fc.option(anyGateClock, { nil: null, freq: 1 }),
    proven: fc.option(anyProven, { nil: null, freq: 1 }),
    policy: anyPolicy,
  })
  .map(({ policy, from, tookOver, ...rest }) => ({
    ...run({ ...rest, from: rest.kind === 'first' ? null : (from ?? 'v1') }),
    tookOver: tookOver === null ? null : { run: tookOver.run, journal: tookOver.journal },
    policy,
  }));

const anything = fc.tuple(anyRun, anyObservation, fc.oneof(fc.constant(now), anyMoment));
const often = { numRuns: 2_000 };

/** The decision, with what it was made on. */
function decided([of, seen, at]: readonly [Run, Observation, number]) {
  const keyring = seen.keyring.state === 'present' ? seen.keyring.keyring : emptyKeyring(secret);
  const decision: Decision = decide(of, seen, at);
  return { of, seen, at, decision, keyring, leg: legOf(of, keyring, seen) };
}

type Case = ReturnType<typeof decided>;

function performs(decision: Decision, ...kinds: readonly EffectKind[]): boolean {
  return decision.kind === 'perform' && kinds.includes(decision.effect);
}

/** Holds for every case; what a property says nothing about passes it. */
function always(property: (each: Case) => void): void {
  fc.assert(
    fc.property(anything, (each) => {
      property(decided(each));
    }),
    often,
  );
}

/** That no person has overruled this check at any gate. */
function nobodyOverruled(of: Run, name: string): boolean {
  return !of.moves.some(({ kind, check }) => kind === 'accept' && check === name);
}

describe('whatever is shown', () => {
  test('a decision is made, and it is the same when it is made again', () => {
    fc.assert(
      fc.property(anything, ([of, seen, at]) => {
        expect(decide(structuredClone(of), seen, at)).toEqual(decide(of, seen, at));
      }),
      often,
    );
  });

  test('all kinds of decisions are made here, so that the properties below say something', () => {
    const counts = new Map<string, number>();
    for (const each of fc.sample(anything, { numRuns: 6_000, seed: 11 })) {
      const { decision } = decided(each);
      const what = decision.kind === 'perform' ? decision.effect : `${decision.kind} in ${decision.step}`;
      counts.set(what, (counts.get(what) ?? 0) + 1);
    }
    const rests = ['wait in deploy', 'wait in update', 'wait in monitor', 'end in generate', 'end in revoke'];
    const rare = [...effects, ...rests].filter((what) => (counts.get(what) ?? 0) < 3);
    expect(rare).toEqual([]);
  });

  test('I8: a wait has a failing check that says something, or a problem that a person can read', () => {
    always(({ decision }) => {
      if (decision.kind !== 'wait') return;
      expect(failing(decision.checks)).not.toEqual([]);
      for (const check of failing(decision.checks)) {
        expect(check.message.length).toBeGreaterThan(5);
        expect(check.message).not.toMatch(/NaN|Infinity|undefined|null|\[object/);
        if (check.eta !== null) expect(Number.isFinite(check.eta)).toBe(true);
      }
    });
  });

  test('I8: what waits for a person says what the person can do', () => {
    always(({ decision }) => {
      if (decision.kind !== 'wait') return;
      for (const check of failing(decision.checks).filter(({ waitingFor }) => waitingFor === 'person')) {
        const isSaid = check.command !== null || (decision.problem?.hint ?? '') !== '' || check.name === 'clock';
        expect([check.name, check.reason, isSaid]).toEqual([check.name, check.reason, true]);
      }
    });
  });

  test('what is journalled of a look is whole, whatever was seen', () => {
    always(({ of, seen, at, keyring, leg, decision }) => {
      const proven = seen.usage.state === 'read' ? provenToKeep(of, leg, seen.usage.evidence) : null;
      if (proven !== null) {
        expect(Number.isFinite(proven.at)).toBe(true);
        expect(proven.shiftedMs).toBeGreaterThanOrEqual(0);
        expect(new Set(proven.witnesses.map(({ instance }) => instance)).size).toBe(proven.witnesses.length);
      }
      const clock = clockToKeep(of, 'monitor', decision.kind === 'wait' ? decision.checks : [], at);
      if (clock !== null) expect(clock.waitedMs).toBeGreaterThanOrEqual(0);
      expect(typeof isSwitched(of, leg, keyring, seen)).toBe('boolean');
    });
  });

  test('I1: the upstream is told a new value only while every receiver that counts holds it and the whole gate passes', () => {
    always(({ of, seen, at, decision, keyring, leg }) => {
      if (!performs(decision, 'activate')) return;
      expect(failing(deployGate(of, leg, keyring, seen, at))).toEqual([]);
      expect(findVersion(keyring, of.to)?.stage).toBe('pending');
      if (of.compromised) return;
      if (seen.usage.state !== 'read') throw new Error('the usage log was not read');
      const live = withStanding(rosterOf(seen.usage.evidence, of.policy.receivers), 'live');
      const isCounted = Object.values(of.policy.receivers.pools).some((each) => each.expect > 0);
      if (isCounted && nobodyOverruled(of, 'holding')) {
        expect(live.filter((receiver) => !receiver.holds.includes(of.to))).toEqual([]);
        expect(live.length).toBeGreaterThan(0);
      }
    });
  });

  test('I1: a version becomes primary only after the upstream answered, or was told and a delivery or a person shows it', () => {
    always(({ of, seen, decision, keyring }) => {
      if (!performs(decision, 'promote')) return;
      const told = intentsOf(of, 'activate').filter(({ version }) => version === of.to);
      const answered = told.some((intent) => intent.result?.outcome === 'done');
      const inUse = seen.usage.state === 'read' && lastUseOf(seen.usage.evidence, of.to) !== null;
      const confirmed = of.moves.some((move) => move.kind === 'confirm');
      const isClaimed = keyring.claim?.run === of.id && keyring.claim.deadline !== null;
      expect(answered || (told.length > 0 && inUse)).toBe(
        answered || (told.length > 0 && inUse) || !((!isBeforeSwitch(of) || isClaimed) && (confirmed || inUse)),
      );
      expect(findVersion(keyring, of.to)?.stage).toBe('pending');
      expect(findVersion(keyring, of.to)?.compromised).toBe(false);
    });
  });

  test('I1: the old version becomes primary again only after the upstream answered, or a person says so', () => {
    always(({ of, decision, keyring }) => {
      if (!performs(decision, 'reinstate')) return;
      const told = intentsOf(of, 'restore').filter(({ result }) => result?.outcome !== 'failed');
      const confirmed = of.moves.some((move) => move.kind === 'confirm');
      expect(told.some(({ result }) => result?.outcome === 'done') || (told.length > 0 && confirmed)).toBe(true);
      expect(of.from).not.toBeNull();
      expect(findVersion(keyring, of.from ?? '')).toMatchObject({ stage: 'deprecated', compromised: false });
    });
  });

  test('I2: nothing is revoked while a check of the gate fails, and never the primary', () => {
    always(({ of, seen, at, decision, keyring, leg }) => {
      if (!performs(decision, 'revoke') || retireSet(keyring).length === 0) return;
      expect(failing(monitorGate(of, leg, keyring, seen, at))).toEqual([]);
      expect(primaryOf(keyring)?.id).toBe(leg.target);
      expect(retireSet(keyring)).not.toContain(leg.target);
    });
  });

  test('I2: nothing is revoked that was used within the quiet time, or without a sign of the switch', () => {
    always(({ of, seen, decision, keyring, leg }) => {
      const retire = retireSet(keyring);
      if (!performs(decision, 'revoke') || retire.length === 0 || of.compromised) return;
      if (seen.usage.state !== 'read') throw new Error('the usage log was not read');
      const { evidence } = seen.usage;
      const { receivers, gates } = of.policy;
      const isCounted = Object.values(receivers.pools).some((each) => each.expect > 0);
      if (isCounted && nobodyOverruled(of, 'old-quiet')) {
        const used = lastExclusiveUse(rosterOf(evidence, receivers), evidence, retire, receivers);
        expect(evidence.now - (used ?? -Infinity)).toBeGreaterThanOrEqual(gates.quietMs);
      }
      if (nobodyOverruled(of, 'new-seen')) {
        const seenAt = lastUseOf(evidence, leg.target);
        const confirmedAt = of.moves.findLast(({ kind }) => kind === 'confirm')?.at ?? null;
        const usedAt = Math.max(-Infinity, ...usesOf(evidence, retire).flatMap((use) => use.lastExclusiveAt ?? []));
        expect(Math.max(seenAt ?? -Infinity, confirmedAt ?? -Infinity)).toBeGreaterThan(usedAt);
      }
    });
  });

  test('I2: a version is withdrawn only when a person asked, every call certainly failed, and nobody was seen to use it', () => {
    always(({ of, seen, decision, keyring }) => {
      if (!performs(decision, 'withdraw')) return;
      const { compromised } = findVersion(keyring, of.to)!;
      expect(wantsAbort(of) || compromised).toBe(true);
      const told = intentsOf(of, 'activate').filter(({ version }) => version === of.to);
      expect(told.filter((intent) => intent.result?.outcome !== 'failed')).toEqual([]);
      if (seen.usage.state === 'read') expect(lastUseOf(seen.usage.evidence, of.to)).toBeNull();
      expect(findVersion(keyring, of.to)?.stage).toBe('pending');
    });
  });

  test('canaries are the last thing that is asked before the switch, and their answers are fresh when it is made', () => {
    always(({ of, seen, at, decision, keyring, leg }) => {
      const { canary } = of.policy;
      const isAsked = canary !== undefined && !of.compromised && nobodyOverruled(of, 'canary');
      if (performs(decision, 'canary')) {
        expect(isAsked).toBe(true);
        expect([findVersion(keyring, of.to)?.stage, leg.isBack]).toEqual(['pending', false]);
        const checks = failing(deployGate(of, leg, keyring, seen, at));
        expect(checks.map(({ name }) => name)).toEqual(['canary']);
      }
      if (!isAsked || !performs(decision, 'activate')) return;
      const answered = intentsOf(of, 'canary').findLast(({ result }) => result !== null)?.result;
      expect(answered?.outcome).toBe('done');
      expect(at - answered!.at).toBeGreaterThanOrEqual(0);
      expect(at - answered!.at).toBeLessThan(minute);
    });
  });

  test('canaries that went wrong are sent again only after a pause, which grows', () => {
    always(({ of, seen, at, decision }) => {
      if (!performs(decision, 'canary')) return;
      const tries = intentsOf(of, 'canary').filter(({ result }) => result !== null);
      const failures = tries.slice(tries.findLastIndex(({ result }) => result?.outcome === 'done') + 1);
      const last = failures.at(-1)?.result;
      if (last === null || last === undefined || last.at > at || last.code === 'store-conflict') return;
      const isAskedFor = seen.retrySince !== null && last.at < seen.retrySince;
      if (!isAskedFor) expect(at - last.at).toBeGreaterThanOrEqual(2 * second);
    });
  });

  test('past the switch, a run that is told to go back does nothing that leads forward', () => {
    always(({ of, seen, decision, keyring }) => {
      if (!wantsAbort(of)) {
        expect(performs(decision, 'restore', 'reinstate', 'withdraw') && !isMarked(keyring, of.to)).toBe(false);
      } else if (canGoBack(of, keyring) && mayHaveSwitched(of, keyring, seen)) {
        expect(performs(decision, 'activate', 'promote', 'withdraw')).toBe(false);
      }
    });
  });

  test('a compromised version is never told or made primary', () => {
    always(({ of, decision, keyring }) => {
      if (performs(decision, 'activate', 'promote')) expect(isMarked(keyring, of.to)).toBe(false);
      if (performs(decision, 'restore', 'reinstate')) expect(isMarked(keyring, of.from ?? '')).toBe(false);
    });
  });

  test('nothing passes a hold: neither a switch, nor the way back, nor a revocation', () => {
    always(({ of, decision, keyring }) => {
      if (holdOf(of) === null) return;
      expect(performs(decision, 'activate', 'restore', 'reassert')).toBe(false);
      if (retireSet(keyring).length > 0) expect(performs(decision, 'revoke')).toBe(false);
    });
  });

  test('I3: a keyring that another run has claimed is left alone', () => {
    always(({ of, decision, keyring }) => {
      const { claim: held } = keyring;
      if (held === null) return;
      const isOurs = held.journal === journal && held.run === of.id;
      const isTaken = held.journal === of.tookOver?.journal && held.run === of.tookOver.run;
      if (!isOurs && !isTaken) expect(decision.kind).not.toBe('perform');
      // What is taken over is claimed before anything else, or by the first commit of all.
      if (isTaken && !isOurs && decision.kind === 'perform') {
        const isFirst = of.compromised && findVersion(keyring, of.to) === null;
        expect(decision.effect).toBe(isFirst ? 'generate' : 'reclaim');
      }
    });
  });

  test('I5: the upstream is not called while an earlier call may be in flight', () => {
    always(({ of, at, decision }) => {
      if (!performs(decision, 'activate', 'reassert', 'restore')) return;
      const calls = of.intents.filter(({ effect }) => ['activate', 'reassert', 'restore'].includes(effect));
      const mayBeInFlight = calls.filter((intent) => intent.at <= at && intent.deadline > at);
      expect(mayBeInFlight.filter((intent) => intent.result === null)).toEqual([]);
    });
  });

  test('I5: where telling twice is not telling once, a call whose outcome is open is not made again', () => {
    always(({ of, decision, leg }) => {
      if (of.policy.upstream.capabilities.idempotent || !performs(decision, 'activate', 'restore', 'reassert')) return;
      expect(performs(decision, 'reassert')).toBe(false);
      const same = intentsOf(of, leg.call).filter(({ version }) => version === leg.target);
      expect(same.filter(({ result }) => (result?.outcome ?? 'unknown') === 'unknown')).toEqual([]);
    });
  });

  test('I6: a run that completes leaves its new version promoted, what it started from revoked, and no claim of its own', () => {
    always(({ of, decision, keyring }) => {
      if (decision.kind !== 'end') return;
      const isAccepted = (findVersion(keyring, of.to)?.stage ?? 'revoked') !== 'revoked';
      if (isAccepted) expect(keyring.claim?.run === of.id && keyring.claim.journal === journal).toBe(false);
      if (decision.state !== 'completed') return;
      expect(of.from === null ? 'revoked' : (findVersion(keyring, of.from)?.stage ?? 'revoked')).toBe('revoked');
      const stage = findVersion(keyring, 'v2')?.stage;
      expect(stage).not.toBe('pending');
      // Where nobody came after it, the secret is settled.
      if (keyring.claim === null && stage === 'primary') expect(retireSet(keyring)).toEqual([]);
    });
  });
});

function isMarked(keyring: Keyring, version: string): boolean {
  return findVersion(keyring, version)?.compromised ?? false;
}
