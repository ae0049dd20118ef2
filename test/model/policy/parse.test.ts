import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isKeyturnError } from '../../../src/model/errors.ts';
import { findSecrets, resolveAddress } from '../../../src/model/policy/find.ts';
import { parsePolicy } from '../../../src/model/policy/parse.ts';
import { findings, hook, parse, problemsOf, put, refusal, smallest, smallestWith, upstream, wide } from './fixture.ts';

describe('the smallest policy', () => {
  it('is whole, with every default filled in', () => {
    const { policy, warnings } = parse(smallest);
    expect(warnings).toEqual([]);
    expect(policy).toEqual({
      source: '/etc/keyturn/policy.json',
      journal: { kind: 'sqlite', path: '/etc/keyturn/.keyturn/journal.db', auditKey: null },
      usage: { kind: 'sqlite', path: '/etc/keyturn/.keyturn/usage/usage.db', group: null },
      stores: { local: { kind: 'file', path: '/etc/keyturn/.keyturn/secrets', group: null, age: null } },
      secrets: [
        {
          secret: 'my-hook',
          name: 'my-hook',
          environment: null,
          tenant: null,
          owner: null,
          direction: 'inbound',
          store: 'local',
          key: 'my-hook',
          generate: { bytes: 32, encoding: 'base64url', prefix: '' },
          scheme: 'github',
          rotateEveryMs: 30 * 86_400_000,
          receivers: {
            pools: { default: { expect: 1, reporting: 'required', ephemeral: false, maxAgeMs: null } },
            reportEveryMs: 10_000,
            missingAfterMs: 600_000,
            refreshEveryMs: 60_000,
          },
          gates: { graceMs: 3_600_000, quietMs: 1_800_000, timeoutMs: 86_400_000, retryTail: 'respect' },
          approvals: 0,
          cutover: null,
          blackouts: [],
          mirrors: [],
          mode: 'push',
          upstream: {
            kind: 'http',
            allowHosts: ['127.0.0.1'],
            credentials: { token: { env: 'HOOK_TOKEN' } },
            capabilities: {
              valueOrigin: 'ours',
              activation: 'on-push',
              overlap: 'none',
              dualSigned: false,
              retriesResigned: 'yes',
              retryHorizonMs: 0,
              switchLagMs: 60_000,
              redelivers: false,
              idempotent: true,
            },
            steps: {
              activate: {
                method: 'PATCH',
                url: 'http://127.0.0.1:4747/hook',
                headers: { authorization: 'Bearer {{credentials.token}}' },
                json: { secret: '{{new}}' },
                form: null,
                body: null,
                expect: [200],
                retryOn: [],
                timeoutMs: 5_000,
              },
            },
          },
        },
      ],
      retain: { runs: 50 },
      naming: null,
    });
  });

  it('survives being stored as JSON, as a run stores it', () => {
    const { policy } = parse(smallest);
    expect(JSON.parse(JSON.stringify(policy))).toEqual(policy);
  });

  it('may have comments, trailing commas, a byte order mark and any line ends', () => {
    const decorated = `\uFEFF// mine\n${smallest.replace('"version": 1,', '"version": 1, /* one */')}`
      .replace('"expect": [200]', '"expect": [200,],')
      .replaceAll('\n', '\r\n');
    expect(parse(decorated).policy).toEqual(parse(smallest).policy);
  });
});

/** Ten mistakes of all kinds; the numbers behind them are their lines. */
const tenMistakes = `{
  "version": 1,
  "jurnal": { "kind": "sqlite" },
  "stores": { "local": { "kind": "file", "path": 7 } },
  "defaults": { "rotateEvery": "30 days", "store": "locl" },
  "secrets": {
    "-hook": {
      "gates": { "quite": "30m" },
      "receivers": { "expect": 0, "reportEvery": "10s", "missingAfter": "20s" },
      "upstream": {
        "kind": "http",
        "allowHosts": ["api.example.com"],
        "credentials": { "token": "ghp_literal_value" },
        "capabilities": { "valueOrigin": "ours", "activation": "on-push", "overlap": "none", "retriesResigned": "yes" },
        "steps": { "activate": { "method": "POST", "url": "https://evil.example.net/x", "body": "nothing of use" } }
      }
    }
  }
}
`;

describe('mistakes', () => {
  it('are reported all at once, each where it stands', () => {
    const at = problemsOf(tenMistakes).map(({ path, line, column, didYouMean }) => [path, line, column, didYouMean]);
    const base = 'secrets.-hook';
    expect(at).toEqual([
      ['jurnal', 3, 3, 'journal'],
      ['stores.local.path', 4, 50, undefined],
      ['defaults.rotateEvery', 5, 32, undefined],
      ['defaults.store', 5, 52, 'local'],
      [base, 7, 5, undefined],
      [`${base}.gates.quite`, 8, 18, 'quiet'],
      [`${base}.receivers.expect`, 9, 32, undefined],
      [`${base}.receivers.missingAfter`, 9, 73, undefined],
      [`${base}.upstream.credentials.token`, 13, 35, undefined],
      [`${base}.upstream.steps.activate`, 15, 20, undefined],
      [`${base}.upstream.steps.activate.url`, 15, 59, undefined],
    ]);
  });

  it('are in the message too, with file, line and column, and without what was written', () => {
    const { message, hint } = refusal(tenMistakes);
    expect(message).toContain('The policy /etc/keyturn/policy.json has 11 problems:\n');
    expect(message).toContain(
      '  /etc/keyturn/policy.json:3:3 jurnal: is no known key here (did you mean "journal"?)\n',
    );
    expect(message).toContain(
      '/etc/keyturn/policy.json:13:35 secrets.-hook.upstream.credentials.token: a credential is never written',
    );
    expect(message).toContain('{ "env": "NAME" }');
    expect(message).not.toContain('ghp_literal_value');
    expect(message).not.toContain('30 days');
    expect(hint).toContain('keyturn check');
  });

  it('in the syntax come together with the others', () => {
    const broken = smallest
      .replace('"version": 1,', '"version": 1')
      .replace('"rotateEvery": "30d"', '"rotateEvery": 30');
    const problems = problemsOf(broken);
    expect(problems).toHaveLength(2);
    expect(problems[0]).toMatchObject({ path: '', message: 'a comma is expected here', line: 2, column: 3 });
    expect(problems[1]).toMatchObject({ path: 'secrets.my-hook.rotateEvery', line: 2 });
  });

  it('in the syntax are no reason to miss what they hide', () => {
    expect(findings('{ "version": 1, "secrets": { "a": { "upstream": { "kind": "http"')).toEqual([
      ': a closing brace } is missing',
    ]);
    expect(findings(`${smallest.slice(0, -20)} "unclosed`).every((line) => line.startsWith(': '))).toBe(true);
  });

  it.each([
    ['', 'the file is empty'],
    [' \n\t', 'the file is empty'],
    ['[1]', 'must be an object { … }, not a list [ … ]'],
    ['"text"', 'must be an object { … }, not text in double quotes'],
    ['['.repeat(100_000), 'nested deeper than 64 levels, which no policy is'],
    [' '.repeat(1024 * 1024 + 1), 'the file is larger than 1 MiB, which no policy is'],
  ])('of the whole file have a sentence', (text, message) => {
    expect(problemsOf(text).map((problem) => problem.message)).toContain(message);
  });

  it('name a key that stands there twice', () => {
    expect(problemsOf('{ "version": 1,\n "version": 1, "secrets": {} }')).toEqual([
      { path: 'version', message: 'stands here a second time', line: 2, column: 2 },
    ]);
  });

  it('name a key that would reach into the prototype', () => {
    expect(findings('{ "version": 1, "secrets": {}, "__proto__": { "secrets": 1 } }')).toEqual([
      '__proto__: may not be a key',
    ]);
  });

  it('of missing fields point at what lacks them', () => {
    expect(problemsOf('{ "version": 1,\n "secrets": {\n  "a": { "upstream": { "kind": "http" } } } }')).toEqual(
      ['allowHosts', 'capabilities', 'steps'].map((field) => ({
        path: `secrets.a.upstream.${field}`,
        message: expect.stringContaining('is missing: it must be'),
        line: 3,
        column: 10,
      })),
    );
  });

  it('of a mistyped key are not told again as a missing one', () => {
    const draft = smallestWith([...upstream, 'allowHosts'], undefined);
    const { secrets } = draft as { secrets: Record<string, { upstream: Record<string, unknown> }> };
    secrets['my-hook']!.upstream['allowedHosts'] = ['127.0.0.1'];
    expect(problemsOf(draft)).toMatchObject([
      { path: 'secrets.my-hook.upstream.allowedHosts', didYouMean: 'allowHosts' },
    ]);
  });

  it('in a policy of a newer version are one: the version', () => {
    expect(findings('{ "version": 2, "secrets": [], "unheardOf": true }')).toEqual([
      'version: is 2, and this keyturn reads policies of version 1: use a newer keyturn',
    ]);
    expect(findings('{ "version": "1", "secrets": {} }')).toEqual(['version: must be 1']);
    expect(findings('{ "secrets": {} }')).toEqual(['version: is missing: it must be 1']);
  });

  it('in lists and unions are found where they are', () => {
    expect(findings(smallestWith([...hook, 'tenants'], ['acme', 'no good']))).toEqual([
      expect.stringMatching(/^secrets\.my-hook\.tenants\[1\]: must be made of letters/),
    ]);
    expect(problemsOf(smallestWith([...upstream, 'capabilities', 'overlap'], { maxx: '1h' }))).toMatchObject([
      { path: 'secrets.my-hook.upstream.capabilities.overlap.maxx', didYouMean: 'max' },
    ]);
    expect(findings(smallestWith([...upstream, 'capabilities', 'overlap'], 'some'))).toEqual([
      'secrets.my-hook.upstream.capabilities.overlap: must be "none", "unbounded" or { "max": DURATION }',
    ]);
  });

  it.each([
    ['rotate_every', 'rotateEvery'],
    ['Owner', 'owner'],
    ['recievers', 'receivers'],
    ['zzzzzz', undefined],
  ])('in a key such as %s guess %s', (key, guess) => {
    expect(problemsOf(smallestWith([...hook, key], 'x'))[0]?.didYouMean).toBe(guess);
  });

  it('in a word guess the nearest one that is allowed', () => {
    expect(problemsOf(smallestWith([...hook, 'scheme'], 'githb'))[0]).toMatchObject({
      message: 'must be one of "github", "meta"',
      didYouMean: 'github',
    });
  });

  it('with odd keys have a path that can be read', () => {
    expect(problemsOf(smallestWith(['secrets', 'a b/c'], {}))[0]?.path).toBe('secrets["a b/c"]');
  });
});

describe('any text', { timeout: 60_000 }, () => {
  const example = readFileSync(new URL('../../../rotation-policy.example.json', import.meta.url), 'utf8');
  const survives = (text: string): boolean => {
    try {
      parsePolicy(text, { source: 'p', folder: '/' });
      return true;
    } catch (error) {
      return isKeyturnError(error, 'policy-invalid');
    }
  };

  it('is parsed or refused as policy-invalid: random text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), survives));
    fc.assert(fc.property(fc.json(), survives));
  });

  it('is parsed or refused as policy-invalid: a policy with a piece cut out, doubled or replaced', () => {
    const piece = fc.constantFrom(
      '',
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      'null',
      '-1',
      '1e999',
      '{}',
      '[]',
      '"\\u0000"',
      '{{',
      '/*',
    );
    fc.assert(
      fc.property(fc.constantFrom(smallest, example), fc.nat(), fc.nat(40), piece, (text, from, length, insert) => {
        const start = from % text.length;
        return survives(text.slice(0, start) + insert + text.slice(start + length));
      }),
      { numRuns: 600 },
    );
  });

  it('is parsed or refused as policy-invalid: a policy with any value anywhere', () => {
    const places = placesIn(wide());
    const word = fc.constantFrom(
      'Europe/Berlin',
      '0 3 * * 2',
      '2026-12-24',
      '{{name}}/{{tenant}}',
      'none',
      'constructor',
      'toString',
      'hasOwnProperty',
      '{{new}}',
      'http://',
      'https://[',
      '1d',
      'http',
    );
    const value = fc.oneof(fc.jsonValue({ maxDepth: 3 }), word, fc.dictionary(word, fc.jsonValue({ maxDepth: 1 })));
    const changes = fc.array(fc.tuple(fc.constantFrom(...places), value), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(changes, (all) => {
        const draft = wide();
        for (const [place, other] of all) if (canHold(draft, place)) put(draft, place, other);
        return survives(JSON.stringify(draft));
      }),
      { numRuns: 800 },
    );
  });
});

/** True when what is above `place` is still an object after earlier changes. */
function canHold(draft: unknown, place: readonly (string | number)[]): boolean {
  let holder = draft;
  for (const part of place.slice(0, -1)) {
    if (typeof holder !== 'object' || holder === null) return false;
    holder = (holder as Record<string | number, unknown>)[part];
  }
  return typeof holder === 'object' && holder !== null;
}

/** The path of everything in a value, the value itself left out. */
function placesIn(value: unknown, path: readonly (string | number)[] = []): readonly (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [[...path, key], ...placesIn(inner, [...path, key])]);
}

describe('addresses', () => {
  const { policy } = parse({
    ...smallestWith([...hook, 'tenants'], ['acme', 'globex']),
    environments: { sandbox: {}, production: {} },
  });
  const codeOf = (act: () => unknown): unknown => {
    try {
      return act();
    } catch (error) {
      return isKeyturnError(error)
        ? { code: error.code, hint: error.hint, message: error.message, ...error.details }
        : error;
    }
  };

  it('are found by the whole or by an unambiguous tail', () => {
    expect(resolveAddress(policy, 'production/acme/my-hook').secret).toBe('production/acme/my-hook');
    expect(resolveAddress(policy, 'my-hook', { environment: 'sandbox', tenant: 'globex' }).secret).toBe(
      'sandbox/globex/my-hook',
    );
    expect(resolveAddress(policy, 'acme/my-hook', { environment: 'production' }).secret).toBe(
      'production/acme/my-hook',
    );
  });

  it('that are several are listed', () => {
    expect(codeOf(() => resolveAddress(policy, 'acme/my-hook'))).toMatchObject({
      code: 'secret-ambiguous',
      addresses: ['sandbox/acme/my-hook', 'production/acme/my-hook'],
      message: 'The name acme/my-hook stands for several secrets: sandbox/acme/my-hook, production/acme/my-hook.',
    });
  });

  it('that are unknown come with the nearest one', () => {
    expect(codeOf(() => resolveAddress(policy, 'acme/my-hok'))).toMatchObject({
      code: 'secret-unknown',
      hint: 'Did you mean acme/my-hook?',
    });
    expect(codeOf(() => resolveAddress(policy, 'something-else'))).toMatchObject({
      code: 'secret-unknown',
      hint: expect.stringContaining('sandbox/globex/my-hook'),
    });
    expect(codeOf(() => resolveAddress(policy, 'production/acme/my-hook', { environment: 'sandbox' }))).toMatchObject({
      code: 'secret-unknown',
      message: 'The policy /etc/keyturn/policy.json has no secret production/acme/my-hook in environment sandbox.',
      hint: 'There is production/acme/my-hook.',
    });
  });

  it('do not match in the middle of a part', () => {
    expect(findSecrets(policy, 'hook')).toEqual([]);
    expect(findSecrets(policy, 'my-hook')).toHaveLength(4);
    expect(findSecrets(policy, undefined, { tenant: 'acme' })).toHaveLength(2);
  });

  it('that are whole win over tails of others', () => {
    const both = smallestWith([...hook, 'tenants'], undefined);
    (both['secrets'] as Record<string, unknown>)['other'] = {
      ...(both['secrets'] as Record<string, object>)['my-hook'],
      tenants: ['x'],
    };
    const mixed = { ...both, defaults: {} };
    const one = parse(mixed).policy;
    expect(one.secrets.map(({ secret }) => secret)).toEqual(['my-hook', 'x/other']);
    expect(findSecrets(one, 'my-hook')).toHaveLength(1);
  });
});
