import { KeyturnError, isKeyturnError } from '../model/errors.ts';
import { formatDuration } from '../model/duration.ts';
import type { AcceptedVersion } from '../model/keyring.ts';
import { silentLog, type Log } from '../ports/log.ts';
import { realClock, realRandom } from '../ports/real.ts';
import type { KeyringReader, StoreName, StoreRead } from '../ports/secret-store.ts';
import { wakeUp, type Clock, type Random } from '../ports/system.ts';
import { CacheEntry, unreachable } from './entry.ts';
import { RefetchTurns, mayRefetch, slowerPace } from './refetch.ts';
import type { CacheStatus, Refetch, SecretCache, Snapshot } from './types.ts';

export interface SecretCacheOptions {
  readonly store: KeyringReader;
  /** A plain string is a secret whose key in the store is its address. */
  readonly secrets: readonly (string | StoreName)[];
  readonly refreshIntervalMs?: number;
  readonly clock?: Clock;
  readonly random?: Pick<Random, 'fraction'>;
  readonly log?: Log;
}

const defaultRefreshIntervalMs = 60_000;

/** A load that takes longer counts as failed; its answer is still taken when it comes. */
const loadDeadlineMs = 5_000;

const firstRetryMs = 1_000;

/** How many secrets are read at a time, which stores that take many names in one call can fill their calls with. */
const partSize = 100;

/**
 * Loads the keyrings of `secrets` and keeps them fresh in the background; the first load begins at once.
 * Throws `usage` where the options make no sense.
 */
export function createSecretCache(options: SecretCacheOptions): SecretCache {
  return new RefreshingCache(options);
}

/** The load of the regular refresher that runs; a whole one loads every secret. */
interface Flight {
  readonly whole: boolean;
  readonly done: Promise<void>;
}

class RefreshingCache implements SecretCache {
  readonly secrets: readonly string[];
  readonly refreshIntervalMs: number;
  readonly #store: KeyringReader;
  readonly #clock: Clock;
  readonly #random: Pick<Random, 'fraction'>;
  readonly #log: Log;
  readonly #entries: ReadonlyMap<string, CacheEntry>;
  readonly #turns: RefetchTurns;
  readonly #listeners = new Set<(secret: string) => void>();
  /** Every sleep under way, so that closing ends them all. */
  readonly #sleeps = new Set<AbortController>();
  readonly #loop: Promise<void>;
  #flight: Flight | null = null;
  #pause: AbortController | null = null;
  #nextWholeAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: SecretCacheOptions) {
    this.#store = options.store;
    this.#clock = options.clock ?? realClock;
    this.#random = options.random ?? realRandom;
    this.#log = options.log ?? silentLog;
    this.refreshIntervalMs = checkedInterval(options.refreshIntervalMs ?? defaultRefreshIntervalMs);
    this.#entries = new Map(namesOf(options.secrets).map((name) => [name.secret, new CacheEntry(name)]));
    this.secrets = Object.freeze([...this.#entries.keys()]);
    this.#turns = new RefetchTurns(this.#clock);
    this.#loop = this.#keepFresh();
  }

  async ready(): Promise<void> {
    const entries = [...this.#entries.values()];
    if (entries.some((entry) => entry.held === null)) await this.#flight?.done;
    const lacking = entries.find((entry) => entry.held === null);
    if (lacking === undefined) return;
    const { secret } = lacking.name;
    throw (
      lacking.error ?? new KeyturnError('wrong-state', `The secret cache was closed before it had loaded ${secret}.`)
    );
  }

  accepted(secret: string): readonly AcceptedVersion[] {
    return this.#entry(secret).accepted;
  }

  values(secret: string): readonly string[] {
    return this.#entry(secret).values;
  }

  primary(secret: string): AcceptedVersion {
    const { held } = this.#entry(secret);
    if (held === null) {
      throw new KeyturnError('secret-absent', `Nothing of ${secret} has been loaded yet.`, {
        hint: 'Await ready() of the cache before using it; status() says what the last load met.',
      });
    }
    if (held.snapshot.primary === null) {
      throw new KeyturnError('secret-absent', `${secret} has no primary version, so there is nothing to sign with.`, {
        hint: `See \`keyturn status ${secret}\`: its first rotation has not come to its end.`,
      });
    }
    return held.snapshot.primary;
  }

  snapshot(secret: string): Snapshot | null {
    return this.#entry(secret).held?.snapshot ?? null;
  }

  status(secret: string): CacheStatus {
    return this.#entry(secret).status(this.#clock.monotonic(), 2 * this.refreshIntervalMs);
  }

  onChange(listener: (secret: string) => void): () => void {
    // Its own function, so that the same listener may be added twice and each one stopped.
    const own = (secret: string): void => listener(secret);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  async refresh(): Promise<void> {
    while (this.#flight?.whole === false) await this.#flight.done;
    if (this.#closed || this.#entries.size === 0) return;
    await (this.#flight ?? this.#takeOff(true, [...this.#entries.values()])).done;
  }

  async refetch(secret: string): Promise<Refetch> {
    const entry = this.#entry(secret);
    const calledAt = this.#clock.monotonic();
    // A load that began before the call proves nothing for it, but another one beside it would bring nothing sooner.
    if (entry.refetching !== null && entry.refetching.beganAt < calledAt) await entry.refetching.done;
    if (this.#closed) return 'failed';
    const shared = entry.refetching?.done ?? entry.waiting;
    if (shared !== null) return shared;
    if (!mayRefetch(entry.pace, this.#clock.monotonic())) return 'limited';
    entry.waiting = this.#refetchInTurn(entry);
    return entry.waiting;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#turns.close();
    for (const sleep of this.#sleeps) sleep.abort(wakeUp);
    await this.#loop;
  }

  #entry(secret: string): CacheEntry {
    return this.#entries.get(secret) ?? throwUnknown(secret, this.secrets);
  }

  /** The regular refresher: all secrets every interval, and those whose load failed a little sooner, ever more seldom. */
  async #keepFresh(): Promise<void> {
    const entries = [...this.#entries.values()];
    while (!this.#closed && entries.length > 0) {
      const now = this.#clock.monotonic();
      const whole = now >= this.#nextWholeAt;
      const due = whole ? entries : entries.filter((entry) => entry.retryAt <= now);
      if (this.#flight !== null) {
        await this.#flight.done;
      } else if (due.length > 0) {
        await this.#takeOff(whole, due).done;
      } else {
        const wakeAt = entries.reduce((soonest, entry) => Math.min(soonest, entry.retryAt), this.#nextWholeAt);
        this.#pause = new AbortController();
        await this.#sleep(wakeAt - now, this.#pause, true);
      }
    }
  }

  /** Begins the one load of the regular refresher, and plans the next. */
  #takeOff(whole: boolean, entries: readonly CacheEntry[]): Flight {
    const beganAt = this.#clock.monotonic();
    if (whole) this.#nextWholeAt = beganAt + this.#jittered(this.refreshIntervalMs);
    const landed = async (): Promise<void> => {
      // Whoever awaits `ready` is told of a store that hangs, even where nothing else keeps the process alive.
      const background = entries.every((entry) => entry.held !== null || entry.failures > 0);
      await this.#load(entries, Math.max(loadDeadlineMs, this.refreshIntervalMs / 4), background);
      const stretch = this.#jittered(1);
      for (const entry of entries) {
        if (!entry.isGoodSince(beganAt)) this.#planRetry(entry, stretch);
      }
      this.#flight = null;
      this.#pause?.abort(wakeUp);
    };
    const flight: Flight = { whole, done: landed() };
    this.#flight = flight;
    return flight;
  }

  /** Sooner than the next whole load while that helps; an entry that goes on failing waits for the whole load. */
  #planRetry(entry: CacheEntry, stretch: number): void {
    const delayMs = firstRetryMs * 2 ** Math.min(entry.failures, 30) * stretch;
    entry.failures += 1;
    entry.retryAt = delayMs < this.refreshIntervalMs ? this.#clock.monotonic() + delayMs : Number.POSITIVE_INFINITY;
  }

  #jittered(ms: number): number {
    return ms * (0.9 + 0.2 * this.#random.fraction());
  }

  /** Never begins its load within this call, even with a turn to spare, so that all callers of one moment share it. */
  async #refetchInTurn(entry: CacheEntry): Promise<Refetch> {
    const turn = await this.#turns.take(entry.pace.minIntervalMs);
    entry.waiting = null;
    if (this.#closed) return 'failed';
    if (!turn) return 'limited';
    const beganAt = this.#clock.monotonic();
    const done = this.#refetchNow(entry, beganAt);
    entry.refetching = { beganAt, done };
    return done;
  }

  async #refetchNow(entry: CacheEntry, beganAt: number): Promise<Refetch> {
    const newsBefore = entry.news;
    const paceBefore = entry.pace;
    await this.#load([entry], loadDeadlineMs, false);
    if (entry.news === newsBefore) entry.pace = slowerPace(paceBefore, beganAt, this.refreshIntervalMs);
    entry.refetching = null;
    return entry.isGoodSince(beganAt) ? 'loaded' : 'failed';
  }

  /** Resolves when every entry took in its answer, or at the deadline, or when the cache closes; never rejects. */
  async #load(entries: readonly CacheEntry[], deadlineMs: number, background: boolean): Promise<void> {
    const beganAt = this.#clock.monotonic();
    const deadline = new AbortController();
    const lacking = new Set(entries);
    let isOver = false;
    const sleep = this.#sleep(deadlineMs, deadline, background).then(() => void (isOver = true));
    await Promise.race([this.#readAll(lacking, beganAt, () => isOver), sleep]);
    if (lacking.size === 0) {
      deadline.abort(wakeUp);
    } else if (!this.#closed) {
      for (const entry of lacking) {
        const message = `The secret store did not answer for ${entry.name.secret} within ${formatDuration(deadlineMs)}.`;
        this.#update(entry, () => entry.fail(unreachable(entry.name.secret, message), beganAt));
      }
    }
  }

  /**
   * In parts, each of which is taken in before the next is read: taking in a thousand at once would keep the event loop
   * for longer than a message may wait, and all their documents in memory. What was taken in is no longer `lacking`.
   * Those come first that were asked for longest ago, so that a store too slow for all of them starves none.
   */
  async #readAll(lacking: Set<CacheEntry>, beganAt: number, isOver: () => boolean): Promise<void> {
    const entries = [...lacking].toSorted((a, b) => a.askedAt - b.askedAt);
    for (let from = 0; from < entries.length && !isOver(); from += partSize) {
      const part = entries.slice(from, from + partSize);
      for (const entry of part) entry.askedAt = beganAt;
      await this.#read(part, beganAt);
      for (const entry of part) lacking.delete(entry);
    }
  }

  async #read(entries: readonly CacheEntry[], beganAt: number): Promise<void> {
    let found: readonly (StoreRead | undefined)[];
    try {
      const reads = await this.#store.read(entries.map((entry) => entry.name));
      found = entries.map((entry) => reads.get(entry.name.secret));
    } catch (error) {
      for (const entry of entries) this.#update(entry, () => entry.fail(failureOf(entry.name.secret, error), beganAt));
      return;
    }
    for (const [index, entry] of entries.entries()) this.#update(entry, () => entry.take(found[index], beganAt));
  }

  /** Lets an entry change, and tells the log and the listeners what became different. */
  #update(entry: CacheEntry, change: () => void): void {
    if (this.#closed) return;
    const { news, error, drift } = entry;
    change();
    try {
      this.#report(entry, error, drift);
      if (entry.news !== news) this.#announce(entry.name.secret);
    } catch {
      // A log that throws must not end the refresher.
    }
  }

  #announce(secret: string): void {
    for (const listener of this.#listeners) {
      try {
        listener(secret);
      } catch {
        this.#log.error('A listener of the secret cache threw; the cache goes on.', { secret });
      }
    }
  }

  /** One line for what became different, not one for every load: an outage may last. */
  #report(entry: CacheEntry, errorBefore: KeyturnError | null, driftBefore: string | null): void {
    const { secret } = entry.name;
    const { error, drift } = entry;
    if (error !== null && error.code !== errorBefore?.code) {
      const kept = entry.held === null ? 'there is nothing to verify with yet' : 'the last known versions stay in use';
      const { code, message: why, hint } = error;
      this.#log.warn(`${secret} could not be loaded; ${kept}.`, { secret, code, why, hint });
    }
    if (error === null && errorBefore !== null) this.#log.info(`${secret} is loaded again.`, { secret });
    if (drift !== null && drift !== driftBefore) this.#log.warn(`Drift of ${secret}: ${drift}.`, { secret });
  }

  async #sleep(ms: number, controller: AbortController, background: boolean): Promise<void> {
    if (this.#closed) return;
    this.#sleeps.add(controller);
    await this.#clock.sleep(ms, { signal: controller.signal, background });
    this.#sleeps.delete(controller);
  }
}

function throwUnknown(secret: string, secrets: readonly string[]): never {
  throw new KeyturnError('secret-unknown', `This secret cache does not hold ${secret}.`, {
    hint: `It was created for: ${secrets.join(', ') || 'nothing'}. Add it there.`,
  });
}

function failureOf(secret: string, error: unknown): KeyturnError {
  return isKeyturnError(error) ? error : unreachable(secret, `The secret store failed to read ${secret}.`, error);
}

function checkedInterval(ms: number): number {
  if (Number.isFinite(ms) && ms >= 1) return ms;
  throw new KeyturnError(
    'usage',
    `refreshIntervalMs is ${String(ms)}; it must be a number of milliseconds, 1 or more.`,
    {
      hint: `Leave it out for ${formatDuration(defaultRefreshIntervalMs)}.`,
    },
  );
}

function namesOf(secrets: readonly (string | StoreName)[]): readonly StoreName[] {
  const names = new Map<string, StoreName>();
  for (const item of secrets) {
    const name = typeof item === 'string' ? { secret: item, key: item } : { secret: item.secret, key: item.key };
    const other = names.get(name.secret);
    if (name.secret === '' || (other !== undefined && other.key !== name.key)) {
      const problem = other === undefined ? 'is empty' : `${name.secret} is listed with two keys`;
      throw new KeyturnError('usage', `A secret given to createSecretCache ${problem}.`, {
        hint: 'List each secret once, by its address.',
      });
    }
    names.set(name.secret, name);
  }
  return [...names.values()];
}
