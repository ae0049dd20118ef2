import { failing, type Check } from '../model/check.ts';
import {
  acceptedVersions,
  findVersion,
  isSettled,
  primaryOf,
  retireSet,
  type Claim,
  type Keyring,
  type Version,
} from '../model/keyring.ts';
import {
  intentsOf,
  isDone,
  lastIntent,
  wantsAbort,
  type EffectKind,
  type GateStep,
  type Run,
  type Step,
} from '../model/run.ts';
import { attempt, callUpstream, waitForInFlight } from './attempt.ts';
import { check, confirmCommand } from './check.ts';
import type { Decision, End, Problem, Wait } from './decision.ts';
import { usageUnread } from './fleet-checks.ts';
import { deployGate, monitorGate } from './gates.ts';
import { callsOf, canGoBack, isSwitched, legOf, mayHaveSwitched, type Leg } from './leg.ts';
import { keyringIn, type Observation } from './observation.ts';
import { held } from './person-checks.ts';
import { behindWords, driftWait, foreignClaimWait, foreignClaimWords, highestReported, storeWait } from './problems.ts';

/**
 * The next thing to do for a live run: one effect, or a wait with its checks, or the end. Pure and total: the same run,
 * observation and time (epoch ms of the orchestrator's clock) give the same decision, whoever asks and however often.
 */
export function decide(run: Run, seen: Observation, now: number): Decision {
  if (seen.keyring.state === 'failed') return storeWait(run, seen.keyring.error);
  const keyring = keyringIn(seen.keyring, run.secret);
  const behind = behindWords(run.secret, keyring, Math.max(run.revision, highestReported(seen)));
  // Where a store's reads lag, an older document is also what a read right after a commit may give.
  if (behind !== null) return driftWait(run, behind, seen.propagationLagMs > 0);
  const to = findVersion(keyring, run.to);
  const { claim } = keyring;
  const isOurs = claim !== null && claim.journal === seen.journal && claim.run === run.id;
  const isForUs = claim !== null && isTakenOver(run, claim);
  if (!isOurs && !isForUs && isOver(run, keyring, to)) return afterOver(run, keyring, to, seen, now);
  if (claim !== null && !isOurs && !isForUs) {
    if (mayHaveActed(run, to)) return foreignClaimWait(run, claim);
    const words = foreignClaimWords(run.secret, claim);
    const problem = { code: 'foreign-claim', ...words, retryable: false } as const;
    return { ...aborted(run, words.message), problem };
  }
  // A rotation under compromise takes the claim with its first commit, any other before it does anything else.
  const mustClaim = isOurs ? hasStaleIntent(run, seen) : isForUs && (to !== null || !run.compromised);
  if (mustClaim) {
    return (isOurs ? null : waitForWitnesses(run, keyring, seen)) ?? attempt(run, run.step, 'reclaim', seen, now);
  }
  return byStage(run, keyring, to, seen, now);
}

/** Whether anything in the keyring may be this run's doing. */
function mayHaveActed(run: Run, to: Version | null): boolean {
  return !hasTakenNothing(run) && (to !== null || wasStored(run));
}

/** A run that is to take the place of another one begins by claiming the keyring; until then all in it is the other's. */
function hasTakenNothing(run: Run): boolean {
  const isStandIn = run.tookOver !== null && !run.compromised;
  return isStandIn && intentsOf(run, 'reclaim').every((intent) => intent.result?.outcome === 'failed');
}

/** The claim of the run whose place this one takes. */
function isTakenOver({ tookOver }: Run, claim: Claim): boolean {
  return tookOver !== null && claim.run === tookOver.run && claim.journal === tookOver.journal;
}

function byStage(run: Run, keyring: Keyring, to: Version | null, seen: Observation, now: number): Decision {
  const leg = legOf(run, keyring, seen);
  switch (to?.stage) {
    case undefined:
      return beforeGenerate(run, keyring, seen, now);
    case 'pending':
      return leg.isBack
        ? onTheWayBack(run, leg, keyring, seen, now)
        : beforePromotion(run, leg, keyring, to, seen, now);
    case 'primary':
      return leg.isBack ? onTheWayBack(run, leg, keyring, seen, now) : afterPromotion(run, leg, keyring, seen, now);
    case 'revoked':
      return leg.isBack && isLeftTo(leg, keyring) && (keyring.claim !== null || !hasRevoked(run))
        ? onTheWayBack(run, leg, keyring, seen, now)
        : afterWithdrawal(run, keyring, seen, now);
    case 'deprecated':
      if (leg.isBack && isLeftTo(leg, keyring)) return onTheWayBack(run, leg, keyring, seen, now);
      return driftWait(run, {
        message: `Version ${run.to} of ${run.secret} became deprecated outside this run: somebody made another version primary.`,
        hint: `Look at keyturn status ${run.secret}, and make the keyring agree with what the upstream signs with.${backHint(run, keyring)}`,
      });
  }
}

/** Nothing is left of the way back but to tell the upstream, and to see that it did. */
function isLeftTo({ target }: Leg, keyring: Keyring): boolean {
  return primaryOf(keyring)?.id === target;
}

/** How a person has the upstream told the version that the run started from, where that is primary. */
function backHint(run: Run, keyring: Keyring): string {
  if (!canGoBack(run, keyring) || primaryOf(keyring)?.id !== run.from) return '';
  return ` To tell the upstream version ${run.from} again: keyturn abort ${run.secret} --reason "…"`;
}

/**
 * True when the last stage move of this run is in the keyring, whatever came after it: the version it headed for was made
 * primary, and the other one is revoked, or there was none. So it is for a run whose journal was lost and that its first
 * journal brought to its end after all.
 */
function isOver(run: Run, keyring: Keyring, to: Version | null): boolean {
  if (to === null || to.stage === 'pending') return false;
  if (hasTakenNothing(run)) return keyring.claim === null && (to.stage === 'revoked' || isSettled(keyring));
  const wasPromoted = intentsOf(run, 'promote').length > 0 || intentsOf(run, 'revoke').length > 0;
  if (to.stage === 'revoked' && !wasPromoted) return false;
  const isAlone = keyring.claim !== null || to.stage !== 'primary' || retireSet(keyring).length === 0;
  const from = run.from === null ? null : findVersion(keyring, run.from);
  const hasGoneBack = to.stage === 'revoked' && wantsAbort(run);
  return isAlone && (from === null || from.stage === 'revoked' || hasGoneBack);
}

function afterOver(run: Run, keyring: Keyring, to: Version | null, seen: Observation, now: number): Decision {
  const primary = primaryOf(keyring)?.id;
  const isLatest = keyring.claim === null && (primary === to?.id || primary === run.from);
  return (isLatest ? tidyUp(run, keyring, seen, now) : null) ?? ended(run, keyring, to);
}

/** A new version that is revoked and was not gone back from was replaced by a later rotation. */
function ended(run: Run, keyring: Keyring, to: Version | null): End {
  const isBackAtStart = run.from === null ? primaryOf(keyring) === null : isAcceptedIn(keyring, run.from);
  const wasLeft = !wantsAbort(run) && !isBackAtStart && mayHavePromoted(run);
  if (to?.stage !== 'revoked' || wasLeft) return completed(run);
  return mayHavePromoted(run) || intentsOf(run, 'restore').length > 0
    ? aborted(run, `Went back: version ${run.to} is revoked, ${run.from ?? 'nothing'} is primary again.`)
    : aborted(
        run,
        `Aborted before the switch: version ${run.to} is revoked, ${run.from ?? 'nothing'} is primary as before.`,
      );
}

function isAcceptedIn(keyring: Keyring, version: string): boolean {
  return acceptedVersions(keyring).some(({ id }) => id === version);
}

/** What a run did whose place this one took is not known here. */
function mayHavePromoted(run: Run): boolean {
  return run.tookOver !== null || intentsOf(run, 'promote').length > 0 || intentsOf(run, 'revoke').length > 0;
}

/** What the last commit leaves to do: plain copies, and what the store keeps of older documents. */
function tidyUp(run: Run, keyring: Keyring, seen: Observation, now: number): Decision | null {
  if (mustMirror(run, keyring)) return attempt(run, run.step, 'mirror', seen, now);
  return hasRevoked(run) && !isDone(run, 'purge') ? attempt(run, run.step, 'purge', seen, now) : null;
}

function hasRevoked(run: Run): boolean {
  return intentsOf(run, 'revoke').length > 0 || intentsOf(run, 'withdraw').length > 0;
}

const stageMoves: readonly EffectKind[] = ['generate', 'promote', 'reinstate', 'revoke', 'withdraw'];

/** True where plain copies may be of before the last stage move. Whoever reads them only finds what is written in time. */
function mustMirror(run: Run, keyring: Keyring): boolean {
  if (run.policy.mirrors.length === 0 || primaryOf(keyring) === null) return false;
  const moved = run.intents.findLastIndex(({ effect }) => stageMoves.includes(effect));
  return !run.intents.slice(moved + 1).some(({ effect, result }) => effect === 'mirror' && result?.outcome === 'done');
}

/** The same before the switch and the revocation. Under compromise a copy that cannot be written keeps neither waiting. */
function mustMirrorFirst(run: Run, keyring: Keyring): boolean {
  const hasFailed = (lastIntent(run, 'mirror')?.result?.outcome ?? 'done') !== 'done';
  return mustMirror(run, keyring) && !(run.compromised && hasFailed);
}

/**
 * True when a process that held an earlier lease wrote down an effect and not what came of it: it may have been stopped
 * right before its commit. A commit of ours makes that one fail, because it was made for an older document.
 */
function hasStaleIntent(run: Run, seen: Observation): boolean {
  const lastClaimed = run.intents.findLastIndex(
    (intent) => intent.effect === 'reclaim' && intent.result?.outcome === 'done',
  );
  return run.intents
    .slice(lastClaimed + 1)
    .some((intent) => seen.token !== null && intent.token !== seen.token && intent.result === null);
}

/** The new version certainly was in the store once. */
function wasStored(run: Run): boolean {
  return isDone(run, 'generate') || intentsOf(run, 'activate').some((intent) => intent.version === run.to);
}

/** The run's new value is nowhere yet: make it, unless there is no longer a reason to. */
function beforeGenerate(run: Run, keyring: Keyring, seen: Observation, now: number): Decision {
  const step: Step = 'generate';
  const isGivenUp = wantsAbort(run) && !mayHaveSwitched(run, keyring, seen);
  if (wasStored(run) && !isGivenUp) {
    return driftWait(run, {
      message: `Version ${run.to} of ${run.secret} was stored and is gone from its keyring.`,
      hint: `Restore the document that has it; receivers keep what they hold until then. Where it is lost for good: keyturn abort ${run.secret} --reason "its keyring was lost", or, once the upstream was told: keyturn rotate ${run.secret} --compromised`,
    });
  }
  const primary = primaryOf(keyring)?.id ?? null;
  // Under compromise it matters nothing which version is primary: none of them may stay.
  if (!wantsAbort(run) && (primary === run.from || run.compromised)) {
    return waitForWitnesses(run, keyring, seen) ?? attempt(run, step, 'generate', seen, now);
  }
  const inFlight = waitForInFlight(run, step, ['generate'], now);
  if (inFlight !== null) return inFlight;
  if (wantsAbort(run)) return aborted(run, `Aborted before the switch: ${primary ?? 'nothing'} is primary.`);
  return aborted(
    run,
    `Ended before anything was changed: the primary is ${primary ?? 'none'}, not ${run.from ?? 'none'} as when this run started.`,
  );
}

/**
 * What a store shows may be older than what receivers hold, or gone, and a journal that never moved this keyring cannot
 * know. Written over before anybody looked, it would lack versions that somebody signs with. Under compromise there is no
 * time to wait for that, but where the store has nothing at all.
 */
function waitForWitnesses(run: Run, keyring: Keyring, { usage }: Observation): Wait | null {
  if (usage.state === 'read' || (run.compromised && keyring.revision > 0)) return null;
  return { kind: 'wait', step: run.step, checks: [usageUnread(usage.error.message)], problem: null };
}

/** Stored and pending: wait until every receiver holds it, then switch the upstream, then call it primary. */
function beforePromotion(
  run: Run,
  leg: Leg,
  keyring: Keyring,
  { compromised }: Version,
  seen: Observation,
  now: number,
): Decision {
  if ((wantsAbort(run) || compromised) && !mayHaveSwitched(run, keyring, seen)) {
    return attempt(run, run.step, 'withdraw', seen, now);
  }
  if (compromised) {
    return driftWait(run, {
      message: `Version ${run.to} of ${run.secret} is marked compromised, and the upstream may sign with it already.`,
      hint: `It can never become primary. Make a new one at once: keyturn rotate ${run.secret} --compromised`,
    });
  }
  if (isSwitched(run, leg, keyring, seen)) return attempt(run, 'update', 'promote', seen, now);
  if (mustMirrorFirst(run, keyring)) return attempt(run, 'deploy', 'mirror', seen, now);
  const closed = waitAtGate('deploy', deployGate(run, leg, keyring, seen, now));
  const call = unknownOutcome(run, leg) ?? callUpstream(run, 'update', 'activate', seen, now);
  if (closed === null) return call;
  return isLeftToCanaries(closed) ? askByCanaries(run, closed, call, seen, now) : closed;
}

function isLeftToCanaries({ checks }: Wait): boolean {
  return failing(checks).every(({ name }) => name === 'canary');
}

/** Nor are they sent while the call itself is waited for: they are few, and fresh when it is made. */
function askByCanaries(run: Run, closed: Wait, call: Decision, seen: Observation, now: number): Decision {
  if (call.kind === 'wait') return call;
  const asked = attempt(run, 'deploy', 'canary', seen, now);
  return asked.kind === 'perform' ? asked : closed;
}

/**
 * After the switch, told to go back: the upstream gets the old value again, the old version is primary again, and the new
 * one is revoked when nobody uses it. Both stay accepted until then, so nothing has to be deployed first.
 */
function onTheWayBack(run: Run, leg: Leg, keyring: Keyring, seen: Observation, now: number): Decision {
  if (!isSwitched(run, leg, keyring, seen)) {
    return (
      waitAtGate('monitor', [held(run)]) ??
      unknownOutcome(run, leg) ??
      callUpstream(run, 'update', 'restore', seen, now)
    );
  }
  if (primaryOf(keyring)?.id !== leg.target) return attempt(run, 'update', 'reinstate', seen, now);
  return whenUnused(run, leg, keyring, seen, now);
}

/** Where telling twice is not the same as telling once, an answer that was lost is for a person to find out. */
function unknownOutcome(run: Run, leg: Leg): Wait | null {
  if (run.policy.upstream.capabilities.idempotent) return null;
  const unknown = callsOf(run, leg).find((intent) => (intent.result?.outcome ?? 'unknown') === 'unknown');
  if (unknown === undefined) return null;
  const outcome = check('upstream', false, 'person', {
    reason: 'outcome-unknown',
    message:
      'Whether the upstream took the value is not known, and it must not be told twice. Look there; a delivery under that version settles it too.',
    since: unknown.at,
    command: confirmCommand(run),
    evidence: { intent: unknown.id, version: leg.target },
  });
  return { kind: 'wait', step: 'update', checks: [outcome], problem: null };
}

/** Primary: wait until the old one is not used, tell the upstream once more, revoke, erase, done. */
function afterPromotion(run: Run, leg: Leg, keyring: Keyring, seen: Observation, now: number): Decision {
  if (retireSet(keyring).length > 0) return whenUnused(run, leg, keyring, seen, now);
  if (keyring.claim !== null) return attempt(run, 'revoke', 'revoke', seen, now);
  return tidyUp(run, keyring, seen, now) ?? completed(run);
}

function whenUnused(run: Run, leg: Leg, keyring: Keyring, seen: Observation, now: number): Decision {
  if (mustMirrorFirst(run, keyring)) return attempt(run, 'monitor', 'mirror', seen, now);
  const checks = monitorGate(run, leg, keyring, seen, now);
  const closed = waitAtGate('monitor', checks);
  if (closed !== null) {
    const isUnseen = closed.problem === null && failing(checks).some((each) => each.name === 'new-seen');
    return isUnseen && mayTellAgain(run, leg, seen) ? callUpstream(run, 'monitor', 'reassert', seen, now) : closed;
  }
  return mustReassert(run, leg, now)
    ? callUpstream(run, 'revoke', 'reassert', seen, now)
    : attempt(run, 'revoke', 'revoke', seen, now);
}

/** How long a call counts as having told the upstream what it is to sign with: revoke must follow it at once. */
const tellingCountsMs = 60_000;

function mustReassert(run: Run, leg: Leg, now: number): boolean {
  if (!run.policy.upstream.capabilities.idempotent) return false;
  const effects: readonly EffectKind[] = run.compromised ? [leg.call, 'reassert'] : ['reassert'];
  const last = run.intents.findLast((intent) => effects.includes(intent.effect) && intent.version === leg.target);
  const told = last?.result ?? null;
  return told?.outcome !== 'done' || now - told.at >= tellingCountsMs || now < told.at;
}

/** The gate as a wait, if it is closed. A hold and a timeout are for a person, whatever the other checks say. */
function waitAtGate(step: GateStep, checks: readonly Check[]): Wait | null {
  const closed = failing(checks);
  if (closed.length === 0) return null;
  return { kind: 'wait', step, checks, problem: heldProblem(closed) };
}

function heldProblem(closed: readonly Check[]): Problem | null {
  const stop = closed.find(({ name }) => name === 'held' || name === 'timeout');
  if (stop === undefined) return null;
  const { name, message, command } = stop;
  const code = name === 'held' ? 'run-held' : 'gate-timeout';
  return { code, message, hint: command === null ? null : `To let it go on: ${command}`, retryable: false };
}

/**
 * A person has asked for another try, and the upstream, which said that it took the value, does not sign with it: telling
 * it once more is all that a try can be.
 */
function mayTellAgain(run: Run, leg: Leg, seen: Observation): boolean {
  const { retrySince } = seen;
  const told = [callsOf(run, leg).at(-1), lastIntent(run, 'reassert')].flatMap((intent) => intent?.at ?? []);
  const { idempotent } = run.policy.upstream.capabilities;
  return idempotent && retrySince !== null && Math.max(-Infinity, ...told) < retrySince;
}

function afterWithdrawal(run: Run, keyring: Keyring, seen: Observation, now: number): Decision {
  if (mayHaveSwitched(run, keyring, seen) && intentsOf(run, 'revoke').length === 0) {
    return driftWait(run, {
      message: `Version ${run.to} of ${run.secret} was revoked outside this run, and the upstream may sign with it.`,
      hint: `Its value is erased; give the upstream the value of the primary again by hand.${backHint(run, keyring)}`,
    });
  }
  return tidyUp(run, keyring, seen, now) ?? ended(run, keyring, findVersion(keyring, run.to));
}

function aborted(run: Run, message: string): End {
  return { kind: 'end', step: run.step, state: 'aborted', message, problem: null };
}

function completed(run: Run): End {
  const message =
    run.kind === 'first'
      ? `Version ${run.to} is primary; there was nothing to retire.`
      : `Version ${run.to} is primary and everything else is revoked.`;
  return { kind: 'end', step: 'revoke', state: 'completed', message, problem: null };
}
