import { failing, type Check } from '../model/check.ts';
import { isKeyturnError } from '../model/errors.ts';
import { acceptedVersions, findVersion, primaryOf } from '../model/keyring.ts';
import { wantsAbort, type Run } from '../model/run.ts';
import type { Wait } from '../decide/decision.ts';
import type { Advance } from '../orchestrator/advance.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { Chance } from './chance.ts';
import type { Verdict } from './checks.ts';
import type { WorldClock } from './clock.ts';
import type { Fleet } from './fleet.ts';
import type { Leaks } from './leaks.ts';
import { Killed } from './processes.ts';
import type { Sender } from './sender.ts';
import type { Tally } from './tally.ts';
import type { Trace } from './trace.ts';
import type { WorldUpstream } from './upstreams/upstream.ts';
import type { Watch } from './watch.ts';

export interface PeopleParts {
  readonly clock: WorldClock;
  readonly chance: Chance;
  readonly secret: string;
  readonly peopleMs: number;
  readonly fleet: Fleet;
  readonly upstream: WorldUpstream;
  readonly sender: Sender;
  readonly watch: Watch;
  readonly verdict: Verdict;
  readonly leaks: Leaks;
  readonly tally: Tally;
  readonly trace: Trace;
  /** The command line of that person, on the machine with the journal of now. */
  readonly at: (who: string) => Orchestrator;
  readonly isLost: (journal: string) => boolean;
}

/** What somebody has asked for and could not have yet. */
type Wish = 'rotate' | 'abort' | 'compromised';

/** A wait for a time of the calendar that is longer than this is overruled, so that a world does not last for weeks. */
const longestCalendarWaitMs = 2 * 60 * 60_000;

/**
 * The people of a world. They ask, look now and then, and do what a wait asks them to, if it is true: nobody says that a
 * receiver is gone which is not, or that the upstream has a value which it has not.
 */
export class People {
  readonly #parts: PeopleParts;
  readonly #wishes: Wish[] = [];
  #heldUntil = 0;
  #looks = 0;
  #lastWait = 'nothing';

  constructor(parts: PeopleParts) {
    this.#parts = parts;
  }

  get wantNothing(): boolean {
    return this.#wishes.length === 0;
  }

  /** What the run waited for when somebody last looked. */
  get lastWait(): string {
    return this.#lastWait;
  }

  begin(): void {
    const { clock, chance, peopleMs } = this.#parts;
    const next = (): void => {
      void this.#look().finally(() => {
        clock.after(peopleMs * (0.5 + chance.fraction()), next);
      });
    };
    clock.after(peopleMs * chance.fraction(), next);
  }

  ask(wish: Wish): void {
    this.#wishes.push(wish);
    void this.#pursue();
  }

  hold(forMs: number): void {
    const { clock, secret } = this.#parts;
    void this.#say('hold', (command) => command.hold(secret, 'wait'));
    this.#heldUntil = Math.max(this.#heldUntil, clock.monotonic() + forMs);
  }

  deny(): void {
    void this.#say('deny', (command) => command.deny(this.#parts.secret, 'not today'));
  }

  /** The one who sees that the upstream's setting is not what it should be. */
  correctUpstream(): void {
    const { upstream, tally, trace } = this.#parts;
    const { lastTold } = upstream;
    if (lastTold === null) return;
    trace.tell('people', 'correct the setting of the upstream by hand');
    count(tally, 'corrected the upstream by hand');
    upstream.setByHand(lastTold, false);
  }

  async #look(): Promise<void> {
    this.#looks += 1;
    await this.#pursue();
    const { secret } = this.#parts;
    const state = await this.#try((command) => command.look(secret));
    if (state === null) return;
    if (state.live === null) {
      const claim = state.keyring?.claim ?? null;
      this.#lastWait = claim === null ? 'nothing' : `the claim of run ${claim.run}`;
      if (claim !== null && this.#parts.isLost(claim.journal)) await this.#takeOver(claim.run);
      return;
    }
    const { run, next } = state.live;
    if (next.kind !== 'wait') return;
    this.#lastWait = failing(next.checks)
      .map(({ name, message }) => `${name} (${message})`)
      .join('; ');
    await this.#help(run, next);
  }

  /** Asks again for what was not to be had. */
  async #pursue(): Promise<void> {
    const { secret, watch, isLost } = this.#parts;
    const wish = this.#wishes[0];
    if (wish === undefined) return;
    const drop = (): void => {
      const at = this.#wishes.indexOf(wish);
      if (at !== -1) this.#wishes.splice(at, 1);
    };
    try {
      await this.#command(wish, async (command) => {
        if (wish === 'abort') await command.abort(secret, 'it was a mistake');
        else this.#checkTaken(wish, await command.rotate(secret, { compromised: wish === 'compromised' }));
      });
      drop();
    } catch (error) {
      if (isKeyturnError(error, 'no-live-run', 'wrong-state', 'run-held')) drop();
      if (!isKeyturnError(error, 'foreign-claim')) return;
      const { claim } = watch.keyring;
      // Somebody else rotates it, which is as good; a claim whose journal is lost stays until somebody takes it over.
      if (claim !== null && isLost(claim.journal) && wish !== 'abort') {
        await this.#takeOver(claim.run);
      }
      drop();
    }
  }

  #checkTaken(wish: Wish, { run }: Advance): void {
    if (wish !== 'compromised' || run.compromised) return;
    this.#parts.verdict.fail('compromise', `A compromise was told, and run ${run.id} goes on as if nothing were.`);
  }

  async #takeOver(run: string): Promise<void> {
    const { secret, watch } = this.#parts;
    watch.allowTakeOver(run);
    await this.#say('took over a lost run', (command) => command.rotate(secret, { takeOver: run }));
  }

  async #help(run: Run, wait: Wait): Promise<void> {
    for (const check of failing(wait.checks)) await this.#helpWith(run, check);
  }

  async #helpWith(run: Run, check: Check): Promise<void> {
    const { secret, clock, fleet, watch } = this.#parts;
    switch (check.name) {
      case 'held':
        if (clock.monotonic() < this.#heldUntil) return;
        await this.#say('let a run go on', (command) => command.unhold(secret, 'it may'));
        return;
      case 'timeout':
        await this.#say('looked at a gate that timed out', (command) => command.unhold(secret, 'looked at it'));
        return;
      case 'approvals':
        await this.#say('approved', (command) => command.approve(secret, 'looked at it'), `person-${this.#looks}`);
        return;
      case 'missing': {
        const { receivers } = check.evidence as { readonly receivers?: readonly string[] };
        const gone = (receivers ?? []).filter((id) => !fleet.isAlive(id));
        for (const id of gone) await this.#say('forgot a receiver', (command) => command.forget(id, 'it is gone'));
        return;
      }
      case 'upstream':
      case 'reassert':
      case 'new-seen':
      case 'retry-tail':
      case 'unreported':
      case 'grace':
        if (check.command !== null || check.waitingFor === 'person') await this.#seeToUpstream(run);
        return;
      case 'old-quiet':
        if (check.waitingFor !== 'person') return;
        await this.#findStray(run, check);
        return;
      case 'keyring':
        if (run.compromised || check.waitingFor !== 'person') return;
        // Another journal wrote over a document that a hand had taken away: the wait says what to do.
        if (findVersion(watch.keyring, run.to) === null) {
          await this.#say('abort', (command) => command.abort(secret, 'its keyring was lost'));
          return;
        }
        // A stand-in for a lost run that had gone back already: so it does here.
        if (run.tookOver === null || primaryOf(watch.keyring)?.id !== run.from) return;
        await this.#say('abort', (command) => command.abort(secret, 'it had gone back'));
        return;
      case 'cutover':
      case 'blackout':
        if ((check.eta ?? Infinity) - clock.now() > longestCalendarWaitMs) await this.#accept(check);
        return;
      // What is left mends itself, or is mended where it broke.
      case 'store':
      case 'journal':
      case 'claim':
      case 'usage-log':
      case 'effect-in-flight':
      case 'clock':
      case 'read-back':
      case 'propagation':
      case 'roster':
      case 'holding':
      case 'coverage':
      case 'canary':
      case 'mirror':
    }
  }

  /** Looks who still sends with what is to go: a part of the upstream, or nobody any more. */
  async #findStray(run: Run, check: Check): Promise<void> {
    const { upstream, sender, watch, trace } = this.#parts;
    const wanted = this.#wanted(run);
    if (wanted !== null && !upstream.signsOnlyWith(wanted)) {
      trace.tell('people', 'set the upstream by hand');
      upstream.setByHand(wanted, false);
      return;
    }
    const others = acceptedVersions(watch.keyring).filter(({ value }) => value !== wanted);
    if (others.every(({ value }) => sender.mayArrive(value) === null)) await this.#accept(check);
  }

  /** The value that the upstream is to have, as the keyring shows it to a person. */
  #wanted(run: Run): string | null {
    const version = wantsAbort(run) ? (run.from ?? run.to) : run.to;
    return findVersion(this.#parts.watch.keyring, version)?.value ?? null;
  }

  async #accept(check: Check): Promise<void> {
    await this.#say(`overruled ${check.name}`, (command) =>
      command.unhold(this.#parts.secret, 'looked at it', check.name),
    );
  }

  /** Looks what the upstream signs with: says so where it is right, and has it told again where it is not. */
  async #seeToUpstream(run: Run): Promise<void> {
    const { upstream, secret } = this.#parts;
    const wanted = this.#wanted(run);
    if (wanted !== null && upstream.signsOnlyWith(wanted)) {
      await this.#say('confirmed', (command) => command.confirm(secret, 'looked at it'));
    } else if (!run.policy.upstream.capabilities.idempotent && wanted !== null) {
      // It must not be told twice.
      this.#parts.trace.tell('people', 'set the upstream by hand');
      upstream.setByHand(wanted, false);
      await this.#say('confirmed', (command) => command.confirm(secret, 'set it by hand'));
    } else {
      await this.#say('had the upstream told again', (command) => command.rotate(secret));
    }
  }

  async #say(what: string, say: (command: Orchestrator) => Promise<unknown>, who?: string): Promise<void> {
    const said = await this.#try((command) => this.#counted(what, command, say), who);
    if (said !== null) this.#parts.trace.tell('people', what);
  }

  async #counted(what: string, command: Orchestrator, say: (command: Orchestrator) => Promise<unknown>): Promise<true> {
    await say(command);
    count(this.#parts.tally, what);
    return true;
  }

  async #command(what: string, say: (command: Orchestrator) => Promise<unknown>): Promise<void> {
    this.#parts.trace.tell('people', `ask: ${what}`);
    await this.#expecting((command) => this.#counted(what, command, say));
  }

  /** Null where the command failed, as commands may. */
  async #try<T>(say: (command: Orchestrator) => Promise<T>, who?: string): Promise<T | null> {
    try {
      return await this.#expecting(say, who);
    } catch {
      return null;
    }
  }

  /** Rethrows what a command may fail with; anything else is a violation. */
  async #expecting<T>(say: (command: Orchestrator) => Promise<T>, who = 'person'): Promise<T> {
    const { at, verdict, leaks } = this.#parts;
    try {
      return await say(at(who));
    } catch (error) {
      tellUnexpected(error, verdict, leaks);
      throw error;
    }
  }
}

function count(tally: Tally, what: string): void {
  tally.people[what] = (tally.people[what] ?? 0) + 1;
}

/** An error that a process ended with: one of keyturn's own without a value in it, or that it was killed. */
export function tellUnexpected(error: unknown, verdict: Verdict, leaks: Leaks): void {
  if (error instanceof Killed) return;
  if (isKeyturnError(error)) {
    const { message, hint, details } = error;
    leaks.lookIn([message, hint, details], 'an error');
    if (error.code !== 'unexpected' && error.code !== 'illegal-move' && error.code !== 'keyring-invalid') return;
  }
  const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
  verdict.fail('I5', `A process ended with an error that nobody expects: ${words}`);
}
