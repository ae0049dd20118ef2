import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatKeyring, keyringFormat, maxDocumentBytes, parseKeyring } from '../../src/model/document.ts';
import { isKeyturnError, KeyturnError } from '../../src/model/errors.ts';
import { emptyKeyring, nextKeyring, type Keyring } from '../../src/model/keyring.ts';

const marker = 'whsec_MARKERmarkerMARKERmarker';
const at = '2026-01-01T00:00:00.000Z';

/** One version of each stage, every one with a value holds the marker, and a claim with a deadline. */
const keyring: Keyring = nextKeyring(
  nextKeyring(
    emptyKeyring('hook'),
    [
      { kind: 'add', version: 'v1', value: `${marker}1`, createdAt: at },
      { kind: 'promote', version: 'v1' },
      { kind: 'add', version: 'v2', value: `${marker}2`, createdAt: at },
      { kind: 'promote', version: 'v2' },
      { kind: 'revoke', version: 'v1', at },
    ],
    { id: 'c1', highestRevision: 0 },
  ),
  [
    { kind: 'add', version: 'v3', value: `${marker}3`, createdAt: at },
    { kind: 'promote', version: 'v3' },
    { kind: 'compromise', version: 'v2' },
    { kind: 'add', version: 'v4', value: `${marker}4`, createdAt: at },
    { kind: 'claim', claim: { run: 'r1', journal: 'j1', kind: 'rotation', from: 'v2', to: 'v3', deadline: at } },
  ],
  { id: 'c2', highestRevision: 0 },
);
const text = formatKeyring(keyring);

type Draft = Record<string, unknown>;

/** The document as JSON, with what `change` does to it. */
function changed(change: (draft: Draft) => void): string {
  const draft = JSON.parse(text) as Draft;
  change(draft);
  return JSON.stringify(draft);
}

function versionOf(draft: Draft, index: number): Draft {
  return (draft['versions'] as Draft[])[index]!;
}

function parse(document: string): Keyring {
  return parseKeyring(document, 'the place', 'hook');
}

function refusal(document: string): KeyturnError {
  try {
    parse(document);
  } catch (error) {
    if (error instanceof KeyturnError) return error;
    throw error;
  }
  throw new Error('the document was read');
}

/** Everything an error could show to somebody. */
function shown(error: KeyturnError): string {
  return JSON.stringify([error.message, error.hint, error.details, error.cause ?? null, error.stack]);
}

describe('what is written', () => {
  test('it is read back as it was', () => {
    expect(parse(text)).toEqual(keyring);
  });

  test('it says its format first, and a tombstone has no value in it', () => {
    expect(text.startsWith(`{\n  "format": "${keyringFormat}",`)).toBe(true);
    expect(Object.keys(versionOf(JSON.parse(text) as Draft, 0))).toEqual(['id', 'stage', 'createdAt', 'revokedAt']);
    expect(text).not.toContain(`${marker}1`);
  });

  test('any value is read back, whatever characters it is made of', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary' }), (value) => {
        const base = nextKeyring(emptyKeyring('hook'), [{ kind: 'add', version: 'v1', value, createdAt: at }], {
          id: 'c1',
          highestRevision: 0,
        });
        expect(parse(formatKeyring(base)).versions[0]?.value).toBe(value);
      }),
    );
  });

  test('a lone surrogate survives the way through bytes', () => {
    const base = nextKeyring(emptyKeyring('hook'), [{ kind: 'add', version: 'v1', value: 'a\ud800b', createdAt: at }], {
      id: 'c1',
      highestRevision: 0,
    });
    expect(parse(Buffer.from(formatKeyring(base)).toString()).versions[0]?.value).toBe('a\ud800b');
  });

  test('a document of 64 KiB is written, one byte more is refused, counted in bytes', () => {
    const sized = (length: number): Keyring => ({
      ...keyring,
      versions: keyring.versions.map((version) =>
        version.id === 'v4'
          ? { ...version, value: `${'é'.repeat(Math.floor(length / 2))}${'e'.repeat(length % 2)}` }
          : version,
      ),
    });
    const rest = Buffer.byteLength(formatKeyring(sized(2))) - 2;
    const fits = sized(maxDocumentBytes - rest);
    expect(Buffer.byteLength(formatKeyring(fits))).toBe(maxDocumentBytes);
    expect(() => formatKeyring(sized(maxDocumentBytes - rest + 1))).toThrow(
      expect.objectContaining({ code: 'store-too-large', message: expect.not.stringContaining('é') }),
    );
  });
});

describe('what cannot be read', () => {
  test.each<[string, string, string]>([
    ['empty text', '', 'not whole JSON'],
    ['half of it', text.slice(0, text.length / 2), 'not whole JSON'],
    ['null', 'null', 'no JSON object'],
    ['a list', '[]', 'no JSON object'],
    ['a text', '"keyturn.keyring/1"', 'no JSON object'],
    ['an object of something else', '{"active_secrets":["a"]}', 'not a keyturn keyring'],
    ['a format that is no text', changed((draft) => void (draft['format'] = 1)), 'not a keyturn keyring'],
    ['an unknown field', changed((draft) => void (draft['mirror'] = {})), 'it has a field beside format'],
    [
      'a field of the prototype',
      text.replace('"revision"', '"__proto__": {}, "revision"'),
      'it has a field beside format',
    ],
    ["another secret's", changed((draft) => void (draft['secret'] = 'other')), 'it is the keyring of another secret'],
    ['no secret', changed((draft) => delete draft['secret']), 'no text "secret"'],
    ['revision 0', changed((draft) => void (draft['revision'] = 0)), 'revision'],
    ['revision 1.5', changed((draft) => void (draft['revision'] = 1.5)), 'revision'],
    ['a revision as text', changed((draft) => void (draft['revision'] = '1')), 'revision'],
    ['no commits', changed((draft) => delete draft['commits']), 'no list "commits"'],
    ['an empty commit id', changed((draft) => void (draft['commits'] = [''])), 'commit id'],
    ['nine commits', changed((draft) => void (draft['commits'] = '123456789'.split(''))), 'more than 8 commits'],
    ['no versions', changed((draft) => void (draft['versions'] = {})), 'no list "versions"'],
    ['a version that is none', changed((draft) => void (draft['versions'] = [null])), 'a version is no JSON object'],
    [
      'an unknown stage',
      changed((draft) => void (versionOf(draft, 1)['stage'] = 'active')),
      'none of pending, primary, deprecated, revoked',
    ],
    ['a value that is no text', changed((draft) => void (versionOf(draft, 1)['value'] = 7)), 'no text "value"'],
    ['an empty value', changed((draft) => void (versionOf(draft, 1)['value'] = '')), 'empty value'],
    ['a missing value', changed((draft) => delete versionOf(draft, 1)['value']), 'has no value'],
    ['a time that is none', changed((draft) => void (versionOf(draft, 1)['createdAt'] = 'soon')), 'is no time'],
    [
      'a mark that is no flag',
      changed((draft) => void (versionOf(draft, 1)['compromised'] = 'yes')),
      'neither true nor false',
    ],
    ['two primaries', changed((draft) => void (versionOf(draft, 1)['stage'] = 'primary')), 'two primary versions'],
    ['a tombstone with a value', changed((draft) => void (versionOf(draft, 0)['value'] = marker)), 'still has a value'],
    ['a claim that is none', changed((draft) => void (draft['claim'] = 'r1')), 'its claim is no JSON object'],
    ['a claim of null', changed((draft) => void (draft['claim'] = null)), 'its claim is no JSON object'],
    [
      'a claim of another kind',
      changed((draft) => void ((draft['claim'] as Draft)['kind'] = 'going-back')),
      'none of first, rotation',
    ],
    ['a claim without a run', changed((draft) => delete (draft['claim'] as Draft)['run']), 'no text "run"'],
    [
      'a deadline that is no time',
      changed((draft) => void ((draft['claim'] as Draft)['deadline'] = 'soon')),
      'is no time',
    ],
  ])('%s', (_what, document, why) => {
    const error = refusal(document);
    expect(error).toMatchObject({ code: 'store-corrupt', message: expect.stringContaining(why) });
    expect(error.message).toContain('The keyring of hook in the place cannot be used');
    expect(error.hint).not.toBeNull();
    expect(shown(error)).not.toContain('MARKER');
  });

  test('a later format is refused with the way out, before anything else is looked at', () => {
    const error = refusal('{"format":"keyturn.keyring/2","anything":true}');
    expect(error.code).toBe('store-newer-format');
    expect(error.message).toContain('keyturn.keyring/2');
    expect(error.hint).toContain('Update keyturn');
  });
});

/** Changes of text as an editor, a full disk or a bad copy makes them. */
const anyDamage = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('cut' as const),
      from: fc.nat({ max: text.length }),
      length: fc.integer({ min: 1, max: 60 }),
    }),
    fc.record({ kind: fc.constant('end' as const), from: fc.nat({ max: text.length }) }),
    fc.record({
      kind: fc.constant('put' as const),
      from: fc.nat({ max: text.length }),
      what: fc.oneof(
        fc.constantFrom('"', '{', '}', '[', ',', ':', '0', 'e9', '-', '\\', '\n', 'null'),
        fc.string({ maxLength: 3 }),
      ),
    }),
    fc.record({
      kind: fc.constant('swap' as const),
      from: fc.nat({ max: text.length }),
      to: fc.nat({ max: text.length }),
    }),
  ),
  { minLength: 1, maxLength: 4 },
);

type Damage = (typeof anyDamage extends fc.Arbitrary<infer T> ? T : never)[number];

function damaged(document: string, damage: Damage): string {
  const { from } = damage;
  switch (damage.kind) {
    case 'cut':
      return document.slice(0, from) + document.slice(from + damage.length);
    case 'end':
      return document.slice(0, from);
    case 'put':
      return document.slice(0, from) + damage.what + document.slice(from);
    case 'swap': {
      const lines = document.split('\n');
      const [one, other] = [from % lines.length, damage.to % lines.length];
      return lines.with(one, lines[other]!).with(other, lines[one]!).join('\n');
    }
  }
}

/** The document is read, or refused by one of the two codes without a part of a value. */
function expectReadOrRefused(document: string): void {
  try {
    parse(document);
  } catch (error) {
    if (!isKeyturnError(error, 'store-corrupt', 'store-newer-format')) throw error;
    expect(shown(error)).not.toMatch(/whsec|MARK|mark/);
  }
}

describe('I7: whatever stands in the place', () => {
  test('a damaged document is read or refused, and no message shows a part of a value', () => {
    fc.assert(
      fc.property(anyDamage, (damages) => {
        expectReadOrRefused(damages.reduce(damaged, text));
      }),
      { numRuns: 2_000 },
    );
  });

  test('every beginning of the document is refused', () => {
    for (let length = 0; length < text.length; length++) {
      const error = refusal(text.slice(0, length));
      expect(error.code).toBe('store-corrupt');
      expect(shown(error)).not.toContain('MARK');
    }
  });

  test('any JSON and any text is refused', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string(), fc.string({ unit: 'binary' })), (document) => {
        expect(refusal(document).code).toBe('store-corrupt');
      }),
      { numRuns: 500 },
    );
  });

  test('any JSON in the place of any field is read or refused', () => {
    const fields = ['format', 'secret', 'revision', 'commits', 'versions', 'claim'];
    const ofVersion = ['id', 'stage', 'value', 'createdAt', 'revokedAt', 'compromised'];
    fc.assert(
      fc.property(
        fc.constantFrom(...fields),
        fc.constantFrom(...ofVersion),
        fc.jsonValue(),
        fc.boolean(),
        (field, inner, value, deep) => {
          expectReadOrRefused(
            changed((draft) => {
              if (deep) versionOf(draft, 1)[inner] = value;
              else draft[field] = value;
            }),
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  test.each<[string, (draft: Draft) => unknown]>([
    ['the name of a field', (draft) => (draft[marker] = 'value')],
    ['the name of a field of a version', (draft) => (versionOf(draft, 1)[marker] = 'value')],
    ['the secret', (draft) => (draft['secret'] = marker)],
    ['the format', (draft) => (draft['format'] = `keyturn.keyring/${marker}`)],
    ['an id', (draft) => Object.assign(versionOf(draft, 1), { id: marker, stage: 'revoked' })],
  ])('a value that was put in the wrong place is not shown: %s', (_where, put) => {
    expect(shown(refusal(changed(put)))).not.toContain('MARKER');
  });
});
