import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorFields } from '../ports/log.ts';
import { followResponse, readStream, writeAnswer } from './node-http.ts';
import { checkOptions, handle, type Receiver, type Webhook, type WebhookOptions } from './receiver.ts';

export type { Receiver, Refusal, RefusalReason, Webhook, WebhookOptions } from './receiver.ts';

/** A request whose signature was verified. */
export type WebhookRequest = IncomingMessage & { readonly webhook: Webhook };

/**
 * A listener for `http.createServer`: `handler` gets verified messages only, everything else is answered here. What the
 * handler throws is logged and answered with 500, once.
 */
export function webhook(
  receiver: Receiver,
  options: WebhookOptions<IncomingMessage>,
  handler: (request: WebhookRequest, response: ServerResponse) => unknown,
): (request: IncomingMessage, response: ServerResponse) => void {
  checkOptions(receiver, options);
  return (request, response) => void serve(receiver, options, handler, request, response);
}

/** Never rejects. */
async function serve(
  receiver: Receiver,
  options: WebhookOptions<IncomingMessage>,
  handler: (request: WebhookRequest, response: ServerResponse) => unknown,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method = 'GET', url = '/', headers } = request;
  const readBody = (limit: number) => readStream(request, limit);
  const decision = await handle(receiver, options, { method, url, headers, readBody }, request);
  if (decision.kind !== 'pass') {
    writeAnswer(request, response, decision);
    return;
  }
  followResponse(response, decision);
  try {
    for (const [name, value] of Object.entries(decision.headers)) response.setHeader(name, value);
    await handler(Object.assign(request, { webhook: decision.webhook }), response);
  } catch (error) {
    const { requestId, secret } = decision.webhook;
    receiver.log.error('The handler of a webhook failed.', { secret, requestId, ...errorFields(error) });
    fail(response, requestId);
  }
}

/** An answer that has begun cannot be taken back; it is cut off, so that the sender does not take it for whole. */
function fail(response: ServerResponse, requestId: string): void {
  if (response.writableEnded) return;
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(500, { 'content-type': 'application/json; charset=utf-8', 'x-request-id': requestId });
  response.end(JSON.stringify({ error: 'handler-failed', requestId }));
}
