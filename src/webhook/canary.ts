import { sign } from './hmac.ts';
import type { Scheme } from './schemes.ts';

/**
 * A canary is a message of keyturn's own, signed as the upstream would sign it, by which a receiver shows what it takes.
 * What makes it one is its signed body alone. A mark outside of the signature could be added to a delivery, which would then
 * be swallowed, or taken off a canary, which would then pass for a delivery and prove a switch that never was.
 */
export interface CanaryMessage {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** For people, proxies and their logs; no receiver goes by it. */
export const canaryHeader = 'x-keyturn-canary';

const opening = '{"keyturn":"canary","id":"';
const closing = '"}';
const longestId = 40;

/** The canary of that id (lower-case letters and digits). Throws `value-refused` for an empty value. */
export function signedCanary(scheme: string | Scheme, value: string, id: string): CanaryMessage {
  const body = `${opening}${id}${closing}`;
  const headers = { 'content-type': 'application/json', [canaryHeader]: id, ...sign(scheme, value, body) };
  return { headers, body };
}

/** Exactly the bytes that `signedCanary` makes; of a message whose signature was found right. */
export function isCanary(body: Uint8Array): boolean {
  const idBytes = body.length - opening.length - closing.length;
  if (idBytes < 1 || idBytes > longestId) return false;
  const isText = (text: string, from: number): boolean => {
    for (let at = 0; at < text.length; at += 1) if (body[from + at] !== text.charCodeAt(at)) return false;
    return true;
  };
  if (!isText(opening, 0) || !isText(closing, opening.length + idBytes)) return false;
  return body.subarray(opening.length, opening.length + idBytes).every(isIdByte);
}

function isIdByte(byte: number): boolean {
  const isDigit = byte >= 0x30 && byte <= 0x39;
  const isLetter = byte >= 0x61 && byte <= 0x7a;
  return isDigit || isLetter;
}
