import { KeyturnError } from '../errors.ts';
import { formatPath, type Finding } from './findings.ts';
import type { PolicyText, TextProblem } from './text.ts';

/** Something wrong, or worth knowing, at one place of the policy file. */
export interface PolicyProblem {
  /** Such as `secrets.my-hook.gates.quiet`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  /** Both from 1. */
  readonly line: number;
  readonly column: number;
  readonly didYouMean?: string;
}

export function inText({ path, at, message, didYouMean }: Finding, read: PolicyText): PolicyProblem {
  return { path: formatPath(path), message, ...read.locate(path, at), ...(didYouMean === null ? {} : { didYouMean }) };
}

export function located({ path, message, line, column }: TextProblem): PolicyProblem {
  return { path: formatPath(path), message, line, column };
}

export function inOrder(problems: readonly PolicyProblem[]): readonly PolicyProblem[] {
  return problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

/** `policy-invalid` with every problem in its message and in `details.problems`. */
export function policyInvalid(source: string, unordered: readonly PolicyProblem[]): KeyturnError {
  const problems = inOrder(unordered);
  const count = problems.length === 1 ? 'a problem' : `${String(problems.length)} problems`;
  return new KeyturnError(
    'policy-invalid',
    [`The policy ${source} has ${count}:`, ...problems.map((problem) => `  ${formatProblem(problem, source)}`)].join(
      '\n',
    ),
    { hint: 'Correct the policy, then run `keyturn check`.', details: { source, problems } },
  );
}

/** One line for people: `file:line:column path: message (did you mean …?)`. */
export function formatProblem({ path, message, line, column, didYouMean }: PolicyProblem, source: string): string {
  const where = `${source}:${String(line)}:${String(column)}`;
  const guess = didYouMean === undefined ? '' : ` (did you mean "${didYouMean}"?)`;
  return `${where} ${path === '' ? '' : `${path}: `}${message}${guess}`;
}
