import type { AwsStorePolicy } from '../../../src/model/policy.ts';
import type { Clock, Random } from '../../../src/ports/system.ts';
import type { PartCredential } from '../../credentials.ts';

/** In a file of its own, because its declaration must not need those of an SDK that may not be installed. */
export interface AwsStoreOptions {
  readonly policy: AwsStorePolicy;
  readonly credential: PartCredential;
  readonly clock: Clock;
  readonly random: Random;
}
