import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isAccepted } from '../../../src/model/policy/accepted.ts';
import { parsePolicy } from '../../../src/model/policy/parse.ts';
import { readPolicy } from '../../../src/model/policy/read.ts';
import { policySchema } from '../../../src/model/policy/schema.ts';
import { readPolicyText, type Path } from '../../../src/model/policy/text.ts';
import { activate, hook, put, smallest, smallestWith, upstream, wide, type Draft } from './fixture.ts';

const example = readFileSync(new URL('../../../rotation-policy.example.json', import.meta.url), 'utf8');
const origin = { source: '/etc/keyturn/policy.json', folder: '/etc/keyturn' };

/** A policy with the fields that neither the wide one nor the example has. */
function rest(): Draft {
  const env = { env: 'SOME_NAME' };
  const login = { kind: 'approle', roleId: env, secretId: { file: 'role-secret' }, mount: 'approle' };
  const draft = smallestWith(['stores'], {
    files: { kind: 'file', path: 'keys', group: 'hooks', age: { identity: env, recipients: ['age1qqqqqqqq'] } },
    token: { kind: 'vault', address: 'https://vault.example.com:8200/v', auth: { kind: 'token', token: env } },
    role: { kind: 'vault', address: 'http://127.0.0.1:8200', auth: login, mount: 'kv', namespace: 'a/b', caFile: 'ca' },
    pod: { kind: 'vault', address: 'http://[::1]:8200', auth: { kind: 'kubernetes', role: 'hooks', tokenFile: '/t' } },
    aws: {
      kind: 'aws',
      region: 'eu-central-1',
      endpoint: 'http://127.0.0.1:4566',
      prefix: 'a/b',
      kmsKeyId: 'alias/keys',
      tags: { 'Team é': 'hooks' },
      credentials: { accessKeyId: env, secretAccessKey: env, sessionToken: env },
      timeout: '5s',
      propagationLag: '10s',
    },
    google: {
      kind: 'google',
      project: 'some-project',
      replication: ['europe-west3'],
      kmsKeyName: 'projects/p/locations/l/keyRings/r/cryptoKeys/k',
      labels: { team: 'hooks' },
      destroyAfter: '48h',
      credentials: env,
    },
  });
  put(draft, ['journal'], { kind: 'sqlite', path: 'j.db', auditKey: { file: 'audit-key' } });
  put(draft, ['usage'], { kind: 'sqlite', path: 'u/u.db', group: 'hooks' });
  put(draft, ['notify'], []);
  put(draft, [...hook, 'store'], 'files');
  put(draft, [...hook, 'key'], 'some/where');
  put(draft, [...hook, 'direction'], 'inbound');
  put(draft, [...hook, 'generate'], { bytes: 16, encoding: 'hex', prefix: 'p_' });
  put(draft, [...upstream, 'capabilities', 'overlap'], { max: '1d' });
  put(draft, [...upstream, 'capabilities', 'readBack'], false);
  put(draft, [...activate, 'retryOn'], [409]);
  put(draft, [...activate, 'timeout'], '9s');
  return draft;
}

const written: readonly Draft[] = [
  JSON.parse(smallest) as Draft,
  wide(),
  readPolicyText(example).data as Draft,
  rest(),
];

/** Every place within the data, at any depth. */
function places(data: unknown, path: Path = []): readonly Path[] {
  if (typeof data !== 'object' || data === null) return [];
  const inside: readonly (readonly [string | number, unknown])[] = Array.isArray(data)
    ? [...data.entries()]
    : Object.entries(data);
  return inside.flatMap(([key, value]) => [[...path, key], ...places(value, [...path, key])]);
}

const at = (data: unknown, path: Path): unknown =>
  path.reduce((holder, part) => (holder as Readonly<Record<string | number, unknown>>)[part], data);

const keys = written.flatMap((draft) => places(draft).flatMap((path) => path.slice(-1)));
const values = written.flatMap((draft) => places(draft).map((path) => at(draft, path)));

const oddCharacters = ['\n', '\0', '\u2028', '💧', '\ud83d', 'İ', 'ſ', '~', '/', ' ', '0', '{{tenant}}', 'A'];
const oddKeys = ['constructor', 'toString', 'hasOwnProperty', 'valueOf', '', 'x'];
const oddValues = [
  null,
  true,
  false,
  '',
  [],
  {},
  0,
  -1,
  0.5,
  17,
  600,
  1e9,
  2 ** 53,
  '1s',
  '999d',
  '1w',
  'http',
  'none',
];
const oddValue = fc.oneof(fc.constantFrom(...oddValues), fc.constantFrom(...values), fc.jsonValue());

type Edit = (draft: Draft, path: Path) => void;

/** What somebody may do at a place of a policy. */
const edit = fc.oneof(
  oddValue.map(
    (value): Edit =>
      (draft, path) =>
        put(draft, path, structuredClone(value)),
  ),
  fc.constant<Edit>((draft, path) => put(draft, path, undefined)),
  fc.tuple(fc.constantFrom(...keys, ...oddKeys), oddValue).map(([key, value]): Edit => (draft, path) => {
    const holder = at(draft, path);
    if (typeof holder === 'object' && holder !== null) put(holder, [key], structuredClone(value));
  }),
  fc.tuple(fc.constantFrom(...oddCharacters), fc.nat(40)).map(([typed, offset]): Edit => (draft, path) => {
    const text = at(draft, path);
    if (typeof text === 'string') put(draft, path, `${text.slice(0, offset)}${typed}${text.slice(offset)}`);
  }),
);

describe('a policy that is known to have no mistake without the schema', () => {
  it.each(written.map((draft, index) => [index, draft]))('is every one that has every field right (%i)', (_, draft) => {
    expect(policySchema.safeParse(draft).error?.issues).toBeUndefined();
    expect(isAccepted(draft)).toBe(true);
  });

  it('means what the schema reads', () => {
    for (const text of [smallest, example, JSON.stringify(wide())]) {
      const read = readPolicy(text, origin);
      const parsed = parsePolicy(text, origin);
      expect(read?.policy).toEqual(parsed.policy);
      expect(read?.warnings).toEqual(parsed.warnings);
    }
  });

  it('is never one that the schema refuses, and each of these that it accepts', () => {
    const seen = { accepted: 0, refused: 0 };
    const edits = fc.array(fc.tuple(edit, fc.nat()), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(fc.constantFrom(...written), edits, (base, made) => {
        const changed = structuredClone(base);
        for (const [change, place] of made) {
          const all = places(changed);
          const path = all[place % all.length];
          if (path !== undefined) change(changed, path);
        }
        // A list that something was taken out of has no hole, as text has none.
        const draft: unknown = JSON.parse(JSON.stringify(changed));
        const isRight = policySchema.safeParse(draft).success;
        expect(isAccepted(draft), JSON.stringify(draft)).toBe(isRight);
        seen[isRight ? 'accepted' : 'refused'] += 1;
      }),
      { numRuns: 5_000 },
    );
    expect(seen.accepted).toBeGreaterThan(300);
    expect(seen.refused).toBeGreaterThan(300);
  });

  it.each([
    ['a key twice', smallest.replace('"version": 1', '"version": 1, "version": 1')],
    ['half a policy', smallest.slice(0, -3)],
    ['a field that does not go with another', JSON.stringify(smallestWith([...hook, 'store'], 'nowhere'))],
    ['a mistyped key', JSON.stringify(smallestWith(['jurnal'], {}))],
    ['no policy', '[]'],
  ])('is none with %s', (_, text) => {
    expect(readPolicy(text, origin)).toBeNull();
  });
});
