/** What reads policies for those who embed keyturn. `parsePolicy` loads the schema library, `loadPolicy` for mistakes alone. */
export { loadPolicy, policyFileName, policyPath, type Environment } from './policy-file.ts';
export { parsePolicy } from '../src/model/policy/parse.ts';
export type { PolicyProblem } from '../src/model/policy/problems.ts';
export type { ParsedPolicy, PolicyOrigin } from '../src/model/policy/read.ts';
export type { Policy, SecretPolicy } from '../src/model/policy.ts';
