import { createHmac, createSecretKey, hash } from 'node:crypto';
import type { Digest } from './audit.ts';

/** SHA-256 for links; seals are keyed where there is a key. */
export function createDigest(key: string | null): Digest {
  const plain = (text: string): string => hash('sha256', text, 'hex');
  if (key === null) return { hash: plain, seal: plain, keyId: null };
  const secretKey = createSecretKey(Buffer.from(key));
  const seal = (text: string): string => createHmac('sha256', secretKey).update(text).digest('hex');
  return { hash: plain, seal, keyId: seal('keyturn audit key').slice(0, 16) };
}
