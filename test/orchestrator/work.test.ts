import { expect, test } from 'vitest';
import { createFakeClock } from '../../src/memory/clock.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import { failure } from '../../src/orchestrator/work.ts';
import { silentLog } from '../../src/ports/log.ts';
import { redacting } from '../../src/ports/redact.ts';

test('what is journalled of an error that nobody expected shows no value that the process knows (I7)', () => {
  const log = redacting(silentLog);
  log.remember('value-0123456789');
  const parts = { clock: createFakeClock(), log };
  expect(failure(parts, new TypeError('cannot read value-0123456789\n  of undefined'), true)).toMatchObject({
    outcome: 'unknown',
    code: 'unexpected',
    message: 'cannot read [redacted] of undefined',
  });
  expect(failure(parts, new TypeError('no'), false)).toMatchObject({ outcome: 'failed', message: 'no' });
  expect(failure(parts, new KeyturnError('store-denied', 'No.', { hint: 'Mend it.' }), true)).toMatchObject({
    outcome: 'failed',
    message: 'No. Mend it.',
    retryable: false,
  });
});
