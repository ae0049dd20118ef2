import type { ProcessIdentity } from './journal.ts';

/** The machine as the rest of the code asks for it: by constructor, so that tests can turn time, chance and the rest. */

export interface SleepOptions {
  readonly signal?: AbortSignal | undefined;
  /** True: the sleep alone does not keep the process alive. */
  readonly background?: boolean;
}

/** What to abort a sleep with. Without a reason an error is made each time, with its stack, that nobody looks at. */
export const wakeUp = 'wake up';

export interface Clock {
  /** Wall clock, milliseconds since 1970 UTC; may be set by people, forward and back. */
  now(): number;
  /** Milliseconds since some moment; never goes back; only differences mean anything. */
  monotonic(): number;
  /** Resolves after `ms`, or as soon as the signal aborts; it never rejects. */
  sleep(ms: number, options?: SleepOptions): Promise<void>;
}

export interface Random {
  /** Cryptographically strong bytes. */
  bytes(count: number): Uint8Array;
  /** Evenly from 0 up to 1; for jitter, never for secrets. */
  fraction(): number;
}

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** The processes of this machine. */
export interface Processes {
  /** This process; null where the system does not tell enough to be told apart later. */
  self(): ProcessIdentity | null;
  /** True only where it is certain that this process does nothing any more. One that is merely stopped is not dead. */
  isDead(process: ProcessIdentity): boolean;
}
