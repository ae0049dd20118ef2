/** Names of the conditions that a gate may consist of. Closed, and explained one by one in `docs/checks.md`. */
export type CheckName =
  | 'store'
  | 'journal'
  | 'claim'
  | 'keyring'
  | 'usage-log'
  | 'upstream'
  | 'effect-in-flight'
  | 'clock'
  | 'read-back'
  | 'propagation'
  | 'roster'
  | 'missing'
  | 'holding'
  | 'canary'
  | 'grace'
  | 'coverage'
  | 'new-seen'
  | 'old-quiet'
  | 'reassert'
  | 'held'
  | 'timeout'
  | 'approvals'
  | 'cutover'
  | 'blackout'
  | 'unreported'
  | 'retry-tail'
  | 'mirror';

/** What can make a failing check pass. */
export type WaitingFor = 'time' | 'receivers' | 'traffic' | 'upstream' | 'person';

/** A pure condition that a step needs before it may end. */
export interface Check {
  readonly name: CheckName;
  readonly ok: boolean;
  /** A kebab-case word for programs. */
  readonly reason: string;
  /** One sentence for people. */
  readonly message: string;
  /** Epoch ms: since when it is as it is; null when that is not known. */
  readonly since: number | null;
  /** Epoch ms: when it passes if nothing else happens; null when no clock can tell. */
  readonly eta: number | null;
  readonly waitingFor: WaitingFor;
  /** The command with which a person can move it; null where there is none. */
  readonly command: string | null;
  /** Numbers and ids that the check was judged by; never a value of a secret. */
  readonly evidence: Readonly<Record<string, unknown>>;
}

/** The failing checks, in their order. */
export function failing(checks: readonly Check[]): readonly Check[] {
  return checks.filter((check) => !check.ok);
}
