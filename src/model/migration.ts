import { KeyturnError } from './errors.ts';
import { nextKeyring, type Claim, type Keyring, type Version } from './keyring.ts';

/**
 * How a keyring goes from one store to another. At every moment one store at most has it free, so that nowhere two of it
 * are moved: the copy is written with a claim in it, then the same document takes the place of the source's, and only
 * then the copy is freed. The source keeps its claim for good.
 */

export interface Stores {
  readonly from: string;
  readonly to: string;
}

/** Whether a claim is that of a migration, and not of a run. */
export function isMigration({ run }: Pick<Claim, 'run'>): boolean {
  return run.startsWith('g');
}

/** What is to be done next, given what both stores hold. */
export type MigrationState =
  /** Nothing is in the source. */
  | 'absent'
  /** The target is to get what the source has. */
  | 'copy'
  /** All is done, and the target may have moved on since. */
  | 'done';

/** Throws `foreign-claim` for a keyring that somebody else moves, and `wrong-state` for one that would be lost. */
export function migrationState(source: Keyring, target: Keyring, stores: Stores): MigrationState {
  const { secret, claim } = source;
  if (source.versions.length === 0) return 'absent';
  const isLeft = claim !== null && isOf(claim, stores);
  if (claim !== null && !isLeft) throw elsewhere(secret, claim, stores);
  if (target.versions.length === 0) return 'copy';
  if (isLeft && !isUnfinished(target, stores) && isOlder(source, target)) return 'done';
  const isOverwritable = target.claim === null || isOf(target.claim, stores) || isBack(target.claim, stores);
  if (isOverwritable && isOlder(copied(target, stores), source)) return 'copy';
  throw new KeyturnError(
    'wrong-state',
    `The store ${stores.to} has a keyring of ${secret} already, and it is no earlier state of the one in ${stores.from}.`,
    {
      hint: 'It may be the newer one, or another secret’s of the same name. Look at both, and take the one away that nobody needs.',
      details: { secret, ...stores },
    },
  );
}

/** The source as it is when it is left: with the claim, which it may have already. */
export function leftKeyring(
  source: Keyring,
  {
    claim,
    commit,
    highestRevision,
  }: { readonly claim: Claim; readonly commit: string; readonly highestRevision: number },
): Keyring {
  if (source.claim !== null) return source;
  return nextKeyring(source, [{ kind: 'claim', claim }], { id: commit, highestRevision });
}

export function migrationClaim(run: string, journal: string, { from, to }: Stores): Claim {
  return { run, journal, kind: 'rotation', from, to, deadline: null };
}

function isOf(claim: Claim, { from, to }: Stores): boolean {
  return isMigration(claim) && claim.from === from && claim.to === to;
}

/** The claim of a store that was left for the one that is left now. */
function isBack(claim: Claim, { from, to }: Stores): boolean {
  return isOf(claim, { from: to, to: from });
}

function isUnfinished({ claim }: Keyring, stores: Stores): boolean {
  return claim !== null && isOf(claim, stores);
}

/** What an unfinished copy is a copy of: its last commit is the claim, which the source may not have got. */
function copied(target: Keyring, stores: Stores): Keyring {
  return isUnfinished(target, stores) ? { ...target, commits: target.commits.slice(0, -1) } : target;
}

/**
 * Whether one is an earlier state of the other, or the same. A keyring lists its last commits; where it was changed more
 * often since, its versions tell, whose ids are never reused: each is still there, or was revoked.
 */
function isOlder(earlier: Keyring, later: Keyring): boolean {
  const last = earlier.commits.at(-1);
  if (last !== undefined && later.commits.includes(last)) return true;
  return earlier.versions.length > 0 && earlier.versions.every((version) => hasBecome(version, later));
}

function hasBecome(version: Version, later: Keyring): boolean {
  const now = later.versions.find(({ id }) => id === version.id);
  // Of tombstones the oldest go.
  if (now === undefined) return version.stage === 'revoked';
  if (now.createdAt !== version.createdAt) return false;
  return now.stage === 'revoked' || (now.value === version.value && (now.compromised || !version.compromised));
}

function elsewhere(secret: string, claim: Claim, { from, to }: Stores): KeyturnError {
  const { run, journal } = claim;
  const details = { secret, ...claim };
  if (!isMigration(claim)) {
    return new KeyturnError('foreign-claim', `${secret} is being rotated by run ${run} of journal ${journal}.`, {
      hint: `A run keeps the store that it began with. Wait until it has ended, then: keyturn migrate ${secret} --from ${from} --to ${to}`,
      details,
    });
  }
  const words =
    claim.to === from
      ? `The copy of ${secret} in the store ${from} is not finished.`
      : `The keyring of ${secret} was taken from the store ${String(claim.from)} to the store ${claim.to} already.`;
  const hint =
    claim.to === from
      ? `First: keyturn migrate ${secret} --from ${String(claim.from)} --to ${from}`
      : `Go on from there: keyturn migrate ${secret} --from ${claim.to} --to ${to}`;
  return new KeyturnError('wrong-state', words, { hint, details });
}
