/** For tests of adapters of your own: what keyturn's are held to. It loads no test runner. */
export { createFakeClock } from '../memory/clock.ts';
export {
  adding,
  errorOf,
  expectCode,
  expectFailed,
  expectNoLeak,
  firstKeyring,
  next,
  readOne,
  readPresent,
} from './keyrings.ts';
export { CaseContext, type StoreCase } from './stores/case.ts';
export {
  retryAfterMs,
  type Ability,
  type Deviation,
  type Disturbance,
  type Network,
  type SecretStorePlace,
  type SecretStoreSuite,
} from './stores/place.ts';
export { lackOf, runCase, secretStoreCases, type CaseOutcome } from './stores/suite.ts';
