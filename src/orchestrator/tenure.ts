import { KeyturnError } from '../model/errors.ts';
import type { Holder, Lease, LeaseRecord, Leases } from '../ports/journal.ts';
import type { Clock, Processes } from '../ports/system.ts';

/**
 * How long a lease runs where no outside effect is in flight. A holder that is stopped, or dead where nobody can tell,
 * keeps others waiting this long.
 */
export const idleLeaseMs = 5_000;

/** How much less than asked for is enough where nothing is in flight: a lease that was just acquired is not renewed, ms. */
const slackMs = 1_000;

/** How often somebody who waits for a lease asks again. */
const askEveryMs = 100;

/** A lease as its holder uses it: renewed as work goes on, given back at the end. */
export interface Tenure {
  readonly lease: Lease;
  /** Makes sure that the lease runs for at least `ms` from now. Throws `lease-lost`. */
  extend(ms: number): Promise<void>;
}

/** What it takes to have leases. */
export interface LeaseHolder {
  readonly leases: Leases;
  readonly clock: Clock;
  readonly holder: Holder;
  readonly processes: Processes;
}

/** How long to wait for a lease; a signal ends the wait at once. */
export interface Patience {
  readonly waitMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs `work` under the lease of that name, waiting for it as long as patience lasts. Throws `lease-busy` with the
 * holder's name when it cannot be had.
 */
export async function withTenure<T>(
  deps: LeaseHolder,
  name: string,
  patience: Patience,
  work: (tenure: Tenure) => Promise<T>,
): Promise<T> {
  const { leases } = deps;
  let lease = await acquire(deps, name, patience);
  const tenure: Tenure = {
    get lease() {
      return lease;
    },
    async extend(ms) {
      const isLongEnough = lease.expiresAt - deps.clock.now() >= ms - slackMs;
      if (!isLongEnough || ms > idleLeaseMs) lease = await leases.renew(lease, ms);
    },
  };
  try {
    return await work(tenure);
  } finally {
    await leases.release(lease);
  }
}

async function acquire(deps: LeaseHolder, name: string, { waitMs, signal }: Patience): Promise<Lease> {
  const { clock } = deps;
  const until = clock.monotonic() + waitMs;
  for (;;) {
    const answer = await acquireOrSeize(deps, name);
    if ('lease' in answer) return answer.lease;
    if (clock.monotonic() >= until || signal?.aborted === true) throw busy(answer.busy);
    await clock.sleep(Math.min(askEveryMs, until - clock.monotonic()), { signal });
  }
}

/**
 * A dead holder's lease protects nobody. Its effect in flight is another matter: that one is waited for until the
 * deadline in its intent, whoever has the lease.
 */
async function acquireOrSeize({ leases, holder, processes }: LeaseHolder, name: string): ReturnType<Leases['acquire']> {
  const isDead = ({ process }: LeaseRecord): boolean => process !== null && processes.isDead(process);
  // Whoever asks in vain only reads: a crowd that asks must not keep the holder from writing.
  const present = await leases.read(name);
  if (present?.held === true && !isDead(present)) return { busy: present };
  const answer = await leases.acquire(name, holder, idleLeaseMs);
  return 'busy' in answer && isDead(answer.busy) ? leases.seize(answer.busy, holder, idleLeaseMs) : answer;
}

function busy(record: LeaseRecord): KeyturnError {
  return new KeyturnError('lease-busy', `${record.name} is being moved by ${record.holder} right now.`, {
    hint: 'Try again in a few seconds, or give --lock-timeout more time.',
    details: { holder: record.holder, expiresAt: record.expiresAt },
  });
}
