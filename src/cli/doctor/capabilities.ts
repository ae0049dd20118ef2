import { formatDuration } from '../../model/duration.ts';
import { ok } from '../../ports/probe.ts';
import type { ProbeFinding, StoreCapabilities } from '../../ports/secret-store.ts';

/** In what a store differs from others, for people who choose one: nothing of it is wrong. */
export function capabilitiesFinding(capabilities: StoreCapabilities): ProbeFinding {
  const { namesPerCall, maxDocumentBytes, comparedBy, propagationLagMs, afterPurge } = capabilities;
  const differences = [
    readingWords(namesPerCall),
    `a keyring has room in ${String(Math.floor(maxDocumentBytes / 1_024))} KiB`,
    comparedWords[comparedBy],
    propagationLagMs === 0
      ? 'a commit shows everywhere at once'
      : `a commit may take ${formatDuration(propagationLagMs)} to show everywhere`,
  ];
  return ok('offers', `${differences.join('; ')}. ${afterPurge}`);
}

function readingWords(namesPerCall: number | null): string {
  if (namesPerCall === null) return 'Reading calls no server';
  return namesPerCall === 1 ? 'One call reads one keyring' : `One call reads up to ${String(namesPerCall)} keyrings`;
}

const comparedWords: Readonly<Record<StoreCapabilities['comparedBy'], string>> = {
  server: 'of two commits at once the server refuses one',
  'version-numbers': 'of two commits at once the one with the lower number stands',
  lock: 'a lock lets one commit in at a time',
};
