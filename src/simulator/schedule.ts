import type { UpstreamFault } from '../memory/upstream.ts';

/**
 * Everything that a world is begun with and everything that goes wrong in it, as plain data: the same schedule gives the
 * same run, and one fault less is still a schedule. Moments are ms since the world began.
 */

/** What may become of a call: as in memory, or that one of several signers never hears of it. */
export type CallFault = UpstreamFault | 'partial';

export type FaultLevel = 'none' | 'usual' | 'hard';

export const faultLevels: readonly FaultLevel[] = ['none', 'usual', 'hard'];

/** Whom an outage cuts off. */
export type CutOff = 'everybody' | 'orchestrators' | 'receivers';

/** Whether a process stops right before the call has its effect, or right after. */
export type Side = 'before' | 'after';

export type Fault = { readonly at: number } & (
  | { readonly kind: 'store-outage'; readonly forMs: number; readonly whom: CutOff }
  | { readonly kind: 'store-throttled'; readonly forMs: number }
  | { readonly kind: 'store-loses-answers'; readonly count: number }
  /** Somebody moves the document away, and puts it back. */
  | { readonly kind: 'store-document-gone'; readonly forMs: number }
  /** Somebody puts the document of the world's beginning in its place. Never drawn: a receiver that starts meanwhile cannot know better. */
  | { readonly kind: 'store-put-back'; readonly forMs: number }
  | { readonly kind: 'usage-outage'; readonly forMs: number }
  | { readonly kind: 'journal-outage'; readonly forMs: number }
  | { readonly kind: 'journal-lost' }
  | { readonly kind: 'upstream-faults'; readonly calls: readonly CallFault[] }
  /** Somebody changes the upstream's setting by hand, and sees the mistake later. */
  | { readonly kind: 'upstream-edited'; readonly to: 'foreign' | 'old'; readonly forMs: number }
  | { readonly kind: 'balancer-down'; readonly forMs: number }
  | { readonly kind: 'handler-fails'; readonly forMs: number }
  | {
      readonly kind: 'receiver-crash' | 'receiver-restart';
      readonly receiver: number;
      readonly backAfterMs: number;
      /** So long it cannot reach the usage log when it is back, nor the store once it has begun. */
      readonly cutForMs: number;
    }
  | {
      readonly kind: 'receiver-cut';
      readonly receiver: number;
      readonly from: 'store' | 'usage' | 'both';
      readonly forMs: number;
    }
  | { readonly kind: 'receiver-new' }
  | { readonly kind: 'fleet-replaced' }
  | { readonly kind: 'fleet-gone'; readonly forMs: number }
  | { readonly kind: 'crash'; readonly process: number; readonly call: number; readonly side: Side }
  | {
      readonly kind: 'pause';
      readonly process: number;
      readonly call: number;
      readonly side: Side;
      readonly forMs: number;
    }
  /** Somebody with a journal of their own over the same store asks for a rotation. */
  | { readonly kind: 'rival' }
  | { readonly kind: 'hold'; readonly forMs: number }
  | { readonly kind: 'abort' }
  | { readonly kind: 'deny' }
  | { readonly kind: 'compromised' }
  | { readonly kind: 'junk'; readonly forMs: number; readonly everyMs: number }
  | { readonly kind: 'replay' }
);

export type FaultKind = Fault['kind'];

export interface ReceiverSetup {
  readonly pool: string;
  readonly refreshEveryMs: number;
  /** How far its wall clock is off. */
  readonly wallOffMs: number;
}

/** What is so from the beginning. */
export interface Setup {
  /** Epoch ms at which the world begins. */
  readonly startMs: number;
  /** When somebody asks for the rotation. */
  readonly askedAt: number;
  /** True: the secret has no value before. */
  readonly isFirst: boolean;
  readonly receivers: readonly ReceiverSetup[];
  /** Between two messages of the upstream; null: there are none. */
  readonly trafficEveryMs: number | null;
  /** The longest a message takes to arrive. */
  readonly transitMs: number;
  /** How many parts of the upstream sign, each of which learns of a new value for itself. */
  readonly signers: number;
  /** From the upstream's yes to the first signature under the new value. */
  readonly switchDelayMs: number;
  /** How much later than the first the last signer may follow. */
  readonly switchSpreadMs: number;
  /** Whether a retry is signed anew; decided here where the policy does not know. */
  readonly resigns: boolean;
  readonly storeLagMs: number;
  readonly visitEveryMs: number;
  readonly orchestrators: number;
  /** How long people take to look, and to do something. */
  readonly peopleMs: number;
}

export interface Schedule {
  readonly seed: number;
  readonly level: FaultLevel;
  readonly setup: Setup;
  /** In the order of their moments. */
  readonly faults: readonly Fault[];
}

/** When the last fault is over. */
export function faultsEndAt({ setup, faults }: Schedule): number {
  return faults.reduce((latest, fault) => Math.max(latest, fault.at + lengthOf(fault)), setup.askedAt);
}

function lengthOf(fault: Fault): number {
  if ('forMs' in fault) return fault.forMs;
  return 'backAfterMs' in fault ? fault.backAfterMs + fault.cutForMs : 0;
}

/** One fault in words, for people. */
export function faultWords(fault: Fault): string {
  const facts = Object.entries(fault).filter(([name]) => name !== 'at' && name !== 'kind');
  return [fault.kind, ...facts.map(([name, value]) => `${name} ${JSON.stringify(value)}`)].join(' ');
}
