import { dirname, resolve } from 'node:path';
import { readFile } from 'node:fs/promises';
import { KeyturnError } from '../../model/errors.ts';
import type { Context } from '../context.ts';
import { exit, type Exit } from '../exit.ts';
import { ownProgram, startProgram } from '../practice/children.ts';
import { callWords, practiceSecret } from '../practice/names.ts';
import { startPracticeUpstream } from '../practice/upstream.ts';
import { oneSecret } from '../secrets.ts';

/** Deliveries a second: enough to see, little enough to leave running. */
const ratePerSecond = 20;

/** How often the traffic is told, ms. */
const tellEveryMs = 5_000;

/** The practice upstream of `init`'s policy and one receiver on the public API, in the foreground until Ctrl-C. */
export async function practice(context: Context): Promise<Exit> {
  const { policy } = await context.providers.loadPolicy(context.options.policy);
  const secret = oneSecret(policy, practiceSecret, context.options);
  const reference = secret.upstream.credentials['token'];
  if (reference === undefined || !('file' in reference)) {
    throw new KeyturnError(
      'usage',
      `${policy.source} is no longer the policy that init wrote: ${secret.secret} has no token file.`,
      {
        hint: 'Write it anew in an empty folder: npx keyturn init',
      },
    );
  }
  const token = (await readFile(resolve(dirname(policy.source), reference.file), 'utf8')).trim();
  const receiver = await startProgram(ownProgram('examples/receiver-node'), {
    env: { KEYTURN_POLICY: policy.source, SECRET: secret.secret, PORT: '0' },
  });
  const { port } = new URL(secret.upstream.steps.activate.url);
  const upstream = await startPracticeUpstream({
    port: Number(port),
    token,
    targets: [`${receiver.url}/`],
    ratePerSecond,
    transitMs: [20, 200],
    scheme: 'github',
  }).catch(async (error: unknown) => {
    await receiver.stop();
    throw error;
  });
  context.output.note(`The practice upstream listens on ${upstream.url} and sends to a receiver on ${receiver.url}.`);
  context.output.note(`It sends nothing until it has a secret: ${callWords()} rotate ${practiceSecret} --wait`);
  while (!context.signal.aborted) {
    await context.clock.sleep(tellEveryMs, { signal: context.signal });
    const { deliveries, rejected } = upstream.stats();
    context.output.progress(`${String(deliveries)} deliveries, ${String(rejected)} refused`);
  }
  await upstream.close();
  await receiver.stop();
  const { deliveries, rejected } = upstream.stats();
  context.output.result(`Stopped after ${String(deliveries)} deliveries, ${String(rejected)} refused.`, () => ({
    format: 'keyturn.practice/1',
    deliveries,
    rejected,
  }));
  return exit.ok;
}
