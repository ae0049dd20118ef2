import { describeCrashMatrix, everyCell, type Cell } from './support/crash-matrix.ts';
import { describeOnEach } from './support/describe-stores.ts';

describeCrashMatrix('the crash matrix', everyCell, null);

/** Each move of a keyring, done in the store and not noted in the journal. */
const done: readonly string[] = ['forward generate', 'forward promote', 'forward revoke', 'back reinstate'];

/** All else is the same code on every store, and is run where `KEYTURN_LONG` is 1. */
function isTried({ fault, way, effect, when }: Cell): boolean {
  if (process.env['KEYTURN_LONG'] === '1') return true;
  return fault === 'killed' && when === 'after' && done.includes(`${way} ${effect}`);
}

describeOnEach('the crash matrix', (open, server) => {
  describeCrashMatrix(`the crash matrix on ${server}`, everyCell.filter(isTried), open);
});
