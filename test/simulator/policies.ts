import type { Capabilities, SecretPolicy } from '../../src/model/policy.ts';
import { policyOf } from '../conformance/run-samples.ts';

/** Policies whose rotations last minutes, so that a world of theirs is a few thousand events. */

function policy(name: string, able: Partial<Capabilities>, over: Partial<SecretPolicy> = {}): SecretPolicy {
  const sample = policyOf(name);
  const { upstream } = sample;
  return {
    ...sample,
    receivers: {
      pools: { web: { expect: 2, reporting: 'required', ephemeral: false, maxAgeMs: null } },
      reportEveryMs: 10_000,
      missingAfterMs: 300_000,
      refreshEveryMs: 60_000,
    },
    gates: { graceMs: 300_000, quietMs: 180_000, timeoutMs: 86_400_000, retryTail: 'respect' },
    upstream: { ...upstream, capabilities: { ...upstream.capabilities, switchLagMs: 30_000, ...able } },
    ...over,
  };
}

/** An upstream that sends again what failed, as it was signed first, for ten minutes. */
export const retrying = policy('retrying', { redelivers: true, retriesResigned: 'no', retryHorizonMs: 600_000 });

/** One that sends nothing twice. */
export const once = policy('once', { redelivers: false, retriesResigned: 'no', retryHorizonMs: 0 });

/** The same, and it must not be told twice. */
export const stubborn = policy('stubborn', {
  ...{ redelivers: false, retriesResigned: 'no', retryHorizonMs: 0, idempotent: false },
});

/** One that signs its retries anew. */
export const resigning = policy('resigning', { redelivers: true, retriesResigned: 'yes', retryHorizonMs: 600_000 });

/** One that must not be told twice, whose rotations two people have to approve, after canaries. */
export const careful = policy(
  'careful',
  { redelivers: true, retriesResigned: 'unknown', retryHorizonMs: 600_000, idempotent: false },
  { approvals: 2, canary: { url: 'http://127.0.0.1/hook', count: 3 } },
);

/** Receivers in two pools, one of which nobody counts. */
export const pools = policy(
  'pools',
  { redelivers: true, retriesResigned: 'yes' },
  {
    receivers: {
      ...retrying.receivers,
      pools: {
        web: { expect: 1, reporting: 'required', ephemeral: false, maxAgeMs: null },
        silent: { expect: 0, reporting: 'none', ephemeral: false, maxAgeMs: null },
        lambda: { expect: 0, reporting: 'required', ephemeral: true, maxAgeMs: 300_000 },
      },
    },
  },
);

export const everyPolicy: readonly SecretPolicy[] = [retrying, once, resigning, careful, pools];
