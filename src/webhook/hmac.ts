import { createHmac, createSecretKey, hash, timingSafeEqual } from 'node:crypto';
import { KeyturnError } from '../model/errors.ts';
import { schemeOf, type Scheme } from './schemes.ts';

/**
 * HMAC-SHA256 for the hot path. A key is prepared once; a message of ordinary size then costs two one-shot hashes over
 * scratch memory, which is twice as fast as a fresh `createHmac`. Everything here is synchronous, and nothing in scratch
 * outlives the call that put it there, so callers may interleave as they like.
 */
const blockBytes = 64;
const digestBytes = 32;

/** Longer bodies would make the scratch memory large, and gain nothing: there the hashing itself is all that costs. */
const maxScratchBody = 64 * 1024;

/** A value prepared for verifying: all that stays of it is in these two. Zeroed by `retireKey`. */
export interface HmacKey {
  /** The block before the body in the inner hash. */
  readonly inner: Buffer;
  /** The block of the outer hash, with room for the inner digest behind it. */
  readonly outer: Buffer;
}

const innerPad = 0x36;
const outerPad = 0x5c;

/** A key as one block: zero but while one is prepared. */
const keyBlock = Buffer.alloc(blockBytes);

const scratch = Buffer.allocUnsafeSlow(blockBytes + maxScratchBody);
const expected = Buffer.allocUnsafeSlow(digestBytes);
const actual = Buffer.allocUnsafeSlow(digestBytes);

/** Views of the start of `scratch` by length: making one costs as much as a tenth of a verification. */
const views: (Buffer | undefined)[] = new Array<Buffer | undefined>(256).fill(undefined);

/** HMAC would take an empty value. */
function refuseEmpty(value: string): void {
  if (value !== '') return;
  throw new KeyturnError('value-refused', 'An empty value cannot be used as a key: everybody could sign with it.');
}

/** Throws `value-refused` for an empty value. */
export function prepareKey(value: string): HmacKey {
  refuseEmpty(value);
  if (Buffer.byteLength(value) > blockBytes) hash('sha256', value, 'buffer').copy(keyBlock);
  else keyBlock.write(value);
  // One piece of memory for both: a receiver may hold thousands of them.
  const blocks = Buffer.allocUnsafeSlow(2 * blockBytes + digestBytes);
  const inner = blocks.subarray(0, blockBytes);
  const outer = blocks.subarray(blockBytes);
  for (let at = 0; at < blockBytes; at += 1) {
    const byte = keyBlock[at] ?? 0;
    inner[at] = byte ^ innerPad;
    outer[at] = byte ^ outerPad;
  }
  keyBlock.fill(0);
  return { inner, outer };
}

/** Erases what was prepared; the key must not be used again. */
export function retireKey(key: HmacKey): void {
  key.inner.fill(0);
  key.outer.fill(0);
}

/** The value of each hexadecimal digit by its character code; 16 stands for "none". */
const digits = new Uint8Array(128).fill(16);
for (const digit of '0123456789abcdefABCDEF') digits[digit.charCodeAt(0)] = parseInt(digit, 16);

/**
 * Reads the signature from `offset` to the end of `text` for the next `findKey`. False unless it is exactly one digest in
 * hexadecimal; either case counts.
 */
export function readSignature(text: string, offset: number): boolean {
  if (text.length !== offset + 2 * digestBytes) return false;
  let seen = 0;
  for (let at = 0, from = offset; at < digestBytes; at += 1, from += 2) {
    const high = digits[text.charCodeAt(from)] ?? 16;
    const low = digits[text.charCodeAt(from + 1)] ?? 16;
    seen |= high | low;
    expected[at] = (high << 4) | low;
  }
  return seen < 16;
}

/** The index of the first key whose HMAC of `body` is the signature read last, or -1. */
export function findKey(keys: readonly { readonly key: HmacKey }[], body: Uint8Array): number {
  const length = body.length;
  const fits = length <= maxScratchBody;
  if (fits) scratch.set(body, blockBytes);
  for (let index = 0; index < keys.length; index += 1) {
    const key = keys[index]?.key;
    if (key === undefined) continue;
    const digest = fits ? digestOfScratch(key, length) : digestOfLong(key, body);
    write(digest, actual, 0);
    if (timingSafeEqual(expected, actual)) return index;
  }
  return -1;
}

/** The HMAC of the body that stands in scratch; only the block before it differs from key to key. */
function digestOfScratch(key: HmacKey, length: number): string {
  scratch.set(key.inner, 0);
  write(hash('sha256', viewOf(blockBytes + length), 'binary'), key.outer, blockBytes);
  return hash('sha256', key.outer, 'binary');
}

/** The key is made anew from its block, which is the same key to HMAC: beside so much hashing that costs nothing. */
function digestOfLong({ inner }: HmacKey, body: Uint8Array): string {
  for (let at = 0; at < blockBytes; at += 1) keyBlock[at] = (inner[at] ?? 0) ^ innerPad;
  const hmac = createHmac('sha256', createSecretKey(keyBlock));
  keyBlock.fill(0);
  return hmac.update(body).digest('binary');
}

function viewOf(length: number): Buffer {
  const slot = length % views.length;
  const known = views[slot];
  if (known?.length === length) return known;
  const view = scratch.subarray(0, length);
  views[slot] = view;
  return view;
}

/** Writes a digest that came as text of one character a byte, the cheapest way out of the hash. */
function write(digest: string, target: Buffer, offset: number): void {
  (target as Latin1Buffer).latin1Write(digest, offset, digestBytes);
}

/** What `write(…, 'latin1')` ends up calling; going there directly saves finding out, twice in each verification. */
type Latin1Buffer = Buffer & { latin1Write(text: string, offset: number, length: number): number };

/**
 * The headers that an upstream of this scheme sends with `body`. Text is taken as UTF-8. Throws `value-refused` for an
 * empty value.
 */
export function sign(
  scheme: string | Scheme,
  value: string,
  body: Uint8Array | string,
): Readonly<Record<string, string>> {
  const { header, prefix } = schemeOf(scheme);
  refuseEmpty(value);
  return { [header]: prefix + createHmac('sha256', value).update(body).digest('hex') };
}
