import { dirname } from 'node:path';
import { isKeyturnError } from '../src/model/errors.ts';
import type { AgePolicy, CredentialReference, Policy, SecretPolicy, StorePolicy } from '../src/model/policy.ts';
import { failed } from '../src/ports/probe.ts';
import type { ProbeFinding, StoreUse } from '../src/ports/secret-store.ts';
import { readAuditKey, readCredential } from './credentials.ts';

/** Whether the credentials of a policy can be read here. */

/** One sentence for each credential of the policy that cannot be read here, or is kept carelessly. */
export async function credentialWarnings(policy: Policy): Promise<readonly string[]> {
  const findings = await credentialFindings(policy, policy.secrets);
  return findings.map(({ message, hint }) => (hint === null ? message : `${message} ${hint}`));
}

/**
 * Each credential that cannot be read here, or is kept carelessly. For a receiver those of the stores alone: it reads no
 * others.
 */
export async function credentialFindings(
  policy: Policy,
  secrets: readonly SecretPolicy[],
  use: StoreUse = 'orchestrator',
): Promise<readonly ProbeFinding[]> {
  const folder = dirname(policy.source);
  const ofStores = Object.entries(policy.stores).flatMap(([name, store]) =>
    storeWarnings(store, `the store ${name}`, folder),
  );
  const all = use === 'receiver' ? ofStores : [...ofStores, ...orchestratorWarnings(policy, secrets, folder)];
  const findings = all.map(async (warning): Promise<readonly ProbeFinding[]> => {
    try {
      const message = await warning;
      return message === null ? [] : [{ name: 'credential', state: 'warning', message, hint: null }];
    } catch (error) {
      if (!isKeyturnError(error)) throw error;
      return [failed('credential', error)];
    }
  });
  return (await Promise.all(findings)).flat();
}

/** What is said of each credential that the orchestrator alone reads; each throws where it does not work. */
function orchestratorWarnings(
  { journal: { auditKey } }: Policy,
  secrets: readonly SecretPolicy[],
  folder: string,
): readonly Promise<string | null>[] {
  const ofUpstreams = secrets.flatMap(({ secret, upstream }) =>
    Object.entries(upstream.credentials).map(
      async ([name, reference]) =>
        (await readCredential(reference, { folder, env: process.env, name, of: secret })).warning,
    ),
  );
  return auditKey === null
    ? ofUpstreams
    : [...ofUpstreams, readAuditKey(auditKey, folder).then(({ warning }) => warning)];
}

/** What is said of each credential of a store that works; each throws where it does not. */
function storeWarnings(store: StorePolicy, of: string, folder: string): readonly Promise<string | null>[] {
  if (store.kind === 'file') return store.age === null ? [] : [identityWarning(store.age, of, folder)];
  return storeReferences(store).map(
    async ([name, reference]) => (await readCredential(reference, { folder, env: process.env, name, of })).warning,
  );
}

/** By their place in the policy. */
function storeReferences(store: StorePolicy): readonly (readonly [string, CredentialReference])[] {
  if (store.kind === 'file') return [];
  if (store.kind === 'aws') {
    const named = Object.entries(store.credentials ?? {}) as [string, CredentialReference | null][];
    return named.flatMap(([name, reference]) => (reference === null ? [] : [[`credentials.${name}`, reference]]));
  }
  if (store.kind === 'google') return store.credentials === null ? [] : [['credentials', store.credentials]];
  const { auth } = store;
  if (auth.kind === 'token') return [['auth.token', auth.token]];
  if (auth.kind === 'kubernetes') return [['auth.tokenFile', { file: auth.tokenFile }]];
  return [
    ['auth.roleId', auth.roleId],
    ['auth.secretId', auth.secretId],
  ];
}

/** What is said of an identity that works; throws where nothing could be encrypted with it, or read again. */
async function identityWarning(
  { identity, recipients }: AgePolicy,
  of: string,
  folder: string,
): Promise<string | null> {
  const context = { folder, env: process.env, name: 'age.identity', of, isKeyFile: true };
  const { value, warning } = await readCredential(identity, context);
  const { AgeCipher } = await import('./stores/file/age.ts');
  const cipher = new AgeCipher({ identity: () => Promise.resolve(value), recipients }, of);
  await (await cipher.keys()).encrypt('');
  return warning;
}
