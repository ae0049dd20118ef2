/**
 * What everybody imports who builds a receiver of his own: cache, verifier, usage reporter, signing, errors. It loads
 * neither the orchestrator nor any package. Whoever wants one call that opens all of it by a policy: `keyturn/receiver`.
 */
export { createSecretCache, type SecretCacheOptions } from './cache/cache.ts';
export type { CacheStatus, Refetch, SecretCache, Snapshot } from './cache/types.ts';
export { isKeyturnError, KeyturnError, type ErrorCode } from './model/errors.ts';
export type { AcceptedVersion, Keyring, Stage, Version } from './model/keyring.ts';
export type { Log, LogFields } from './ports/log.ts';
export type { KeyringReader, SecretStore, StoreName, StoreRead } from './ports/secret-store.ts';
export type { Clock, Random } from './ports/system.ts';
export type { UsageLog, UsageReport, UsageReportLog } from './ports/usage-log.ts';
export { createUsageReporter, type UsageReporterOptions } from './usage/reporter.ts';
export type { UsageReporter } from './usage/types.ts';
export { isCanary } from './webhook/canary.ts';
export { sign } from './webhook/hmac.ts';
export type { HeaderSource } from './webhook/headers.ts';
export type { Matched, Reason, Refused, Result } from './webhook/result.ts';
export { schemeNames, type Scheme } from './webhook/schemes.ts';
export { createVerifier, type Verifier, type VerifierOptions, type VerifyRequest } from './webhook/verifier.ts';
