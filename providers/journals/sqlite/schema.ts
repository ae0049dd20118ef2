import type { DatabaseKind } from '../../sqlite-session.ts';
import { addSightings } from './sightings.ts';
import { chainEvents } from './trail.ts';
import { renewDocuments } from './version-1.ts';

/** The letters `ktJ1`. */
const applicationId = 0x6b_74_4a_31;

/** A run's document has everything but its moves, which people add at any time; the columns beside it are for indexes. */
const version1 = `
  PRAGMA application_id = ${applicationId};
  CREATE TABLE journal (id TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT;
  CREATE TABLE runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL,
    state TEXT NOT NULL,
    changes INTEGER NOT NULL,
    document TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX one_live_run_per_secret ON runs (secret) WHERE state = 'live';
  CREATE INDEX live_runs ON runs (state) WHERE state = 'live';
  CREATE INDEX runs_by_secret ON runs (secret);
  CREATE TABLE moves (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL REFERENCES runs (id),
    document TEXT NOT NULL
  ) STRICT;
  CREATE INDEX moves_by_run ON moves (run);
  CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    secret TEXT NOT NULL,
    run TEXT,
    step TEXT,
    event TEXT NOT NULL,
    message TEXT NOT NULL,
    data TEXT NOT NULL
  ) STRICT;
  CREATE INDEX events_by_secret ON events (secret);
  CREATE INDEX events_by_run ON events (run);
  CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    token INTEGER NOT NULL,
    acquired_at INTEGER NOT NULL,
    stamped_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    released INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

const olderWrite = "WHEN json_type(NEW.document, '$.compromised') IS NULL";
const refuse =
  "SELECT RAISE(ABORT, 'a newer version of keyturn has opened this journal: start this process again with it')";

/**
 * `process` is the document of the holder's identity. A process of version 1 that has the journal open meanwhile would
 * write runs that lack what decides whether an upstream may have been switched, so that it is refused.
 */
const version2 = `
  ALTER TABLE leases ADD COLUMN process TEXT;
  CREATE TRIGGER no_older_run BEFORE INSERT ON runs ${olderWrite} BEGIN ${refuse}; END;
  CREATE TRIGGER no_older_save BEFORE UPDATE OF document ON runs ${olderWrite} BEGIN ${refuse}; END;
`;

export const journalKind: DatabaseKind = {
  code: 'journal',
  noun: 'The journal',
  lostHint: 'Restore it from a backup.',
  applicationId,
  synchronous: 'FULL',
  migrations: [
    version1,
    (database) => {
      renewDocuments(database);
      database.exec(version2);
    },
    addSightings,
    chainEvents,
  ],
};
