import { KeyturnError } from '../model/errors.ts';
import type { ChainedEvent, ChainHead, Digest, PrunedRange } from '../ports/audit.ts';
import type { NewEvent } from '../ports/journal.ts';

/**
 * The rule of the audit trail. Each event carries the hash of the one before it and of itself, so that none can be
 * changed, removed, added or moved without breaking the chain. Without a key whoever can write the journal can make the
 * chain anew, which only a head that is kept elsewhere shows. With one, every event, every pruned range and the head are
 * sealed, and that cannot be made anew.
 *
 * Links are never keyed: so a chain goes on when its key is replaced, and a pruned range needs no more than the hashes
 * at its ends.
 */

/** What the first event is linked to: no chain can be taken for that of another journal. */
export function genesis(journal: string, start: number, digest: Digest): string {
  return digest.hash(JSON.stringify(['keyturn audit chain 1', journal, start]));
}

/** The hash of an event that follows the one with the hash `before`. */
export function linkOf(before: string, event: Omit<ChainedEvent, 'hash' | 'seal'>, digest: Digest): string {
  const { id, at, secret, run, step, event: name, message, data } = event;
  return digest.hash(JSON.stringify(['event', before, id, at, secret, run, step, name, message, data]));
}

export function eventSeal(hash: string, digest: Digest): string {
  return digest.seal(JSON.stringify(['event', hash]));
}

export function rangeSeal({ firstId, lastId, before, after, at }: Omit<PrunedRange, 'seal'>, digest: Digest): string {
  return digest.seal(JSON.stringify(['pruned', firstId, lastId, before, after, at]));
}

export function headSeal({ start, id, hash, sealedFrom, keyId }: Omit<ChainHead, 'seal'>, digest: Digest): string {
  return digest.seal(JSON.stringify(['head', start, id, hash, sealedFrom, keyId]));
}

function sealedHead(head: Omit<ChainHead, 'seal'>, digest: Digest): ChainHead {
  return { ...head, seal: headSeal(head, digest) };
}

/** Of a chain without events. A journal that was used before it had one is sealed when a person says so. */
export function firstHead(journal: string, start: number, digest: Digest): ChainHead {
  const head = { start, id: start, hash: genesis(journal, start, digest) };
  if (digest.keyId !== null && start === 0) return sealedHead({ ...head, sealedFrom: 1, keyId: digest.keyId }, digest);
  // Nobody's seal: it says no more than what the journal is made with.
  const unsealed = { ...head, sealedFrom: null, keyId: null };
  return { ...unsealed, seal: plainSeal(unsealed, digest) };
}

function plainSeal(head: Omit<ChainHead, 'seal'>, digest: Digest): string {
  return headSeal(head, { ...digest, seal: digest.hash.bind(digest) });
}

/** Throws `audit-key` unless the trail is sealed with just the key that this digest has, or neither has one. */
export function checkSealing({ keyId }: ChainHead, digest: Digest, journal: string): void {
  if (keyId === digest.keyId) return;
  const change = 'where the key was replaced on purpose, say so: keyturn audit seal --reason "…"';
  if (digest.keyId === null) {
    throw new KeyturnError(
      'audit-key',
      `The audit trail of ${journal} is sealed with a key, and the policy names none.`,
      {
        hint: 'Name it in the policy, as journal.auditKey. Where it is lost, name a new one there, then: keyturn audit seal --reason "…"',
        details: { sealedWith: keyId },
      },
    );
  }
  if (keyId === null) {
    throw new KeyturnError(
      'audit-key',
      `The audit trail of ${journal} is not sealed with the key that the policy names: it began without one, or somebody took its seals away.`,
      { hint: 'Where it began without one, seal it: keyturn audit seal --reason "…"', details: { key: digest.keyId } },
    );
  }
  throw new KeyturnError(
    'audit-key',
    `The audit trail of ${journal} is sealed with the key ${keyId}, and the policy names the key ${digest.keyId}.`,
    { hint: `Name the right one; ${change}`, details: { sealedWith: keyId, key: digest.keyId } },
  );
}

/** The events as they are stored behind the head, the first of them with the id `nextId`, and the head that follows. */
export function appended(
  head: ChainHead,
  events: readonly NewEvent[],
  nextId: number,
  digest: Digest,
): { readonly events: readonly ChainedEvent[]; readonly head: ChainHead } {
  let { id, hash } = head;
  const chained = events.map((event, index): ChainedEvent => {
    id = nextId + index;
    const stored = { ...storedText(event), id };
    hash = linkOf(hash, stored, digest);
    return { ...stored, hash, seal: digest.keyId === null ? null : eventSeal(hash, digest) };
  });
  return { events: chained, head: sealedHead({ ...head, id, hash }, digest) };
}

/** A database replaces half characters; what is hashed is what can be read back. */
function storedText({
  at,
  secret,
  run,
  step,
  event,
  message,
  data,
}: NewEvent): Omit<ChainedEvent, 'id' | 'hash' | 'seal'> {
  return {
    at,
    secret: secret.toWellFormed(),
    run: run?.toWellFormed() ?? null,
    step,
    event: event.toWellFormed(),
    message: message.toWellFormed(),
    data: JSON.stringify(data),
  };
}

/** The head and the ranges from the moment on that a person has the trail sealed with the digest's key. */
export function sealed(
  head: ChainHead,
  ranges: readonly PrunedRange[],
  digest: Digest,
): { readonly head: ChainHead; readonly ranges: readonly PrunedRange[] } {
  return {
    head: sealedHead({ ...head, sealedFrom: head.id + 1, keyId: digest.keyId }, digest),
    ranges: ranges.map((range) => ({ ...range, seal: rangeSeal(range, digest) })),
  };
}

/** What stands before and behind events that are pruned. */
export interface Neighbours {
  /** The hash of the event, or of the beginning, right before the first; null where there is neither. */
  readonly hash: string | null;
  /** The ranges that end right before the first, and begin right behind the last. */
  readonly left: PrunedRange | null;
  readonly right: PrunedRange | null;
}

/**
 * The ranges that stand for events which are pruned now, merged with those beside them: there are never more ranges than
 * events that stay, and one. `events` have ids without a gap. One that is not as it was written is in no range: a pruning
 * must not cover up what was done before it, so that the hole stays to be seen.
 */
export function prunedRanges(
  events: readonly ChainedEvent[],
  { hash, left, right }: Neighbours,
  { sealedFrom }: Pick<ChainHead, 'sealedFrom'>,
  at: number,
  digest: Digest,
): readonly PrunedRange[] {
  const isWhole = (range: PrunedRange | null): range is PrunedRange =>
    range !== null && range.seal === rangeSeal(range, digest);
  const ranges: Omit<PrunedRange, 'seal'>[] = [];
  let open: Omit<PrunedRange, 'seal'> | null = isWhole(left) ? left : null;
  let before = open?.after ?? hash;
  for (const event of events) {
    if (before !== null && isGenuine(event, before, sealedFrom, digest)) {
      open = {
        firstId: open?.firstId ?? event.id,
        lastId: event.id,
        before: open?.before ?? before,
        after: event.hash,
        at,
      };
    } else {
      if (open !== null) ranges.push(open);
      open = null;
    }
    before = event.hash;
  }
  if (open !== null && isWhole(right) && right.before === open.after) {
    open = { ...open, lastId: right.lastId, after: right.after };
  }
  return [...ranges, ...(open === null ? [] : [open])].map((range) => ({ ...range, seal: rangeSeal(range, digest) }));
}

/** True where the event follows what was before it, and is sealed where it has to be. */
export function isGenuine(
  event: ChainedEvent,
  before: string,
  sealedFrom: number | null,
  digest: Digest,
): event is ChainedEvent & { readonly hash: string } {
  return event.hash !== null && event.hash === linkOf(before, event, digest) && isSealed(event, sealedFrom, digest);
}

export function isSealed({ id, hash, seal }: ChainedEvent, sealedFrom: number | null, digest: Digest): boolean {
  if (sealedFrom === null || id < sealedFrom || digest.keyId === null) return true;
  return hash !== null && seal === eventSeal(hash, digest);
}

/** The events, oldest first, in groups whose ids have no gap. */
export function neighbouring(events: readonly ChainedEvent[]): readonly (readonly ChainedEvent[])[] {
  const groups: ChainedEvent[][] = [];
  for (const event of events) {
    const last = groups.at(-1);
    if (last?.at(-1)?.id === event.id - 1) last.push(event);
    else groups.push([event]);
  }
  return groups;
}
