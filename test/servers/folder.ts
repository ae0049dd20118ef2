import { execFile } from 'node:child_process';
import { access } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

/** The project, and the ignored folder in it with installs, logs and what runs. */
export const root = join(import.meta.dirname, '../..');
export const folder = join(root, '.servers');

/** A folder with servers that somebody brought; null where none is named. A relative path starts at the project. */
export function brought(): string | null {
  const named = process.env['KEYTURN_TEST_SERVERS'];
  return named === undefined || named === '' ? null : resolve(root, named);
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

const run = promisify(execFile);

/** Long enough for an install on a busy machine. What takes longer hangs. */
const longestMs = 240_000;

/** Runs a program to its end and gives what it printed. Throws with its words where it failed. */
export async function output(command: string, args: readonly string[], cwd = root): Promise<string> {
  const { stdout } = await run(command, [...args], { cwd, maxBuffer: 64 * 1024 * 1024, timeout: longestMs });
  return stdout;
}
