import { describe, expect, test } from 'vitest';
import { createFakeClock } from '../../src/memory/clock.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import { correlated, withIds } from '../../src/ports/correlate.ts';
import { errorFields, fromLevel, linesLog, logLevels, logOf, peopleLog, type Log } from '../../src/ports/log.ts';

/** Everything that a log wrote, as it was written. */
function written(make: (sink: { write(text: string): void }) => Log, use: (log: Log) => void): string {
  let text = '';
  use(make({ write: (more) => void (text += more) }));
  return text;
}

describe('a log of JSON lines', () => {
  const lines = (use: (log: Log) => void): unknown[] =>
    written((sink) => linesLog(sink, createFakeClock()), use)
      .split('\n')
      .slice(0, -1)
      .map((line): unknown => JSON.parse(line));

  test('has moment, level and message first, then the fields', () => {
    const text = written(
      (sink) => linesLog(sink, createFakeClock()),
      (log) => log.warn('Hm.', { secret: 'hook', ms: 3, ok: false, code: null }),
    );
    expect(text).toBe(
      '{"at":"2026-01-01T00:00:00.000Z","level":"warn","message":"Hm.","secret":"hook","ms":3,"ok":false,"code":null}\n',
    );
  });

  test('keeps what every line has, whatever a field is called', () => {
    expect(lines((log) => log.info('Hm.', { message: 'other', level: 'error', at: 'never' }))).toEqual([
      { at: '2026-01-01T00:00:00.000Z', level: 'info', message: 'Hm.' },
    ]);
  });

  test.each(logLevels)('without what is below %s', (lowest) => {
    const told = lines((log) => {
      for (const level of logLevels) fromLevel(lowest, log)[level]('Hm.');
    });
    expect(told).toMatchObject(logLevels.slice(logLevels.indexOf(lowest)).map((level) => ({ level })));
  });
});

test('a log for people has the time of day, and quotes what would be read as two', () => {
  const text = written(
    (sink) => peopleLog(sink, createFakeClock()),
    (log) => {
      log.debug('store read', { outcome: 'present', ms: 2, store: 'file store at /a', code: null });
      log.error('It broke.', { empty: '', quoted: 'a"b', equal: 'a=b' });
      log.info('Done.');
    },
  );
  expect(text.split('\n')).toEqual([
    '00:00:00.000Z store read  outcome=present ms=2 store="file store at /a"',
    '00:00:00.000Z error: It broke.  empty="" quoted="a\\"b" equal="a=b"',
    '00:00:00.000Z Done.',
    '',
  ]);
});

describe('an error in a log line', () => {
  test('has its words and code, and of its causes neither words nor names that say more', () => {
    class MyValueIsHunter2 extends Error {}
    const root = Object.assign(new Error('it said hunter2'), { code: 'ECONNRESET', name: 'hunter2' });
    const middle = new TypeError('with hunter2', { cause: root });
    const error = new KeyturnError('store-unreachable', 'The store is gone.', { cause: middle, hint: 'Look.' });
    expect(errorFields(error)).toEqual({
      error: 'The store is gone.',
      code: 'store-unreachable',
      causes: 'TypeError < Error ECONNRESET',
    });
    expect(errorFields(new Error('top', { cause: 'hunter2' }))).toMatchObject({ causes: 'string' });
    expect(errorFields(new Error('top', { cause: { code: 'hunter2' } }))).toMatchObject({ causes: 'object' });
    expect(errorFields(new Error('top', { cause: Object.assign(new Error(''), { code: 'hunter2' }) }))).toMatchObject({
      causes: 'Error',
    });
    expect(errorFields(new Error('top', { cause: new MyValueIsHunter2() }))).toMatchObject({
      causes: 'MyValueIsHunter2',
    });
  });

  test('is told whatever was thrown', () => {
    const circular = new Error('round');
    circular.cause = circular;
    expect(errorFields(circular)).toMatchObject({ error: 'round', causes: Array(8).fill('Error').join(' < ') });
    expect(errorFields('text')).toEqual({ error: 'text', code: null });
    expect(errorFields(undefined)).toEqual({ error: 'undefined', code: null });
    const hostile = new Proxy(new Error('x'), {
      get: () => {
        throw new Error('no');
      },
    });
    for (const thrown of [Object.create(null), hostile]) {
      expect(errorFields(thrown)).toEqual({ error: 'something that cannot be told', code: null });
    }
  });
});

describe('ids of the work under way', () => {
  function recording(): { readonly log: Log; readonly lines: unknown[] } {
    const lines: unknown[] = [];
    return { lines, log: withIds(logOf(() => (message, fields) => void lines.push({ message, ...fields }))) };
  }

  test('are in every line of that work, and in no line of other work beside it', async () => {
    const { log, lines } = recording();
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    const run = (id: string): Promise<void> =>
      correlated({ run: id }, async () => {
        await turn();
        log.info('decided');
        await correlated({ intent: `${id}-i` }, async () => {
          await turn();
          log.info('performed', { ms: 1 });
        });
        log.info('observed');
      });
    await Promise.all([run('r1'), run('r2')]);
    log.info('outside');
    for (const id of ['r1', 'r2']) {
      expect(lines.filter((line) => (line as { run?: string }).run === id)).toEqual([
        { message: 'decided', run: id },
        { message: 'performed', run: id, intent: `${id}-i`, ms: 1 },
        { message: 'observed', run: id },
      ]);
    }
    expect(lines.at(-1)).toEqual({ message: 'outside' });
  });

  test('give way to what the line itself names', () => {
    const { log, lines } = recording();
    correlated({ run: 'r1', secret: 'hook' }, () => log.info('joined', { run: 'r0' }));
    expect(lines).toEqual([{ message: 'joined', run: 'r0', secret: 'hook' }]);
  });
});
