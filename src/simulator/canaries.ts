import type { Canary } from '../ports/canary.ts';
import type { Chance } from './chance.ts';
import type { Verdict } from './checks.ts';
import type { Fleet } from './fleet.ts';
import { unreachable, type Network } from './network.ts';

export interface CanaryParts {
  readonly chance: Chance;
  readonly network: Network;
  readonly fleet: Fleet;
  readonly verdict: Verdict;
}

/** Longer than any way through the world takes, ms. */
const timeoutMs = 5_000;

/** The way of canaries: that of deliveries, to whichever receiver is reached. */
export function createWorldCanary({ chance, network, fleet, verdict }: CanaryParts): Canary {
  return {
    label: 'the world',
    timeoutMs,
    send: async ({ headers, body }) => {
      const receiver = network.isDown('balancer') ? null : fleet.pick(chance);
      if (receiver === null) throw unreachable('canary-unreachable', 'way to the receivers');
      const { id, verifier } = receiver;
      const result = await verifier.verify({ headers, body });
      if (!result.ok) return { status: result.status, reason: result.reason };
      // Counted as a delivery it would prove a switch that never was.
      if (!result.canary) verdict.fail('I2', `${id} took a canary for a delivery.`);
      verifier.outcome(result, 200);
      return { status: 200, reason: null };
    },
    close: () => Promise.resolve(),
  };
}
