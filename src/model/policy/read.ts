import { resolve } from 'node:path';
import type { Policy } from '../policy.ts';
import { isAccepted } from './accepted.ts';
import { checkPolicy } from './checks.ts';
import { createFindings } from './findings.ts';
import { inOrder, inText, type PolicyProblem } from './problems.ts';
import { resolvePolicy } from './resolve.ts';
import type { PolicyFile } from './schema.ts';
import { readPolicyText, type PolicyText } from './text.ts';
import { findWarnings } from './warnings.ts';

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
 * Reads a policy that has no mistake, without the schema library: a receiver has no memory to spare for it. Null where
 * there may be one: `parsePolicy` says which, or that there is none after all.
 */
export function readPolicy(text: string, origin: PolicyOrigin): ParsedPolicy | null {
  const read = readPolicyText(text);
  if (read.problems.length > 0 || !isAccepted(read.data)) return null;
  const findings = createFindings();
  checkPolicy(read.data, findings, { complete: true, absolute: absoluteIn(origin) });
  return findings.list().length === 0 ? resolved(read.data, read, origin) : null;
}

/** What a file without mistakes means. The schema transforms nothing and fills no default, so `file` is its very data. */
export function resolved(file: PolicyFile, read: PolicyText, origin: PolicyOrigin): ParsedPolicy {
  const policy = resolvePolicy(file, { source: origin.source, absolute: absoluteIn(origin) });
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

export function absoluteIn({ folder }: PolicyOrigin): (path: string) => string {
  return (path) => resolve(folder, path);
}
