import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { messageOf, KeyturnError } from '../../model/errors.ts';
import type { Context } from '../context.ts';
import { exit, type Exit } from '../exit.ts';
import { callWords, practicePort, practiceSecret, practiceTokenFile } from '../practice/names.ts';
import { starterPolicy } from '../practice/starter.ts';

/** Writes a starter policy for the practice upstream, and the token that this one wants. */
export async function init(context: Context, options: object): Promise<Exit> {
  const { force } = options as { readonly force: boolean };
  const path = resolve(context.options.policy ?? 'rotation-policy.json');
  const text = starterPolicy({
    secret: practiceSecret,
    upstream: `http://127.0.0.1:${String(practicePort)}`,
    tokenFile: practiceTokenFile,
    receivers: 1,
    refreshEvery: '1s',
    grace: '5s',
    quiet: '5s',
  });
  await writeNew(path, text, 0o644, force);
  const tokenPath = resolve(dirname(path), practiceTokenFile);
  await mkdir(dirname(tokenPath), { recursive: true, mode: 0o700 });
  const token = Buffer.from(context.random.bytes(24)).toString('base64url');
  await writeFile(tokenPath, `${token}\n`, { mode: 0o600 });
  context.output.result(
    [
      `Wrote ${path}, with the secret ${practiceSecret} of a practice upstream on this machine.`,
      'Next, in a second terminal, start that upstream and a receiver:',
      `  ${callWords()} practice`,
      'then rotate, twice (the first time there is nothing to retire):',
      `  ${callWords()} rotate ${practiceSecret} --wait`,
    ],
    () => ({
      format: 'keyturn.init/1',
      policy: path,
      secret: practiceSecret,
      next: ['keyturn practice', `keyturn rotate ${practiceSecret} --wait`],
    }),
  );
  return exit.ok;
}

async function writeNew(path: string, text: string, mode: number, force: boolean): Promise<void> {
  try {
    await writeFile(path, text, { mode, flag: force ? 'w' : 'wx' });
  } catch (error) {
    const isThere = error instanceof Error && 'code' in error && error.code === 'EEXIST';
    throw new KeyturnError(
      'usage',
      isThere ? `${path} is there already.` : `${path} cannot be written: ${messageOf(error)}`,
      {
        hint: isThere ? 'Use it, or replace it with keyturn init --force.' : 'Choose another place with --policy FILE.',
        cause: error,
      },
    );
  }
}
