import { describe, it } from 'vitest';
import { lackOf, runCase, secretStoreCases } from '../../src/testing/stores/suite.ts';
import type { SecretStoreSuite } from '../../src/testing/stores/place.ts';

export * from '../../src/testing/keyrings.ts';
export type { SecretStorePlace, SecretStoreSuite } from '../../src/testing/stores/place.ts';

/** One cell of the table that is printed at the end: what became of a case with an adapter. */
export interface ConformanceCell {
  readonly adapter: string;
  readonly case: string;
  readonly outcome: 'kept' | 'deviates';
  /** How it deviates. */
  readonly why: string | null;
}

declare module 'vitest' {
  interface TaskMeta {
    conformance?: ConformanceCell;
  }
}

/** Runs the suite of `keyturn/testing` as tests. */
export function describeSecretStore(title: string, suite: SecretStoreSuite): void {
  describe(`secret store: ${title}`, () => {
    for (const one of secretStoreCases) {
      if (lackOf(one, suite) !== null) continue;
      it(one.title, { timeout: 90_000 }, async ({ task }) => {
        const cell = { adapter: title, case: one.id, why: suite.deviations?.[one.id]?.what ?? null };
        task.meta.conformance = { ...cell, outcome: 'kept' };
        task.meta.conformance = { ...cell, outcome: await runCase(one, suite) };
      });
    }
  });
}
