import type { IncomingMessage, ServerResponse } from 'node:http';
import { followResponse, readStream, writeAnswer } from './node-http.ts';
import { checkOptions, handle, type BodyRead, type Receiver, type Webhook, type WebhookOptions } from './receiver.ts';

export type { Receiver, Refusal, RefusalReason, Webhook, WebhookOptions } from './receiver.ts';

declare global {
  namespace Express {
    interface Request {
      /** The verified message; there in every handler behind keyturn's middleware. */
      webhook: Webhook;
    }
  }
}

/** What keyturn and a `secret` function need of Express's request, without a word of Express's own types. */
export interface ExpressRequest extends IncomingMessage {
  readonly originalUrl: string;
  readonly params: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly hostname: string;
  readonly path: string;
  readonly body?: unknown;
}

/** Middleware for Express 4 and 5: what goes on to the next handler is verified, everything else is answered here. */
export function webhook(
  receiver: Receiver,
  options: WebhookOptions<ExpressRequest>,
): (request: ExpressRequest, response: ServerResponse, next: (error?: unknown) => void) => void {
  checkOptions(receiver, options);
  return (request, response, next) => {
    const { method = 'GET', originalUrl: url, headers } = request;
    const readBody = (limit: number) => readRequest(request, limit);
    void handle(receiver, options, { method, url, headers, readBody }, request).then((decision) => {
      if (decision.kind !== 'pass') {
        writeAnswer(request, response, decision);
        return;
      }
      followResponse(response, decision);
      for (const [name, value] of Object.entries(decision.headers)) response.setHeader(name, value);
      Object.assign(request, { webhook: decision.webhook });
      next();
    });
  };
}

/**
 * The bytes from whoever has them: `express.raw()` leaves them in `body`, a parser's `verify` option usually in
 * `rawBody`, and otherwise the stream must still be untouched.
 */
function readRequest(request: ExpressRequest, limit: number): Promise<BodyRead> {
  const { body, rawBody } = request as ExpressRequest & { readonly rawBody?: unknown };
  const bytes = [rawBody, body].find((candidate) => candidate instanceof Uint8Array);
  if (bytes === undefined) return readStream(request, limit);
  return Promise.resolve(
    bytes.length > limit ? 'too-large' : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
  );
}
