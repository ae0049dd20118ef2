import type { Context } from '../context.ts';
import { exit, type Exit } from '../exit.ts';

/**
 * Validates the policy; an invalid one is an error like everywhere else. Reads credentials' presence, calls nothing.
 * Warnings change the exit code with `--strict` alone.
 */
export async function check(
  context: Context,
  _: readonly string[],
  options: Readonly<Record<string, unknown>>,
): Promise<Exit> {
  const { policy, warnings } = await context.providers.loadPolicy(context.options.policy);
  const missing = await context.providers.missingCredentials(policy);
  const all = [...warnings, ...missing];
  const count = `${String(policy.secrets.length)} ${policy.secrets.length === 1 ? 'secret' : 'secrets'}`;
  context.output.result(
    [
      `${policy.source}: valid, ${count}${all.length === 0 ? '' : `, ${String(all.length)} ${all.length === 1 ? 'warning' : 'warnings'}`}.`,
      ...all.map((line) => `  warning: ${line}`),
    ],
    () => ({
      format: 'keyturn.check/1',
      source: policy.source,
      valid: true,
      secrets: policy.secrets.map((each) => each.secret),
      warnings: all,
    }),
  );
  return options['strict'] === true && all.length > 0 ? exit.usage : exit.ok;
}
