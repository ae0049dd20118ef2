import type { Check } from '../model/check.ts';
import type { CanaryPolicy } from '../model/policy.ts';
import { intentsOf, type Run } from '../model/run.ts';
import { failuresInARow, nextTryAt, triedWords } from './attempt.ts';
import { check } from './check.ts';

/** How long an answer of the receivers counts, ms: the switch must follow it at once. */
const answerCountsMs = 60_000;

/**
 * deploy → update: whoever answers at the canary's url takes the new version, and not just anything. It is asked last;
 * `isLast`: nothing else is waited for. Until then it passes, unless the answers were bad when they were asked for before.
 */
export function canary(run: Run, { count }: CanaryPolicy, isLast: boolean, now: number): Check {
  const failures = failuresInARow(run, 'canary');
  const failed = failures.at(-1)?.result ?? null;
  if (failed !== null) {
    return check('canary', false, failed.retryable ? 'receivers' : 'person', {
      reason: failed.code ?? 'failed',
      message: `${failed.message ?? 'It failed.'} ${triedWords(failures.length)}`,
      since: failures[0]?.at ?? null,
      eta: nextTryAt(failures.length, failed),
      command: failed.retryable ? null : `keyturn rotate ${run.secret}`,
      evidence: { count, tries: failures.length },
    });
  }
  const answeredAt = intentsOf(run, 'canary').findLast(({ result }) => result !== null)?.result?.at ?? null;
  const canaries = count === 1 ? 'a canary' : `${String(count)} canaries`;
  if (answeredAt !== null && answeredAt <= now && now - answeredAt < answerCountsMs) {
    return check('canary', true, 'receivers', {
      reason: 'accepted',
      message: `The receivers took ${canaries} signed with the new version, and refused one that a random key signed.`,
      since: answeredAt,
      evidence: { count },
    });
  }
  return check('canary', !isLast, 'receivers', {
    reason: isLast ? 'not-asked' : 'asked-last',
    message: `The receivers are asked by ${canaries} right before the switch, when nothing else is waited for.`,
    evidence: { count },
  });
}
