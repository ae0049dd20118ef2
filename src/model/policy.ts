import type { Address } from './address.ts';

/**
 * A policy after defaults, environments and tenants are applied: plain data, one entry per address.
 * `policy-schema.ts` has the shape that people write; this is what the rest of the code reads.
 * Durations are milliseconds. Nothing in it is a value of a secret: credentials are references.
 */
export interface Policy {
  /** The file's absolute path, or a name for messages when it came from elsewhere. */
  readonly source: string;
  readonly journal: JournalPolicy;
  readonly usage: UsagePolicy;
  readonly stores: Readonly<Record<string, StorePolicy>>;
  /** By address, in the order of the file. */
  readonly secrets: readonly SecretPolicy[];
  readonly retain: RetainPolicy;
  /** A regular expression for the whole name of a secret, which `check` goes by; null: any name will do. */
  readonly naming: string | null;
}

/** What the journal keeps. */
export interface RetainPolicy {
  /** How many ended runs of each secret stay, with their events. */
  readonly runs: number;
}

/** Paths are absolute: resolved against the policy file's folder. */
export interface JournalPolicy {
  readonly kind: 'sqlite';
  readonly path: string;
  /** What the audit trail is sealed with; null: its events are chained without a key. */
  readonly auditKey: CredentialReference | null;
}

export interface UsagePolicy {
  readonly kind: 'sqlite';
  readonly path: string;
  /** The group that may read and write the usage log beside its owner; null: nobody. */
  readonly group: string | null;
}

export type StorePolicy = FileStorePolicy | VaultStorePolicy | AwsStorePolicy | GoogleStorePolicy;

export interface FileStorePolicy {
  readonly kind: 'file';
  readonly path: string;
  readonly group: string | null;
  /** Null: keyrings are not encrypted. */
  readonly age: AgePolicy | null;
}

/** What every store has that is asked over a network. */
export interface NetworkStorePolicy {
  /** How long one call may take. */
  readonly timeoutMs: number;
  readonly propagationLagMs: number;
}

export interface VaultStorePolicy extends NetworkStorePolicy {
  readonly kind: 'vault';
  /** Without a slash at its end. */
  readonly address: string;
  /** Where the KV secrets engine, version 2, is mounted. */
  readonly mount: string;
  /** The path under the mount is `PREFIX/KEY`; null: the key. */
  readonly prefix: string | null;
  readonly namespace: string | null;
  readonly auth: VaultAuthPolicy;
  readonly caFile: string | null;
}

export type VaultAuthPolicy =
  | { readonly kind: 'token'; readonly token: CredentialReference }
  | {
      readonly kind: 'approle';
      readonly roleId: CredentialReference;
      readonly secretId: CredentialReference;
      readonly mount: string;
    }
  | { readonly kind: 'kubernetes'; readonly role: string; readonly tokenFile: string; readonly mount: string };

/** Null stands for what the SDK finds by itself. */
export interface AwsStorePolicy extends NetworkStorePolicy {
  readonly kind: 'aws';
  readonly region: string | null;
  /** Without a slash at its end; null: the region's own. */
  readonly endpoint: string | null;
  /** A secret's name is `PREFIX/KEY`; null: the key. */
  readonly prefix: string | null;
  /** Null: the account's own key for Secrets Manager. */
  readonly kmsKeyId: string | null;
  /** What every secret that keyturn makes is tagged with, beside tags of its own. */
  readonly tags: Readonly<Record<string, string>>;
  readonly credentials: AwsCredentialsPolicy | null;
}

export interface AwsCredentialsPolicy {
  readonly accessKeyId: CredentialReference;
  readonly secretAccessKey: CredentialReference;
  readonly sessionToken: CredentialReference | null;
}

export interface GoogleStorePolicy extends NetworkStorePolicy {
  readonly kind: 'google';
  readonly project: string;
  /** Null: secrets are replicated; else they are regional, and lie there alone. */
  readonly location: string | null;
  /** The locations of new secrets; null: Google chooses. */
  readonly replication: readonly string[] | null;
  /** Null: a key of Google's. */
  readonly kmsKeyName: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly prefix: string | null;
  /** Without a slash at its end; null: the service's own. */
  readonly endpoint: string | null;
  /** How long destroyed versions of new secrets can be brought back; null: not at all. */
  readonly destroyAfterMs: number | null;
  /** The key of a service account; null: what the SDK finds. */
  readonly credentials: CredentialReference | null;
}

/** Encryption of the keyrings of a store, as age does it. */
export interface AgePolicy {
  readonly identity: CredentialReference;
  /** Who can decrypt what is written from now on; null: the identity itself. */
  readonly recipients: readonly string[] | null;
}

/** Where a credential is read from when it is needed; a literal is refused by the schema. */
export type CredentialReference = { readonly env: string } | { readonly file: string };

export interface GenerateRule {
  readonly bytes: number;
  readonly encoding: 'base64url' | 'base64' | 'hex';
  readonly prefix: string;
}

export interface PoolPolicy {
  /** How many receivers must be live; never 0 where reports are required of receivers that stay, else 0. */
  readonly expect: number;
  /** Whether its receivers report. It is declared, never inferred. */
  readonly reporting: 'required' | 'none';
  /** True where receivers come and go: what they report counts as use, and never as coverage. */
  readonly ephemeral: boolean;
  /** How old the snapshot of an ephemeral receiver may be when it serves, ms; null where it is not ephemeral. */
  readonly maxAgeMs: number | null;
}

export interface ReceiversPolicy {
  readonly pools: Readonly<Record<string, PoolPolicy>>;
  readonly reportEveryMs: number;
  readonly missingAfterMs: number;
  readonly refreshEveryMs: number;
}

export interface GatesPolicy {
  readonly graceMs: number;
  readonly quietMs: number;
  /** How long a gate may wait for what traffic, receivers or people can move, before it holds the run. */
  readonly timeoutMs: number;
  /** `ignore`: retries that the old version signed are not waited for, and are refused. */
  readonly retryTail: 'respect' | 'ignore';
}

/** The times at which an update may start: from each match of `cron`, for so long. */
export interface CutoverPolicy {
  /** Five fields, or six with seconds. */
  readonly cron: string;
  readonly durationMs: number;
  /** An IANA name. */
  readonly timezone: string;
}

/** A span of epoch ms, `from` included and `until` not, in which no rotation is started by schedule and no update starts. */
export interface Blackout {
  readonly from: number;
  readonly until: number;
  readonly reason: string | null;
}

/** A plain copy elsewhere in the store, for readers that know nothing of keyturn. */
export interface MirrorPolicy {
  readonly key: string;
  /** The property of a JSON object that is the copy; null: the whole of it is. */
  readonly property: string | null;
  /** `plain`: the primary's value. `active_secrets`: every accepted version, in the shape of the documents. */
  readonly format: 'plain' | 'active_secrets';
}

/** Where messages go that show, right before the switch, that receivers take the new version. */
export interface CanaryPolicy {
  readonly url: string;
  /** How many are sent at once. */
  readonly count: number;
}

export type Mode = 'push';

/** What the upstream can do; it decides the order of the steps. */
export interface Capabilities {
  readonly valueOrigin: 'ours' | 'upstream' | 'either';
  readonly activation: 'on-push' | 'on-issue' | 'on-promote' | 'on-revoke';
  readonly overlap: 'none' | 'unbounded' | { readonly maxMs: number };
  readonly dualSigned: boolean;
  readonly retriesResigned: 'yes' | 'no' | 'unknown';
  /** How long after a failed delivery a retry of it may still arrive. */
  readonly retryHorizonMs: number;
  /** How long after the first delivery under a new value the upstream may still sign with the old one. */
  readonly switchLagMs: number;
  /** True when a delivery that was answered 503 comes again. */
  readonly redelivers: boolean;
  /** True when sending the same value twice is the same as once. */
  readonly idempotent: boolean;
}

export interface HttpStep {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** At most one of these three; all are templates. */
  readonly json: unknown;
  readonly form: Readonly<Record<string, string>> | null;
  readonly body: string | null;
  /** Statuses that mean done. */
  readonly expect: readonly number[];
  /** Statuses worth another try, beside 408, 425, 429 and 5xx. */
  readonly retryOn: readonly number[];
  readonly timeoutMs: number;
}

/** Named calls. `activate` makes the upstream sign with the new value. */
export type HttpStepName = 'activate';

export interface HttpUpstreamPolicy {
  readonly kind: 'http';
  readonly allowHosts: readonly string[];
  readonly credentials: Readonly<Record<string, CredentialReference>>;
  readonly capabilities: Capabilities;
  readonly steps: Readonly<Record<HttpStepName, HttpStep>>;
}

export type UpstreamPolicy = HttpUpstreamPolicy;

/** One secret at one address. A run freezes a copy of it: an edit of the file acts on the next run. */
export interface SecretPolicy {
  readonly secret: Address;
  readonly name: string;
  readonly environment: string | null;
  readonly tenant: string | null;
  readonly owner: string | null;
  /** Our fleet verifies what the upstream signs, or the other way round. */
  readonly direction: 'inbound' | 'outbound';
  /** A name in `Policy.stores`, and the key in that store. */
  readonly store: string;
  readonly key: string;
  readonly generate: GenerateRule;
  /** A scheme's name in the catalogue of `src/webhook/schemes.ts`; null where nothing verifies requests. */
  readonly scheme: string | null;
  readonly rotateEveryMs: number | null;
  readonly receivers: ReceiversPolicy;
  readonly gates: GatesPolicy;
  /** How many people must approve the switch, and again the revocation. */
  readonly approvals: number;
  /** Null: an update may start at any time. */
  readonly cutover: CutoverPolicy | null;
  readonly blackouts: readonly Blackout[];
  readonly mirrors: readonly MirrorPolicy[];
  /** Left out where there is none, as it is in runs that were frozen before there were canaries. */
  readonly canary?: CanaryPolicy;
  readonly mode: Mode;
  readonly upstream: UpstreamPolicy;
}
