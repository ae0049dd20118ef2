import type { Address } from '../src/model/address.ts';
import type {
  AwsStorePolicy,
  CanaryPolicy,
  FileStorePolicy,
  GoogleStorePolicy,
  JournalPolicy,
  Policy,
  SecretPolicy,
  StorePolicy,
  UsagePolicy,
  VaultStorePolicy,
} from '../src/model/policy.ts';
import type { Canary } from '../src/ports/canary.ts';
import { createDigest } from '../src/ports/digest.ts';
import type { Journal, Leases } from '../src/ports/journal.ts';
import type { SecretStore } from '../src/ports/secret-store.ts';
import type { Clock, Random } from '../src/ports/system.ts';
import type { Upstream } from '../src/ports/upstream.ts';
import type { UsageLog } from '../src/ports/usage-log.ts';
import type { PartCredential } from './credentials.ts';
import type { PlaceLook } from './local-place.ts';

/** What an adapter may need of the process that opens it. */
export interface Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  /** True: files that are there keep their modes, for somebody who only looks. */
  readonly keepsModes?: boolean;
}

/** Every kind of every port, one file each, imported when the first of that kind is opened. */
export const registry = {
  stores: {
    file: async (
      { path, group, age }: FileStorePolicy,
      { clock }: Surroundings,
      credential: PartCredential,
    ): Promise<SecretStore> => {
      const { createFileStore } = await import('./stores/file.ts');
      if (age === null) return createFileStore({ path, group, clock });
      const identity = (): Promise<string> => credential('age.identity', age.identity, { isKeyFile: true });
      return createFileStore({ path, group, clock, age: { identity, recipients: age.recipients } });
    },
    vault: async (policy: VaultStorePolicy, { clock }: Surroundings, credential: PartCredential) => {
      const { createVaultStore } = await import('./stores/vault.ts');
      return createVaultStore({ policy, credential, clock });
    },
    aws: async (policy: AwsStorePolicy, { clock, random }: Surroundings, credential: PartCredential) => {
      const { createAwsStore } = await import('./stores/aws.ts');
      return createAwsStore({ policy, credential, clock, random });
    },
    google: async (policy: GoogleStorePolicy, { clock }: Surroundings, credential: PartCredential) => {
      const { createGoogleStore } = await import('./stores/google.ts');
      return createGoogleStore({ policy, credential, clock });
    },
  },
  upstreams: {
    http: async (
      { secret, upstream }: SecretPolicy,
      { clock }: Surroundings,
      credential: (name: string) => Promise<string>,
    ): Promise<Upstream> => {
      const { createHttpUpstream } = await import('./upstreams/http.ts');
      return createHttpUpstream({ secret, policy: upstream, credential, clock });
    },
  },
  canaries: {
    http: async (secret: Address, policy: CanaryPolicy, { clock }: Surroundings): Promise<Canary> => {
      const { createHttpCanary } = await import('./canaries/http.ts');
      return createHttpCanary({ secret, policy, clock });
    },
  },
  journals: {
    sqlite: async (
      { path, auditKey }: JournalPolicy,
      { clock, random, keepsModes }: Surroundings,
      credential: PartCredential,
    ): Promise<Journal & Leases> => {
      const { createSqliteJournal } = await import('./journals/sqlite.ts');
      const key = auditKey === null ? null : await credential('auditKey', auditKey);
      return createSqliteJournal({ path, clock, random, keepsModes, digest: createDigest(key) });
    },
  },
  usage: {
    sqlite: async ({ path, group }: UsagePolicy, { clock, keepsModes }: Surroundings): Promise<UsageLog> => {
      const { createSqliteUsageLog } = await import('./usage/sqlite.ts');
      return createSqliteUsageLog({ path, group, clock, keepsModes });
    },
  },
} satisfies {
  readonly stores: Readonly<Record<StorePolicy['kind'], unknown>>;
  readonly upstreams: Readonly<Record<SecretPolicy['upstream']['kind'], unknown>>;
  readonly canaries: Readonly<Record<'http', unknown>>;
  readonly journals: Readonly<Record<Policy['journal']['kind'], unknown>>;
  readonly usage: Readonly<Record<Policy['usage']['kind'], unknown>>;
};

/** What can be looked at of a place before it is opened, by kind. */
export const places = {
  journals: {
    sqlite: async ({ path }: JournalPolicy): Promise<PlaceLook> => {
      const { journalKind } = await import('./journals/sqlite/schema.ts');
      return (await import('./local-place.ts')).lookAtDatabase(journalKind, { path, mode: 0o600 });
    },
  },
  usage: {
    sqlite: async ({ path, group }: UsagePolicy): Promise<PlaceLook> => {
      const { usageKind } = await import('./usage/sqlite/schema.ts');
      const mode = group === null ? 0o600 : 0o660;
      return (await import('./local-place.ts')).lookAtDatabase(usageKind, { path, mode });
    },
  },
} satisfies {
  readonly journals: Readonly<Record<Policy['journal']['kind'], unknown>>;
  readonly usage: Readonly<Record<Policy['usage']['kind'], unknown>>;
};

/** Opens the store of that policy, whatever its kind. */
export function openStore(
  policy: StorePolicy,
  surroundings: Surroundings,
  credential: PartCredential,
): Promise<SecretStore> {
  switch (policy.kind) {
    case 'file':
      return registry.stores.file(policy, surroundings, credential);
    case 'vault':
      return registry.stores.vault(policy, surroundings, credential);
    case 'aws':
      return registry.stores.aws(policy, surroundings, credential);
    case 'google':
      return registry.stores.google(policy, surroundings, credential);
  }
}
