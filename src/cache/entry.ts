import { KeyturnError } from '../model/errors.ts';
import type { AcceptedVersion } from '../model/keyring.ts';
import type { StoreName, StoreRead } from '../ports/secret-store.ts';
import { freePace, type Pace } from './refetch.ts';
import { mergeKeyring, usableKeyring, type Held } from './snapshot.ts';
import type { CacheStatus, Refetch } from './types.ts';

const none: readonly never[] = Object.freeze([]);

const never = Number.NEGATIVE_INFINITY;

/** A refetch that runs, and when its load began. */
export interface RunningRefetch {
  readonly beganAt: number;
  readonly done: Promise<Refetch>;
}

/** One secret in the cache: what is held, how the last loads went, and when it may be loaded again. */
export class CacheEntry {
  readonly name: StoreName;
  /** Beside `held` so that the hot path is one property read. */
  accepted: readonly AcceptedVersion[] = none;
  values: readonly string[] = none;
  held: Held | null = null;
  error: KeyturnError | null = null;
  drift: string | null = null;
  /** How often the versions or the claim were replaced: tells whether a refetch brought anything new. */
  news = 0;
  /** When the regular refresher tries this secret again out of turn, monotonic. */
  retryAt = Number.POSITIVE_INFINITY;
  failures = 0;
  /** When the newest load began that came to ask for it, monotonic. */
  askedAt = Number.MIN_SAFE_INTEGER;
  pace: Pace = freePace;
  refetching: RunningRefetch | null = null;
  /** A refetch that waits for its turn: its load has not begun. */
  waiting: Promise<Refetch> | null = null;
  /** When the newest load began that the store answered, and the newest of those that agreed with what is held. */
  #answeredBeganAt = never;
  #goodBeganAt = never;
  /** The newest answer disagreed. */
  #contradicted = false;

  constructor(name: StoreName) {
    this.name = name;
  }

  /** A load that began at `beganAt` or later succeeded, and none has failed after it. */
  isGoodSince(beganAt: number): boolean {
    return this.#goodBeganAt >= beganAt && this.error === null && !this.#contradicted;
  }

  /** Takes in what a load that began at `beganAt` says; a load that was overtaken by a later one says nothing. */
  take(read: StoreRead | undefined, beganAt: number): void {
    const { secret, key } = this.name;
    if (read?.state === 'present') {
      this.#takeKeyring(read, beganAt);
    } else if (beganAt < this.#answeredBeganAt) {
      return;
    } else if (read === undefined) {
      this.fail(unreachable(secret, `The secret store's answer leaves out ${secret}.`), beganAt);
    } else if (read.state === 'failed') {
      this.fail(read.error, beganAt);
    } else if (this.held === null) {
      this.fail(absent(secret, key), beganAt);
    } else {
      this.#contradict('the store has no keyring any more; what was held last is still in use', beganAt);
    }
  }

  /** Notes that a load failed; what is held stays. */
  fail(error: KeyturnError, beganAt: number): void {
    if (beganAt < this.#answeredBeganAt) return;
    this.error = error;
  }

  status(now: number, staleAfterMs: number): CacheStatus {
    const snapshot = this.held?.snapshot ?? null;
    const ageMs = snapshot === null ? null : Math.max(0, now - snapshot.loadBeganAt);
    return {
      secret: this.name.secret,
      state: this.#state(ageMs, staleAfterMs),
      revision: snapshot?.revision ?? null,
      holds: this.accepted.map((version) => version.id),
      ageMs,
      error: this.error,
      drift: this.drift,
    };
  }

  #state(ageMs: number | null, staleAfterMs: number): CacheStatus['state'] {
    if (ageMs === null) return this.error?.code === 'store-absent' ? 'absent' : 'unknown';
    return this.error === null && !this.#contradicted && ageMs <= staleAfterMs ? 'fresh' : 'stale';
  }

  #takeKeyring(read: StoreRead & { state: 'present' }, beganAt: number): void {
    const keyring = usableKeyring(this.name.secret, read.keyring);
    if (keyring instanceof KeyturnError) {
      this.fail(keyring, beganAt);
      return;
    }
    const merge = mergeKeyring(this.held, keyring, beganAt);
    if (merge.outcome === 'overtaken') return;
    if (merge.outcome === 'refused') {
      this.#contradict(merge.drift, beganAt);
      return;
    }
    this.held = merge.held;
    this.accepted = merge.held.snapshot.accepted;
    this.values = merge.held.values;
    this.error = null;
    this.drift = merge.drift;
    this.#answeredBeganAt = Math.max(this.#answeredBeganAt, beganAt);
    this.#goodBeganAt = Math.max(this.#goodBeganAt, beganAt);
    this.#contradicted = false;
    this.failures = 0;
    this.retryAt = Number.POSITIVE_INFINITY;
    if (merge.outcome === 'replaced') {
      this.news += 1;
      this.pace = freePace;
    }
  }

  #contradict(drift: string, beganAt: number): void {
    this.error = null;
    this.drift = drift;
    this.#contradicted = true;
    this.#answeredBeganAt = beganAt;
  }
}

export function unreachable(secret: string, message: string, cause?: unknown): KeyturnError {
  return new KeyturnError('store-unreachable', message, {
    hint: 'Check that this process reaches the secret store; the cache tries again by itself.',
    details: { secret },
    cause,
  });
}

function absent(secret: string, key: string): KeyturnError {
  const place = key === secret ? '' : ` under the key ${key}`;
  return new KeyturnError('store-absent', `The secret store has no keyring of ${secret}${place}.`, {
    hint: `Run \`keyturn adopt ${secret}\` to take over the value in use, or \`keyturn rotate ${secret}\` to make the first one.`,
    details: { secret, key },
  });
}
