import type { JournalEvent } from '../ports/journal.ts';
import type { Sighting, Sightings } from '../ports/sightings.ts';

type Kept = Sighting & { readonly mark: number };

/** Those of the journal in memory, whose events are what a sighting ends with. */
export class MemorySightings implements Sightings {
  readonly #events: () => readonly JournalEvent[];
  readonly #kept = new Map<string, Kept>();

  constructor(events: () => readonly JournalEvent[]) {
    this.#events = events;
  }

  async recall(now: number): ReturnType<Sightings['recall']> {
    const events = this.#events();
    const newest = new Map(events.map(({ secret, id }) => [secret, id]));
    const known = new Map<string, Sighting>();
    for (const [secret, { mark, ...sighting }] of this.#kept) {
      const isInTime = sighting.seenAt <= now && now < sighting.goodUntil;
      if (isInTime && (newest.get(secret) ?? 0) <= mark) known.set(secret, sighting);
    }
    return { known, mark: events.at(-1)?.id ?? 0 };
  }

  async keep(seen: readonly Sighting[], gone: readonly string[], mark: number): Promise<void> {
    for (const secret of gone) this.#kept.delete(secret);
    for (const sighting of seen) this.#kept.set(sighting.secret, { ...sighting, mark });
  }

  async prune(before: number): Promise<void> {
    for (const [secret, { goodUntil }] of this.#kept) if (goodUntil < before) this.#kept.delete(secret);
  }
}
