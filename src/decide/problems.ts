import type { KeyturnError } from '../model/errors.ts';
import type { Claim, Keyring } from '../model/keyring.ts';
import { isMigration } from '../model/migration.ts';
import type { Run } from '../model/run.ts';
import type { Wait } from './decision.ts';
import { check } from './check.ts';
import type { Observation } from './observation.ts';

/** Waits in which the store itself is what is wrong. */

export interface Words {
  readonly message: string;
  readonly hint: string;
}

export function storeWait(run: Run, error: KeyturnError): Wait {
  const retryable =
    error.code === 'store-unreachable' || error.code === 'store-throttled' || error.code === 'store-busy';
  const storeCheck = check('store', false, retryable ? 'upstream' : 'person', {
    reason: error.code,
    message: error.message,
  });
  const { code, message, hint } = error;
  return { kind: 'wait', step: run.step, checks: [storeCheck], problem: { code, message, hint, retryable } };
}

/** The journal does not take what is to be done, so nothing is. */
export function journalWait(run: Run, { code, message, hint }: KeyturnError): Wait {
  const journalCheck = check('journal', false, 'time', { reason: code, message });
  return { kind: 'wait', step: run.step, checks: [journalCheck], problem: { code, message, hint, retryable: true } };
}

/** The store contradicts what is known, and moving on could lose a version that somebody signs with. */
export function driftWait(run: Run, words: Words, retryable = false): Wait {
  return {
    kind: 'wait',
    step: run.step,
    checks: [check('keyring', false, retryable ? 'time' : 'person', { reason: 'drift', message: words.message })],
    problem: { code: 'drift', ...words, retryable },
  };
}

export function foreignClaimWait(run: Run, claim: Claim): Wait {
  const words = foreignClaimWords(run.secret, claim);
  return {
    kind: 'wait',
    step: run.step,
    checks: [check('claim', false, 'person', { reason: 'foreign-claim', message: words.message })],
    problem: { code: 'foreign-claim', ...words, retryable: false },
  };
}

/** What to tell somebody whose journal is not the one that rotates this secret now. */
export function foreignClaimWords(secret: string, claim: Claim): Words {
  if (isMigration(claim)) return migrationWords(secret, claim);
  return {
    message: `${secret} is being rotated by run ${claim.run} of journal ${claim.journal}; this journal keeps its hands off.`,
    hint: `Continue where that journal is, or wait until that run has ended. If that journal is lost for good, go on from here: keyturn rotate ${secret} --take-over ${claim.run}`,
  };
}

function migrationWords(secret: string, { from, to, run }: Claim): Words {
  const stores = { from: from ?? '', to };
  return {
    message: `The keyring of ${secret} was taken from the store ${stores.from} to the store ${to} by keyturn migrate; nothing moves it in ${stores.from} any more.`,
    hint: `Where that was cut short, finish it: keyturn migrate ${secret} --from ${stores.from} --to ${to}; then give it "store": "${to}" in the policy. To come back: keyturn migrate ${secret} --from ${to} --to ${stores.from}. If the store ${to} is lost for good: keyturn rotate ${secret} --take-over ${run}`,
  };
}

/** The highest keyring revision that a receiver reports: receivers never go back below what they hold. */
export function highestReported(seen: Pick<Observation, 'usage'>): number {
  if (seen.usage.state === 'failed') return 0;
  return Math.max(0, ...seen.usage.evidence.receivers.map((receiver) => receiver.revision));
}

/** The store shows an older keyring than is known of, so that it lacks what was decided since; null when it does not. */
export function behindWords(secret: string, keyring: Keyring, known: number): Words | null {
  if (keyring.revision >= known) return null;
  const isGone = keyring.revision === 0;
  return {
    message: isGone
      ? `The keyring of ${secret} was there at revision ${String(known)} and is gone from the store.`
      : `The keyring of ${secret} is at revision ${String(keyring.revision)}, older than ${String(known)}, which was seen before: the store was put back to an older state.`,
    hint: isGone
      ? `Restore its document. If it is lost for good, take over the value in use now: keyturn adopt ${secret} --stdin; and end a live run: keyturn abort ${secret} --reason "its keyring was lost"`
      : 'Restore the newest document of this secret in the store; receivers keep what they hold until then.',
  };
}
