import { AsyncLocalStorage } from 'node:async_hooks';
import { logOf, silentLog, type Log, type LogFields } from './log.ts';

/**
 * The ids of the work under way. Ports are shared by all runs of a process and know nothing of ids, so the ids go with
 * the asynchronous work itself. They are for log lines alone: nothing is decided by them.
 */
const under = new AsyncLocalStorage<LogFields>();

/** Does the work, and every line that `withIds` logs of it, however deep, has these ids beside those around it. */
export function correlated<T>(ids: LogFields, work: () => T): T {
  return under.run({ ...under.getStore(), ...ids }, work);
}

/** The log with the ids of the work that a line is of; what the line itself names goes before. */
export function withIds(log: Log): Log {
  if (log === silentLog) return log;
  return logOf((level) => (message, fields) => log[level](message, { ...fields, ...under.getStore(), ...fields }));
}
