import type { Run } from '../model/run.ts';
import type { RunQuery } from '../ports/journal.ts';
import type { Parts } from './parts.ts';

/** The one run that the journal is asked for; null where there is none. */

export function liveRun(parts: Parts, secret: string): Promise<Run | null> {
  return newest(parts, { secret, live: true });
}

/** The newest run of a secret, live or ended. */
export function lastRun(parts: Parts, secret: string): Promise<Run | null> {
  return newest(parts, { secret });
}

export function findRun(parts: Parts, id: string): Promise<Run | null> {
  return newest(parts, { id });
}

/** What to do about a live run that stands in the way. */
export function letItEnd(secret: string): string {
  return `First let it end: keyturn rotate ${secret} --wait, or keyturn abort ${secret} --reason "…"`;
}

async function newest(parts: Parts, query: RunQuery): Promise<Run | null> {
  const [run] = await parts.journal.runs({ ...query, limit: 1 });
  return run ?? null;
}
