import { describe, expect, it } from 'vitest';
import { findings, hook, parse, problemsOf, put, smallestWith, type Draft } from './fixture.ts';

const mirror = (...mirrors: readonly Draft[]) => smallestWith([...hook, 'mirror'], mirrors);
const plain = (key: string, property?: string): Draft => ({
  key,
  format: 'plain',
  ...(property === undefined ? {} : { property }),
});
const documents = (key: string): Draft => ({ key, format: 'active_secrets' });
const at = 'secrets.my-hook.mirror';

/** Two secrets with a mirror each. */
function two(first: Draft, second: Draft): Draft {
  const draft = mirror(first);
  put(draft, ['secrets', 'other'], { ...((draft['secrets'] as Draft)['my-hook'] as Draft), mirror: [second] });
  return draft;
}

describe('a mirror', () => {
  it('is a key, perhaps a property in it, and a format', () => {
    expect(
      parse(mirror(plain('prod/hook', 'WEBHOOK_SECRET'), documents('prod/all'))).policy.secrets[0]?.mirrors,
    ).toEqual([
      { key: 'prod/hook', property: 'WEBHOOK_SECRET', format: 'plain' },
      { key: 'prod/all', property: null, format: 'active_secrets' },
    ]);
  });

  it('has a key for each address, by templates', () => {
    const draft = mirror(plain('{{environment}}/{{ tenant }}/plain-{{name}}'));
    put(draft, [...hook, 'tenants'], ['acme', 'globex']);
    const { secrets } = parse({ ...draft, environments: { sandbox: {}, production: {} } }).policy;
    expect(secrets.flatMap(({ mirrors }) => mirrors.map(({ key }) => key))).toEqual([
      'sandbox/acme/plain-my-hook',
      'sandbox/globex/plain-my-hook',
      'production/acme/plain-my-hook',
      'production/globex/plain-my-hook',
    ]);
  });

  it.each([
    [plain('../journal'), '[0].key', 'must be made of parts between slashes'],
    [plain('a//b'), '[0].key', 'must be made of parts between slashes'],
    [plain('a'.repeat(256)), '[0].key', 'must be made of parts between slashes'],
    [plain('a/-{{name}}'), '[0].key', 'must be made of parts between slashes'],
    [plain('{{tenant}}'), '[0].key', 'holds {{tenant}}, and the secret has no tenant'],
    [plain('{{environment}}/x'), '[0].key', 'holds {{environment}}, and the secret has no environment'],
    [plain('{{new}}'), '[0].key', 'holds a template that is none of {{environment}} {{tenant}} {{name}}'],
    [{ ...documents('all'), property: 'x' }, '[0].property', 'is for the format "plain" alone'],
    [{ key: 'x' }, '[0].format', 'is missing'],
    [{ key: 'x', format: 'yaml' }, '[0].format', 'must be one of "plain", "active_secrets"'],
    [{ format: 'plain' }, '[0].key', 'is missing'],
    [plain('x', ''), '[0].property', 'must be the name of a property'],
    [plain('x', 'a\nb'), '[0].property', 'must be the name of a property'],
  ])('is not %j', (one, place, message) => {
    const found = findings(mirror(one));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`${at}${place}: ${message}`);
  });

  it('has a key that is short enough once its templates are filled in', () => {
    const draft = mirror(plain(`${'a'.repeat(40)}-{{name}}`));
    expect(parse(draft).policy.secrets[0]?.mirrors).toHaveLength(1);
    const long = 'n'.repeat(60);
    const { 'my-hook': fields } = draft['secrets'] as Draft;
    expect(findings({ version: 1, secrets: { [long]: fields } })).toEqual([
      `secrets.${long}.mirror[0].key: is too long for a key once its templates are filled in`,
    ]);
  });
});

describe('two things in one place of a store', () => {
  it.each([
    ['two copies of the whole', plain('x'), plain('x')],
    ['two of the same property', plain('x', 'A'), plain('x', 'A')],
    ['a whole and a property', plain('x'), plain('x', 'A')],
    ['keys that differ by case', plain('X', 'A'), plain('x', 'A')],
    ['a whole and the documents', plain('x'), documents('x')],
    ['a property that is the name in the documents', documents('x'), plain('x', 'my-hook')],
  ])('are refused, of one secret: %s', (_, first, second) => {
    expect(problemsOf(mirror(first, second))).toMatchObject([
      { path: `${at}[1].key`, message: 'my-hook has two mirrors in the same place' },
    ]);
  });

  it('are refused, of two secrets, with the template that would tell them apart', () => {
    expect(findings(two(plain('x', 'A'), plain('x', 'A')))).toEqual([
      'secrets.other.mirror[0].key: my-hook and other have mirrors in the same place, and each would replace the other: write {{name}} into the key',
    ]);
  });

  it('are let be where each has a property of its own', () => {
    expect(parse(two(plain('x', 'A'), plain('x', 'B'))).policy.secrets).toHaveLength(2);
    expect(parse(two(documents('x'), documents('x'))).policy.secrets).toHaveLength(2);
    expect(parse(mirror(plain('x', 'A'), documents('x'))).policy.secrets[0]?.mirrors).toHaveLength(2);
  });

  it.each([
    [['sandbox', 'production'], null, '{{environment}}', 'sandbox/my-hook and production/my-hook'],
    [[], ['acme', 'globex'], '{{tenant}}', 'acme/my-hook and globex/my-hook'],
  ])('are refused, of one secret in %j for %j: the message names %s', (environments, tenants, template, pair) => {
    const draft = mirror(plain('prod/hook', 'SECRET'));
    if (tenants !== null) put(draft, [...hook, 'tenants'], tenants);
    if (environments.length > 0)
      put(draft, ['environments'], Object.fromEntries(environments.map((name) => [name, {}])));
    expect(findings(draft)).toEqual([
      `${at}[0].key: ${pair} have mirrors in the same place, and each would replace the other: write ${template} into the key`,
    ]);
    put(draft, [...hook, 'mirror'], [plain(`prod/${template}/hook`, 'SECRET')]);
    expect(new Set(parse(draft).policy.secrets.map(({ mirrors }) => mirrors[0]?.key)).size).toBe(2);
  });

  it('name both templates where the addresses differ in both', () => {
    const draft = mirror(plain('x'));
    put(draft, [...hook, 'tenants'], ['acme', 'globex']);
    const environments = { sandbox: { secrets: { 'my-hook': { tenants: ['acme'] } } }, production: {} };
    put(draft, ['environments'], { ...environments, production: { secrets: { 'my-hook': { tenants: ['globex'] } } } });
    expect(findings(draft)).toEqual([expect.stringContaining('write {{environment}} and {{tenant}} into the key')]);
  });

  it('are refused where one is a keyring, whichever comes first', () => {
    const keyring = 'has the key of the keyring of';
    expect(findings(mirror(plain('my-hook')))).toEqual([
      `${at}[0].key: the mirror of my-hook ${keyring} my-hook, and would replace it`,
    ]);
    expect(findings(two(plain('other', 'A'), plain('y')))).toEqual([
      `${at}[0].key: the mirror of my-hook ${keyring} other, and would replace it`,
    ]);
    expect(findings(two(plain('x'), documents('My-Hook')))).toEqual([
      `secrets.other.mirror[0].key: the mirror of other ${keyring} my-hook, and would replace it`,
    ]);
  });

  it('are two where the stores are', () => {
    const draft = two(plain('x'), plain('x'));
    put(draft, ['secrets', 'other', 'store'], 'second');
    put(draft, ['stores'], { local: { kind: 'file', path: 'a' }, second: { kind: 'file', path: 'b' } });
    expect(parse(draft).policy.secrets).toHaveLength(2);
    put(draft, ['stores', 'second', 'path'], './a');
    expect(findings(draft)).toContainEqual(expect.stringContaining('have mirrors in the same place'));
  });
});
