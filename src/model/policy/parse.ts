import { checkPolicy } from './checks.ts';
import { createFindings, formatPath, isAbsence, type Finding } from './findings.ts';
import type { Loose } from './merge.ts';
import { inText, located, policyInvalid } from './problems.ts';
import { absoluteIn, resolved, type ParsedPolicy, type PolicyOrigin } from './read.ts';
import { schemaFindings } from './schema-findings.ts';
import { policySchema, policyVersion, type PolicyFile } from './schema.ts';
import { readPolicyText, type Path } from './text.ts';

/**
 * Reads a policy: JSON with comments and trailing commas. Throws `policy-invalid`, whose `details.problems` are all
 * mistakes at once (`PolicyProblem[]`, in the order of the file); no message shows what was written as a value.
 */
export function parsePolicy(text: string, origin: PolicyOrigin): ParsedPolicy {
  const read = readPolicyText(text);
  if (read.data === undefined)
    throw policyInvalid(
      origin.source,
      read.problems.map((problem) => located(problem)),
    );

  const complete = read.problems.length === 0;
  const { findings: shape, refused } = schemaFindings(policySchema, read.data);
  const known = isOfThisVersion(read.data);
  const told = (finding: Finding): boolean =>
    known ? complete || !isAbsence(finding) : formatPath(finding.path) === 'version';
  const findings = createFindings(shape.filter(told));
  if (known) checkPolicy(without(read.data, refused), findings, { complete, absolute: absoluteIn(origin) });
  const problems = [
    ...read.problems.map((problem) => located(problem)),
    ...findings.list().map((finding) => inText(finding, read)),
  ];
  if (problems.length > 0) throw policyInvalid(origin.source, problems);

  return resolved(read.data as PolicyFile, read, origin);
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
