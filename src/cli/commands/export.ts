import { activeSecretsEntry, formatActiveSecrets } from '../../model/active-secrets.ts';
import { dotenvLine, variableOf } from '../../model/dotenv.ts';
import { KeyturnError } from '../../model/errors.ts';
import { primaryOf, type Keyring } from '../../model/keyring.ts';
import type { Policy, SecretPolicy } from '../../model/policy.ts';
import type { ExportFormat } from '../../orchestrator/exchange.ts';
import { withOrchestrator, type Context } from '../context.ts';
import { exit, type Exit } from '../exit.ts';
import { namedSecrets, oneSecret } from '../secrets.ts';
import { handOver, pairOf } from '../values.ts';

interface ExportFlags {
  readonly format: ExportFormat;
  readonly showValues: boolean;
  readonly out?: string;
}

/** One secret to write, and what to call it there. */
interface Wanted {
  readonly policy: SecretPolicy;
  readonly name: string;
}

/** Writes secrets for readers that know nothing of keyturn; without `--show-values` with a placeholder for every value. */
export async function exportValues(context: Context, args: readonly string[], options: object): Promise<Exit> {
  const { format, showValues, out } = options as ExportFlags;
  return withOrchestrator(context, async (orchestrator, policy) => {
    const wanted = wantedOf(context, policy, args, format);
    const secrets = wanted.map(({ policy: { secret } }) => secret);
    const done: string[] = [];
    const handed = await handOver(context, { out, hasValues: showValues }, async () => {
      const keyrings = await orchestrator.export(secrets, { format, showValues, leaveOut: args.length === 0 });
      done.push(...keyrings.map(({ secret }) => secret));
      return textOf(format, wanted, keyrings);
    });
    for (const secret of secrets.filter((each) => !done.includes(each))) {
      context.output.note(`${secret} has no primary version yet; it is left out.`);
    }
    const { path, text } = handed;
    const what = showValues ? 'with values' : 'without values';
    context.output.result(text?.replace(/\n$/, '') ?? `Wrote ${done.join(', ')} to ${String(path)}, ${what}.`, () => ({
      format: 'keyturn.export/1',
      as: format,
      secrets: done,
      valuesShown: showValues,
      out: path,
      text,
    }));
    return exit.ok;
  });
}

function wantedOf(context: Context, policy: Policy, args: readonly string[], format: ExportFormat): readonly Wanted[] {
  const wanted =
    format === 'dotenv'
      ? variablesOf(context, policy, args)
      : integrationsOf(namedSecrets(policy, args, context.options));
  if (format !== 'value' || wanted.length === 1) return wanted;
  throw new KeyturnError('usage', 'A value by itself is written of one secret at a time.', {
    hint: `Name one of ${wanted.map(({ policy: { secret } }) => secret).join(', ')}, or choose --format active-secrets or dotenv.`,
  });
}

/** By their names, as the documents know no environments; by their addresses where two have the same name. */
function integrationsOf(policies: readonly SecretPolicy[]): readonly Wanted[] {
  const isUnique = new Set(policies.map(({ name }) => name)).size === policies.length;
  return policies.map((policy) => ({ policy, name: isUnique ? policy.name : policy.secret }));
}

/** `SECRET` or `NAME=SECRET`, or all of them. Throws `usage` where two secrets would have the same variable. */
function variablesOf(context: Context, policy: Policy, args: readonly string[]): readonly Wanted[] {
  const wanted =
    args.length === 0
      ? namedSecrets(policy, [], context.options).map((one) => ({ policy: one, name: variableOf(one.name) }))
      : args.map((arg) => variableFor(context, policy, arg));
  for (const [name, same] of Map.groupBy(wanted, (each) => each.name)) {
    if (same.length === 1) continue;
    const addresses = same.map((each) => each.policy.secret).join(' and ');
    throw new KeyturnError('usage', `${addresses} would both be the variable ${name}.`, {
      hint: `Name them: NAME=SECRET, or choose with --env and --tenant.`,
    });
  }
  return wanted;
}

function variableFor(context: Context, policy: Policy, arg: string): Wanted {
  const { name, wanted } = arg.includes('=') ? pairOf(arg) : { name: null, wanted: arg };
  const one = oneSecret(policy, wanted, context.options);
  return { policy: one, name: name ?? variableOf(one.name) };
}

function textOf(format: ExportFormat, wanted: readonly Wanted[], keyrings: readonly Keyring[]): string {
  const of = new Map(keyrings.map((keyring) => [keyring.secret, keyring]));
  const found = wanted.flatMap(({ policy, name }) => {
    const keyring = of.get(policy.secret);
    return keyring === undefined ? [] : [{ policy, name, keyring }];
  });
  if (found.length === 0) {
    throw new KeyturnError('secret-absent', 'None of these secrets has a primary version yet.', {
      hint: 'See keyturn status',
    });
  }
  const values = found.map(({ policy, name, keyring }) => ({ policy, name, value: primaryOf(keyring)?.value ?? '' }));
  switch (format) {
    case 'active-secrets':
      return formatActiveSecrets(
        new Map(found.map(({ policy, name, keyring }) => [name, activeSecretsEntry(policy, keyring)])),
      );
    case 'dotenv':
      return values.map((each) => `${lineOf(each)}\n`).join('');
    case 'value':
      return values.map(({ value }) => value).join('');
  }
}

function lineOf({ policy, name, value }: { policy: SecretPolicy; name: string; value: string }): string {
  const line = dotenvLine(name, value);
  if (line !== null) return line;
  throw new KeyturnError(
    'value-refused',
    `The value of ${policy.secret} cannot stand in an env file: no quotes make a shell and Node read the same.`,
    {
      hint: 'Choose --format value or active-secrets for it.',
    },
  );
}
