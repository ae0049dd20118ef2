import { resolve } from 'node:path';
import { addressMatches, type Address } from '../address.ts';
import { KeyturnError } from '../errors.ts';
import type { Policy, SecretPolicy } from '../policy.ts';
import { checkPolicy } from './checks.ts';
import { createFindings, formatPath, isAbsence, nearest, schemaFindings, type Finding } from './findings.ts';
import type { Loose } from './merge.ts';
import { resolvePolicy } from './resolve.ts';
import { policySchema, policyVersion, type PolicyFile } from './schema.ts';
import { readPolicyText, type Path, type PolicyText, type TextProblem } from './text.ts';
import { findWarnings } from './warnings.ts';

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

export interface PolicyOrigin {
  /** The file's absolute path, or a name for messages. */
  readonly source: string;
  /** The folder that the policy's paths are relative to. */
  readonly folder: string;
}

export interface ParsedPolicy {
  readonly policy: Policy;
  /** Settings that are allowed and that somebody should know of. */
  readonly warnings: readonly PolicyProblem[];
}

/**
 * Reads a policy: JSON with comments and trailing commas. Throws `policy-invalid`, whose `details.problems` are all
 * mistakes at once (`PolicyProblem[]`, in the order of the file); no message shows what was written as a value.
 */
export function parsePolicy(text: string, { source, folder }: PolicyOrigin): ParsedPolicy {
  const read = readPolicyText(text);
  if (read.data === undefined)
    throw policyInvalid(
      source,
      read.problems.map((problem) => located(problem)),
    );

  const complete = read.problems.length === 0;
  const { findings: shape, refused } = schemaFindings(policySchema, read.data);
  const absolute = (path: string): string => resolve(folder, path);
  const known = isOfThisVersion(read.data);
  const told = (finding: Finding): boolean =>
    known ? complete || !isAbsence(finding) : formatPath(finding.path) === 'version';
  const findings = createFindings(shape.filter(told));
  if (known) checkPolicy(without(read.data, refused), findings, { complete, absolute });
  const problems = [
    ...read.problems.map((problem) => located(problem)),
    ...findings.list().map((finding) => inText(finding, read)),
  ];
  if (problems.length > 0) throw policyInvalid(source, problems);

  // The schema transforms nothing and fills no default.
  const file = read.data as PolicyFile;
  const policy = resolvePolicy(file, { source, absolute });
  return {
    policy,
    // A receiver asks for none, and has no memory to spare for where they stand.
    get warnings() {
      const remarks = createFindings();
      findWarnings(file, policy, remarks);
      return inOrder(remarks.list().map((finding) => inText(finding, read)));
    },
  };
}

/** Fields of another version may mean anything, so nothing is said about them. */
function isOfThisVersion(data: unknown): boolean {
  return (
    typeof data !== 'object' ||
    data === null ||
    !('version' in data) ||
    typeof data.version !== 'number' ||
    data.version <= policyVersion
  );
}

function inText({ path, at, message, didYouMean }: Finding, read: PolicyText): PolicyProblem {
  return { path: formatPath(path), message, ...read.locate(path, at), ...(didYouMean === null ? {} : { didYouMean }) };
}

function located({ path, message, line, column }: TextProblem): PolicyProblem {
  return { path: formatPath(path), message, line, column };
}

function inOrder(problems: readonly PolicyProblem[]): readonly PolicyProblem[] {
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

/**
 * The data without everything that the schema refused, so that the checks can judge the rest. The type is true because
 * the schema reports each place it refuses; a list with one wrong item is left out whole.
 */
function without(data: unknown, refused: readonly Path[]): Loose<PolicyFile> {
  if (refused.length === 0) return data as Loose<PolicyFile>;
  if (refused.some((path) => path.length === 0)) return {};
  const copy: unknown = structuredClone(data);
  for (const path of refused) remove(copy, path);
  return copy as Loose<PolicyFile>;
}

function remove(data: unknown, path: Path): void {
  const list = path.findIndex((part) => typeof part === 'number');
  const keys = list === -1 ? path : path.slice(0, list);
  let holder = data;
  for (const key of keys.slice(0, -1)) {
    if (typeof holder !== 'object' || holder === null || !Object.hasOwn(holder, key)) return;
    holder = (holder as Record<string | number, unknown>)[key];
  }
  const last = keys.at(-1);
  if (last !== undefined && typeof holder === 'object' && holder !== null) Reflect.deleteProperty(holder, last);
}

/** Narrows which addresses a short name may mean. */
export interface SecretScope {
  readonly environment?: string | undefined;
  readonly tenant?: string | undefined;
}

/** Every secret that `short` names, by its address or the tail of it, within the scope; without `short`, all in the scope. */
export function findSecrets(policy: Policy, short?: string, scope: SecretScope = {}): readonly SecretPolicy[] {
  const isInScope = ({ environment, tenant }: SecretPolicy): boolean =>
    (scope.environment === undefined || environment === scope.environment) &&
    (scope.tenant === undefined || tenant === scope.tenant);
  if (short === undefined) return policy.secrets.filter(isInScope);
  // A receiver asks for each of its secrets, and mostly by the whole address.
  const exact = policy.secrets.find(({ secret }) => secret === short);
  if (exact !== undefined && isInScope(exact)) return [exact];
  return policy.secrets.filter((policy) => addressMatches(policy.secret, short) && isInScope(policy));
}

/** The one secret that `short` names. Throws `secret-unknown`, or `secret-ambiguous` with the addresses to choose from. */
export function resolveAddress(policy: Policy, short: string, scope: SecretScope = {}): SecretPolicy {
  const matches = findSecrets(policy, short, scope);
  const [only] = matches;
  if (only !== undefined && matches.length === 1) return only;
  const limits = [
    ...(scope.environment === undefined ? [] : [`environment ${scope.environment}`]),
    ...(scope.tenant === undefined ? [] : [`tenant ${scope.tenant}`]),
  ];
  const within = limits.length === 0 ? '' : ` in ${limits.join(' and ')}`;
  if (matches.length > 1) {
    const addresses = matches.map(({ secret }) => secret);
    throw new KeyturnError(
      'secret-ambiguous',
      `The name ${short}${within} stands for several secrets: ${addresses.join(', ')}.`,
      {
        hint: 'Give the whole address, or narrow it with --env and --tenant.',
        details: { addresses },
      },
    );
  }
  throw new KeyturnError('secret-unknown', `The policy ${policy.source} has no secret ${short}${within}.`, {
    hint: unknownHint(policy, short, scope),
    details: { addresses: policy.secrets.map(({ secret }) => secret) },
  });
}

function unknownHint(policy: Policy, short: string, scope: SecretScope): string {
  const elsewhere = findSecrets(policy, short).map(({ secret }) => secret);
  if (elsewhere.length > 0) return `There is ${elsewhere.join(', ')}.`;
  const inScope = findSecrets(policy, undefined, scope);
  const candidates = (inScope.length > 0 ? inScope : policy.secrets).map(({ secret }) => secret);
  const guess = nearest(short, candidates.flatMap(tails));
  if (guess !== null) return `Did you mean ${guess}?`;
  const some = candidates.slice(0, 10).join(', ');
  if (some === '') return 'The policy has no secrets yet.';
  return candidates.length > 10 ? `Among its secrets are ${some}.` : `Its secrets are ${some}.`;
}

/** Every short name of an address, the whole of it included. */
function tails(address: Address): readonly string[] {
  const parts = address.split('/');
  return parts.map((_, index) => parts.slice(index).join('/'));
}
