import { join } from 'node:path';
import { KeyturnError } from '../../../src/model/errors.ts';
import type { StoreName } from '../../../src/ports/secret-store.ts';

/** Bytes that one name in a folder may take on every common file system. */
const maxNameBytes = 255;

const suffix = '.json';

/**
 * Where a key's document is, relative to the store's folder: a file, and the folders above it from the outermost in.
 * A key's slashes become folders; every character but lower-case letters, digits, `-`, `_` and inner dots becomes `%`
 * and its bytes in hex. So the name can be turned back into the key, two keys never share a file even where case or
 * Unicode form is ignored, and no name can be `.`, `..`, absolute or one of the store's own, which begin with a dot.
 */
export interface DocumentPath {
  readonly folders: readonly string[];
  readonly file: string;
}

/** Throws `policy-invalid` for a key that no file can be named after. */
export function documentPath(name: StoreName): DocumentPath {
  if (/\p{Surrogate}/u.test(name.key)) throw unusable(name, 'it is not valid Unicode text');
  const parts = name.key.split('/').map(encodePart);
  const file = `${parts.pop() ?? ''}${suffix}`;
  // A folder must not have the name of another key's document.
  const folders = parts.map((part) => (part.endsWith(suffix) ? `${part.slice(0, -suffix.length)}%2ejson` : part));
  if ([...folders, file].some((each) => each.length > maxNameBytes)) {
    throw unusable(name, `a part of it takes more than ${String(maxNameBytes)} bytes as a file name`);
  }
  return { folders: folders.map((_, index) => join(...folders.slice(0, index + 1))), file: join(...folders, file) };
}

/** An empty part is a lone `%`, which nothing else becomes. */
function encodePart(part: string): string {
  if (part === '') return '%';
  return part.replace(/^\.|[^a-z0-9._-]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

function unusable(name: StoreName, why: string): KeyturnError {
  return new KeyturnError('policy-invalid', `The store key of ${name.secret} cannot be a file name: ${why}.`, {
    hint: 'Give the secret a shorter key of letters, digits, ".", "-", "_" and "/".',
    details: { secret: name.secret },
  });
}
