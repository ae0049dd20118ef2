import { describeCrashMatrix, everyCell, type Cell } from './support/crash-matrix.ts';
import { describeOnEach } from './support/store-worlds.ts';

describeCrashMatrix('the crash matrix', everyCell, null);

/** The effects around which the store is written, or what is in it becomes known outside. */
const atTheStore: readonly string[] = ['generate', 'activate', 'promote', 'restore', 'reinstate', 'revoke', 'purge'];

/** On stores over a network every death; the rest of it is the same code, and is run where `KEYTURN_LONG` is 1. */
function isTried({ fault, way, effect }: Cell): boolean {
  if (process.env['KEYTURN_LONG'] === '1') return true;
  return fault === 'killed' && way !== 'compromised' && atTheStore.includes(effect);
}

describeOnEach('the crash matrix', (open, server) => {
  describeCrashMatrix(`the crash matrix on ${server}`, everyCell.filter(isTried), open);
});
