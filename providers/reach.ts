import { connect as connectPlainly, isIP, type Socket } from 'node:net';
import { connect as connectSecurely, type TLSSocket } from 'node:tls';
import { KeyturnError } from '../src/model/errors.ts';
import { failed, ok, warning } from '../src/ports/probe.ts';
import type { ProbeFinding } from '../src/ports/secret-store.ts';
import type { Clock } from '../src/ports/system.ts';
import { startDeadline } from './deadline.ts';
import { systemCode } from './files.ts';

/** How long a host has to answer, ms. */
const timeoutMs = 5_000;

/** A certificate that ends sooner is told of, days. */
const soonDays = 30;

const dayMs = 86_400_000;

/**
 * Whether a host is found and answers, with a certificate that is believed. Nothing is asked of it: no request is sent.
 * Never throws.
 */
export async function reachHost(origin: string, clock: Clock, signal: AbortSignal): Promise<readonly ProbeFinding[]> {
  const { protocol, hostname, port, host } = new URL(origin);
  const name = hostname.replace(/^\[|\]$/g, '');
  const isSecure = protocol === 'https:';
  const to = { host: name, port: Number(port === '' ? (isSecure ? 443 : 80) : port) };
  const deadline = startDeadline(clock, timeoutMs, signal);
  const socket = isSecure
    ? connectSecurely({ ...to, ...(isIP(name) === 0 ? { servername: name } : {}) })
    : connectPlainly(to);
  try {
    await connected(socket, isSecure ? 'secureConnect' : 'connect', deadline.signal, () => deadline.reason());
    const reach = ok(
      'reach',
      `${host} answers${isSecure ? ` by ${(socket as TLSSocket).getProtocol() ?? 'TLS'}` : ''}.`,
    );
    return isSecure ? [reach, certificateOf(socket as TLSSocket, host, clock.now())] : [reach];
  } catch (error) {
    return [failed('reach', unreachable(host, error))];
  } finally {
    deadline.end();
    socket.destroy();
  }
}

function connected(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
  reason: () => string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    // It may fail again when it is destroyed, which is nobody's business then.
    socket.on('error', reject);
    socket.once(event, () => resolve());
    signal.addEventListener('abort', () => reject(new KeyturnError('upstream-unreachable', reason())), { once: true });
  });
}

function unreachable(host: string, error: unknown): KeyturnError {
  const code = systemCode(error);
  const isName = code === 'ENOTFOUND' || code === 'EAI_AGAIN';
  const why =
    error instanceof KeyturnError
      ? `it does not answer ${error.message}`
      : isName
        ? `its name is not found (${code})`
        : (code ?? 'the connection failed');
  const isCertificate = code !== null && /CERT|SIGN|ISSUER|ALTNAME|VERIFY/.test(code);
  return new KeyturnError('upstream-unreachable', `${host} cannot be reached from here: ${why}.`, {
    hint: isCertificate
      ? `Look at its certificate: openssl s_client -connect ${host}; for an authority of your own set NODE_EXTRA_CA_CERTS where keyturn is started.`
      : 'Check the url in the policy, and the network and name server of this machine.',
    cause: error,
  });
}

function certificateOf(socket: TLSSocket, host: string, now: number): ProbeFinding {
  const days = Math.floor((Date.parse(socket.getPeerCertificate().valid_to) - now) / dayMs);
  if (!(days < soonDays)) return ok('certificate', 'Its certificate is believed.');
  return warning(
    'certificate',
    `The certificate of ${host} ends in ${String(days)} ${days === 1 ? 'day' : 'days'}.`,
    'Have it renewed.',
  );
}
