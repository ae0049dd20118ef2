import { describe, expect, it } from 'vitest';
import { findings, hook, parse, poolOf, problemsOf, put, smallestWith, upstream, type Draft } from './fixture.ts';

/** One secret, four places that may speak of it. */
function layered(fields: { top?: Draft; environment?: Draft; secret?: Draft; special?: Draft }): Draft {
  const draft = smallestWith([], undefined);
  const secrets = draft['secrets'] as Record<string, Draft>;
  secrets['my-hook'] = { ...secrets['my-hook'], ...fields.secret };
  return {
    ...draft,
    defaults: fields.top ?? {},
    environments: {
      sandbox: {},
      production: { defaults: fields.environment ?? {}, secrets: { 'my-hook': fields.special ?? {} } },
    },
  };
}

function secretIn(draft: Draft, environment: string | null) {
  const found = parse(draft).policy.secrets.find((secret) => secret.environment === environment);
  if (found === undefined) throw new Error(`nothing in ${String(environment)}`);
  return found;
}

describe('layers', () => {
  it('win from the top defaults to the environment’s word on the secret', () => {
    const owner = (fields: Parameters<typeof layered>[0]) => secretIn(layered(fields), 'production').owner;
    expect(owner({})).toBeNull();
    expect(owner({ top: { owner: 'a' } })).toBe('a');
    expect(owner({ top: { owner: 'a' }, environment: { owner: 'b' } })).toBe('b');
    expect(owner({ top: { owner: 'a' }, environment: { owner: 'b' }, secret: { owner: 'c' } })).toBe('c');
    expect(owner({ environment: { owner: 'b' }, secret: { owner: 'c' }, special: { owner: 'd' } })).toBe('d');
  });

  it('leave other environments alone', () => {
    const draft = layered({ top: { owner: 'a' }, environment: { owner: 'b' }, special: { owner: 'd' } });
    expect(secretIn(draft, 'sandbox').owner).toBe('a');
  });

  it('merge receivers, gates and generate by field', () => {
    const draft = layered({
      top: { gates: { grace: '2h', quiet: '1h' }, generate: { bytes: 48 }, receivers: { reportEvery: '5s' } },
      environment: { gates: { quiet: '3h' } },
      secret: { generate: { prefix: 'wh_' }, receivers: { refreshEvery: '30s' } },
      special: { gates: { grace: '4h' }, generate: { encoding: 'hex' } },
    });
    expect(secretIn(draft, 'production')).toMatchObject({
      gates: { graceMs: 4 * 3_600_000, quietMs: 3 * 3_600_000 },
      generate: { bytes: 48, encoding: 'hex', prefix: 'wh_' },
      receivers: { reportEveryMs: 5_000, refreshEveryMs: 30_000, missingAfterMs: 600_000 },
    });
    expect(secretIn(draft, 'sandbox').gates).toMatchObject({ graceMs: 2 * 3_600_000, quietMs: 3_600_000 });
  });

  it('replace expect by pools and pools by expect', () => {
    const pools = { web: { expect: 2 }, worker: { expect: 1 } };
    const resolved = { web: poolOf(2), worker: poolOf(1) };
    const toPools = layered({ top: { receivers: { expect: 4, reportEvery: '5s' } }, secret: { receivers: { pools } } });
    expect(secretIn(toPools, 'production').receivers).toMatchObject({ pools: resolved, reportEveryMs: 5_000 });
    const toExpect = layered({ top: { receivers: { pools } }, special: { receivers: { expect: 4 } } });
    expect(secretIn(toExpect, 'production').receivers.pools).toEqual({ default: poolOf(4) });
    expect(secretIn(toExpect, 'sandbox').receivers.pools).toEqual(resolved);
  });

  it('replace an upstream as a whole', () => {
    const other = {
      ...(
        smallestWith([...upstream, 'credentials'], { key: { file: 'keys/hook' } })['secrets'] as Record<string, Draft>
      )['my-hook'],
    }['upstream'] as Draft;
    put(other, ['steps', 'activate', 'headers', 'authorization'], '{{credentials.key}}');
    expect(secretIn(layered({ special: { upstream: other } }), 'production').upstream.credentials).toEqual({
      key: { file: '/etc/keyturn/keys/hook' },
    });
  });

  it('may hold everything in defaults, the upstream included', () => {
    const draft = smallestWith([], undefined);
    const whole = (draft['secrets'] as Record<string, Draft>)['my-hook'] ?? {};
    expect(parse({ version: 1, defaults: whole, secrets: { a: {}, b: { owner: 'b' } } }).policy.secrets).toMatchObject([
      { secret: 'a', scheme: 'github', owner: null },
      { secret: 'b', scheme: 'github', owner: 'b' },
    ]);
  });
});

describe('addresses', () => {
  const addressesOf = (draft: Draft) => parse(draft).policy.secrets.map(({ secret, key }) => [secret, key]);

  it('are made of environment, tenant and name, and are the keys', () => {
    const draft = {
      ...smallestWith([...hook, 'tenants'], ['acme', 'globex']),
      environments: { sandbox: {}, production: {} },
    };
    expect(addressesOf(draft)).toEqual(
      ['sandbox/acme/my-hook', 'sandbox/globex/my-hook', 'production/acme/my-hook', 'production/globex/my-hook'].map(
        (one) => [one, one],
      ),
    );
    expect(addressesOf(smallestWith([...hook, 'tenants'], ['acme']))).toEqual([['acme/my-hook', 'acme/my-hook']]);
  });

  it('are only in the environments that the secret names', () => {
    const draft = {
      ...smallestWith([...hook, 'environments'], ['production']),
      environments: { sandbox: {}, production: {} },
    };
    expect(addressesOf(draft).map(([secret]) => secret)).toEqual(['production/my-hook']);
  });

  it('may be called like anything that objects inherit', () => {
    const draft = smallestWith([], undefined);
    put(draft, ['secrets', 'constructor'], (draft['secrets'] as Draft)['my-hook']);
    const addresses = addressesOf({ ...draft, environments: { toString: {} } });
    expect(addresses.map(([secret]) => secret)).toEqual(['toString/my-hook', 'toString/constructor']);
  });

  it('must differ by more than case', () => {
    const draft = smallestWith([], undefined);
    (draft['secrets'] as Draft)['My-Hook'] = (draft['secrets'] as Draft)['my-hook'];
    expect(findings(draft)).toEqual(['secrets.My-Hook: the addresses my-hook and My-Hook differ by case alone']);
  });

  it('must be told apart by their tenants', () => {
    expect(problemsOf(smallestWith([...hook, 'tenants'], ['acme', 'globex', 'acme']))).toMatchObject([
      { path: 'secrets.my-hook.tenants[2]', message: 'the address acme/my-hook is there twice' },
    ]);
  });

  it('must not share a key of a store, nor two names of one folder', () => {
    expect(findings({ ...smallestWith([...hook, 'key'], 'hooks/a'), environments: { one: {}, two: {} } })).toEqual([
      'secrets.my-hook.key: one/my-hook and two/my-hook have the same key in the same store',
    ]);
    const separate = layered({ secret: { key: 'hooks/a' }, environment: { store: 'live' } });
    const stores = (live: string) => ({ local: { kind: 'file', path: 'a' }, live: { kind: 'file', path: live } });
    expect(parse({ ...separate, stores: stores('b') }).policy.secrets.map(({ store }) => store)).toEqual([
      'local',
      'live',
    ]);
    expect(findings({ ...separate, stores: stores('./b/../a') })).toEqual([
      'secrets.my-hook.key: sandbox/my-hook and production/my-hook have the same key in the same store',
    ]);
  });
});

describe('templates of the address', () => {
  const url = [...upstream, 'steps', 'activate', 'url'];

  it('are filled in when the policy is read', () => {
    const draft = smallestWith(url, 'http://127.0.0.1:4747/{{environment}}/{{ tenant }}/hook?run={{runId}}');
    put(draft, [...upstream, 'steps', 'activate', 'json'], { '{{tenant}}': ['{{tenant}}-{{new}}', 1, null] });
    put(draft, [...hook, 'tenants'], ['acme']);
    const { activate } = secretIn({ ...draft, environments: { live: {} } }, 'live').upstream.steps;
    expect(activate.url).toBe('http://127.0.0.1:4747/live/acme/hook?run={{runId}}');
    expect(activate.json).toEqual({ acme: ['acme-{{new}}', 1, null] });
  });

  it('need such a part', () => {
    expect(findings(smallestWith(url, 'http://127.0.0.1/{{tenant}}'))).toEqual([
      'secrets.my-hook.upstream.steps.activate.url: holds {{tenant}}, and the secret has no tenant',
    ]);
  });

  it('are asked for where two addresses make the same call', () => {
    const draft = smallestWith([...hook, 'tenants'], ['acme', 'globex']);
    expect(parse(draft).warnings).toMatchObject([
      {
        path: 'secrets.my-hook',
        message: expect.stringContaining('the same call for acme/my-hook and globex/my-hook'),
      },
    ]);
    put(draft, url, 'http://127.0.0.1:4747/{{tenant}}');
    expect(parse(draft).warnings).toEqual([]);
  });
});
