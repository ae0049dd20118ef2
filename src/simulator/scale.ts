import type { SecretPolicy } from '../model/policy.ts';

/**
 * A rotation that waits for days is days of reports that all say the same. The long durations of a policy are therefore
 * shortened by one factor, so that a rotation fits forty minutes; what is compared with refreshes and reports keeps to them,
 * and a policy in which something is too short stays one in which it is too short.
 */

const longestMs = 40 * 60_000;

export interface Scaled {
  readonly policy: SecretPolicy;
  /** By how much long durations were shortened; 1 where nothing was. */
  readonly factor: number;
}

/** How long a rotation waits after the switch if all goes well. */
export function watchedMs({ gates, upstream }: SecretPolicy): number {
  const { retriesResigned, retryHorizonMs, switchLagMs } = upstream.capabilities;
  const tailMs = retriesResigned === 'yes' || gates.retryTail === 'ignore' ? 0 : retryHorizonMs + switchLagMs;
  return Math.max(gates.graceMs, gates.quietMs, tailMs);
}

export function scaled(policy: SecretPolicy): Scaled {
  const factor = Math.min(1, longestMs / watchedMs(policy));
  if (factor === 1) return { policy, factor };
  const { gates, receivers, upstream } = policy;
  const { capabilities } = upstream;
  const shortened = (ms: number, leastMs: number): number => Math.round(Math.max(Math.min(ms, leastMs), ms * factor));
  const { refreshEveryMs, reportEveryMs } = receivers;
  return {
    factor,
    policy: {
      ...policy,
      gates: {
        ...gates,
        graceMs: shortened(gates.graceMs, 3 * refreshEveryMs),
        quietMs: shortened(gates.quietMs, Math.max(2 * refreshEveryMs, 6 * reportEveryMs)),
        timeoutMs: shortened(gates.timeoutMs, 10 * receivers.missingAfterMs),
      },
      upstream: {
        ...upstream,
        capabilities: {
          ...capabilities,
          retryHorizonMs: shortened(capabilities.retryHorizonMs, 3 * refreshEveryMs),
          switchLagMs: shortened(capabilities.switchLagMs, 2 * refreshEveryMs),
        },
      },
    },
  };
}
