import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');

/** Collects all garbage, so that what the heap holds after it is in use. */
export const collectGarbage = runInNewContext('gc') as () => void;
