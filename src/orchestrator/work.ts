import type { Observation } from '../decide/observation.ts';
import { isKeyturnError, messageOf, type ErrorCode } from '../model/errors.ts';
import type { EffectKind, Intent, IntentResult, Run } from '../model/run.ts';
import { redacting } from '../ports/redact.ts';
import type { Parts } from './parts.ts';
import type { Tenure } from './tenure.ts';

/** One effect of one run, with all that it may look at. */
export interface Work {
  readonly parts: Parts;
  readonly tenure: Tenure;
  readonly run: Run;
  readonly seen: Observation;
  readonly effect: EffectKind;
  /** As it was journalled before the effect. */
  readonly intent: Intent;
}

/** What came of an effect. */
export interface Performed {
  readonly result: IntentResult;
  /** The keyring revision that is known now. */
  readonly revision: number;
  /** The upstream's own id of the call, where it was called and named one. */
  readonly upstreamRequestId?: string | null;
  /** What the event that tells of it says for programs, beside what every event does. */
  readonly facts?: Readonly<Record<string, unknown>>;
}

export function done(parts: Parts): IntentResult {
  return { outcome: 'done', at: parts.clock.now(), code: null, message: null, retryAt: null, retryable: true };
}

/** After these it is not known whether the effect happened. */
const unknownCodes: readonly ErrorCode[] = [
  'upstream-failed',
  'upstream-unknown',
  'store-unreachable',
  'store-throttled',
];

/** After these a further try ends the same until a person changes something. */
const finalCodes: readonly ErrorCode[] = [
  'upstream-refused',
  'credential-missing',
  'policy-invalid',
  'store-denied',
  'store-too-large',
  'store-newer-format',
  'store-corrupt',
  'store-encrypted',
  'mirror-invalid',
  'canary-unverified',
];

/**
 * What an error means for the effect that it ended. `wasBegun` is false where it came before the effect itself was asked
 * for, so that it certainly did not happen.
 */
export function failure(parts: Pick<Parts, 'clock' | 'log'>, error: unknown, wasBegun: boolean): IntentResult {
  const at = parts.clock.now();
  if (!isKeyturnError(error)) {
    return {
      outcome: wasBegun ? 'unknown' : 'failed',
      at,
      code: 'unexpected',
      // It is journalled, and words that are not keyturn's own may quote anything.
      message: redacting(parts.log).redacted(messageOf(error)),
      retryAt: null,
      retryable: true,
    };
  }
  const retryAfterMs = error.details['retryAfterMs'];
  return {
    outcome: wasBegun && unknownCodes.includes(error.code) ? 'unknown' : 'failed',
    at,
    code: error.code,
    message: error.hint === null ? error.message : `${error.message} ${error.hint}`,
    retryAt: typeof retryAfterMs === 'number' ? at + retryAfterMs : null,
    retryable: !finalCodes.includes(error.code),
  };
}
