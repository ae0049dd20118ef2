import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { TestContext } from 'vitest';

/** True where file permissions mean nothing to the process that runs the tests. */
export const isRoot = process.getuid?.() === 0;

/** A user that is nobody in particular. */
export const otherUid = 65_534;

export async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'keyturn-sqlite-'));
}

export async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}

const command = promisify(execFile);

/** Makes that folder a file system of its own, of so many KiB; returns what ends it. Skips the test where it may not be had. */
export async function mountSmall(
  { skip }: Pick<TestContext, 'skip'>,
  folder: string,
  kib: number,
): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const mounted = command('mount', ['-t', 'tmpfs', '-o', `size=${String(kib)}k`, 'keyturn-test', folder]);
  const isMounted = await mounted.then(
    () => true,
    () => false,
  );
  skip(!isMounted, 'only root may mount a small disk, and not everywhere');
  return async () => {
    await command('umount', [folder]);
  };
}

export async function mountReadOnly(folder: string): Promise<void> {
  await command('mount', ['-o', 'remount,ro', folder]);
}

/** Permission bits the way `ls -l` means them, setgid included. */
export async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o7777).toString(8);
}

/** One run of `sqlite-process.ts`. */
export class OtherProcess {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exited: Promise<unknown>;

  constructor(...act: readonly (string | number)[]) {
    const script = fileURLToPath(new URL('./sqlite-process.ts', import.meta.url));
    const child = spawn(process.execPath, [...process.execArgv, script, ...act.map(String)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.#exited = once(child, 'exit');
  }

  /** Its next answer. */
  async answer(): Promise<unknown> {
    const { done, value } = await this.#lines.next();
    if (done === true) throw new Error('the other process ended without an answer');
    return JSON.parse(value);
  }

  async ready(): Promise<void> {
    const answer = await this.answer();
    if (answer !== 'ready') throw new Error(`it said ${JSON.stringify(answer)} before it was ready`);
  }

  goOn(): void {
    this.#child.stdin?.write('\n');
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  stop(): void {
    this.#child.kill('SIGSTOP');
  }

  wakeUp(): void {
    this.#child.kill('SIGCONT');
  }

  /** As a power cut would: it gets no chance to tidy up. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
