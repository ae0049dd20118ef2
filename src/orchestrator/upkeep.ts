import { isKeyturnError } from '../model/errors.ts';
import { errorFields } from '../ports/log.ts';
import type { Parts } from './parts.ts';

/** What every visit of the scheduler does beside moving secrets. None of it may keep a rotation from going on. */

/** Under these lease names the moments of the scheduler's last visit and of the last upkeep are kept. */
const schedulerLease = 'keyturn run';
const upkeepLease = 'keyturn upkeep';

/** The scheduler's last visit is known to within this, ms. */
const noteEveryMs = 5_000;

const upkeepEveryMs = 60 * 60_000;

/** How long a receiver that signed off or was forgotten is kept by itself, ms. */
const keepDepartedMs = 30 * 24 * 60 * 60_000;

/** Epoch ms of the scheduler's last visit; null when it was never here. */
export async function schedulerSeenAt(parts: Pick<Parts, 'leases'>): Promise<number | null> {
  return (await parts.leases.read(schedulerLease))?.acquiredAt ?? null;
}

/** One write of many processes that come at once is enough; where they keep it from being written, the visit is made all the same. */
export async function noteScheduler(parts: Parts): Promise<void> {
  if (await isRecent(parts, schedulerLease, noteEveryMs)) return;
  try {
    await note(parts, schedulerLease);
  } catch (error) {
    if (!isKeyturnError(error, 'journal-busy')) throw error;
    parts.log.warn('visit not noted', errorFields(error));
  }
}

/** A moment ahead of the clock is one of before it was set back. */
async function isRecent({ leases, clock }: Parts, name: string, withinMs: number): Promise<boolean> {
  const last = (await leases.read(name))?.acquiredAt ?? -Infinity;
  const now = clock.now();
  return last <= now && now - last < withinMs;
}

/** Nobody gives it back: it runs out at once. */
async function note({ leases, holder }: Parts, name: string): Promise<void> {
  await leases.acquire(name, holder, 1);
}

/** Once an hour, whoever comes by: removes what nobody can need any more from journal and usage log. */
export async function keepUp(parts: Parts): Promise<void> {
  const { usage, journal, clock, log, policy } = parts;
  if (await isRecent(parts, upkeepLease, upkeepEveryMs)) return;
  const now = clock.now();
  await note(parts, upkeepLease);
  try {
    await usage.prune(now - keepDepartedOf(parts));
    await journal.prune(policy.retain.runs);
    await journal.sightings.prune(now - upkeepEveryMs);
  } catch (error) {
    log.warn('upkeep failed', errorFields(error));
  }
}

/** Departed receivers are of no use once every quiet span and every retry that they could matter to is long over. */
function keepDepartedOf({ policy }: Parts): number {
  const longest = policy.secrets.map(
    ({ gates, upstream }) => gates.quietMs + gates.graceMs + upstream.capabilities.retryHorizonMs,
  );
  return Math.max(keepDepartedMs, 2 * longest.reduce((one, other) => Math.max(one, other), 0));
}
