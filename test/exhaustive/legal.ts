import { findVersion, primaryOf, type Keyring, type Stage } from '../../src/model/keyring.ts';

/** To which stages a version of each may go, by itself staying where it is. */
const legal: Readonly<Record<Stage, readonly Stage[]>> = {
  pending: ['pending', 'primary', 'revoked'],
  primary: ['primary', 'deprecated'],
  deprecated: ['deprecated', 'primary', 'revoked'],
  revoked: ['revoked'],
};

/** What is wrong with going from one keyring to the next; null where nothing is. */
export function illegalMove(before: Keyring, after: Keyring): string | null {
  if (after.revision <= before.revision) return 'a revision did not grow';
  for (const { id, stage, compromised } of before.versions) {
    const next = findVersion(after, id);
    if (next === null) return `version ${id} is gone without a tombstone`;
    if (!legal[stage].includes(next.stage)) return `version ${id} went from ${stage} to ${next.stage}`;
    if (compromised && !next.compromised) return `version ${id} is not marked compromised any more`;
    if (compromised && stage !== 'primary' && next.stage === 'primary')
      return `compromised version ${id} became primary`;
  }
  if (primaryOf(before) !== null && primaryOf(after) === null) return 'no version is primary any more';
  if (after.commits.at(-1) === before.commits.at(-1)) return 'a commit has no id of its own';
  return null;
}
