import type { Sighting, Sightings } from '../../../src/ports/sightings.ts';
import type { Row, Session } from '../../sqlite-session.ts';

/** Migration: the table of what visits saw. `mark` is the newest event of then. */
export const addSightings = `
  CREATE TABLE sightings (
    secret TEXT PRIMARY KEY,
    place TEXT NOT NULL,
    primary_created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    good_until INTEGER NOT NULL,
    mark INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

/** How the journal runs what is read or written as one. */
export interface Transactions {
  read<T>(work: () => T): Promise<T>;
  write<T>(work: () => T): Promise<T>;
}

/** A row a secret. A visit reads them all at once, which takes some microseconds for each. */
export class SqliteSightings implements Sightings {
  readonly #session: Session;
  readonly #transactions: Transactions;

  constructor(session: Session, transactions: Transactions) {
    this.#session = session;
    this.#transactions = transactions;
  }

  recall(now: number): ReturnType<Sightings['recall']> {
    return this.#transactions.read(() => {
      const known = new Map<string, Sighting>();
      const rows = this.#session.all('SELECT * FROM sightings WHERE seen_at <= ? AND good_until > ?', now, now);
      let oldestMark = Infinity;
      for (const row of rows) {
        const sighting = sightingOf(row);
        const mark = Number(row['mark']);
        known.set(sighting.secret, sighting);
        if (mark < oldestMark) oldestMark = mark;
      }
      for (const { secret, id } of this.#eventsAfter(oldestMark)) {
        if (known.has(secret) && id > this.#markOf(secret)) known.delete(secret);
      }
      const newest = this.#session.get('SELECT max(id) AS newest FROM events')?.['newest'];
      return { known, mark: typeof newest === 'number' ? newest : 0 };
    });
  }

  keep(seen: readonly Sighting[], gone: readonly string[], mark: number): Promise<void> {
    return this.#transactions.write(() => {
      for (const secret of gone) this.#session.run('DELETE FROM sightings WHERE secret = ?', secret);
      for (const { secret, place, primaryCreatedAt, seenAt, goodUntil } of seen) {
        this.#session.run(
          `INSERT OR REPLACE INTO sightings (secret, place, primary_created_at, seen_at, good_until, mark)
           VALUES (?, ?, ?, ?, ?, ?)`,
          ...[secret, place, primaryCreatedAt, seenAt, goodUntil, mark],
        );
      }
    });
  }

  prune(before: number): Promise<void> {
    return this.#transactions.write(() => {
      this.#session.run('DELETE FROM sightings WHERE good_until < ?', before);
    });
  }

  #markOf(secret: string): number {
    return Number(this.#session.get('SELECT mark FROM sightings WHERE secret = ?', secret)?.['mark']);
  }

  /** What was journalled within about an hour, however long the journal is. */
  #eventsAfter(mark: number): readonly { readonly secret: string; readonly id: number }[] {
    if (mark === Infinity) return [];
    const rows = this.#session.all('SELECT id, secret FROM events WHERE id > ? ORDER BY id', mark);
    return rows.map((row) => ({ secret: String(row['secret']), id: Number(row['id']) }));
  }
}

function sightingOf(row: Row): Sighting {
  return {
    secret: String(row['secret']),
    place: String(row['place']),
    primaryCreatedAt: Number(row['primary_created_at']),
    seenAt: Number(row['seen_at']),
    goodUntil: Number(row['good_until']),
  };
}
