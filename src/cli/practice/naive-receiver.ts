import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { KeyturnError, messageOf } from '../../model/errors.ts';
import { isProgram, listenOnLoopback, type PracticeServer, readBody, runProgram } from './program.ts';

/**
 * A receiver as webhook guides show it: one secret, compared with one signature. It stands beside the practice upstream
 * to show what a rotation costs without keyturn.
 */
export interface NaiveReceiverOptions {
  /** 0 takes a free one. */
  readonly port: number;
  /** The file that holds the secret, and nothing else but perhaps a line end. */
  readonly secretFile: string;
}

export interface NaiveReceiver extends PracticeServer {
  /** Reads the file again; from then on only the new secret is accepted. */
  reload(): void;
}

const maxBodyBytes = 1024 * 1024;

export async function startNaiveReceiver({ port, secretFile }: NaiveReceiverOptions): Promise<NaiveReceiver> {
  let secret = readSecret(secretFile);
  const server = createServer((request, response) => {
    const signature = request.headers['x-hub-signature-256'];
    void readBody(request, maxBodyBytes).then((body) => {
      const ok = typeof signature === 'string' && body !== null && isValid(body, signature, secret);
      response.writeHead(ok ? 200 : 401).end();
    });
  });
  const close = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeIdleConnections();
    await closed;
  };
  const reload = (): void => {
    secret = readSecret(secretFile);
  };
  return { url: await listenOnLoopback(server, port), reload, close };
}

function isValid(body: Buffer, signature: string, secret: string): boolean {
  const expected = Buffer.from(`sha256=${createHmac('sha256', secret).update(body).digest('hex')}`);
  const received = Buffer.from(signature);
  return received.length === expected.length && timingSafeEqual(received, expected);
}

function readSecret(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new KeyturnError('usage', `The secret file cannot be read: ${messageOf(error)}.`, {
      hint: 'Check the path.',
    });
  }
  const secret = text.replace(/\r?\n$/, '');
  if (secret === '')
    throw new KeyturnError('usage', `The secret file ${path} is empty.`, { hint: 'Write a secret to it.' });
  return secret;
}

// As a program. SIGHUP makes it read the file again.

function readFlags(): NaiveReceiverOptions {
  const hint = 'Usage: naive-receiver --secret-file PATH [--port NUMBER].';
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string', default: '0' },
        'secret-file': { type: 'string', default: '' },
      },
    });
    return { port: Number(values.port), secretFile: values['secret-file'] };
  } catch (error) {
    throw new KeyturnError('usage', messageOf(error), { hint });
  }
}

/** What to start with `node`: this very file, from the sources or from the package. */
export const naiveReceiverProgram = fileURLToPath(import.meta.url);

async function startReloading(options: NaiveReceiverOptions): Promise<NaiveReceiver> {
  const receiver = await startNaiveReceiver(options);
  process.on('SIGHUP', () => {
    try {
      receiver.reload();
    } catch (error) {
      process.stderr.write(`The old secret stays: ${messageOf(error)}\n`);
    }
  });
  return receiver;
}

if (isProgram(import.meta.url)) {
  await runProgram(async () => startReloading(readFlags()));
}
