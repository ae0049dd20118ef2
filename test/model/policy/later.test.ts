import { describe, expect, it } from 'vitest';
import { activate, findings, hook, parse, smallestWith, upstream } from './fixture.ts';

const capability = (name: string) => [...upstream, 'capabilities', name];

/** Each is known, and refused alone: one problem, at this path, with these words. */
const later: readonly (readonly [path: readonly (string | number)[], value: unknown, at?: string])[] = [
  [['journal'], { kind: 'postgres', url: 'postgres://db' }, 'journal.kind'],
  [['usage'], { kind: 'postgres' }, 'usage.kind'],
  [['usage'], { kind: 'redis', url: 'redis://db' }, 'usage.kind'],
  [['usage'], { kind: 'prometheus' }, 'usage.kind'],
  [['notify'], [{ kind: 'email' }]],
  [[...hook, 'direction'], 'outbound'],
  [[...hook, 'generate', 'from'], 'upstream'],
  [[...hook, 'generate', 'from'], 'person'],
  [[...hook, 'generate', 'keypair'], 'rsa-2048'],
  [[...hook, 'scheme'], 'stripe'],
  [[...hook, 'scheme'], 'standard-webhooks'],
  [[...hook, 'scheme'], { kind: 'hmac', hash: 'sha256' }],
  [upstream, { kind: 'person', instructions: 'call them' }, 'secrets.my-hook.upstream.kind'],
  [upstream, { kind: 'twilio' }, 'secrets.my-hook.upstream.kind'],
  [upstream, { recipe: 'github-repo-hook' }, 'secrets.my-hook.upstream.recipe'],
  [[...upstream, 'credentials', 'token'], { secret: 'other' }, 'secrets.my-hook.upstream.credentials.token.secret'],
  [capability('valueOrigin'), 'upstream'],
  [capability('activation'), 'on-issue'],
  [capability('activation'), 'on-promote'],
  [capability('activation'), 'on-revoke'],
  [capability('dualSigned'), true],
  [capability('readBack'), true],
  [capability('ping'), true],
  [capability('lastUsed'), true],
  [capability('revertible'), true],
  [capability('person'), true],
  ...['snapshot', 'prepare', 'promote', 'verify', 'revoke', 'rollback', 'readBack', 'ping', 'lastUsed'].map(
    (step) => [[...upstream, 'steps', step], { method: 'GET', url: 'http://127.0.0.1/' }] as const,
  ),
  [[...activate, 'extract'], { value: 'secret' }],
  [[...activate, 'graphql'], 'mutation'],
  [[...activate, 'idempotencyHeader'], 'Idempotency-Key'],
];

describe('what is not in this version', () => {
  it.each(later.map(([path, value, at]) => ({ path, value, at: at ?? path.join('.') })))(
    'is named: $at $value',
    ({ path, value, at }) => {
      const found = findings(smallestWith(path, value));
      expect(found).toHaveLength(1);
      expect(found[0]).toMatch(new RegExp(`^${at.replaceAll('.', '\\.')}: .*not in this version of keyturn`));
    },
  );

  it.each([
    [['notify'], []],
    [[...hook, 'direction'], 'inbound'],
    [capability('valueOrigin'), 'either'],
    [capability('dualSigned'), false],
    [capability('readBack'), false],
    [capability('overlap'), 'unbounded'],
    [capability('overlap'), { max: '24h' }],
  ])('is not meant by what changes nothing: %j %j', (path, value) => {
    expect(parse(smallestWith(path, value)).warnings).toEqual([]);
  });

  it('is told apart from plain mistakes', () => {
    expect(findings(smallestWith([...hook, 'scheme'], 7))).toEqual([
      'secrets.my-hook.scheme: must be one of "github", "meta"',
    ]);
    expect(findings(smallestWith([...hook, 'direction'], 'sideways'))).toEqual([
      'secrets.my-hook.direction: must be "inbound"',
    ]);
  });
});
