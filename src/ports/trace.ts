import { isKeyturnError } from '../model/errors.ts';
import type { Canary } from './canary.ts';
import type { Journal, Leases, Lease, LeaseRecord } from './journal.ts';
import type { Log, LogFields } from './log.ts';
import type { Sightings } from './sightings.ts';
import type { PlainCopies, SecretStore, StoreName, StoreRead } from './secret-store.ts';
import type { Clock } from './system.ts';
import type { Upstream } from './upstream.ts';
import type { UsageLog } from './usage-log.ts';

/**
 * What goes on at the ports, told from outside of them: each call is one `debug` line with its duration and outcome.
 * Neither arguments nor results are logged, only the names and numbers that are picked out of them here.
 */

export interface Tracing {
  readonly log: Log;
  readonly clock: Pick<Clock, 'monotonic'>;
}

/** What a line tells of a call's arguments, and of what came of it. */
type CallWords<Call> = Call extends (...args: infer Args) => Promise<infer Result>
  ? {
      readonly asked?: (...args: Args) => LogFields;
      /** An `outcome` in it takes the place of `done`. */
      readonly got?: (result: Result) => LogFields;
    }
  : never;

/** What the calls of a port are told as: `store commit`. */
export interface PortWords<P extends object> {
  readonly name: string;
  /** The same in every line. */
  readonly always?: LogFields;
  readonly calls: { readonly [K in keyof P]?: CallWords<P[K]> };
  /** Ports within the port. */
  readonly within?: { readonly [K in keyof P]?: P[K] extends object ? PortWords<P[K]> : never };
}

/** Any port's words: which call has which arguments is known where they are written. */
interface AnyWords {
  readonly name: string;
  readonly always?: LogFields;
  readonly calls: Readonly<Record<string, AnyCallWords | undefined>>;
  readonly within?: Readonly<Record<string, AnyWords | undefined>>;
}

interface AnyCallWords {
  readonly asked?: (...args: readonly unknown[]) => LogFields;
  readonly got?: (result: unknown) => LogFields;
}

type AnyCall = (...args: readonly unknown[]) => unknown;

/** The same port, whose calls are told to the log. */
export function traced<P extends object>(port: P, words: PortWords<P>, tracing: Tracing): P {
  return tracedBy(port, words, tracing) as P;
}

function tracedBy(port: object, words: AnyWords, tracing: Tracing): object {
  const made = new Map<string, unknown>();
  const once = (name: string, make: () => unknown): unknown => {
    if (!made.has(name)) made.set(name, make());
    return made.get(name);
  };
  return new Proxy(port, {
    get(target, name) {
      const part: unknown = Reflect.get(target, name, target);
      if (typeof name === 'symbol') return part;
      if (typeof part === 'function') {
        return once(name, () => tracedCall(part.bind(target) as AnyCall, name, words, tracing));
      }
      const within = words.within?.[name];
      if (within === undefined || typeof part !== 'object' || part === null) return part;
      return once(name, () => tracedBy(part, within, tracing));
    },
  });
}

function tracedCall(call: AnyCall, name: string, words: AnyWords, { log, clock }: Tracing): AnyCall {
  const { asked, got } = words.calls[name] ?? {};
  return async (...args) => {
    const from = clock.monotonic();
    const tell = (outcome: string, more: () => LogFields): void => {
      const ms = Math.round(clock.monotonic() - from);
      log.debug(`${words.name} ${name}`, { outcome, ms, ...words.always, ...asked?.(...args), ...more() });
    };
    let result: unknown;
    try {
      result = await call(...args);
    } catch (error) {
      tell('failed', () => ({ code: isKeyturnError(error) ? error.code : 'unexpected' }));
      throw error;
    }
    tell('done', () => got?.(result) ?? {});
    return result;
  };
}

export function tracedStore(store: SecretStore, tracing: Tracing): SecretStore {
  return traced(store, { ...storeWords, always: { store: store.label } }, tracing);
}

export function tracedJournal(journal: Journal, tracing: Tracing): Journal {
  return traced(journal, journalWords, tracing);
}

export function tracedLeases(leases: Leases, tracing: Tracing): Leases {
  return traced(leases, leaseWords, tracing);
}

export function tracedUsageLog(usage: UsageLog, tracing: Tracing): UsageLog {
  return traced(usage, usageWords, tracing);
}

export function tracedUpstream(upstream: Upstream, tracing: Tracing): Upstream {
  return traced(upstream, { ...upstreamWords, always: { upstream: upstream.label } }, tracing);
}

export function tracedCanary(canary: Canary, tracing: Tracing): Canary {
  return traced(canary, { ...canaryWords, always: { place: canary.label } }, tracing);
}

const plainWords: PortWords<PlainCopies> = {
  name: 'store plain copy',
  calls: { read: { asked: (key) => ({ key }) }, write: { asked: (key) => ({ key }) } },
};

const storeWords: PortWords<SecretStore> = {
  name: 'store',
  calls: {
    read: { asked: namesOf, got: (reads) => readWords([...reads.values()]) },
    commit: { asked: ({ secret }, { revision }) => ({ secret, revision }) },
    purge: { asked: ({ secret }) => ({ secret }) },
    erase: { asked: ({ secret }) => ({ secret }) },
    probe: { asked: ({ use, names }) => ({ use, secrets: names.length }) },
  },
  within: { plain: plainWords },
};

function namesOf(names: readonly StoreName[]): LogFields {
  return names.length === 1 ? { secret: names[0]?.secret ?? null } : { secrets: names.length };
}

function readWords(reads: readonly StoreRead[]): LogFields {
  const [read] = reads;
  if (reads.length !== 1 || read === undefined) {
    const failed = reads.filter(({ state }) => state === 'failed').length;
    return failed === 0 ? {} : { failed };
  }
  if (read.state === 'failed') return { outcome: 'failed', code: read.error.code };
  return read.state === 'present' ? { outcome: 'present', revision: read.keyring.revision } : { outcome: read.state };
}

const sightingWords: PortWords<Sightings> = {
  name: 'journal sightings',
  calls: {
    recall: { got: ({ known }) => ({ secrets: known.size }) },
    keep: { asked: (seen, gone) => ({ secrets: seen.length, gone: gone.length }) },
  },
};

const journalWords: PortWords<Journal> = {
  name: 'journal',
  calls: {
    begin: { asked: ({ secret, id }) => ({ secret, run: id }), got: ({ run, joined }) => ({ run: run.id, joined }) },
    supersede: { asked: (superseded, { secret, id }) => ({ secret, run: id, superseded: superseded.id }) },
    runs: {
      asked: ({ secret, id }) => named({ secret, run: id }),
      got: ({ length }) => ({ runs: length }),
    },
    liveSecrets: { got: ({ length }) => ({ secrets: length }) },
    save: {
      asked: ({ secret, id }, events) => ({ secret, run: id, events: events.map(({ event }) => event).join(' ') }),
    },
    move: { asked: (run, { kind }) => ({ run, move: kind }) },
    note: { asked: ({ secret, event }) => ({ secret, events: event }) },
    events: {
      asked: ({ run, secret }) => named({ secret, run }),
      got: ({ length }) => ({ events: length }),
    },
    prune: { got: (runs) => ({ runs }) },
  },
  within: { sightings: sightingWords },
};

/** Only what was asked for: the rest is left to the ids of the work under way. */
function named(ids: Readonly<Record<string, string | undefined>>): LogFields {
  return Object.fromEntries(Object.entries(ids).flatMap(([name, id]) => (id === undefined ? [] : [[name, id]])));
}

const leaseWords: PortWords<Leases> = {
  name: 'lease',
  calls: {
    acquire: { asked: (lease) => ({ lease }), got: grantWords },
    seize: { asked: ({ name, holder }) => ({ lease: name, holder }), got: grantWords },
    renew: {
      asked: ({ name }, forMs) => ({ lease: name, forMs }),
      got: ({ token }) => ({ outcome: 'renewed', fence: token }),
    },
    release: { asked: ({ name }) => ({ lease: name }), got: () => ({ outcome: 'released' }) },
    read: {
      asked: (lease) => ({ lease }),
      got: (record) => ({ outcome: record?.held === true ? 'held' : 'free', fence: record?.token ?? null }),
    },
  },
};

function grantWords(answer: { readonly lease: Lease } | { readonly busy: LeaseRecord }): LogFields {
  if ('lease' in answer) return { outcome: 'taken', fence: answer.lease.token };
  return { outcome: 'busy', holder: answer.busy.holder, fence: answer.busy.token };
}

const usageWords: PortWords<UsageLog> = {
  name: 'usage log',
  calls: {
    report: { asked: ({ id, secrets, signsOff }) => ({ receiver: id, secrets: secrets.length, signsOff }) },
    evidence: { asked: (secret) => ({ secret }), got: ({ receivers }) => ({ receivers: receivers.length }) },
    forget: { asked: (receiver) => ({ receiver }), got: (forgotten) => ({ forgotten }) },
  },
};

const upstreamWords: PortWords<Upstream> = {
  name: 'upstream',
  calls: {
    activate: {
      asked: ({ runId, intentId }) => ({ run: runId, intent: intentId }),
      got: ({ requestId }) => ({ upstreamRequestId: requestId }),
    },
  },
};

const canaryWords: PortWords<Canary> = {
  name: 'canary',
  calls: {
    send: {
      asked: ({ runId, id }) => ({ run: runId, canary: id }),
      got: ({ status, reason }) => ({ status, reason }),
    },
  },
};
