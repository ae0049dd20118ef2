import { hostname } from 'node:os';
import { pid } from 'node:process';
import type { SecretCache } from '../cache/types.ts';
import { formatDuration } from '../model/duration.ts';
import { KeyturnError, isKeyturnError, messageOf } from '../model/errors.ts';
import { idBytes, idFrom } from '../model/id.ts';
import { silentLog, type Log } from '../ports/log.ts';
import { realClock, realRandom } from '../ports/real.ts';
import { wakeUp, type Clock, type Random } from '../ports/system.ts';
import type { ReceiverIdentity, SecretReport, UsageReport, UsageReportLog } from '../ports/usage-log.ts';
import type { UsageReporter } from './types.ts';
import { SecretCounts, type UseCounts } from './uses.ts';

export interface UsageReporterOptions {
  readonly log: UsageReportLog;
  readonly cache: Pick<SecretCache, 'secrets' | 'snapshot' | 'onChange'>;
  /** What people call this process; by default host, process id and a few random letters. */
  readonly receiverId?: string;
  readonly pool?: string;
  readonly reportIntervalMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Told when reports stop to arrive, and when they do again. */
  readonly diagnostics?: Log;
}

const defaultReportIntervalMs = 10_000;

/** A busy log is tried again within the same flush, this often beside the first try. */
const busyRetries = 4;
const busyPauseMs = { shortest: 50, longest: 200 };

/** How long closing may take to bring the last report to a busy log. */
const closeWithinMs = 2_000;

/** Counts from now on, reports in the background. Throws `usage` where the options make no sense. */
export function createUsageReporter(options: UsageReporterOptions): UsageReporter {
  const { reportIntervalMs = defaultReportIntervalMs } = options;
  if (!Number.isFinite(reportIntervalMs) || reportIntervalMs < 1) {
    const message = `reportIntervalMs is ${String(reportIntervalMs)}; it must be a number of milliseconds, 1 or more.`;
    throw new KeyturnError('usage', message, { hint: `Leave it out for ${formatDuration(defaultReportIntervalMs)}.` });
  }
  if (options.receiverId === '' || options.pool === '') {
    throw new KeyturnError('usage', 'The receiverId or the pool of a usage reporter is empty.', {
      hint: 'Name it as the roster shall call it, or leave it out.',
    });
  }
  return new IntervalReporter(options);
}

class IntervalReporter implements UsageReporter {
  readonly #identity: ReceiverIdentity;
  readonly #log: UsageReportLog;
  readonly #cache: UsageReporterOptions['cache'];
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #startedAt: number;
  readonly #counts = new Map<string, SecretCounts>();
  readonly #closing = new AbortController();
  readonly #stopListening: () => void;
  /** The report that is being written; there is never a second beside it. */
  #flight: Promise<boolean> | null = null;
  /** The one after it, which all who ask meanwhile share. */
  #next: Promise<boolean> | null = null;
  #closed: Promise<void> | null = null;
  readonly #diagnostics: Log;
  /** Why the last report did not arrive; null when it did. */
  #lost: string | null = null;
  /** The counters of the last delivery: most deliveries in a row match one version of one secret. */
  #lastSecret = '';
  #lastUse: UseCounts | null = null;

  constructor(options: UsageReporterOptions) {
    const { log, cache, clock = realClock, random = realRandom, pool = 'default' } = options;
    this.#log = log;
    this.#cache = cache;
    this.#clock = clock;
    this.#random = random;
    this.#diagnostics = options.diagnostics ?? silentLog;
    this.#startedAt = clock.monotonic();
    const instance = idFrom('receiver', random.bytes(idBytes));
    const id = options.receiverId ?? `${hostname()}-${String(pid)}-${instance.slice(-4)}`;
    this.#identity = { id, instance, pool };
    this.#stopListening = cache.onChange(() => void this.flush());
    if (cache.secrets.some((secret) => cache.snapshot(secret) !== null)) void this.flush();
    void this.#reportRegularly(options.reportIntervalMs ?? defaultReportIntervalMs);
  }

  matched(secret: string, version: string, exclusive: boolean): void {
    const use = this.#use(secret, version);
    use.matched += 1;
    if (exclusive) use.exclusive += 1;
  }

  answered(secret: string, version: string, ok: boolean): void {
    if (!ok) this.#use(secret, version).notOk += 1;
  }

  flush(): Promise<boolean> {
    if (this.#closing.signal.aborted) return Promise.resolve(false);
    this.#next ??= this.#afterFlight(() => this.#tryReport());
    return this.#next;
  }

  close(): Promise<void> {
    this.#closed ??= this.#signOff();
    return this.#closed;
  }

  #use(secret: string, version: string): UseCounts {
    const last = this.#lastUse;
    if (last !== null && last.version === version && this.#lastSecret === secret) return last;
    return this.#otherUse(secret, version);
  }

  #otherUse(secret: string, version: string): UseCounts {
    let counts = this.#counts.get(secret);
    if (counts === undefined) {
      counts = new SecretCounts();
      this.#counts.set(secret, counts);
    }
    this.#lastUse = counts.of(version);
    this.#lastSecret = secret;
    return this.#lastUse;
  }

  async #reportRegularly(intervalMs: number): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#clock.sleep(intervalMs, { signal, background: true });
      await this.flush();
    }
  }

  async #afterFlight(report: () => Promise<boolean>): Promise<boolean> {
    await this.#flight;
    this.#next = null;
    this.#flight = report();
    const arrived = await this.#flight;
    this.#flight = null;
    return arrived;
  }

  /** A busy log frees itself within moments, so that its lock is tried again; anything else waits for the next flush. */
  async #tryReport(): Promise<boolean> {
    for (let retries = 0; ; retries += 1) {
      const outcome = await this.#reportOnce(false);
      if (outcome !== 'busy') return outcome === 'arrived';
      if (retries === busyRetries || this.#closing.signal.aborted) return false;
      await this.#clock.sleep(this.#busyPause(), { signal: this.#closing.signal, background: true });
    }
  }

  async #signOff(): Promise<void> {
    this.#stopListening();
    this.#closing.abort(wakeUp);
    const enough = new AbortController();
    const untilEnough = this.#clock.sleep(closeWithinMs, { signal: enough.signal });
    await Promise.race([untilEnough, this.#lastReport(enough.signal)]);
    enough.abort(wakeUp);
    try {
      await this.#log.close();
    } catch {
      // The process is on its way out, and all that could still be reported has been.
    }
  }

  async #lastReport(enough: AbortSignal): Promise<void> {
    await this.#next;
    await this.#flight;
    while (!enough.aborted && (await this.#reportOnce(true)) === 'busy') {
      await this.#clock.sleep(this.#busyPause(), { signal: enough });
    }
  }

  #busyPause(): number {
    const { shortest, longest } = busyPauseMs;
    return shortest + (longest - shortest) * this.#random.fraction();
  }

  async #reportOnce(signsOff: boolean): Promise<'arrived' | 'busy' | 'failed'> {
    try {
      const report = this.#makeReport(signsOff);
      await this.#log.report(report);
      for (const { secret, holds, uses } of report.secrets) this.#counts.get(secret)?.forgetOldest(holds, uses);
      this.#lastUse = null;
      this.#tellArrived();
      return 'arrived';
    } catch (error) {
      if (isKeyturnError(error, 'usage-busy')) return 'busy';
      this.#tellLost(error);
      return 'failed';
    }
  }

  /** Once for each reason, not for each report: a rotation waits for this receiver, and somebody will look here why. */
  #tellLost(error: unknown): void {
    const code = isKeyturnError(error) ? error.code : 'unexpected';
    if (this.#lost === code) return;
    this.#lost = code;
    this.#diagnostics.warn('The reports of this receiver do not arrive, so rotations wait for it.', {
      receiver: this.#identity.id,
      code,
      why: messageOf(error),
      hint: isKeyturnError(error) ? error.hint : null,
    });
  }

  #tellArrived(): void {
    if (this.#lost !== null)
      this.#diagnostics.info('The reports of this receiver arrive again.', { receiver: this.#identity.id });
    this.#lost = null;
  }

  #makeReport(signsOff: boolean): UsageReport {
    const now = this.#clock.monotonic();
    const known = new Set(this.#cache.secrets);
    const strangers = [...this.#counts.keys()].filter((secret) => !known.has(secret));
    const secrets = [
      ...this.#cache.secrets.flatMap((secret) => this.#secretReport(secret, now)),
      ...strangers.map((secret) => this.#strangerReport(secret, now)),
    ];
    return { ...this.#identity, uptimeMs: Math.max(0, now - this.#startedAt), signsOff, secrets };
  }

  #secretReport(secret: string, now: number): readonly SecretReport[] {
    const snapshot = this.#cache.snapshot(secret);
    if (snapshot === null) return [];
    return [
      {
        secret,
        revision: snapshot.revision,
        holds: snapshot.accepted.map((version) => version.id),
        primary: snapshot.primary?.id ?? null,
        uses: this.#counts.get(secret)?.toReport(now) ?? [],
      },
    ];
  }

  /** A secret that was counted and that the cache does not have: its uses are evidence all the same. */
  #strangerReport(secret: string, now: number): SecretReport {
    return { secret, revision: 0, holds: [], primary: null, uses: this.#counts.get(secret)?.toReport(now) ?? [] };
  }
}
