import pLimit from 'p-limit';
import { dueOf } from '../decide/schedule.ts';
import { isKeyturnError, KeyturnError } from '../model/errors.ts';
import type { SecretPolicy } from '../model/policy.ts';
import { errorFields } from '../ports/log.ts';
import { advance, atRest, type Advance } from './advance.ts';
import { asFailure, dueScan, type Found, type Scheduled } from './due-scan.ts';
import type { Parts } from './parts.ts';
import { lastRun, liveRun } from './runs.ts';
import { readKeyring, startRun } from './start.ts';
import { withTenure } from './tenure.ts';

/** What one visit of the scheduler did for one secret. */
export type Visit =
  /** `found` is null where another process ended the run meanwhile. */
  | { readonly secret: string; readonly kind: 'idle'; readonly found: Found | null }
  | { readonly secret: string; readonly kind: 'absent' }
  | { readonly secret: string; readonly kind: 'advanced'; readonly advance: Advance; readonly started: boolean }
  | { readonly secret: string; readonly kind: 'busy' | 'failed'; readonly error: KeyturnError };

/** How many secrets are moved at a time. */
const concurrency = 8;

/** Advances every live run of these secrets and starts what is due, side by side; one secret's failure never stops another. */
export async function visitAll(
  parts: Parts,
  policies: readonly SecretPolicy[],
  signal: AbortSignal | undefined,
): Promise<readonly Visit[]> {
  const live = new Set(await parts.journal.liveSecrets());
  const scheduled = await dueScan(
    parts,
    policies.filter((policy) => !live.has(policy.secret)),
  );
  const limit = pLimit(concurrency);
  /** It never rejects. */
  const move = async (policy: SecretPolicy, wish: Wish): Promise<Visit> => {
    const { secret } = policy;
    try {
      return await visit(parts, policy, wish, signal);
    } catch (error) {
      const failure = asFailure(error);
      parts.log.warn('secret not advanced', { secret, ...errorFields(failure) });
      return { secret, kind: isKeyturnError(error, 'lease-busy', 'lease-lost') ? 'busy' : 'failed', error: failure };
    }
  };
  const visits = policies.map((policy) => {
    const found = live.has(policy.secret) ? 'live' : (scheduled.get(policy.secret) ?? 'absent');
    const wish = wishOf(policy, found);
    return typeof wish === 'string' ? limit(move, policy, wish) : wish;
  });
  const made: Visit[] = [];
  for (const each of visits) made.push(each instanceof Promise ? await each : each);
  return made;
}

/** What is to be moved, and why; most secrets have nothing to do, and their visit is what was found. */
type Wish = 'live' | 'due';

function wishOf({ secret }: SecretPolicy, found: Scheduled | 'live'): Wish | Visit {
  if (found === 'live') return 'live';
  if (found === 'absent') return { secret, kind: 'absent' };
  if (found instanceof KeyturnError) return { secret, kind: 'failed', error: found };
  return found.due.overdue ? 'due' : { secret, kind: 'idle', found };
}

/**
 * Live runs of secrets that this policy does not have: another policy over the same journal has them, or they were taken
 * out of this one, and then nobody moves them any more and every version stays accepted.
 */
export async function visitUnlisted(parts: Parts): Promise<readonly Visit[]> {
  const live = await parts.journal.liveSecrets();
  if (live.length === 0) return [];
  const listed = new Set(parts.policy.secrets.map(({ secret }) => secret));
  return live
    .filter((secret) => !listed.has(secret))
    .map((secret) => ({ secret, kind: 'busy', error: unlisted(secret, parts.policy.source) }));
}

function unlisted(secret: string, source: string): KeyturnError {
  const message = `${secret} has a live run and is not in the policy ${source}, which therefore does not move it.`;
  return new KeyturnError('wrong-state', message, {
    hint: `Where no other policy has it, put it back until the run has ended or was aborted: keyturn abort ${secret} --reason "…"`,
  });
}

/**
 * Under the secret's lease, without waiting for it: who holds it is doing this very work. What there is to do is looked at
 * before, because each lease is two writes, and most of what many processes find to do at once one of them has done.
 */
async function visit(parts: Parts, policy: SecretPolicy, wish: Wish, signal: AbortSignal | undefined): Promise<Visit> {
  const { secret } = policy;
  const live = await liveRun(parts, secret);
  if (live === null && (wish === 'live' || !(await isStillDue(parts, policy)))) {
    return { secret, kind: 'idle', found: null };
  }
  const resting = live === null ? null : await atRest(parts, live);
  if (resting !== null) return { secret, kind: 'advanced', advance: resting, started: false };
  return withTenure(parts, secret, { waitMs: 0 }, async (tenure) => {
    const isDue = wish === 'due' && (await isStillDue(parts, policy));
    const started = isDue ? await startRun(parts, policy, tenure, { reason: 'due' }) : null;
    const run = started?.run ?? (await liveRun(parts, secret));
    if (run === null) return { secret, kind: 'idle', found: null };
    const advanced = await advance(parts, tenure, run, { retrySince: null, signal });
    return { secret, kind: 'advanced', advance: advanced, started: started?.joined === false };
  });
}

/** A scan of many secrets takes a while, and another process may have rotated this one meanwhile: once is enough. */
async function isStillDue(parts: Parts, policy: SecretPolicy): Promise<boolean> {
  const { keyring } = await readKeyring(parts, policy);
  return dueOf(policy, keyring, await lastRun(parts, policy.secret), parts.clock.now()).overdue;
}
