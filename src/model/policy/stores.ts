import { relative, sep } from 'node:path';
import { parseDuration } from '../duration.ts';
import { isLoopbackHost } from '../loopback.ts';
import type {
  AwsStorePolicy,
  CredentialReference,
  FileStorePolicy,
  GoogleStorePolicy,
  StorePolicy,
  VaultAuthPolicy,
  VaultStorePolicy,
} from '../policy.ts';
import type { CredentialFields } from './fields.ts';
import type { Findings } from './findings.ts';
import { builtIn, entry, type Loose } from './merge.ts';
import type { PolicyFile } from './schema.ts';
import type {
  AwsStoreFields,
  FileStoreFields,
  GoogleStoreFields,
  StoreFields,
  VaultStoreFields,
} from './store-schema.ts';
import type { Path } from './text.ts';
import { checkReference } from './upstream.ts';

/** What the fields of the secret stores mean together: what speaks against them, and what the rest of the code reads. */

type Absolute = (path: string) => string;

/** What holds where a store does not say otherwise. */
export const builtInStores = {
  timeout: '10s',
  file: { path: builtIn.stores.local.path },
  vault: {
    lag: '0ms',
    mount: 'secret',
    approle: 'approle',
    kubernetes: 'kubernetes',
    tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
  },
  aws: { lag: '5s' },
  google: { lag: '0ms' },
} as const;

export function checkStores(file: Loose<PolicyFile>, findings: Findings, absolute: Absolute): void {
  for (const [name, store] of Object.entries(file.stores ?? {})) {
    if (store !== undefined) checkStore(store, ['stores', name], findings);
  }
  checkFolders(file, findings, absolute);
}

function checkStore(store: Loose<StoreFields>, path: Path, findings: Findings): void {
  switch (store.kind) {
    case 'file':
      if (store.age?.identity !== undefined) {
        checkReference(store.age.identity, [...path, 'age', 'identity'], findings);
      }
      return;
    case 'vault':
      checkPlainHttp(store.address, [...path, 'address'], findings);
      checkReferences(store.auth ?? {}, [...path, 'auth'], ['token', 'roleId', 'secretId'], findings);
      return;
    case 'aws':
      checkPlainHttp(store.endpoint, [...path, 'endpoint'], findings);
      checkReferences(
        store.credentials ?? {},
        [...path, 'credentials'],
        ['accessKeyId', 'secretAccessKey', 'sessionToken'],
        findings,
      );
      return;
    case 'google':
      checkPlainHttp(store.endpoint, [...path, 'endpoint'], findings);
      if (store.credentials !== undefined) checkReference(store.credentials, [...path, 'credentials'], findings);
      if (store.location !== undefined && store.replication !== undefined) {
        findings.add([...path, 'replication'], 'has no meaning beside "location": a regional secret lies there alone');
      }
      return;
    case undefined:
      return;
  }
}

function checkReferences(holder: object, path: Path, names: readonly string[], findings: Findings): void {
  const references = holder as Readonly<Record<string, Loose<CredentialFields> | undefined>>;
  for (const name of names) {
    const reference = references[name];
    if (reference !== undefined) checkReference(reference, [...path, name], findings);
  }
}

/** Values and credentials would be readable on their way. */
function checkPlainHttp(url: string | undefined, path: Path, findings: Findings): void {
  if (url === undefined) return;
  const host = URL.parse(url)?.hostname;
  if (host === undefined) {
    findings.add(path, 'is no url');
    return;
  }
  if (/^https:/i.test(url) || isLoopbackHost(host)) return;
  findings.add(path, 'must begin with https://: on the way to another machine everybody could read the values');
}

/** A folder of one store must not lie in that of another: the keyrings of the one could then take the place of the other's. */
function checkFolders(file: Loose<PolicyFile>, findings: Findings, absolute: Absolute): void {
  const folders = Object.entries(file.stores ?? {}).flatMap(([name, store]) =>
    store?.kind === 'file' ? [{ name, folder: absolute(store.path ?? builtInStores.file.path) }] : [],
  );
  for (const { name, folder } of folders) {
    const outer = folders.find((other) => !['', '..'].includes(relative(other.folder, folder).split(sep)[0] ?? ''));
    if (outer === undefined) continue;
    findings.add(['stores', name], `its folder lies in the folder of the store ${outer.name}: keep them apart`, {
      at: 'key',
    });
  }
}

/** What is the same for two names of one store. */
export function storePlace(file: Loose<PolicyFile>, name: string, absolute: Absolute): string {
  const store = entry(file.stores, name);
  switch (store?.kind) {
    case 'vault':
      return place('vault', store.address, store.namespace, store.mount ?? builtInStores.vault.mount, store.prefix);
    case 'aws':
      return place('aws', store.region, store.endpoint, store.prefix);
    case 'google':
      return place('google', store.project, store.location, store.endpoint, store.prefix);
    case 'file':
      return place('file', absolute(store.path ?? builtInStores.file.path));
    case undefined:
      return place('file', absolute(builtInStores.file.path));
  }
}

function place(...parts: readonly (string | undefined)[]): string {
  return JSON.stringify(parts.map((part) => part?.replace(/\/+$/, '') ?? null));
}

export function resolveStore(store: StoreFields, absolute: Absolute): StorePolicy {
  switch (store.kind) {
    case 'file':
      return resolveFile(store, absolute);
    case 'vault':
      return resolveVault(store, absolute);
    case 'aws':
      return resolveAws(store, absolute);
    case 'google':
      return resolveGoogle(store, absolute);
  }
}

function resolveFile({ path, group, age }: FileStoreFields, absolute: Absolute): FileStorePolicy {
  return {
    kind: 'file',
    path: absolute(path ?? builtInStores.file.path),
    group: group ?? null,
    age:
      age === undefined
        ? null
        : { identity: resolveReference(age.identity, absolute), recipients: age.recipients ?? null },
  };
}

function resolveVault(store: VaultStoreFields, absolute: Absolute): VaultStorePolicy {
  return {
    kind: 'vault',
    address: store.address.replace(/\/+$/, ''),
    mount: store.mount ?? builtInStores.vault.mount,
    prefix: store.prefix ?? null,
    namespace: store.namespace ?? null,
    auth: resolveVaultAuth(store.auth, absolute),
    caFile: store.caFile === undefined ? null : absolute(store.caFile),
    ...resolveNetwork(store, builtInStores.vault.lag),
  };
}

function resolveVaultAuth(auth: VaultStoreFields['auth'], absolute: Absolute): VaultAuthPolicy {
  switch (auth.kind) {
    case 'token':
      return { kind: 'token', token: resolveReference(auth.token, absolute) };
    case 'approle':
      return {
        kind: 'approle',
        roleId: resolveReference(auth.roleId, absolute),
        secretId: resolveReference(auth.secretId, absolute),
        mount: auth.mount ?? builtInStores.vault.approle,
      };
    case 'kubernetes':
      return {
        kind: 'kubernetes',
        role: auth.role,
        tokenFile: absolute(auth.tokenFile ?? builtInStores.vault.tokenFile),
        mount: auth.mount ?? builtInStores.vault.kubernetes,
      };
  }
}

function resolveAws(store: AwsStoreFields, absolute: Absolute): AwsStorePolicy {
  const { region, endpoint, prefix, kmsKeyId, tags, credentials } = store;
  return {
    kind: 'aws',
    region: region ?? null,
    endpoint: endpoint?.replace(/\/+$/, '') ?? null,
    prefix: prefix ?? null,
    kmsKeyId: kmsKeyId ?? null,
    tags: tags ?? {},
    credentials:
      credentials === undefined
        ? null
        : {
            accessKeyId: resolveReference(credentials.accessKeyId, absolute),
            secretAccessKey: resolveReference(credentials.secretAccessKey, absolute),
            sessionToken:
              credentials.sessionToken === undefined ? null : resolveReference(credentials.sessionToken, absolute),
          },
    ...resolveNetwork(store, builtInStores.aws.lag),
  };
}

function resolveGoogle(store: GoogleStoreFields, absolute: Absolute): GoogleStorePolicy {
  const { project, location, replication, kmsKeyName, labels, prefix, endpoint, destroyAfter, credentials } = store;
  return {
    kind: 'google',
    project,
    location: location ?? null,
    replication: replication ?? null,
    kmsKeyName: kmsKeyName ?? null,
    labels: labels ?? {},
    prefix: prefix ?? null,
    endpoint: endpoint?.replace(/\/+$/, '') ?? null,
    destroyAfterMs: destroyAfter === undefined ? null : parseDuration(destroyAfter),
    credentials: credentials === undefined ? null : resolveReference(credentials, absolute),
    ...resolveNetwork(store, builtInStores.google.lag),
  };
}

function resolveNetwork(
  { timeout, propagationLag }: { readonly timeout?: string | undefined; readonly propagationLag?: string | undefined },
  lag: string,
): { readonly timeoutMs: number; readonly propagationLagMs: number } {
  return {
    timeoutMs: parseDuration(timeout ?? builtInStores.timeout) ?? 0,
    propagationLagMs: parseDuration(propagationLag ?? lag) ?? 0,
  };
}

/** Only for a reference that the checks have found right. */
export function resolveReference(
  reference: Loose<CredentialFields> | undefined,
  absolute: Absolute,
): CredentialReference {
  if (reference?.env !== undefined) return { env: reference.env };
  if (reference?.file !== undefined) return { file: absolute(reference.file) };
  throw new TypeError('a policy was resolved that should have been refused');
}
