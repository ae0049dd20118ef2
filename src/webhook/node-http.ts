import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Answer, BodyRead, Pass } from './receiver.ts';

/** What the adapters over Node's own requests and responses share. */

/** Reads the stream and keeps at most `limit` bytes of it: at the first byte beyond, it stops reading. */
export function readStream(stream: IncomingMessage, limit: number): Promise<BodyRead> {
  if (stream.destroyed && !stream.readableEnded) return Promise.resolve('aborted');
  if (stream.readableDidRead || stream.readableEnded) return Promise.resolve('already-parsed');
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (read: BodyRead): void => {
      stream.off('data', take).off('end', finish).off('close', abort);
      resolve(read);
    };
    const take = (chunk: Buffer | string): void => {
      if (typeof chunk === 'string') {
        settle('already-parsed');
        return;
      }
      size += chunk.length;
      if (size <= limit) {
        chunks.push(chunk);
        return;
      }
      stream.pause();
      settle('too-large');
    };
    const finish = (): void => {
      const [first] = chunks;
      settle(first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks, size));
    };
    const abort = (): void => settle('aborted');
    stream.on('data', take).on('end', finish).on('close', abort);
    // It stays on: an error that comes later has nobody else to go to.
    stream.on('error', abort);
  });
}

/** Writes keyturn's own answer, unless the other side is gone or something was answered already. */
export function writeAnswer(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  if (response.headersSent || response.destroyed) return;
  // The rest of a body that is too large is not worth reading: the connection ends with the answer.
  if (answer.status === 413 && request.httpVersionMajor === 1) response.setHeader('connection', 'close');
  response.writeHead(answer.status, answer.headers);
  response.end(answer.body);
}

/** Tells the verifier how the handler's answer ended: by its status, or as not answered when it never went out whole. */
export function followResponse(response: ServerResponse, pass: Pass): void {
  response.once('finish', () => pass.answered(response.statusCode));
  response.once('close', () => pass.answered(response.writableFinished ? response.statusCode : 0));
}
