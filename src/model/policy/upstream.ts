import { isLoopbackHost } from '../loopback.ts';
import type { CredentialFields } from './fields.ts';
import { nearest, type Findings } from './findings.ts';
import type { Loose } from './merge.ts';
import type { HttpStepFields, UpstreamFields } from './schema.ts';
import { hasLooseBraces, templateNames, withoutTemplates } from './template.ts';
import type { Path } from './text.ts';

/** Checks of an HTTP upstream that span fields. No message shows a url or a header: either may hold a credential by mistake. */

/** An entry of allowHosts, its host as `URL.hostname` has it: lower case, brackets around IPv6. */
export interface AllowedHost {
  readonly host: string;
  /** Null allows every port. */
  readonly port: string | null;
}

/** `host`, `host:port`, an IPv6 address with or without brackets; null where `text` is more or less than that. */
export function allowedHost(text: string): AllowedHost | null {
  const bare = /^[0-9a-f]*:[0-9a-f:.]*:[0-9a-f:.]*$/i.test(text) ? `[${text}]` : text;
  const match = /^([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9]\d{0,4}))?$/i.exec(bare);
  const url = parsedUrl(`http://${match?.[1] ?? ''}/`);
  if (match === null || url === null || Number(match[2] ?? 1) > 65_535) return null;
  return { host: url.hostname, port: match[2] ?? null };
}

export function formatAllowedHost({ host, port }: AllowedHost): string {
  return port === null ? host : `${host}:${port}`;
}

/** True when calls can only reach this machine: then the fleet may be one receiver, and http is as good as https. */
export function isLoopbackUpstream(upstream: Loose<UpstreamFields>): boolean {
  const hosts = upstream.allowHosts ?? [];
  return hosts.length > 0 && hosts.every((host) => isLoopbackHost(allowedHost(host)?.host ?? ''));
}

/** `address`: the parts of its address that the secret has, and so may be templates. */
export function checkUpstream(
  upstream: Loose<UpstreamFields>,
  path: Path,
  address: readonly AddressTemplate[],
  findings: Findings,
): void {
  for (const [index, host] of (upstream.allowHosts ?? []).entries()) {
    if (allowedHost(host) !== null) continue;
    findings.add([...path, 'allowHosts', index], 'must be a host or host:port, without scheme, path or wildcard');
  }
  checkCredentials(upstream, [...path, 'credentials'], findings);
  checkCapabilities(upstream, [...path, 'capabilities'], findings);
  const step = upstream.steps?.activate;
  if (step === undefined) return;
  const place = [...path, 'steps', 'activate'];
  checkStep(step, upstream, place, findings);
  checkTemplates(step, { address, credentials: Object.keys(upstream.credentials ?? {}) }, place, findings);
}

function checkCredentials(upstream: Loose<UpstreamFields>, path: Path, findings: Findings): void {
  for (const [name, reference] of Object.entries(upstream.credentials ?? {})) {
    const place = [...path, name];
    if (!/^[A-Za-z0-9_-]+$/.test(name)) {
      findings.add(place, 'a credential is named with letters, digits, "_" and "-"', { at: 'key' });
    }
    checkReference(reference, place, findings);
  }
}

/** A credential is in one place; `path` is where it is stated. */
export function checkReference(reference: Loose<CredentialFields> | undefined, path: Path, findings: Findings): void {
  const given = [reference?.env, reference?.file].filter((one) => one !== undefined).length;
  if (given === 1 || (given === 0 && findings.touches(path))) return;
  findings.add(path, 'must be either { "env": "NAME" } or { "file": "PATH" }');
}

function checkCapabilities(upstream: Loose<UpstreamFields>, path: Path, findings: Findings): void {
  const { retriesResigned, retryHorizon } = upstream.capabilities ?? {};
  if (retriesResigned === undefined || retriesResigned === 'yes' || findings.touches([...path, 'retryHorizon'])) return;
  if (retryHorizon !== undefined) return;
  findings.add(
    [...path, 'retriesResigned'],
    'needs a retryHorizon beside it: how long after a failed delivery a retry of it may still arrive, "0ms" where the upstream never retries',
  );
}

function checkStep(step: Loose<HttpStepFields>, upstream: Loose<UpstreamFields>, path: Path, findings: Findings): void {
  if (step.url !== undefined) checkUrl(step.url, upstream, [...path, 'url'], findings);
  checkHeaders(step.headers ?? {}, [...path, 'headers'], findings);
  checkBodies(step, path, findings);
  const unclear = step.expect?.filter((status) => step.retryOn?.includes(status)) ?? [];
  if (unclear.length > 0) findings.add([...path, 'retryOn'], `${unclear.join(', ')} cannot mean done and try again`);
}

function checkUrl(text: string, upstream: Loose<UpstreamFields>, path: Path, findings: Findings): void {
  const url = checkPlace(text, path, findings);
  if (url === null) return;
  const hosts = upstream.allowHosts?.map(allowedHost).filter((host) => host !== null);
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  if (hosts?.some((one) => one.host === url.hostname && (one.port === null || one.port === port)) === false) {
    const didYouMean = nearest(url.host, hosts.map(formatAllowedHost));
    findings.add(path, `its host ${url.host} is not in allowHosts`, { didYouMean });
  }
}

const secretsTravel = 'only on loopback may a secret travel without';

/** Whether a request may go there, whichever hosts are allowed: null where it is no usable url, which is found then. */
export function checkPlace(url: string, path: Path, findings: Findings, whyHttps = secretsTravel): URL | null {
  const match = /^(https?):\/\/([^/?#]+)/i.exec(url);
  const authority = match?.[2] ?? '';
  if (match === null) findings.add(path, 'must begin with https:// (or http:// on loopback) and a host');
  else if (/[\s\\\p{Cc}]/u.test(withoutTemplates(url)))
    findings.add(path, 'must hold no spaces, backslashes or control characters');
  else if (/\/(?:\.|%2e){1,2}(?:[/?]|$)/i.test(url)) findings.add(path, 'must hold no path segment of dots alone');
  else if (url.includes('#')) findings.add(path, 'must hold no fragment (#…): it is never sent');
  else if (authority.includes('{'))
    findings.add(path, 'must have a literal host and port: templates may stand in path and query only');
  else if (authority.includes('@')) findings.add(path, 'must hold no user or password: use credentials and a header');
  else return encryptedUrl(url, path, findings, whyHttps);
  return null;
}

function encryptedUrl(text: string, path: Path, findings: Findings, whyHttps: string): URL | null {
  const url = parsedUrl(text);
  if (url === null) findings.add(path, 'is no url');
  else if (url.protocol !== 'https:' && !isLoopbackHost(url.hostname)) findings.add(path, `must be https: ${whyHttps}`);
  return url;
}

/** Set by the client of the request itself, from the url and the body. */
const ownHeaders = ['host', 'content-length', 'transfer-encoding', 'connection'];

/** Headers whose value is a credential, whatever else it is. */
const secretHeader = /^(?:authorization|proxy-authorization|cookie|(?:.*-)?(?:api-?key|token))$/i;

function checkHeaders(headers: Loose<Readonly<Record<string, string>>>, path: Path, findings: Findings): void {
  const seen = new Set<string>();
  for (const [name, value] of Object.entries(headers)) {
    const place = [...path, name];
    const key = name.toLowerCase();
    if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(name)) findings.add(place, 'is no name of a header', { at: 'key' });
    else if (ownHeaders.includes(key)) findings.add(place, 'is set by the request itself: leave it out', { at: 'key' });
    else if (seen.has(key))
      findings.add(place, 'is there twice: names of headers do not differ by case', { at: 'key' });
    seen.add(key);
    if (value === undefined) continue;
    if (!/^[\t\x20-\x7e]*$/.test(value)) {
      findings.add(place, 'must be one line of printable ASCII');
    } else if (secretHeader.test(name) && !value.includes('{{')) {
      findings.add(
        place,
        'holds a literal where a credential belongs: declare it in credentials and write {{credentials.NAME}}',
      );
    }
  }
}

function checkBodies(step: Loose<HttpStepFields>, path: Path, findings: Findings): void {
  const bodies = (['json', 'form', 'body'] as const).filter((field) => step[field] !== undefined);
  const last = bodies.at(-1);
  if (last === undefined) return;
  if (bodies.length > 1)
    findings.add([...path, last], `a request has one body: at most one of ${bodies.join(', ')}`, { at: 'key' });
  if (step.method === 'GET') findings.add([...path, last], 'a GET request has no body', { at: 'key' });
}

const templateList = '{{new}} {{old}} {{runId}} {{environment}} {{tenant}} {{credentials.NAME}}';

export type AddressTemplate = 'environment' | 'tenant';

/** What templates may name beside new, old and runId. */
interface Known {
  readonly address: readonly AddressTemplate[];
  readonly credentials: readonly string[];
}

interface Template {
  readonly path: Path;
  readonly text: string;
}

function checkTemplates(step: Loose<HttpStepFields>, known: Known, path: Path, findings: Findings): void {
  const templates = (['url', 'headers', 'json', 'form', 'body'] as const).flatMap((field) =>
    templatesIn(step[field], [...path, field]),
  );
  for (const template of templates) checkTemplate(template, known, [...path.slice(0, -2), 'credentials'], findings);
  if (templates.some(({ text }) => templateNames(text).includes('new'))) return;
  if (findings.shape.some((finding) => mayHideTemplates(finding.path, path))) return;
  findings.add(path, 'sends {{new}} nowhere, so the upstream would never learn the new value', { at: 'key' });
}

/** A body or header that was taken out because it is wrong may be the one with the new value. */
function mayHideTemplates(found: Path, step: Path): boolean {
  const field = found[step.length];
  return (
    step.every((part, index) => found[index] === part) &&
    !['method', 'url', 'expect', 'retryOn', 'timeout'].includes(String(field))
  );
}

/** Templates in JSON and forms may stand in keys too. */
function templatesIn(value: unknown, path: Path): readonly Template[] {
  if (typeof value === 'string') return [{ path, text: value }];
  if (Array.isArray(value)) return value.flatMap((item, index) => templatesIn(item, [...path, index]));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => [
    { path: [...path, key], text: key },
    ...templatesIn(item, [...path, key]),
  ]);
}

function checkTemplate({ path, text }: Template, known: Known, credentials: Path, findings: Findings): void {
  if (hasLooseBraces(text)) findings.add(path, 'holds {{ without the }} that ends a template');
  const names = ['new', 'old', 'runId', ...known.address, ...known.credentials.map((one) => `credentials.${one}`)];
  for (const inner of templateNames(text)) {
    if (names.includes(inner)) continue;
    const credential = /^credentials\.(.*)$/.exec(inner)?.[1];
    const didYouMean = nearest(inner, names);
    if (inner === 'environment' || inner === 'tenant') {
      findings.add(path, `holds {{${inner}}}, and the secret has no ${inner}`);
    } else if (credential === undefined) {
      findings.add(path, `holds a template that is none of ${templateList}`, { didYouMean });
    } else if (!findings.touches([...credentials, credential])) {
      findings.add(path, 'holds the template of a credential that is not declared in credentials', { didYouMean });
    }
  }
}

function parsedUrl(text: string): URL | null {
  return URL.canParse(text) ? new URL(text) : null;
}
