import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type * as cacheModule from '../../src/cache/cache.ts';
import type * as entryModule from '../../src/cache/entry.ts';
import type * as snapshotModule from '../../src/cache/snapshot.ts';
import type * as arrivalModule from '../../src/decide/arrival.ts';
import type * as decideModule from '../../src/decide/decide.ts';
import type * as evidenceModule from '../../src/decide/evidence.ts';
import type * as fenceModule from '../../src/decide/fence.ts';
import type * as gatesModule from '../../src/decide/gates.ts';
import type * as generateModule from '../../src/model/generate.ts';
import type * as keyringModule from '../../src/model/keyring.ts';
import type * as startModule from '../../src/orchestrator/start.ts';
import type * as tenureModule from '../../src/orchestrator/tenure.ts';
import type * as reporterModule from '../../src/usage/reporter.ts';
import type * as canaryModule from '../../src/webhook/canary.ts';
import type * as missModule from '../../src/webhook/miss.ts';
import { runWorld } from '../../src/simulator/world.ts';
import { decided, is, moved, mutant, mutants, only, passing, scheduleFor } from './mutants.ts';

vi.mock('../../src/decide/gates.ts', async (original) => {
  const right = await original<typeof gatesModule>();
  const deployGate: typeof right.deployGate = (...asked) => {
    const checks = right.deployGate(...asked);
    if (is('no load gate')) return passing(checks, 'roster', 'missing', 'holding', 'propagation');
    if (is('load gate that counts only the receivers it has heard of')) return passing(checks, 'roster');
    return is('missing receivers dropped at once') ? passing(checks, 'missing') : checks;
  };
  const monitorGate: typeof right.monitorGate = (run, leg, keyring, seen, now) => {
    const checks = right.monitorGate(run, leg, keyring, seen, now);
    if (is('revoke by time alone')) return only(checks, 'held', 'timeout', 'grace');
    if (is('silence taken as quiet')) return passing(checks, 'roster', 'missing', 'holding', 'coverage');
    if (is('a yes of the upstream taken as proof of the switch')) return passing(checks, 'new-seen', 'retry-tail');
    if (is('revoke inside the retry tail')) return passing(checks, 'retry-tail');
    if (is('retry tail that sees only what reached a verifier')) {
      const uses = seen.usage.state === 'read' ? seen.usage.evidence.receivers.flatMap((each) => each.uses) : [];
      return uses.some(({ notOk }) => notOk > 0) ? checks : passing(checks, 'retry-tail');
    }
    return is('hold ignored at one step') ? passing(checks, 'held') : checks;
  };
  return { ...right, deployGate, monitorGate };
});

vi.mock('../../src/decide/evidence.ts', async (original) => {
  const right = await original<typeof evidenceModule>();
  const coverageOf: typeof right.coverageOf = (roster, evidence, policy) =>
    is('silence taken as quiet')
      ? { from: 0, until: evidence.now, because: null }
      : right.coverageOf(roster, evidence, policy);
  return { ...right, coverageOf };
});

vi.mock('../../src/decide/decide.ts', async (original) => {
  const right = await original<typeof decideModule>();
  const decide: typeof right.decide = (run, seen, now) => decided(run, seen, (given) => right.decide(run, given, now));
  return { ...right, decide };
});

vi.mock('../../src/decide/fence.ts', async (original) => {
  const right = await original<typeof fenceModule>();
  const acquiredLease: typeof right.acquiredLease = (stored, ...asked) =>
    right.acquiredLease(is('no lease') && stored !== null ? { ...stored, released: true } : stored, ...asked);
  const checkFence: typeof right.checkFence = (...asked) => {
    if (!is('no lease') && !is('lease without fencing')) right.checkFence(...asked);
  };
  const renewedLease: typeof right.renewedLease = (stored, lease, ttlMs, now) => {
    const isAsLent = stored !== null && (is('no lease') || is('lease without fencing'));
    const { token } = lease;
    const lent = isAsLent ? { ...stored, token, released: false, stampedAt: now, expiresAt: now + ttlMs } : stored;
    return right.renewedLease(lent, lease, ttlMs, now);
  };
  return { ...right, acquiredLease, checkFence, renewedLease };
});

vi.mock('../../src/decide/arrival.ts', async (original) => {
  const right = await original<typeof arrivalModule>();
  const stamp = (report: object, arrival: number): number =>
    is('evidence stamped by the receiver’s clock') ? ((report as { wall?: number }).wall ?? arrival) : arrival;
  const arrivedReceiver: typeof right.arrivedReceiver = (stored, report, arrival) =>
    right.arrivedReceiver(stored, report, stamp(report, arrival));
  const changedHoldings: typeof right.changedHoldings = (stored, known, report, at) =>
    right.changedHoldings(stored, known, report, stamp(report, at));
  return { ...right, arrivedReceiver, changedHoldings };
});

vi.mock('../../src/model/keyring.ts', async (original) => {
  const right = await original<typeof keyringModule>();
  const nextKeyring: typeof right.nextKeyring = (base, moves, commit) =>
    right.nextKeyring(...moved(base, moves), commit);
  return { ...right, nextKeyring };
});

vi.mock('../../src/model/generate.ts', async (original) => {
  const right = await original<typeof generateModule>();
  const valueFrom: typeof right.valueFrom = (rule, random) =>
    is('a value used twice') ? 'one-value-for-every-version-there-is' : right.valueFrom(rule, random);
  return { ...right, valueFrom };
});

vi.mock('../../src/orchestrator/start.ts', async (original) => {
  const right = await original<typeof startModule>();
  const startRun: typeof right.startRun = (parts, policy, tenure, options) => {
    if (is('--compromised that joins the live run')) {
      return right.startRun(parts, policy, tenure, { ...options, compromised: false });
    }
    if (!is('claim in the journal alone')) return right.startRun(parts, policy, tenure, options);
    const store: typeof parts.store = async (name) => {
      const opened = await parts.store(name);
      const read: typeof opened.read = async (names) =>
        new Map(
          [...(await opened.read(names))].map(([secret, each]) => [
            secret,
            each.state === 'present' ? { ...each, keyring: { ...each.keyring, claim: null } } : each,
          ]),
        );
      return new Proxy(opened, {
        get: (target, key) => (key === 'read' ? read : (Reflect.get(target, key, target) as unknown)),
      });
    };
    return right.startRun({ ...parts, store }, policy, tenure, options);
  };
  return { ...right, startRun };
});

vi.mock('../../src/orchestrator/tenure.ts', async (original) => {
  const right = await original<typeof tenureModule>();
  const withTenure: typeof right.withTenure = (deps, ...asked) => {
    if (!is('no lease')) return right.withTenure(deps, ...asked);
    // Whoever asks sees that nobody has it.
    const { acquire, seize, renew, release } = deps.leases;
    const leases = { acquire, seize, renew, release, read: () => Promise.resolve(null) };
    return right.withTenure({ ...deps, leases }, ...asked);
  };
  return { ...right, withTenure };
});

vi.mock('../../src/cache/snapshot.ts', async (original) => {
  const right = await original<typeof snapshotModule>();
  const mergeKeyring: typeof right.mergeKeyring = (held, keyring, loadBeganAt) => {
    const merged = right.mergeKeyring(held, keyring, loadBeganAt);
    if (is('cache that takes a lower revision') && merged.outcome === 'refused') {
      return right.mergeKeyring(null, keyring, loadBeganAt);
    }
    if (!is('cache that only appends') || held === null || merged.outcome !== 'replaced') return merged;
    const { snapshot } = merged.held;
    const gone = held.snapshot.accepted.filter(({ id }) => !snapshot.accepted.some((each) => each.id === id));
    const accepted = [...snapshot.accepted, ...gone];
    return { ...merged, held: { ...merged.held, snapshot: { ...snapshot, accepted } } };
  };
  return { ...right, mergeKeyring };
});

vi.mock('../../src/cache/entry.ts', async (original) => {
  const right = await original<typeof entryModule>();
  class CacheEntry extends right.CacheEntry {
    override fail(...failure: Parameters<InstanceType<typeof right.CacheEntry>['fail']>): void {
      super.fail(...failure);
      if (!is('last known good dropped on an error')) return;
      this.held = null;
      this.accepted = [];
    }
  }
  return { ...right, CacheEntry };
});

vi.mock('../../src/cache/cache.ts', async (original) => {
  const right = await original<typeof cacheModule>();
  const createSecretCache: typeof right.createSecretCache = (options) => {
    if (!is('refetch starved by junk')) return right.createSecretCache(options);
    // Misses and refreshes share one budget of few loads.
    let loads = 0;
    const cache = right.createSecretCache({
      ...options,
      store: {
        read: (names) => {
          loads += 1;
          return loads > 40 ? new Promise(() => {}) : options.store.read(names);
        },
      },
    });
    return cache;
  };
  return { ...right, createSecretCache };
});

vi.mock('../../src/webhook/canary.ts', async (original) => {
  const right = await original<typeof canaryModule>();
  const isCanary: typeof right.isCanary = (body) =>
    !is('a canary taken as proof of the switch') && right.isCanary(body);
  return { ...right, isCanary };
});

vi.mock('../../src/webhook/miss.ts', async (original) => {
  const right = await original<typeof missModule>();
  const settleMiss: typeof right.settleMiss = async (miss, attempt) => {
    const settled = await right.settleMiss(miss, attempt);
    const isLater = typeof settled === 'object' && settled !== null && 'status' in settled && settled.status === 503;
    return is('401 from an old snapshot') && isLater ? miss.forGood : settled;
  };
  return { ...right, settleMiss };
});

vi.mock('../../src/usage/reporter.ts', async (original) => {
  const right = await original<typeof reporterModule>();
  const createUsageReporter: typeof right.createUsageReporter = (options) => {
    const { cache, clock, log } = options;
    const stamped: typeof log = {
      report: (report) => log.report(Object.assign(report, { wall: clock?.now() })),
      close: () => log.close(),
    };
    const reporter = right.createUsageReporter({ ...options, log: stamped });
    const matched: typeof reporter.matched = (secret, version, exclusive) => {
      reporter.matched(secret, version, exclusive);
      if (!is('every match taken as use of the old version too')) return;
      const accepted = cache.snapshot(secret)?.accepted ?? [];
      const older = accepted.slice(accepted.findIndex(({ id }) => id === version) + 1);
      for (const { id } of older) reporter.matched(secret, id, true);
    };
    return {
      matched,
      answered: reporter.answered.bind(reporter),
      flush: () => reporter.flush(),
      close: () => reporter.close(),
    };
  };
  return { ...right, createUsageReporter };
});

/** As many seeds as each mutant has to be caught within. */
const seeds = 200;

const table: string[] = [];

afterEach(() => {
  mutant.active = null;
});

afterAll(() => {
  console.log(['mutant | caught by | seed | what happened', ...table].join('\n'));
});

describe('the simulator', () => {
  it.each(mutants)(
    'catches: $name',
    async (wrong) => {
      const { name, policy, caughtBy, lastSeed } = wrong;
      mutant.active = name;
      for (const seed of [lastSeed, ...Array.from({ length: seeds }, (_, index) => index + 1)]) {
        const { violation } = await runWorld(policy, scheduleFor(wrong, seed));
        if (violation === null) continue;
        table.push(`${name} | ${violation.invariant} | ${String(seed)} | ${violation.message.slice(0, 150)}`);
        expect(caughtBy).toContain(violation.invariant);
        return;
      }
      throw new Error(`${name} survived ${String(seeds)} seeds`);
    },
    300_000,
  );

  it('has nothing against the code as it is, on the same seeds', async () => {
    for (const each of mutants) {
      for (const seed of [1, 2, each.lastSeed]) {
        const { violation } = await runWorld(each.policy, scheduleFor(each, seed));
        expect([each.name, seed, violation]).toEqual([each.name, seed, null]);
      }
    }
  }, 300_000);
});
