import { isKeyturnError, KeyturnError } from '../../../src/model/errors.ts';
import { isRecord, type Fields } from '../../../src/model/json.ts';
import { storeThrottled } from '../../../src/ports/store-errors.ts';
import { systemCode } from '../../files.ts';
import { tlsFailure } from '../tls.ts';

/**
 * What Secrets Manager, the SDK or the way to the service says, in keyturn's words. No text of theirs is repeated, and no error of
 * theirs is a cause: an answer hangs on it, which may hold a value.
 */

/** `what` is the beginning of a sentence: `The keyring of production/hook`; `action` what was to be allowed. */
export interface Asked {
  readonly what: string;
  readonly action: string;
  /** The name of the secret in Secrets Manager. */
  readonly name: string;
}

/** The exception's name; null for what is no answer of the service. */
export function exceptionOf(error: unknown): string | null {
  return error instanceof Error && isOfService(error) ? error.name : null;
}

const expired = /^(?:ExpiredToken|ExpiredTokenException|RequestExpired)$/;
const skewed = /^(?:RequestTimeTooSkewed|InvalidSignatureException|SignatureDoesNotMatch)$/;
const unknownKey =
  /^(?:UnrecognizedClientException|InvalidClientTokenId|InvalidAccessKeyId|IncompleteSignature|MissingAuthenticationToken\w*)$/;
const denied = /^(?:AccessDenied|AccessDeniedException|UnauthorizedOperation|NotAuthorized)$/;
const throttling =
  /^(?:Throttling\w*|TooManyRequests\w*|RequestLimitExceeded|SlowDown|ProvisionedThroughputExceededException)$/;
const keyRefused = /^(?:EncryptionFailure|DecryptionFailure|KMS\w+)$/;

/** True where the credentials are right, and have no right to what was asked. */
export function lacksRight({ details }: KeyturnError): boolean {
  return denied.test(String(details['exception']));
}

/** Why there are no credentials to call with. `error` is of whoever gives them out, such as the service for roles. */
export function credentialsRefusal(error: unknown, { what, name }: Asked, label: string): KeyturnError | null {
  const exception = exceptionOf(error);
  if (exception === null) return null;
  return new KeyturnError(
    'store-denied',
    `${what} cannot be asked for: the credentials for the ${label} are refused where they are given out (${exception}).`,
    {
      hint: 'See that the role may be assumed: what it trusts, and the right to sts:AssumeRole of whoever assumes it.',
      details: { secret: name, exception },
    },
  );
}

/** Whatever a call failed with. */
export function refusal(error: unknown, asked: Asked, label: string): KeyturnError {
  if (isKeyturnError(error)) return error;
  const status = statusOf(error);
  if (status === null || !(isOfService(error) || isUnreadable(error))) return unanswered(error, asked, label);
  return answered(nameOf(error), status, { error, asked, label });
}

/** Else the answer came to an end too soon, or never came. */
function isOfService(error: unknown): boolean {
  return isRecord(error) && typeof error['$fault'] === 'string';
}

/** The SDK throws what the JSON of an answer that is none threw. */
function isUnreadable(error: unknown): boolean {
  return error instanceof SyntaxError;
}

interface Answered {
  readonly error: unknown;
  readonly asked: Asked;
  readonly label: string;
}

function answered(name: string, status: number, { error, asked, label }: Answered): KeyturnError {
  const { what, action, name: secret } = asked;
  const details = { secret, status, exception: name };
  const denial = (why: string, hint: string): KeyturnError =>
    new KeyturnError('store-denied', `${what} is refused by the ${label}: ${why}.`, { hint, details });
  if (throttling.test(name) || status === 429) return storeThrottled(what, `the ${label}`, retryAfterOf(error));
  if (expired.test(name)) {
    return denial('the credentials have expired', 'Give keyturn new ones; those of a role renew by themselves.');
  }
  if (skewed.test(name)) {
    return denial(
      'the signature of the call is not right',
      'Check the secret access key, and the clock of this machine.',
    );
  }
  if (unknownKey.test(name)) {
    return denial(
      'the access key is not known there',
      'Check the access key, and that it is of this account and region.',
    );
  }
  if (denied.test(name)) {
    const hint = `Allow ${action} on it; deploy/aws has a policy for the orchestrator and one for receivers.`;
    return denial(`the credentials have no right to ${action} on ${secret}`, hint);
  }
  if (keyRefused.test(name)) {
    return denial(
      'its KMS key cannot be used',
      'Allow kms:Decrypt and kms:GenerateDataKey with that key, and see that the key is enabled.',
    );
  }
  if (name === 'LimitExceededException') {
    return denial(
      'a quota of Secrets Manager is used up',
      'Purge, or ask AWS for a higher quota of versions or labels.',
    );
  }
  if (status >= 500) return strange(asked, label, `answers with status ${String(status)}`, details);
  if (status < 300 || isUnreadable(error)) return strange(asked, label, nonsense, details);
  if (status < 400) return strange(asked, label, 'answers with a redirect, which is not followed', details);
  return denial(`it answers ${name}`, 'Check the region, the endpoint and the name in the policy.');
}

const nonsense = 'answers with something that Secrets Manager does not say';

/** Where something else may have answered. */
export function strange({ what }: Asked, label: string, why = nonsense, details: Fields = {}): KeyturnError {
  return new KeyturnError('store-unreachable', `${what} cannot be reached: the ${label} ${why}.`, {
    hint: 'Check the region and the endpoint in the policy: something else may answer there. It is tried again.',
    details,
  });
}

/** Of the SDK itself, and of the way to the service. */
function unanswered(error: unknown, { what, name }: Asked, label: string): KeyturnError {
  const code = codeOf(error);
  const details = { secret: name, system: code };
  const message = error instanceof Error ? error.message : '';
  if (nameOf(error) === 'CredentialsProviderError' || /credential/i.test(nameOf(error))) {
    return new KeyturnError(
      'credential-missing',
      `${what} cannot be asked for: there are no credentials for the ${label}.`,
      {
        hint: 'Give keyturn a role, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or "credentials" in the policy.',
        details,
      },
    );
  }
  if (/region is missing/i.test(message)) {
    return new KeyturnError('policy-invalid', `${what} cannot be asked for: the ${label} has no region.`, {
      hint: 'Give the store a "region" in the policy, or set AWS_REGION.',
      details,
    });
  }
  const sentence = `${what} cannot be reached: the ${label}`;
  const failed = tlsFailure(code, { sentence, authority: 'in NODE_EXTRA_CA_CERTS', details });
  if (failed !== null) return failed;
  const isLate = /^(?:ETIMEDOUT|TimeoutError|AbortError|ABORT_ERR)$/.test(code);
  const why = isLate ? 'does not answer in time' : `does not answer (${code})`;
  return new KeyturnError('store-unreachable', `${sentence} ${why}.`, {
    hint: 'Check the region and the endpoint in the policy, and the way to it. It is tried again.',
    details,
  });
}

function statusOf(error: unknown): number | null {
  if (!isRecord(error)) return null;
  const metadata = error['$metadata'];
  const response = error['$response'];
  if (isRecord(metadata) && typeof metadata['httpStatusCode'] === 'number') return metadata['httpStatusCode'];
  return isRecord(response) && typeof response['statusCode'] === 'number' ? response['statusCode'] : null;
}

/** In ms; null where the answer does not say. */
function retryAfterOf(error: unknown): number | null {
  const response = isRecord(error) ? error['$response'] : null;
  const headers = isRecord(response) ? response['headers'] : null;
  const seconds = isRecord(headers) ? Number(headers['retry-after'] ?? Number.NaN) : Number.NaN;
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : null;
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : 'unknown';
}

function codeOf(error: unknown): string {
  return systemCode(error) ?? nameOf(error);
}
