import { isKeyturnError, type KeyturnError } from '../../model/errors.ts';
import { acceptedVersions } from '../../model/keyring.ts';
import type { Policy, SecretPolicy } from '../../model/policy.ts';
import type { Migrated } from '../../orchestrator/migrate.ts';
import type { Orchestrator } from '../../orchestrator/orchestrator.ts';
import { withBoard } from '../board.ts';
import { withOrchestrator, type Context } from '../context.ts';
import { errorJson, errorLines } from '../describe.ts';
import { exit, exitOfError, worstExit, type Exit } from '../exit.ts';
import { namedSecrets } from '../secrets.ts';

interface MigrateFlags {
  readonly from: string;
  readonly to: string;
  readonly dryRun: boolean;
  readonly lockTimeout: number;
}

type Came = readonly (readonly [policy: SecretPolicy, result: Migrated | KeyturnError])[];

/** Takes keyrings from one store of the policy to another. What was cut short goes on by the same command. */
export async function migrate(context: Context, args: readonly string[], options: object): Promise<Exit> {
  const flags = options as MigrateFlags;
  return withOrchestrator(context, async (orchestrator, policy) => {
    const wanted = wantedOf(context, policy, args, flags);
    const came = await migrateAll(context, orchestrator, wanted, flags);
    const [only] = came;
    if (wanted.length === 1 && only !== undefined && isKeyturnError(only[1])) throw only[1];
    const next = nextSteps(policy, came, flags);
    context.output.result([...came.flatMap(([{ secret }, result]) => linesOf(secret, result, flags)), ...next], () => ({
      format: 'keyturn.migrate/1',
      ...{ from: flags.from, to: flags.to, dryRun: flags.dryRun },
      secrets: came.map(([each, result]) => jsonOf(each, result)),
      next,
    }));
    const exits = came.map(([, result]) => (isKeyturnError(result) ? exitOfError(result.code) : exit.ok));
    return came.length < wanted.length ? exit.failed : worstExit(exits);
  });
}

/** Without names: all that are in one of the two stores. */
function wantedOf(
  context: Context,
  policy: Policy,
  args: readonly string[],
  { from, to }: MigrateFlags,
): readonly SecretPolicy[] {
  const named = namedSecrets(policy, args, context.options);
  return args.length > 0 ? named : named.filter(({ store }) => store === from || store === to);
}

async function migrateAll(
  context: Context,
  orchestrator: Orchestrator,
  wanted: readonly SecretPolicy[],
  { from, to, dryRun, lockTimeout: lockTimeoutMs }: MigrateFlags,
): Promise<Came> {
  return withBoard(context, async (board) => {
    let done = 0;
    const count = (): string => `${String(done)} of ${String(wanted.length)} keyrings`;
    board.endWith(() => [count()]);
    const results = await orchestrator.migrate(
      wanted.map(({ secret }) => secret),
      {
        ...{ from, to, dryRun, lockTimeoutMs, signal: context.signal },
        told: (secret, result) => {
          done += 1;
          const what = isKeyturnError(result) ? `not migrated (${result.code})` : wordsOf[result.outcome];
          if (wanted.length > 1) context.output.progress(`${board.isShown ? '' : `${count()}: `}${secret} ${what}`);
        },
      },
    );
    // Where it was interrupted, the last ones were not looked at.
    return wanted.flatMap((policy) => {
      const result = results.get(policy.secret);
      return result === undefined ? [] : [[policy, result] as const];
    });
  });
}

const wordsOf: Readonly<Record<Migrated['outcome'], string>> = {
  migrated: 'migrated',
  'would-migrate': 'would be migrated',
  already: 'is there already',
  absent: 'has no keyring there',
};

function linesOf(secret: string, result: Migrated | KeyturnError, { from, to }: MigrateFlags): readonly string[] {
  if (isKeyturnError(result)) return errorLines(secret, result);
  const { outcome, keyring } = result;
  if (outcome === 'absent') return [`${secret}: the store ${from} has no keyring of it.`];
  const versions = acceptedVersions(keyring).map(({ id, stage }) => `${id} (${stage})`);
  const has = versions.length === 0 ? 'no accepted version' : versions.join(', ');
  if (outcome === 'already') return [`${secret}: was taken to the store ${to} before. It has ${has}.`];
  return [
    `${secret}: ${outcome === 'migrated' ? 'taken' : 'would be taken'} from the store ${from} to ${to}, with ${has}.`,
  ];
}

/** In the order in which nothing can be refused. */
function nextSteps(policy: Policy, came: Came, { from, to, dryRun }: MigrateFlags): readonly string[] {
  const moved = came.flatMap(([one, result]) =>
    !isKeyturnError(result) && (result.outcome === 'migrated' || result.outcome === 'already') ? [one] : [],
  );
  if (dryRun || moved.length === 0) return [];
  const them = moved.length === 1 ? (moved[0]?.secret ?? '') : 'these secrets';
  const old = `When nothing reads the store ${from} any more, remove what it has of ${them}: the values stay there until then.`;
  if (moved.every(({ store }) => store === to)) return [`Next: ${old}`];
  return [
    `Next, and until then ${them} cannot be rotated:`,
    `  1. In the policy of every receiver, give ${them} "store": "${to}", and start the receivers again.`,
    `  2. Then do the same in ${policy.source}, which the orchestrator goes by.`,
    `  3. ${old}`,
  ];
}

function jsonOf({ secret, mirrors }: SecretPolicy, result: Migrated | KeyturnError): object {
  if (isKeyturnError(result)) {
    return { secret, outcome: 'refused', revision: null, versions: [], mirrors: [], error: errorJson(result) };
  }
  const { outcome, keyring } = result;
  const versions = acceptedVersions(keyring).map(({ id, stage, createdAt }) => ({ id, stage, createdAt }));
  return { secret, outcome, revision: keyring.revision, versions, mirrors: mirrors.map(({ key }) => key), error: null };
}
