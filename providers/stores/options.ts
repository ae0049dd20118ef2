import type { Clock } from '../../src/ports/system.ts';
import type { PartCredential } from '../credentials.ts';

/**
 * What a store over a network is opened with. Beside no adapter's own types, because a declaration must not need those of an
 * SDK that may not be installed.
 */
export interface StoreOptions<Policy> {
  readonly policy: Policy;
  readonly credential: PartCredential;
  readonly clock: Clock;
}
