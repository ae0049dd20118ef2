import { findVersion, isAccepted, type Claim, type Keyring } from '../model/keyring.ts';
import {
  confirmedAt,
  intentsOf,
  isBeforeSwitch,
  wantsAbort,
  type Intent,
  type Proven,
  type Run,
} from '../model/run.ts';
import { earliest, lastUseOf, lateAfterMs, rosterOf, usesOf, withStanding } from './evidence.ts';
import type { Observation } from './observation.ts';
import type { ReceiverEvidence, UsageEvidence } from '../ports/usage-log.ts';

/**
 * A run heads for its new version; told to go back after the switch, it heads for the one it started from, by the same
 * way with the roles swapped: call, commit, gate, revocation of everything else.
 */
export interface Leg {
  readonly isBack: boolean;
  /** The version that the upstream is to sign with, and the only one that is left in the end. */
  readonly target: string;
  readonly call: 'activate' | 'restore';
  readonly promotion: 'promote' | 'reinstate';
}

/** Forward, until a person says abort at a time when nothing but going back is left. */
export function legOf(run: Run, keyring: Keyring, seen: Observation): Leg {
  const { from, to } = run;
  const isBack = from !== null && wantsAbort(run) && canGoBack(run, keyring) && mayHaveSwitched(run, keyring, seen);
  return isBack
    ? { isBack, target: from, call: 'restore', promotion: 'reinstate' }
    : { isBack: false, target: to, call: 'activate', promotion: 'promote' };
}

/** True while the version that the run started from is accepted, and nobody says that it is in wrong hands. */
export function canGoBack(run: Run, keyring: Keyring): boolean {
  const from = run.from === null ? null : findVersion(keyring, run.from);
  return from !== null && isAccepted(from) && !from.compromised;
}

/** The calls by which the upstream is made to sign with the leg's target. */
export function callsOf(run: Run, leg: Leg): readonly Intent[] {
  return intentsOf(run, leg.call).filter((intent) => intent.version === leg.target);
}

/**
 * True when the upstream may have been told the new value: by a call that is journalled and did not certainly fail, or by
 * one that only the claim knows of.
 */
function mayHaveBeenTold(run: Run, keyring: Keyring): boolean {
  return !isBeforeSwitch(run) || (keyring.claim?.run === run.id && unjournalledCall(run, keyring.claim) !== null);
}

/**
 * Until when a call may be in flight (epoch ms) that the claim knows of and the run does not, because the journal was put
 * back to before it or is another one; null when there is none.
 */
export function unjournalledCall(run: Run, claim: Claim): number | null {
  if (claim.deadline === null) return null;
  const deadline = Date.parse(claim.deadline);
  // Canaries put no deadline into the claim, and one of theirs may be later than that of the call that is looked for.
  const journalled = run.intents.filter(({ effect }) => effect !== 'canary');
  return deadline > Math.max(-Infinity, ...journalled.map((intent) => intent.deadline)) ? deadline : null;
}

/** True unless it is certain that nobody signs with the new version. */
export function mayHaveSwitched(run: Run, keyring: Keyring, seen: Observation): boolean {
  const stage = findVersion(keyring, run.to)?.stage;
  if (mayHaveBeenTold(run, keyring) || stage === 'primary' || stage === 'deprecated') return true;
  // An upstream that refuses a value may still have taken it; only the usage log can tell.
  if (seen.usage.state === 'failed') return intentsOf(run, 'activate').length > 0;
  return lastUseOf(seen.usage.evidence, run.to) !== null;
}

/**
 * The upstream answered that it took the leg's value; or its answer is not known, and a delivery since then or a person
 * says so. On the way back no delivery can say so: one under the old version may have been signed before the switch.
 */
export function isSwitched(run: Run, leg: Leg, keyring: Keyring, seen: Observation): boolean {
  const calls = callsOf(run, leg);
  if (calls.some((intent) => intent.result?.outcome === 'done')) return true;
  const told = leg.isBack ? calls.some((intent) => intent.result?.outcome !== 'failed') : mayHaveBeenTold(run, keyring);
  if (told && confirmedAt(run) !== null) return true;
  if (leg.isBack || (!told && calls.length === 0)) return false;
  return seen.usage.state === 'read' && seenSince(run, leg, seen.usage.evidence) !== null;
}

/** When the upstream was first told to sign with the leg's target, epoch ms; null when it was not, as far as is journalled. */
export function toldAt(run: Run, leg: Leg): number | null {
  return callsOf(run, leg)[0]?.at ?? null;
}

/** How far the clocks that stamped a call and a delivery may differ and still agree; what a gate's clock check bounds. */
export const clockBoundMs = 5_000;

/** How much later a receiver's beginning may look because its reports come late, without the clock having been set. */
const shiftBoundMs = 60_000;

/**
 * How long after the switch a delivery that was signed before it may still come, because the upstream tries again what
 * failed, ms.
 */
export function retryTailMs({ upstream }: Run['policy']): number {
  const { retriesResigned, retryHorizonMs, switchLagMs } = upstream.capabilities;
  return retriesResigned !== 'yes' && retryHorizonMs > 0 ? switchLagMs + retryHorizonMs : 0;
}

/**
 * From when on a delivery under the leg's target can only be the call's doing; null: always. On the way back there are
 * those that the old version signed before the switch: what is counted is dated when it is reported, and what failed is
 * tried again.
 */
export function countsFrom(run: Run, leg: Leg): number | null {
  const told = toldAt(run, leg);
  if (!leg.isBack || told === null) return told;
  const switches = intentsOf(run, 'activate').map(({ result, deadline }) => result?.at ?? deadline);
  const tail = retryTailMs(run.policy);
  return Math.max(told + lateAfterMs(run.policy.receivers), ...switches.map((at) => at + tail));
}

/** When a delivery that the leg's call explains was last seen under its target; one of before it proves nothing. */
export function seenSince(run: Run, leg: Leg, evidence: UsageEvidence): number | null {
  const from = countsFrom(run, leg);
  const last = lastUseOf(evidence, leg.target);
  return last !== null && (from === null || last >= from) ? last : null;
}

/**
 * Since when at the latest the upstream signs with the leg's target, epoch ms of the usage log's clock; null when nothing
 * shows it: the first delivery under it since the call, else a person's word.
 */
export function provenAt(run: Run, leg: Leg, evidence: UsageEvidence): number | null {
  const journalled = provenOf(run, leg);
  if (journalled !== null) return journalled.at + unjournalledShift(journalled, evidence);
  const from = countsFrom(run, leg) ?? -Infinity;
  const firsts = usesOf(evidence, [leg.target]).map((use) => use.firstMatchedAt);
  const first = earliest(firsts.filter((moment) => moment !== null && moment >= from));
  return first ?? seenSince(run, leg, evidence) ?? confirmedAt(run);
}

/** What to journal of the proof, with living witnesses; null when what is journalled will do. */
export function provenToKeep(run: Run, leg: Leg, evidence: UsageEvidence): Proven | null {
  const at = provenAt(run, leg, evidence);
  if (at === null) return null;
  const journalled = provenOf(run, leg);
  const shift = journalled === null ? 0 : unjournalledShift(journalled, evidence);
  const live = withStanding(rosterOf(evidence, run.policy.receivers), 'live').toSorted(
    (one, other) => one.coveredSince - other.coveredSince,
  );
  const known = journalled?.witnesses ?? [];
  const isWitness = ({ instance }: ReceiverEvidence): boolean => known.some((each) => each.instance === instance);
  if (journalled !== null && shift === 0 && (live.length === 0 || live.some(isWitness))) return null;
  // One that is silent stays: it may be that the wall clock jumped, and that it has not reported since.
  const silent = evidence.receivers.filter((each) => isWitness(each) && !isGone(each) && !live.includes(each));
  const next = [...live.slice(0, maxWitnesses), ...silent.slice(0, maxWitnesses)];
  return {
    version: leg.target,
    at,
    shiftedMs: (journalled?.shiftedMs ?? 0) + shift,
    witnesses: next.map(({ instance, coveredSince }) => {
      const before = known.find((each) => each.instance === instance)?.coveredSince ?? -Infinity;
      return { instance, coveredSince: Math.max(coveredSince, before + shift) };
    }),
  };
}

/** How many live receivers are taken as witnesses, so that the end of one does not blind the run. */
const maxWitnesses = 3;

function provenOf({ proven }: Run, { target }: Leg): Proven | null {
  return proven?.version === target ? proven : null;
}

/** How far the wall clock was set forward since it was last journalled: what no clock's adjustment and no late report explains. */
function unjournalledShift({ witnesses }: Proven, { receivers }: UsageEvidence): number {
  const shifts = witnesses.flatMap(({ instance, coveredSince }) => {
    const present = receivers.find((each) => each.instance === instance && !isGone(each));
    return present === undefined ? [] : [present.coveredSince - coveredSince];
  });
  const shift = Math.max(0, ...shifts);
  return shift > shiftBoundMs ? shift : 0;
}

function isGone({ signedOffAt, forgottenAt }: ReceiverEvidence): boolean {
  return signedOffAt !== null || forgottenAt !== null;
}

/**
 * When the upstream was switched, epoch ms: its answer, else the promotion that followed, else the first delivery under
 * the new version, else a person's word; null when nothing tells. Moved along where the wall clock was set forward since.
 */
export function switchMoment(run: Run, leg: Leg, evidence: UsageEvidence | null): number | null {
  const answered = callsOf(run, leg).findLast((intent) => intent.result?.outcome === 'done')?.result?.at ?? null;
  const promoted = intentsOf(run, leg.promotion).at(-1)?.at ?? null;
  const journalled = provenOf(run, leg);
  const shift =
    journalled === null ? 0 : journalled.shiftedMs + (evidence === null ? 0 : unjournalledShift(journalled, evidence));
  const known = answered ?? promoted;
  if (known !== null) return known + shift;
  return evidence === null ? confirmedAt(run) : provenAt(run, leg, evidence);
}
