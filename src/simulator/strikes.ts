import type { MemoryPlace } from '../memory/secret-store.ts';
import { acceptedVersions } from '../model/keyring.ts';
import type { SecretPolicy } from '../model/policy.ts';
import type { WorldClock } from './clock.ts';
import type { Fleet } from './fleet.ts';
import type { Network } from './network.ts';
import type { People } from './people.ts';
import type { Processes } from './processes.ts';
import { faultWords, type Fault, type FaultKind } from './schedule.ts';
import type { Sender } from './sender.ts';
import type { Trace } from './trace.ts';
import type { WorldUpstream } from './upstreams/upstream.ts';
import type { Watch } from './watch.ts';

/** What of a world faults can strike. */
export interface World {
  readonly clock: WorldClock;
  readonly policy: SecretPolicy;
  readonly network: Network;
  readonly place: MemoryPlace;
  readonly upstream: WorldUpstream;
  readonly fleet: Fleet;
  readonly sender: Sender;
  readonly processes: Processes;
  readonly people: People;
  readonly watch: Watch;
  readonly trace: Trace;
  /** The first that was written; null before. */
  readonly firstDocument: string | null;
  loseJournal(): void;
  beginRival(): void;
}

/** Does to the world what the fault says, at its moment. */
export function strikeWith(world: World, fault: Fault): void {
  world.trace.tell('fault', faultWords(fault));
  const strike = strikes[fault.kind] as (world: World, fault: Fault) => void;
  strike(world, fault);
}

type FaultOf<K extends FaultKind> = Extract<Fault, { readonly kind: K }>;

type Strikes<K extends FaultKind> = { readonly [Kind in K]: (world: World, fault: FaultOf<Kind>) => void };

/** Takes it away for so long. */
function takeAway({ network, clock }: World, what: string, forMs: number): void {
  clock.after(forMs, network.takeAway(what));
}

const onPorts: Strikes<
  | 'store-outage'
  | 'store-throttled'
  | 'store-loses-answers'
  | 'store-document-gone'
  | 'store-put-back'
  | 'usage-outage'
  | 'journal-outage'
  | 'journal-lost'
  | 'balancer-down'
  | 'handler-fails'
> = {
  'store-outage': (world, { whom, forMs }) =>
    takeAway(world, whom === 'everybody' ? 'store' : `store of ${whom}`, forMs),
  'store-throttled': (world, { forMs }) => takeAway(world, 'store throttled', forMs),
  'store-loses-answers': ({ network }, { count }) => network.loseAnswers(count),
  'store-document-gone': ({ place, clock, policy }, { forMs }) => {
    const { key } = policy;
    const text = place.newest(key);
    if (text === null) return;
    place.remove(key);
    clock.after(forMs, () => {
      if (place.newest(key) === null) place.write(key, text, clock.monotonic());
    });
  },
  'store-put-back': ({ place, clock, policy, firstDocument }, { forMs }) => {
    const { key } = policy;
    const text = place.newest(key);
    if (text === null || firstDocument === null) return;
    place.write(key, firstDocument, clock.monotonic());
    clock.after(forMs, () => {
      if (place.newest(key) === firstDocument) place.write(key, text, clock.monotonic());
    });
  },
  'usage-outage': (world, { forMs }) => takeAway(world, 'usage log', forMs),
  'journal-outage': (world, { forMs }) => takeAway(world, 'journal', forMs),
  'journal-lost': (world) => world.loseJournal(),
  'balancer-down': (world, { forMs }) => takeAway(world, 'balancer', forMs),
  'handler-fails': (world, { forMs }) => takeAway(world, 'handler', forMs),
};

const onProcesses: Strikes<'crash' | 'pause' | 'rival'> = {
  crash: ({ processes }, { process, call, side }) => processes.strike(process, { calls: call, side, stopMs: null }),
  pause: ({ processes }, { process, call, side, forMs }) =>
    processes.strike(process, { calls: call, side, stopMs: forMs }),
  rival: (world) => world.beginRival(),
};

const onUpstream: Strikes<'upstream-faults' | 'upstream-edited' | 'junk' | 'replay'> = {
  'upstream-faults': ({ upstream }, { calls }) => upstream.fault(calls),
  'upstream-edited': ({ upstream, people, clock, watch }, { to, forMs }) => {
    const old = acceptedVersions(watch.keyring).find(({ value }) => value !== upstream.lastTold);
    const value = to === 'foreign' ? 'a-foreign-value-set-by-hand' : (old?.value ?? null);
    if (value === null || upstream.lastTold === null) return;
    upstream.setByHand(value, true);
    clock.after(forMs, () => people.correctUpstream());
  },
  junk: ({ clock, sender }, { forMs, everyMs }) => {
    const until = clock.monotonic() + forMs;
    const next = (): void => {
      sender.forge();
      if (clock.monotonic() < until) clock.after(everyMs, next);
    };
    next();
  },
  replay: ({ sender }) => sender.replay(),
};

const onPeople: Strikes<'hold' | 'abort' | 'deny' | 'compromised'> = {
  hold: ({ people }, { forMs }) => people.hold(forMs),
  abort: ({ people }) => people.ask('abort'),
  deny: ({ people }) => people.deny(),
  compromised: ({ people }) => people.ask('compromised'),
};

/** Until then a receiver has had its first load. */
const firstLoadMs = 5_000;

type Ending = FaultOf<'receiver-crash' | 'receiver-restart'>;

function endReceiver(world: World, { kind, receiver: number, backAfterMs, cutForMs }: Ending): void {
  const { fleet, clock } = world;
  const receiver = fleet.nth(number);
  if (receiver === null) return;
  if (kind === 'receiver-crash') fleet.kill(receiver);
  else void fleet.stop(receiver);
  clock.after(backAfterMs, () => {
    const next = fleet.start(receiver.setup);
    if (next === null || cutForMs === 0) return;
    takeAway(world, `usage log of ${next.id}`, cutForMs);
    clock.after(firstLoadMs, () => takeAway(world, `store of ${next.id}`, cutForMs));
  });
}

const onFleet: Strikes<
  'receiver-crash' | 'receiver-restart' | 'receiver-cut' | 'receiver-new' | 'fleet-replaced' | 'fleet-gone'
> = {
  'receiver-crash': endReceiver,
  'receiver-restart': endReceiver,
  'receiver-cut': (world, { receiver: number, from, forMs }) => {
    const receiver = world.fleet.nth(number);
    if (receiver === null) return;
    if (from !== 'usage') takeAway(world, `store of ${receiver.id}`, forMs);
    if (from !== 'store') takeAway(world, `usage log of ${receiver.id}`, forMs);
  },
  'receiver-new': ({ fleet }) => {
    const like = fleet.nth(0);
    if (like !== null) fleet.start(like.setup);
  },
  'fleet-replaced': ({ fleet }) => fleet.replaceHalf(),
  'fleet-gone': ({ fleet, clock }, { forMs }) => void clock.after(forMs, fleet.leave()),
};

const strikes: Strikes<FaultKind> = { ...onPorts, ...onProcesses, ...onUpstream, ...onPeople, ...onFleet };
