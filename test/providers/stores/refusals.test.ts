import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { generateX25519Identity } from 'age-encryption';
import { describe, expect, it } from 'vitest';
import { createFileStore } from '../../../providers/stores/file.ts';
import { formatKeyring, keyringFormat } from '../../../src/model/document.ts';
import type { ErrorCode } from '../../../src/model/errors.ts';
import type { SecretStore } from '../../../src/ports/secret-store.ts';
import { expectCode, expectFailed, expectNoLeak, firstKeyring } from '../../conformance/secret-store.ts';
import { encryptedFor, isRoot, nobody, putDocument, storeFolders } from './support.ts';

const marker = 'Marker+Value/That?Must=NeverShow';
const fresh = storeFolders('keyturn-refusals-');
const identity = await generateX25519Identity();
const us = String(process.geteuid?.());

const name = { secret: 'globex/hook', key: 'globex/hook' };
const whole = formatKeyring(firstKeyring(name.secret, marker));
const restore = 'Restore it from a backup, or remove it and adopt the value in use again.';
const emptyValue = whole.replace(JSON.stringify(marker), '""');

interface Refusal {
  readonly what: string;
  /** What the document says; default: a whole keyring. */
  readonly text?: string | Uint8Array;
  /** What is done to the document that stands at `place`. */
  readonly spoil?: (place: string) => void;
  readonly code: ErrorCode;
  readonly message: (place: string) => string;
  readonly hint: (place: string) => string;
  readonly asRoot?: boolean;
}

const unusable = (why: string) => (place: string) => `The keyring of globex/hook in ${place} cannot be used: ${why}.`;
const away = (place: string): string => `Move it away, and put the file itself there: ${place}`;

const contents: readonly Refusal[] = [
  {
    what: 'half a document',
    text: whole.slice(0, whole.indexOf(marker) + marker.length),
    code: 'store-corrupt',
    message: unusable('it is not whole JSON'),
    hint: () => restore,
  },
  { what: 'nothing', text: '', code: 'store-corrupt', message: unusable('it is empty'), hint: () => restore },
  {
    what: 'bytes that are no UTF-8',
    text: Buffer.concat([Buffer.from(whole), Buffer.from([0xff])]),
    code: 'store-corrupt',
    message: unusable('it is not valid UTF-8'),
    hint: () => restore,
  },
  {
    what: 'a byte order mark',
    text: `\uFEFF${whole}`,
    code: 'store-corrupt',
    message: unusable('it begins with a byte order mark'),
    hint: () => 'Save it again without one.',
  },
  {
    what: 'an unknown field',
    text: whole.replace('{', `{ ${JSON.stringify(marker)}: 1,`),
    code: 'store-corrupt',
    message: unusable('it has a field beside format, secret, revision, commits, versions, claim'),
    hint: () => 'Take out what was added by hand; where a newer keyturn wrote it, update keyturn in this process.',
  },
  {
    what: 'an empty value',
    text: emptyValue,
    code: 'store-corrupt',
    message: unusable('version 1 of 1 has an empty value'),
    hint: () => restore,
  },
  {
    what: 'a newer format',
    text: whole.replace(keyringFormat, 'keyturn.keyring/2'),
    code: 'store-newer-format',
    message: (place) =>
      `The keyring of globex/hook in ${place} has the format keyturn.keyring/2; this version of keyturn reads ${keyringFormat}.`,
    hint: () => 'Update keyturn in this process.',
  },
  {
    what: 'the keyring of another secret',
    text: formatKeyring(firstKeyring('somebody-else', marker)),
    code: 'store-corrupt',
    message: unusable('it is the keyring of another secret'),
    hint: () => 'It was copied or moved there: put the right one back from a backup, or correct "key" in the policy.',
  },
  {
    what: 'something else',
    text: JSON.stringify({ password: marker }),
    code: 'store-corrupt',
    message: unusable('it is not a keyturn keyring'),
    hint: () => 'Something else wrote it: move it away, and correct what wrote it.',
  },
  {
    what: 'more than any keyring takes',
    text: whole.padEnd(65_537),
    code: 'store-corrupt',
    message: unusable('it takes 65537 bytes, and at most 65536 are read'),
    hint: () => restore,
  },
];

const places: readonly Refusal[] = [
  {
    what: 'a symbolic link in its place',
    spoil: (place) => {
      renameSync(place, `${place}.moved`);
      symlinkSync(`${place}.moved`, place);
    },
    code: 'store-corrupt',
    message: unusable('it is a symbolic link, and links are not followed here'),
    hint: away,
  },
  {
    what: 'a folder in its place',
    spoil: (place) => {
      renameSync(place, `${place}.moved`);
      mkdirSync(place, { mode: 0o700 });
    },
    code: 'store-corrupt',
    message: unusable('it is a folder, not a file'),
    hint: away,
  },
  {
    what: 'a pipe in its place',
    spoil: (place) => {
      renameSync(place, `${place}.moved`);
      execFileSync('mkfifo', ['-m', '600', place]);
    },
    code: 'store-corrupt',
    message: unusable('it is no regular file'),
    hint: away,
  },
  {
    what: 'a folder that is a link to elsewhere',
    spoil: (place) => {
      renameSync(dirname(place), `${dirname(place)}-moved`);
      symlinkSync(`${dirname(place)}-moved`, dirname(place));
    },
    code: 'store-denied',
    message: (place) =>
      `The folder ${dirname(place)} is refused: it is a symbolic link, and what is read would be somewhere else.`,
    hint: () => 'Put a real folder there. Only the folder of the store itself, as the policy names it, may be a link.',
  },
  {
    what: 'a file in the place of its folder',
    spoil: (place) => {
      renameSync(dirname(place), `${dirname(place)}-moved`);
      writeFileSync(dirname(place), marker, { mode: 0o600 });
    },
    code: 'store-unreachable',
    message: (place) => `The file store cannot be used: ${dirname(place)} is no folder.`,
    hint: () => 'Put a real folder there, or name the right one in the policy.',
  },
  {
    what: 'a mode that lets its group read',
    spoil: (place) => {
      chmodSync(place, 0o640);
    },
    code: 'store-denied',
    message: (place) => `${place} is refused: more users may use it than should (mode 640).`,
    hint: (place) => `If others may have read it, rotate the secret afterwards. Run: chmod 600 ${place}`,
  },
  {
    what: 'a mode that lets everybody read',
    spoil: (place) => {
      chmodSync(place, 0o604);
    },
    code: 'store-denied',
    message: (place) => `${place} is refused: more users may use it than should (mode 604).`,
    hint: (place) => `If others may have read it, rotate the secret afterwards. Run: chmod 600 ${place}`,
  },
  {
    what: 'a folder that others may write to',
    spoil: (place) => {
      chmodSync(dirname(place), 0o730);
    },
    code: 'store-denied',
    message: (place) => `${dirname(place)} is refused: others may write to it (mode 730).`,
    hint: (place) => `Make sure that nobody changed or read it, then run: chmod go-w ${dirname(place)}`,
  },
  {
    what: 'an owner who is somebody else',
    asRoot: true,
    spoil: (place) => {
      chownSync(place, nobody, nobody);
    },
    code: 'store-denied',
    message: (place) =>
      `${place} is refused: it belongs to user ${String(nobody)}, who is neither this process's user (${us}) nor root.`,
    hint: (place) =>
      `Run keyturn as user ${String(nobody)}, or, if you trust what is in there, run: chown ${us} ${place}`,
  },
  {
    what: 'a folder of somebody else',
    asRoot: true,
    spoil: (place) => {
      chownSync(dirname(place), nobody, nobody);
    },
    code: 'store-denied',
    message: (place) =>
      `${dirname(place)} is refused: it belongs to user ${String(nobody)}, who is neither this process's user (${us}) nor root.`,
    hint: (place) =>
      `Run keyturn as user ${String(nobody)}, or, if you trust what is in there, run: chown ${us} ${dirname(place)}`,
  },
];

/** What stands there now; null where it is no file. */
function contentOf(place: string): Buffer | null {
  return existsSync(place) && lstatSync(place).isFile() ? readFileSync(place) : null;
}

const inPlainText = {
  title: 'in plain text',
  stored: (text: string | Uint8Array) => Promise.resolve(Buffer.from(text)),
};
const withAge = {
  title: 'encrypted',
  age: { identity: () => Promise.resolve(identity) },
  stored: (text: string | Uint8Array) => encryptedFor(identity, text),
};

describe.for([inPlainText, withAge])('a keyring that cannot be used, $title', ({ stored, ...options }) => {
  const open = (path: string): SecretStore => createFileStore({ path, age: null, ...options });

  it.for([...contents, ...places])('for $what', async (refusal, context) => {
    context.skip(refusal.asRoot === true && !isRoot, 'only root can give a file away');
    const path = fresh();
    const place = putDocument(path, name, await stored(refusal.text ?? whole));
    refusal.spoil?.(place);
    const before = contentOf(place);
    const store = open(path);
    const error = await expectFailed(store, name, refusal.code);
    expect(error.message).toBe(refusal.message(place));
    expect(error.hint).toBe(refusal.hint(place));
    const refused = await expectCode(store.commit(name, firstKeyring(name.secret, marker), null), refusal.code);
    expect(refused.message).toBe(error.message);
    expect(contentOf(place)).toEqual(before);
    expectNoLeak(marker, error, refused, store);
    expectNoLeak(identity, error, refused, store);
  });

  it('hides no other keyring', async () => {
    const path = fresh();
    const other = { secret: 'globex/other', key: 'globex/other' };
    await open(path).commit(other, firstKeyring(other.secret), null);
    putDocument(path, name, await stored('half'));
    const reads = await open(path).read([name, other]);
    expect(reads.get(name.secret)?.state).toBe('failed');
    expect(reads.get(other.secret)?.state).toBe('present');
  });
});
