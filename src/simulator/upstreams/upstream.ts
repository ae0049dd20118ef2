import type { SecretPolicy } from '../../model/policy.ts';
import type { Upstream } from '../../ports/upstream.ts';
import type { Chance } from '../chance.ts';
import type { WorldClock } from '../clock.ts';
import type { CallFault, Setup } from '../schedule.ts';

/** What a message is signed with, and whether somebody's hand at the settings is why. */
export interface Signing {
  readonly value: string;
  readonly byHand: boolean;
}

/** An outside system in a world. A new mode is a new file beside `push.ts`, and a line in `worlds.ts`. */
export interface WorldUpstream {
  /** What keyturn calls. */
  readonly port: Upstream;
  /** The next calls meet these, one each. */
  fault(calls: readonly CallFault[]): void;
  /** How the next message is signed; null while it signs nothing. */
  sign(): Signing | null;
  /** Somebody changes the setting by hand; `amiss`: not to what keyturn last told it. */
  setByHand(value: string, amiss: boolean): void;
  /** What keyturn last told it, whatever it made of it; null: nothing yet. */
  readonly lastTold: string | null;
  /** Whether keyturn or a person told it this value. */
  isTold(value: string): boolean;
  /** Whether anything may still sign with it, or will. */
  mayStillSign(value: string): boolean;
  /** Whether all that signs, signs with it, and nothing that is on its way changes that. */
  signsOnlyWith(value: string): boolean;
  /** A call of a process that died is still on its way: it takes effect within so long, or not at all. */
  arriveLate(value: string, withinMs: number): void;
}

export interface UpstreamParts {
  readonly clock: WorldClock;
  readonly chance: Chance;
  readonly policy: SecretPolicy;
  readonly setup: Setup;
  /** Before anything of a call has an effect. */
  readonly onCall: (run: string, value: string) => void;
  /** Something begins to sign with this value, and a hand is not why. */
  readonly onSwitch: (value: string) => void;
  readonly tell: (words: string) => void;
  readonly fail: (message: string) => void;
}
