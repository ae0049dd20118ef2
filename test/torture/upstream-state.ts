import { DatabaseSync } from 'node:sqlite';

/**
 * What an upstream keeps on its disk, so that its death loses nothing: the value that each hook signs with, every value
 * it ever had, and every delivery with the signature that it was made with.
 */
export class UpstreamState {
  readonly #database: DatabaseSync;

  constructor(path: string, { readOnly = false } = {}) {
    this.#database = new DatabaseSync(path, { readOnly, timeout: 10_000 });
    if (!readOnly) this.#database.exec(tables);
  }

  /** From now on the hook signs with this value: durable when it returns. */
  take(hook: string, value: string): void {
    this.#all('INSERT INTO given (hook, value) VALUES (?, ?)', hook, value);
  }

  /** What each hook signs with now. */
  signing(): ReadonlyMap<string, string> {
    const rows = this.#all('SELECT hook, value FROM given ORDER BY id');
    return new Map(rows.map(({ hook, value }) => [String(hook), String(value)]));
  }

  /** Every value that the hook was ever given, oldest first. */
  values(hook: string): readonly string[] {
    const rows = this.#all('SELECT value FROM given WHERE hook = ? ORDER BY id', hook);
    return [...new Set(rows.map(({ value }) => String(value)))];
  }

  /** A message that is to be delivered; its signature stays, however often it is sent. */
  add(hook: string, body: string, signature: string, now: number): void {
    const sql = 'INSERT INTO deliveries (hook, body, signature, made_at, due_at) VALUES (?, ?, ?, ?, ?)';
    this.#all(sql, hook, body, signature, now, now);
  }

  due(now: number, limit: number): readonly Delivery[] {
    const sql = `SELECT id, hook, body, signature, made_at FROM deliveries
      WHERE outcome IS NULL AND due_at <= ? ORDER BY due_at LIMIT ?`;
    return this.#all(sql, now, limit).map((row) => ({
      id: Number(row['id']),
      hook: String(row['hook']),
      body: String(row['body']),
      signature: String(row['signature']),
      madeAt: Number(row['made_at']),
    }));
  }

  /** Puts off its next attempt: one that is under way, or that failed. */
  postpone(id: number, dueAt: number): void {
    this.#all('UPDATE deliveries SET due_at = ? WHERE id = ?', dueAt, id);
  }

  /** Whatever was under way is due again. */
  resume(): void {
    this.#all('UPDATE deliveries SET due_at = made_at WHERE outcome IS NULL');
  }

  /** What came of one attempt, by the answer's status or a word. */
  note(id: number, answer: string): void {
    const sql = 'INSERT INTO answers VALUES (?, ?, 1) ON CONFLICT (delivery, answer) DO UPDATE SET times = times + 1';
    this.#all(sql, id, answer);
  }

  /** Too old to be sent again. Where it met nothing but closed doors, for whoever sends it was down himself, nobody refused it. */
  giveUp(id: number, now: number): void {
    const sql = `SELECT count(*) AS n FROM answers WHERE delivery = ?
      AND answer NOT IN ('turned away', 'nobody', 'ECONNREFUSED', 'ECONNRESET')`;
    this.end(id, Number(this.#all(sql, id)[0]?.['n']) > 0 ? 'given up' : 'never arrived', now);
  }

  end(id: number, outcome: 'taken' | 'refused' | 'given up' | 'never arrived', now: number): void {
    this.#all('UPDATE deliveries SET outcome = ?, ended_at = ? WHERE id = ?', outcome, now, id);
  }

  /** Deliveries of a hook made before that moment which nobody has taken yet. */
  pending(hook: string, madeBefore: number): number {
    const sql = 'SELECT count(*) AS n FROM deliveries WHERE hook = ? AND made_at < ? AND outcome IS NULL';
    return Number(this.#all(sql, hook, madeBefore)[0]?.['n']);
  }

  /** How the deliveries came out; `pending` are those that have not. */
  outcomes(): Readonly<Record<string, number>> {
    const sql = "SELECT coalesce(outcome, 'pending') AS key, count(*) AS n FROM deliveries GROUP BY 1";
    return this.#counts(sql);
  }

  /** How attempts were answered. */
  answers(): Readonly<Record<string, number>> {
    return this.#counts('SELECT answer AS key, sum(times) AS n FROM answers GROUP BY 1');
  }

  /** How many deliveries were taken at a later attempt than the first. */
  takenLater(): number {
    const sql = `SELECT count(DISTINCT delivery) AS n FROM answers JOIN deliveries ON deliveries.id = delivery
      WHERE outcome = 'taken' AND answer <> '200'`;
    return Number(this.#all(sql)[0]?.['n']);
  }

  /** One line for each delivery that was lost: what was answered, and how old it was in the end. */
  lost(hook: string): readonly string[] {
    const sql = `SELECT id, outcome, ended_at - made_at AS age, made_at,
      (SELECT group_concat(answer || ' × ' || times, ', ') FROM answers WHERE delivery = id) AS answers
      FROM deliveries WHERE hook = ? AND outcome IN ('refused', 'given up')`;
    return this.#all(sql, hook).map(
      ({ id, outcome, age, answers, made_at: madeAt }) =>
        `delivery ${String(id)}, made at ${new Date(Number(madeAt)).toISOString()}: ${String(outcome)} after ${String(age)} ms (${String(answers)})`,
    );
  }

  close(): void {
    this.#database.close();
  }

  #counts(sql: string): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#all(sql).map(({ key, n }) => [String(key), Number(n)]));
  }

  #all(sql: string, ...values: readonly (string | number)[]): readonly Readonly<Record<string, unknown>>[] {
    return this.#database.prepare(sql).all(...values);
  }
}

export interface Delivery {
  readonly id: number;
  readonly hook: string;
  readonly body: string;
  readonly signature: string;
  /** Epoch ms. */
  readonly madeAt: number;
}

const tables = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS given (id INTEGER PRIMARY KEY, hook TEXT NOT NULL, value TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY,
    hook TEXT NOT NULL,
    body TEXT NOT NULL,
    signature TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    outcome TEXT,
    ended_at INTEGER
  ) STRICT;
  CREATE INDEX IF NOT EXISTS waiting ON deliveries (due_at) WHERE outcome IS NULL;
  CREATE INDEX IF NOT EXISTS by_hook ON deliveries (hook);
  CREATE TABLE IF NOT EXISTS answers (
    delivery INTEGER NOT NULL,
    answer TEXT NOT NULL,
    times INTEGER NOT NULL,
    PRIMARY KEY (delivery, answer)
  ) STRICT, WITHOUT ROWID;
`;
