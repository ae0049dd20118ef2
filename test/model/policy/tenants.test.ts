import { describe, expect, it } from 'vitest';
import { KeyturnError } from '../../../src/model/errors.ts';
import { findSecrets, resolveAddress } from '../../../src/model/policy/find.ts';
import type { SecretPolicy } from '../../../src/model/policy.ts';
import { activate, hook, parse, put, smallestWith, type Draft } from './fixture.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** Meta's two secrets of an app, for two tenants in two environments, with what differs between them. */
function meta(): Draft {
  const draft = smallestWith([...activate, 'url'], 'http://127.0.0.1:4747/{{environment}}/{{tenant}}/secret');
  put(draft, [...hook, 'tenants'], ['acme', 'globex']);
  put(draft, [...hook, 'scheme'], 'meta');
  put(draft, [...hook, 'mirror'], [{ key: 'plain/{{environment}}/{{tenant}}/{{name}}', format: 'plain' }]);
  const { 'my-hook': fields } = draft['secrets'] as Record<string, Draft>;
  const token: Draft = structuredClone(fields!);
  put(token, ['scheme'], undefined);
  put(token, ['upstream', 'steps', 'activate', 'url'], 'http://127.0.0.1:4747/{{environment}}/{{tenant}}/token');
  return {
    ...draft,
    stores: { local: { kind: 'file', path: 'sandbox' }, live: { kind: 'file', path: 'live' } },
    environments: {
      sandbox: { defaults: { rotateEvery: '7d', gates: { grace: '10m' } } },
      production: {
        defaults: { store: 'live', gates: { timeout: '72h' } },
        secrets: { 'app-secret': { rotateEvery: '90d', approvals: 2 } },
      },
    },
    defaults: { gates: { quiet: '45m' } },
    secrets: { 'app-secret': { ...fields, rotateEvery: undefined }, 'verify-token': { ...token, rotateEvery: '30d' } },
  };
}

const { policy, warnings } = parse(meta());

function at(address: string): SecretPolicy {
  const found = policy.secrets.find(({ secret }) => secret === address);
  if (found === undefined) throw new Error(`there is no ${address}`);
  return found;
}

describe('one secret for each environment and tenant (covers R-05)', () => {
  it('has an address, a key, a mirror and a call of its own', () => {
    expect(policy.secrets).toHaveLength(8);
    const own = (pick: (secret: SecretPolicy) => unknown): number => new Set(policy.secrets.map(pick)).size;
    expect(own(({ secret }) => secret)).toBe(8);
    expect(own(({ key }) => key)).toBe(8);
    expect(own(({ mirrors }) => mirrors[0]?.key)).toBe(8);
    expect(own(({ upstream }) => upstream.steps.activate.url)).toBe(8);
    expect(warnings.filter(({ message }) => message.includes('same call'))).toEqual([]);
    expect(at('production/globex/verify-token')).toMatchObject({
      environment: 'production',
      tenant: 'globex',
      name: 'verify-token',
      key: 'production/globex/verify-token',
      mirrors: [{ key: 'plain/production/globex/verify-token', property: null }],
      upstream: { steps: { activate: { url: 'http://127.0.0.1:4747/production/globex/token' } } },
    });
  });

  it('has the schedule, the gates and the store of its environment', () => {
    expect(at('sandbox/acme/app-secret')).toMatchObject({
      store: 'local',
      rotateEveryMs: 7 * dayMs,
      approvals: 0,
      gates: { graceMs: hourMs / 6, quietMs: 0.75 * hourMs, timeoutMs: dayMs },
    });
    expect(at('production/acme/app-secret')).toMatchObject({
      store: 'live',
      rotateEveryMs: 90 * dayMs,
      approvals: 2,
      gates: { graceMs: hourMs, quietMs: 0.75 * hourMs, timeoutMs: 3 * dayMs },
    });
    expect(at('sandbox/acme/verify-token').rotateEveryMs).toBe(30 * dayMs);
  });

  it('shares nothing that a rotation of one could change in another', () => {
    const own = (secret: SecretPolicy) => [secret.store, secret.key, secret.upstream.steps.activate.url].join(' ');
    const sandbox = policy.secrets.filter(({ environment }) => environment === 'sandbox').map(own);
    expect(policy.secrets.filter(({ environment }) => environment === 'production').map(own)).not.toEqual(
      expect.arrayContaining(sandbox),
    );
    const [local, live] = ['local', 'live'].map((name) => policy.stores[name]);
    expect([local?.kind, live?.kind]).toEqual(['file', 'file']);
    expect(local).not.toEqual(live);
  });
});

describe('verify token and app secret (covers R-06)', () => {
  it('are two secrets, of which one is verified by a scheme and the other by nobody', () => {
    const [secret, token] = [at('production/acme/app-secret'), at('production/acme/verify-token')];
    expect([secret.scheme, token.scheme]).toEqual(['meta', null]);
    expect(secret.key).not.toBe(token.key);
    expect(secret.upstream.steps.activate.url).not.toBe(token.upstream.steps.activate.url);
  });
});

describe('a short name', () => {
  const refusal = (act: () => unknown): KeyturnError => {
    try {
      act();
    } catch (error) {
      if (error instanceof KeyturnError) return error;
      throw error;
    }
    throw new Error('it was not refused');
  };

  it('that stands for several is refused with the addresses', () => {
    const error = refusal(() => resolveAddress(policy, 'verify-token'));
    expect(error.code).toBe('secret-ambiguous');
    expect(error.details['addresses']).toEqual([
      'sandbox/acme/verify-token',
      'sandbox/globex/verify-token',
      'production/acme/verify-token',
      'production/globex/verify-token',
    ]);
    expect(error.hint).toBe('Give the whole address, or narrow it with --env and --tenant.');
    expect(refusal(() => resolveAddress(policy, 'acme/verify-token')).details['addresses']).toHaveLength(2);
    expect(refusal(() => resolveAddress(policy, 'verify-token', { environment: 'sandbox' })).message).toBe(
      'The name verify-token in environment sandbox stands for several secrets: sandbox/acme/verify-token, sandbox/globex/verify-token.',
    );
  });

  it('is enough where environment and tenant say the rest', () => {
    const scope = { environment: 'production', tenant: 'globex' };
    expect(resolveAddress(policy, 'verify-token', scope).secret).toBe('production/globex/verify-token');
    expect(resolveAddress(policy, 'globex/app-secret', { environment: 'sandbox' }).secret).toBe(
      'sandbox/globex/app-secret',
    );
    expect(findSecrets(policy, undefined, scope).map(({ secret }) => secret)).toEqual([
      'production/globex/app-secret',
      'production/globex/verify-token',
    ]);
  });

  it('of another environment is told where it is', () => {
    const error = refusal(() => resolveAddress(policy, 'sandbox/acme/app-secret', { environment: 'production' }));
    expect([error.code, error.hint]).toEqual(['secret-unknown', 'There is sandbox/acme/app-secret.']);
  });
});
