import { keyringIn, type UsageRead } from '../decide/observation.ts';
import { behindWords, foreignClaimWords, highestReported } from '../decide/problems.ts';
import { KeyturnError } from '../model/errors.ts';
import { idBytes, idFrom } from '../model/id.ts';
import { primaryOf, type Claim, type Keyring } from '../model/keyring.ts';
import { isMigration } from '../model/migration.ts';
import type { SecretPolicy } from '../model/policy.ts';
import { holdOf, type Intent, type Run } from '../model/run.ts';
import type { NewEvent } from '../ports/journal.ts';
import type { StoreToken } from '../ports/secret-store.ts';
import { stepWords } from './advance.ts';
import { unknownCall } from './keep.ts';
import { readUsage } from './observe.ts';
import type { Parts } from './parts.ts';
import { eventOf } from './perform.ts';
import { lastRun, liveRun } from './runs.ts';
import type { Tenure } from './tenure.ts';

/**
 * The highest keyring revision that journal and receivers know of; what the store shows must not be below it. Throws
 * `usage-unreachable`: who writes a keyring without a run has no other moment to wait for the receivers' word.
 */
export async function knownRevision(parts: Parts, secret: string): Promise<number> {
  const usage = await readUsage(parts, { secret });
  if (usage.state === 'failed') throw usage.error;
  return highestKnown(parts, secret, usage);
}

async function highestKnown(parts: Parts, secret: string, usage: UsageRead): Promise<number> {
  const run = await lastRun(parts, secret);
  return Math.max(run?.revision ?? 0, highestReported({ usage }));
}

/** The keyring as a commit needs it: an empty one where there is none. Throws the store's error. */
export async function readKeyring(
  parts: Parts,
  policy: SecretPolicy,
): Promise<{ readonly keyring: Keyring; readonly token: StoreToken }> {
  const store = await parts.store(policy.store);
  const reads = await store.read([{ secret: policy.secret, key: policy.key }]);
  const read = reads.get(policy.secret) ?? ({ state: 'absent', token: null } as const);
  if (read.state === 'failed') throw read.error;
  return { keyring: keyringIn(read, policy.secret), token: read.token };
}

export interface StartOptions {
  readonly reason: string;
  /** Everything that is accepted may be in wrong hands: a live run ends, and gates are none. */
  readonly compromised?: boolean;
  /** The run of another journal, as its claim names it, whose place is taken. */
  readonly takeOver?: string | undefined;
}

/**
 * The secret's live run, or a new one. Refused before anything is written: a keyring that another journal has claimed and
 * that is not to be taken over (`foreign-claim`), one that is older than what is known of it (`drift`), and to take the
 * place of a run that is held (`run-held`).
 */
export async function startRun(
  parts: Parts,
  policy: SecretPolicy,
  tenure: Tenure,
  options: StartOptions,
): Promise<{ readonly run: Run; readonly joined: boolean }> {
  const { reason, compromised = false, takeOver } = options;
  const live = await liveRun(parts, policy.secret);
  if (live !== null && !compromised && takeOver === undefined) return { run: live, joined: true };
  const known = await highestKnown(parts, policy.secret, await readUsage(parts, policy));
  const { keyring } = await readKeyring(parts, policy);
  const claim = foreignClaim(parts, keyring, live);
  if (claim === null && takeOver !== undefined) {
    if (live === null || !isStandIn(live, takeOver)) throw nothingToTakeOver(policy.secret, takeOver);
    if (!compromised) return { run: live, joined: true };
  }
  if (live !== null) refuseHeld(live);
  // What was left behind is older than what receivers hold, and nothing is wrong with that.
  if (claim !== null && isMigration(claim) && claim.run !== takeOver) throw foreignClaimError(policy.secret, claim);
  const behind = behindWords(policy.secret, keyring, known);
  if (behind !== null) throw new KeyturnError('drift', behind.message, { hint: behind.hint });
  if (claim !== null && claim.run !== takeOver) throw foreignClaimError(policy.secret, claim);
  const fresh = { ...newRun(parts, policy, keyring, reason), compromised };
  const run =
    claim !== null
      ? takingOver(parts, fresh, claim, live)
      : live === null
        ? fresh
        : superseding(parts, fresh, live, keyring);
  const events = [startedEvent(parts, run), eventOf(parts, run, 'step-entered', stepWords.generate)];
  if (live === null) return parts.journal.begin(run, events, tenure.lease);
  const why = claim === null ? 'the versions in use may be in wrong hands' : `run ${claim.run} has the keyring`;
  const ended = eventOf(parts, live, 'superseded', `Run ${run.id} takes its place: ${why}.`, { by: run.id });
  return { run: await parts.journal.supersede(live, run, [ended, ...events], tenure.lease), joined: false };
}

export function foreignClaimError(secret: string, claim: Claim): KeyturnError {
  const { message, hint } = foreignClaimWords(secret, claim);
  return new KeyturnError('foreign-claim', message, { hint, details: { ...claim } });
}

function startedEvent(parts: Parts, run: Run): NewEvent {
  const { id, reason, from, to, compromised, tookOver } = run;
  const how =
    tookOver === null ? '' : compromised ? `, in the place of run ${tookOver.run}` : `, as run ${tookOver.run} goes on`;
  return eventOf(parts, run, 'started', `Run ${id} started: ${reason}${how}.`, { from, to, compromised, tookOver });
}

/** The claim of a run that is neither the live one of this journal nor the one whose place that took; null where there is none. */
function foreignClaim(parts: Parts, { claim }: Keyring, live: Run | null): Claim | null {
  if (claim === null || live === null) return claim;
  const isOurs = claim.run === live.id && claim.journal === parts.journal.id;
  const isTaken = claim.run === live.tookOver?.run && claim.journal === live.tookOver.journal;
  return isOurs || isTaken ? null : claim;
}

/** Whether that run is the live one, or the one whose place it took: the same command may come twice. */
function isStandIn(live: Run, run: string): boolean {
  return live.id === run || live.tookOver?.run === run;
}

function refuseHeld(run: Run): void {
  const hold = holdOf(run);
  if (hold === null) return;
  throw new KeyturnError('run-held', `${hold.who} holds run ${run.id} of ${run.secret}, and nothing passes a hold.`, {
    hint: `First: keyturn unhold ${run.secret} --reason "…"`,
    details: { run: run.id, who: hold.who },
  });
}

function nothingToTakeOver(secret: string, run: string): KeyturnError {
  return new KeyturnError(
    'wrong-state',
    `The keyring of ${secret} has no claim of run ${run}: nothing is to be taken over.`,
    {
      hint: `See keyturn status ${secret}; to start a run: keyturn rotate ${secret}`,
    },
  );
}

/**
 * A run that goes on from another journal's claim. What that one did is not known here, so that the upstream may have been
 * told: an intent without a result stands for it, in flight until the deadline that the claim names.
 */
function takingOver(parts: Parts, fresh: Run, claim: Claim, live: Run | null): Run {
  // Whoever copies a keyring calls nobody.
  if (isMigration(claim))
    return { ...fresh, tookOver: { run: claim.run, journal: claim.journal }, intents: inFlightOf(live) };
  const deadline = claim.deadline === null ? parts.clock.now() : Date.parse(claim.deadline);
  const intents = [...inFlightOf(live), unknownCall(parts, claim.to, deadline)];
  const tookOver = { run: claim.run, journal: claim.journal };
  if (fresh.compromised) return { ...fresh, tookOver, intents };
  return { ...fresh, tookOver, kind: claim.kind, from: claim.from, to: claim.to, intents };
}

/** The claim may still be that of the run whose place the superseded one took. */
function superseding(parts: Parts, fresh: Run, live: Run, { claim }: Keyring): Run {
  const tookOver = claim ?? { run: live.id, journal: parts.journal.id };
  return {
    ...fresh,
    tookOver: { run: tookOver.run, journal: tookOver.journal },
    intents: inFlightOf(live),
  };
}

/** What a superseded run may still have in flight: it is waited for. */
function inFlightOf(superseded: Run | null): readonly Intent[] {
  return (superseded?.intents ?? []).filter((intent) => intent.result === null);
}

/** A run that has done nothing yet, with its ids and the policy frozen into it. */
export function newRun(parts: Parts, policy: SecretPolicy, keyring: Keyring | null, reason: string): Run {
  const { random, clock, who } = parts;
  const from = keyring === null ? null : (primaryOf(keyring)?.id ?? null);
  return {
    id: idFrom('run', random.bytes(idBytes)),
    secret: policy.secret,
    kind: from === null ? 'first' : 'rotation',
    state: 'live',
    step: 'generate',
    reason,
    startedBy: who,
    startedAt: clock.now(),
    endedAt: null,
    from,
    to: idFrom('version', random.bytes(idBytes)),
    compromised: false,
    tookOver: null,
    policy,
    gateClock: null,
    proven: null,
    revision: keyring?.revision ?? 0,
    intents: [],
    moves: [],
    changes: 0,
  };
}
