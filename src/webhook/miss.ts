import type { SecretCache, Snapshot } from '../cache/types.ts';
import type { Clock } from '../ports/system.ts';
import { tryLater, type Refused } from './result.ts';

/** A snapshot younger than this explains a miss: no version can have been added that a sender already uses. */
const freshMs = 1_000;

const mismatchLater = tryLater('signature-mismatch');
const storeUnreachable = tryLater('store-unreachable');
const noAcceptedVersion = tryLater('no-accepted-version');

/** True when nothing that was in the store as the message arrived can be missing from the snapshot. */
export function isFresh(snapshot: Snapshot, arrivedAt: number, now: number): boolean {
  return snapshot.loadBeganAt >= arrivedAt || now - snapshot.loadBeganAt < freshMs;
}

/** Before the first snapshot, or while the keyring has nothing to verify with. */
export function withoutVersion(cache: SecretCache, secret: string): Refused {
  const { state, error } = cache.status(secret);
  return error !== null && state !== 'absent' ? storeUnreachable : noAcceptedVersion;
}

/** A miss that nobody may look into: for good on a fresh snapshot, "try again" on any other. */
export function missWithoutRefetch(snapshot: Snapshot, arrivedAt: number, now: number, forGood: Refused): Refused {
  return isFresh(snapshot, arrivedAt, now) ? forGood : mismatchLater;
}

export interface Miss {
  readonly cache: SecretCache;
  readonly clock: Clock;
  readonly secret: string;
  readonly arrivedAt: number;
  /** The answer when it is certain that no version a sender may use explains the message. */
  readonly forGood: Refused;
}

/**
 * What becomes of a message that no accepted version explained: one refetch, another attempt with what it brought, and
 * `forGood` only where the store was asked late enough or the secret is settled. Everything else may be a version that
 * this process does not know yet, and is answered "try again". `attempt` returns null on a miss.
 */
export async function settleMiss<T>(miss: Miss, attempt: () => T | Refused | null): Promise<T | Refused> {
  const { cache, clock, secret, arrivedAt, forGood } = miss;
  const tried = cache.snapshot(secret);
  if (tried !== null && isFresh(tried, arrivedAt, clock.monotonic())) return forGood;
  const refetch = await cache.refetch(secret);
  const snapshot = cache.snapshot(secret);
  if (snapshot === null) return withoutVersion(cache, secret);
  if (snapshot.accepted !== tried?.accepted) {
    const second = attempt();
    if (second !== null) return second;
  }
  const now = clock.monotonic();
  if (refetch === 'loaded' || isFresh(snapshot, arrivedAt, now)) return forGood;
  if (refetch === 'failed') return storeUnreachable;
  if (snapshot.settled && now - snapshot.loadBeganAt < cache.refreshIntervalMs) return forGood;
  return cache.status(secret).error === null ? mismatchLater : storeUnreachable;
}
