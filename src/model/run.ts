import type { Address } from './address.ts';
import type { CheckName } from './check.ts';
import type { ErrorCode } from './errors.ts';
import type { RunKind } from './keyring.ts';
import type { SecretPolicy } from './policy.ts';

export type Step = 'generate' | 'deploy' | 'update' | 'monitor' | 'revoke';

export const steps: readonly Step[] = ['generate', 'deploy', 'update', 'monitor', 'revoke'];

/** `live` is the one state in which a run may still act. `superseded`: a rotation under compromise took its place. */
export type RunState = 'live' | 'completed' | 'aborted' | 'superseded';

/** What a run does to the world, one at a time. */
export type EffectKind =
  /** Stores the new value as pending and claims the keyring, in one commit. */
  | 'generate'
  /** Claims the keyring anew, so that a commit of an earlier holder of the lease fails. */
  | 'reclaim'
  /** Asks the receivers by signed messages whether they take the new version. It changes nothing, and may be done again. */
  | 'canary'
  /** Makes the upstream sign with the new value. The switch. */
  | 'activate'
  /** pending → primary. */
  | 'promote'
  /** The way back after the switch: makes the upstream sign with the old value again. */
  | 'restore'
  /** The way back after the switch: deprecated → primary. */
  | 'reinstate'
  /** Writes the plain copies that the policy asks for. */
  | 'mirror'
  /** Tells the upstream the new value again, before the old one is erased. */
  | 'reassert'
  /** Everything accepted but the primary → revoked, and the claim goes. */
  | 'revoke'
  /** Erases the store's older copies. */
  | 'purge'
  /** The way back before the switch: pending → revoked, and the claim goes. */
  | 'withdraw';

/** What came of an effect. `failed`: it certainly did not happen. `unknown`: it may have. */
export interface IntentResult {
  readonly outcome: 'done' | 'failed' | 'unknown';
  /** Epoch ms. */
  readonly at: number;
  /** An error code and sentence; null when done. */
  readonly code: ErrorCode | null;
  readonly message: string | null;
  /** Epoch ms before which no further try makes sense; null: none was named. */
  readonly retryAt: number | null;
  /** False when a further try would end the same until a person changes something. */
  readonly retryable: boolean;
}

/** Written to the journal before its effect. Without a result its effect may have happened until `deadline`. */
export interface Intent {
  readonly id: string;
  readonly effect: EffectKind;
  /** The version that the upstream is told; null where it is told nothing. */
  readonly version: string | null;
  /** The fencing token it was written under. */
  readonly token: number;
  /** Epoch ms. */
  readonly at: number;
  /** Epoch ms, absolute: after it the effect is no longer in flight. */
  readonly deadline: number;
  readonly result: IntentResult | null;
}

/** What people can tell a run. `accept` overrules one check of the step's gate, once. */
export type PersonMoveKind = 'confirm' | 'abort' | 'hold' | 'unhold' | 'accept' | 'approve' | 'deny';

/** What a person told the run. */
export interface PersonMove {
  readonly kind: PersonMoveKind;
  /** The step at whose gate it was said. */
  readonly step: Step;
  /** The check that an `accept` overrules; null for the others. */
  readonly check: CheckName | null;
  readonly who: string;
  readonly why: string | null;
  /** Epoch ms. */
  readonly at: number;
}

/** How long a gate has waited for what traffic, receivers or people can move. */
export interface GateClock {
  readonly step: GateStep;
  /** Epoch ms: when the gate was first found closed. */
  readonly startedAt: number;
  readonly waitedMs: number;
  /** Epoch ms: up to when `waitedMs` is counted. */
  readonly countedAt: number;
  /** Whether the time from `countedAt` on counts. */
  readonly runs: boolean;
}

/** That the upstream signs with a version, and since when. */
export interface Proven {
  readonly version: string;
  /** Epoch ms of the usage log's clock, at or after the true moment. */
  readonly at: number;
  /** How far the wall clock was set forward since, as far as witnesses showed it; `at` has it in it. */
  readonly shiftedMs: number;
  /** Receivers, and since when their counts are without a gap: a wall clock that jumps moves those moments with it. */
  readonly witnesses: readonly { readonly instance: string; readonly coveredSince: number }[];
}

/** One rotation of one secret; durable in the journal, holds ids and never a value. */
export interface Run {
  readonly id: string;
  readonly secret: Address;
  readonly kind: RunKind;
  readonly state: RunState;
  readonly step: Step;
  readonly reason: string;
  readonly startedBy: string;
  /** Epoch ms. */
  readonly startedAt: number;
  readonly endedAt: number | null;
  /** The version ids; `from` is null in a first rotation. */
  readonly from: string | null;
  readonly to: string;
  /** True: everything else that is accepted may be in wrong hands, and gates are none. */
  readonly compromised: boolean;
  /** The run whose place this one took: one superseded here, or one of a journal that was lost; null for most. */
  readonly tookOver: { readonly run: string; readonly journal: string } | null;
  /** Frozen when the run started. */
  readonly policy: SecretPolicy;
  /** Null before the first gate. */
  readonly gateClock: GateClock | null;
  /** Null until the upstream was seen to sign with what it was told. It is kept, because what shows it moves on. */
  readonly proven: Proven | null;
  /** The highest keyring revision that this run has seen or written. */
  readonly revision: number;
  readonly intents: readonly Intent[];
  readonly moves: readonly PersonMove[];
  /** Counts writes; a write against an older count is refused. */
  readonly changes: number;
}

export function intentsOf(run: Run, effect: EffectKind): readonly Intent[] {
  return run.intents.filter((intent) => intent.effect === effect);
}

export function lastIntent(run: Run, effect: EffectKind): Intent | null {
  return intentsOf(run, effect).at(-1) ?? null;
}

export function isDone(run: Run, effect: EffectKind): boolean {
  return lastIntent(run, effect)?.result?.outcome === 'done';
}

/**
 * Before the switch: every call that was journalled for the new version certainly did not happen (the upstream refused
 * it, or was never reached), so it signs as before. One that was cut off or has no result may have happened.
 */
export function isBeforeSwitch(run: Run): boolean {
  return intentsOf(run, 'activate')
    .filter((intent) => intent.version === run.to)
    .every((intent) => intent.result?.outcome === 'failed');
}

/** The gates at which people have a word: the one before the switch, and the one before the revocation. */
export type GateStep = Extract<Step, 'deploy' | 'monitor'>;

export function gateOf(step: Step): GateStep {
  return step === 'monitor' || step === 'revoke' ? 'monitor' : 'deploy';
}

/** Who denies the switch wants the same as who aborts. */
function isAbort({ kind, step }: PersonMove): boolean {
  return kind === 'abort' || (kind === 'deny' && gateOf(step) === 'deploy');
}

export function wantsAbort(run: Run): boolean {
  return run.moves.some(isAbort);
}

/** What people said since the run was told to go back; before that, all they said. */
export function presentMoves(run: Run): readonly PersonMove[] {
  return run.moves.slice(run.moves.findIndex(isAbort) + 1);
}

/** A person's stop, as long as nobody has lifted it. Whoever says abort lifts it too: that is a later word, and a clearer one. */
export function holdOf(run: Run): PersonMove | null {
  const last = presentMoves(run).findLast(({ kind }) => kind === 'hold' || kind === 'deny' || isLifting(kind));
  return last === undefined || isLifting(last.kind) ? null : last;
}

function isLifting(kind: PersonMoveKind): boolean {
  return kind === 'unhold' || kind === 'accept';
}

/** When a person last let the run go on, epoch ms; null when nobody did. */
export function liftedAt(run: Run): number | null {
  return run.moves.findLast((move) => isLifting(move.kind) || isAbort(move))?.at ?? null;
}

/** When a person last said that the upstream has the value it is to have, epoch ms; null when nobody did. */
export function confirmedAt(run: Run): number | null {
  return presentMoves(run).findLast((move) => move.kind === 'confirm')?.at ?? null;
}

/** Who approved what this gate lets through; a denial takes back what was approved before it. */
export function approversOf(run: Run, gate: GateStep): readonly string[] {
  const said = presentMoves(run).filter((move) => gateOf(move.step) === gate);
  const since = said.slice(said.findLastIndex((move) => move.kind === 'deny') + 1);
  return [...new Set(since.filter((move) => move.kind === 'approve').map((move) => move.who))];
}
