import { addressMatches, type Address } from '../address.ts';
import { KeyturnError } from '../errors.ts';
import type { Policy, SecretPolicy } from '../policy.ts';
import { nearest } from './findings.ts';

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
