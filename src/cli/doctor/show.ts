import type { ProbeFinding } from '../../ports/secret-store.ts';
import type { Subject } from './subject.ts';

/** How what was found is told: a table of it all, and below what to do. */

const marks: Readonly<Record<ProbeFinding['state'], string>> = { ok: '✓', warning: '!', failed: '✗', unknown: '?' };

/** One thing to do, for all that it mends. */
export interface Advice {
  readonly subject: string;
  readonly finding: string;
  readonly state: 'failed' | 'warning';
  readonly what: string;
}

export function titleOf({ kind, name }: Pick<Subject, 'kind' | 'name'>): string {
  const words = kind === 'usage' ? 'usage log' : kind;
  return name === null ? words : `${words} ${name}`;
}

/** What failed comes first, then warnings; among them what others may be a consequence of: the order in which it was looked at. */
export function adviceOf(subjects: readonly Subject[]): readonly Advice[] {
  const all = (['failed', 'warning'] as const).flatMap((state) =>
    subjects.flatMap((each) =>
      each.findings
        .filter((found) => found.state === state)
        .map(({ name, message, hint }) => ({ subject: titleOf(each), finding: name, state, what: hint ?? message })),
    ),
  );
  return all.filter(({ what }, index) => all.findIndex((other) => other.what === what) === index);
}

/** `brief`: nothing of what is as it should be. */
export function linesOf(subjects: readonly Subject[], advice: readonly Advice[], brief: boolean): readonly string[] {
  const tables = subjects.flatMap((each) => {
    const shown = brief ? each.findings.filter(({ state }) => state !== 'ok') : each.findings;
    return shown.length === 0 ? [] : [headOf(each), ...rowsOf(shown)];
  });
  if (advice.length === 0) return brief ? tables : [...tables, '', 'Nothing is to be done.'];
  const todo = advice.map(({ subject, what }, index) => `  ${String(index + 1)}. ${subject}: ${what}`);
  return [...tables, '', advice.length === 1 ? 'To do:' : 'To do, the most important first:', ...todo];
}

function headOf(subject: Subject): string {
  const { place, version } = subject;
  const more = [place, version].filter((each) => each !== null).join(', ');
  return more === '' ? titleOf(subject) : `${titleOf(subject)} (${more})`;
}

function rowsOf(findings: readonly ProbeFinding[]): readonly string[] {
  const width = Math.max(...findings.map(({ name }) => name.length));
  return findings.map(({ name, state, message }) => `  ${marks[state]} ${name.padEnd(width)}  ${message}`);
}
