import { once } from 'node:events';
import { realpathSync } from 'node:fs';
import type { IncomingMessage, Server } from 'node:http';
import { fileURLToPath } from 'node:url';
import { KeyturnError, messageOf } from '../../model/errors.ts';

/** What the practice programs have in common: a server on loopback that runs until it is told to stop. */

export interface PracticeServer {
  readonly url: string;
  close(): Promise<void>;
}

/** True in the module that `node` was started with; `import.meta.main` is younger than the oldest Node we run on. */
export function isProgram(moduleUrl: string): boolean {
  const [, started] = process.argv;
  return started !== undefined && realpathSync(started) === realpathSync(fileURLToPath(moduleUrl));
}

/** Listens on loopback, with 0 on a free port, and returns the origin. */
export async function listenOnLoopback(server: Server, port: number): Promise<string> {
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  } catch (error) {
    throw new KeyturnError('usage', `Cannot listen on 127.0.0.1:${port}: ${messageOf(error)}.`, {
      hint: 'Choose another port; 0 takes a free one.',
    });
  }
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('a TCP server has an address and a port');
  return `http://127.0.0.1:${address.port}`;
}

/** The whole body; null when it is longer than `maxBytes` or was cut short. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size <= maxBytes) chunks.push(chunk);
    }
  } catch {
    return null;
  }
  return size <= maxBytes ? Buffer.concat(chunks) : null;
}

/**
 * Runs a practice server as a program: says on standard output where it listens, and closes it in order on SIGTERM or
 * SIGINT; a second signal ends it at once. `start` reads the arguments.
 */
export async function runProgram(start: () => Promise<PracticeServer>): Promise<void> {
  const stopped = Promise.withResolvers<undefined>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopped.resolve(undefined));
  try {
    const server = await start();
    process.stdout.write(`${JSON.stringify({ listening: server.url })}\n`);
    await stopped.promise;
    await server.close();
    process.exit(0);
  } catch (error) {
    const hint = error instanceof KeyturnError && error.hint !== null ? ` ${error.hint}` : '';
    process.stderr.write(`${messageOf(error)}${hint}\n`);
    process.exit(error instanceof KeyturnError && error.code === 'usage' ? 2 : 1);
  }
}
