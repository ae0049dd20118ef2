import type { DatabaseKind } from '../../sqlite-session.ts';

/** The letters `ktU1`. */
const applicationId = 0x6b_74_55_31;

/**
 * Rows are as many as secrets and receivers that hold them, never as requests; versions are inside the documents.
 * A receiver's `changes` counts the reports that changed what is written of its holdings.
 */
const schema = `
  PRAGMA application_id = ${applicationId};
  CREATE TABLE receivers (
    instance TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    pool TEXT NOT NULL,
    covered_since INTEGER NOT NULL,
    last_report_at INTEGER NOT NULL,
    signed_off_at INTEGER,
    forgotten_at INTEGER,
    changes INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE holdings (
    instance TEXT NOT NULL REFERENCES receivers (instance) ON DELETE CASCADE,
    secret TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (instance, secret)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX holdings_by_secret ON holdings (secret);
  CREATE TABLE departed (
    secret TEXT PRIMARY KEY,
    newest_stamp_at INTEGER NOT NULL,
    document TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

export const usageKind: DatabaseKind = {
  code: 'usage',
  noun: 'The usage log',
  lostHint: 'Move it away: receivers start a new one with their next report, and a run under way waits for that.',
  applicationId,
  synchronous: 'NORMAL',
  // 16 MB. A receiver stands still meanwhile, for as long as the disk takes; and most of these pages are the same ones again.
  checkpointPages: 4_000,
  migrations: [schema],
};
