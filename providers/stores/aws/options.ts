import type { AwsStorePolicy } from '../../../src/model/policy.ts';
import type { Random } from '../../../src/ports/system.ts';
import type { StoreOptions } from '../options.ts';

export interface AwsStoreOptions extends StoreOptions<AwsStorePolicy> {
  readonly random: Random;
}
