import { isKeyturnError, KeyturnError, messageOf } from '../model/errors.ts';
import { formatDuration } from '../model/duration.ts';
import type { LeaseRecord } from './journal.ts';
import type { ProbeFinding, ProbeRequest, SecretStore } from './secret-store.ts';

/** What the probes of all ports have in common. */

export function ok(name: string, message: string): ProbeFinding {
  return { name, state: 'ok', message, hint: null };
}

export function warning(name: string, message: string, hint: string): ProbeFinding {
  return { name, state: 'warning', message, hint };
}

export function unknown(name: string, message: string, hint: string | null = null): ProbeFinding {
  return { name, state: 'unknown', message, hint };
}

/** A finding from what was thrown; of an error that is not keyturn's own only the message is told. */
export function failed(name: string, error: unknown): ProbeFinding {
  const { message, hint } = isKeyturnError(error) ? error : new KeyturnError('unexpected', messageOf(error));
  return { name, state: 'failed', message, hint };
}

/** Describing more secrets would be calls without end, and who set up one so set up all of them. */
export const describedAtMost = 20;

/** Runs one look; what it throws is its finding. */
export async function finding(name: string, look: () => Promise<ProbeFinding>): Promise<ProbeFinding> {
  try {
    return await look();
  } catch (error) {
    return failed(name, error);
  }
}

/** How far a stamp may be ahead of the clock before it shows that the clock was set back, ms. */
const stampSlackMs = 5_000;

/** From the newest stamp that is kept; null where nothing is. Both are epoch ms. */
export function clockFinding(newestStampAt: number | null, now: number): ProbeFinding {
  const aheadMs = (newestStampAt ?? now) - now;
  if (aheadMs <= stampSlackMs) return ok('clock', 'Nothing in it is ahead of the clock.');
  const by = formatDuration(Math.round(aheadMs / 1_000) * 1_000);
  return warning(
    'clock',
    `What is in it is up to ${by} ahead of the clock, which was set back.`,
    'Set the clock right.',
  );
}

export function newestOf(stamps: readonly number[]): number | null {
  return stamps.length === 0 ? null : Math.max(...stamps);
}

export function leasesFinding(held: readonly Pick<LeaseRecord, 'name' | 'holder'>[]): ProbeFinding {
  const [first] = held;
  if (first === undefined) return ok('leases', 'Nothing is being moved right now.');
  const more = held.length === 1 ? '' : `, and ${String(held.length - 1)} more`;
  return ok('leases', `${first.name} is being moved by ${first.holder} right now${more}.`);
}

/** Reads what the use is about, as the use itself does: one `read` finding, and one `plain` where there are copies. */
export async function readFindings(
  store: Pick<SecretStore, 'read' | 'plain'>,
  { names, plainKeys }: ProbeRequest,
): Promise<readonly ProbeFinding[]> {
  const read = await finding('read', async () => {
    const reads = await store.read(names);
    const states = [...reads.values()];
    const failures = states.flatMap((each) => (each.state === 'failed' ? [each.error] : []));
    const [first] = failures;
    if (first === undefined) return ok('read', keyringsRead(states.length, states));
    const more = failures.length === 1 ? '' : ` So it is with ${String(failures.length)} of ${String(states.length)}.`;
    return { name: 'read', state: 'failed', message: `${first.message}${more}`, hint: first.hint };
  });
  if (plainKeys.length === 0) return [read];
  const plain = await finding('plain', async () => {
    for (const key of plainKeys) await store.plain.read(key);
    return ok('plain', plainKeys.length === 1 ? 'The plain copy can be read.' : 'The plain copies can be read.');
  });
  return [read, plain];
}

function keyringsRead(count: number, states: readonly { readonly state: string }[]): string {
  const present = states.filter(({ state }) => state === 'present').length;
  return `Reading works: of ${String(count)} ${count === 1 ? 'keyring' : 'keyrings'} ${String(present)} ${present === 1 ? 'is' : 'are'} there.`;
}
