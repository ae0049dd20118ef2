import { CaseContext, type StoreCase } from './case.ts';
import { contents } from './contents.ts';
import { faults } from './faults.ts';
import type { SecretStoreSuite } from './place.ts';
import { plainCopies } from './plain.ts';
import { presence } from './presence.ts';
import { races } from './races.ts';

/** What every secret store promises, failure included. */
export const secretStoreCases: readonly StoreCase[] = [...presence, ...races, ...contents, ...plainCopies, ...faults];

/** What became of a case: kept, or broken in the way that is known of the server. */
export type CaseOutcome = 'kept' | 'deviates';

/** Why the case is not for this suite's place; null where it is. */
export function lackOf({ needs = [] }: StoreCase, { lacks = {} }: SecretStoreSuite): string | null {
  const lacking = needs.find((need) => lacks[need] !== undefined);
  return lacking === undefined ? null : (lacks[lacking] ?? null);
}

/**
 * Runs one case on a fresh place. A known deviation has to show itself: where the server keeps the promise after all this
 * fails too, so that its repair is noticed.
 */
export async function runCase(one: StoreCase, suite: SecretStoreSuite): Promise<CaseOutcome> {
  const on = await CaseContext.open(await suite.open());
  const deviation = suite.deviations?.[one.id];
  try {
    await one.run(on);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    if (deviation?.shows.test(words) === true) return 'deviates';
    throw error;
  } finally {
    await on.close();
  }
  if (deviation === undefined) return 'kept';
  throw new Error(`the known deviation is gone: ${deviation.what}. Take it out of the list.`);
}
