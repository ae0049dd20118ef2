import { isKeyturnError, KeyturnError } from '../model/errors.ts';
import { findVersion } from '../model/keyring.ts';
import type { Upstream } from '../ports/upstream.ts';
import { checkLease, claimOf, commit } from './commit.ts';
import { wakeUp } from '../ports/system.ts';
import type { Parts } from './parts.ts';
import { done, failure, type Performed, type Work } from './work.ts';

/** Below this there is no time left to call an upstream; ms. */
const shortestCallMs = 250;

/**
 * A call to the upstream, behind both fences: its deadline goes into the claim first, and the last awaits before it read
 * the lease and the keyring. Whoever takes over meanwhile sees the deadline and waits for it.
 */
export async function outsideEffect(work: Work, upstream: Upstream): Promise<Performed> {
  const { parts, run, intent } = work;
  let { revision } = run;
  let wasCalled = false;
  const target = intent.version ?? run.to;
  const ids = { runId: run.id, intentId: intent.id };
  try {
    revision = await commit(work, () => [{ kind: 'claim', claim: claimOf(parts, run, intent.deadline) }]);
    const values = await passFences(work, revision, target);
    const leftMs = intent.deadline - parts.clock.now();
    if (leftMs < shortestCallMs)
      throw new KeyturnError(
        'upstream-unreachable',
        'The store was so slow that no time was left to call the upstream; nothing was sent.',
      );
    wasCalled = true;
    const call = (signal: AbortSignal) => upstream.activate({ ...ids, ...values, signal });
    const { requestId } = await withDeadline(parts, leftMs, call);
    return { result: done(parts), revision, upstreamRequestId: requestId };
  } catch (error) {
    return { result: failure(parts, error, wasCalled), revision, upstreamRequestId: upstreamRequestIdOf(error) };
  }
}

/** The signal aborts when the time is over. */
export async function withDeadline<T>(
  { clock }: Pick<Parts, 'clock'>,
  leftMs: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const over = new AbortController();
  const deadline = clock.sleep(leftMs, { signal: over.signal }).then(() => {
    stop.abort();
  });
  try {
    return await work(stop.signal);
  } finally {
    over.abort(wakeUp);
    await deadline;
  }
}

/** What the upstream named the call that an error ended; null where it named none. */
function upstreamRequestIdOf(error: unknown): string | null {
  const id = isKeyturnError(error) ? error.details['upstreamRequestId'] : null;
  return typeof id === 'string' ? id : null;
}

/** The last awaits before the call. Throws where another took over, or the keyring is no longer what was committed. */
async function passFences(
  work: Work,
  revision: number,
  target: string,
): Promise<{ newValue: string; oldValue: string | null }> {
  const { parts, run } = work;
  const store = await parts.store(run.policy.store);
  const name = { secret: run.secret, key: run.policy.key };
  const [reads] = await Promise.all([store.read([name]), checkLease(work)]);
  const read = reads.get(run.secret);
  if (read?.state === 'failed') throw read.error;
  const isOurs = read?.state === 'present' && read.keyring.revision === revision && read.keyring.claim?.run === run.id;
  // Where reads lag, an older document than our own of just now says nothing: that commit itself was the last look.
  const isOld =
    read?.state === 'present' && read.keyring.revision < revision && store.capabilities.propagationLagMs > 0;
  if (!isOurs && !isOld) {
    throw new KeyturnError(
      'store-conflict',
      `The keyring of ${run.secret} changed before the upstream was called; nothing was sent.`,
    );
  }
  const newValue = findVersion(read.keyring, target)?.value;
  if (newValue === undefined || newValue === null) {
    throw new KeyturnError('drift', `Version ${target} of ${run.secret} has no value any more; nothing was sent.`);
  }
  const other = target === run.to ? run.from : run.to;
  const oldValue = other === null ? null : (findVersion(read.keyring, other)?.value ?? null);
  return { newValue, oldValue };
}
