import { formatDuration } from '../model/duration.ts';
import type { SecretPolicy } from '../model/policy.ts';

/** What of a policy cannot be safe, whatever keyturn does: sentences for whoever finds a message refused in a simulation. */
export function adviceOn({ gates, receivers, upstream }: SecretPolicy, longestTransitMs: number): readonly string[] {
  const { retriesResigned, retryHorizonMs, redelivers } = upstream.capabilities;
  const advice: string[] = [];
  if (gates.quietMs <= longestTransitMs)
    advice.push(
      `A message may take ${formatDuration(longestTransitMs)} to arrive here, and the old version counts as unused after gates.quiet (${formatDuration(gates.quietMs)}): make it longer.`,
    );
  if (gates.graceMs < receivers.refreshEveryMs)
    advice.push(
      `gates.grace (${formatDuration(gates.graceMs)}) is shorter than receivers.refreshEvery (${formatDuration(receivers.refreshEveryMs)}): make it longer.`,
    );
  if (gates.quietMs < 2 * receivers.reportEveryMs)
    advice.push(
      `gates.quiet (${formatDuration(gates.quietMs)}) is shorter than two reports (receivers.reportEvery is ${formatDuration(receivers.reportEveryMs)}): make it longer.`,
    );
  if (gates.retryTail === 'ignore' && retriesResigned !== 'yes' && retryHorizonMs > 0)
    advice.push('gates.retryTail is "ignore": retries that the old version signed are refused. State "respect".');
  if (gates.timeoutMs < retryHorizonMs && gates.retryTail === 'respect' && retriesResigned !== 'yes')
    advice.push(
      `gates.timeout (${formatDuration(gates.timeoutMs)}) is shorter than the retry horizon (${formatDuration(retryHorizonMs)}): every rotation may be held before it can end.`,
    );
  if (!redelivers)
    advice.push(
      'The upstream does not send again what is answered 503: a receiver that has lost its store loses messages.',
    );
  return advice;
}
