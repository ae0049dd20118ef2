import { DatabaseSync, type StatementResultingChanges, StatementSync } from 'node:sqlite';

// Preloaded into the command line: an end or an error at an exact place, which no timing from outside could hit.
// FAULT_AT=EVENT:before strikes when the journal is about to commit that event, so nobody learns that it happened;
// FAULT_AT=EVENT:after strikes when it is durable, so that what should follow never began. EVENT/STEP is that event of
// that step.
// FAULT is `kill` (kill -9), `stop` (until somebody sends SIGCONT, it then goes on), `throw`: the commit fails once, or seems
// to although it happened; or `full`: the same, because there is no room, and each time.

const [event = '', side] = (process.env['FAULT_AT'] ?? '').split(':');
const wanted = event.split('/');
const fault = process.env['FAULT'] ?? 'kill';

let isDue = false;
let isOver = false;
const { run } = StatementSync.prototype;
const { exec } = DatabaseSync.prototype;

function strike(): void {
  if (fault === 'kill') process.kill(process.pid, 'SIGKILL');
  isDue = false;
  isOver = fault === 'throw';
  if (fault === 'stop') {
    process.kill(process.pid, 'SIGSTOP');
    return;
  }
  const [errcode, errstr] = fault === 'full' ? [13, 'database or disk is full'] : [10, 'disk I/O error'];
  throw Object.assign(new Error(errstr), { code: 'ERR_SQLITE_ERROR', errcode, errstr });
}

StatementSync.prototype.run = function (this: StatementSync, ...values: unknown[]) {
  isDue ||= !isOver && wanted.every((word) => values.includes(word));
  return Reflect.apply(run, this, values) as StatementResultingChanges;
};

DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string) {
  const isIt = isDue && sql === 'COMMIT';
  if (isIt && side === 'before') strike();
  Reflect.apply(exec, this, [sql]);
  if (isIt && side === 'after') strike();
};
