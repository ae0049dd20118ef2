import { addressPart } from './address.ts';
import { formatTime } from './duration.ts';
import { KeyturnError } from './errors.ts';
import { isRecord, parseObject, type Fields } from './json.ts';
import { acceptedVersions, primaryOf, type Keyring } from './keyring.ts';
import type { SecretPolicy } from './policy.ts';
import { formatPath } from './policy/findings.ts';
import type { Path } from './policy/text.ts';

/**
 * The JSON that fleets without keyturn keep their secrets in: by integration an endpoint, a method, a number of days, and
 * `active_secrets`, of which one is primary and the others are deprecated. It is read for an import, and written for an
 * export and for mirrors. A pending version is written as deprecated: whoever verifies must accept it, and nobody may
 * sign with it yet. What is revoked is not written.
 */

/** A version as somebody else labelled it; the label becomes its id. */
export interface LabelledVersion {
  readonly id: string;
  readonly value: string;
  /** RFC 3339 UTC. */
  readonly createdAt: string;
  readonly stage: 'primary' | 'deprecated';
}

export interface Integration {
  /** As the document names it: the name or the address of a secret. */
  readonly name: string;
  /** Oldest first; exactly one of them is primary. */
  readonly versions: readonly LabelledVersion[];
  readonly authMethod: string | null;
  /** Where its receivers are. */
  readonly webhookEndpoint: string | null;
  readonly rotationPolicyDays: number | null;
  /** Paths of what stands there and has no meaning here; a field of somebody else's is no mistake. */
  readonly ignored: readonly string[];
}

export interface ImportProblem {
  /** Such as `my-hook.active_secrets[1].value`; empty for the document as a whole. */
  readonly path: string;
  readonly message: string;
}

const dayMs = 86_400_000;

/** The schemes of the policy that a method of the documents stands for. */
const schemesOfMethod: Readonly<Record<string, readonly string[]>> = { hmac_sha256: ['github', 'meta'] };

/**
 * Reads the documents' JSON. `place` names it in messages; `now` (epoch ms) tells what lies in the future. Throws
 * `import-invalid`, whose `details.problems` are all mistakes at once (`ImportProblem[]`); no message shows a value.
 */
export function parseActiveSecrets(
  text: string,
  { place, now }: { readonly place: string; readonly now: number },
): readonly Integration[] {
  const reader = new Reader(now);
  const data = parseObject(text);
  if (data === null) reader.refuse([], 'is no whole JSON object');
  else if (Object.keys(data).length === 0) reader.refuse([], 'has no integration in it');
  const integrations = Object.entries(data ?? {}).map(([name, entry]) => reader.integration(name, entry));
  if (reader.problems.length > 0) throw importInvalid(place, reader.problems);
  return integrations;
}

/** `import-invalid` with every problem in its message and in `details.problems`. */
export function importInvalid(place: string, problems: readonly ImportProblem[]): KeyturnError {
  const count = problems.length === 1 ? 'a problem' : `${String(problems.length)} problems`;
  const lines = problems.map(({ path, message }) => `  ${path === '' ? 'it' : `${path}:`} ${message}`);
  return new KeyturnError('import-invalid', [`What is to be imported, ${place}, has ${count}:`, ...lines].join('\n'), {
    hint: 'Correct it and import it again; nothing was taken over.',
    details: { place, problems },
  });
}

/** Reads fields and collects what is wrong with them; what it returns counts only while `problems` is empty. */
class Reader {
  readonly problems: ImportProblem[] = [];
  readonly #now: number;

  constructor(now: number) {
    this.#now = now;
  }

  refuse(path: Path, message: string): void {
    this.problems.push({ path: formatPath(path), message });
  }

  integration(name: string, data: unknown): Integration {
    const fields = this.#object([name], data);
    const list = fields['active_secrets'];
    const path = [name, 'active_secrets'];
    if (fields === nothing) {
      return { name, versions: [], authMethod: null, webhookEndpoint: null, rotationPolicyDays: null, ignored: [] };
    }
    if (!Array.isArray(list))
      this.refuse(path, `${list === undefined ? 'is missing: it ' : ''}must be a list of versions`);
    else if (list.length === 0) this.refuse(path, 'is empty: an integration has at least a primary');
    const found = (Array.isArray(list) ? list : []).map((version, index) => this.#version([...path, index], version));
    this.#compare(path, found);
    return {
      name,
      versions: oldestFirst(found),
      authMethod: this.#optional([name], fields, 'auth_method', 'text', isText),
      webhookEndpoint: this.#optional([name], fields, 'webhook_endpoint', 'text', isText),
      rotationPolicyDays: this.#optional([name], fields, 'rotation_policy_days', 'a number of days above 0', isDays),
      ignored: [
        ...unknownIn(fields, ['webhook_endpoint', 'auth_method', 'rotation_policy_days', 'active_secrets']),
        ...(Array.isArray(list) ? list : []).flatMap((version, index) =>
          unknownIn(version, ['version', 'value', 'created_at', 'status']).map((key) =>
            formatPath(['active_secrets', index, key]),
          ),
        ),
      ],
    };
  }

  #version(path: Path, data: unknown): LabelledVersion {
    const fields = this.#object(path, data);
    if (fields === nothing) return { id: '', value: '', createdAt: '', stage: 'deprecated' };
    const id = this.#text(path, fields, 'version');
    if (id !== '' && !addressPart.test(id)) {
      this.refuse([...path, 'version'], 'must be 1 to 64 letters, digits, ".", "_" and "-", as it becomes the id');
    }
    const status = this.#text(path, fields, 'status');
    if (status !== '' && status !== 'primary' && status !== 'deprecated') {
      this.refuse([...path, 'status'], 'must be "primary" or "deprecated"');
    }
    return {
      id,
      value: this.#text(path, fields, 'value'),
      createdAt: this.#time([...path, 'created_at'], this.#text(path, fields, 'created_at')),
      stage: status === 'primary' ? 'primary' : 'deprecated',
    };
  }

  /** What versions may not have in common, by the place of the later one. */
  #compare(path: Path, versions: readonly LabelledVersion[]): void {
    const primaries = versions.filter(({ stage }) => stage === 'primary').length;
    if (versions.length > 0 && primaries !== 1) {
      this.refuse(
        path,
        primaries === 0 ? 'has no primary version' : `has ${String(primaries)} primary versions; one of them is in use`,
      );
    }
    for (const [index, version] of versions.entries()) {
      const before = versions.slice(0, index);
      const sameId = before.findIndex(({ id }) => id === version.id);
      const sameValue = before.findIndex(({ value }) => value === version.value);
      if (version.id !== '' && sameId !== -1)
        this.refuse([...path, index, 'version'], `is the label of [${String(sameId)}] too`);
      if (version.value !== '' && sameValue !== -1)
        this.refuse([...path, index, 'value'], `is the same as in [${String(sameValue)}]`);
    }
  }

  /** The time as everything else writes it; '' for none, which is told. */
  #time(path: Path, text: string): string {
    const at = timePattern.test(text) ? Date.parse(text) : Number.NaN;
    if (text !== '' && Number.isNaN(at)) this.refuse(path, 'must be a time such as "2023-11-01T10:00:00Z"');
    else if (at > this.#now) this.refuse(path, 'lies in the future');
    return Number.isNaN(at) ? '' : formatTime(at);
  }

  #object(path: Path, data: unknown): Fields {
    if (isRecord(data)) return data;
    this.refuse(path, 'must be an object { … }');
    return nothing;
  }

  /** A text that is there and not empty; '' where it is not, which is told. */
  #text(path: Path, fields: Fields, key: string): string {
    const value = fields[key];
    if (typeof value === 'string' && value !== '') return value;
    const why = value === undefined ? 'is missing' : value === '' ? 'is empty' : 'must be text in double quotes';
    this.refuse([...path, key], why);
    return '';
  }

  #optional<T>(path: Path, fields: Fields, key: string, what: string, is: (value: unknown) => value is T): T | null {
    const value = fields[key] ?? null;
    if (value === null || is(value)) return value;
    this.refuse([...path, key], `must be ${what}`);
    return null;
  }
}

/** In the place of an object that is none. */
const nothing: Fields = {};

const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)$/;

const isText = (value: unknown): value is string => typeof value === 'string';
const isDays = (value: unknown): value is number => typeof value === 'number' && value > 0;

function unknownIn(data: unknown, known: readonly string[]): readonly string[] {
  return isRecord(data) ? Object.keys(data).filter((key) => !known.includes(key)) : [];
}

/** The documents list the newest first, which also tells those of the same moment apart. */
function oldestFirst(versions: readonly LabelledVersion[]): readonly LabelledVersion[] {
  return versions.toReversed().toSorted((a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt));
}

/** What an import does not take over, because the policy says it: a sentence for each difference. */
export function remarksOn(integration: Integration, policy: SecretPolicy): readonly string[] {
  const { authMethod, webhookEndpoint, rotationPolicyDays, ignored } = integration;
  const remarks: string[] = [];
  const schemes = authMethod === null ? [] : schemesOf(authMethod);
  if (authMethod !== null && ![authMethod, ...schemes].includes(policy.scheme ?? '')) {
    const means = schemes.length === 0 ? 'has no meaning here' : `is the scheme ${schemes.join(' or ')}`;
    remarks.push(`Its auth_method ${shown(authMethod)} ${means}; ${policyWords('scheme', policy.scheme)}.`);
  }
  const everyMs = rotationPolicyDays === null ? null : Math.round(rotationPolicyDays * dayMs);
  if (everyMs !== null && everyMs !== policy.rotateEveryMs) {
    const days = policy.rotateEveryMs === null ? null : `${String(policy.rotateEveryMs / dayMs)} days`;
    remarks.push(`Its rotation_policy_days is ${String(rotationPolicyDays)}; ${policyWords('rotateEvery', days)}.`);
  }
  if (webhookEndpoint !== null && webhookEndpoint !== policy.canary?.url) {
    remarks.push(`Its webhook_endpoint is the url of a canary; ${canaryWords(policy)}.`);
  }
  if (ignored.length > 0) remarks.push(`It has fields of no meaning here: ${ignored.map(shown).join(', ')}.`);
  return remarks;
}

function policyWords(field: string, value: string | null): string {
  return value === null
    ? `the policy has no ${field}, and stays as it is`
    : `the policy has the ${field} ${value}, which counts`;
}

/** No url is shown: either may have a token in it. */
function canaryWords({ canary }: SecretPolicy): string {
  return canary === undefined ? policyWords('canary', null) : 'the policy has a canary with another url, which counts';
}

/** What the document says where it is a word; anything else might be a value in the wrong place. */
function shown(text: string): string {
  return /^[\w.[\]-]{1,60}$/.test(text) ? text : '(not a plain word)';
}

function schemesOf(method: string): readonly string[] {
  return Object.hasOwn(schemesOfMethod, method) ? (schemesOfMethod[method] ?? []) : [];
}

/** How the documents call the policy's scheme; the scheme's own name where they know none. */
function methodOf({ scheme }: SecretPolicy): string | null {
  return Object.keys(schemesOfMethod).find((method) => scheme !== null && schemesOf(method).includes(scheme)) ?? scheme;
}

/**
 * One secret as an entry of the documents' JSON: the primary first, then the others, newest first. Its endpoint is the
 * canary's. Throws `secret-absent` where there is no primary: the documents know no such state.
 */
export function activeSecretsEntry(policy: SecretPolicy, keyring: Keyring): Fields {
  const primary = primaryOf(keyring);
  if (primary === null) throw withoutPrimary(keyring.secret);
  const others = acceptedVersions(keyring).filter(({ id }) => id !== primary.id);
  const method = methodOf(policy);
  return {
    ...(policy.canary === undefined ? {} : { webhook_endpoint: policy.canary.url }),
    ...(method === null ? {} : { auth_method: method }),
    ...(policy.rotateEveryMs === null ? {} : { rotation_policy_days: policy.rotateEveryMs / dayMs }),
    active_secrets: [primary, ...others].map(({ id, value, createdAt, stage }) => ({
      version: id,
      value,
      created_at: createdAt,
      status: stage === 'primary' ? 'primary' : 'deprecated',
    })),
  };
}

export function withoutPrimary(secret: string): KeyturnError {
  return new KeyturnError('secret-absent', `${secret} has no primary version yet.`, {
    hint: `Take over the value in use: keyturn adopt ${secret} --stdin; or make a first one: keyturn rotate ${secret}`,
  });
}

/** The documents' JSON as text, by integration. */
export function formatActiveSecrets(entries: ReadonlyMap<string, Fields>): string {
  return `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`;
}
