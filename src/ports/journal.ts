import type { PersonMove, Run, Step } from '../model/run.ts';
import type { Sightings } from './sightings.ts';
import type { AuditReading } from './audit.ts';
import type { ProbeFinding } from './secret-store.ts';

/** A process as others of its machine can tell whether it still runs. */
export interface ProcessIdentity {
  readonly host: string;
  /** Names one start of the machine, so that a pid of before it means nothing. */
  readonly boot: string;
  /** The namespaces that the pid and the start are counted in. */
  readonly pidNamespace: string;
  readonly pid: number;
  /** When the process began, in whatever unit the system counts; with it a pid that was given again is told apart. */
  readonly startedAt: string;
}

/** Who asks for a lease. */
export interface Holder {
  /** For people: `user@host, process 4711`. */
  readonly name: string;
  /** Null where the system does not tell. */
  readonly process: ProcessIdentity | null;
}

/** The right to move a secret's run until `expiresAt` (epoch ms). A higher token was given later. */
export interface Lease {
  readonly name: string;
  readonly holder: string;
  readonly token: number;
  readonly expiresAt: number;
}

/** What is known of a lease, held or run out. */
export interface LeaseRecord extends Lease {
  readonly acquiredAt: number;
  readonly held: boolean;
  readonly process: ProcessIdentity | null;
}

/** Leases by name; tokens of one name only grow. Errors: `lease-lost`, `journal-*`. */
export interface Leases {
  /** The lease, or the record of who has it. */
  acquire(
    name: string,
    holder: Holder,
    ttlMs: number,
  ): Promise<{ readonly lease: Lease } | { readonly busy: LeaseRecord }>;
  /**
   * The lease of a holder that is known to be dead, if it still is the one of that record; else as `acquire`. Its token
   * is higher, as after every change of hands; what the dead holder had in flight is not waited for here.
   */
  seize(
    dead: LeaseRecord,
    holder: Holder,
    ttlMs: number,
  ): Promise<{ readonly lease: Lease } | { readonly busy: LeaseRecord }>;
  /** Longer or shorter from now on. Throws `lease-lost` when it ran out or another has it. */
  renew(lease: Lease, ttlMs: number): Promise<Lease>;
  /** Gives it back; nothing happens when it is lost already. */
  release(lease: Lease): Promise<void>;
  read(name: string): Promise<LeaseRecord | null>;
}

/** One line of the audit trail. */
export interface JournalEvent {
  /** Grows; unique within the journal. */
  readonly id: number;
  /** Epoch ms. */
  readonly at: number;
  readonly secret: string;
  readonly run: string | null;
  readonly step: Step | null;
  /** A kebab-case word for programs. */
  readonly event: string;
  /** One sentence for people. */
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export type NewEvent = Omit<JournalEvent, 'id'>;

export interface RunQuery {
  readonly secret?: string;
  readonly id?: string;
  /** True: live ones only. */
  readonly live?: boolean;
  readonly limit?: number;
}

export interface EventQuery {
  readonly secret?: string;
  readonly run?: string;
  /** Ids; what lies between them, without them. */
  readonly after?: number;
  readonly before?: number;
  readonly limit?: number;
  /** True: from the newest backwards; else oldest first. */
  readonly newestFirst?: boolean;
}

/**
 * Durable state of runs; ids, never values. Every write but a person's move, `note` and `prune` is fenced: it takes the
 * lease it is made under and fails with `lease-lost` when that lease ran out, a higher token exists, or it is not the
 * lease on the run's secret.
 * Events are chained: see `decide/audit.ts`. None is written, with `audit-key`, where the trail is sealed with another key
 * than the journal was opened with.
 * Errors: `lease-lost`, `audit-key`, `journal-unreachable`, `journal-busy`, `journal-corrupt`, `journal-newer-format`.
 */
export interface Journal {
  /** Unique and told to people: written into claims, so that another journal's owner knows whom to ask. */
  readonly id: string;
  /** One line for people: kind and place. */
  readonly label: string;
  /** What visits saw, so that the next ones need not read it again. */
  readonly sightings: Sightings;
  /** Starts a run, or returns the live one of that secret: there is never a second (I3). */
  begin(run: Run, events: readonly NewEvent[], lease: Lease): Promise<{ readonly run: Run; readonly joined: boolean }>;
  /**
   * Ends the secret's live run, which is `superseded`, in that state and starts this one, in one transaction. Throws
   * `lease-lost` where another run is live, or none, or `changes` is not what is stored.
   */
  supersede(superseded: Run, run: Run, events: readonly NewEvent[], lease: Lease): Promise<Run>;
  /** Newest first, with the moves of people. */
  runs(query: RunQuery): Promise<readonly Run[]>;
  /** The addresses of the secrets that have a live run, in no order. */
  liveSecrets(): Promise<readonly string[]>;
  /** Replaces the run (all but its moves) if its `changes` is still what is stored, and appends the events, in one transaction. Returns it with `changes` raised and the moves as stored. */
  save(run: Run, events: readonly NewEvent[], lease: Lease): Promise<Run>;
  /** A person's word, from any process at any time. Throws `no-live-run` when the run has ended. */
  move(run: string, move: PersonMove, event: NewEvent): Promise<void>;
  /** Appends an event that no run changes with, from any process at any time. */
  note(event: NewEvent): Promise<void>;
  events(query: EventQuery): Promise<readonly JournalEvent[]>;
  /**
   * Removes ended runs with their moves and events, so that the newest `keep` of each secret stay, one at least. Where
   * runs of a secret go, its events that are older than all of what stays go too, and the chain says so. Others can write
   * all the while. Returns how many runs went.
   */
  prune(keep: number): Promise<number>;
  /** Reads the chain of events, to verify it. Whoever opens it closes it. */
  openAudit(): Promise<AuditReading>;
  /** From this event on, which it appends, the trail is sealed with the key that the journal was opened with. */
  seal(event: NewEvent): Promise<void>;
  /** Looks, without changing anything, whether it is whole and can be written. Never throws. */
  probe(): Promise<readonly ProbeFinding[]>;
  close(): Promise<void>;
}
