import { createHash } from 'node:crypto';
import { dueFrom, type Due } from '../decide/schedule.ts';
import { isKeyturnError, KeyturnError, messageOf } from '../model/errors.ts';
import { acceptedVersions, isSettled, primaryOf } from '../model/keyring.ts';
import type { Policy, SecretPolicy } from '../model/policy.ts';
import { errorFields } from '../ports/log.ts';
import type { StoreRead } from '../ports/secret-store.ts';
import type { Sighting } from '../ports/sightings.ts';
import type { Parts } from './parts.ts';
import { batchSize, readMany, type ManyRead } from './read-many.ts';
import { lastRun } from './runs.ts';

/** What the due scan found of a secret that has a primary. */
export interface Found {
  readonly due: Due;
  /** How many versions are accepted. */
  readonly accepted: number;
  /** Epoch ms: when the primary was made. */
  readonly primaryCreatedAt: number;
}

/** What a secret without a live run asks for. */
export type Scheduled = Found | 'absent' | KeyturnError;

/** So many are read anew by each visit: a sighting would save nothing worth the write. */
const readAnyway = batchSize;

/**
 * How long a sighting is good, ms: somewhere in between, drawn for each, so that those that were made by one visit are
 * not all made anew by another.
 */
const goodForMs = { shortest: 30 * 60_000, longest: 60 * 60_000 };

/** What each of these secrets asks for; none of them had a live run. In a large fleet most are not read but recalled. */
export async function dueScan(
  parts: Parts,
  policies: readonly SecretPolicy[],
): Promise<ReadonlyMap<string, Scheduled>> {
  const found = new Map<string, Scheduled>();
  if (policies.length <= readAnyway) {
    for await (const batch of readMany(parts, policies)) await scheduleAll(parts, batch, found);
    return found;
  }
  const placeOf = placesIn(parts.policy);
  const { known, mark } = await parts.journal.sightings.recall(parts.clock.now());
  const unknown: SecretPolicy[] = [];
  const now = parts.clock.now();
  for (const policy of policies) {
    const sighting = known.get(policy.secret);
    const seen = sighting?.place === placeOf(policy) ? foundAgain(policy, sighting, now) : null;
    // A sighting may spare a look, and never starts a run.
    if (seen === null || seen.due.overdue) unknown.push(policy);
    else found.set(policy.secret, seen);
  }
  let isKeeping = true;
  let readFrom = parts.clock.now();
  for await (const batch of readMany(parts, unknown)) {
    await scheduleAll(parts, batch, found);
    const sightings = batch.map((each) => sightingOf(parts, each, found, { place: placeOf(each.policy), readFrom }));
    isKeeping &&= await keep(parts, batch, sightings, mark);
    readFrom = parts.clock.now();
  }
  return found;
}

async function scheduleAll(parts: Parts, batch: readonly ManyRead[], found: Map<string, Scheduled>): Promise<void> {
  for (const { policy, read } of batch) {
    found.set(policy.secret, await scheduledOf(parts, policy, read).catch(asFailure));
  }
}

async function scheduledOf(parts: Parts, policy: SecretPolicy, read: StoreRead): Promise<Scheduled> {
  if (read.state === 'failed') return read.error;
  const primary = read.state === 'present' ? primaryOf(read.keyring) : null;
  if (read.state !== 'present' || primary === null) return 'absent';
  const primaryCreatedAt = Date.parse(primary.createdAt);
  const now = parts.clock.now();
  const first = dueFrom(policy, primaryCreatedAt, null, now);
  const due = first.overdue ? dueFrom(policy, primaryCreatedAt, await lastRun(parts, policy.secret), now) : first;
  return { due, accepted: acceptedVersions(read.keyring).length, primaryCreatedAt };
}

/** Only what is settled is ever kept, so that one version is accepted. */
function foundAgain(policy: SecretPolicy, { primaryCreatedAt }: Sighting, now: number): Found {
  return { due: dueFrom(policy, primaryCreatedAt, null, now), accepted: 1, primaryCreatedAt };
}

/** What is worth keeping of a keyring that was read; null where its secret is to be read by the next visit too. */
function sightingOf(
  { clock, random }: Parts,
  { policy, read }: ManyRead,
  found: ReadonlyMap<string, Scheduled>,
  { place, readFrom }: { readonly place: string; readonly readFrom: number },
): Sighting | null {
  const scheduled = found.get(policy.secret) ?? 'absent';
  if (scheduled === 'absent' || scheduled instanceof KeyturnError || scheduled.due.overdue) return null;
  if (read.state !== 'present' || !isSettled(read.keyring)) return null;
  const { primaryCreatedAt } = scheduled;
  const { shortest, longest } = goodForMs;
  const goodForThisMs = shortest + Math.floor((longest - shortest) * random.fraction());
  // A clock that was set back meanwhile makes it end sooner.
  const seenAt = Math.min(readFrom, clock.now());
  return { secret: policy.secret, place, primaryCreatedAt, seenAt, goodUntil: seenAt + goodForThisMs };
}

/** False where it failed: the visit goes on without. */
async function keep(
  { journal, log }: Parts,
  batch: readonly ManyRead[],
  sightings: readonly (Sighting | null)[],
  mark: number,
): Promise<boolean> {
  const seen = sightings.filter((sighting) => sighting !== null);
  const gone = batch.filter((_, index) => sightings[index] === null).map(({ policy }) => policy.secret);
  try {
    await journal.sightings.keep(seen, gone, mark);
    return true;
  } catch (error) {
    log.warn('what was seen is not kept, so that the next visit reads it again', errorFields(error));
    return false;
  }
}

/** Where the keyring of a secret is: in which store, whatever the policy calls it, and under which key. */
function placesIn({ stores }: Policy): (policy: SecretPolicy) => string {
  const names = Object.entries(stores).map(([name, settings]): readonly [string, string] => [
    name,
    createHash('sha256').update(JSON.stringify(settings)).digest('base64url').slice(0, 16),
  ]);
  const placeOfStore = new Map(names);
  return ({ store, key, secret }) => {
    const place = placeOfStore.get(store) ?? store;
    return key === secret ? place : `${place} ${key}`;
  };
}

export function asFailure(error: unknown): KeyturnError {
  return isKeyturnError(error) ? error : new KeyturnError('journal-unreachable', messageOf(error), { cause: error });
}
