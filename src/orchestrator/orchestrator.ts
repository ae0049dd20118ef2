import { decide } from '../decide/decide.ts';
import type { Decision } from '../decide/decision.ts';
import type { Observation } from '../decide/observation.ts';
import { dueOf, type Due } from '../decide/schedule.ts';
import type { LabelledVersion } from '../model/active-secrets.ts';
import { isKeyturnError, KeyturnError } from '../model/errors.ts';
import type { AcceptedVersion, Keyring } from '../model/keyring.ts';
import type { Stores } from '../model/migration.ts';
import type { Policy, SecretPolicy } from '../model/policy.ts';
import type { Run } from '../model/run.ts';
import type { JournalEvent } from '../ports/journal.ts';
import { advance, atRest, type Advance } from './advance.ts';
import { auditHead, sealAudit, verifyAudit, type Audit, type AuditHead, type VerifyOptions } from './audit.ts';
import {
  handOut,
  inUseNow,
  readPlainCopy,
  reveal,
  takeIn,
  type CopyPlace,
  type ExportOptions,
  type IntakeOptions,
  type Intakes,
  type RevealOptions,
} from './exchange.ts';
import { migrate, type MigrateOptions, type Migrations } from './migrate.ts';
import { observe, type Looking } from './observe.ts';
import * as moves from './moves.ts';
import type { Parts } from './parts.ts';
import { findRun, lastRun, liveRun } from './runs.ts';
import { newRun, startRun } from './start.ts';
import { withTenure, type Tenure } from './tenure.ts';
import { keepUp, noteScheduler, schedulerSeenAt } from './upkeep.ts';
import { visitAll, visitUnlisted, type Visit } from './visit.ts';

/** The address of audit events that are about no secret in particular. */
const everySecret = '*';

const defaultLockTimeoutMs = 10_000;

const onlyLooking: Looking = { token: null, retrySince: null };

export interface MoveOptions {
  /** How long to wait while another process moves the same secret, ms; 10 s. */
  readonly lockTimeoutMs?: number | undefined;
  /** Stops before the next effect; what is in flight is finished and journalled. */
  readonly signal?: AbortSignal | undefined;
}

export interface RotateOptions extends MoveOptions {
  readonly reason?: string | undefined;
  /** The values in use may be in wrong hands: ends a live run, waits at no gate, and refuses what still uses them. */
  readonly compromised?: boolean | undefined;
  /** The run of another journal, as its claim names it, to go on with from here. */
  readonly takeOver?: string | undefined;
}

/** What a person overrules when values are taken in. */
export interface TakeInOptions extends MoveOptions {
  /** The values are as they should be, however they look. */
  readonly asIs?: boolean | undefined;
  /** The value of another secret may be taken too, or cannot be compared. */
  readonly skipDuplicateCheck?: boolean | undefined;
  /** Everything is judged, and nothing is written. */
  readonly dryRun?: boolean | undefined;
}

export interface MigrationOptions extends MoveOptions, Stores {
  /** Everything is judged, and nothing is written. */
  readonly dryRun?: boolean | undefined;
  /** Called with each secret as soon as something came of it. */
  readonly told?: MigrateOptions['told'];
}

export interface AbortOptions extends MoveOptions {
  readonly takeOver?: string | undefined;
}

/** One secret as it is now, for people and programs. */
export interface SecretState {
  readonly policy: SecretPolicy;
  readonly seen: Observation;
  readonly keyring: Keyring | null;
  /** The live run and what it would do next. */
  readonly live: { readonly run: Run; readonly next: Decision } | null;
  readonly due: Due;
}

/**
 * Moves secrets through their rotations. It keeps nothing between calls: the truth is in the journal, the stores and
 * the usage log, so any number of processes may hold one over the same policy. Secrets are named by their addresses.
 */
export class Orchestrator {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  get policy(): Policy {
    return this.#parts.policy;
  }

  /**
   * Starts a run of the secret, or joins the live one, and drives it as far as it can go; failures of before are tried
   * again at once. Throws `foreign-claim`, `lease-busy`, and the errors of store and journal.
   */
  async rotate(secret: string, options: RotateOptions = {}): Promise<Advance & { readonly joined: boolean }> {
    const policy = this.#find(secret);
    const retrySince = this.#parts.clock.now();
    return this.#withLease(secret, options, async (tenure) => {
      const { compromised = false, takeOver } = options;
      const reason = options.reason ?? (compromised ? 'compromised' : 'asked for');
      const { run, joined } = await startRun(this.#parts, policy, tenure, { reason, compromised, takeOver });
      return { ...(await advance(this.#parts, tenure, run, { retrySince, signal: options.signal })), joined };
    });
  }

  /** Drives the secret's live run as far as it can go; null when none is live. Failures wait for their time. */
  async advance(secret: string, options: MoveOptions = {}): Promise<Advance | null> {
    const live = await liveRun(this.#parts, secret);
    const resting = live === null ? null : await atRest(this.#parts, live);
    if (live === null || resting !== null) return resting;
    return this.#withLease(secret, options, async (tenure) => {
      const run = await liveRun(this.#parts, secret);
      return run === null ? null : advance(this.#parts, tenure, run, { retrySince: null, signal: options.signal });
    });
  }

  /** The cron job: advances every live run and starts what is due. */
  async run(
    options: { readonly secrets?: readonly string[]; readonly signal?: AbortSignal } = {},
  ): Promise<readonly Visit[]> {
    await noteScheduler(this.#parts);
    const named = options.secrets === undefined ? null : new Set(options.secrets);
    const wanted = this.policy.secrets.filter(({ secret }) => named?.has(secret) ?? true);
    const visits = [...(await visitAll(this.#parts, wanted, options.signal))];
    if (wanted.length === this.policy.secrets.length) visits.push(...(await visitUnlisted(this.#parts)));
    await keepUp(this.#parts);
    return visits;
  }

  /** What is, and what the live run would do next; with `asIfStarted`, what a run started now would do. Touches nothing. */
  async look(secret: string, asIfStarted = false): Promise<SecretState> {
    const policy = this.#find(secret);
    const run = await liveRun(this.#parts, secret);
    const seen = await observe(this.#parts, run?.policy ?? policy, onlyLooking);
    const now = this.#parts.clock.now();
    const keyring = seen.keyring.state === 'present' ? seen.keyring.keyring : null;
    const shown = run ?? (asIfStarted ? newRun(this.#parts, policy, keyring, 'plan') : null);
    const live = shown === null ? null : { run: shown, next: decide(shown, seen, now) };
    return { policy, seen, keyring, live, due: dueOf(policy, keyring, await lastRun(this.#parts, secret), now) };
  }

  /** Takes the value in use now as the primary of a secret that has none. Throws `secret-exists`, `value-refused`, `value-shared`. */
  async adopt(secret: string, value: string, options: TakeInOptions = {}): Promise<Keyring> {
    const taken = await this.#takeIn('adopt', new Map([[secret, value]]), options);
    const keyring = taken.get(secret);
    if (keyring === undefined || isKeyturnError(keyring)) throw keyring ?? this.#unknown(secret);
    return keyring;
  }

  /** Takes over versions with their labels, or values in use now, by address; each secret wholly or not at all. */
  async import(
    intakes: ReadonlyMap<string, string | readonly LabelledVersion[]>,
    options: TakeInOptions = {},
  ): Promise<Intakes> {
    return this.#takeIn('import', intakes, options);
  }

  /** The keyrings of these secrets, to be written elsewhere. Values are placeholders unless asked for, and journalled then. */
  async export(secrets: readonly string[], options: ExportOptions): Promise<readonly Keyring[]> {
    const policies = secrets.map((secret) => this.#find(secret));
    return handOut(this.#parts, policies, options);
  }

  /** Takes the keyrings of these secrets from one store of the policy to another; nothing is deleted. Throws `usage`. */
  async migrate(secrets: readonly string[], options: MigrationOptions): Promise<Migrations> {
    const { from, to, dryRun = false, lockTimeoutMs = defaultLockTimeoutMs, signal, told } = options;
    const policies = secrets.map((secret) => this.#find(secret));
    return migrate(this.#parts, policies, { from, to, dryRun, waitMs: lockTimeoutMs, signal, told });
  }

  /** One version with its value, for a person; journalled. Throws `secret-absent`, `usage`. */
  async reveal(secret: string, options: RevealOptions): Promise<AcceptedVersion> {
    return reveal(this.#parts, this.#find(secret), options);
  }

  /** The text of a plain copy in the store of that secret, or of one property of it. Throws `usage`, `value-refused`. */
  async plainCopy(secret: string, place: CopyPlace): Promise<string> {
    return readPlainCopy(this.#parts, this.#find(secret), place);
  }

  /** A person's word that the upstream has the value it is to have. Throws `no-live-run`, `wrong-state`. */
  async confirm(secret: string, why: string | null): Promise<Run> {
    return moves.confirm(this.#parts, await this.#live(secret), why);
  }

  /**
   * Ends the run with the value it began with as primary: at once before the switch; after it, the upstream is told the old
   * value again, and the new one is revoked when nobody uses it. Throws `wrong-state` where nothing is left to go back to.
   */
  async abort(secret: string, why: string, options: AbortOptions = {}): Promise<Advance> {
    const { takeOver } = options;
    return this.#withLease(secret, options, async (tenure) => {
      const start = { reason: why, takeOver };
      if (takeOver !== undefined) await startRun(this.#parts, this.#find(secret), tenure, start);
      const said = await moves.abort(this.#parts, await this.#live(secret), why);
      return advance(this.#parts, tenure, said, { retrySince: this.#parts.clock.now() });
    });
  }

  /** Stops the run at its next gate until somebody says unhold. Throws `no-live-run`, `wrong-state`. */
  async hold(secret: string, why: string): Promise<Run> {
    return moves.hold(this.#parts, await this.#live(secret), why);
  }

  /** Lets a held or timed-out run go on; `accept` is a check of the present gate to overrule. Throws `usage`, `no-live-run`, `wrong-state`. */
  async unhold(secret: string, why: string, accept: string | null = null): Promise<Run> {
    const check = accept === null ? null : moves.overrulableCheck(accept);
    return moves.unhold(this.#parts, await this.#live(secret), check, why);
  }

  /** Approves what the next gate lets through. Throws `no-live-run`, `wrong-state`. */
  async approve(secret: string, why: string | null): Promise<Run> {
    return moves.approve(this.#parts, await this.#live(secret), why);
  }

  /** Before the switch the run ends; after it, it is held. Throws `no-live-run`, `wrong-state`. */
  async deny(secret: string, why: string): Promise<Run> {
    return moves.deny(this.#parts, await this.#live(secret), why);
  }

  /** A person's word that a receiver is gone for good. Returns how many of its lives were meant. */
  async forget(receiver: string, why: string): Promise<number> {
    const { usage, journal, clock, who } = this.#parts;
    const forgotten = await usage.forget(receiver);
    const message = `A person said that receiver ${receiver} is gone: ${why}`;
    const about = { at: clock.now(), run: null, step: null, event: 'forget', message, data: { receiver, why, who } };
    if (forgotten > 0) await journal.note({ ...about, secret: everySecret });
    return forgotten;
  }

  /** Events of a run, oldest first, after the one with id `after`. */
  async events(run: string, after = 0): Promise<readonly JournalEvent[]> {
    return this.#parts.journal.events({ run, after });
  }

  /** The newest runs of a secret and its newest events, both newest first. */
  async history(
    secret: string,
    limit: number,
  ): Promise<{ readonly runs: readonly Run[]; readonly events: readonly JournalEvent[] }> {
    const { journal } = this.#parts;
    this.#find(secret);
    const runs = await journal.runs({ secret, limit });
    return { runs, events: await journal.events({ secret, limit, newestFirst: true }) };
  }

  /** The newest audit events that are about no secret in particular, newest first. */
  async generalEvents(limit: number): Promise<readonly JournalEvent[]> {
    return this.#parts.journal.events({ secret: everySecret, limit, newestFirst: true });
  }

  /** Removes the ended runs that the policy does not retain, with their events. Returns how many. */
  async prune(): Promise<number> {
    return this.#parts.journal.prune(this.policy.retain.runs);
  }

  /** Reads the audit trail from end to end. Throws `audit-key`. */
  async verifyAudit(options: VerifyOptions = {}): Promise<Audit> {
    return verifyAudit(this.#parts, options);
  }

  async auditHead(): Promise<AuditHead> {
    return auditHead(this.#parts);
  }

  /** From now on the audit trail is sealed with the policy's key. Returns its name; null where the policy names none. */
  async sealAudit(why: string): Promise<string | null> {
    return sealAudit(this.#parts, everySecret, why);
  }

  async findRun(id: string): Promise<Run | null> {
    return findRun(this.#parts, id);
  }

  /** Epoch ms of the scheduler's last visit; null when it was never here. */
  async schedulerSeenAt(): Promise<number | null> {
    return schedulerSeenAt(this.#parts);
  }

  #find(secret: string): SecretPolicy {
    const found = this.policy.secrets.find((policy) => policy.secret === secret);
    if (found !== undefined) return found;
    throw this.#unknown(secret);
  }

  #unknown(secret: string): KeyturnError {
    return new KeyturnError('secret-unknown', `The policy ${this.policy.source} has no secret ${secret}.`);
  }

  #takeIn(
    how: IntakeOptions['how'],
    intakes: ReadonlyMap<string, string | readonly LabelledVersion[]>,
    options: TakeInOptions,
  ): Promise<Intakes> {
    const { lockTimeoutMs = defaultLockTimeoutMs, asIs = false, skipDuplicateCheck = false, dryRun = false } = options;
    const wanted = [...intakes].map(([secret, versions]) => ({
      policy: this.#find(secret),
      versions: typeof versions === 'string' ? inUseNow(this.#parts, versions) : versions,
    }));
    const { signal } = options;
    return takeIn(this.#parts, wanted, { how, waitMs: lockTimeoutMs, signal, asIs, skipDuplicateCheck, dryRun });
  }

  #withLease<T>(secret: string, options: MoveOptions, work: (tenure: Tenure) => Promise<T>): Promise<T> {
    const { lockTimeoutMs = defaultLockTimeoutMs, signal } = options;
    return withTenure(this.#parts, secret, { waitMs: lockTimeoutMs, signal }, work);
  }

  #live(secret: string): Promise<Run> {
    return moves.requireLive(this.#parts, this.#find(secret));
  }
}
