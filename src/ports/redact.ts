import { isAccepted, type Keyring } from '../model/keyring.ts';
import { disguisesOf, oneLine } from '../model/shown.ts';
import { withIds } from './correlate.ts';
import { logOf, silentLog, type Log, type LogCall, type LogFields, type LogLevel } from './log.ts';
import type { SecretStore } from './secret-store.ts';

/** What stands in the place of a value. */
export const mask = '[redacted]';

/** Nothing of a line is longer, in characters; what comes after is not even looked at. */
const longest = { read: 16_384, text: 2_000, name: 64, fields: 40 } as const;

/**
 * A log in which no value shows: values that were `remember`ed are masked wherever they stand, in any usual encoding;
 * fields that are called after a value are masked whatever they hold; and nothing can begin a line of its own. It adds
 * the ids of the work under way, and a log that throws ends nobody's work.
 */
export interface RedactingLog extends Log {
  /** From now on this value is masked. */
  remember(value: string): void;
  /** The text as a line would show it. */
  redacted(text: string): string;
}

/** Only one is put around a log, so that all who log to it share what is known: one that redacts is returned as it is. */
export function redacting(log: Log): RedactingLog {
  return log instanceof Redacting ? log : new Redacting(log);
}

class Redacting implements RedactingLog {
  readonly debug: LogCall;
  readonly info: LogCall;
  readonly warn: LogCall;
  readonly error: LogCall;
  readonly #known = new KnownValues();

  constructor(log: Log) {
    const inner = withIds(logOf((level) => this.#guarded(log, level)));
    const levels = log === silentLog ? silentLog : inner;
    ({ debug: this.debug, info: this.info, warn: this.warn, error: this.error } = levels);
  }

  remember(value: string): void {
    this.#known.add(value);
  }

  redacted(text: string): string {
    const masked = oneLine(this.#known.masked(text.slice(0, longest.read)));
    return cut(masked, longest.text);
  }

  #guarded(log: Log, level: LogLevel): LogCall {
    return (message, fields = {}) => {
      try {
        log[level](this.redacted(message), this.#redactedFields(fields));
      } catch {
        // Whoever logs has better things to do than to fail for it.
      }
    };
  }

  #redactedFields(fields: LogFields): LogFields {
    const entries = Object.entries(fields).slice(0, longest.fields);
    return Object.fromEntries(
      entries.map(([name, value]) => [cut(this.redacted(name), longest.name), this.#redactedField(name, value)]),
    );
  }

  /** Callers without types may hand over anything. */
  #redactedField(name: string, value: unknown): LogFields[string] {
    if (value === null || value === undefined || typeof value === 'boolean') return value ?? null;
    if (typeof value !== 'string' && typeof value !== 'number') return `[${typeof value}]`;
    if (isCalledAfterValue(name)) return mask;
    if (typeof value === 'string') return this.redacted(value);
    return this.redacted(String(value)) === String(value) ? value : mask;
  }
}

const valueNames =
  /authorization|signature|password|passphrase|cookie|token|apikey|privatekey|(?:values?|body|payload)$/;

/** `newValue`, `x-hub-signature-256`, `hub.verify_token`; not `secret`, which is an address. */
function isCalledAfterValue(name: string): boolean {
  return valueNames.test(name.toLowerCase().replace(/[^a-z]/g, ''));
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length)}…`.replace(/\p{Cs}…$/u, '…');
}

/** Shorter ones are in every text; masking them would hide nothing and show where they stand. */
const shortestValue = 4;

/** So many are known at a time; beyond, the half that was met longest ago is forgotten. */
const mostValues = 5_000;

/** Disguises are looked for by pieces of this length, so that whatever is twice as long holds a whole one. */
const pieceLength = 8;

/** A part of a disguise is masked too, from this length on: what quotes a value often cuts it. */
const shortestPart = 12;

interface Piece {
  readonly disguise: string;
  /** Where in the disguise it begins. */
  readonly at: number;
}

/** The values of this process that may come by in a text. */
class KnownValues {
  /** In the order in which they were last met. */
  readonly #values = new Set<string>();
  /** Pieces of all disguises by their length and text, so that a text is searched in one pass however many there are. */
  readonly #pieces = new Map<number, Map<string, Piece[]>>();
  /** Those whose disguises are not among the pieces yet: most processes never log a line. */
  #fresh: string[] = [];

  add(value: string): void {
    if (value.length < shortestValue) return;
    if (this.#values.delete(value)) {
      this.#values.add(value);
      return;
    }
    this.#values.add(value);
    this.#fresh.push(value);
    if (this.#values.size > mostValues) this.#forgetHalf();
  }

  #forgetHalf(): void {
    for (const value of [...this.#values].slice(0, mostValues / 2)) this.#values.delete(value);
    this.#pieces.clear();
    this.#fresh = [...this.#values];
  }

  masked(text: string): string {
    for (const value of this.#fresh.splice(0)) {
      for (const disguise of disguisesOf(value)) this.#index(lowerCase(disguise));
    }
    let shown = '';
    let end = 0;
    for (const [from, to] of this.#spansIn(lowerCase(text))) {
      if (from > end || end === 0) shown += text.slice(end, from) + mask;
      end = Math.max(end, to);
    }
    return shown + text.slice(end);
  }

  #index(disguise: string): void {
    if (disguise.length < shortestValue) return;
    const length = Math.min(pieceLength, disguise.length);
    const pieces = this.#pieces.get(length) ?? new Map<string, Piece[]>();
    this.#pieces.set(length, pieces);
    for (let at = 0; at + length <= disguise.length; at += length) {
      const text = disguise.slice(at, at + length);
      const piece = { disguise, at };
      const known = pieces.get(text);
      if (known === undefined) pieces.set(text, [piece]);
      else known.push(piece);
    }
  }

  /** Where values stand in a text, in order; they may overlap. */
  #spansIn(text: string): readonly (readonly [from: number, to: number])[] {
    const spans: (readonly [number, number])[] = [];
    for (const [length, pieces] of this.#pieces) {
      for (let at = 0; at + length <= text.length; at += 1) {
        const found = pieces.get(text.slice(at, at + length));
        if (found === undefined) continue;
        const [from, to] = longestSpan(text, at, found);
        if (to - from === 0) continue;
        spans.push([from, to]);
        // Another value may begin in the end of this one.
        at = Math.max(at, to - length);
      }
    }
    return spans.sort((a, b) => a[0] - b[0]);
  }
}

/** The longest part of a disguise around a piece of it that stands at `at`; an empty span where it is too short to tell. */
function longestSpan(text: string, at: number, pieces: readonly Piece[]): readonly [from: number, to: number] {
  let best: readonly [number, number] = [at, at];
  for (const { disguise, at: inside } of pieces) {
    let before = 0;
    while (before < Math.min(at, inside) && text[at - before - 1] === disguise[inside - before - 1]) before += 1;
    let after = 0;
    while (inside + after < disguise.length && text[at + after] === disguise[inside + after]) after += 1;
    const isTelling = before + after >= Math.min(shortestPart, disguise.length);
    if (isTelling && before + after > best[1] - best[0]) best = [at - before, at + after];
  }
  return best;
}

/** Letters of ASCII alone are made small, so that no character moves. */
function lowerCase(text: string): string {
  if (Buffer.byteLength(text) === text.length) return text.toLowerCase();
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** The store, whose values are remembered by the log as they come by. */
export function remembering(store: SecretStore, log: RedactingLog): SecretStore {
  const remember = (keyring: Keyring): void => {
    for (const version of keyring.versions) if (isAccepted(version)) log.remember(version.value);
  };
  return {
    label: store.label,
    capabilities: store.capabilities,
    async read(names) {
      const reads = await store.read(names);
      for (const read of reads.values()) if (read.state === 'present') remember(read.keyring);
      return reads;
    },
    commit(name, keyring, expected) {
      remember(keyring);
      return store.commit(name, keyring, expected);
    },
    purge: (name) => store.purge(name),
    erase: (name) => store.erase(name),
    probe: (request) => store.probe(request),
    plain: store.plain,
    close: () => store.close(),
  };
}
