import { KeyturnError } from '../../../src/model/errors.ts';
import type { PoolPolicy } from '../../../src/model/policy.ts';
import { parsePolicy } from '../../../src/model/policy/parse.ts';
import type { PolicyProblem } from '../../../src/model/policy/problems.ts';
import type { ParsedPolicy } from '../../../src/model/policy/read.ts';

/** A policy as people write it, loose enough to be broken on purpose. */
export type Draft = Record<string, unknown>;

/** The smallest policy of the documentation, as text. */
export const smallest = `{ "version": 1,
  "secrets": { "my-hook": { "rotateEvery": "30d", "scheme": "github",
    "upstream": { "kind": "http", "allowHosts": ["127.0.0.1"], "credentials": { "token": { "env": "HOOK_TOKEN" } },
      "capabilities": { "valueOrigin": "ours", "activation": "on-push", "overlap": "none", "retriesResigned": "yes" },
      "steps": { "activate": { "method": "PATCH", "url": "http://127.0.0.1:4747/hook", "headers": { "authorization": "Bearer {{credentials.token}}" },
                               "json": { "secret": "{{new}}" }, "expect": [200] } } } } } }`;

/** The smallest policy with `value` put at `path`; undefined removes what is there. */
export function smallestWith(path: readonly (string | number)[], value: unknown): Draft {
  const draft = JSON.parse(smallest) as Draft;
  put(draft, path, value);
  return draft;
}

export function put(draft: unknown, path: readonly (string | number)[], value: unknown): void {
  let holder = draft as Record<string | number, unknown>;
  for (const part of path.slice(0, -1)) {
    if (!Object.hasOwn(holder, part)) holder[part] = {};
    holder = holder[part] as Record<string | number, unknown>;
  }
  const last = path.at(-1);
  if (last === undefined) return;
  if (value === undefined) Reflect.deleteProperty(holder, last);
  else holder[last] = value;
}

/** A policy in two environments and for two tenants, with every field that the smallest one leaves to its default. */
export function wide(): Draft {
  const draft = smallestWith([...activate, 'url'], 'http://127.0.0.1:4747/{{environment}}/{{tenant}}');
  put(draft, ['environments'], { sandbox: {}, production: { defaults: { rotateEvery: '60d' } } });
  put(draft, [...hook, 'tenants'], ['acme', 'globex']);
  put(draft, [...hook, 'receivers'], {
    pools: { web: { expect: 2 }, lambda: { ephemeral: true, maxAge: '5m' }, batch: { reporting: 'none' } },
    reporting: 'required',
  });
  put(draft, [...hook, 'gates'], { grace: '1h', quiet: '30m', timeout: '48h', retryTail: 'respect' });
  put(draft, [...hook, 'approvals'], 2);
  put(draft, [...hook, 'cutover'], { cron: '0 3 * * 2', duration: '2h', timezone: 'Europe/Berlin' });
  put(draft, [...hook, 'canary'], { url: 'https://hooks.example.com/{{environment}}/{{tenant}}', count: 5 });
  put(
    draft,
    [...hook, 'mirror'],
    [
      { key: 'plain/{{environment}}/{{tenant}}', property: 'HOOK_SECRET', format: 'plain' },
      { key: 'documents/{{environment}}/{{tenant}}', format: 'active_secrets' },
    ],
  );
  put(draft, [...upstream, 'capabilities', 'retryHorizon'], '36h');
  put(draft, [...upstream, 'capabilities', 'switchLag'], '2m');
  put(
    draft,
    ['blackouts'],
    [
      { from: '2026-12-24', until: '2026-12-27', timezone: 'Europe/Berlin', reason: 'holidays' },
      { from: '2026-11-27T00:00:00Z', until: '2026-11-28T00:00:00Z', environments: ['production'] },
    ],
  );
  put(draft, ['retain'], { runs: 20 });
  put(draft, ['naming'], '[a-z-]+');
  return draft;
}

export const hook = ['secrets', 'my-hook'] as const;
export const upstream = [...hook, 'upstream'] as const;
export const activate = [...upstream, 'steps', 'activate'] as const;

/** A pool of receivers that report and stay, as it is resolved. */
export function poolOf(expect: number): PoolPolicy {
  return { expect, reporting: 'required', ephemeral: false, maxAgeMs: null };
}

export function parse(draft: Draft | string): ParsedPolicy {
  const text = typeof draft === 'string' ? draft : JSON.stringify(draft, null, 2);
  return parsePolicy(text, { source: '/etc/keyturn/policy.json', folder: '/etc/keyturn' });
}

/** The error that the policy is refused with; fails where it is not refused. */
export function refusal(draft: Draft | string): KeyturnError {
  try {
    parse(draft);
  } catch (error) {
    if (error instanceof KeyturnError && error.code === 'policy-invalid') return error;
    throw error;
  }
  throw new Error('the policy was accepted');
}

export function problemsOf(draft: Draft | string): readonly PolicyProblem[] {
  return refusal(draft).details['problems'] as readonly PolicyProblem[];
}

/** Path and message of every warning. */
export function warned(draft: Draft | string): readonly string[] {
  return parse(draft).warnings.map(({ path, message }) => `${path}: ${message}`);
}

/** Path and message of every problem. */
export function findings(draft: Draft | string): readonly string[] {
  return problemsOf(draft).map(({ path, message }) => `${path}: ${message}`);
}
