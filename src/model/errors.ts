/** Every failure keyturn reports on purpose. The list is closed and documented in `docs/errors.md`. */
export type ErrorCode =
  // the caller
  | 'usage'
  | 'not-in-this-version'
  | 'policy-missing'
  | 'policy-invalid'
  | 'secret-unknown'
  | 'secret-ambiguous'
  | 'secret-absent'
  | 'secret-exists'
  | 'credential-missing'
  | 'package-missing'
  | 'value-refused'
  | 'value-shared'
  | 'import-invalid'
  | 'metrics-unwritable'
  // secret stores
  | 'store-absent'
  | 'store-deleted'
  | 'store-denied'
  | 'store-unreachable'
  | 'store-throttled'
  | 'store-conflict'
  | 'store-corrupt'
  | 'store-encrypted'
  | 'store-newer-format'
  | 'store-too-large'
  | 'store-busy'
  | 'mirror-invalid'
  // keyring
  | 'illegal-move'
  | 'keyring-invalid'
  // journal and leases
  | 'journal-unreachable'
  | 'journal-busy'
  | 'journal-corrupt'
  | 'journal-newer-format'
  | 'audit-key'
  | 'lease-busy'
  | 'lease-lost'
  // usage log
  | 'usage-busy'
  | 'usage-unreachable'
  | 'usage-corrupt'
  | 'usage-newer-format'
  // upstream
  | 'upstream-refused'
  | 'upstream-throttled'
  | 'upstream-failed'
  | 'upstream-unreachable'
  | 'upstream-unknown'
  // canaries
  | 'canary-failed'
  | 'canary-unreachable'
  | 'canary-unverified'
  // a run
  | 'foreign-claim'
  | 'drift'
  | 'no-live-run'
  | 'run-held'
  | 'gate-timeout'
  | 'wrong-state'
  // a mistake of keyturn's own
  | 'unexpected';

export interface ErrorOptions {
  /** What caused it; never shown to people as it is, it may hold anything. */
  readonly cause?: unknown;
  /** The one thing to do about it. */
  readonly hint?: string;
  /** Facts for programs: ids, paths, counts, durations; never a value of a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * The one error class. `message` says what is wrong and where, `hint` what to do;
 * neither ever holds a secret value.
 */
export class KeyturnError extends Error {
  override readonly name = 'KeyturnError';
  readonly code: ErrorCode;
  readonly hint: string | null;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint ?? null;
    this.details = options.details ?? {};
  }
}

/** True for an error of keyturn's own, with one of `codes` where any are given. */
export function isKeyturnError(error: unknown, ...codes: readonly ErrorCode[]): error is KeyturnError {
  return error instanceof KeyturnError && (codes.length === 0 || codes.includes(error.code));
}

/** The text of anything thrown, for the middle of a sentence. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
