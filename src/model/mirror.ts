import { activeSecretsEntry, withoutPrimary } from './active-secrets.ts';
import { KeyturnError } from './errors.ts';
import { isRecord, parseObject, parseObjectToRewrite, type Fields } from './json.ts';
import { primaryOf, type Keyring } from './keyring.ts';
import type { MirrorPolicy, SecretPolicy } from './policy.ts';

/**
 * What a plain copy has to be, given what it is now (null: nothing). Where nothing would change it is the very same text,
 * so that nothing needs to be written. `plain`: the primary's value, exactly, as the whole text or as one property of a
 * JSON object. `active_secrets`: the documents' JSON, where the property, by default the secret's name, is one
 * integration's entry; its endpoint, and what else somebody put there, stays. Other properties stay in both.
 *
 * Throws `secret-absent` while there is no primary: a reader that knows one value must never get a pending one.
 * Throws `mirror-invalid` for a present text that has no place for the copy; no message shows any of it.
 */
export function mirrorText(
  present: string | null,
  mirror: MirrorPolicy,
  keyring: Keyring,
  policy: SecretPolicy,
): string {
  const primary = primaryOf(keyring);
  if (primary === null) throw withoutPrimary(keyring.secret);
  if (mirror.format === 'plain' && mirror.property === null) return wholeOver(present, primary.value, mirror);
  const around = aroundOf(present, mirror);
  const property = mirror.property ?? policy.name;
  const now = Object.hasOwn(around, property) ? around[property] : undefined;
  const next =
    mirror.format === 'plain'
      ? plainOver(now, primary.value, mirror)
      : entryOver(now, { mirror, property, keyring, policy });
  if (present !== null && JSON.stringify(now) === JSON.stringify(next)) return present;
  return written({ ...around, [property]: next }, present);
}

/** A JSON object there holds more than one value, and would be lost. */
function wholeOver(present: string | null, value: string, mirror: MirrorPolicy): string {
  if (present === null || parseObject(present) === null) return value;
  throw mirrorInvalid(
    `The plain copy ${mirror.key} is not written: what is there is a JSON object, and the mirror would replace all of it.`,
    'Name the property of it that is the copy, or another key, in the mirror.',
    mirror,
  );
}

function plainOver(present: unknown, value: string, mirror: MirrorPolicy): string {
  if (typeof present === 'string' || present === undefined || present === null) return value;
  throw mirrorInvalid(
    `The plain copy ${mirror.key} is not written: its property ${String(mirror.property)} is no text, so it is no copy.`,
    'Remove that property, or name another one in the mirror.',
    mirror,
  );
}

/** The JSON object that the copy is one property of. */
function aroundOf(present: string | null, mirror: MirrorPolicy): Fields {
  const around = present === null || present.trim() === '' ? {} : parseObjectToRewrite(present);
  if (around !== null) return around;
  throw mirrorInvalid(
    `The plain copy ${mirror.key} is not written: what is there is no JSON object, so it can have no properties.`,
    'Make it a JSON object, or name another key in the mirror.',
    mirror,
  );
}

interface EntryPlace {
  readonly mirror: MirrorPolicy;
  readonly property: string;
  readonly keyring: Keyring;
  readonly policy: SecretPolicy;
}

/** What says how the others read it stays as they wrote it; the versions are ours. */
function entryOver(present: unknown, { mirror, property, keyring, policy }: EntryPlace): Fields {
  const { active_secrets: versions, ...more } = activeSecretsEntry(policy, keyring);
  if (present === undefined) return { ...more, active_secrets: versions };
  if (isRecord(present)) return { ...present, ...more, ...present, active_secrets: versions };
  throw mirrorInvalid(
    `The plain copy ${mirror.key} is not written: its property ${property} is no JSON object, so it is no integration.`,
    'Remove that property, or name another one in the mirror.',
    mirror,
  );
}

/** As the present text is written: its indent, its line ends, and what stands at its end. */
function written(around: Fields, present: string | null): string {
  if (present === null || present.trim() === '') return `${JSON.stringify(around, null, 2)}\n`;
  const indent = /^\s*\{\r?\n([ \t]+)"/.exec(present)?.[1] ?? '';
  const text = JSON.stringify(around, null, indent);
  const end = /\s*$/.exec(present)?.[0] ?? '';
  return (present.includes('\r\n') ? text.replaceAll('\n', '\r\n') : text) + end;
}

function mirrorInvalid(message: string, hint: string, { key, property }: MirrorPolicy): KeyturnError {
  return new KeyturnError('mirror-invalid', message, { hint, details: { key, property } });
}
