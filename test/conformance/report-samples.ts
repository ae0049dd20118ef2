import type { SecretReport, UsageReport, VersionUse } from '../../src/ports/usage-log.ts';

/** Reports to a usage log. Processes that tests start import this too, so it imports no test library. */

/** Used for a second, last `ageMs` ago, always exclusively, once with an answer other than 2xx. */
export function useOf(version: string, matched: number, ageMs: number): VersionUse {
  return {
    version,
    matched,
    exclusive: matched,
    notOk: Math.min(1, matched),
    firstMatchedAgeMs: ageMs + 1_000,
    lastMatchedAgeMs: ageMs,
    lastExclusiveAgeMs: ageMs,
  };
}

export function secretOf(secret: string, uses: readonly VersionUse[] = []): SecretReport {
  return { secret, revision: 7, holds: ['v2', 'v1'], primary: 'v1', uses };
}

export function reportOf(instance: string, over: Partial<UsageReport> = {}): UsageReport {
  return {
    id: `id of ${instance}`,
    instance,
    pool: 'web',
    uptimeMs: 60_000,
    signsOff: false,
    secrets: [secretOf('hook')],
    ...over,
  };
}
