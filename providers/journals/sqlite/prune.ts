import type { Session } from '../../sqlite-session.ts';
import { removeEvents, type TrailOptions } from './trail.ts';

/** What of one secret is more than is kept. */
export interface Surplus {
  readonly secret: string;
  /** Its runs up to this one in order. */
  readonly lastRun: number;
  /** Its events before this one; null where what stays has none. */
  readonly firstEvent: number | null;
}

/** How many rows one statement removes: a disk that is slow must not make it hold the lock for long. */
const rowsAtOnce = 100;

/** The secret after this one in the order of names, and what of it is more than is kept; null at the end. */
export function nextSurplus(
  session: Session,
  after: string,
  keep: number,
): { readonly secret: string; readonly surplus: Surplus | null } | null {
  const secret = session.get('SELECT min(secret) AS secret FROM runs WHERE secret > ?', after)?.['secret'];
  return typeof secret === 'string' ? { secret, surplus: surplusOf(session, secret, keep) } : null;
}

/** The live run of a secret is always its newest, and does not count. */
function surplusOf(session: Session, secret: string, keep: number): Surplus | null {
  const isLive = session.get("SELECT 1 FROM runs WHERE secret = ? AND state = 'live'", secret) !== null;
  const lastRun = session.get(
    'SELECT seq FROM runs WHERE secret = ? ORDER BY seq DESC LIMIT 1 OFFSET ?',
    ...[secret, Math.max(1, keep) + (isLive ? 1 : 0)],
  )?.['seq'];
  if (typeof lastRun !== 'number') return null;
  const firstEvent = session.get(
    `SELECT min((SELECT min(id) FROM events WHERE events.run = runs.id)) AS first
     FROM runs WHERE secret = ? AND seq > ?`,
    ...[secret, lastRun],
  )?.['first'];
  return { secret, lastRun, firstEvent: typeof firstEvent === 'number' ? firstEvent : null };
}

/**
 * Removes of it as much as there is time for: for use inside a transaction. Events go first and runs last, so that what
 * one batch leaves the next one finds, whoever makes it.
 */
export function removeBatch(
  trail: TrailOptions,
  surplus: Surplus,
  now: number,
  hasTime: () => boolean,
): { readonly removed: number; readonly isDone: boolean } {
  const { session } = trail;
  /** True when there may be more. */
  const removesEvents = (where: string, ...values: readonly (string | number)[]): boolean =>
    removeEvents(trail, now, `${where} LIMIT ${String(rowsAtOnce)}`, ...values) === rowsAtOnce;
  let removed = 0;
  do {
    if (removesEvents('secret = ? AND events.id < ?', surplus.secret, surplus.firstEvent ?? 0)) continue;
    const run = oldestRun(session, surplus);
    if (run === null) return { removed, isDone: true };
    // An event of an earlier run may stand behind the first one of its successor.
    if (removesEvents('run = ?', run) || removeMoves(session, run)) continue;
    removed += session.run('DELETE FROM runs WHERE id = ?', run);
  } while (hasTime());
  return { removed, isDone: false };
}

function oldestRun(session: Session, { secret, lastRun }: Surplus): string | null {
  const sql = "SELECT id FROM runs WHERE secret = ? AND seq <= ? AND state <> 'live' ORDER BY seq LIMIT 1";
  const id = session.get(sql, secret, lastRun)?.['id'];
  return typeof id === 'string' ? id : null;
}

/** True when there may be more. */
function removeMoves(session: Session, run: string): boolean {
  const sql = `DELETE FROM moves WHERE seq IN (SELECT seq FROM moves WHERE run = ? LIMIT ${rowsAtOnce})`;
  return session.run(sql, run) === rowsAtOnce;
}
