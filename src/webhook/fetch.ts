import { checkOptions, handle, type BodyRead, type Receiver, type Webhook, type WebhookOptions } from './receiver.ts';

export type { Receiver, Refusal, RefusalReason, Webhook, WebhookOptions } from './receiver.ts';

/** A request whose signature was verified. Its own body is used up; `webhook.body` has the bytes. */
export type WebhookRequest = Request & { readonly webhook: Webhook };

/**
 * A fetch handler: `handler` gets verified messages only, everything else is answered here. What the platform hands over
 * beside the request goes through to the handler, and what the handler throws goes to the platform.
 */
export function webhook<Rest extends unknown[]>(
  receiver: Receiver,
  options: WebhookOptions<Request>,
  handler: (request: WebhookRequest, ...rest: Rest) => Response | Promise<Response>,
): (request: Request, ...rest: Rest) => Promise<Response> {
  checkOptions(receiver, options);
  return async (request, ...rest) => {
    const { method, url, headers } = request;
    const readBody = (limit: number) => readStream(request, limit);
    const decision = await handle(receiver, options, { method, url, headers, readBody }, request);
    if (decision.kind !== 'pass') {
      return new Response(decision.body, { status: decision.status, headers: { ...decision.headers } });
    }
    let status = 0;
    try {
      const verified = Object.defineProperty(request, 'webhook', { value: decision.webhook, configurable: true });
      const response = withHeaders(await handler(verified as WebhookRequest, ...rest), decision.headers);
      status = response.status;
      return response;
    } finally {
      decision.answered(status);
    }
  };
}

/** Some platforms hand out responses whose headers cannot be changed; those are copied. */
function withHeaders(response: Response, headers: Readonly<Record<string, string>>): Response {
  const add = (target: Response): Response => {
    for (const [name, value] of Object.entries(headers)) target.headers.set(name, value);
    return target;
  };
  try {
    return add(response);
  } catch {
    return add(new Response(response.body, response));
  }
}

/** Reads the body and keeps at most `limit` bytes of it. */
async function readStream(request: Request, limit: number): Promise<BodyRead> {
  if (request.bodyUsed) return 'already-parsed';
  if (request.body === null) return Buffer.alloc(0);
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    const reader = (request.body as ReadableStream<Uint8Array>).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return Buffer.concat(chunks, size);
      size += value.length;
      if (size > limit) {
        await reader.cancel();
        return 'too-large';
      }
      chunks.push(value);
    }
  } catch {
    return 'aborted';
  }
}
