import { type ErrorOptions, type ErrorCode, KeyturnError } from '../../../src/model/errors.ts';
import type { HttpStep } from '../../../src/model/policy.ts';

/** What an answer, or the lack of one, says about whether the upstream did it. */

export interface Answer {
  readonly status: number;
  readonly retryAfterMs: number | null;
  /** The host that a redirect points to; null when there is none that may be shown. */
  readonly redirectHost: string | null;
  /** What the upstream says in words, safe to show; null when there is nothing. */
  readonly text: string | null;
  /** The upstream's own id of the call; null where it named none. */
  readonly requestId: string | null;
}

/** Who was called, for messages: no value of a template in it. */
export interface Callee {
  readonly secret: string;
  /** `PATCH api.github.com` */
  readonly request: string;
  /** The credentials of the request, as people wrote them: `token (variable HOOK_TOKEN)`. */
  readonly credentials: readonly string[];
}

/** The error that an answer outside `expect` amounts to. */
export function errorOf(answer: Answer, step: HttpStep, callee: Callee): KeyturnError {
  const { code, hint, remark = '' } = judge(answer, step, callee);
  const says = answer.text === null ? '' : ` It says: ${JSON.stringify(answer.text)}.`;
  const named = requestIdWords(answer.requestId);
  return new KeyturnError(
    code,
    `The upstream of ${callee.secret} ${verbs[code]}: ${callee.request} answered ${String(answer.status)}${remark}.${says}${named}`,
    { hint, details: detailsOf(answer) },
  );
}

function detailsOf({ status, retryAfterMs, requestId }: Answer): Readonly<Record<string, unknown>> {
  return { status, ...(retryAfterMs === null ? {} : { retryAfterMs }), ...requestIdDetails(requestId) };
}

/** What to tell the upstream's support. */
function requestIdWords(requestId: string | null): string {
  return requestId === null ? '' : ` Its id of this request: ${requestId}.`;
}

function requestIdDetails(requestId: string | null): Readonly<Record<string, unknown>> {
  return requestId === null ? {} : { upstreamRequestId: requestId };
}

type AnswerCode = Extract<ErrorCode, 'upstream-refused' | 'upstream-throttled' | 'upstream-failed'>;

const verbs: Readonly<Record<AnswerCode, string>> = {
  'upstream-refused': 'refused the change',
  'upstream-throttled': 'asks to wait',
  'upstream-failed': 'failed',
};

interface Judgement {
  readonly code: AnswerCode;
  readonly hint: string;
  readonly remark?: string;
}

/**
 * 425, 429 and 503 with Retry-After are answers of a server that did not begin. 303 is not among the refusals: it is
 * how a server says "done, look there".
 */
function judge({ status, retryAfterMs, redirectHost }: Answer, step: HttpStep, callee: Callee): Judgement {
  if (status === 425 || status === 429 || (status === 503 && retryAfterMs !== null)) {
    return { code: 'upstream-throttled', hint: 'Nothing to do: it is tried again later.' };
  }
  if (step.retryOn.includes(status) || status === 408 || status >= 500) {
    return { code: 'upstream-failed', hint: 'It is tried again; if it stays, look at the state of the upstream.' };
  }
  if (status < 300 || status === 303) {
    return {
      code: 'upstream-failed',
      hint: `It may have happened. If ${String(status)} means done, add it to steps.activate.expect in the policy.`,
      remark: ', which the policy does not expect',
    };
  }
  if (status < 400) {
    return {
      code: 'upstream-refused',
      hint: 'If you trust that address, write it into steps.activate.url and its host into allowHosts in the policy.',
      remark: `${redirectHost === null ? '' : ` and points to ${redirectHost}`}; redirects are not followed`,
    };
  }
  return { code: 'upstream-refused', hint: hintOf(status, callee.credentials) };
}

function hintOf(status: number, credentials: readonly string[]): string {
  const which = credentials.length === 0 ? 'a credential (the request has none)' : credentials.join(' and ');
  if (status === 401) return `The upstream does not know who asks. Check ${which}.`;
  if (status === 403) return `The upstream knows who asks and forbids it. Give ${which} the permission.`;
  if (status === 404 || status === 410) {
    return `Check the path in steps.activate.url in the policy, and that ${which} may see what it names.`;
  }
  if (status === 405) return 'Check steps.activate.method in the policy.';
  return 'Check url, headers and body of steps.activate in the policy against what the upstream documents.';
}

/**
 * Seconds or an HTTP date, as milliseconds from now, at most a day; null when it is neither. A date is taken relative
 * to the answer's own `date`, so that a wrong clock on either side does not matter.
 */
export function retryAfterOf(headers: Headers, nowMs: number): number | null {
  const text = headers.get('retry-after')?.trim() ?? '';
  const dayMs = 86_400_000;
  if (/^\d{1,10}$/.test(text)) return Math.min(Number(text) * 1_000, dayMs);
  const at = parseHttpDate(text);
  if (at === null) return null;
  const from = parseHttpDate(headers.get('date')?.trim() ?? '') ?? nowMs;
  return Math.min(Math.max(0, at - from), dayMs);
}

function parseHttpDate(text: string): number | null {
  if (!/^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(text)) return null;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

/**
 * The port's promise for a request that got no whole answer; `cause` is not kept, because it may quote the request.
 * `requestId` is what the upstream named in the part that came.
 */
export function errorWithoutAnswer(error: unknown, callee: Callee, requestId: string | null): KeyturnError {
  const cause = notSentCode(error);
  if (cause !== null) return unreachable(callee, `${callee.request} could not connect (${cause})`, { cause });
  const what = `${callee.request} was sent, and the connection ended without a whole answer`;
  return unknown(callee, what, requestId, shownCode(error));
}

export function unreachable(callee: Callee, what: string, details: ErrorOptions['details'] = {}): KeyturnError {
  return new KeyturnError('upstream-unreachable', `The upstream of ${callee.secret} was not reached: ${what}.`, {
    hint: 'Nothing was sent. Check the host in steps.activate.url in the policy, its certificate, and the network of this machine.',
    details,
  });
}

export function cutOff(callee: Callee, when: string, requestId: string | null): KeyturnError {
  return unknown(callee, `${callee.request} had no whole answer ${when}`, requestId);
}

function unknown(
  callee: Callee,
  what: string,
  requestId: string | null,
  details: ErrorOptions['details'] = {},
): KeyturnError {
  return new KeyturnError(
    'upstream-unknown',
    `The upstream of ${callee.secret} may have changed: ${what}.${requestIdWords(requestId)}`,
    {
      hint: 'It is tried again; the evidence of deliveries shows which value is in use.',
      details: { ...details, ...requestIdDetails(requestId) },
    },
  );
}

/** Failures before the first byte of a request: name lookup, connecting, and the certificate of the other side. */
const beforeSending: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EAI_NODATA',
  'EAI_NONAME',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_CHAIN_TOO_LONG',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REJECTED',
  'CERT_REVOKED',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE',
  'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
  'ERR_SSL_UNSUPPORTED_PROTOCOL',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'HOSTNAME_MISMATCH',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** The code of a failure after which it is certain that nothing was sent; null when it is not certain. */
function notSentCode(error: unknown): string | null {
  const failure = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (failure instanceof AggregateError) {
    const codes = failure.errors.map(notSentCode);
    return codes.every((code) => code !== null) ? (codes[0] ?? null) : null;
  }
  const code = fieldOf(failure, 'code');
  if (code === null) return null;
  return beforeSending.has(code) || fieldOf(failure, 'syscall') === 'connect' ? code : null;
}

function shownCode(error: unknown): Readonly<Record<string, unknown>> {
  const code = fieldOf(error instanceof Error ? error.cause : null, 'code');
  return code === null ? {} : { cause: code };
}

function fieldOf(thing: unknown, name: 'code' | 'syscall'): string | null {
  if (typeof thing !== 'object' || thing === null) return null;
  const value: unknown = Reflect.get(thing, name);
  return typeof value === 'string' && /^[A-Za-z0-9_]{1,60}$/.test(value) ? value : null;
}
