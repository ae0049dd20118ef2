import { formatTime } from '../model/duration.ts';
import { isKeyturnError, messageOf } from '../model/errors.ts';
import type { Clock } from './system.ts';

/** From what matters least on. `debug`: each call of a port, each decision. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** What a line of the structured log says beside its message: ids, codes and numbers; never a value, never a whole signature. */
export type LogFields = Readonly<Record<string, string | number | boolean | null>>;

/** What a level of a log is called with. */
export type LogCall = (message: string, fields?: LogFields) => void;

export type Log = Readonly<Record<LogLevel, LogCall>>;

/** A log whose every level does what `callFor` gives for it. */
export function logOf(callFor: (level: LogLevel) => LogCall): Log {
  return { debug: callFor('debug'), info: callFor('info'), warn: callFor('warn'), error: callFor('error') };
}

export const silentLog: Log = logOf(() => () => undefined);

/** The log without the lines below that level. */
export function fromLevel(lowest: LogLevel, log: Log): Log {
  const isTold = (level: LogLevel): boolean => logLevels.indexOf(level) >= logLevels.indexOf(lowest);
  return logOf((level) => (isTold(level) ? (...line) => log[level](...line) : silentLog[level]));
}

interface Sink {
  write(text: string): unknown;
}

/** A log of JSON lines, one object each: `{"at","level","message",…fields}`. */
export function linesLog(sink: Sink, clock: Pick<Clock, 'now'>): Log {
  return logOf((level) => (message, fields = {}) => {
    const head = { at: formatTime(clock.now()), level, message };
    sink.write(`${JSON.stringify({ ...head, ...fields, ...head })}\n`);
  });
}

/** A log for people at a terminal, without what is null: `12:03:04.567Z store read  outcome=present ms=2 secret=hook`. */
export function peopleLog(sink: Sink, clock: Pick<Clock, 'now'>): Log {
  return logOf((level) => (message, fields = {}) => {
    const time = formatTime(clock.now()).slice('2026-01-01T'.length);
    const urgency = level === 'warn' || level === 'error' ? `${level}: ` : '';
    const told = Object.entries(fields).filter(([, value]) => value !== null);
    const named = told.map(([name, value]) => ` ${name}=${wordOf(value)}`);
    sink.write(`${time} ${urgency}${message}${named.length === 0 ? '' : ' '}${named.join('')}\n`);
  });
}

function wordOf(value: LogFields[string]): string {
  const text = String(value);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}

/** Deeper chains of causes are no chains any more. */
const maxCauses = 8;

/**
 * An error as fields: its words, its code, and its causes by class and code alone, because what caused it may quote
 * anything. Never throws, whatever was thrown.
 */
export function errorFields(error: unknown): LogFields {
  try {
    const causes = errorChain(error).slice(1).map(className);
    return {
      error: messageOf(error),
      code: isKeyturnError(error) ? error.code : systemCodeOf(error),
      ...(causes.length === 0 ? {} : { causes: causes.join(' < ') }),
    };
  } catch {
    return { error: 'something that cannot be told', code: null };
  }
}

/** The error and what caused it, the cause of each after it. */
export function errorChain(error: unknown): readonly unknown[] {
  const chain = [error];
  for (let last = error; last instanceof Error && last.cause !== undefined && chain.length <= maxCauses;) {
    last = last.cause;
    chain.push(last);
  }
  return chain;
}

/** `KeyturnError store-denied`, `Error EACCES`, `string`: words that no thrower can put a text into. */
function className(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { name } = error.constructor;
  const code = isKeyturnError(error) ? error.code : systemCodeOf(error);
  return [/^[A-Za-z]\w{0,60}$/.test(name) ? name : 'Error', ...(code === null ? [] : [code])].join(' ');
}

/** `EACCES`, `ERR_INVALID_ARG_TYPE`; null where an error has no such code. */
function systemCodeOf(error: unknown): string | null {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : null;
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,60}$/.test(code) ? code : null;
}
