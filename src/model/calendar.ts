import { Cron } from 'croner';

/**
 * Cron expressions, time zones and days, as a policy writes them. Pure: every question brings its own moment, and no
 * timer is ever started. What it knows of time zones is Node's own data.
 */

/** The times of a cron expression in a time zone, in epoch ms. */
export interface CronTimes {
  /** The last one at or before `at`; null where there is none. */
  latest(at: number): number | null;
  /** The first one after `at`; null where there is none. */
  next(at: number): number | null;
}

/**
 * For an expression without mistakes and a zone that there is; throws on others. Where neither `*` nor a step stands in
 * the fields of the time of day, a time that a change of the clocks leaves out comes right after the gap, and one that
 * is there twice comes once, the first time. Else each is taken as the clocks show it.
 */
export function cronTimes(cron: string, timezone: string): CronTimes {
  const name = `${timezone} ${cron}`;
  let times = known.get(name);
  if (times === undefined) {
    times = new RememberedTimes(new Cron(cron, { timezone, mode: '5-or-6-parts', fixedTimeRule: 'no-wildcard' }));
    if (known.size >= mostKnown) known.clear();
    known.set(name, times);
  }
  return times;
}

/** By zone and expression. */
const known = new Map<string, CronTimes>();

/** More than the policies of one process have. */
const mostKnown = 1_000;

/** What lies between two times that follow upon one another. */
interface Span {
  readonly from: number | null;
  readonly until: number | null;
}

/** A window asks for now, for when it closes and for when it opens next. */
const spansKept = 4;

/** Any moment of a span gets the same answers, so that the expression need not be asked again. */
class RememberedTimes implements CronTimes {
  readonly #cron: Cron;
  #spans: readonly Span[] = [];

  constructor(cron: Cron) {
    this.#cron = cron;
  }

  latest(at: number): number | null {
    return this.#spanOf(at).from;
  }

  next(at: number): number | null {
    return this.#spanOf(at).until;
  }

  #spanOf(at: number): Span {
    const found = this.#spans.find(({ from, until }) => from !== null && until !== null && from <= at && at < until);
    if (found !== undefined) return found;
    const from = this.#cron.previousRuns(1, new Date(at + 1))[0]?.getTime() ?? null;
    const until = this.#cron.nextRun(new Date(at))?.getTime() ?? null;
    const span = { from, until };
    this.#spans = [span, ...this.#spans].slice(0, spansKept);
    return span;
  }
}

const timeFields = [
  { name: 'second', values: '0 to 59' },
  { name: 'minute', values: '0 to 59' },
  { name: 'hour', values: '0 to 23' },
  { name: 'day of the month', values: '1 to 31, or L for the last' },
  { name: 'month', values: '1 to 12, or JAN to DEC' },
  { name: 'weekday', values: '0 to 7 (0 and 7 are Sunday), or SUN to SAT' },
] as const;

/** What is wrong with a cron expression, one sentence for each field that is; empty where it can be used. */
export function cronMistakes(cron: string): readonly string[] {
  const written = cron.split(/\s+/).filter((field) => field !== '');
  if (written.length !== 5 && written.length !== 6) {
    return ['must be five fields (minute, hour, day of the month, month, weekday), or six with the second before them'];
  }
  const fields = written.length === 5 ? ['0', ...written] : written;
  const mistakes = timeFields.flatMap(({ name, values }, index) => {
    const alone = timeFields.map((_, other) => (other === index ? (fields[other] ?? '') : '*'));
    if (isCron(alone.join(' '))) return [];
    return [`has no valid ${name}: it may be ${values}, with "*", ranges "1-5", lists "1,3" and steps "*/2"`];
  });
  return mistakes.length > 0 || isCron(cron) ? mistakes : ['is no cron expression'];
}

function isCron(cron: string): boolean {
  try {
    return new Cron(cron, { mode: '5-or-6-parts' }).getPattern() !== undefined;
  } catch {
    return false;
  }
}

/** True for the name of a time zone that Node knows; an offset such as `+01:00` is no name. */
export function isTimezone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

/** The names to choose from. Node takes others too, such as older ones. */
export function timezones(): readonly string[] {
  return ['UTC', ...Intl.supportedValuesOf('timeZone')];
}

/** A whole day of some time zone, or one moment. */
export type Moment = { readonly day: string } | { readonly at: number };

const dayPattern = /^2\d{3}-\d{2}-\d{2}$/;
const instantPattern =
  /^(2\d{3}-\d{2}-\d{2})T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** `2026-12-24`, or an instant of RFC 3339 such as `2026-12-24T18:00:00+01:00`; null for anything else. */
export function parseMoment(text: string): Moment | null {
  if (dayPattern.test(text)) return isDay(text) ? { day: text } : null;
  const day = instantPattern.exec(text)?.[1];
  return day !== undefined && isDay(day) ? { at: Date.parse(text) } : null;
}

function isDay(day: string): boolean {
  const at = Date.parse(`${day}T00:00:00Z`);
  return !Number.isNaN(at) && new Date(at).toISOString().startsWith(day);
}

const dayMs = 24 * 60 * 60_000;

/** When the moment begins: a day at the first moment that the zone's calendar shows it. Epoch ms. */
export function startOf(moment: Moment, timezone: string): number {
  if ('at' in moment) return moment.at;
  const [, month = '', day = ''] = moment.day.split('-');
  const utc = Date.parse(`${moment.day}T00:00:00Z`);
  return cronTimes(`0 0 ${day} ${month} *`, timezone).next(utc - dayMs) ?? utc;
}

/** When the moment is over: a day when the next one begins, an instant at once. Epoch ms. */
export function endOf(moment: Moment, timezone: string): number {
  if ('at' in moment) return moment.at;
  const next = new Date(Date.parse(`${moment.day}T00:00:00Z`) + dayMs);
  return startOf({ day: next.toISOString().slice(0, 10) }, timezone);
}
