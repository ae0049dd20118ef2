import type { SecretPolicy } from '../model/policy.ts';
import type { Journal, Leases } from './journal.ts';
import type { ProbeFinding, SecretStore, StoreUse } from './secret-store.ts';
import type { UsageLog } from './usage-log.ts';

/** A place that a port is kept in, as far as it can be looked at without opening it, and the port where that changes nothing. */
export interface ExaminedPlace<Port> {
  readonly findings: readonly ProbeFinding[];
  readonly port: Port | null;
}

/**
 * All that a policy names, for somebody who wants to know what is wrong with it. Each thing is opened by itself when it is
 * asked for, and throws by itself. Nothing is made or changed.
 */
export interface Examination {
  /** The credentials that cannot be read, or are kept carelessly. */
  credentials(secrets: readonly SecretPolicy[], use: StoreUse): Promise<readonly ProbeFinding[]>;
  /** The store of that name, and what is to be said of its disk. */
  store(name: string): Promise<ExaminedPlace<SecretStore>>;
  journal(): Promise<ExaminedPlace<Journal & Leases>>;
  usage(): Promise<ExaminedPlace<UsageLog>>;
  /** Whether that origin answers; no request is sent. */
  reach(origin: string, signal: AbortSignal): Promise<readonly ProbeFinding[]>;
  /** The name of this machine. */
  readonly host: string;
  close(): Promise<void>;
}
