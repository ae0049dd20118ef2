import { DatabaseSync } from 'node:sqlite';

// Preloaded into the command line: every commit finds the disk full, as SQLite tells it.

const { exec } = DatabaseSync.prototype;

DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string) {
  if (sql === 'COMMIT') {
    const full = { code: 'ERR_SQLITE_ERROR', errcode: 13, errstr: 'database or disk is full' };
    throw Object.assign(new Error('database or disk is full'), full);
  }
  Reflect.apply(exec, this, [sql]);
};
