import { formatTime } from '../model/duration.ts';
import { KeyturnError } from '../model/errors.ts';
import type { Run } from '../model/run.ts';
import type { Holder, Lease, LeaseRecord, ProcessIdentity } from '../ports/journal.ts';

/** What a journal checks before a write, the same for every journal; pure, for use inside the write's transaction. */

/** What a journal keeps of a lease. It is never removed: its token must keep growing. */
export interface StoredLease {
  readonly name: string;
  readonly holder: string;
  readonly process: ProcessIdentity | null;
  readonly token: number;
  readonly acquiredAt: number;
  /** When it was last acquired or renewed. */
  readonly stampedAt: number;
  readonly expiresAt: number;
  readonly released: boolean;
}

/** How far behind a stamp a clock may be that was merely adjusted. */
const adjustmentMs = 1_000;

/**
 * A stamp from the future means that the clock was set back. Then nobody knows how much of the lease is left, and
 * waiting for `expiresAt` could take as long as the clock was wrong; the token keeps the old holder out.
 */
export function isHeld(lease: StoredLease, now: number): boolean {
  return !lease.released && lease.stampedAt <= now + adjustmentMs && now < lease.expiresAt;
}

export function leaseOf(stored: StoredLease): Lease {
  const { name, holder, token, expiresAt } = stored;
  return { name, holder, token, expiresAt };
}

export function leaseRecordOf(stored: StoredLease, now: number): LeaseRecord {
  const { acquiredAt, process } = stored;
  return { ...leaseOf(stored), acquiredAt, process, held: isHeld(stored, now) };
}

/** Who asks for which lease, and for how long. */
export interface WantedLease {
  readonly name: string;
  readonly holder: Holder;
  readonly ttlMs: number;
}

/** What to store for the new holder, or the record of the one who has it. */
export function acquiredLease(
  stored: StoredLease | null,
  { name, holder, ttlMs }: WantedLease,
  now: number,
): { readonly acquired: StoredLease } | { readonly busy: LeaseRecord } {
  if (stored !== null && isHeld(stored, now)) return { busy: leaseRecordOf(stored, now) };
  const acquired: StoredLease = {
    name,
    holder: holder.name,
    process: holder.process,
    token: (stored?.token ?? 0) + 1,
    acquiredAt: now,
    stampedAt: now,
    expiresAt: now + ttlMs,
    released: false,
  };
  return { acquired };
}

/** As `acquiredLease`, where the lease of `dead` counts as given back; a later one, with its higher token, does not. */
export function seizedLease(
  stored: StoredLease | null,
  dead: Lease,
  wanted: WantedLease,
  now: number,
): ReturnType<typeof acquiredLease> {
  const isTheirs = stored?.name === dead.name && stored.token === dead.token;
  return acquiredLease(isTheirs ? { ...stored, released: true } : stored, wanted, now);
}

/** The stored lease if `lease` is still the right to write. Throws `lease-lost`. */
export function heldLease(stored: StoredLease | null, lease: Lease, now: number): StoredLease {
  if (stored !== null && stored.token === lease.token && isHeld(stored, now)) return stored;
  throw new KeyturnError('lease-lost', `The lease on ${lease.name} is lost: ${whyLost(stored, lease, now)}.`, {
    hint: 'Nothing was written under it. Start again: the run goes on from where it is.',
    details: { lease: lease.name, token: lease.token, holder: stored?.holder ?? null },
  });
}

function whyLost(stored: StoredLease | null, lease: Lease, now: number): string {
  if (stored === null) return 'the journal does not know it';
  if (stored.token !== lease.token) return `${stored.holder} took it at ${formatTime(stored.acquiredAt)}`;
  if (stored.released) return 'it was given back';
  if (stored.stampedAt > now + adjustmentMs) return 'the clock was set back since it was renewed';
  return `it ran out at ${formatTime(stored.expiresAt)}`;
}

/** Whether `lease` is the right to write about that secret. Throws `lease-lost`. */
export function checkFence(stored: StoredLease | null, lease: Lease, secret: string, now: number): void {
  if (lease.name === secret) {
    heldLease(stored, lease, now);
    return;
  }
  throw new KeyturnError('lease-lost', `A lease on ${lease.name} is no right to write about ${secret}.`, {
    hint: 'Nothing was written. Take the lease on the secret itself.',
    details: { lease: lease.name, token: lease.token, secret },
  });
}

/** Throws `lease-lost`. */
export function renewedLease(stored: StoredLease | null, lease: Lease, ttlMs: number, now: number): StoredLease {
  return { ...heldLease(stored, lease, now), stampedAt: now, expiresAt: now + ttlMs };
}

/** The lease given back, its history kept; null when it was somebody else's or given back already. */
export function releasedLease(stored: StoredLease | null, lease: Lease, now: number): StoredLease | null {
  if (stored?.token !== lease.token || stored.released) return null;
  return { ...stored, released: true, expiresAt: Math.min(stored.expiresAt, now) };
}

/**
 * Whether `next` may replace the stored run. A run that ended stays as it ended, and a write that does not know of an
 * earlier one is refused like a write without the lease: in both cases somebody else moves the run.
 */
export function checkSave(stored: Pick<Run, 'state' | 'changes'> | null, next: Run): void {
  if (stored?.state !== 'live') throw noLiveRun(next.id, stored);
  if (stored.changes !== next.changes) throw changedMeanwhile(next, stored.changes);
}

/**
 * Throws `lease-lost` unless `superseded` is the live run as it is stored, with all that people said: nobody ends for
 * another what they have not seen, a hold of a moment ago included.
 */
export function checkSupersede(live: Pick<Run, 'id' | 'changes' | 'moves'> | null, superseded: Run): void {
  const isSame = live?.id === superseded.id;
  if (isSame && live.changes === superseded.changes && live.moves.length === superseded.moves.length) return;
  throw changedMeanwhile(superseded, isSame ? live.changes : null);
}

/** The run as it ended when another took its place. */
export function supersededRun(run: Run, now: number): Run {
  return { ...run, state: 'superseded', endedAt: now, changes: run.changes + 1 };
}

/** `stored` counts the changes; null: it is no longer the live run. */
function changedMeanwhile(run: Run, stored: number | null): KeyturnError {
  return new KeyturnError(
    'lease-lost',
    `Run ${run.id} of ${run.secret} was changed by somebody else in the meantime.`,
    {
      hint: 'Nothing was written. Start again: the run goes on from where it is.',
      details: { run: run.id, changes: run.changes, stored },
    },
  );
}

/** An id is used once: throws `wrong-state` where a run has it already. */
export function checkNewRun(stored: Pick<Run, 'state'> | null, next: Run): void {
  if (stored === null) return;
  throw new KeyturnError(
    'wrong-state',
    `Run ${next.id} of ${next.secret} is in the journal already: it is ${stored.state}.`,
    {
      hint: 'Start another run.',
      details: { run: next.id },
    },
  );
}

/** Throws `no-live-run`: a person's word is for a run that can still act on it. */
export function checkMove(stored: Pick<Run, 'state'> | null, run: string): void {
  if (stored?.state !== 'live') throw noLiveRun(run, stored);
}

function noLiveRun(run: string, stored: Pick<Run, 'state'> | null): KeyturnError {
  const why = stored === null ? 'is not in this journal' : `has ended: it is ${stored.state}`;
  return new KeyturnError('no-live-run', `Run ${run} ${why}.`, {
    hint: 'Look at what the secret is doing now with: keyturn status',
    details: { run },
  });
}
