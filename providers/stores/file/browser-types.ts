import type { webcrypto } from 'node:crypto';

/** Types of a browser that the declarations of `age-encryption` name, and that Node has under another name or not at all. */
declare global {
  type CryptoKey = webcrypto.CryptoKey;
  type AuthenticationExtensionsPRFValues = Readonly<Record<'first' | 'second', ArrayBuffer>>;
}
