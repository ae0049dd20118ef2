import { primaryOf, type Keyring } from '../model/keyring.ts';
import type { Run } from '../model/run.ts';
import type { SecretPolicy } from '../model/policy.ts';
import { blackoutAt } from './window.ts';

export interface Due {
  /** Epoch ms of the next scheduled rotation; null when none is scheduled. */
  readonly at: number | null;
  readonly overdue: boolean;
}

/** An aborted rotation is not started again by schedule before this, or `rotateEvery` where that is shorter. */
const afterAbortMs = 24 * 60 * 60_000;

/**
 * A secret is due `rotateEvery` after its primary was made. One without a primary is never due: its first rotation is a
 * person's choice. Where the last run was aborted, the schedule gives whoever aborted it a day. In a blackout nothing is
 * due: what would be, is at its end.
 */
export function dueOf(policy: SecretPolicy, keyring: Keyring | null, lastRun: Run | null, now: number): Due {
  const primary = keyring === null ? null : primaryOf(keyring);
  return primary === null ? { at: null, overdue: false } : dueFrom(policy, Date.parse(primary.createdAt), lastRun, now);
}

/** As `dueOf`, for a secret whose primary was made at that moment, epoch ms. */
export function dueFrom(policy: SecretPolicy, createdAt: number, lastRun: Run | null, now: number): Due {
  const { rotateEveryMs } = policy;
  if (rotateEveryMs === null) return { at: null, overdue: false };
  const abortedAt = lastRun?.state === 'aborted' ? lastRun.endedAt : null;
  const pausedUntil = abortedAt === null ? 0 : abortedAt + Math.min(afterAbortMs, rotateEveryMs);
  const at = Math.max(createdAt + rotateEveryMs, pausedUntil);
  const blackout = blackoutAt(policy.blackouts, Math.max(at, now));
  return blackout === null ? { at, overdue: now >= at } : { at: blackout.until, overdue: false };
}
