import fc from 'fast-check';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { createFakeClock } from '../../src/memory/clock.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import { errorFields, linesLog, logOf, peopleLog, silentLog, type LogFields } from '../../src/ports/log.ts';
import { mask, redacting, remembering } from '../../src/ports/redact.ts';
import { add, committed, createWorld, promote, revoke, settled, valueOf } from '../cache/support.ts';
import { leaks } from '../process/support/leaks.ts';

const value = 'k3y/Value+with=Every%Kind&of"char';

/** What a redacting log over a recording one hands on. */
function recorded(...values: readonly string[]) {
  const lines: { readonly message: string; readonly fields: LogFields }[] = [];
  const log = redacting(
    logOf(
      () =>
        (message, fields = {}) =>
          void lines.push({ message, fields }),
    ),
  );
  for (const each of values) log.remember(each);
  return { log, lines };
}

describe('a value that is known', () => {
  const base64 = Buffer.from(value).toString('base64');

  test.each([
    ['as it is', value],
    ['in a json string', JSON.stringify(value).slice(1, -1)],
    ['in base64', base64],
    ['in base64 after other text', Buffer.from(`user:${value}`).toString('base64')],
    ['in base64url before other text', Buffer.from(`${value}?!`).toString('base64url')],
    ['in hex', Buffer.from(value).toString('hex')],
    ['in capital hex', Buffer.from(value).toString('hex').toUpperCase()],
    ['in a url', encodeURIComponent(value)],
    ['in a url with small letters', encodeURIComponent(value).toLowerCase()],
    ['in a form', new URLSearchParams({ '': value }).toString().slice(1)],
    ['in capitals', value.toUpperCase()],
  ])('is masked %s', (_how, shown) => {
    const { log, lines } = recorded(value);
    log.info(`before ${shown} after`, { why: `${shown}.` });
    expect(leaks([value], new Map([['line', JSON.stringify(lines)]]))).toEqual([]);
    expect(lines[0]!.message).toMatch(/^before .*\[redacted\].* after$/);
  });

  test('is masked in part, twice in a line, and beside another', () => {
    const { log, lines } = recorded(value, 'other-value-0123456789');
    log.info(`${value.slice(3, 19)} ${value}${value} other-value-0123456789${value}`);
    expect(lines[0]!.message).toBe(`${mask} ${mask} ${mask}`);
    log.info(`${'x'.repeat(2_000 - 10)}${value}`);
    expect(lines[1]!.message).not.toContain(value.slice(0, 6));
  });

  test('is masked where it runs into another', () => {
    const { log, lines } = recorded('aaaaaaaabbbbbbbb', 'bbbbbbbbcccccccc', 'short');
    log.info('aaaaaaaabbbbbbbbcccccccc, a short one');
    expect(lines[0]!.message).toBe(`${mask}, a ${mask} one`);
  });

  test('is masked as the number that it is, and where a text has other letters before it', () => {
    const { log, lines } = recorded('12345678', 'Ünïcode-välue-ß');
    log.info('İİİ Ünïcode-välue-ß', { pin: 12_345_678, ms: 1_234 });
    expect(lines).toEqual([{ message: `İİİ ${mask}`, fields: { pin: mask, ms: 1_234 } }]);
  });

  test('leaves everything else as it is', () => {
    const { log, lines } = recorded(value, 'abc', '');
    const message = 'The secret production/acme/hook holds abc: values v1, v2.';
    log.info(message, { secret: 'production/acme/hook', revision: 7, ok: true, code: null });
    expect(lines).toEqual([{ message, fields: { secret: 'production/acme/hook', revision: 7, ok: true, code: null } }]);
  });

  test('is forgotten only when thousands were met after it', () => {
    const { log } = recorded(value);
    for (let each = 0; each < 4_000; each += 1) log.remember(`filler-${String(each)}-filler`);
    expect(log.redacted(value)).toBe(mask);
    for (let each = 4_000; each < 20_000; each += 1) {
      log.remember(`filler-${String(each)}-filler`);
      if (each % 1_000 === 0) log.remember(value);
    }
    expect(log.redacted(`${value} filler-19999-filler`)).toBe(`${mask} ${mask}`);
  });
});

test('random values never come out, wherever and however they were logged', () => {
  const disguises: readonly ((text: string) => string)[] = [
    (text) => text,
    (text) => JSON.stringify(text),
    (text) => inspect(text),
    (text) => encodeURIComponent(text),
    (text) => new URLSearchParams({ a: text }).toString(),
    (text) => Buffer.from(text).toString('base64'),
    (text) => Buffer.from(`a${text}b`).toString('base64url'),
    (text) => Buffer.from(`ab${text}`).toString('base64'),
    (text) => Buffer.from(text).toString('hex'),
    (text) => Buffer.from(text).toString('hex').toUpperCase(),
  ];
  const anyValue = fc
    .oneof(
      fc.string({ minLength: 8, maxLength: 90, unit: 'grapheme' }),
      fc.string({ minLength: 8, maxLength: 90, unit: 'binary-ascii' }),
      fc.base64String({ minLength: 12, maxLength: 90 }),
    )
    .filter((text) => text.trim().length >= 8);
  const anyText = fc.string({ maxLength: 60, unit: 'grapheme' });
  const anyPlace = fc.constantFrom('message', 'field', 'name', 'error', 'cause', 'code', 'called');
  fc.assert(
    fc.property(
      fc.array(anyValue, { minLength: 1, maxLength: 3 }),
      fc.array(fc.tuple(anyPlace, fc.nat(), fc.constantFrom(...disguises), anyText, anyText), { minLength: 1 }),
      fc.boolean(),
      (values, placed, isForPeople) => {
        let text = '';
        const sink = { write: (more: string): void => void (text += more) };
        const log = redacting((isForPeople ? peopleLog : linesLog)(sink, createFakeClock()));
        for (const each of values) log.remember(each);
        for (const [place, index, disguise, before, after] of placed) {
          const shown = `${before}${disguise(values[index % values.length]!)}${after}`;
          const cause = Object.assign(new Error(shown), { code: shown, name: shown });
          if (place === 'message') log.warn(shown);
          if (place === 'field') log.info('m', { f: shown, g: `${shown}${shown}` });
          if (place === 'name') log.info('m', { [shown]: 1 });
          if (place === 'error') log.error('m', errorFields(new KeyturnError('unexpected', shown)));
          if (place === 'cause') log.error('m', errorFields(new Error('top', { cause })));
          if (place === 'code') log.error('m', errorFields(cause));
          if (place === 'called') log.debug('m', { password: shown });
        }
        const said = new Map([['log', text.replaceAll(/"(?:at|level|message)":/g, '').replaceAll(mask, '')]]);
        const unavoidable = leaks(
          values,
          new Map([['log', '2026-01-01T00:00:00.000Z "debug","info" "error" "warn" top']]),
        );
        expect(leaks(values, said).filter((leak) => !unavoidable.includes(leak))).toEqual([]);
        // One line each, whatever was in it.
        expect(text.split('\n')).toHaveLength(placed.length + 1);
      },
    ),
    { numRuns: 300 },
  );
});

describe('a line', () => {
  test.each([
    'value',
    'newValue',
    'secret_value',
    'token',
    'hub.verify_token',
    'Authorization',
    'x-hub-signature-256',
    'password',
    'set-cookie',
    'body',
    'rawBody',
    'apiKey',
    'payload',
  ])('masks a field that is called %s, whatever it holds', (name) => {
    const { log, lines } = recorded();
    log.info('m', { [name]: 'anything', [`${name} `]: 7 });
    expect(lines[0]!.fields).toMatchObject({ [name]: mask });
    expect(JSON.stringify(lines)).not.toContain('7');
  });

  test('shows a field whose name only sounds like one of these', () => {
    const { log, lines } = recorded();
    const fields = { secret: 'hook', version: 'v1', versionId: 'v1', valueOrigin: 'ours', bodyBytes: 7, fence: 3 };
    log.info('m', fields);
    expect(lines[0]!.fields).toEqual(fields);
  });

  test('holds no line break, no control character, nothing that colours a terminal or turns the text round', () => {
    const { log, lines } = recorded();
    const nasty = 'a\r\n{"level":"error"}\u2028b\u001b[31mc\u009b32m\u202ed\u0000e\ud800f\u200bg';
    log.info(nasty, { id: nasty, [nasty]: 1 });
    const shown = 'a {"level":"error"} b [31mc 32m d e f g';
    expect(lines[0]!.message).toBe(shown);
    expect(Object.entries(lines[0]!.fields)).toEqual([
      ['id', shown],
      [shown, 1],
    ]);
  });

  test('is no longer than anybody reads', () => {
    const { log, lines } = recorded();
    const long = `${'x'.repeat(1_999)}🔑${'y'.repeat(20_000)}`;
    const fields = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`${String(index)}${long}`, long]));
    log.info(long, fields);
    expect(lines[0]!.message).toBe(`${'x'.repeat(1_999)}…`);
    expect(Object.keys(lines[0]!.fields)).toHaveLength(40);
    expect(JSON.stringify(lines).length).toBeLessThan(100_000);
  });

  test('of a caller without types holds only what a line may hold', () => {
    const { log, lines } = recorded(value);
    const fields = { object: { value }, list: [value], call: () => value, big: 7n, none: undefined };
    log.info('m', fields as unknown as LogFields);
    expect(lines[0]!.fields).toEqual({
      object: '[object]',
      list: '[object]',
      call: '[function]',
      big: '[bigint]',
      none: null,
    });
  });

  test('that cannot be written ends nobody’s work', () => {
    const failing = logOf(() => () => {
      throw new Error('the disk is full');
    });
    expect(() => redacting(failing).error('m')).not.toThrow();
  });
});

test('one log is wrapped once, so that all who use it share what is known', () => {
  const { log } = recorded(value);
  expect(redacting(log)).toBe(log);
  expect(redacting(silentLog).redacted(value)).toBe(value);
});

test('every value that a store hands out or is given is remembered, and tombstones are no matter', async () => {
  const { store, put } = createWorld();
  const first = committed(settled('hook', 'v1'), add('v2'), promote('v2'), revoke('v1'));
  await put(first);
  const { log, lines } = recorded();
  const guarded = remembering(store, log);
  log.info(valueOf('v2'));
  const reads = await guarded.read([
    { secret: 'hook', key: 'hook' },
    { secret: 'none', key: 'none' },
  ]);
  log.info(valueOf('v2'));
  const read = reads.get('hook')!;
  const next = committed(first, add('v3'));
  await guarded.commit({ secret: 'hook', key: 'hook' }, next, read.state === 'present' ? read.token : null);
  log.info(valueOf('v3'));
  expect(lines.map(({ message }) => message)).toEqual([valueOf('v2'), mask, mask]);
  await guarded.purge({ secret: 'hook', key: 'hook' });
  await guarded.close();
});

test('what a redacting log knows does not show when it is printed', () => {
  const { log } = recorded(value);
  log.info(value);
  expect(leaks([value], new Map([['log', inspect(log, { depth: 10, showHidden: true })]]))).toEqual([]);
});
