import { KeyturnError } from '../../../src/model/errors.ts';
import type { GoogleStorePolicy } from '../../../src/model/policy.ts';
import { pathOf } from '../key.ts';

/** As many characters as the id of a secret has at most. */
const longestId = 255;

/** What every name of a secret begins with: its project, and its location where it has one. */
export function parentOf({ project, location }: Pick<GoogleStorePolicy, 'project' | 'location'>): string {
  return `projects/${project}${location === null ? '' : `/locations/${location}`}`;
}

/**
 * The id of the secret of that key: a slash is two underscores, a dot and an underscore are one and their code in hex, so
 * that two keys never share an id. Throws `store-denied`; `what` is the beginning of a sentence.
 */
export function idOf(key: string, prefix: string | null, what: string): string {
  const path = pathOf(key, prefix, what, 'another name of the project');
  const id = path.replace(/[^A-Za-z0-9-]/g, (character) =>
    character === '/' ? '__' : `_${character.charCodeAt(0).toString(16)}`,
  );
  if (id.length <= longestId) return id;
  throw new KeyturnError(
    'store-denied',
    `${what} is refused: its name would take ${String(id.length)} characters, and Secret Manager has room for ${String(longestId)}.`,
    { hint: 'Give the secret a shorter "key" in the policy.', details: { key } },
  );
}
