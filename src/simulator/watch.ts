import { parseKeyring } from '../model/document.ts';
import {
  acceptedVersions,
  emptyKeyring,
  findVersion,
  isSettled,
  primaryOf,
  type Keyring,
  type Stage,
  type Version,
} from '../model/keyring.ts';
import { holdOf, type EffectKind, type Run } from '../model/run.ts';
import type { Verdict } from './checks.ts';
import type { Leaks } from './leaks.ts';
import type { Tally } from './tally.ts';

/** What the watch asks of the rest of the world. */
export interface Surroundings {
  readonly now: () => number;
  /** Whether anything that was signed with this value in good faith, or that will be, may still come; says what. */
  readonly mayBeUsed: (value: string) => string | null;
  /** Whether the upstream signs with it, or answered that it will, or somebody saw to it. */
  readonly isTold: (value: string) => boolean;
  /** The highest revision that any receiver had reported so long ago, ms; 0: none. */
  readonly reportedRevision: (agoMs: number) => number;
  readonly tally: Tally;
}

/** What stages may follow upon each; the same one always may. */
const legalMoves: Readonly<Record<Stage, readonly Stage[]>> = {
  pending: ['primary', 'revoked'],
  primary: ['deprecated'],
  deprecated: ['primary', 'revoked'],
  revoked: [],
};

/** What a gate lets through. */
const pastGates: readonly EffectKind[] = ['activate', 'restore', 'revoke'];

/** How long a process may be at work on what it has seen, as far as nobody stops it. */
const unseenMs = 15_000;

/** Looks at every document as it is written, and at every call to the upstream, and knows what is so at any moment. */
export class Watch {
  readonly #secret: string;
  readonly #verdict: Verdict;
  readonly #leaks: Leaks;
  readonly #around: Surroundings;
  #keyring: Keyring;
  /** Every value that the secret ever had, and whose it was. */
  readonly #versions = new Map<string, string>();
  readonly #compromised = new Set<string>();
  /** The runs under compromise. */
  readonly #hasty = new Set<string>();
  /** When a rotation under compromise stored a value, by value. */
  readonly #replacements = new Map<string, number>();
  /** The live run of each journal. */
  readonly #live = new Map<string, string>();
  readonly #takeOvers = new Set<string>();
  /** The version that each run added. */
  readonly #added = new Map<string, string>();
  /** The intents of each run that may have had an effect. */
  readonly #begun = new Map<string, readonly string[]>();
  /** The newest revision that each journal wrote. */
  readonly #written = new Map<string, number>();
  #severalSince: number | null = null;
  #longestTwoKeysMs = 0;

  constructor(secret: string, verdict: Verdict, leaks: Leaks, around: Surroundings) {
    this.#secret = secret;
    this.#verdict = verdict;
    this.#leaks = leaks;
    this.#around = around;
    this.#keyring = emptyKeyring(secret);
  }

  get keyring(): Keyring {
    return this.#keyring;
  }

  get longestTwoKeysMs(): number {
    return this.#severalSince === null
      ? this.#longestTwoKeysMs
      : Math.max(this.#longestTwoKeysMs, this.#around.now() - this.#severalSince);
  }

  get hasLiveRun(): boolean {
    return this.#live.size > 0;
  }

  /** Whether the value is, or was, one of this secret's. */
  isKnown(value: string): boolean {
    return this.#versions.has(value);
  }

  versionOf(value: string): string | null {
    return this.#versions.get(value) ?? null;
  }

  isCompromised(value: string): boolean {
    return this.#compromised.has(value);
  }

  /** True while some rotation is under compromise, or once one was: what is refused then was printed beforehand. */
  get wasCompromised(): boolean {
    return this.#hasty.size > 0;
  }

  /** When a rotation under compromise stored this value; null where it was another. No gate waits for who holds it. */
  replacementSince(value: string): number | null {
    return this.#replacements.get(value) ?? null;
  }

  /** A person lets a journal go on from another's claim on that run. */
  allowTakeOver(run: string): void {
    this.#takeOvers.add(run);
  }

  loseJournal(journal: string): void {
    this.#live.delete(journal);
  }

  wrote(text: string, author: string, replaced: string | null): void {
    const before = this.#couldKnow(author) ? this.#keyring : this.#parsed(replaced);
    const after = this.#parsed(text);
    this.#keyring = after;
    this.#written.set(author, after.revision);
    for (const { value, id, compromised } of after.versions) {
      if (value === null) continue;
      this.#leaks.remember(value);
      if (!this.#versions.has(value)) this.#versions.set(value, id);
      if (compromised) this.#compromised.add(value);
    }
    this.#checkMoves(before, after);
    this.#checkClaim(before, after, author);
    this.#checkAdded(before, after);
    this.#checkPromoted(before, after);
    this.#checkRevoked(before, after);
    this.#countTwoKeys(after);
  }

  #parsed(text: string | null): Keyring {
    return text === null ? emptyKeyring(this.#secret) : parseKeyring(text, 'the world', this.#secret);
  }

  /**
   * Whether a journal could know of the newest keyring although a hand took it away, or put an older one in its place: it wrote
   * it itself, or receivers told. Before they do, no gate opens on it, and whoever writes over it takes nothing from anybody.
   */
  #couldKnow(author: string): boolean {
    const { revision } = this.#keyring;
    return (this.#written.get(author) ?? 0) >= revision || this.#around.reportedRevision(unseenMs) >= revision;
  }

  #checkMoves(before: Keyring, after: Keyring): void {
    if (after.revision <= before.revision) {
      this.#verdict.fail('legal-moves', `Revision ${after.revision} was written after ${before.revision}.`);
    }
    for (const old of before.versions) {
      const now = findVersion(after, old.id);
      if (now === null) {
        if (old.stage !== 'revoked') this.#verdict.fail('legal-moves', `Version ${old.id}, ${old.stage}, is gone.`);
        continue;
      }
      if (now.value !== null && now.value !== old.value) {
        this.#verdict.fail('I5', `The value of version ${old.id} was replaced.`);
      }
      if (now.stage !== old.stage && !legalMoves[old.stage].includes(now.stage)) {
        this.#verdict.fail('legal-moves', `Version ${old.id} went from ${old.stage} to ${now.stage}.`);
      }
      if (old.compromised && (!now.compromised || (now.stage === 'primary' && old.stage !== 'primary'))) {
        this.#verdict.fail('legal-moves', `Version ${old.id}, marked compromised, is ${now.stage}.`);
      }
    }
  }

  /** I3: while a claim stands nobody else moves the keyring, unless a person sends them. */
  #checkClaim(before: Keyring, after: Keyring, author: string): void {
    const { claim } = before;
    if (claim === null) return;
    const isSentFor = this.#takeOvers.has(claim.run) || after.claim?.run === claim.run;
    if (author !== claim.journal && !(this.#takeOvers.has(claim.run) && after.claim?.journal === author)) {
      this.#verdict.fail('I3', `Journal ${author} moved the keyring that run ${claim.run} of ${claim.journal} claims.`);
    } else if (after.claim !== null && !isSentFor && this.#live.get(author) !== after.claim.run) {
      this.#verdict.fail('I3', `Run ${after.claim.run} took the claim of run ${claim.run}, and is not the live one.`);
    }
  }

  #checkAdded(before: Keyring, after: Keyring): void {
    const added = after.versions.filter(({ id }) => findVersion(before, id) === null);
    const run = after.claim?.run;
    if (run === undefined) return;
    for (const { id, value } of added) {
      const owner = value === null ? undefined : this.#versions.get(value);
      if (owner !== undefined && owner !== id) {
        this.#verdict.fail('legal-moves', `Version ${id} has the value that version ${owner} had before.`);
      }
      if (this.#hasty.has(run) && value !== null) this.#replacements.set(value, this.#around.now());
      const other = this.#added.get(run);
      if (other !== undefined)
        this.#verdict.fail('I5', `Run ${run} added version ${id} although it had added ${other}.`);
      this.#added.set(run, id);
    }
  }

  /** Primary means what signers use now, so that nothing becomes it before they were told. */
  #checkPromoted(before: Keyring, after: Keyring): void {
    const primary = primaryOf(after);
    if (primary === null || before.claim === null || primaryOf(before)?.id === primary.id) return;
    if (this.#around.isTold(primary.value)) return;
    this.#verdict.fail('legal-moves', `Version ${primary.id} became primary before the upstream was told of it.`);
  }

  #checkRevoked(before: Keyring, after: Keyring): void {
    for (const old of before.versions) {
      if (old.value === null || findVersion(after, old.id)?.stage !== 'revoked') continue;
      if (this.isCompromised(old.value)) continue;
      const use = this.#around.mayBeUsed(old.value);
      if (use !== null) this.#verdict.fail('I2', `Version ${old.id} was revoked, and ${use}.`);
    }
  }

  #countTwoKeys(after: Keyring): void {
    const now = this.#around.now();
    const areSeveral = acceptedVersions(after).length > 1;
    if (areSeveral) this.#severalSince ??= now;
    else this.#longestTwoKeysMs = this.longestTwoKeysMs;
    if (!areSeveral) this.#severalSince = null;
  }

  /** I3, I4: who calls the upstream has the claim, and the store has the value. */
  calls(run: string, value: string): void {
    const { claim } = this.#keyring;
    if (claim?.run !== run) {
      this.#verdict.fail('I3', `Run ${run} called the upstream, and the claim is ${claim?.run ?? 'nobody'}'s.`);
    }
    if (!acceptedVersions(this.#keyring).some((version) => version.value === value)) {
      this.#verdict.fail('I4', `Run ${run} gave the upstream a value that the store does not have.`);
    }
  }

  /** What goes past a gate is not begun while a person holds the run. */
  saved(run: Run): void {
    this.#checkHistory(run);
    const intent = run.intents.at(-1);
    const hold = holdOf(run);
    if (hold === null || intent?.result !== null || !pastGates.includes(intent.effect)) return;
    // Whoever looked right before it was said did not see it.
    if (intent.at - hold.at < unseenMs) return;
    this.#verdict.fail('hold', `Run ${run.id} began to ${intent.effect} although it is held.`);
  }

  /** I5: what a run has begun, and may have done, is in it for ever; canaries do nothing that lasts. */
  #checkHistory(run: Run): void {
    const ids = new Set(run.intents.map(({ id }) => id));
    for (const id of this.#begun.get(run.id) ?? []) {
      if (!ids.has(id)) this.#verdict.fail('I5', `Run ${run.id} no longer knows of its intent ${id}.`);
    }
    const lasting = run.intents.filter(
      ({ effect, result }) => effect !== 'canary' && result !== null && result.outcome !== 'failed',
    );
    this.#begun.set(
      run.id,
      lasting.map(({ id }) => id),
    );
  }

  began(journal: string, run: Run): void {
    const live = this.#live.get(journal);
    if (live !== undefined && live !== run.id) {
      this.#verdict.fail('I3', `Run ${run.id} began while run ${live} of the same journal was live.`);
    }
    this.#live.set(journal, run.id);
    if (run.compromised) this.#hasty.add(run.id);
    this.#around.tally.rotations += 1;
  }

  /** I6: a run ends when nothing is left of it. */
  ended(journal: string, run: Run): void {
    if (this.#live.get(journal) === run.id) this.#live.delete(journal);
    if (run.state !== 'live') this.#around.tally[run.state] += 1;
    const { claim } = this.#keyring;
    if (run.state === 'superseded' || (claim !== null && claim.run !== run.id)) return;
    const accepted = acceptedVersions(this.#keyring);
    if (isSettled(this.#keyring) || (accepted.length === 0 && claim === null)) return;
    const left = accepted.map((version: Version) => `${version.id} ${version.stage}`).join(', ');
    this.#verdict.fail(
      'I6',
      `Run ${run.id} ended as ${run.state}, and this is left: ${left}, claim ${claim?.run ?? 'none'}.`,
    );
  }
}
