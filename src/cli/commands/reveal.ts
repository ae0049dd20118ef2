import { withOrchestrator, type Context } from '../context.ts';
import { exit, type Exit } from '../exit.ts';
import type { RevealOptions } from '../../orchestrator/exchange.ts';
import { oneSecret } from '../secrets.ts';
import { handOver } from '../values.ts';

interface RevealFlags {
  readonly stage: RevealOptions['stage'];
  readonly id?: string;
  readonly out?: string;
}

/** Shows one version's value to the person who needs it: at a terminal, or in a new file. */
export async function reveal(context: Context, [name = '']: readonly string[], options: object): Promise<Exit> {
  const { stage, id = null, out } = options as RevealFlags;
  return withOrchestrator(context, async (orchestrator, policy) => {
    const { secret } = oneSecret(policy, name, context.options);
    let version: string | null = null;
    const { text, path } = await handOver(context, { out, hasValues: true }, async () => {
      const found = await orchestrator.reveal(secret, { stage, version: id });
      version = found.id;
      return found.value;
    });
    const which = `version ${String(version)} of ${secret}, which is ${stage}`;
    if (text !== null) context.output.progress(`The value of ${which}:`);
    context.output.result(text ?? `Wrote the value of ${which}, to ${String(path)}.`, () => ({
      format: 'keyturn.reveal/1',
      secret,
      version,
      stage,
      out: path,
      value: text,
    }));
    return exit.ok;
  });
}
