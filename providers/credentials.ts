import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { KeyturnError } from '../src/model/errors.ts';
import type { CredentialReference } from '../src/model/policy.ts';
import { shellWord } from '../src/model/shell.ts';
import { modeText, systemCode } from './files.ts';

/**
 * Reads a credential of a store, or of the journal, by its place there, as `age.identity`; anew each time. Throws
 * `credential-missing`.
 */
export type PartCredential = (
  name: string,
  reference: CredentialReference,
  options?: { readonly isKeyFile?: boolean },
) => Promise<string>;

/** Where to look, and what to call it in messages. */
export interface CredentialContext {
  /** The folder that a relative `file` starts from: the policy's. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Its name in the policy, and what it is for as a message calls it: a secret's address, `the store local`. */
  readonly name: string;
  readonly of: string;
  /** True where it may be several keys, one a line, between empty lines and lines after `#`, as age writes its key files. */
  readonly isKeyFile?: boolean;
}

export interface Credential {
  readonly value: string;
  /** One sentence about a credential that works and is kept carelessly; null where there is none. */
  readonly warning: string | null;
}

/** No credential is longer, and a wrong path should not be read to its end. */
const maxBytes = 64 * 1024;

/**
 * Reads a credential anew, because credentials are rotated too. A file may end with one line end, which is no part of it.
 * Throws `credential-missing`, also for a value that cannot be meant: it names the fault and never shows the value.
 */
export async function readCredential(reference: CredentialReference, context: CredentialContext): Promise<Credential> {
  const whose = `The credential ${context.name} of ${context.of}`;
  const judge = context.isKeyFile === true ? usableKeys : usable;
  if ('env' in reference) {
    const value = context.env[reference.env];
    const place = `the environment variable ${reference.env}`;
    if (value === undefined) {
      throw missing(`${whose} is missing: ${place} is not set.`, `Set ${reference.env} where keyturn is started.`);
    }
    return { value: judge(value, whose, place), warning: null };
  }
  const path = resolve(context.folder, reference.file);
  const { text, warning } = await readCredentialFile(path, whose);
  return { value: judge(text.replace(/\r?\n$/, ''), whose, `the file ${path}`), warning };
}

const shortestAuditKey = 32;

/** The audit key, which has to be long enough that nobody finds it by trying. Throws `credential-missing`. */
export async function readAuditKey(
  reference: CredentialReference,
  folder: string,
  name = 'auditKey',
): Promise<Credential> {
  const read = await readCredential(reference, { folder, env: process.env, name, of: 'the journal' });
  if (read.value.length >= shortestAuditKey) return read;
  throw new KeyturnError('credential-missing', `The credential ${name} of the journal is shorter than 32 characters.`, {
    hint: 'Make one that nobody can guess: openssl rand -hex 32',
  });
}

async function readCredentialFile(path: string, whose: string): Promise<{ text: string; warning: string | null }> {
  const refused = (why: string, hint: string, cause?: unknown): KeyturnError =>
    missing(`${whose} cannot be read: the file ${path} ${why}.`, hint, cause);
  const found = await stat(path).catch((error: unknown) => {
    throw unreadable(error, refused);
  });
  // Anything else may never end, or wait for a writer that never comes.
  if (!found.isFile()) throw refused('is no regular file', 'Name the file that holds it.');
  if (found.size > maxBytes) throw refused('is larger than 64 KiB', 'Name the file that holds the credential alone.');
  const bytes = await readFile(path).catch((error: unknown) => {
    throw unreadable(error, refused);
  });
  const open = process.platform !== 'win32' && (found.mode & 0o007) !== 0;
  const warning = open
    ? `${whose} is open to every user of this machine: the file ${path} has mode ${modeText(found.mode)}; run chmod o= ${shellWord(path)}.`
    : null;
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes), warning };
  } catch {
    throw refused('is not UTF-8 text', 'Write the credential alone into it, as text.');
  }
}

function unreadable(
  error: unknown,
  refused: (why: string, hint: string, cause?: unknown) => KeyturnError,
): KeyturnError {
  const code = systemCode(error) ?? 'unknown';
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return refused('does not exist', 'Create it with mode 600, or correct the path in the policy.', error);
  }
  return refused(`is refused by the system (${code})`, 'Make it readable for the user that keyturn runs as.', error);
}

/** Faults that a platform or a hand adds; the first that fits is named. */
const faults: readonly { readonly found: (value: string) => boolean; readonly what: string; readonly hint: string }[] =
  [
    { found: (value) => value === '', what: 'is empty', hint: 'Put the credential there.' },
    {
      found: (value) => /[\uFEFF\u200B-\u200D\u2060\u00AD]/.test(value),
      what: 'holds an invisible character (such as a byte order mark)',
      hint: 'Type or paste it again, as plain text.',
    },
    {
      found: (value) => value.trim() !== value,
      what: 'begins or ends with whitespace or a line break',
      hint: 'Remove it; `printf %s` writes no line end.',
    },
    {
      found: (value) => /\p{Cc}/u.test(value),
      what: 'holds a line break or another control character',
      hint: 'Write the credential alone, on one line.',
    },
    {
      found: (value) => /^(["'`]).*\1$/.test(value) || /^[\u2018\u201C].*[\u2019\u201D]$/.test(value),
      what: 'stands in quotes, which became part of it',
      hint: 'Remove the quotes: env files and dashboards often keep them.',
    },
    {
      found: (value) => /\\[nrt]$/.test(value),
      what: 'ends with an escaped line break (a backslash and a letter)',
      hint: 'Remove it: a platform escaped a line end.',
    },
    {
      found: (value) =>
        /^(?:<.*>|\$\{.*\}|\$\(.*\)|\{\{.*\}\}|change-?me|x{3,}|todo|your[-_ ].*|(?:replace|insert)[-_ ].*)$/i.test(
          value,
        ),
      what: 'is a placeholder and no credential',
      hint: 'Put the real one there.',
    },
  ];

/** The keys in the text of a key file: its lines without empty ones and comments after `#`. */
export function keysIn(text: string): readonly string[] {
  return text.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#'));
}

function usableKeys(text: string, whose: string, place: string): string {
  const keys = keysIn(text);
  return (keys.length === 0 ? [''] : keys).map((key) => usable(key, whose, place)).join('\n');
}

function usable(value: string, whose: string, place: string): string {
  const fault = faults.find(({ found }) => found(value));
  if (fault === undefined) return value;
  throw missing(`${whose} cannot be used: what ${place} holds ${fault.what}.`, fault.hint);
}

function missing(message: string, hint: string, cause?: unknown): KeyturnError {
  return new KeyturnError('credential-missing', message, { hint, ...(cause === undefined ? {} : { cause }) });
}
