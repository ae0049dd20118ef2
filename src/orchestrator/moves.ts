import { canGoBack, mayHaveSwitched } from '../decide/leg.ts';
import { keyringIn } from '../decide/observation.ts';
import { foreignClaimWords } from '../decide/problems.ts';
import { overrulable } from '../decide/person-checks.ts';
import type { CheckName } from '../model/check.ts';
import { KeyturnError } from '../model/errors.ts';
import { findVersion, type Keyring } from '../model/keyring.ts';
import type { SecretPolicy } from '../model/policy.ts';
import {
  gateOf,
  holdOf,
  intentsOf,
  type GateStep,
  type PersonMove,
  type PersonMoveKind,
  type Run,
} from '../model/run.ts';
import { observe } from './observe.ts';
import type { Parts } from './parts.ts';
import { eventOf } from './perform.ts';
import { liveRun } from './runs.ts';
import { readKeyring } from './start.ts';

/** What people tell a live run. Each word is journalled with who said it, when and why, and acts at the next look. */

/** The live run. Throws `no-live-run`; `foreign-claim` where another journal has one. */
export async function requireLive(parts: Parts, policy: SecretPolicy): Promise<Run> {
  const { secret } = policy;
  const run = await liveRun(parts, secret);
  if (run !== null) return run;
  const { claim } = (await readKeyring(parts, policy)).keyring;
  if (claim !== null) {
    const { message, hint } = foreignClaimWords(secret, claim);
    throw new KeyturnError('foreign-claim', message, { hint, details: { ...claim } });
  }
  throw new KeyturnError('no-live-run', `${secret} is not being rotated.`, {
    hint: `See keyturn status ${secret}; to start: keyturn rotate ${secret}`,
  });
}

export async function confirm(parts: Parts, run: Run, why: string | null): Promise<Run> {
  const { mayHaveHappened } = await lookAt(parts, run);
  if (mayHaveHappened)
    return say(parts, run, { kind: 'confirm', why }, 'A person confirmed that the upstream has the value.');
  throw new KeyturnError(
    'wrong-state',
    `Run ${run.id} of ${run.secret} is in step ${run.step}: the upstream was not told yet, so there is nothing to confirm.`,
    { hint: `See what it waits for: keyturn status ${run.secret}` },
  );
}

/** Ends the run as it began: at once before the switch, by the way back after it. Throws `wrong-state` where nothing is left to go back to. */
export async function abort(parts: Parts, run: Run, why: string): Promise<Run> {
  const { mayHaveHappened, keyring } = await lookAt(parts, run);
  const refuse = (message: string, hint: string): never => {
    throw new KeyturnError('wrong-state', message, { hint });
  };
  const again = `To get rid of the present value: keyturn rotate ${run.secret}, or with --compromised where it may be in wrong hands.`;
  if (run.compromised && (findVersion(keyring, run.to) !== null || mayHaveStored(run))) {
    refuse(`Run ${run.id} of ${run.secret} cannot go back: what was in use before it is marked compromised.`, again);
  }
  if (mayHaveHappened && run.from === null) {
    refuse(
      `Run ${run.id} of ${run.secret} cannot go back: it is the first rotation, so there is no older value.`,
      again,
    );
  }
  if (mayHaveHappened && !canGoBack(run, keyring)) {
    const isErased = (findVersion(keyring, run.from ?? '')?.value ?? null) === null;
    const why = isErased ? 'is revoked, and its value is erased' : 'is marked compromised';
    refuse(`Run ${run.id} of ${run.secret} cannot go back: version ${run.from ?? ''} ${why}.`, again);
  }
  return say(parts, run, { kind: 'abort', why }, `A person aborted the run: ${why}`);
}

/** A store whose reads lag shows the commit only later, and a crash may have kept its answer from the journal. */
function mayHaveStored(run: Run): boolean {
  return intentsOf(run, 'generate').some(({ result }) => result?.outcome !== 'failed');
}

export async function hold(parts: Parts, run: Run, why: string): Promise<Run> {
  const present = holdOf(run);
  if (present !== null) {
    throw new KeyturnError('wrong-state', `${present.who} holds run ${run.id} of ${run.secret} already.`, {
      hint: `To let it go on: keyturn unhold ${run.secret} --reason "…"`,
    });
  }
  return say(parts, run, { kind: 'hold', why }, `A person holds the run: ${why}`);
}

/** Checks that stand at one gate alone: a word about one at the other would be noted, and change nothing. */
const onlyGate: Readonly<Partial<Record<CheckName, GateStep>>> = {
  propagation: 'deploy',
  canary: 'deploy',
  cutover: 'deploy',
  blackout: 'deploy',
  grace: 'monitor',
  coverage: 'monitor',
  'new-seen': 'monitor',
  'old-quiet': 'monitor',
  'retry-tail': 'monitor',
};

/** Lets a held or timed-out run go on; with `accept`, overrules that check of the present gate. Throws `wrong-state` for one of the other. */
export async function unhold(parts: Parts, run: Run, accept: CheckName | null, why: string): Promise<Run> {
  if (accept === null) return say(parts, run, { kind: 'unhold', why }, `A person lets the run go on: ${why}`);
  const gate = onlyGate[accept] ?? gateOf(run.step);
  if (gate !== gateOf(run.step)) {
    throw new KeyturnError(
      'wrong-state',
      `The gate that run ${run.id} of ${run.secret} waits at has no check ${accept}, which is for the one in step ${gate}.`,
      { hint: `See what it waits for: keyturn status ${run.secret}` },
    );
  }
  return say(parts, run, { kind: 'accept', check: accept, why }, `A person overruled the check ${accept}: ${why}`);
}

/** The check of that name, if a person may overrule it. Throws `usage`. */
export function overrulableCheck(name: string): CheckName {
  const found = overrulable.find((each) => each === name);
  if (found !== undefined) return found;
  throw new KeyturnError('usage', `"${name}" is no check that a person can overrule.`, {
    hint: `These are: ${overrulable.join(', ')}.`,
  });
}

export async function approve(parts: Parts, run: Run, why: string | null): Promise<Run> {
  requireApprovals(run);
  return say(parts, run, { kind: 'approve', why }, 'A person approved it.');
}

/** Before the switch the run ends; after it, it is held with both versions accepted. */
export async function deny(parts: Parts, run: Run, why: string): Promise<Run> {
  requireApprovals(run);
  return say(parts, run, { kind: 'deny', why }, `A person denied it: ${why}`);
}

function requireApprovals({ id, secret, policy, compromised }: Run): void {
  if (policy.approvals > 0 && !compromised) return;
  const why = compromised ? 'it is under compromise' : 'its policy had approvals 0';
  const orAbort = compromised ? '' : `, or keyturn abort ${secret} --reason "…"`;
  throw new KeyturnError('wrong-state', `Run ${id} of ${secret} asks for no approval: ${why}.`, {
    hint: `To stop it: keyturn hold ${secret} --reason "…"${orAbort}`,
  });
}

async function lookAt(
  parts: Parts,
  run: Run,
): Promise<{ readonly keyring: Keyring; readonly mayHaveHappened: boolean }> {
  const seen = await observe(parts, run.policy, { token: null, retrySince: null });
  if (seen.keyring.state === 'failed') throw seen.keyring.error;
  const keyring = keyringIn(seen.keyring, run.secret);
  return { keyring, mayHaveHappened: mayHaveSwitched(run, keyring, seen) };
}

interface Word {
  readonly kind: PersonMoveKind;
  readonly why: string | null;
  readonly check?: CheckName | null;
}

async function say(parts: Parts, run: Run, { kind, why, check = null }: Word, message: string): Promise<Run> {
  const { journal, clock, who } = parts;
  const move: PersonMove = { kind, step: run.step, check, who, why, at: clock.now() };
  await journal.move(run.id, move, eventOf(parts, run, kind, message, { why, ...(check === null ? {} : { check }) }));
  return (await liveRun(parts, run.secret)) ?? run;
}
