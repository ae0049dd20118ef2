import { nextOpening } from '../decide/window.ts';
import type { SecretPolicy } from '../model/policy.ts';
import { chanceOf, type Chance } from './chance.ts';
import { watchedMs } from './scale.ts';
import type { CallFault, Fault, FaultKind, FaultLevel, ReceiverSetup, Schedule, Setup, Side } from './schedule.ts';

/** What a seed stands for: a setup, and what goes wrong, drawn before anything happens. */

const minuteMs = 60_000;

/** What a message may take from its signature to its arrival, however short the policy's own times are. */
export const longestTransitMs: Readonly<Record<FaultLevel, number>> = { none: 2_000, usual: 2_000, hard: 20_000 };

/** 2026-01-05T00:00:00Z, a Monday. */
const beginningMs = 1_767_571_200_000;

export function scheduleOf(policy: SecretPolicy, seed: number, level: FaultLevel): Schedule {
  const setup = setupOf(policy, chanceOf(seed, 'setup'), level);
  return {
    seed,
    level,
    setup,
    faults: level === 'none' ? [] : faultsOf(policy, setup, chanceOf(seed, 'faults'), level),
  };
}

function setupOf(policy: SecretPolicy, chance: Chance, level: FaultLevel): Setup {
  const isHard = level === 'hard';
  const { receivers, upstream } = policy;
  const { capabilities } = upstream;
  const askedAt = chance.whole(90_000, 5 * minuteMs);
  const opensAt = nextOpening(policy.cutover, policy.blackouts, beginningMs) ?? beginningMs;
  const watched = Math.max(minuteMs, watchedMs(policy));
  // Some are asked for long before an update may start: days of waiting that all look the same are left out.
  const earlyMs = opensAt === beginningMs ? 0 : chance.whole(0, 20 * minuteMs);
  return {
    startMs: opensAt - askedAt - earlyMs,
    askedAt,
    isFirst: chance.is(0.04),
    receivers: fleetOf(policy, chance.of('fleet'), isHard),
    trafficEveryMs: trafficOf(watched, chance.of('traffic')),
    transitMs: chance.duration(50, longestTransitMs[level]),
    signers: chance.whole(1, 4),
    switchDelayMs: chance.is(0.5) ? 0 : chance.duration(100, 20_000),
    switchSpreadMs: chance.is(0.4) ? 0 : chance.duration(1, Math.max(1, capabilities.switchLagMs)),
    resigns: capabilities.retriesResigned === 'unknown' ? chance.is(0.5) : capabilities.retriesResigned === 'yes',
    storeLagMs: isHard && chance.is(0.2) ? chance.duration(500, 30_000) : 0,
    visitEveryMs: Math.min(minuteMs, Math.max(5_000, receivers.reportEveryMs, watched / 100)),
    orchestrators: isHard ? chance.whole(1, 3) : chance.whole(1, 2),
    peopleMs: chance.duration(minuteMs, 15 * minuteMs),
  };
}

/** From a steady stream, over a message in a rotation or two, to none. */
function trafficOf(watchedMs: number, chance: Chance): number | null {
  if (chance.is(0.04)) return null;
  if (chance.is(0.06)) return watchedMs * (0.5 + 2.5 * chance.fraction());
  return Math.round(watchedMs / chance.duration(100, 1_500));
}

function fleetOf({ receivers }: SecretPolicy, chance: Chance, isHard: boolean): readonly ReceiverSetup[] {
  const { refreshEveryMs, missingAfterMs } = receivers;
  const isCrowd = chance.is(0.01);
  return Object.entries(receivers.pools).flatMap(([pool, { expect, maxAgeMs }]) => {
    const more = isCrowd ? chance.whole(10, 25) : chance.is(0.3) ? chance.whole(1, 2) : 0;
    return Array.from({ length: Math.max(1, expect) + more }, () => {
      // One on an older policy refreshes more seldom, though not so seldom that nobody would know of it.
      const isOlder = isHard && maxAgeMs === null && chance.is(0.1) && 2 * refreshEveryMs < missingAfterMs;
      return {
        pool,
        refreshEveryMs: Math.min(isOlder ? 2 * refreshEveryMs : refreshEveryMs, maxAgeMs ?? Infinity),
        wallOffMs: isHard && chance.is(0.2) ? chance.whole(-60, 60) * minuteMs : 0,
      };
    });
  });
}

/** How often each kind is drawn; those that `usual` leaves out are what hardly anybody sees. */
const weights: readonly (readonly [kind: FaultKind, usual: number, hard: number])[] = [
  ['store-outage', 3, 4],
  ['store-throttled', 2, 1],
  ['store-loses-answers', 1, 2],
  ['store-document-gone', 0, 1],
  ['store-put-back', 0, 0],
  ['usage-outage', 2, 3],
  ['journal-outage', 1, 2],
  ['journal-lost', 0, 1],
  ['upstream-faults', 4, 6],
  ['upstream-edited', 0, 2],
  ['balancer-down', 2, 4],
  ['handler-fails', 2, 3],
  ['receiver-crash', 3, 6],
  ['receiver-restart', 4, 4],
  ['receiver-cut', 2, 6],
  ['receiver-new', 3, 3],
  ['fleet-replaced', 2, 2],
  ['fleet-gone', 0, 1],
  ['crash', 3, 8],
  ['pause', 1, 6],
  ['rival', 0, 2],
  ['hold', 2, 3],
  ['abort', 1, 3],
  ['deny', 0, 1],
  ['compromised', 0, 2],
  ['junk', 2, 3],
  ['replay', 1, 2],
];

function faultsOf(policy: SecretPolicy, setup: Setup, chance: Chance, level: FaultLevel): readonly Fault[] {
  const kinds = weights.flatMap(([kind, usual, hard]) =>
    Array.from({ length: level === 'hard' ? hard : usual }, () => kind),
  );
  const [first = 'receiver-restart', ...others] = kinds;
  const count = level === 'hard' ? chance.whole(2, 10) : chance.whole(0, 3);
  const faults = Array.from({ length: count }, (_, index) => {
    const own = chance.of(String(index));
    const at = setup.askedAt + momentOf(policy, own);
    return { at, ...faultOf(own.pick([first, ...others]), policy, setup, own) };
  });
  return faults.sort((one, other) => one.at - other.at);
}

/** Most of what matters is decided in the first minutes, and much of the rest when the old version is about to go. */
function momentOf(policy: SecretPolicy, chance: Chance): number {
  const watched = Math.max(minuteMs, watchedMs(policy));
  if (chance.is(0.6)) return chance.duration(200, 1.3 * watched);
  return Math.max(0, watched + chance.whole(0, 4 * minuteMs) - chance.duration(1_000, watched / 2));
}

const callFaults: readonly [CallFault, ...CallFault[]] = [
  'refuse',
  'throttle',
  'fail-before',
  'fail-after',
  'lose-answer',
  'hang',
  'unreachable',
  'ignore',
];

/** A signer that goes on as before is soon heard of only where there is traffic enough. */
function callFaultOf({ gates }: SecretPolicy, { trafficEveryMs, signers }: Setup, chance: Chance): CallFault {
  const isHeard = trafficEveryMs !== null && signers > 1 && 60 * trafficEveryMs < gates.quietMs;
  return isHeard && chance.is(0.2) ? 'partial' : chance.pick(callFaults);
}

type Drawn<T> = T extends unknown ? Omit<T, 'at'> : never;

function faultOf(kind: FaultKind, policy: SecretPolicy, setup: Setup, chance: Chance): Drawn<Fault> {
  const longest = Math.max(5 * minuteMs, watchedMs(policy));
  const forMs = chance.duration(1_000, longest);
  const receiver = chance.whole(0, Math.max(0, setup.receivers.length - 1));
  const [process, call] = [chance.whole(0, setup.orchestrators), chance.whole(1, 60)];
  const side = chance.pick<Side>(['before', 'after']);
  switch (kind) {
    case 'store-outage':
      return { kind, forMs, whom: chance.pick(['everybody', 'orchestrators', 'receivers'] as const) };
    case 'store-throttled':
    case 'store-document-gone':
    case 'store-put-back':
    case 'usage-outage':
    case 'journal-outage':
    case 'balancer-down':
    case 'handler-fails':
    case 'fleet-gone':
    case 'hold':
      return { kind, forMs };
    case 'store-loses-answers':
      return { kind, count: chance.whole(1, 3) };
    case 'upstream-faults':
      return { kind, calls: Array.from({ length: chance.whole(1, 3) }, () => callFaultOf(policy, setup, chance)) };
    case 'upstream-edited':
      return { kind, to: chance.pick(['foreign', 'old'] as const), forMs };
    case 'receiver-crash':
    case 'receiver-restart':
      return { kind, receiver, backAfterMs: forMs, cutForMs: chance.is(0.3) ? chance.duration(10_000, longest) : 0 };
    case 'receiver-cut':
      return { kind, receiver, from: chance.pick(['store', 'usage', 'both'] as const), forMs };
    case 'crash':
      return { kind, process, call, side };
    case 'pause':
      return { kind, process, call, side, forMs: chance.duration(1_000, 10 * minuteMs) };
    case 'junk':
      return { kind, forMs, everyMs: chance.duration(50, 20_000) };
    case 'journal-lost':
    case 'receiver-new':
    case 'fleet-replaced':
    case 'rival':
    case 'abort':
    case 'deny':
    case 'compromised':
    case 'replay':
      return { kind };
  }
}
