import type { UpstreamCall } from '../../../src/ports/upstream.ts';
import { userAgent } from '../../version.ts';
import { repeats } from './echo.ts';

/** Ids that keyturn and an upstream tell each other, so that both sides can name the same call. */

/** What a request carries unless the policy's step states it itself. */
export function idHeaders(call: Pick<UpstreamCall, 'runId' | 'intentId'>): Readonly<Record<string, string>> {
  return {
    'user-agent': userAgent(),
    'x-request-id': call.intentId,
    'x-correlation-id': call.runId,
  };
}

/** Where upstreams put their own id of a call, the most telling first. */
const requestIdHeaders = [
  'x-github-request-id',
  'x-fb-trace-id',
  'x-fb-request-id',
  'x-amzn-requestid',
  'x-amz-request-id',
  'twilio-request-id',
  'x-request-id',
  'request-id',
  'x-correlation-id',
  'cf-ray',
];

/** `ABCD:1F2E:3D4C5B:6A7988:665F0A11`, `1-5759e988-bd862e3fe1be46a994272793`; nothing that a terminal or a log would act on. */
const idShape = /^[\w.:/+=-]{1,128}$/;

/** The upstream's own id of the call; null where it named none, gave ours back, or repeats one of `values`. */
export function requestIdOf(headers: Headers, sent: readonly string[], values: readonly string[]): string | null {
  const ids = requestIdHeaders.flatMap((name) => headers.get(name) ?? []);
  return ids.find((id) => idShape.test(id) && !sent.includes(id) && !repeats(id, values)) ?? null;
}
