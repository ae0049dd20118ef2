import { appended, checkSealing, firstHead, neighbouring, prunedRanges, sealed } from '../../../src/decide/audit.ts';
import { KeyturnError } from '../../../src/model/errors.ts';
import type { ChainedEvent, ChainEntry, ChainHead, Digest, PrunedRange } from '../../../src/ports/audit.ts';
import type { NewEvent } from '../../../src/ports/journal.ts';
import type { Migration } from '../../sqlite.ts';
import type { Row, Session } from '../../sqlite-session.ts';

/**
 * Version 4: events are chained. Those of before have no hash and are not in the chain, which begins behind them. A process
 * of an earlier version that has the journal open meanwhile would write events without a hash, so that it is refused.
 */
export const chainEvents: Migration = `
  ALTER TABLE events ADD COLUMN hash TEXT;
  ALTER TABLE events ADD COLUMN seal TEXT;
  CREATE TABLE audit_pruned (
    first_id INTEGER PRIMARY KEY,
    last_id INTEGER NOT NULL UNIQUE,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    at INTEGER NOT NULL,
    seal TEXT NOT NULL
  ) STRICT;
  CREATE TABLE audit_head (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    start INTEGER NOT NULL,
    id INTEGER NOT NULL,
    hash TEXT,
    sealed_from INTEGER,
    key_id TEXT,
    seal TEXT
  ) STRICT;
  INSERT INTO audit_head (only, start, id)
    SELECT 1, last, last FROM (SELECT coalesce((SELECT max(id) FROM events), 0) AS last);
  CREATE TRIGGER no_older_event BEFORE INSERT ON events WHEN NEW.hash IS NULL BEGIN
    SELECT RAISE(ABORT, 'a newer version of keyturn has opened this journal: start this process again with it');
  END;
`;

/** Whose chain it is, and what it is made with. */
export interface TrailOptions {
  readonly session: Session;
  /** The id of the journal. */
  readonly journal: string;
  readonly path: string;
  readonly digest: Digest;
}

/** A number that JavaScript cannot hold is none of ours: it shows as another one, and so as a change. */
const columns = `max(min(id, 9007199254740991), -9007199254740991) AS id, CAST(at AS TEXT) AS at, secret, run, step, event,
  message, data, hash, seal`;

/** For use inside a transaction that writes: what the chain goes on from is read under its lock. */
export function appendEvents(trail: TrailOptions, events: readonly NewEvent[]): void {
  if (events.length === 0) return;
  const { session, path, digest } = trail;
  const head = readHead(trail);
  checkSealing(head, digest, `the journal ${path}`);
  // An event that somebody else put there has a number too.
  const newest = Number(session.get('SELECT max(id) AS id FROM events')?.['id'] ?? 0);
  const next = appended(head, events, Math.max(head.id, newest) + 1, digest);
  for (const { id, at, secret, run, step, event, message, data, hash, seal } of next.events) {
    session.run(
      `INSERT INTO events (id, at, secret, run, step, event, message, data, hash, seal)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[id, at, secret, run, step, event, message, data, hash, seal],
    );
  }
  storeHead(session, next.head);
}

/** From the next event on the trail is sealed; for use inside a transaction. */
export function sealTrail(trail: TrailOptions): void {
  const { session, digest } = trail;
  const ranges = session.all('SELECT * FROM audit_pruned ORDER BY first_id').map(rangeOf);
  const next = sealed(readHead(trail), ranges, digest);
  storeHead(session, next.head);
  for (const range of next.ranges) storeRange(session, range);
}

/** Throws `journal-corrupt` where somebody took the head away. */
export function readHead({ session, journal, path, digest }: TrailOptions): ChainHead {
  const row = session.get('SELECT * FROM audit_head WHERE only = 1');
  if (row === null) {
    throw new KeyturnError('journal-corrupt', `The journal ${path} has no head of its audit trail any more.`, {
      hint: 'Somebody took it away. Restore the journal from a backup.',
      details: { path },
    });
  }
  const start = Number(row['start']);
  if (row['hash'] === null) return firstHead(journal, start, digest);
  return {
    start,
    id: Number(row['id']),
    hash: String(row['hash']),
    sealedFrom: row['sealed_from'] === null ? null : Number(row['sealed_from']),
    keyId: textOrNull(row['key_id']),
    seal: String(row['seal']),
  };
}

function storeHead(session: Session, { id, hash, sealedFrom, keyId, seal }: ChainHead): void {
  session.run(
    'UPDATE audit_head SET id = ?, hash = ?, sealed_from = ?, key_id = ?, seal = ? WHERE only = 1',
    ...[id, hash, sealedFrom, keyId, seal],
  );
}

/** Takes the place of the ranges that it was merged with: they begin or end where it does. */
function storeRange(session: Session, { firstId, lastId, before, after, at, seal }: PrunedRange): void {
  session.run(
    'INSERT OR REPLACE INTO audit_pruned (first_id, last_id, before, after, at, seal) VALUES (?, ?, ?, ?, ?, ?)',
    ...[firstId, lastId, before, after, at, seal],
  );
}

/** Removes these events and says so in the chain; for use inside a transaction. Returns how many there were. */
export function removeEvents(
  trail: TrailOptions,
  now: number,
  where: string,
  ...values: readonly (string | number)[]
): number {
  const { session, digest } = trail;
  const events = session.all(`SELECT ${columns} FROM events WHERE ${where}`, ...values).map(eventOf);
  if (events.length === 0) return 0;
  const head = readHead(trail);
  let removed = 0;
  for (const group of neighbouring(events.sort((one, other) => one.id - other.id))) {
    const [firstId, lastId] = [group[0]?.id ?? 0, group.at(-1)?.id ?? 0];
    const chained = group.filter(({ id }) => id > head.start);
    if (chained.length > 0) {
      const around = neighboursOf(trail, chained[0]?.id ?? 0, lastId, head);
      for (const range of prunedRanges(chained, around, head, now, digest)) storeRange(session, range);
    }
    removed += session.run('DELETE FROM events WHERE id BETWEEN ? AND ?', firstId, lastId);
  }
  return removed;
}

function neighboursOf(
  { session, journal, digest }: TrailOptions,
  firstId: number,
  lastId: number,
  { start }: ChainHead,
): Parameters<typeof prunedRanges>[1] {
  const left = session.get('SELECT * FROM audit_pruned WHERE last_id = ?', firstId - 1);
  const right = session.get('SELECT * FROM audit_pruned WHERE first_id = ?', lastId + 1);
  const before = left === null ? session.get('SELECT hash FROM events WHERE id = ?', firstId - 1) : null;
  return {
    hash: firstId - 1 === start ? firstHead(journal, start, digest).hash : textOrNull(before?.['hash']),
    left: left === null ? null : rangeOf(left),
    right: right === null ? null : rangeOf(right),
  };
}

/** Events by id and ranges by their first one, in that order; for use inside a transaction. */
export function readEntries(session: Session, after: number, limit: number): readonly ChainEntry[] {
  const events = session
    .all(`SELECT ${columns} FROM events WHERE events.id > ? ORDER BY events.id LIMIT ?`, after, limit)
    .map((row): ChainEntry => ({ kind: 'event', event: eventOf(row) }));
  const ranges = session
    .all('SELECT * FROM audit_pruned WHERE first_id > ? ORDER BY first_id LIMIT ?', after, limit)
    .map((row): ChainEntry => ({ kind: 'pruned', range: rangeOf(row) }));
  const ends = [events, ranges].flatMap((list) => (list.length < limit ? [] : [placeOf(list.at(-1))]));
  const end = Math.min(...ends);
  return [...events, ...ranges]
    .filter((entry) => placeOf(entry) <= end)
    .sort((one, other) => placeOf(one) - placeOf(other));
}

export function placeOf(entry: ChainEntry | undefined): number {
  if (entry === undefined) return Infinity;
  return entry.kind === 'event' ? entry.event.id : entry.range.firstId;
}

function eventOf(row: Row): ChainedEvent {
  return {
    id: Number(row['id']),
    at: Number(row['at']),
    secret: String(row['secret']),
    run: textOrNull(row['run']),
    step: textOrNull(row['step']),
    event: String(row['event']),
    message: String(row['message']),
    data: String(row['data']),
    hash: textOrNull(row['hash']),
    seal: textOrNull(row['seal']),
  };
}

function rangeOf(row: Row): PrunedRange {
  return {
    firstId: Number(row['first_id']),
    lastId: Number(row['last_id']),
    before: String(row['before']),
    after: String(row['after']),
    at: Number(row['at']),
    seal: String(row['seal']),
  };
}

function textOrNull(value: Row[string] | undefined): string | null {
  return typeof value === 'string' ? value : null;
}
