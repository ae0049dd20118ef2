import { KeyturnError } from '../../model/errors.ts';
import { primaryOf } from '../../model/keyring.ts';
import { maxValueBytes } from '../../model/value.ts';
import type { Orchestrator } from '../../orchestrator/orchestrator.ts';
import { withOrchestrator, type Context } from '../context.ts';
import { exit, type Exit } from '../exit.ts';
import { oneSecret } from '../secrets.ts';
import { readSource } from '../values.ts';

interface AdoptFlags {
  readonly stdin: boolean;
  readonly file?: string;
  readonly fromStore?: string;
  readonly asIs: boolean;
  readonly skipDuplicateCheck: boolean;
  readonly lockTimeout: number;
}

/** Takes the value in use now as the primary. It comes from standard input, a file or the store, never from the command line. */
export async function adopt(context: Context, [name = '']: readonly string[], options: object): Promise<Exit> {
  const flags = options as AdoptFlags;
  const { stdin, file, fromStore, asIs, skipDuplicateCheck, lockTimeout: lockTimeoutMs } = flags;
  if ([stdin, file !== undefined, fromStore !== undefined].filter(Boolean).length !== 1) {
    const message = 'Say where the value comes from, once: --stdin, --file PATH or --from-store KEY[#PROPERTY].';
    throw new KeyturnError('usage', message, { hint: `For example: ${piped(name)}` });
  }
  return withOrchestrator(context, async (orchestrator, policy) => {
    const { secret } = oneSecret(policy, name, context.options);
    const value = await valueOf(orchestrator, secret, flags);
    const keyring = await orchestrator.adopt(secret, value, { asIs, skipDuplicateCheck, lockTimeoutMs });
    const version = primaryOf(keyring)?.id ?? null;
    context.output.result(
      `${secret}: adopted as version ${String(version)}. To rotate it: keyturn rotate ${secret} --wait`,
      () => ({ format: 'keyturn.adopt/1', secret, version }),
    );
    return exit.ok;
  });
}

function piped(name: string): string {
  return `printf %s "$WEBHOOK_SECRET" | keyturn adopt ${name} --stdin`;
}

async function valueOf(orchestrator: Orchestrator, secret: string, flags: AdoptFlags): Promise<string> {
  if (flags.fromStore !== undefined) return orchestrator.plainCopy(secret, placeOf(flags.fromStore));
  const { text } = await readSource({ from: flags.file ?? '-', maxBytes: maxValueBytes, piped: piped(secret) });
  // The one line end that editors and `echo` add.
  return text.replace(/\r?\n$/, '');
}

/** `KEY#PROPERTY`: the last # counts, as properties rarely have one. */
function placeOf(text: string): { readonly key: string; readonly property: string | null } {
  const at = text.lastIndexOf('#');
  const [key, property] = at === -1 ? [text, null] : [text.slice(0, at), text.slice(at + 1)];
  if (key !== '' && property !== '') return { key, property };
  throw new KeyturnError('usage', 'Behind --from-store stands a key of the store, and behind a # the property of it.', {
    hint: 'For example: --from-store prod/github#WEBHOOK_SECRET',
  });
}
