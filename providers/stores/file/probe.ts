import { access, constants } from 'node:fs/promises';
import { finding, ok, unknown } from '../../../src/ports/probe.ts';
import type { ProbeFinding, StoreUse } from '../../../src/ports/secret-store.ts';
import type { StoreFolder } from './folder.ts';

/** Whether the folder is there, belongs to whom it should, and lets this use of it through. Nothing is made or changed. */
export async function probeFolder(folder: StoreFolder, use: StoreUse): Promise<readonly ProbeFinding[]> {
  const modes = await finding('modes', async () => {
    const owners = await lookAt(folder, () => folder.checks().check([]));
    return owners === null
      ? unknown('modes', `The ${folder.label} is not there yet: the first commit makes it.`)
      : ok('modes', `The ${folder.label} is as it should be.`);
  });
  if (use === 'receiver' || modes.state !== 'ok') return [modes];
  const commit = await finding('commit', async () => {
    await lookAt(folder, () => access(folder.root, constants.W_OK | constants.X_OK));
    return ok('commit', 'This user may write to it.');
  });
  return [modes, commit];
}

async function lookAt<T>(folder: StoreFolder, look: () => T | Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    throw folder.explain(error, 'The folder', 'written', {});
  }
}
