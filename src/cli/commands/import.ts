import { parseEnv } from 'node:util';
import {
  importInvalid,
  parseActiveSecrets,
  remarksOn,
  type ImportProblem,
  type LabelledVersion,
} from '../../model/active-secrets.ts';
import { isKeyturnError, KeyturnError } from '../../model/errors.ts';
import { acceptedVersions, type Keyring } from '../../model/keyring.ts';
import { formatPath } from '../../model/policy/findings.ts';
import type { Policy, SecretPolicy } from '../../model/policy.ts';
import { shellWord } from '../../model/shell.ts';
import { withOrchestrator, type Context } from '../context.ts';
import { errorJson, errorLines } from '../describe.ts';
import { exit, exitOfError, worstExit, type Exit } from '../exit.ts';
import { oneSecret } from '../secrets.ts';
import { pairOf, readSource } from '../values.ts';

interface ImportFlags {
  readonly dotenv?: string;
  readonly dryRun: boolean;
  readonly asIs: boolean;
  readonly skipDuplicateCheck: boolean;
  readonly lockTimeout: number;
}

/** One entry of what is imported, and the secret that it is for. */
interface Entry {
  /** What the document calls it: an integration, or a variable. */
  readonly name: string;
  readonly secret: string;
  readonly versions: string | readonly LabelledVersion[];
  readonly remarks: readonly string[];
}

/** A thousand integrations with several long values are less. */
const maxDocumentBytes = 16 * 1024 * 1024;

/** Takes over the versions of the documents' JSON, with their labels, or values of an env file; each secret wholly or not at all. */
export async function importValues(context: Context, args: readonly string[], options: object): Promise<Exit> {
  const { dotenv, dryRun, asIs, skipDuplicateCheck, lockTimeout: lockTimeoutMs } = options as ImportFlags;
  return withOrchestrator(context, async (orchestrator, policy) => {
    const entries =
      dotenv === undefined
        ? await documentEntries(context, policy, args)
        : await dotenvEntries(context, policy, args, dotenv);
    const intakes = new Map(entries.map(({ secret, versions }) => [secret, versions]));
    const taken = await orchestrator.import(intakes, {
      dryRun,
      asIs,
      skipDuplicateCheck,
      lockTimeoutMs,
      signal: context.signal,
    });
    const [only] = entries;
    const failure = entries.length === 1 && only !== undefined ? taken.get(only.secret) : null;
    if (isKeyturnError(failure)) throw failure;
    // Where it was interrupted, the last ones were not looked at.
    const came = entries.flatMap((entry) => {
      const one = taken.get(entry.secret);
      return one === undefined ? [] : [outcomeOf(entry, one, dryRun)];
    });
    context.output.result(
      came.flatMap(({ lines }) => lines),
      () => ({ format: 'keyturn.import/1', dryRun, secrets: came.map(({ json }) => json) }),
    );
    return came.length < entries.length ? exit.failed : worstExit(came.map(({ code }) => code));
  });
}

function outcomeOf(
  { name, secret, remarks }: Entry,
  taken: Keyring | KeyturnError,
  dryRun: boolean,
): { readonly lines: readonly string[]; readonly json: object; readonly code: Exit } {
  const shared = { name, secret, remarks };
  if (isKeyturnError(taken)) {
    const json = { ...shared, outcome: 'refused', versions: [], error: errorJson(taken) };
    return { lines: errorLines(secret, taken), json, code: exitOfError(taken.code) };
  }
  const versions = acceptedVersions(taken).map(({ id, stage, createdAt }) => ({ id, stage, createdAt }));
  const words = versions.map(({ id, stage }) => `${id} (${stage})`).join(', ');
  const lines = [
    `${secret}: ${dryRun ? 'would be imported with' : 'imported'} ${words}.`,
    ...[...remarks, ...deprecatedWords(taken)].map((remark) => `  ${remark}`),
  ];
  return {
    lines,
    json: { ...shared, outcome: dryRun ? 'would-import' : 'imported', versions, error: null },
    code: exit.ok,
  };
}

/** Beside a primary it is what a rotation elsewhere had not retired yet. */
function deprecatedWords(keyring: Keyring): readonly string[] {
  if (acceptedVersions(keyring).length === 1) return [];
  return [
    `What is deprecated stays accepted until the next keyturn rotate ${keyring.secret} retires it, when nobody uses it any more.`,
  ];
}

/** What stands in a document, before it is known whose it is. */
interface Found {
  readonly name: string;
  /** The name or address of a secret. */
  readonly wanted: string;
  readonly versions: string | readonly LabelledVersion[];
  readonly remarks: (policy: SecretPolicy) => readonly string[];
}

async function documentEntries(context: Context, policy: Policy, args: readonly string[]): Promise<readonly Entry[]> {
  const [file] = args;
  if (file === undefined || args.length > 1) {
    throw new KeyturnError('usage', 'Name one file with the JSON to import, or - for standard input.', {
      hint: 'keyturn import secrets.json --dry-run; for an env file: keyturn import --dotenv FILE NAME=SECRET',
    });
  }
  const piped = 'keyturn import - < secrets.json';
  const { text, place } = await readSource({ from: file, maxBytes: maxDocumentBytes, piped });
  const found = parseActiveSecrets(text, { place, now: context.clock.now() }).map((integration) => ({
    name: integration.name,
    wanted: integration.name,
    versions: integration.versions,
    remarks: (secret: SecretPolicy) => remarksOn(integration, secret),
  }));
  return withSecrets(context, policy, place, found);
}

/** By `NAME=SECRET`: what else stands in an env file is nobody's business here. */
async function dotenvEntries(
  context: Context,
  policy: Policy,
  args: readonly string[],
  file: string,
): Promise<readonly Entry[]> {
  const pairs = args.map((arg) => pairOf(arg));
  if (pairs.length === 0) {
    throw new KeyturnError('usage', 'Say which variable is which secret: NAME=SECRET.', {
      hint: `For example: keyturn import --dotenv ${shellWord(file)} WEBHOOK_SECRET=${policy.secrets[0]?.name ?? 'my-hook'}`,
    });
  }
  const piped = 'keyturn import --dotenv - NAME=SECRET < .env';
  const { text, place } = await readSource({ from: file, maxBytes: maxDocumentBytes, piped });
  const variables = parseEnv(text);
  const missing = pairs.filter(({ name }) => !Object.hasOwn(variables, name));
  if (missing.length > 0) {
    throw importInvalid(
      place,
      missing.map(({ name }) => ({ path: name, message: 'is not set there' })),
    );
  }
  const found = pairs.map(({ name, wanted }) => ({ name, wanted, versions: variables[name] ?? '', remarks: () => [] }));
  return withSecrets(context, policy, place, found);
}

/** Every name must be one secret's, and no two the same one's; what is not is told in one go. */
function withSecrets(context: Context, policy: Policy, place: string, found: readonly Found[]): readonly Entry[] {
  const entries: Entry[] = [];
  const problems: ImportProblem[] = [];
  for (const { name, wanted, versions, remarks } of found) {
    const refuse = (message: string): number => problems.push({ path: formatPath([name]), message });
    try {
      const one = oneSecret(policy, wanted, context.options);
      const before = entries.find(({ secret }) => secret === one.secret);
      if (before === undefined) entries.push({ name, secret: one.secret, versions, remarks: remarks(one) });
      else refuse(`is for ${one.secret}, as ${before.name} is`);
    } catch (error) {
      if (!isKeyturnError(error, 'secret-unknown', 'secret-ambiguous')) throw error;
      refuse([error.message, error.hint].join(' '));
    }
  }
  if (problems.length > 0) throw importInvalid(place, problems);
  return entries;
}
