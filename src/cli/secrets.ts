import { KeyturnError } from '../model/errors.ts';
import { findSecrets, resolveAddress } from '../model/policy/find.ts';
import type { Policy, SecretPolicy } from '../model/policy.ts';
import type { GlobalOptions } from './context.ts';

type Scope = Pick<GlobalOptions, 'env' | 'tenant'>;

function scopeOf({ env, tenant }: Scope): { readonly environment?: string; readonly tenant?: string } {
  return { ...(env === undefined ? {} : { environment: env }), ...(tenant === undefined ? {} : { tenant }) };
}

/** The one secret of that name, short or whole. Throws `secret-unknown`, `secret-ambiguous`. */
export function oneSecret(policy: Policy, name: string, options: Scope): SecretPolicy {
  return resolveAddress(policy, name, scopeOf(options));
}

/** The named secrets, or without names all that `--env` and `--tenant` leave. Throws `secret-unknown` where they leave none. */
export function namedSecrets(policy: Policy, names: readonly string[], options: Scope): readonly SecretPolicy[] {
  if (names.length === 0) {
    const found = findSecrets(policy, undefined, scopeOf(options));
    if (found.length > 0 || policy.secrets.length === 0) return found;
    const scope = [options.env, options.tenant].filter((part) => part !== undefined).join(' and ');
    throw new KeyturnError('secret-unknown', `The policy ${policy.source} has no secret in ${scope}.`, {
      hint: `Its secrets are ${policy.secrets.map(({ secret }) => secret).join(', ')}.`,
    });
  }
  return [...new Set(names.map((name) => oneSecret(policy, name, options)))];
}
