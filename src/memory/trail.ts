import { appended, checkSealing, firstHead, neighbouring, prunedRanges, sealed } from '../decide/audit.ts';
import type { AuditReading, ChainedEvent, ChainEntry, ChainHead, Digest, PrunedRange } from '../ports/audit.ts';
import type { NewEvent } from '../ports/journal.ts';

/** The chain of the events of a journal in memory. */
export class MemoryTrail {
  readonly #journal: string;
  readonly #digest: Digest;
  #events: ChainedEvent[] = [];
  #ranges: readonly PrunedRange[] = [];
  #head: ChainHead;

  constructor(journal: string, digest: Digest) {
    this.#journal = journal;
    this.#digest = digest;
    this.#head = firstHead(journal, 0, digest);
  }

  /** Returns their ids. */
  append(events: readonly NewEvent[]): readonly number[] {
    if (events.length === 0) return [];
    checkSealing(this.#head, this.#digest, `the journal ${this.#journal}`);
    const next = appended(this.#head, events, this.#head.id + 1, this.#digest);
    for (const event of next.events) this.#events.push(event);
    this.#head = next.head;
    return next.events.map(({ id }) => id);
  }

  prune(ids: ReadonlySet<number>, now: number): void {
    for (const group of neighbouring(this.#events.filter(({ id }) => ids.has(id)))) {
      const [firstId, lastId] = [group[0]?.id ?? 0, group.at(-1)?.id ?? 0];
      const left = this.#ranges.find((range) => range.lastId === firstId - 1) ?? null;
      const right = this.#ranges.find((range) => range.firstId === lastId + 1) ?? null;
      const first = firstHead(this.#journal, this.#head.start, this.#digest);
      const hash =
        firstId - 1 === first.id ? first.hash : (this.#events.find(({ id }) => id === firstId - 1)?.hash ?? null);
      const made = prunedRanges(group, { hash, left, right }, this.#head, now, this.#digest);
      const isStill = (old: PrunedRange): boolean =>
        !made.some(({ firstId: from, lastId: to }) => from === old.firstId || to === old.lastId);
      this.#ranges = [...this.#ranges.filter(isStill), ...made];
      this.#events = this.#events.filter(({ id }) => id < firstId || id > lastId);
    }
  }

  seal(): void {
    const { head, ranges } = sealed(this.#head, this.#ranges, this.#digest);
    this.#head = head;
    this.#ranges = ranges;
  }

  reading(): AuditReading {
    const entries: ChainEntry[] = [
      ...this.#events.map((event) => ({ kind: 'event', event }) as const),
      ...this.#ranges.map((range) => ({ kind: 'pruned', range }) as const),
    ];
    entries.sort((one, other) => placeOf(one) - placeOf(other));
    return {
      journal: this.#journal,
      head: this.#head,
      digest: this.#digest,
      entries: (after, limit) => Promise.resolve(entries.filter((entry) => placeOf(entry) > after).slice(0, limit)),
      close: () => Promise.resolve(),
    };
  }
}

function placeOf(entry: ChainEntry): number {
  return entry.kind === 'event' ? entry.event.id : entry.range.firstId;
}
