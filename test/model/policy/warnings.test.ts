import { describe, expect, it } from 'vitest';
import { activate, hook, parse, put, smallest, smallestWith, upstream, warned, wide, type Draft } from './fixture.ts';

/** The smallest policy with an upstream elsewhere that leaves nothing to warn of. */
function remote(...changes: readonly (readonly [path: readonly (string | number)[], value: unknown])[]): Draft {
  const draft = smallestWith([...upstream, 'allowHosts'], ['hooks.example.com']);
  put(draft, [...activate, 'url'], 'https://hooks.example.com/hook');
  put(draft, [...upstream, 'capabilities', 'redelivers'], true);
  put(draft, [...hook, 'receivers'], { expect: 3 });
  for (const [path, value] of changes) put(draft, path, value);
  return draft;
}

const gates = [...hook, 'gates'];
const capabilities = [...upstream, 'capabilities'];

describe('warnings (covers R-14)', () => {
  it('are none for the smallest policy, and for one that says everything those that it means', () => {
    expect(parse(smallest).warnings).toEqual([]);
    expect(warned(remote())).toEqual([]);
    expect(parse(wide()).warnings.map(({ path }) => path)).toEqual(
      ['lambda', 'batch'].map((pool) => `secrets.my-hook.receivers.pools.${pool}`),
    );
  });

  it('have a line and a column, and say what can happen and what to do', () => {
    const text = JSON.stringify(remote([[...hook, 'rotateEvery'], '91d']), null, 2);
    const line = text.split('\n').findIndex((one) => one.includes('rotateEvery')) + 1;
    expect(parse(text).warnings).toEqual([
      {
        path: 'secrets.my-hook.rotateEvery',
        message: 'rotateEvery is above "90d": a value that leaked unnoticed is good for long. Rotate more often.',
        line,
        column: '      "rotateEvery": '.length + 1,
      },
    ]);
  });

  it('are told once for all environments', () => {
    const draft = smallestWith([...hook, 'rotateEvery'], undefined);
    put(draft, [...activate, 'url'], 'http://127.0.0.1:4747/{{environment}}');
    expect(warned({ ...draft, environments: { a: {}, b: {} } })).toEqual([
      'secrets.my-hook: has no rotateEvery: it is never rotated by age (in a, b). State one, such as "30d".',
    ]);
  });

  it('stand where the field is, else where it would be, else at the secret', () => {
    const without = remote([capabilities, { ...remoteCapabilities(), redelivers: undefined }]);
    expect(parse(without).warnings.map(({ path }) => path)).toEqual(['secrets.my-hook.upstream.capabilities']);
    const inDefaults: Draft = { ...remote([gates, { quiet: '31m' }]), defaults: { gates: { grace: '1m' } } };
    expect(parse(inDefaults).warnings.map(({ path }) => path)).toEqual(['defaults.gates.grace']);
    expect(parse(remote([[...hook, 'receivers', 'refreshEvery'], '2h'])).warnings.map(({ path }) => path)).toEqual([
      'secrets.my-hook',
    ]);
  });

  it('stand at the upstream that counts, not at one that it replaces', () => {
    const without = remote([capabilities, { ...remoteCapabilities(), redelivers: undefined }]);
    const replaced = remote([[...capabilities, 'redelivers'], false])['secrets'] as Record<string, Draft>;
    const defaults = { upstream: replaced['my-hook']!['upstream'] };
    expect(parse({ ...without, defaults }).warnings.map(({ path }) => path)).toEqual([
      'secrets.my-hook.upstream.capabilities',
    ]);
  });

  function remoteCapabilities(): Draft {
    return { valueOrigin: 'ours', activation: 'on-push', overlap: 'none', retriesResigned: 'yes', redelivers: true };
  }
});

interface Case {
  readonly what: string;
  readonly change: readonly (readonly [path: readonly (string | number)[], value: unknown])[];
  readonly path: string;
  readonly says: string;
  /** What lies on the right side of the bound. */
  readonly fine: readonly (readonly [path: readonly (string | number)[], value: unknown])[];
}

const resigned = (value: string, horizon: string) =>
  [
    [[...capabilities, 'retriesResigned'], value],
    [[...capabilities, 'retryHorizon'], horizon],
  ] as const;

const cases: readonly Case[] = [
  {
    what: 'a secret that is never rotated by age',
    change: [[[...hook, 'rotateEvery'], undefined]],
    path: 'secrets.my-hook',
    says: 'has no rotateEvery: it is never rotated by age',
    fine: [[[...hook, 'rotateEvery'], '90d']],
  },
  {
    what: 'a short grace in production',
    change: [[gates, { grace: '59m' }]],
    path: 'secrets.my-hook.gates.grace',
    says: 'grace ("59m") is below "1h" in production',
    fine: [[gates, { grace: '60m' }]],
  },
  {
    what: 'a short quiet in production',
    change: [[gates, { quiet: '29m' }]],
    path: 'secrets.my-hook.gates.quiet',
    says: 'quiet ("29m") is below "30m" in production',
    fine: [[gates, { quiet: '30m' }]],
  },
  {
    what: 'a grace that ends before every receiver has refreshed',
    change: [[[...hook, 'receivers', 'refreshEvery'], '61m']],
    path: 'secrets.my-hook',
    says: 'grace ("1h") is shorter than refreshEvery ("61m")',
    fine: [[[...hook, 'receivers', 'refreshEvery'], '60m']],
  },
  {
    what: 'a quiet without two reports in it',
    change: [
      [[...hook, 'receivers', 'reportEvery'], '16m'],
      [[...hook, 'receivers', 'missingAfter'], '1h'],
    ],
    path: 'secrets.my-hook',
    says: 'quiet ("30m") is shorter than two reports (reportEvery is "16m")',
    fine: [
      [[...hook, 'receivers', 'reportEvery'], '15m'],
      [[...hook, 'receivers', 'missingAfter'], '1h'],
    ],
  },
  {
    what: 'a timeout that is shorter than the retry horizon',
    change: resigned('no', '36h'),
    path: 'secrets.my-hook',
    says: 'timeout ("24h") is shorter than the retry horizon ("36h")',
    fine: [...resigned('no', '36h'), [gates, { timeout: '36h' }]],
  },
  {
    what: 'a timeout that is shorter than the least that a rotation takes',
    change: [[gates, { timeout: '89m' }]],
    path: 'secrets.my-hook.gates.timeout',
    says: 'timeout ("89m") is shorter than grace and quiet together ("1h 30m")',
    fine: [[gates, { timeout: '90m' }]],
  },
  {
    what: 'approvals that have to come within a day',
    change: [
      [[...hook, 'approvals'], 1],
      [gates, { timeout: '23h' }],
    ],
    path: 'secrets.my-hook.gates.timeout',
    says: 'timeout ("23h") is shorter than a day, and people have to approve',
    fine: [[[...hook, 'approvals'], 1]],
  },
  {
    what: 'retries that are not waited for',
    change: [...resigned('unknown', '36h'), [gates, { retryTail: 'ignore' }]],
    path: 'secrets.my-hook.gates.retryTail',
    says: 'retryTail is "ignore": for "36h" after a failed delivery its retry may still come, signed with the old version, and it is refused once that is revoked',
    fine: [...resigned('yes', '36h'), [gates, { retryTail: 'ignore' }]],
  },
  {
    what: 'the word that the upstream never retries',
    change: resigned('unknown', '0s'),
    path: 'secrets.my-hook.upstream.capabilities.retryHorizon',
    says: 'states that the upstream never retries',
    fine: resigned('yes', '0s'),
  },
  {
    what: 'an upstream that delivers once',
    change: [[[...capabilities, 'redelivers'], false]],
    path: 'secrets.my-hook.upstream.capabilities.redelivers',
    says: 'redelivers is false: a delivery that is answered 503 is lost',
    fine: [],
  },
  {
    what: 'a pool that comes and goes',
    change: [[[...hook, 'receivers'], { pools: { a: { ephemeral: true, maxAge: '5m' }, b: { expect: 2 } } }]],
    path: 'secrets.my-hook.receivers.pools.a',
    says: 'gives no coverage, so nothing shows that the old version is unused there: every rotation waits for a person',
    fine: [[[...hook, 'receivers'], { pools: { a: { expect: 2 }, b: { expect: 2 } } }]],
  },
  {
    what: 'a pool that does not report',
    change: [[[...hook, 'receivers'], { pools: { a: { expect: 2 }, b: { reporting: 'none' } } }]],
    path: 'secrets.my-hook.receivers.pools.b',
    says: 'gives no coverage',
    fine: [[[...hook, 'receivers'], { pools: { b: { expect: 2, reporting: 'required' } }, reporting: 'none' }]],
  },
  {
    what: 'receivers that do not report',
    change: [[[...hook, 'receivers'], { reporting: 'none' }]],
    path: 'secrets.my-hook.receivers.reporting',
    says: 'gives no coverage',
    fine: [[[...hook, 'receivers'], { expect: 2, reporting: 'required' }]],
  },
  {
    what: 'one receiver in production',
    change: [[[...hook, 'receivers', 'expect'], 1]],
    path: 'secrets.my-hook.receivers.expect',
    says: 'expects one receiver in production',
    fine: [[[...hook, 'receivers', 'expect'], 2]],
  },
  {
    what: 'one receiver of a pool in production',
    change: [[[...hook, 'receivers'], { pools: { web: { expect: 2 }, worker: { expect: 1 } } }]],
    path: 'secrets.my-hook.receivers.pools.worker.expect',
    says: 'expects one receiver in production',
    fine: [[[...hook, 'receivers'], { pools: { web: { expect: 2 }, worker: { expect: 2 } } }]],
  },
  {
    what: 'a window that is shorter than a call',
    change: [[[...hook, 'cutover'], { cron: '0 3 * * *', duration: '4s' }]],
    path: 'secrets.my-hook.cutover.duration',
    says: 'the window is open for "4s", and one call to the upstream may take "5s"',
    fine: [[[...hook, 'cutover'], { cron: '0 3 * * *', duration: '5s' }]],
  },
  {
    what: 'a window that never opens',
    change: [[[...hook, 'cutover'], { cron: '0 3 31 4,6 *', duration: '1h' }]],
    path: 'secrets.my-hook.cutover.cron',
    says: 'never opens, for no day of any year is meant by it',
    fine: [[[...hook, 'cutover'], { cron: '0 3 29 2 *', duration: '1h' }]],
  },
  {
    what: 'a blackout that is longer than a value may last',
    change: [[['blackouts'], [{ from: '2026-06-01', until: '2026-07-01' }]]],
    path: 'blackouts[0]',
    says: 'lasts longer than rotateEvery ("30d") of my-hook',
    fine: [[['blackouts'], [{ from: '2026-06-01', until: '2026-06-30' }]]],
  },
  {
    what: 'blackouts that are too long together, at the first of them',
    change: [
      [
        ['blackouts'],
        [
          { from: '2026-06-16', until: '2026-07-02' },
          { from: '2026-06-01', until: '2026-06-15' },
        ],
      ],
    ],
    path: 'blackouts[1]',
    says: 'lasts longer than rotateEvery ("30d") of my-hook',
    fine: [
      [
        ['blackouts'],
        [
          { from: '2026-06-17', until: '2026-07-02' },
          { from: '2026-06-01', until: '2026-06-15' },
        ],
      ],
    ],
  },
  {
    what: 'a name that does not match',
    change: [[['naming'], '(?:prod|test)-.*']],
    path: 'secrets.my-hook',
    says: 'its name does not match naming',
    fine: [[['naming'], 'my|my-hook']],
  },
];

describe('a warning', () => {
  it.each(cases)('is given of $what', ({ change, path, says, fine }) => {
    const found = warned(remote(...change));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`${path}: ${says}`);
    expect(found[0]).toMatch(/\. [A-Z][^.]+\.$/);
    expect(warned(remote(...fine))).toEqual([]);
  });

  it('of settings for production is given where there are no environments and the upstream is elsewhere', () => {
    const short = { grace: '5m', quiet: '5m' };
    expect(warned(remote([gates, short]))).toHaveLength(2);
    expect(warned(smallestWith(gates, short))).toEqual([]);
  });

  it('of settings for production is given in environments that are called so alone', () => {
    const url = smallestWith([...activate, 'url'], 'http://127.0.0.1:4747/{{environment}}');
    const production = { gates: { grace: '59m', quiet: '29m' }, receivers: { expect: 1 } };
    const draft = (environment: string) => ({ ...url, environments: { [environment]: { defaults: production } } });
    const at = (name: string) => `environments.${name}.defaults`;
    expect(warned(draft('Production-EU'))).toEqual([
      expect.stringMatching(
        `^${at('Production-EU')}.gates.grace: .* in production: .* \\(in Production-EU\\)\\. Leave`,
      ),
      expect.stringMatching(
        `^${at('Production-EU')}.gates.quiet: .* in production: .* \\(in Production-EU\\)\\. Leave`,
      ),
      expect.stringMatching(`^${at('Production-EU')}.receivers.expect: expects one receiver in production`),
    ]);
    expect(warned(draft('staging'))).toEqual([]);
    expect(warned({ ...url, environments: { prod: {} } })).toEqual([
      expect.stringContaining('secrets.my-hook: expects one receiver in production'),
    ]);
  });

  it('of an upstream that delivers once is not given of one on this machine', () => {
    expect(warned(smallestWith([...capabilities, 'redelivers'], false))).toEqual([]);
  });

  it('of a blackout names the secret, and the environments it holds in', () => {
    const draft = smallestWith([...hook, 'rotateEvery'], '1d');
    put(draft, [...activate, 'url'], 'http://127.0.0.1:4747/{{environment}}');
    const blackouts = [{ from: '2026-06-01', until: '2026-06-02', environments: ['live'] }];
    expect(warned({ ...draft, environments: { live: {}, test: {} }, blackouts })).toEqual([
      'blackouts[0]: lasts longer than rotateEvery ("1d") of my-hook: its value gets older than it may (in live). Shorten it, or rotate right before it.',
    ]);
  });

  it('is given of mirrors beside encrypted keyrings', () => {
    const draft = smallestWith([...hook, 'mirror'], [{ key: 'plain/hook', format: 'plain' }]);
    const age = { identity: { file: 'age.key' } };
    expect(warned({ ...draft, stores: { local: { kind: 'file' } } })).toEqual([]);
    expect(warned({ ...draft, stores: { local: { kind: 'file', age } } })).toEqual([
      expect.stringMatching(/^secrets\.my-hook.*: its mirrors in the store local are not encrypted/),
    ]);
  });
});
