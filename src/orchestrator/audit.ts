import { checkSealing, genesis } from '../decide/audit.ts';
import {
  beginWalk,
  Diagnosis,
  endWalk,
  follows,
  step,
  type Fault,
  type KnownHead,
  type Trail,
  type Walk,
} from '../decide/audit-walk.ts';
import { formatTime } from '../model/duration.ts';
import type { AuditReading, ChainEntry, ChainHead } from '../ports/audit.ts';
import type { Parts } from './parts.ts';

/** The newest event of a journal, so that it can be asked later whether it is still there. */
export interface AuditHead {
  /** The id of the journal. */
  readonly journal: string;
  readonly head: ChainHead;
}

/** What came of reading an audit trail from its beginning to its end. */
export interface Audit extends AuditHead {
  readonly walk: Walk;
  /** The first thing that is not as it was written; null: nothing. */
  readonly fault: Fault | null;
  /** When what is behind the fault was written, where anything is. */
  readonly writtenBefore: number | null;
  readonly writtenAfter: number | null;
}

export interface VerifyOptions {
  /** A head that was printed earlier. */
  readonly known?: KnownHead | null;
  readonly signal?: AbortSignal;
  /** Is told how many of the events there are have been read. */
  readonly onProgress?: (events: number) => void;
}

/** How many entries are read at once: memory does not grow with the journal. */
const pageSize = 1_000;

/** Throws `audit-key` where the trail cannot be judged with the key at hand. */
export async function verifyAudit(parts: Pick<Parts, 'journal'>, options: VerifyOptions = {}): Promise<Audit> {
  return reading(parts, async (from) => {
    const { journal, head, digest } = from;
    checkSealing(head, digest, `the ${parts.journal.label}`);
    const trail: Trail = { head, digest, genesis: genesis(journal, head.start, digest), known: options.known ?? null };
    const begun = beginWalk(trail);
    if ('fault' in begun) return { journal, head, walk: nowhere(head), fault: begun.fault, ...unknownTimes };
    const { walk, fault, at } = await walkAlong(from, begun.walk, trail, options);
    return { journal, head, walk, fault, writtenAfter: at, writtenBefore: fault?.event?.at ?? null };
  });
}

const unknownTimes = { writtenBefore: null, writtenAfter: null };

function nowhere({ start, hash }: ChainHead): Walk {
  return { id: start, hash, events: 0, pruned: 0, known: 'ahead' };
}

/** `at`: when the last event was written that is as it should be. */
async function walkAlong(
  from: AuditReading,
  begin: Walk,
  trail: Trail,
  { signal, onProgress }: VerifyOptions,
): Promise<{ readonly walk: Walk; readonly fault: Fault | null; readonly at: number | null }> {
  let walk = begin;
  let at: number | null = null;
  for await (const { entry, place } of entriesOf(from, firstPlace(trail.head))) {
    signal?.throwIfAborted();
    const next = step(walk, entry, trail);
    if ('fault' in next) {
      const fault = next.fault.kind === 'changed' ? await diagnosed(from, walk, next.fault, place, trail) : next.fault;
      return { walk, fault, at };
    }
    walk = next.walk;
    if (entry.kind === 'event') at = entry.event.at;
    if (walk.events % pageSize === 0) onProgress?.(walk.events);
  }
  return { walk, fault: endWalk(walk, trail), at };
}

/** What is below the first id of all was not written by keyturn; what was there before the chain is not looked at. */
function firstPlace({ start }: ChainHead): number {
  return start === 0 ? Number.MIN_SAFE_INTEGER : start;
}

async function* entriesOf(
  from: AuditReading,
  after: number,
): AsyncGenerator<{ readonly entry: ChainEntry; readonly place: number }> {
  let place = after;
  for (;;) {
    const page = await from.entries(place, pageSize);
    if (page.length === 0) return;
    for (const entry of page) {
      place = entry.kind === 'event' ? entry.event.id : entry.range.firstId;
      yield { entry, place };
    }
  }
}

/** Reads on behind an event that breaks the chain, to tell what was done to it. */
async function diagnosed(from: AuditReading, walk: Walk, fault: Fault, place: number, trail: Trail): Promise<Fault> {
  const { event } = fault;
  // One that follows and lacks its seal was put there with the rest of the chain.
  if (event === null || follows(walk, event, trail)) return fault;
  const diagnosis = new Diagnosis(walk, { ...fault, event }, trail);
  for await (const { entry } of entriesOf(from, place)) diagnosis.read(entry);
  return diagnosis.fault();
}

export async function auditHead(parts: Pick<Parts, 'journal'>): Promise<AuditHead> {
  return reading(parts, ({ journal, head }) => Promise.resolve({ journal, head }));
}

/** From now on the trail is sealed with the key that the policy names. Returns its name. */
export async function sealAudit({ journal, clock, who }: Parts, secret: string, why: string): Promise<string | null> {
  const keyId = await reading({ journal }, ({ digest }) => Promise.resolve(digest.keyId));
  if (keyId === null) return null;
  const at = clock.now();
  const message = `The audit trail is sealed with the key ${keyId} from ${formatTime(at)} on: ${why}`;
  await journal.seal({ at, secret, run: null, step: null, event: 'audit-sealed', message, data: { keyId, why, who } });
  return keyId;
}

async function reading<T>({ journal }: Pick<Parts, 'journal'>, work: (from: AuditReading) => Promise<T>): Promise<T> {
  const from = await journal.openAudit();
  try {
    return await work(from);
  } finally {
    await from.close();
  }
}
