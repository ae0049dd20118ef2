import type { SecretStore, StoreName } from '../../ports/secret-store.ts';

/** What the conformance suite of secret stores asks of whoever runs it. */

/** A fresh, empty place for documents, and what a test may do to it from outside. */
export interface SecretStorePlace {
  /** A new adapter over this place, as another process would open one. */
  adapter(): SecretStore | Promise<SecretStore>;
  /** Where the place keeps a secret. */
  name(secret: string): StoreName;
  /** Replaces a stored document, or puts one there, past every check. */
  overwrite(name: StoreName, text: string): Promise<void>;
  /** Writes a plain copy at once, as another program does; left out where that takes a call to somewhere. */
  readonly overwritePlain?: (key: string, text: string) => void;
  /** Makes a place without a value in it, as tools that set up the surroundings do. */
  readonly makeEmpty?: (name: StoreName) => Promise<void>;
  /** Deletes a document so that it can come back. */
  readonly softDelete?: (name: StoreName) => Promise<void>;
  /** What somebody with every right can still read of older documents of that key, past the adapter. */
  readonly olderTexts?: (name: StoreName) => Promise<readonly string[]>;
  /** An adapter that may do nothing here: its credentials are right and its rights none. */
  readonly denied?: () => SecretStore | Promise<SecretStore>;
  /** What lies between the adapters and the server. */
  readonly network?: Network;
  /** Passes the store's propagation lag. */
  propagate?(): Promise<void>;
  close?(): Promise<void>;
}

/** What not every place can do; a case that needs one is left out where the place lacks it. */
export type Ability = 'overwritePlain' | 'makeEmpty' | 'softDelete' | 'olderTexts' | 'denied' | 'network';

/**
 * What goes wrong between an adapter and its server, on real sockets:
 * `refuse` nothing reaches the server, the connection is cut;
 * `lose-answer` the server does it, and the connection is cut before its answer;
 * `cut-answer` the answer is cut in the middle;
 * `late-answer` the server does it at once, and its answer is held back until `calm`;
 * `late-call` the call is held back, and reaches the server with `calm`;
 * `double` the call reaches the server twice, and the second answer comes back;
 * `throttle` the server asks to wait for `retryAfterMs`, where its protocol can say so;
 * `nonsense` something else answers, such as a proxy with a page of its own.
 */
export type Disturbance =
  'refuse' | 'lose-answer' | 'cut-answer' | 'late-answer' | 'late-call' | 'double' | 'throttle' | 'nonsense';

export interface Network {
  /** Those it can do; a case that needs another is left out. */
  readonly can: ReadonlySet<Disturbance>;
  /** From now on the calls numbered so (the first is 0) are disturbed; default: every call. Earlier disturbances end. */
  disturb(disturbance: Disturbance, calls?: readonly number[]): void;
  /** No disturbance any more; what was held back goes on, and this resolves when it has arrived. */
  calm(): Promise<void>;
  /** How many calls came since the last `disturb` or `calm`. */
  readonly calls: number;
}

/** How long `throttle` asks to wait. */
export const retryAfterMs = 7_000;

export interface SecretStoreSuite {
  open(): Promise<SecretStorePlace>;
  /** What the place cannot do, and why; the cases that need it are not run. */
  readonly lacks?: Readonly<Partial<Record<Ability | Disturbance, string>>>;
  /** Cases that this server is known to break, by id. They are run, and fail where the server keeps them after all. */
  readonly deviations?: Readonly<Record<string, Deviation>>;
}

/** How a server is known to differ. */
export interface Deviation {
  /** For people: what the server does instead. */
  readonly what: string;
  /** What the failure of the case has to say, so that another failure is not taken for this one. */
  readonly shows: RegExp;
}
