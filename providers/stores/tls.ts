import { KeyturnError } from '../../src/model/errors.ts';
import type { Fields } from '../../src/model/json.ts';

const certificateCodes = /CERT|UNABLE_TO|SIGNATURE/;

const handshakeCodes = /ERR_TLS|ERR_SSL|EPROTO/;

export interface TlsWords {
  /** The beginning, up to what it is that cannot be reached. */
  readonly sentence: string;
  /** Where an authority is named: `in NODE_EXTRA_CA_CERTS`. */
  readonly authority: string;
  readonly details: Fields;
}

/** Where TLS failed on the way to a store, by the code of Node or OpenSSL; null where something else did. */
export function tlsFailure(code: string, { sentence, authority, details }: TlsWords): KeyturnError | null {
  if (certificateCodes.test(code)) {
    return new KeyturnError('store-unreachable', `${sentence} shows a certificate that is not trusted (${code}).`, {
      hint: `Name the file with the certificate of its authority ${authority}, or mend its certificate.`,
      details,
    });
  }
  if (!handshakeCodes.test(code)) return null;
  return new KeyturnError('store-unreachable', `${sentence} does not speak TLS as it should (${code}).`, {
    hint: 'Check whether its address begins with https://, or with http:// where it listens without TLS.',
    details,
  });
}
