import { describe, expect, it } from 'vitest';
import { findings, hook, parse, poolOf, problemsOf, put, smallestWith, upstream, type Draft } from './fixture.ts';

const receivers = (fields: Draft) => smallestWith([...hook, 'receivers'], fields);
const pools = (fields: Draft) => receivers({ pools: fields });
const poolsOf = (draft: Draft) => parse(draft).policy.secrets[0]?.receivers.pools;
const at = 'secrets.my-hook.receivers';

/** The smallest policy with an upstream elsewhere, where nobody is on loopback. */
function remote(fields: Draft): Draft {
  const draft = receivers(fields);
  put(draft, [...upstream, 'allowHosts'], ['hooks.example.com', '127.0.0.1']);
  return draft;
}

describe('pools', () => {
  it('report, or do not, or come and go', () => {
    const draft = pools({
      web: { expect: 2 },
      worker: { expect: 1, reporting: 'required', ephemeral: false },
      batch: { reporting: 'none' },
      lambda: { ephemeral: true, maxAge: '5m' },
      edge: { ephemeral: true, reporting: 'none', maxAge: '1s' },
    });
    expect(poolsOf(draft)).toEqual({
      web: poolOf(2),
      worker: poolOf(1),
      batch: { expect: 0, reporting: 'none', ephemeral: false, maxAgeMs: null },
      lambda: { expect: 0, reporting: 'required', ephemeral: true, maxAgeMs: 300_000 },
      edge: { expect: 0, reporting: 'none', ephemeral: true, maxAgeMs: 1_000 },
    });
  });

  it('may be one that does not report, without a number, wherever the upstream is', () => {
    expect(poolsOf(remote({ reporting: 'none' }))).toEqual({
      default: { expect: 0, reporting: 'none', ephemeral: false, maxAgeMs: null },
    });
    expect(findings(remote({}))).toEqual([expect.stringContaining('its receivers.expect is missing')]);
    expect(findings(remote({ reporting: 'nobody' }))).toEqual([`${at}.reporting: must be one of "required", "none"`]);
  });

  it('take the word of all on reporting, unless they have their own', () => {
    const some = { web: { expect: 2, reporting: 'required' }, batch: {} };
    expect(poolsOf(receivers({ reporting: 'none', pools: some }))).toMatchObject({
      web: poolOf(2),
      batch: { expect: 0, reporting: 'none' },
    });
  });

  it.each([
    [{}, 'web', 'its expect is missing: say how many'],
    [{ reporting: 'required' }, 'web', 'its expect is missing: say how many'],
    [{ ephemeral: false }, 'web', 'its expect is missing: say how many'],
    [{ ephemeral: true }, 'web', 'its maxAge is missing: say how old'],
    [{ ephemeral: true, reporting: 'none' }, 'web', 'its maxAge is missing: say how old'],
    [{ ephemeral: true, maxAge: '5m', expect: 1 }, 'web.expect', 'is for receivers that stay'],
    [{ expect: 1, maxAge: '5m' }, 'web.maxAge', 'is for ephemeral pools'],
    [{ reporting: 'none', maxAge: '5m' }, 'web.maxAge', 'is for ephemeral pools'],
    [{ reporting: 'none', expect: 1 }, 'web.expect', 'counts receivers that report, and reporting is "none"'],
    [{ expect: 0 }, 'web.expect', 'must be at least 1'],
    [{ ephemeral: true, maxAge: '999ms' }, 'web.maxAge', 'must be at least "1s"'],
    [{ ephemeral: 'yes', maxAge: '5m' }, 'web.ephemeral', 'must be true or false'],
    [{ reporting: 'non' }, 'web.reporting', 'must be one of'],
  ])('are not %j', (web, place, message) => {
    const found = findings(pools({ web }));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`${at}.pools.${place}: ${message}`);
  });

  it('are pointed at by line and column', () => {
    const text = `{ "version": 1, "secrets": { "a": {
  "receivers": { "pools": {
    "web": { "expect": 1 },
    "lambda": { "ephemeral": true, "expect": 2, "maxAge": "5m" } } } } } }`;
    expect(problemsOf(text)).toContainEqual({
      path: 'secrets.a.receivers.pools.lambda.expect',
      message: 'is for receivers that stay: an ephemeral pool has no number',
      line: 4,
      column: 36,
    });
  });

  it('are missed a number of only where the text is whole', () => {
    const broken = '{ "version": 1, "secrets": { "a": { "receivers": { "pools": { "web": {';
    expect(findings(broken)).toEqual([': a closing brace } is missing']);
  });
});

describe('a number and the word that nobody reports', () => {
  const counted = 'counts receivers that report, and reporting is "none"';
  const layered = (top: Draft, own: Draft): Draft => ({ ...receivers(own), defaults: { receivers: top } });

  it('contradict each other side by side', () => {
    expect(findings(receivers({ expect: 2, reporting: 'none' }))).toEqual([
      expect.stringContaining(`${at}.expect: ${counted}`),
    ]);
  });

  it('contradict each other where the number comes later, which may mean that somebody reports', () => {
    expect(findings(layered({ reporting: 'none' }, { expect: 2 }))[0]).toContain(`${at}.expect: ${counted}`);
    expect(findings(layered({ reporting: 'none' }, { pools: { web: { expect: 2 } } }))[0]).toContain(
      `${at}.pools.web.expect: ${counted}`,
    );
    const said = layered({ reporting: 'none' }, { expect: 2, reporting: 'required' });
    expect(poolsOf(said)).toEqual({ default: poolOf(2) });
  });

  it('do not where the word comes later: no number can be taken back', () => {
    expect(poolsOf(layered({ expect: 2 }, { reporting: 'none' }))).toMatchObject({ default: { expect: 0 } });
    expect(poolsOf(layered({ pools: { web: { expect: 2 } } }, { reporting: 'none' }))).toMatchObject({
      web: { expect: 0, reporting: 'none' },
    });
  });
});
