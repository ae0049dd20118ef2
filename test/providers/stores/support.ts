import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Encrypter, identityToRecipient } from 'age-encryption';
import { afterAll } from 'vitest';
import { documentPath } from '../../../providers/stores/file/name.ts';
import type { StoreName } from '../../../src/ports/secret-store.ts';
import type { FileStoreTask } from './fixtures/file-store-process.ts';

export const isRoot = process.getuid?.() === 0;
export const nobody = 65_534;

/** Gives a store's folder, not there yet, in a temporary one that is removed after the tests of the file. */
export function storeFolders(prefix: string): () => string {
  const scratch = mkdtempSync(join(tmpdir(), prefix));
  chmodSync(scratch, 0o755);
  let folders = 0;
  afterAll(() => {
    rmSync(scratch, { recursive: true, force: true });
  });
  return () => {
    folders += 1;
    return join(scratch, String(folders), 'secrets');
  };
}

export function modeOf(path: string): string {
  return (statSync(path).mode & 0o7777).toString(8);
}

/** Puts a document into a store's folder, past every check. Returns its place. */
export function putDocument(folder: string, name: StoreName, content: string | Uint8Array): string {
  const place = join(folder, documentPath(name).file);
  mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
  writeFileSync(place, content, { mode: 0o600 });
  return place;
}

/** What `age -r` would make of the text. */
export async function encryptedFor(identity: string, text: string | Uint8Array): Promise<Uint8Array> {
  const encrypter = new Encrypter();
  encrypter.addRecipient(await identityToRecipient(identity));
  return encrypter.encrypt(typeof text === 'string' ? Buffer.from(text) : text);
}

const fixture = fileURLToPath(new URL('fixtures/file-store-process.ts', import.meta.url));

/** A process of its own that does this with a file store. */
export function start(task: FileStoreTask, user?: number): ChildProcess {
  const as = user === undefined ? {} : { uid: user, gid: user };
  return spawn(process.execPath, [fixture, JSON.stringify(task)], { stdio: ['pipe', 'pipe', 'inherit'], ...as });
}

export async function outputOf(
  child: ChildProcess,
): Promise<{ readonly output: string; readonly signal: string | null }> {
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await once(child, 'close');
  return { output, signal: child.signalCode };
}

export async function runProcess(task: FileStoreTask, user?: number): Promise<string> {
  return (await outputOf(start(task, user))).output;
}

/** What a folder cannot do of what the suite asks for. */
export const fileLacks = {
  network: 'there is no network',
  denied: 'modes are tested by themselves',
  makeEmpty: 'a file without a document is a broken one',
  softDelete: 'what was removed is gone',
} as const;
