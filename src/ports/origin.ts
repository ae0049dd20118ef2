import type { Journal, Leases, NewEvent } from './journal.ts';

/** From where something was done: which process of which version, and by which command. */
export interface Origin {
  readonly host: string;
  readonly pid: number;
  /** Of keyturn. */
  readonly version: string;
  /** Null where the library was called. */
  readonly command: string | null;
}

/** The same journal, with `from` in the data of each event that is written through it. */
export function withOrigin(journal: Journal & Leases, origin: Origin): Journal & Leases {
  const stamped = (event: NewEvent): NewEvent => ({ ...event, data: { ...event.data, from: origin } });
  const calls: Partial<Journal> = {
    begin: (run, events, lease) => journal.begin(run, events.map(stamped), lease),
    supersede: (superseded, run, events, lease) => journal.supersede(superseded, run, events.map(stamped), lease),
    save: (run, events, lease) => journal.save(run, events.map(stamped), lease),
    move: (run, move, event) => journal.move(run, move, stamped(event)),
    note: (event) => journal.note(stamped(event)),
    seal: (event) => journal.seal(stamped(event)),
  };
  return new Proxy(journal, {
    get(target, name) {
      const call: unknown = Reflect.get(calls, name);
      if (call !== undefined) return call;
      const part: unknown = Reflect.get(target, name, target);
      return typeof part === 'function' ? (part.bind(target) as unknown) : part;
    },
  });
}
