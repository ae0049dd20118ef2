import { describe, expect, it } from 'vitest';
import {
  activate,
  findings,
  hook,
  parse,
  poolOf,
  problemsOf,
  put,
  smallestWith,
  upstream,
  type Draft,
} from './fixture.ts';

const receivers = (fields: Draft) => smallestWith([...hook, 'receivers'], fields);

describe('receivers', () => {
  it('have no default number where the upstream is elsewhere', () => {
    const remote = smallestWith([...upstream, 'allowHosts'], ['hooks.example.com']);
    put(remote, [...activate, 'url'], 'https://hooks.example.com/x');
    expect(findings(remote)).toEqual([
      expect.stringMatching(/^secrets\.my-hook: its receivers\.expect is missing: .*loopback$/),
    ]);
    put(remote, [...hook, 'receivers', 'expect'], 3);
    expect(parse(remote).policy.secrets[0]?.receivers.pools).toEqual({ default: poolOf(3) });
  });

  it.each([
    [['127.0.0.1'], true],
    [['127.8.9.10:80', 'localhost', '::1', '[::1]:4747'], true],
    [['127.0.0.1', 'hooks.example.com'], false],
    [['localhost.example.com'], false],
    [['10.0.0.1'], false],
  ])('are one by default with %j: %s', (hosts, accepted) => {
    const draft = smallestWith([...upstream, 'allowHosts'], [...hosts, '127.0.0.1']);
    if (accepted) expect(parse(draft).policy.secrets[0]?.receivers.pools).toEqual({ default: poolOf(1) });
    else expect(findings(draft)).toEqual([expect.stringContaining('receivers.expect is missing')]);
  });

  it('are missed in the environments that lack them, by name', () => {
    const remote = smallestWith([...upstream, 'allowHosts'], ['127.0.0.1', 'hooks.example.com']);
    const environments = { sandbox: {}, live: { defaults: { receivers: { expect: 2 } } }, test: {} };
    expect(findings({ ...remote, environments })).toEqual([expect.stringMatching(/loopback \(in sandbox, test\)$/)]);
  });

  it('are counted in one way', () => {
    expect(problemsOf(receivers({ expect: 1, pools: { web: { expect: 1 } } }))).toMatchObject([
      { path: 'secrets.my-hook.receivers.pools', message: 'is instead of expect: state one of the two' },
    ]);
    expect(findings(receivers({ pools: {} }))).toEqual([
      'secrets.my-hook.receivers.pools: must name at least one pool',
    ]);
    expect(findings(receivers({ pools: { 'a pool': { expect: 1 } } }))[0]).toContain('a name must be made of');
    expect(findings(receivers({ expect: 1.5 }))).toEqual(['secrets.my-hook.receivers.expect: must be a whole number']);
  });

  it('count as missing only after three reports', () => {
    expect(findings(receivers({ reportEvery: '10s', missingAfter: '29s' }))).toEqual([
      'secrets.my-hook.receivers.missingAfter: missingAfter ("29s") must be at least three times reportEvery ("10s"), so "30s": one late report is no missing receiver',
    ]);
    expect(findings(receivers({ reportEvery: '5m' }))[0]).toMatch(
      /^secrets\.my-hook\.receivers\.reportEvery: .*so "15m"/,
    );
    expect(parse(receivers({ reportEvery: '10s', missingAfter: '30s' })).warnings).toEqual([]);
  });

  it('may be as quick as a demonstration needs', () => {
    const draft = receivers({ reportEvery: '500ms', missingAfter: '5s', refreshEvery: '1s' });
    put(draft, [...hook, 'gates'], { grace: '3s', quiet: '3s' });
    expect(parse(draft).warnings).toEqual([]);
    expect(findings(receivers({ reportEvery: '99ms', refreshEvery: '99ms' }))).toEqual([
      'secrets.my-hook.receivers.reportEvery: must be at least "100ms"',
      'secrets.my-hook.receivers.refreshEvery: must be at least "100ms"',
    ]);
  });
});

describe('references', () => {
  it('name what is defined', () => {
    const draft = {
      ...smallestWith([...hook, 'environments'], ['prodution']),
      environments: { production: {}, sandbox: {} },
    };
    expect(problemsOf(draft)).toMatchObject([{ path: 'secrets.my-hook.environments[0]', didYouMean: 'production' }]);
    expect(problemsOf(smallestWith([...hook, 'store'], 'locale'))).toMatchObject([
      { path: 'secrets.my-hook.store', message: 'is no store of this policy', didYouMean: 'local' },
    ]);
    expect(findings({ ...smallestWith([], undefined), stores: { vault: { kind: 'file' } } })).toEqual([
      'secrets.my-hook: its store is missing: the default "local" is not in stores',
    ]);
  });

  it('speak of a secret where it is', () => {
    const special = (name: string) => ({ production: {}, sandbox: { secrets: { [name]: { owner: 'x' } } } });
    expect(problemsOf({ ...smallestWith([], undefined), environments: special('my-hok') })).toMatchObject([
      { path: 'environments.sandbox.secrets.my-hok', didYouMean: 'my-hook' },
    ]);
    const only = smallestWith([...hook, 'environments'], ['production']);
    expect(findings({ ...only, environments: special('my-hook') })).toEqual([
      'environments.sandbox.secrets.my-hook: does not exist in this environment: its "environments" leaves it out',
    ]);
  });

  it('need an upstream somewhere', () => {
    expect(findings({ version: 1, secrets: { a: {} } })).toEqual(['secrets.a: its upstream is missing']);
  });

  it('keep journal and usage log apart', () => {
    expect(
      findings({ ...smallestWith([], undefined), usage: { kind: 'sqlite', path: './.keyturn/journal.db' } }),
    ).toEqual(['usage.path: journal and usage log must be two files']);
  });
});

describe('names and numbers', () => {
  it.each(['-a', 'a-', 'a/b', 'a b', '', 'ä', 'a'.repeat(65)])('refuse the name %j', (name) => {
    const secret = (smallestWith([], undefined)['secrets'] as Draft)['my-hook'];
    expect(findings({ version: 1, secrets: { [name]: secret } })).toEqual([
      expect.stringContaining('a name must be made of letters'),
    ]);
    expect(findings({ ...smallestWith([], undefined), environments: { [name]: {} } })).toEqual([
      expect.stringContaining('a name must be made of letters'),
    ]);
  });

  it.each([
    [[...hook, 'generate', 'bytes'], 15, 'must be at least 16: a shorter value can be guessed'],
    [[...hook, 'generate', 'prefix'], 'a b', 'must be at most 64 printable ASCII characters without spaces'],
    [[...hook, 'key'], '../journal', 'must be made of parts between slashes'],
    [[...hook, 'key'], 'a//b', 'must be made of parts between slashes'],
    [[...hook, 'rotateEvery'], '0d', 'must be at least "1s"'],
    [[...hook, 'rotateEvery'], '1w', 'must be a duration such as'],
    [['journal'], { kind: 'sqlite', path: '~/journal.db' }, 'must be a path'],
    [['usage'], { kind: 'sqlite', group: 'www data' }, 'must be the name of a group'],
    [['stores', 'local'], { path: 'x' }, 'is missing: it must be one of "file", "vault"'],
  ])('refuse %j: %j', (path, value, message) => {
    const found = findings(smallestWith(path, value));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(message);
  });
});
