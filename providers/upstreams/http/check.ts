import type { Address } from '../../../src/model/address.ts';
import { KeyturnError } from '../../../src/model/errors.ts';
import type { HttpStep, HttpUpstreamPolicy } from '../../../src/model/policy.ts';
import { isLoopbackHost } from '../../../src/model/loopback.ts';
import { allowedHost } from '../../../src/model/policy/upstream.ts';
import { hasJson, namesIn, TemplateProblem, templatesOf } from './template.ts';

export const credentialPrefix = 'credentials.';

export function credentialName(variable: string): string {
  return variable.slice(credentialPrefix.length);
}

/**
 * Checks what is wrong whatever the values are, and returns the names that its templates use, each once.
 * Throws `policy-invalid`.
 */
export function checkStep(secret: Address, policy: HttpUpstreamPolicy): readonly string[] {
  const step = policy.steps.activate;
  const invalid = (what: string, hint: string): KeyturnError =>
    new KeyturnError('policy-invalid', `The step activate of ${secret}'s upstream ${what}.`, { hint });
  const names = new Set<string>();
  for (const { place, template } of templatesOf(step)) {
    try {
      for (const name of namesIn(template)) {
        if (!isKnown(name, policy)) throw new TemplateProblem(`uses {{${name}}}, which nothing defines`);
        names.add(name);
      }
    } catch (error) {
      if (!(error instanceof TemplateProblem)) throw error;
      throw invalid(
        `is not usable: ${place} ${error.message}`,
        'Known are {{new}}, {{old}}, {{runId}} and {{credentials.NAME}} for each name under credentials.',
      );
    }
  }
  checkShape(step, invalid);
  if (!/^https?:\/\/[^/?#\\{}]+(?:[/?][^#]*)?$/i.test(step.url)) {
    throw invalid('has no usable url', 'Write https://HOST/PATH; templates may begin after the host, and it has no #.');
  }
  const problem = placeProblem(step.url.replace(/\{\{[^{}]*\}\}/g, 'x'), policy.allowHosts);
  if (problem !== null) throw invalid(`must not be called: ${problem.what}`, problem.hint);
  return [...names];
}

function isKnown(name: string, policy: HttpUpstreamPolicy): boolean {
  if (name === 'new' || name === 'old' || name === 'runId') return true;
  return name.startsWith(credentialPrefix) && Object.hasOwn(policy.credentials, credentialName(name));
}

/** Headers that belong to the connection: with one of them wrong, the request is not the one that the policy shows. */
const connectionHeaders = ['connection', 'content-length', 'host', 'transfer-encoding'];

function checkShape(step: HttpStep, invalid: (what: string, hint: string) => KeyturnError): void {
  const bodies = [hasJson(step), step.form !== null, step.body !== null].filter(Boolean).length;
  if (bodies > 1) throw invalid('has more than one body', 'Keep one of json, form and body.');
  if (bodies > 0 && step.method === 'GET') throw invalid('has a body for GET', 'Use another method, or no body.');
  for (const name of Object.keys(step.headers)) {
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) || connectionHeaders.includes(name.toLowerCase())) {
      throw invalid(`has the header ${JSON.stringify(name)}, which cannot be set`, 'Remove it.');
    }
  }
}

export interface PlaceProblem {
  readonly what: string;
  readonly hint: string;
}

/** Why a request may not go to that url; null when it may. */
export function placeProblem(text: string, allowHosts: readonly string[]): PlaceProblem | null {
  if (!URL.canParse(text)) return { what: 'its url is none', hint: 'Write https://HOST/PATH.' };
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') {
    return { what: 'its url holds a user or password', hint: 'Send it in a header, as {{credentials.NAME}}.' };
  }
  if (url.protocol !== 'https:' && !isLoopbackHost(url.hostname)) {
    return { what: `${url.host} would be called without encryption`, hint: 'Use https; http is for loopback alone.' };
  }
  if (!allowHosts.some((entry) => allows(entry, url))) {
    return { what: `the host ${url.host} is not among allowHosts`, hint: `If it is right, add "${url.host}" there.` };
  }
  return null;
}

/** Host and port must be equal; an entry without a port allows every port. */
function allows(entry: string, url: URL): boolean {
  const allowed = allowedHost(entry);
  if (allowed?.host !== url.hostname) return false;
  const defaultPort = url.protocol === 'https:' ? '443' : '80';
  return allowed.port === null || allowed.port === (url.port === '' ? defaultPort : url.port);
}

/** The Fetch standard's "bad ports": a request to one of them fails before anything is sent. */
export const neverDialled: ReadonlySet<number> = new Set([
  1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
  111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
  540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
  6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);
