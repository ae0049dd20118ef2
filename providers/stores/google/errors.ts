import { isKeyturnError, KeyturnError } from '../../../src/model/errors.ts';
import { isRecord } from '../../../src/model/json.ts';
import { storeThrottled } from '../../../src/ports/store-errors.ts';

/**
 * What Secret Manager, the SDK or the way to the service says, in keyturn's words. No text of theirs is repeated, and no error of
 * theirs is a cause: an answer may hang on it.
 */

/** `what` is the beginning of a sentence: `The keyring of production/hook`; `permission` what was to be allowed. */
export interface Asked {
  readonly what: string;
  readonly permission: string;
  /** The resource in Secret Manager. */
  readonly resource: string;
}

/** Codes of gRPC, as https://grpc.io/docs/guides/status-codes/ has them. */
export const grpcCode = {
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unimplemented: 12,
  unauthenticated: 16,
} as const;

/** The code of gRPC; null for what never was a call. */
function codeOf(error: unknown): number | null {
  return isRecord(error) && typeof error['code'] === 'number' ? error['code'] : null;
}

/** Whatever a call failed with. */
export function refusal(error: unknown, asked: Asked, label: string): KeyturnError {
  if (isKeyturnError(error)) return error;
  const { what, permission, resource } = asked;
  const code = codeOf(error);
  const details = { resource, code };
  const text = error instanceof Error ? error.message : '';
  if (/default credentials|Could not refresh|invalid_grant|metadata from plugin|DECODER|PEM/i.test(text)) {
    return new KeyturnError(
      'credential-missing',
      `${what} cannot be asked for: there are no credentials that work for the ${label}.`,
      {
        hint: 'Give keyturn a service account where it runs, GOOGLE_APPLICATION_CREDENTIALS, or "credentials" in the policy.',
        details,
      },
    );
  }
  const denial = (why: string, hint: string): KeyturnError =>
    new KeyturnError('store-denied', `${what} is refused by the ${label}: ${why}.`, { hint, details });
  switch (code) {
    case grpcCode.resourceExhausted:
      return storeThrottled(what, `the ${label}`, retryAfterOf(error));
    case grpcCode.permissionDenied:
      return denial(
        `there is no right to ${permission} on ${resource}, or no such project`,
        'Check the project in the policy, and grant a role with that; deploy/google has one for the orchestrator and one for receivers.',
      );
    case grpcCode.unauthenticated:
      return denial(
        'the credentials are not known there',
        'Check the service account: it may be disabled, or its key deleted.',
      );
    case grpcCode.invalidArgument:
    case grpcCode.failedPrecondition:
    case grpcCode.notFound:
      return denial(
        `it does not take ${resource}`,
        'Check project, location, replication and KMS key in the policy, and that the API is enabled.',
      );
    case null:
    default:
      return unreachable(asked, label, { code, text });
  }
}

function unreachable(
  { what, resource }: Asked,
  label: string,
  { code, text }: { readonly code: number | null; readonly text: string },
): KeyturnError {
  const sentence = `${what} cannot be reached: the ${label}`;
  const details = { resource, code };
  if (/certificate|self.signed|unable to verify|CERT_|SSL|wrong version number/i.test(text)) {
    return new KeyturnError('store-unreachable', `${sentence} shows a certificate that is not trusted.`, {
      hint: 'Name the file with the certificate of its authority in NODE_EXTRA_CA_CERTS, or mend its certificate.',
      details,
    });
  }
  const why =
    code === grpcCode.deadlineExceeded
      ? 'does not answer in time'
      : code === grpcCode.unimplemented
        ? 'answers with something that Secret Manager does not say'
        : `does not answer (${/E[A-Z]{5,}/.exec(text)?.[0] ?? `code ${String(code)}`})`;
  return new KeyturnError('store-unreachable', `${sentence} ${why}.`, {
    hint: 'Check the location and the endpoint in the policy, and the way to it. It is tried again.',
    details,
  });
}

/** In ms; null where the answer does not say. */
function retryAfterOf(error: unknown): number | null {
  const details: unknown = isRecord(error) ? error['statusDetails'] : null;
  for (const each of Array.isArray(details) ? (details as unknown[]) : []) {
    const delay = isRecord(each) ? each['retryDelay'] : null;
    if (isRecord(delay)) return Number(delay['seconds'] ?? 0) * 1_000 + Number(delay['nanos'] ?? 0) / 1_000_000;
  }
  return null;
}
