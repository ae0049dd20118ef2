import type { Policy, SecretPolicy } from '../model/policy.ts';
import type { Canary } from '../ports/canary.ts';
import type { Holder, Journal, Leases } from '../ports/journal.ts';
import type { Log } from '../ports/log.ts';
import type { SecretStore } from '../ports/secret-store.ts';
import type { Clock, Processes, Random } from '../ports/system.ts';
import type { Upstream } from '../ports/upstream.ts';
import type { UsageLog } from '../ports/usage-log.ts';

/** What an orchestrator is made of; `providers/open.ts` opens the real ones. */
export interface Parts {
  readonly policy: Policy;
  readonly journal: Journal;
  readonly leases: Leases;
  readonly usage: UsageLog;
  /** The store of that name in the policy; opened once, at first use. */
  readonly store: (name: string) => Promise<SecretStore>;
  /** The upstream as that policy, frozen in a run, describes it. */
  readonly upstream: (policy: SecretPolicy) => Promise<Upstream>;
  /** The way to the receivers as that policy, frozen in a run, describes it; asked for only where it has a canary. */
  readonly canary: (policy: SecretPolicy) => Promise<Canary>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Who is at work, for the audit trail: `user@host`. */
  readonly who: string;
  /** Which process is at work, for leases. */
  readonly holder: Holder;
  /** Tells whether the holder of a lease is dead. */
  readonly processes: Processes;
}
