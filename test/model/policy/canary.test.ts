import { describe, expect, it } from 'vitest';
import { activate, findings, hook, parse, put, smallestWith, warned, type Draft } from './fixture.ts';

const canary = [...hook, 'canary'];
const of = (value: unknown) => smallestWith(canary, value);
const at = (url: string) => of({ url });

/** As resolved, of the first secret. */
const resolved = (draft: Draft) => parse(draft).policy.secrets[0]?.canary;

describe('a canary', () => {
  it('is none where the policy has none', () => {
    expect(resolved(smallestWith([], undefined))).toBeUndefined();
  });

  it('sends three messages unless told otherwise', () => {
    expect(resolved(at('https://hooks.example.com/github'))).toEqual({
      url: 'https://hooks.example.com/github',
      count: 3,
    });
    expect(resolved(of({ url: 'http://127.0.0.1:3000/', count: 20 }))).toEqual({
      url: 'http://127.0.0.1:3000/',
      count: 20,
    });
  });

  it('has the parts of the address in its url', () => {
    const draft = at('https://hooks.example.com/{{ environment }}/{{tenant}}?of={{tenant}}');
    put(draft, ['environments'], { live: {} });
    put(draft, [...hook, 'tenants'], ['acme']);
    put(draft, [...activate, 'url'], 'http://127.0.0.1:4747/{{tenant}}');
    expect(resolved(draft)?.url).toBe('https://hooks.example.com/live/acme?of=acme');
  });

  it.each([
    ['https://hooks.example.com/{{tenant}}', 'holds {{tenant}}, and the secret has no tenant'],
    ['https://hooks.example.com/{{new}}', 'holds a template that is neither {{environment}} nor {{tenant}}'],
    [
      'https://hooks.example.com/{{credentials.token}}',
      'holds a template that is neither {{environment}} nor {{tenant}}',
    ],
    ['https://hooks.example.com/{{tenant', 'holds {{ without the }} that ends a template'],
    [
      'https://{{tenant}}.example.com/',
      'must have a literal host and port: templates may stand in path and query only',
    ],
    [
      'http://hooks.example.com/',
      'must be https: elsewhere than on loopback, somebody else could answer for the receivers',
    ],
    ['hooks.example.com', 'must begin with https:// (or http:// on loopback) and a host'],
    ['https://me:pass@hooks.example.com/', 'must hold no user or password: use credentials and a header'],
    ['https://hooks.example.com/#here', 'must hold no fragment (#…): it is never sent'],
    ['https://hooks.example.com/a/../b', 'must hold no path segment of dots alone'],
  ])('is refused at %s', (url, what) => {
    expect(findings(at(url))).toContain(`secrets.my-hook.canary.url: ${what}`);
  });

  it.each([
    [{}, 'secrets.my-hook.canary.url: '],
    [{ url: 'https://h.example/', count: 0 }, 'secrets.my-hook.canary.count: must be at least 1'],
    [{ url: 'https://h.example/', count: 21 }, 'secrets.my-hook.canary.count: must be at most 20'],
    [{ url: 'https://h.example/', count: 1.5 }, 'secrets.my-hook.canary.count: must be a whole number'],
    [{ url: 'https://h.example/', counts: 1 }, 'secrets.my-hook.canary.counts: '],
  ])('is refused as %j', (value, what) => {
    expect(findings(of(value)).join()).toContain(what);
  });

  it('needs no host in allowHosts: it carries neither a value nor a credential', () => {
    expect(warned(at('https://elsewhere.example.net/'))).toEqual([]);
  });

  it('is useless without a scheme: check says so, and none is sent', () => {
    const draft = at('https://hooks.example.com/');
    put(draft, [...hook, 'scheme'], undefined);
    expect(resolved(draft)).toBeUndefined();
    expect(warned(draft)).toEqual([
      'secrets.my-hook.canary: no canary is sent: a canary is a signed message, and this secret has no scheme to sign by. State its scheme, or leave the canary out.',
    ]);
  });

  it('is warned of where two secrets have the same url, as tenants have it without a template', () => {
    const draft = at('https://hooks.example.com/');
    put(draft, [...hook, 'tenants'], ['acme', 'globex']);
    put(draft, [...activate, 'url'], 'http://127.0.0.1:4747/{{tenant}}');
    expect(warned(draft)).toEqual([
      expect.stringContaining('sends the canaries of acme/my-hook and globex/my-hook to one url'),
    ]);
    put(draft, canary, { url: 'https://hooks.example.com/{{tenant}}' });
    expect(warned(draft)).toEqual([]);
  });
});
