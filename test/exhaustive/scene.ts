import type { SecretPolicy } from '../../src/model/policy.ts';
import type { Ground } from './ground.ts';
import type { Script } from './process.ts';

/** How much of what may go wrong there is in one schedule. */
export interface Bounds {
  /** How often a process that could go on has to wait while another one does. */
  readonly preemptions: number;
  /** How often all that could go on is stopped while time passes. */
  readonly lapses: number;
  /** How many calls go wrong. */
  readonly faults: number;
}

/** `die`: the process is killed right before the call. `throw`, `lost`: see How. */
export type Fault = 'die' | 'throw' | 'lost';

/** Where a world begins, who is at work in it, and what may go wrong. */
export interface Scene {
  readonly name: string;
  readonly policy?: SecretPolicy;
  /** How many journals there are over the one store; 1. */
  readonly journals?: number;
  readonly prepare: (ground: Ground) => Promise<void>;
  readonly scripts: readonly Script[];
  /** Who goes on in the place of a process that was killed; nobody until all is over, by default. */
  readonly successor?: Script;
  /** How much time a lapse takes, ms. */
  readonly lapses?: readonly number[];
  /** A value that somebody signs with while time lapses, as long as it is accepted. */
  readonly stray?: string;
  readonly faults?: readonly Fault[];
  /** What has to hold in the end, on top of what always has to. */
  readonly judge?: (ground: Ground) => Promise<void>;
}

/** One way on from one state, and what of the bounds it takes. */
export interface Way {
  readonly key: string;
  readonly takes: keyof Bounds | null;
  readonly go: () => Promise<void>;
}
