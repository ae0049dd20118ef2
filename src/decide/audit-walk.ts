import type { ChainedEvent, ChainEntry, ChainHead, Digest, PrunedRange } from '../ports/audit.ts';
import { headSeal, isSealed, linkOf, rangeSeal } from './audit.ts';

/** Walks along a chain, entry by entry, and says what the first thing is that is not as it was written. */

/** A head that was printed earlier. */
export interface KnownHead {
  readonly id: number;
  readonly hash: string;
}

/**
 * changed: what it says, or its hash or seal, is not what was written. removed: it is missing, and no pruning accounts for
 * it. added: nobody wrote it there. reordered: it has the place of another. cut-off: the newest events are missing.
 * head: the record of the head was changed. rewritten: the chain is whole, and is not the one of the known head.
 */
export type FaultKind = 'changed' | 'removed' | 'added' | 'reordered' | 'cut-off' | 'head' | 'rewritten';

export interface Fault {
  readonly kind: FaultKind;
  /** The first and the last event that it is about. */
  readonly id: number;
  readonly lastId: number;
  /** The event at that place, where there is one. */
  readonly event: ChainedEvent | null;
  /** One sentence. */
  readonly message: string;
}

/** How far a walk has come. */
export interface Walk {
  readonly id: number;
  readonly hash: string;
  readonly events: number;
  readonly pruned: number;
  /** What is known of the known head by now: not reached yet, found, or pruned since. */
  readonly known: 'ahead' | 'found' | 'pruned';
}

/** What a walk goes by. */
export interface Trail {
  readonly head: ChainHead;
  /** What the chain begins with. */
  readonly genesis: string;
  readonly digest: Digest;
  readonly known: KnownHead | null;
}

export type Step = { readonly walk: Walk } | { readonly fault: Fault };

export function beginWalk(trail: Trail): Step {
  const { head, genesis, digest } = trail;
  if (head.seal !== headSeal(head, digest)) {
    return faultAt('head', head.id, null, 'The record of the newest event was changed: events may have been cut off.');
  }
  const walk: Walk = { id: head.start, hash: genesis, events: 0, pruned: 0, known: 'ahead' };
  return compared(walk, trail, null);
}

/** `changed` stands for whatever a broken link means; `diagnosis` tells more. */
export function step(walk: Walk, entry: ChainEntry, trail: Trail): Step {
  return entry.kind === 'event' ? eventStep(walk, entry.event, trail) : rangeStep(walk, entry.range, trail);
}

function eventStep(walk: Walk, event: ChainedEvent, trail: Trail): Step {
  const { head, digest } = trail;
  if (event.id <= walk.id)
    return faultAt('added', event.id, event, `Event ${String(event.id)} was added where events had been pruned.`);
  if (event.id > head.id)
    return faultAt('added', event.id, event, `Event ${String(event.id)} was added behind the newest one.`);
  if (event.id > walk.id + 1) return missing(walk.id + 1, event.id - 1);
  if (event.hash === null)
    return faultAt('added', event.id, event, `Event ${String(event.id)} was added: it is linked to nothing.`);
  const { hash } = event;
  if (hash !== linkOf(walk.hash, event, digest)) {
    return faultAt('changed', event.id, event, `Event ${String(event.id)} was changed.`);
  }
  if (!isSealed(event, head.sealedFrom, digest)) {
    const words = `Event ${String(event.id)} is not sealed with the key: it, or one right before it, was changed, added or removed by somebody without it.`;
    return faultAt('changed', event.id, event, words);
  }
  return compared({ ...walk, id: event.id, hash, events: walk.events + 1 }, trail, null);
}

function rangeStep(walk: Walk, range: PrunedRange, trail: Trail): Step {
  const { firstId, lastId, before, after, seal } = range;
  if (firstId > walk.id + 1) return missing(walk.id + 1, firstId - 1);
  const isGenuine = firstId === walk.id + 1 && lastId >= firstId && lastId <= trail.head.id && before === walk.hash;
  if (!isGenuine || seal !== rangeSeal(range, trail.digest)) {
    const words = `${eventsWords(firstId, lastId)} missing, and what says that they were pruned is not what keyturn wrote.`;
    return { fault: { kind: 'removed', id: firstId, lastId, event: null, message: words } };
  }
  const pruned = walk.pruned + lastId - firstId + 1;
  return compared({ ...walk, id: lastId, hash: after, pruned }, trail, range);
}

/** Compares with the known head as soon as its event is passed. */
function compared(walk: Walk, { known, digest }: Trail, range: PrunedRange | null): Step {
  if (known === null || walk.known !== 'ahead' || walk.id < known.id) return { walk };
  if (walk.id === known.id && walk.hash === known.hash) return { walk: { ...walk, known: 'found' } };
  const isPruned = range !== null && range.firstId <= known.id && known.id < range.lastId;
  if (isPruned && digest.keyId !== null) return { walk: { ...walk, known: 'pruned' } };
  const id = String(known.id);
  const words = isPruned
    ? `Event ${id}, which the given head is of, is gone, and without a key nothing shows that it was pruned.`
    : `Event ${id} is not the one that the given head is of: events up to there were written anew since.`;
  return { fault: { kind: 'rewritten', id: known.id, lastId: known.id, event: null, message: words } };
}

/** When no entry is left. */
export function endWalk(walk: Walk, { head, known }: Trail): Fault | null {
  if (walk.id < head.id) {
    const words = `${eventsWords(walk.id + 1, head.id)} missing: the newest events were cut off.`;
    return { kind: 'cut-off', id: walk.id + 1, lastId: head.id, event: null, message: words };
  }
  if (walk.hash !== head.hash) {
    const message = 'The record of the newest event is not of that event.';
    return { kind: 'head', id: head.id, lastId: head.id, event: null, message };
  }
  if (known !== null && walk.known === 'ahead') {
    const words = `The given head is of event ${String(known.id)}, and the newest one here is ${String(walk.id)}: the newest events were cut off.`;
    return { kind: 'cut-off', id: walk.id + 1, lastId: known.id, event: null, message: words };
  }
  return null;
}

function faultAt(kind: FaultKind, id: number, event: ChainedEvent | null, message: string): { readonly fault: Fault } {
  return { fault: { kind, id, lastId: id, event, message } };
}

function missing(id: number, lastId: number): { readonly fault: Fault } {
  const message = `${eventsWords(id, lastId)} missing: removed, and not by pruning.`;
  return { fault: { kind: 'removed', id, lastId, event: null, message } };
}

function eventsWords(id: number, lastId: number): string {
  return id === lastId ? `Event ${String(id)} is` : `Events ${String(id)} to ${String(lastId)} are`;
}

/** True where the event is linked to what the walk has passed, whatever its seal is. */
export function follows({ hash }: Walk, event: ChainedEvent, { digest }: Trail): boolean {
  return event.hash === linkOf(hash, event, digest);
}

/** A fault of an event that does not follow what is before it. */
export type BrokenLink = Fault & { readonly event: ChainedEvent };

/**
 * Why an event does not follow what is before it: it reads on behind the event, one entry at a time, and keeps no more
 * than the first of them, the last, and the one that belongs where the event is.
 */
export class Diagnosis {
  readonly #walk: Walk;
  readonly #digest: Digest;
  readonly #headId: number;
  readonly #fault: BrokenLink;
  readonly #found: ChainedEvent;
  #first: ChainedEvent | null = null;
  #last: ChainedEvent;
  #owner: { readonly event: ChainedEvent; readonly isOutOfPlace: boolean } | null = null;

  constructor(walk: Walk, fault: BrokenLink, { digest, head }: Trail) {
    this.#walk = walk;
    this.#digest = digest;
    this.#headId = head.id;
    this.#fault = fault;
    this.#found = fault.event;
    this.#last = fault.event;
  }

  read(entry: ChainEntry): void {
    if (entry.kind !== 'event') return;
    const { event } = entry;
    this.#first ??= event;
    this.#owner ??= this.#asOwner(event, this.#last.hash);
    this.#last = event;
  }

  fault(): Fault {
    const event = this.#found;
    const { id } = event;
    if (this.#owner !== null) {
      const { isOutOfPlace } = this.#owner;
      const other = this.#owner.event.id;
      const what = isOutOfPlace ? 'is out of order' : 'was added';
      const message = `Event ${String(id)} ${what}: the one that belongs there is now event ${String(other)}.`;
      return { kind: isOutOfPlace ? 'reordered' : 'added', id, lastId: isOutOfPlace ? other : id, event, message };
    }
    if (this.#isMovedUp()) {
      const message = `The event before what is now event ${String(id)} was removed, and those behind it were given other numbers.`;
      return { kind: 'removed', id, lastId: id, event, message };
    }
    return this.#fault;
  }

  /** The event, if it belongs where the found one is; `before` is the hash in front of where it is now. */
  #asOwner(event: ChainedEvent, before: string | null): { event: ChainedEvent; isOutOfPlace: boolean } | null {
    const found = this.#found;
    const link = this.#link(this.#walk.hash, event, found.id);
    if (link !== event.hash) {
      // The two may have changed places, all but their hashes.
      const isExchanged = link === found.hash && this.#link(before, found, event.id) === event.hash;
      return isExchanged ? { event, isOutOfPlace: true } : null;
    }
    const beforeSwap = event.id === found.id + 1 ? link : before;
    const isSwapped = this.#link(beforeSwap, found, event.id) === found.hash;
    const isMovedUp = this.#link(link, found, found.id + 1) === found.hash;
    return { event, isOutOfPlace: isSwapped || isMovedUp };
  }

  #link(before: string | null, event: ChainedEvent, id: number): string | null {
    return before === null ? null : linkOf(before, { ...event, id }, this.#digest);
  }

  /** Its number, and those of all behind it, were as much higher as there are numbers missing at the end. */
  #isMovedUp(): boolean {
    const next = this.#first;
    const by = this.#headId - this.#last.id;
    return by > 0 && next !== null && next.hash === this.#link(this.#found.hash, next, next.id + by);
  }
}
