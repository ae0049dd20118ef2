import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { KeyturnError } from '../src/model/errors.ts';
import { policyInvalid } from '../src/model/policy/problems.ts';
import { readPolicy, type ParsedPolicy, type PolicyOrigin } from '../src/model/policy/read.ts';
import { systemCode } from './files.ts';

/** The file's name where neither `--policy` nor `KEYTURN_POLICY` gives another. */
export const policyFileName = 'rotation-policy.json';

export type Environment = Readonly<Record<string, string | undefined>>;

/** How the policy's file was chosen, for messages. */
interface Choice {
  readonly file: string;
  readonly by: 'argument' | 'variable' | 'default';
}

/**
 * Reads the policy: the file that was asked for, or that `KEYTURN_POLICY` names, or `rotation-policy.json` in `cwd`.
 * Throws `policy-missing` where there is no file to read, `policy-invalid` where its content is no policy.
 */
export async function loadPolicy(
  path: string | undefined,
  env: Environment,
  cwd: string = process.cwd(),
): Promise<ParsedPolicy> {
  const { file, by } = choose(path, env, cwd);
  const bytes = await readFile(file).catch((error: unknown) => {
    throw unreadable(file, by, error);
  });
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw policyInvalid(file, [{ path: '', message: 'the file is not UTF-8 text', line: 1, column: 1 }]);
  }
  const origin = { source: file, folder: dirname(file) };
  return readPolicy(text, origin) ?? (await explained(text, origin));
}

/** What the schema says of a policy that may have a mistake. */
async function explained(text: string, origin: PolicyOrigin): Promise<ParsedPolicy> {
  const { parsePolicy } = await import('../src/model/policy/parse.ts');
  return parsePolicy(text, origin);
}

/** The absolute path of the policy that `loadPolicy` would read. */
export function policyPath(path: string | undefined, env: Environment, cwd: string = process.cwd()): string {
  return choose(path, env, cwd).file;
}

function choose(path: string | undefined, env: Environment, cwd: string): Choice {
  if (path !== undefined) return { file: resolve(cwd, path), by: 'argument' };
  const named = env['KEYTURN_POLICY'];
  if (named !== undefined && named !== '') return { file: resolve(cwd, named), by: 'variable' };
  return { file: resolve(cwd, policyFileName), by: 'default' };
}

const asked: Readonly<Record<Choice['by'], string>> = {
  argument: ', which --policy names',
  variable: ', which KEYTURN_POLICY names',
  default: '',
};

function unreadable(file: string, by: Choice['by'], cause: unknown): KeyturnError {
  const code = systemCode(cause) ?? 'unknown';
  const absent = code === 'ENOENT' || code === 'ENOTDIR';
  const what =
    code === 'EISDIR'
      ? `The policy ${file}${asked[by]}, is a folder.`
      : absent
        ? `There is no policy ${file}${asked[by]}.`
        : `The policy ${file}${asked[by]}${by === 'default' ? '' : ','} cannot be read (${code}).`;
  const create = 'Run `keyturn init` to write one, or name another with --policy FILE or KEYTURN_POLICY.';
  const hint =
    code === 'EISDIR'
      ? `Name the file in it: ${resolve(file, policyFileName)}.`
      : absent
        ? create
        : 'Make it readable for the user that keyturn runs as.';
  return new KeyturnError('policy-missing', what, { hint, cause, details: { file, by, system: code } });
}
