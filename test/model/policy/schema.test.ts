import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { builtIn } from '../../../src/model/policy/merge.ts';
import { parsePolicy } from '../../../src/model/policy/parse.ts';
import { policyJsonSchema } from '../../../src/model/policy/schema.ts';
import { poolOf } from './fixture.ts';

const root = new URL('../../../', import.meta.url);
const read = (name: string) => readFileSync(new URL(name, root), 'utf8');

interface JsonSchema {
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly anyOf?: readonly JsonSchema[];
}

/** The paths of every property of the schema, at any depth, with what stands there. */
function fields(schema: JsonSchema, path = ''): readonly (readonly [string, JsonSchema])[] {
  const { properties = {}, additionalProperties, anyOf = [] } = schema;
  return [
    ...Object.entries(properties).flatMap(([name, field]) => [
      [`${path}/${name}`, field] as const,
      ...fields(field, `${path}/${name}`),
    ]),
    ...(typeof additionalProperties === 'object' ? fields(additionalProperties, `${path}/*`) : []),
    ...anyOf.flatMap((one) => fields(one, path)),
  ];
}

describe('the JSON Schema', () => {
  it('that is shipped is the one that is generated; `node bin/schema.ts` writes it anew', () => {
    expect(JSON.parse(read('rotation-policy.schema.json'))).toEqual(policyJsonSchema());
    const check = spawnSync(process.execPath, [fileURLToPath(new URL('bin/schema.ts', root)), '--check'], {
      encoding: 'utf8',
    });
    expect(check.stderr.replaceAll(/^\(.*\n|^.*Warning.*\n/gm, '')).toBe('');
    expect(check.status).toBe(0);
  });

  it('describes every field, for editors to show', () => {
    const all = fields(policyJsonSchema());
    expect(all.map(([path]) => path)).toContain('/environments/*/secrets/*/upstream/steps/activate/timeout');
    expect(all.filter(([, { description = '' }]) => description === '').map(([path]) => path)).toEqual([]);
  });

  it('takes no unknown key anywhere', () => {
    const open = fields(policyJsonSchema()).filter(
      ([, { properties, additionalProperties }]) => properties !== undefined && additionalProperties !== false,
    );
    expect(open.map(([path]) => path)).toEqual([]);
  });
});

describe('docs/policy.md', () => {
  const docs = read('docs/policy.md');

  it('speaks of every field that is not refused', () => {
    const names = fields(policyJsonSchema())
      .filter(([, { description = '' }]) => !description.startsWith('Refused:'))
      .map(([path]) => path.split('/').at(-1) ?? '');
    const lacking = [...new Set(names)].filter(
      (name) => !new RegExp(`[\`"{.]\\s*\\$?${name.replace('$', '')}\\b`).test(docs),
    );
    expect(lacking).toEqual([]);
  });

  it.each(['gates', 'receivers', 'capabilities'] as const)(
    'has the defaults of %s that the schema tells editors, and that hold',
    (group) => {
      const all = fields(policyJsonSchema());
      for (const [field, value] of Object.entries(builtIn[group])) {
        const [, schema] = all.find(([path]) => path.endsWith(`/${group}/${field}`)) ?? [];
        expect([field, schema?.default]).toEqual([field, value]);
        expect(docs).toMatch(new RegExp(`\\| \`${group}\\.${field}\` \\| \`${value}\``));
      }
    },
  );
});

describe('the example', () => {
  it('is valid, in two environments and for two tenants, and warns of what GitHub and Lambda do not give', () => {
    const { policy, warnings } = parsePolicy(read('rotation-policy.example.json'), {
      source: 'example',
      folder: '/srv',
    });
    expect(warnings.map(({ path }) => path)).toEqual([
      'secrets.github-webhook.upstream.capabilities.redelivers',
      'secrets.messages-relay.receivers.pools.lambda',
    ]);
    expect(policy.secrets.map(({ secret }) => secret)).toEqual([
      'production/github-webhook',
      'sandbox/acme/messages-relay',
      'sandbox/globex/messages-relay',
      'production/acme/messages-relay',
      'production/globex/messages-relay',
    ]);
    expect(policy.secrets[0]).toMatchObject({
      store: 'live',
      rotateEveryMs: 90 * 86_400_000,
      receivers: { pools: { default: poolOf(3) } },
      gates: { timeoutMs: 4 * 86_400_000 },
      approvals: 1,
      cutover: { cron: '0 3 * * TUE', durationMs: 7_200_000, timezone: 'Europe/Berlin' },
      blackouts: [
        {
          from: Date.parse('2026-12-21T00:00:00+01:00'),
          until: Date.parse('2027-01-04T00:00:00+01:00'),
          reason: 'year-end freeze',
        },
      ],
      mirrors: [],
    });
    expect(policy.secrets[1]).toMatchObject({
      cutover: null,
      blackouts: [],
      mirrors: [{ key: 'plain/sandbox/acme', property: 'RELAY_SECRET', format: 'plain' }],
      receivers: { pools: { web: poolOf(2), worker: poolOf(2), lambda: { ephemeral: true, maxAgeMs: 300_000 } } },
    });
  });
});
