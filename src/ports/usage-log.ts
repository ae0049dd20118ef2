import type { ProbeFinding } from './secret-store.ts';

/** One process of the fleet. A restart is another instance, even where the id stays. */
export interface ReceiverIdentity {
  /** What people call it. */
  readonly id: string;
  /** Unique to this life of the process. */
  readonly instance: string;
  readonly pool: string;
}

/** What one receiver saw of one version since it started. Counts only grow, so a report may come twice or get lost. */
export interface VersionUse {
  readonly version: string;
  /** Deliveries that matched this version. */
  readonly matched: number;
  /** Of these, the ones that no newer version explained. */
  readonly exclusive: number;
  /** Of the matched, the ones answered other than 2xx, or never; an answer still on its way is neither. For people. */
  readonly notOk: number;
  /** Ages in ms by the receiver's monotonic clock at the time of the report; null: never. Rounded towards "just now". */
  readonly firstMatchedAgeMs: number | null;
  readonly lastMatchedAgeMs: number | null;
  readonly lastExclusiveAgeMs: number | null;
}

export interface SecretReport {
  readonly secret: string;
  /** The keyring revision in use. */
  readonly revision: number;
  /** Ids of the accepted versions it holds. */
  readonly holds: readonly string[];
  readonly primary: string | null;
  readonly uses: readonly VersionUse[];
}

export interface UsageReport extends ReceiverIdentity {
  /** How long this instance has counted without a gap, ms by its monotonic clock. */
  readonly uptimeMs: number;
  /** True in the last report of a process that stops in order. */
  readonly signsOff: boolean;
  readonly secrets: readonly SecretReport[];
}

/** `VersionUse` with ages turned into moments of the usage log's clock (epoch ms). */
export interface VersionUseEvidence {
  readonly version: string;
  readonly matched: number;
  readonly exclusive: number;
  readonly notOk: number;
  readonly firstMatchedAt: number | null;
  readonly lastMatchedAt: number | null;
  readonly lastExclusiveAt: number | null;
  /**
   * The exclusive ones of the last minutes in which there were any: ten at most, oldest first. They may be of long ago,
   * because nothing is written for a receiver that sees nothing: see `recentExclusive`.
   */
  readonly recent: readonly RecentUse[];
}

/** How many deliveries matched one version, and no newer one, within one minute. */
export interface RecentUse {
  /** Epoch minute of the usage log's clock: epoch ms / 60,000, rounded down. */
  readonly minute: number;
  readonly exclusive: number;
}

/** What the usage log knows of one receiver instance and one secret. All times: epoch ms of the usage log's clock. */
export interface ReceiverEvidence extends ReceiverIdentity {
  /** From here on its counts are without a gap. */
  readonly coveredSince: number;
  readonly lastReportAt: number;
  readonly signedOffAt: number | null;
  /** When a person said that it is gone for good. */
  readonly forgottenAt: number | null;
  readonly revision: number;
  readonly holds: readonly string[];
  readonly primary: string | null;
  readonly uses: readonly VersionUseEvidence[];
}

export interface UsageEvidence {
  /** The usage log's clock, epoch ms, at the time of this answer. */
  readonly now: number;
  /** The newest stamp it holds, of whatever receiver; above `now` when its clock was set back. */
  readonly newestStampAt: number | null;
  /** Everyone who ever held the secret and was not pruned, the departed included. */
  readonly receivers: readonly ReceiverEvidence[];
}

/**
 * Where receivers report and the orchestrator reads. It stamps arrivals with its one clock: moment = arrival − age,
 * and a moment once stored only ever moves later, so that a clock set back cannot make anything look older.
 * Errors: `usage-busy` (try at the next flush), `usage-unreachable`, `usage-corrupt`, `usage-newer-format`.
 */
export interface UsageLog {
  /** One line for people: kind and place. */
  readonly label: string;
  /**
   * Must not block the event loop on a lock: `usage-busy` at once instead. A later report of the same instance replaces
   * this one. Secret by secret it may become evidence before it is all there; `lastReportAt` and a sign-off come last.
   */
  report(report: UsageReport): Promise<void>;
  evidence(secret: string): Promise<UsageEvidence>;
  /** A person's word that a receiver is gone; its uses stay. Returns how many instances were meant: those of that id (or instance) that have not signed off. */
  forget(receiver: string): Promise<number>;
  /** Folds departed receivers (signed off or forgotten before `before`, epoch ms) into one, keeping counts and latest uses. */
  prune(before: number): Promise<void>;
  /** Looks, without changing anything, whether it is whole and can be written. Never throws. */
  probe(): Promise<readonly ProbeFinding[]>;
  close(): Promise<void>;
}

/** What a receiver is handed. */
export type UsageReportLog = Pick<UsageLog, 'report' | 'close'>;
