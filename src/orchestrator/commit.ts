import { keyringIn } from '../decide/observation.ts';
import { highestReported } from '../decide/problems.ts';
import { formatTime } from '../model/duration.ts';
import { KeyturnError } from '../model/errors.ts';
import { valueFrom } from '../model/generate.ts';
import { idBytes, idFrom } from '../model/id.ts';
import {
  acceptedVersions,
  nextKeyring,
  retireSet,
  type Claim,
  type Keyring,
  type KeyringMove,
} from '../model/keyring.ts';
import { mirrorText } from '../model/mirror.ts';
import type { Run } from '../model/run.ts';
import type { StoreToken } from '../ports/secret-store.ts';
import type { Parts } from './parts.ts';
import { done, failure, type Performed, type Work } from './work.ts';

/** Effects on the store. What came of them is seen by the next observation, so a lost race is no failure here. */
export async function commitEffect(work: Work): Promise<Performed> {
  const { parts, run, effect } = work;
  try {
    if (effect === 'purge') {
      const store = await parts.store(run.policy.store);
      await store.purge({ secret: run.secret, key: run.policy.key });
      return { result: done(parts), revision: run.revision };
    }
    if (effect === 'mirror') {
      await writeMirrors(work);
      return { result: done(parts), revision: run.revision };
    }
    const revision = await commit(work, (keyring) => movesOf(work, keyring));
    return { result: done(parts), revision };
  } catch (error) {
    return { result: failure(parts, error, true), revision: run.revision };
  }
}

/** How often copies are made anew because the keyring changed meanwhile. */
const maxMirrorings = 3;

/**
 * Each copy is made of what was observed. Nothing but time lies between the lease that was read and a write; so what a
 * process that was stopped there wrote of an older keyring, it writes again when it has seen the newer one.
 */
async function writeMirrors(work: Work): Promise<void> {
  const { parts, run } = work;
  const { secret, policy } = run;
  let { keyring } = observed(work);
  const store = await parts.store(policy.store);
  await checkLease(work);
  for (let times = 0; times < maxMirrorings; times++) {
    const written = keyring;
    for (const mirror of policy.mirrors) {
      await store.plain.write(mirror.key, (present) => mirrorText(present, mirror, written, policy));
    }
    const read = (await store.read([{ secret, key: policy.key }])).get(secret);
    if (read?.state === 'failed') throw read.error;
    if (read?.state !== 'present' || read.keyring.revision <= written.revision) return;
    keyring = read.keyring;
  }
}

function movesOf({ parts, run, effect }: Work, keyring: Keyring): readonly KeyringMove[] {
  const at = formatTime(parts.clock.now());
  const claim = claimOf(parts, run, null);
  switch (effect) {
    case 'reclaim':
      return [claimMove(run, keyring, claim)];
    case 'generate': {
      const value = valueFrom(run.policy.generate, parts.random.bytes(run.policy.generate.bytes));
      const compromised = run.compromised ? acceptedVersions(keyring).map(({ id }) => id) : [];
      return [
        claimMove(run, keyring, claim),
        ...compromised.map((version) => ({ kind: 'compromise', version }) as const),
        { kind: 'add', version: run.to, value, createdAt: at },
      ];
    }
    case 'promote': {
      const isAlone = acceptedVersions(keyring).length === 1;
      return [
        { kind: 'claim', claim },
        { kind: 'promote', version: run.to },
        ...(isAlone ? [{ kind: 'release' } as const] : []),
      ];
    }
    case 'reinstate':
      return [
        { kind: 'claim', claim },
        { kind: 'promote', version: existing(run.from) },
      ];
    case 'revoke': {
      const revokes = retireSet(keyring).map((version) => ({ kind: 'revoke', version, at }) as const);
      return [{ kind: 'claim', claim }, ...revokes, { kind: 'release' }];
    }
    case 'withdraw':
      return [{ kind: 'claim', claim }, { kind: 'revoke', version: run.to, at }, { kind: 'release' }];
    case 'canary':
    case 'activate':
    case 'restore':
    case 'reassert':
    case 'mirror':
    case 'purge':
      throw new RangeError(`${effect} moves no version`);
  }
}

/** The claim of a run whose place this one takes is replaced; any other that is not ours is refused by the keyring. */
function claimMove({ tookOver }: Run, keyring: Keyring, claim: Claim): KeyringMove {
  const present = keyring.claim;
  const isTaken = present !== null && present.run === tookOver?.run && present.journal === tookOver.journal;
  return { kind: isTaken ? 'take-over' : 'claim', claim };
}

function existing(version: string | null): string {
  if (version !== null) return version;
  throw new RangeError('a run without a version to go back to went back');
}

export function claimOf(parts: Parts, run: Run, deadline: number | null): Claim {
  return {
    run: run.id,
    journal: parts.journal.id,
    kind: run.kind,
    from: run.from,
    to: run.to,
    deadline: deadline === null ? null : formatTime(deadline),
  };
}

/** One commit on top of exactly what was observed. Returns the new revision. Throws `store-conflict` and the store's errors. */
export async function commit(work: Work, moves: (keyring: Keyring) => readonly KeyringMove[]): Promise<number> {
  const { parts, run, seen } = work;
  const { keyring, token } = observed(work);
  const next = nextKeyring(keyring, moves(keyring), {
    id: idFrom('commit', parts.random.bytes(idBytes)),
    highestRevision: Math.max(run.revision, highestReported(seen)),
  });
  const store = await parts.store(run.policy.store);
  await checkLease(work);
  await store.commit({ secret: run.secret, key: run.policy.key }, next, token);
  return next.revision;
}

/**
 * Throws `lease-lost` unless the lease is still ours and the intent's deadline ahead: a process that was stopped since it
 * decided must not act on what it saw then. What a stop right after this could still do, the new holder's `reclaim` undoes.
 */
export async function checkLease({ parts, run, tenure, intent }: Work): Promise<void> {
  const lease = await parts.leases.read(tenure.lease.name);
  const isOurs = lease?.held === true && lease.token === tenure.lease.token;
  if (isOurs && lease.expiresAt >= intent.deadline && parts.clock.now() < intent.deadline) return;
  throw new KeyturnError('lease-lost', `The lease of ${run.secret} was lost before the effect; nothing was sent.`);
}

function observed({ run, seen }: Work): { keyring: Keyring; token: StoreToken } {
  if (seen.keyring.state === 'failed') throw seen.keyring.error;
  return { keyring: keyringIn(seen.keyring, run.secret), token: seen.keyring.token };
}
