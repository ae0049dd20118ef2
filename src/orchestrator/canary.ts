import { keyringIn } from '../decide/observation.ts';
import { isKeyturnError, KeyturnError } from '../model/errors.ts';
import { idBytes, idFrom } from '../model/id.ts';
import { findVersion } from '../model/keyring.ts';
import type { Run } from '../model/run.ts';
import type { Canary, CanaryAnswer } from '../ports/canary.ts';
import { signedCanary } from '../webhook/canary.ts';
import { checkLease } from './commit.ts';
import { withDeadline } from './outside.ts';
import { done, failure, type Performed, type Work } from './work.ts';

/** How many random bytes the key has that nobody knows. */
const randomKeyBytes = 32;

/** One message, and what came of it. */
interface Asked {
  readonly id: string;
  /** 1, 2, 3 …; null for the one that a random key signed. */
  readonly number: number | null;
  readonly answer: CanaryAnswer | KeyturnError;
}

/**
 * Asks by signed messages whether the receivers take the new version, and whether they refuse what a random key signed.
 * All go out at once: one after the other, on a connection that stays open, they might all come to the same receiver. They
 * change nothing, so that no fence stands before them but the lease, which keeps a process that was stopped from sending late.
 */
export async function canaryEffect(work: Work, canary: Canary): Promise<Performed> {
  const { parts, run, intent } = work;
  const { revision } = run;
  try {
    await checkLease(work);
    const ask = (signal: AbortSignal) => askAll(work, canary, signal);
    const asked = await withDeadline(parts, intent.deadline - parts.clock.now(), ask);
    const error = judge(run, canary.label, asked);
    const facts = { canaries: asked.map(factsOf) };
    return { result: error === null ? done(parts) : failure(parts, error, true), revision, facts };
  } catch (error) {
    return { result: failure(parts, error, true), revision };
  }
}

async function askAll(work: Work, canary: Canary, signal: AbortSignal): Promise<readonly Asked[]> {
  const { random } = work.parts;
  const { run, value } = subjectOf(work);
  const { scheme, canary: policy } = run.policy;
  const randomKey = Buffer.from(random.bytes(randomKeyBytes)).toString('base64url');
  const numbers = [...Array.from({ length: policy?.count ?? 0 }, (_, index) => index + 1), null];
  return Promise.all(
    numbers.map(async (number): Promise<Asked> => {
      const id = idFrom('message', random.bytes(idBytes));
      const message = signedCanary(scheme ?? '', number === null ? randomKey : value, id);
      const answer = await canary.send({ ...message, runId: run.id, id, signal }).catch(orThrow);
      return { id, number, answer };
    }),
  );
}

/** What is asked about: as it was observed, for a version's value never changes. */
function subjectOf({ run, seen }: Work): { readonly run: Run; readonly value: string } {
  if (seen.keyring.state === 'failed') throw seen.keyring.error;
  const value = findVersion(keyringIn(seen.keyring, run.secret), run.to)?.value ?? null;
  if (value !== null) return { run, value };
  throw new KeyturnError('drift', `Version ${run.to} of ${run.secret} has no value any more; nothing was sent.`);
}

function orThrow(error: unknown): KeyturnError {
  if (isKeyturnError(error, 'canary-unreachable')) return error;
  throw error;
}

/** What is wrong with the answers; null where they are as they should be. */
function judge({ secret, to }: Run, place: string, asked: readonly Asked[]): KeyturnError | null {
  const stray = asked.find(({ number, answer }) => number === null && isAccepted(answer));
  if (stray !== undefined) {
    const what = `What answers at the canary's url of ${secret}, ${place}, took a message that a random key had signed`;
    return new KeyturnError('canary-unverified', `${what} (${howOf(stray)}): it verifies nothing.`, {
      hint: `Look which handler is behind that url: as long as it takes anything, everybody can send to it. Mend it, then: keyturn rotate ${secret}`,
    });
  }
  const wrong = asked.filter(({ number, answer }) => (number === null ? !isRefused(answer) : !isAccepted(answer)));
  if (wrong.length === 0) return null;
  const isSilent = wrong.every(({ answer }) => isKeyturnError(answer));
  const message = `Not all canaries of ${secret} were answered by ${place} as they should be: ${wrongWords(wrong)}.`;
  return new KeyturnError(isSilent ? 'canary-unreachable' : 'canary-failed', message, {
    hint: isSilent
      ? "Check the canary's url, the receivers behind it, and the network of this machine."
      : `Behind that url each receiver has to take version ${to}: their logs name these requests by their id.`,
  });
}

function isAccepted(answer: Asked['answer']): boolean {
  return !isKeyturnError(answer) && answer.status >= 200 && answer.status <= 299;
}

/**
 * 408 and 429 are no word on the signature. A 503 is one where it says so: during a run that is what a receiver of keyturn
 * answers to a signature that nothing explains, when it may not look in the store right then.
 */
function isRefused(answer: Asked['answer']): boolean {
  if (isKeyturnError(answer)) return false;
  const { status, reason } = answer;
  const isNoWord = status === 408 || status === 429;
  return (status >= 400 && status <= 499 && !isNoWord) || (status === 503 && reason === 'signature-mismatch');
}

/** Those that were answered alike are told together: `canary 1, 3 answered 401 (signature-mismatch)`. */
function wrongWords(wrong: readonly Asked[]): string {
  const isNumbered = ({ number }: Asked): boolean => number !== null;
  const alike = Map.groupBy(wrong.filter(isNumbered), howOf);
  const words = [...alike].map(([how, asked]) => `canary ${asked.map(({ number }) => number).join(', ')} ${how}`);
  const stray = wrong.find((each) => !isNumbered(each));
  if (stray !== undefined) words.push(`the one that a random key signed ${howOf(stray)}, which is no refusal`);
  return words.join('; ');
}

/** A predicate: `answered 401 (signature-mismatch)`, `had no answer (ECONNREFUSED)`. */
function howOf({ answer }: Asked): string {
  if (isKeyturnError(answer)) {
    const { why } = answer.details;
    return `had no answer${typeof why === 'string' ? ` (${why})` : ''}`;
  }
  return `answered ${String(answer.status)}${answer.reason === null ? '' : ` (${answer.reason})`}`;
}

function factsOf({ id, number, answer }: Asked): object {
  const signedBy = number === null ? 'random-key' : 'new-version';
  if (isKeyturnError(answer)) return { id, signedBy, status: null, reason: answer.code };
  return { id, signedBy, status: answer.status, reason: answer.reason };
}
