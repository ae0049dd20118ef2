import { addressPart } from '../../../src/model/address.ts';
import { KeyturnError } from '../../../src/model/errors.ts';
import type { VaultStorePolicy } from '../../../src/model/policy.ts';

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
  const parts = key.split('/');
  if (!parts.every((part) => addressPart.test(part))) {
    throw new KeyturnError(
      'store-denied',
      `${what} is refused: its key could lead to another place of the mount ${mount}.`,
      {
        hint: 'Use a key of parts between slashes, each of letters, digits, ".", "_" and "-" with a letter or digit at both ends, at most 64.',
        details: { key },
      },
    );
  }
  const path = [...(prefix === null ? [] : [prefix]), ...parts].join('/');
  return {
    shown: `${mount}/${path}`,
    data: `${mount}/data/${path}`,
    metadata: `${mount}/metadata/${path}`,
    destroy: `${mount}/destroy/${path}`,
  };
}
