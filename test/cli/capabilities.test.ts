import { expect, it } from 'vitest';
import { capabilitiesFinding } from '../../src/cli/doctor/capabilities.ts';
import type { StoreCapabilities } from '../../src/ports/secret-store.ts';

const afterPurge = 'Older versions stay.';

it.each<[Partial<StoreCapabilities>, string]>([
  [{ namesPerCall: null, comparedBy: 'lock' }, 'Reading calls no server; a keyring has room in 64 KiB; a lock lets'],
  [{ namesPerCall: 1 }, 'One call reads one keyring; '],
  [{ namesPerCall: 20 }, 'One call reads up to 20 keyrings; '],
  [
    { maxDocumentBytes: 64 * 1_024 - 1 },
    'a keyring has room in 63 KiB; of two commits at once the server refuses one; ',
  ],
  [{ comparedBy: 'version-numbers' }, 'of two commits at once the one with the lower number stands; '],
  [{ propagationLagMs: 0 }, 'a commit shows everywhere at once. Older versions stay.'],
  [{ propagationLagMs: 5_000 }, 'a commit may take 5s to show everywhere. Older versions stay.'],
])('doctor says in what a store differs from others: %j', (change, words) => {
  const capabilities: StoreCapabilities = {
    ...{ propagationLagMs: 0, namesPerCall: 1, maxDocumentBytes: 64 * 1_024, comparedBy: 'server' },
    ...{ erases: 'nothing', afterPurge },
    ...change,
  };
  const { state, message } = capabilitiesFinding(capabilities);
  expect([state, message]).toEqual(['ok', expect.stringContaining(words)]);
});
