import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isKeyturnError } from '../../src/model/errors.ts';
import { emptyKeyring, nextKeyring, type Keyring, type KeyringMove } from '../../src/model/keyring.ts';
import { mirrorText } from '../../src/model/mirror.ts';
import type { MirrorPolicy } from '../../src/model/policy.ts';
import { policyOf } from '../conformance/run-samples.ts';

const policy = { ...policyOf('production/my-hook'), name: 'my-hook', rotateEveryMs: 30 * 86_400_000 };
const createdAt = '2023-10-01T00:00:00.000Z';

function keyringOf(value: string, ...moves: readonly KeyringMove[]): Keyring {
  const add: KeyringMove = { kind: 'add', version: 'v1', value, createdAt };
  return nextKeyring(emptyKeyring(policy.secret), [add, { kind: 'promote', version: 'v1' }, ...moves], {
    id: 'c-1',
    highestRevision: 0,
  });
}

const plain: MirrorPolicy = { key: 'prod/hook', property: null, format: 'plain' };
const property: MirrorPolicy = { ...plain, property: 'WEBHOOK_SECRET' };
const shaped: MirrorPolicy = { ...plain, format: 'active_secrets' };

function write(present: string | null, mirror: MirrorPolicy, value = 'the-value'): string {
  return mirrorText(present, mirror, keyringOf(value), policy);
}

const odd = fc.string({ minLength: 1, unit: 'grapheme' });

describe('the whole text', () => {
  test('is the value, exactly, whatever it is', () => {
    fc.assert(
      fc.property(fc.option(odd), odd, (present, value) => {
        fc.pre(!present?.startsWith('{'));
        expect(write(present, plain, value)).toBe(value);
      }),
    );
  });

  test("a pending version is nobody's to sign with: the primary stays the copy", () => {
    const keyring = keyringOf('the-value', { kind: 'add', version: 'v2', value: 'the-next', createdAt });
    expect(mirrorText('the-value', plain, keyring, policy)).toBe('the-value');
  });
});

describe('one property of a JSON object', () => {
  test.each([
    [null, '{\n  "WEBHOOK_SECRET": "the-value"\n}\n'],
    ['', '{\n  "WEBHOOK_SECRET": "the-value"\n}\n'],
    ['{}', '{"WEBHOOK_SECRET":"the-value"}'],
    ['{"a":1,"WEBHOOK_SECRET":"old","z":[2]}', '{"a":1,"WEBHOOK_SECRET":"the-value","z":[2]}'],
    ['{\n    "z": 1,\n    "a": 2\n}', '{\n    "z": 1,\n    "a": 2,\n    "WEBHOOK_SECRET": "the-value"\n}'],
    ['{\n\t"WEBHOOK_SECRET": null\n}\n', '{\n\t"WEBHOOK_SECRET": "the-value"\n}\n'],
    ['{\r\n  "a": "b\\r\\n"\r\n}\r\n', '{\r\n  "a": "b\\r\\n",\r\n  "WEBHOOK_SECRET": "the-value"\r\n}\r\n'],
    ['{"id":12345678901234567890,"rate":1.50}', '{"id":12345678901234567890,"rate":1.50,"WEBHOOK_SECRET":"the-value"}'],
  ])('%j becomes %j', (present, text) => {
    expect(write(present, property)).toBe(text);
  });

  test('a text that has it already stays the very same, however it is written', () => {
    const present = '  {"WEBHOOK_SECRET" :  "the-value", "a":1.0}\n\n';
    expect(write(present, property)).toBe(present);
  });

  test('nothing else in it changes, and its order stays', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        odd,
        odd,
        fc.constantFrom(0, 2, 4, '\t'),
        (around, name, value, indent) => {
          fc.pre(!Object.hasOwn(around, name) || typeof around[name] === 'string');
          const present = JSON.stringify(around, null, indent);
          const before = JSON.parse(present) as Record<string, unknown>;
          const text = write(present, { ...plain, property: name }, value);
          const after = JSON.parse(text) as Record<string, unknown>;
          expect(Object.hasOwn(after, name) && after[name]).toBe(value);
          expect(Object.entries(after).filter(([key]) => key !== name)).toEqual(
            Object.entries(before).filter(([key]) => key !== name),
          );
          expect(write(text, { ...plain, property: name }, value)).toBe(text);
        },
      ),
    );
  });

  test('a property that everything has is one like any other', () => {
    const text = write('{"a":1}', { ...plain, property: '__proto__' });
    expect(text).toBe('{"a":1,"__proto__":"the-value"}');
    expect(write('{"a":1}', { ...plain, property: 'toString' })).toBe('{"a":1,"toString":"the-value"}');
  });
});

describe("the documents' shape", () => {
  const entry = {
    auth_method: 'hmac_sha256',
    rotation_policy_days: 30,
    active_secrets: [{ version: 'v1', value: 'the-value', created_at: createdAt, status: 'primary' }],
  };

  test('is an entry by the name of the secret, or by the property', () => {
    expect(JSON.parse(write(null, shaped))).toEqual({ 'my-hook': entry });
    expect(JSON.parse(write(null, { ...shaped, property: 'github' }))).toEqual({ github: entry });
  });

  test("others' entries stay, and so does what somebody wrote into this one", () => {
    const present = JSON.stringify({
      other: { active_secrets: [{ version: 'v9', value: 'theirs' }] },
      'my-hook': {
        webhook_endpoint: 'https://x.example',
        auth_method: 'ours',
        active_secrets: [{ version: 'v0' }],
        team: 'a',
      },
      last: 1,
    });
    const text = write(present, shaped);
    expect(text).toBe(
      JSON.stringify({
        other: { active_secrets: [{ version: 'v9', value: 'theirs' }] },
        'my-hook': {
          webhook_endpoint: 'https://x.example',
          auth_method: 'ours',
          active_secrets: entry.active_secrets,
          team: 'a',
          rotation_policy_days: 30,
        },
        last: 1,
      }),
    );
    expect(write(text, shaped)).toBe(text);
  });

  test('has a pending version as deprecated, so that its readers accept it before the switch', () => {
    const keyring = keyringOf('the-value', { kind: 'add', version: 'v2', value: 'the-next', createdAt });
    const written = JSON.parse(mirrorText(null, shaped, keyring, policy)) as Record<string, typeof entry>;
    expect(written['my-hook']?.active_secrets.map(({ version, status }) => [version, status])).toEqual([
      ['v1', 'primary'],
      ['v2', 'deprecated'],
    ]);
  });
});

describe('what is not written', () => {
  const sneaky = 'sneaky-value-7f3a9b';

  test.each([
    ['a property of a text that is no JSON', property, sneaky],
    ['a property of JSON that is not whole', property, `{"WEBHOOK_SECRET":"${sneaky}"`],
    ['a property of a list', property, `["${sneaky}"]`],
    ['a property of text', property, `"${sneaky}"`],
    ['a property that holds more than a value', property, `{"WEBHOOK_SECRET":{"a":"${sneaky}"}}`],
    ['a property that is a number', property, '{"WEBHOOK_SECRET":5}'],
    ['the whole of a text that holds more than a value', plain, `{"a":"${sneaky}"}`],
    ['an entry of a text that is no JSON', shaped, sneaky],
    ['an entry over something else of that name', shaped, `{"my-hook":"${sneaky}"}`],
  ])('%s: refused, with the key and nothing of what is there', (_, mirror, present) => {
    try {
      write(present, mirror);
      expect.unreachable();
    } catch (error) {
      if (!isKeyturnError(error, 'mirror-invalid')) throw error;
      expect(error.message).toContain('prod/hook');
      expect(error.hint).not.toBeNull();
      expect(`${error.message} ${error.hint ?? ''} ${JSON.stringify(error.details)}`).not.toContain(sneaky);
    }
  });

  test.each([plain, property, shaped])('anything before there is a primary: %j', (mirror) => {
    const add: KeyringMove = { kind: 'add', version: 'v1', value: sneaky, createdAt };
    const pending = nextKeyring(emptyKeyring(policy.secret), [add], { id: 'c-1', highestRevision: 0 });
    expect(() => mirrorText(null, mirror, pending, policy)).toThrow(/has no primary version yet/);
  });
});
