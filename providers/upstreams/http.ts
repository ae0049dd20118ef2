import type { Address } from '../../src/model/address.ts';
import { isKeyturnError, KeyturnError } from '../../src/model/errors.ts';
import type { CredentialReference, HttpStep, HttpUpstreamPolicy } from '../../src/model/policy.ts';
import { realClock, realFetch } from '../../src/ports/real.ts';
import type { Clock, Fetch } from '../../src/ports/system.ts';
import type { Upstream, UpstreamAnswer, UpstreamCall } from '../../src/ports/upstream.ts';
import { startDeadline } from '../deadline.ts';
import {
  type Answer,
  type Callee,
  cutOff,
  errorOf,
  errorWithoutAnswer,
  retryAfterOf,
  unreachable,
} from './http/answer.ts';
import { checkStep, credentialName, credentialPrefix, neverDialled, placeProblem } from './http/check.ts';
import { repeats, sayableText } from './http/echo.ts';
import { idHeaders, requestIdOf } from './http/ids.ts';
import { type RenderedRequest, renderRequest, TemplateProblem, type ValueOf } from './http/template.ts';

export interface HttpUpstreamOptions {
  readonly secret: Address;
  readonly policy: HttpUpstreamPolicy;
  /** Asked anew for every call, because credentials are rotated too. */
  readonly credential: (name: string) => Promise<string>;
  readonly fetch?: Fetch | undefined;
  readonly clock?: Clock | undefined;
}

/** No more of an answer's body is read than this. */
const maxAnswerBytes = 64 * 1024;

/**
 * An upstream whose setting one HTTP request changes, as the policy's templates say. It tries once per call; trying
 * again is the caller's business. Throws `policy-invalid` for what no call could make right.
 */
export function createHttpUpstream(options: HttpUpstreamOptions): Upstream {
  const { secret, policy, credential, fetch = realFetch, clock = realClock } = options;
  const step = policy.steps.activate;
  const names = checkStep(secret, policy);
  const url = new URL(step.url.replace(/[/?]?\{\{.*$/s, ''));
  const credentials = names.filter((name) => name.startsWith(credentialPrefix)).map(credentialName);
  const callee: Callee = {
    secret,
    request: `${step.method} ${url.host}`,
    credentials: credentials.map((name) => describeCredential(name, policy.credentials[name])),
  };

  async function activate(call: UpstreamCall): Promise<UpstreamAnswer> {
    const values = await gatherValues(call, callee, credentials, credential);
    const request = prepare(step, values, idHeaders(call), callee, policy.allowHosts);
    if (call.signal.aborted) throw unreachable(callee, 'the time for this call was over before it was made');
    const deadline = startDeadline(clock, step.timeoutMs, call.signal);
    const secrets = [...values].filter(([name]) => name !== 'runId').map(([, value]) => value);
    let requestId: string | null = null;
    try {
      const response = await fetch(request.url, {
        method: request.method,
        headers: request.headers,
        body: request.body,
        redirect: 'manual',
        credentials: 'omit',
        signal: deadline.signal,
      });
      requestId = requestIdOf(response.headers, Object.values(request.headers), secrets);
      if (!step.expect.includes(response.status)) {
        throw errorOf({ ...(await readAnswer(response, request.url, secrets, clock.now())), requestId }, step, callee);
      }
      await readBody(response);
      return { requestId };
    } catch (error) {
      if (isKeyturnError(error)) throw error;
      if (deadline.signal.aborted) throw cutOff(callee, deadline.reason(), requestId);
      throw errorWithoutAnswer(error, callee, requestId);
    } finally {
      deadline.end();
    }
  }

  return { label: `http ${url.host}`, timeoutMs: step.timeoutMs, activate, close: async () => {} };
}

function describeCredential(name: string, reference: CredentialReference | undefined): string {
  if (reference === undefined) return `the credential ${name}`;
  return `the credential ${name} (${'env' in reference ? `variable ${reference.env}` : `file ${reference.file}`})`;
}

/** The values of one call by template name; `old` is not among them in a first rotation. */
async function gatherValues(
  call: UpstreamCall,
  callee: Callee,
  credentials: readonly string[],
  credential: (name: string) => Promise<string>,
): Promise<ReadonlyMap<string, string>> {
  const values = new Map([
    ['new', call.newValue],
    ['runId', call.runId],
  ]);
  if (call.oldValue !== null) values.set('old', call.oldValue);
  for (const name of credentials) values.set(`${credentialPrefix}${name}`, await readCredential(name));
  return values;

  async function readCredential(name: string): Promise<string> {
    const missing = (how: string): KeyturnError =>
      new KeyturnError('credential-missing', `The credential ${name} of ${callee.secret}'s upstream ${how}.`, {
        hint: `Nothing was sent. Set ${callee.credentials[credentials.indexOf(name)] ?? name} and try again.`,
      });
    try {
      const value = await credential(name);
      if (value !== '') return value;
    } catch (error) {
      throw isKeyturnError(error, 'credential-missing') ? error : missing('cannot be read');
    }
    throw missing('is empty');
  }
}

function prepare(
  step: HttpStep,
  values: ReadonlyMap<string, string>,
  unlessStated: Readonly<Record<string, string>>,
  callee: Callee,
  allowHosts: readonly string[],
): RenderedRequest {
  const refused = (what: string, hint: string): KeyturnError =>
    new KeyturnError('upstream-refused', `The call to the upstream of ${callee.secret} was not made: ${what}.`, {
      hint,
    });
  const valueOf: ValueOf = (name) => {
    const value = values.get(name);
    if (value === undefined) {
      throw new TemplateProblem(`uses {{${name}}}, and a first rotation has none`);
    }
    if (value === '' || Buffer.from(value).toString() !== value) {
      throw new TemplateProblem(`uses {{${name}}}, whose value is ${value === '' ? 'empty' : 'no valid Unicode text'}`);
    }
    return value;
  };
  let request: RenderedRequest;
  try {
    request = renderRequest(step, valueOf, unlessStated);
  } catch (error) {
    if (!(error instanceof TemplateProblem)) throw error;
    throw refused(
      `steps.activate ${error.message}`,
      'Change the template in the policy, or the value that it stands for.',
    );
  }
  const problem = placeProblem(request.url, allowHosts);
  if (problem !== null) throw refused(problem.what, problem.hint);
  const { port } = new URL(request.url);
  if (neverDialled.has(Number(port))) {
    throw unreachable(callee, `port ${port} belongs to another protocol, and HTTP clients do not connect to it`);
  }
  return request;
}

async function readAnswer(
  response: Response,
  from: string,
  secrets: readonly string[],
  nowMs: number,
): Promise<Omit<Answer, 'requestId'>> {
  const body = await readBody(response).catch(() => null);
  return {
    status: response.status,
    retryAfterMs: retryAfterOf(response.headers, nowMs),
    redirectHost: redirectHostOf(response.headers.get('location'), from, secrets),
    text: body === null ? null : sayableText(body, secrets),
  };
}

/** The body as text; null when it is longer than anybody should read. Rejects when it is cut short. */
async function readBody(response: Response): Promise<string | null> {
  if (response.body === null) return '';
  const chunks: Uint8Array[] = [];
  let size = 0;
  const body: AsyncIterable<Uint8Array> = response.body;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > maxAnswerBytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function redirectHostOf(location: string | null, from: string, secrets: readonly string[]): string | null {
  if (location === null || !URL.canParse(location, from)) return null;
  const { host } = new URL(location, from);
  return host === '' || repeats(host, secrets) ? null : host;
}
