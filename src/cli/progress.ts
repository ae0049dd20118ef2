import { stripVTControlCharacters, styleText } from 'node:util';
import wrapAnsi from 'wrap-ansi';
import type { Wait } from '../decide/decision.ts';
import { failing, type Check } from '../model/check.ts';
import { formatDuration, formatElapsed } from '../model/duration.ts';
import { oneLine } from '../model/shown.ts';
import { steps, type Run, type Step } from '../model/run.ts';
import { checkLine, stepLabel, waitingOf } from './describe.ts';
import type { Size, Terminal } from './terminal.ts';
import type { VersionTraffic } from './traffic.ts';

/** One run as it is shown while it goes on. */
export interface RunView {
  readonly run: Run;
  readonly step: Step;
  /** Epoch ms of the beginning of each step that has begun, as far as it is known. */
  readonly enteredAt: ReadonlyMap<Step, number>;
  /** What is being done right now, as a sentence; null while it waits. */
  readonly doing: string | null;
  readonly wait: Wait | null;
  /** The accepted versions, the newest first. */
  readonly traffic: readonly VersionTraffic[];
}

/** How it may look: colours, and characters beyond ASCII. */
export type Look = Pick<Terminal, 'hasColors' | 'hasSymbols'>;

/** Longer lines are hard to read. */
const widest = 120;

const barWidth = 16;

type Style = 'bold' | 'dim' | 'green' | 'cyan' | 'yellow';

interface Brush {
  readonly paint: (style: Style, text: string) => string;
  readonly marks: Readonly<Record<'done' | 'now' | 'later' | 'failing' | 'full' | 'empty', string>>;
}

const symbols = { done: '✓', now: '▸', later: '·', failing: '✗', full: '█', empty: '░' } as const;
const letters = { done: '+', now: '>', later: '.', failing: 'x', full: '#', empty: '-' } as const;

function brushOf({ hasColors, hasSymbols }: Look): Brush {
  return {
    paint: (style, text) => (hasColors ? styleText(style, text, { validateStream: false }) : text),
    marks: hasSymbols ? symbols : letters,
  };
}

/**
 * What is redrawn in place: each run with its steps, the checks that it waits for and the use of its versions, then the
 * closing lines. Where the terminal is too low for that, the later runs have one line each, and the last ones none.
 */
export function frameOf(
  views: readonly RunView[],
  closing: readonly string[],
  { columns, rows }: Size,
  look: Look,
  now: number,
): readonly string[] {
  const width = Math.min(columns - 1, widest);
  const brush = brushOf(look);
  const end = closing.flatMap((line) => wrapped('', line, width));
  // The cursor stands on a row of its own.
  const room = Math.max(1, rows - 1 - end.length);
  const whole = views.map((view) => runLines(view, width, brush, now));
  const brief = views.map((view) => briefLine(view, width, brush, now));
  let count = whole.reduce((sum, lines) => sum + lines.length, 0);
  for (let last = whole.length - 1; last > 0 && count > room; last--) {
    count -= (whole[last]?.length ?? 0) - 1;
    whole[last] = [brief[last] ?? ''];
  }
  return [...cut(whole.flat(), room, width), ...end].slice(0, Math.max(1, rows - 1));
}

function cut(lines: readonly string[], room: number, width: number): readonly string[] {
  if (lines.length <= room) return lines;
  const left = lines.length - room + 1;
  return [...lines.slice(0, room - 1), firstRow(`… ${String(left)} more lines`, width)];
}

/** The steps alone, on one line: what stays when a run has ended. */
export function stepsLine(view: RunView, look: Look, now: number): string {
  const brush = brushOf(look);
  return [brush.paint('bold', view.run.secret), ...stepWords(view, brush, now)].join('  ');
}

function runLines(view: RunView, width: number, brush: Brush, now: number): readonly string[] {
  const { run, doing, wait } = view;
  const head = `${brush.paint('bold', run.secret)}  run ${run.id}, ${formatElapsed(now - run.startedAt)}`;
  const checks = doing === null && wait !== null ? failing(wait.checks) : [];
  return [
    ...wrapped('', head, width),
    ...flow(stepWords(view, brush, now), width, '  '),
    ...(doing === null ? [] : wrapped(`  ${brush.paint('cyan', brush.marks.now)} `, oneLine(doing), width)),
    ...checks.flatMap((check) => checkRows(check, width, brush, now)),
    ...view.traffic.flatMap((version) => flow(trafficWords(version, brush, now), width, '  ')),
  ];
}

/** The run in one row: where it stands, what it waits for, until when. */
function briefLine(view: RunView, width: number, brush: Brush, now: number): string {
  const { run, step, wait } = view;
  const names = wait === null ? [] : failing(wait.checks).map(({ name }) => name);
  const until = wait === null ? null : (waitingOf(wait)?.until ?? null);
  const left = until === null || until <= now ? '' : ` [${formatDuration(until - now)} left]`;
  const waits = names.length === 0 ? '' : `  waits for ${names.join(', ')}${left}`;
  return firstRow(`${brush.paint('bold', run.secret)}  ${stepLabel(step)}${waits}`, width);
}

function stepWords(
  { run, step: present, enteredAt }: RunView,
  { paint, marks }: Brush,
  now: number,
): readonly string[] {
  const at = run.state === 'completed' ? steps.length : steps.indexOf(present);
  return steps.map((step, index) => {
    const from = enteredAt.get(step);
    const next = steps[index + 1];
    const until = (next === undefined ? run.endedAt : enteredAt.get(next)) ?? now;
    const took = from === undefined ? '' : ` ${formatElapsed(until - from)}`;
    if (index < at) return paint('green', `${marks.done} ${step}${took}`);
    return index === at ? paint('cyan', `${marks.now} ${step}${took}`) : paint('dim', `${marks.later} ${step}`);
  });
}

function checkRows(check: Check, width: number, { paint, marks }: Brush, now: number): readonly string[] {
  const command = check.command === null ? '' : ` → ${check.command}`;
  const text = oneLine(`${checkLine(check, now)}${command}`);
  return wrapped(`  ${paint('yellow', marks.failing)} `, text, width);
}

function trafficWords(version: VersionTraffic, { paint, marks }: Brush, now: number): readonly string[] {
  const { share } = version;
  const full = Math.round((share ?? 0) * barWidth);
  const bar = paint(version.isNew ? 'green' : 'yellow', marks.full.repeat(full)) + marks.empty.repeat(barWidth - full);
  const part = share === null ? '' : ` ${String(Math.round(share * 100)).padStart(3)}%`;
  const by = version.lastUsedBy === null || version.isNew ? '' : ` by ${oneLine(version.lastUsedBy)}`;
  const last =
    version.lastUsedAt === null
      ? 'never used'
      : `last used ${formatElapsed(Math.max(0, now - version.lastUsedAt))} ago${by}`;
  return [
    `${version.isNew ? 'new' : 'old'} ${oneLine(version.id)}`,
    version.stage.padEnd('deprecated'.length),
    `${bar}${part}`,
    `${String(version.matched)} matched`,
    last,
  ];
}

/** The parts side by side, as many in a row as fit; a part is broken only where a row is too short for it alone. */
function flow(parts: readonly string[], width: number, indent: string): readonly string[] {
  const rows: string[] = [];
  for (const part of parts) {
    const last = rows.at(-1);
    if (last !== undefined && plainLength(`${indent}${last}  ${part}`) <= width)
      rows[rows.length - 1] = `${last}  ${part}`;
    else rows.push(last === undefined ? part : `  ${part}`);
  }
  return rows.flatMap((row) => wrapped(indent, row, width));
}

/** The parts have no wide characters but in names that people chose; `wrapped` takes care of those. */
function plainLength(text: string): number {
  return stripVTControlCharacters(text).length;
}

/** The text in rows of that width, the first of them after `before`, the others below it. */
function wrapped(before: string, text: string, width: number): readonly string[] {
  const indent = plainLength(before);
  const rows = wrapAnsi(text, Math.max(1, width - indent), { hard: true, trim: false }).split('\n');
  return rows.map((row, index) => (index === 0 ? `${before}${row}` : `${' '.repeat(indent)}${row.trimStart()}`));
}

function firstRow(text: string, width: number): string {
  return wrapAnsi(text, width, { hard: true, wordWrap: false, trim: false }).split('\n')[0] ?? '';
}
