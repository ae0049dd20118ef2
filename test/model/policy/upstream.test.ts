import { describe, expect, it } from 'vitest';
import { activate, findings, parse, problemsOf, put, refusal, smallestWith, upstream } from './fixture.ts';

const at = 'secrets.my-hook.upstream';
const withUrl = (url: string) => smallestWith([...activate, 'url'], url);
const withHeader = (name: string, value: string) => smallestWith([...activate, 'headers', name], value);

describe('the url of a call', () => {
  it.each([
    ['http://127.0.0.1:4747/hook?key={{new}}'],
    ['HTTP://127.0.0.1/{{credentials.token}}/{{old}}/{{runId}}'],
    ['https://127.0.0.1'],
    ['http://127.1:80/decimal'],
  ])('may be %s', (url) => {
    expect(parse(withUrl(url)).policy.secrets[0]?.upstream.steps.activate.url).toBe(url);
  });

  it.each([
    ['ftp://127.0.0.1/', 'must begin with https://'],
    ['/hook', 'must begin with https://'],
    ['http:///hook', 'must begin with https://'],
    ['http:127.0.0.1', 'must begin with https://'],
    ['{{credentials.token}}', 'must begin with https://'],
    ['http://{{new}}.example.com/', 'must have a literal host and port'],
    ['http://127.0.0.1:{{new}}/', 'must have a literal host and port'],
    ['http://127.0.0.1{{new}}', 'must have a literal host and port'],
    ['http://user:pass@127.0.0.1/', 'must hold no user or password'],
    ['http://evil.example.net\\@127.0.0.1/', 'must hold no spaces, backslashes'],
    ['http://127.0.0.1/a b', 'must hold no spaces'],
    ['http://127.0.0.1/a\nb', 'must hold no spaces'],
    ['http://127.0.0.1/#{{new}}', 'must hold no fragment'],
    ['http://127.0.0.1/a/../b', 'must hold no path segment of dots alone'],
    ['http://127.0.0.1/a/%2E%2e?x', 'must hold no path segment of dots alone'],
    ['http://127.0.0.1:99999/', 'is no url'],
    ['https://127.0.0.2/', 'its host 127.0.0.2 is not in allowHosts'],
    ['https://localhost/', 'its host localhost is not in allowHosts'],
  ])('may not be %s', (url, message) => {
    const found = findings(withUrl(url));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`${at}.steps.activate.url: ${message}`);
  });

  it('is https unless on loopback', () => {
    const draft = withUrl('http://hooks.example.com/');
    put(draft, [...upstream, 'allowHosts'], ['hooks.example.com']);
    put(draft, ['defaults'], { receivers: { expect: 1 } });
    expect(findings(draft)).toEqual([
      `${at}.steps.activate.url: must be https: only on loopback may a secret travel without`,
    ]);
    put(draft, [...activate, 'url'], 'https://HOOKS.example.com/');
    expect(parse(draft).policy.secrets[0]?.upstream.steps.activate.url).toBe('https://HOOKS.example.com/');
  });

  it('goes to the ports that allowHosts has', () => {
    const draft = withUrl('http://127.0.0.1:4747/');
    put(draft, [...upstream, 'allowHosts'], ['127.0.0.1:4748']);
    expect(findings(draft)).toEqual([`${at}.steps.activate.url: its host 127.0.0.1:4747 is not in allowHosts`]);
    put(draft, [...upstream, 'allowHosts'], ['127.0.0.1:4747', '::1', 'LocalHost']);
    expect(parse(draft).policy.secrets[0]?.upstream.allowHosts).toEqual(['127.0.0.1:4747', '[::1]', 'localhost']);
    put(draft, [...activate, 'url'], 'http://[::1]:9/');
    expect(parse(draft).warnings).toEqual([]);
  });

  it.each(['https://127.0.0.1', '127.0.0.1/x', '*.example.com', 'a b', '', 'user@host', 'host:0', 'host:99999', ':80'])(
    'knows no host %j',
    (host) => {
      const draft = smallestWith([...upstream, 'allowHosts'], ['127.0.0.1', host]);
      put(draft, ['defaults'], { receivers: { expect: 1 } });
      expect(findings(draft)).toEqual([
        `${at}.allowHosts[1]: must be a host or host:port, without scheme, path or wildcard`,
      ]);
    },
  );
});

describe('templates', () => {
  it('are the known ones', () => {
    expect(problemsOf(withHeader('x-value', '{{nev}}'))).toMatchObject([
      {
        path: `${at}.steps.activate.headers.x-value`,
        message: expect.stringContaining('none of {{new}}'),
        didYouMean: 'new',
      },
    ]);
    expect(problemsOf(withHeader('x-value', '{{credentials.tokn}}'))).toMatchObject([
      { message: expect.stringContaining('not declared in credentials'), didYouMean: 'credentials.token' },
    ]);
    expect(findings(withHeader('x-value', '{{new'))).toEqual([
      `${at}.steps.activate.headers.x-value: holds {{ without the }} that ends a template`,
    ]);
    expect(findings(withHeader('x-value', '{{credentials.constructor}}'))).toHaveLength(1);
  });

  it('are found at any depth of the body', () => {
    expect(
      findings(
        smallestWith([...activate, 'json'], { secret: '{{new}}', list: [{ deep: '{{secret}}' }], '{{key}}': 1 }),
      ),
    ).toEqual([
      expect.stringContaining(`${at}.steps.activate.json.list[0].deep: holds a template`),
      expect.stringContaining(`${at}.steps.activate.json["{{key}}"]: holds a template`),
    ]);
  });

  it('send the new value somewhere', () => {
    const nowhere = `${at}.steps.activate: sends {{new}} nowhere, so the upstream would never learn the new value`;
    expect(findings(smallestWith([...activate, 'json'], { secret: 'new' }))).toEqual([nowhere]);
    expect(findings(smallestWith([...activate, 'json'], undefined))).toEqual([nowhere]);
    for (const [field, value] of [
      ['form', { secret: '{{ new }}' }],
      ['body', '<secret>{{new}}</secret>'],
      ['url', 'http://127.0.0.1/{{new}}'],
      ['headers', { 'x-new': 'v1={{new}}' }],
    ] as const) {
      const draft = smallestWith([...activate, 'json'], undefined);
      put(draft, [...activate, field], value);
      expect(parse(draft).warnings).toEqual([]);
    }
  });
});

describe('a call', () => {
  it('has one body', () => {
    expect(findings(smallestWith([...activate, 'form'], { a: 'b' }))).toEqual([
      `${at}.steps.activate.form: a request has one body: at most one of json, form`,
    ]);
    expect(findings(smallestWith([...activate, 'json'], null))).toEqual([
      `${at}.steps.activate.json: must not be null: leave it out to send no body`,
    ]);
    expect(findings(smallestWith([...activate, 'method'], 'GET'))).toEqual([
      `${at}.steps.activate.json: a GET request has no body`,
    ]);
  });

  it.each([
    ['x y', 'some-value', 'is no name of a header'],
    ['x-a', 'a\r\nx-b: c', 'must be one line of printable ASCII'],
    ['x-a', 'ä', 'must be one line of printable ASCII'],
    ['Host', 'example.com', 'is set by the request itself'],
    ['Authorization', '{{credentials.token}}', 'is there twice'],
    ['x-api-key', 'k_live_123456', 'holds a literal where a credential belongs'],
  ])('refuses the header %s: %j', (name, value, message) => {
    const found = findings(withHeader(name, value));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`${at}.steps.activate.headers`);
    expect(found[0]).toContain(message);
    expect(found[0]).not.toContain(value);
  });

  it('knows what its answers mean', () => {
    const draft = smallestWith([...activate, 'retryOn'], [409, 425]);
    put(draft, [...activate, 'expect'], [200, 409]);
    expect(findings(draft)).toEqual([`${at}.steps.activate.retryOn: 409 cannot mean done and try again`]);
    expect(findings(smallestWith([...activate, 'expect'], []))).toEqual([
      `${at}.steps.activate.expect: must name at least one status`,
    ]);
    expect(findings(smallestWith([...activate, 'expect'], [500]))[0]).toContain(
      'expect[0]: must be an HTTP status up to 499',
    );
    expect(findings(smallestWith([...activate, 'timeout'], '0s'))[0]).toContain('timeout: must be at least "1ms"');
    const { steps } = parse(smallestWith([...activate, 'expect'], undefined)).policy.secrets[0]!.upstream;
    expect(steps.activate.expect).toEqual([200, 201, 202, 204]);
  });
});

describe('a credential', () => {
  const credential = (value: unknown) => smallestWith([...upstream, 'credentials', 'token'], value);

  it('is never a literal, and never shown', () => {
    const error = refusal(credential('ghp_0123456789abcdef'));
    expect(error.message).toContain('reference it as { "env": "NAME" } or { "file": "PATH" }');
    expect(error.message).not.toContain('ghp_');
    expect(JSON.stringify(error.details)).not.toContain('ghp_');
  });

  it('is in one place', () => {
    const one = `${at}.credentials.token: must be either { "env": "NAME" } or { "file": "PATH" }`;
    expect(findings(credential({}))).toEqual([one]);
    expect(findings(credential({ env: 'A', file: 'b' }))).toEqual([one]);
    expect(findings(credential({ env: 'not a name' }))).toEqual([
      `${at}.credentials.token.env: must be the name of an environment variable`,
    ]);
    expect(problemsOf(credential({ fiel: 'b' }))).toMatchObject([
      { path: `${at}.credentials.token.fiel`, didYouMean: 'file' },
    ]);
    expect(findings(smallestWith([...upstream, 'credentials', 'a.b'], { env: 'A' }))).toEqual([
      `${at}.credentials["a.b"]: a credential is named with letters, digits, "_" and "-"`,
    ]);
  });

  it('from a file has an absolute path', () => {
    expect(parse(credential({ file: '../token' })).policy.secrets[0]?.upstream.credentials).toEqual({
      token: { file: '/etc/token' },
    });
  });
});
