import { inspect } from 'node:util';
import { expect } from 'vitest';
import { isKeyturnError, type KeyturnError } from '../../src/model/errors.ts';

/** The error that a call of a port ends with, and all that printing it would show; it says what to do. */
export async function shownFailure(
  promise: Promise<unknown>,
): Promise<{ readonly error: KeyturnError; readonly shown: string }> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!isKeyturnError(error)) throw new Error(`expected a KeyturnError, got ${inspect(error)}`);
  expect(error.hint).not.toBeNull();
  const shown = `${inspect(error, { depth: Infinity, showHidden: true })} ${error.hint ?? ''} ${JSON.stringify(error)}`;
  return { error, shown };
}
