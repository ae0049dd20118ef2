import { KeyturnError } from '../../../src/model/errors.ts';
import { storeThrottled } from '../../../src/ports/store-errors.ts';
import { systemCode } from '../../files.ts';
import { tlsFailure } from '../tls.ts';
import type { Answer } from './transport.ts';

/** What the server, or the way to it, says, in keyturn's words. No text of the server is repeated: it may hold anything. */

/** `what` is the beginning of a sentence: `The keyring of production/hook`. */
export interface Asked {
  readonly what: string;
  /** The path of the call, as a policy of the server names it. */
  readonly path: string;
}

export function refusedPath({ what, path }: Asked, label: string, isTokenGood: boolean | null): KeyturnError {
  if (isTokenGood === false) {
    return new KeyturnError('store-denied', `${what} is refused: the token for the ${label} is not valid any more.`, {
      hint: 'Give it a token that is: it expired, or was revoked. AppRole and Kubernetes log in again by themselves.',
      details: { path },
    });
  }
  return new KeyturnError('store-denied', `${what} is refused by the ${label}: its token has no right to ${path}.`, {
    hint: `Give the token a policy with ${path}; deploy/vault has one for the orchestrator and one for receivers.`,
    details: { path },
  });
}

/** Any answer that is neither what was asked for nor a refusal. */
export function unexpectedAnswer({ what, path }: Asked, label: string, answer: Answer): KeyturnError {
  const { statusCode: status, retryAfterMs } = answer;
  const details = { path, status };
  if (status === 429) return storeThrottled(what, `the ${label}`, retryAfterMs);
  const sentence = `${what} cannot be reached: the ${label}`;
  if (status >= 300 && status < 400) {
    return new KeyturnError('store-unreachable', `${sentence} answers with a redirect, which is not followed.`, {
      hint: 'Name the address of the active node, or of a load balancer before it, in the policy.',
      details,
    });
  }
  if (status === 503) {
    return new KeyturnError('store-unreachable', `${sentence} is sealed, or not ready.`, {
      hint: 'Unseal it; it is tried again.',
      details,
    });
  }
  if (status === 400 || status === 405 || status === 413) {
    return new KeyturnError('store-denied', `${what} is refused by the ${label} with status ${String(status)}.`, {
      hint: 'Look into the log of the server, and at the settings of its mount and namespace.',
      details,
    });
  }
  const why = status < 300 ? 'answers with something that Vault does not say' : `answers with status ${String(status)}`;
  return new KeyturnError('store-unreachable', `${sentence} ${why}.`, {
    hint: 'Check the address in the policy: something else may answer there. It is tried again.',
    details,
  });
}

/** Of the way to the server. `cause` is an error of the system or of the transport, which holds no value. */
export function unreachable({ what, path }: Asked, label: string, cause: unknown): KeyturnError {
  const code = codeOf(cause);
  const details = { path, system: code };
  const sentence = `${what} cannot be reached: the ${label}`;
  const failed = tlsFailure(code, { sentence, authority: 'as "caFile" in the policy', details });
  if (failed !== null) return failed;
  if (code === 'UND_ERR_INVALID_ARG') {
    // The path was looked at before, and the namespace when the policy was read.
    return new KeyturnError('store-denied', `${what} is not asked of the ${label}: its token cannot be sent.`, {
      hint: 'It holds a character that no header can carry: put the token there as the server gave it.',
      details: { path },
    });
  }
  const why = whyUnreachable[code] ?? `does not answer (${code})`;
  return new KeyturnError('store-unreachable', `${sentence} ${why}.`, {
    hint: 'Check the address in the policy, and the way to it. It is tried again.',
    details,
  });
}

const whyUnreachable: Readonly<Record<string, string>> = {
  ETIMEDOUT: 'does not answer in time',
  UND_ERR_CONNECT_TIMEOUT: 'does not answer in time',
  UND_ERR_SOCKET: 'closes the connection before its answer is whole',
  UND_ERR_RES_EXCEEDED_MAX_SIZE: 'answers with more than it is ever asked for',
  HTTPParserError: 'answers with something that is no HTTP',
};

/** The transport's errors of an answer that cannot be read have a name, and often no code. */
function codeOf(cause: unknown): string {
  if (cause instanceof Error && cause.name === 'HTTPParserError') return cause.name;
  return systemCode(cause) ?? 'unknown';
}
