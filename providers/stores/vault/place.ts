import type { VaultStorePolicy } from '../../../src/model/policy.ts';
import { pathOf } from '../key.ts';

/** Where in the mount a key is: `data/` holds versions, `metadata/` tells of them, `destroy/` erases them. */
export interface VaultPlace {
  /** For people: `secret/production/hook`. */
  readonly shown: string;
  readonly data: string;
  readonly metadata: string;
  readonly destroy: string;
}

/** Throws `store-denied` for a key that could lead elsewhere; `what` is the beginning of a sentence. */
export function placeOf(key: string, { mount, prefix }: VaultStorePolicy, what: string): VaultPlace {
  const path = pathOf(key, prefix, what, `another place of the mount ${mount}`);
  return {
    shown: `${mount}/${path}`,
    data: `${mount}/data/${path}`,
    metadata: `${mount}/metadata/${path}`,
    destroy: `${mount}/destroy/${path}`,
  };
}
