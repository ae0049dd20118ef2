import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { KeyturnError } from '../../model/errors.ts';

/** A program of the demo, running as a process of its own. */
export interface Child {
  /** Where it listens. */
  readonly url: string;
  readonly process: ChildProcess;
  /** Ends it in order and resolves when it is gone. */
  stop(): Promise<void>;
}

/** True when keyturn runs from its sources; a package has only what was built of them. */
const fromSources = import.meta.url.endsWith('.ts');

/** A file of keyturn itself, by its path from the root without the ending. */
export function ownProgram(path: string): string {
  return fileURLToPath(new URL(`../../../${path}.${fromSources ? 'ts' : 'js'}`, import.meta.url));
}

/** What Node needs so that `keyturn/…` means the sources where these are run. */
export const nodeFlags: readonly string[] = fromSources ? ['--conditions=keyturn-source'] : [];

export interface ProgramOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a program and resolves when it says where it listens. It ends when this process does. */
export async function startProgram(path: string, { args = [], env = {} }: ProgramOptions): Promise<Child> {
  const preload = ['--import', new URL(`./end-with-parent.${fromSources ? 'ts' : 'js'}`, import.meta.url).href];
  const child = spawn(process.execPath, [...nodeFlags, ...preload, path, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // Out of the terminal's reach: Ctrl-C is for us, and we stop our programs in their order.
    detached: true,
    env: { ...process.env, ...env },
  });
  const complaints: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => complaints.push(chunk));
  // A program that dies closes this pipe; its exit says more.
  child.stdin.on('error', () => undefined);
  const exited = once(child, 'exit');
  const url = await Promise.race([firstUrl(child), exited.then(() => null)]);
  if (url === null) {
    throw new KeyturnError('unexpected', `${path} did not start: ${Buffer.concat(complaints).toString().trim()}`);
  }
  return {
    url,
    process: child,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await exited;
    },
  };
}

async function firstUrl(child: ChildProcess): Promise<string | null> {
  if (child.stdout === null) return null;
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
    if (url !== undefined) {
      child.stdout.resume();
      return url;
    }
  }
  return null;
}
