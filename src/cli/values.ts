import { open, readFile, unlink, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { variableName } from '../model/dotenv.ts';
import { KeyturnError, messageOf } from '../model/errors.ts';
import type { Context } from './context.ts';

/** How values and documents of values come in and go out: never by the command line, and never where others read along. */

export interface Source {
  /** A path, or `-` for standard input. */
  readonly from: string;
  readonly maxBytes: number;
  /** A command that pipes it in, for a person who sits at a terminal. */
  readonly piped: string;
}

/** What the source holds, as text, and what to call it. Throws `usage` where it cannot be read, `value-refused` for what is no text. */
export async function readSource({ from, maxBytes, piped }: Source): Promise<{ text: string; place: string }> {
  const place = from === '-' ? 'standard input' : from;
  const bytes = from === '-' ? await readStdin(maxBytes, piped) : await readWholeFile(from);
  if (bytes.length > maxBytes) throw tooLong(place, maxBytes);
  const text = bytes.toString('utf8');
  if (Buffer.from(text, 'utf8').equals(bytes)) return { text, place };
  throw new KeyturnError('value-refused', `What ${place} holds is no UTF-8 text.`, {
    hint: 'Pass a secret as the upstream shows it, usually hex or base64 text.',
  });
}

async function readStdin(maxBytes: number, piped: string): Promise<Buffer> {
  if (process.stdin.isTTY) {
    throw new KeyturnError('usage', 'Standard input is a terminal, where everybody could read along.', {
      hint: `Pipe it in: ${piped}`,
    });
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLong('standard input', maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function readWholeFile(path: string): Promise<Buffer> {
  return readFile(path).catch((error: unknown) => {
    throw new KeyturnError('usage', `The file ${path} cannot be read (${codeOf(error)}).`, {
      hint: 'Check the path and its permissions.',
      cause: error,
    });
  });
}

function tooLong(place: string, maxBytes: number): KeyturnError {
  return new KeyturnError('value-refused', `What ${place} holds is longer than ${String(maxBytes)} bytes.`, {
    hint: 'Pass what is asked for alone.',
  });
}

/**
 * Writes what `make` resolves to into a new file that its owner alone may read, or says that it may be shown: then the
 * text is returned, and standard output is a terminal. Where it may go is looked at before `make` is called. Throws
 * `usage` for a file that is there, and for a value on its way into a pipe or an open file.
 */
export async function handOver(
  context: Context,
  { out, hasValues }: { readonly out: string | undefined; readonly hasValues: boolean },
  make: () => Promise<string>,
): Promise<{ readonly text: string | null; readonly path: string | null }> {
  if (out !== undefined) {
    const path = resolve(out);
    await writeNew(path, make);
    return { text: null, path };
  }
  if (hasValues && !context.output.isAtTerminal) {
    throw new KeyturnError('usage', 'Values are shown at a terminal only, and standard output is none.', {
      hint: 'To have them in a new file that you alone may read: --out FILE',
    });
  }
  const text = await make();
  if (hasValues && controls.test(text)) {
    throw new KeyturnError('usage', 'There are control characters in it, which a terminal would obey.', {
      hint: 'To have it in a new file that you alone may read: --out FILE',
    });
  }
  return { text, path: null };
}

/** Line ends and tabs do no harm. */
const controls = /[^\P{Cc}\n\t]/u;

async function writeNew(path: string, make: () => Promise<string>): Promise<void> {
  const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
    const isThere = codeOf(error) === 'EEXIST';
    throw new KeyturnError(
      'usage',
      isThere ? `${path} is there already.` : `${path} cannot be made (${codeOf(error)}).`,
      {
        hint: isThere
          ? 'Values are written to new files only; name another one.'
          : 'Name a file in a folder that you may write to.',
        cause: error,
      },
    );
  });
  try {
    await file.chmod(0o600);
    await writeWhole(file, path, await make());
  } catch (error) {
    await unlink(path);
    throw error;
  } finally {
    await file.close();
  }
}

async function writeWhole(file: FileHandle, path: string, text: string): Promise<void> {
  try {
    await file.writeFile(text);
    await file.sync();
  } catch (error) {
    throw new KeyturnError('usage', `${path} cannot be written: ${messageOf(error)}`, {
      hint: 'Free some space, or name another file.',
      cause: error,
    });
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
}

/** `NAME=SECRET`: a variable of an env file and the secret that it is. Throws `usage` for anything else. */
export function pairOf(text: string): { readonly name: string; readonly wanted: string } {
  const [name, ...rest] = text.split('=');
  const wanted = rest.join('=');
  if (name !== undefined && variableName.test(name) && wanted !== '') return { name, wanted };
  throw new KeyturnError('usage', `${JSON.stringify(text.slice(0, 200))} is no NAME=SECRET.`, {
    hint: 'Before the = stands the name of the variable, behind it the secret: WEBHOOK_SECRET=my-hook.',
  });
}
