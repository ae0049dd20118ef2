import type { SecretPolicy } from '../model/policy.ts';
import { sign } from '../webhook/hmac.ts';
import type { Refused } from '../webhook/result.ts';
import type { Chance } from './chance.ts';
import type { Verdict } from './checks.ts';
import type { WorldClock } from './clock.ts';
import type { Fleet, Receiver } from './fleet.ts';
import type { Network } from './network.ts';
import type { Setup } from './schedule.ts';
import type { Tally } from './tally.ts';
import type { Trace } from './trace.ts';
import type { WorldUpstream } from './upstreams/upstream.ts';
import type { Watch } from './watch.ts';

/** A message on its way, with the signature that it had when it was sent last. */
interface Message {
  readonly number: number;
  readonly bornAt: number;
  value: string;
  byHand: boolean;
  attempts: number;
  /** True from a failed attempt until the next. */
  isWaiting: boolean;
  /** How often a receiver said "try again". */
  postponed: number;
}

export interface SenderParts {
  readonly clock: WorldClock;
  readonly chance: Chance;
  readonly policy: SecretPolicy;
  readonly setup: Setup;
  readonly network: Network;
  readonly fleet: Fleet;
  readonly upstream: WorldUpstream;
  readonly watch: Watch;
  readonly verdict: Verdict;
  readonly tally: Tally;
  readonly trace: Trace;
}

/** Every message has the same body, so that a value signs but once. */
const body = Buffer.from('{"event":"simulated"}');

/** How long an upstream that signs retries anew goes on, where its policy names no horizon. */
const resignedRetriesMs = 60 * 60_000;

/** The traffic of the upstream: what it signs, how it arrives, and what becomes of it. I1 is checked here. */
export class Sender {
  readonly #parts: SenderParts;
  readonly #headers = new Map<string, Readonly<Record<string, string>>>();
  readonly #underWay = new Set<Message>();
  /** Signatures of the past, for who replays one. */
  readonly #heard: string[] = [];
  readonly #retriesForMs: number;
  #isOver = false;
  #sent = 0;

  constructor(parts: SenderParts) {
    this.#parts = parts;
    const { retryHorizonMs, redelivers } = parts.policy.upstream.capabilities;
    const horizonMs = retryHorizonMs > 0 || !parts.setup.resigns ? retryHorizonMs : resignedRetriesMs;
    this.#retriesForMs = redelivers || retryHorizonMs > 0 ? horizonMs : 0;
  }

  get underWay(): number {
    return this.#underWay.size;
  }

  hasHeard(value: string): boolean {
    return this.#heard.includes(value);
  }

  begin(): void {
    const { setup, clock, chance } = this.#parts;
    const everyMs = setup.trafficEveryMs;
    if (everyMs === null) return;
    const next = (): void => {
      if (this.#isOver) return;
      this.#send();
      clock.after(everyMs * (0.5 + chance.fraction()), next);
    };
    clock.after(everyMs * chance.fraction(), next);
  }

  stop(): void {
    this.#isOver = true;
  }

  /** What of this value's signatures, made in good faith, may still arrive. */
  mayArrive(value: string): string | null {
    for (const message of this.#underWay) {
      if (message.value !== value || this.#priceOf(message) !== null) continue;
      // Its next attempt has a new signature.
      if (message.isWaiting && this.#parts.setup.resigns) continue;
      return `message ${message.number}, signed with it, is still on its way after ${message.attempts} attempts`;
    }
    return null;
  }

  /** Junk for any receiver: nobody ever signed it. */
  forge(): void {
    const { chance, tally, fleet } = this.#parts;
    tally.forged += 1;
    const receiver = fleet.pick(chance);
    if (receiver !== null) void this.#offer(receiver, 'a value that nobody has');
  }

  /** An old message once more, as somebody who has recorded it may send it. */
  replay(): void {
    const { chance, fleet, trace } = this.#parts;
    const value = this.#heard[chance.whole(0, Math.max(0, this.#heard.length - 1))];
    const receiver = fleet.pick(chance);
    if (value === undefined || receiver === null) return;
    trace.tell('forger', `replays a message of version ${this.#parts.watch.versionOf(value) ?? 'unknown'}`);
    void this.#offer(receiver, value);
  }

  async #offer(receiver: Receiver, value: string): Promise<void> {
    const { verifier } = receiver;
    const result = await verifier.verify({ headers: this.#headersOf(value), body });
    if (!result.ok) return;
    verifier.outcome(result, 200);
    const { watch, verdict } = this.#parts;
    if (!watch.isKnown(value)) verdict.fail('authentic', `A forged message was accepted by ${receiver.id}.`);
  }

  #send(): void {
    const { upstream, clock, chance, setup, tally } = this.#parts;
    const signing = upstream.sign();
    if (signing === null) return;
    const { value, byHand } = signing;
    if (!this.#heard.includes(value)) this.#heard.push(value);
    const counts = { attempts: 0, postponed: 0, isWaiting: false };
    const message: Message = { number: ++this.#sent, bornAt: clock.monotonic(), value, byHand, ...counts };
    tally.messages += 1;
    this.#underWay.add(message);
    clock.after(chance.duration(5, setup.transitMs), () => this.#arrive(message));
  }

  #arrive(message: Message): void {
    const { network, fleet, chance } = this.#parts;
    message.attempts += 1;
    message.isWaiting = false;
    const receiver = network.isDown('balancer') ? null : fleet.pick(chance);
    if (receiver === null) {
      this.#again(message, 'no receiver was reached');
      return;
    }
    const { verifier } = receiver;
    const request = { headers: this.#headersOf(message.value), body };
    void verifier.verify(request).then((result) => {
      if (!receiver.isAlive) {
        this.#again(message, `${receiver.id} died over it`);
      } else if (!result.ok) {
        this.#refused(message, receiver, result);
      } else {
        const fails = network.isDown('handler') && chance.is(0.3);
        verifier.outcome(result, fails ? 500 : 200);
        if (fails) this.#again(message, `the handler of ${receiver.id} failed`);
        else this.#done(message);
      }
    });
  }

  #done(message: Message): void {
    const { tally } = this.#parts;
    this.#underWay.delete(message);
    tally.delivered += 1;
    if (message.postponed > 0) tally.deliveredLater += 1;
  }

  #refused(message: Message, receiver: Receiver, { status, reason }: Refused): void {
    const { verdict, tally, watch, trace } = this.#parts;
    const price = this.#priceOf(message) ?? this.#priceOfHaste(message, receiver);
    const version = watch.versionOf(message.value) ?? 'of no known version';
    const isForGood = status !== 503 || this.#retriesForMs === 0;
    if (trace.isOn) trace.tell(receiver.id, `answers ${status} (${reason}) to message ${message.number} of ${version}`);
    if (!isForGood) {
      message.postponed += 1;
      this.#again(message, `${receiver.id} said "try again"`);
      return;
    }
    this.#underWay.delete(message);
    if (price !== null || (status === 503 && watch.wasCompromised)) {
      tally.refusedAtAPrice += 1;
      return;
    }
    const what = status === 503 ? 'answered 503, and the upstream does not send it again' : `answered ${status}`;
    const holds = receiver.cache.status(this.#parts.policy.secret).holds.join(', ');
    verdict.fail(
      'I1',
      `Message ${message.number}, signed with version ${version}, was ${what} (${reason}) by ${receiver.id}, which holds ${holds === '' ? 'nothing' : holds}.`,
    );
  }

  /** Why a refusal of this message is nobody's fault; null where it would be one. */
  #priceOf({ value, byHand, attempts }: Message): string | null {
    const { watch, policy } = this.#parts;
    if (byHand) return 'a hand at the upstream';
    if (!watch.isKnown(value)) return 'nobody knows the value';
    if (watch.isCompromised(value)) return 'compromised';
    return policy.gates.retryTail === 'ignore' && attempts > 1 ? 'retries are ignored' : null;
  }

  /**
   * Under compromise the upstream is switched before receivers hold the new version. One that looks into unexplained
   * signatures all the time, as it does under a flood of them, learns of it only by its next refresh.
   */
  #priceOfHaste({ value }: Message, { setup }: Receiver): string | null {
    const since = this.#parts.watch.replacementSince(value);
    if (since === null) return null;
    return this.#parts.clock.monotonic() - since <= 1.2 * setup.refreshEveryMs + 5_000 ? 'compromised, in haste' : null;
  }

  /** Once more, sooner or later, until its horizon; one that gives up in between is lost. */
  #again(message: Message, why: string): void {
    const { clock, chance, setup, policy, tally, trace, upstream } = this.#parts;
    const { redelivers } = policy.upstream.capabilities;
    const endsAt = message.bornAt + this.#retriesForMs;
    const leftMs = endsAt - clock.monotonic();
    // Where the upstream does not try again by itself, somebody may ask it to, once, any time.
    const isAskedFor = redelivers || (message.attempts === 1 && chance.is(0.5));
    if (leftMs <= 1 || !isAskedFor) {
      this.#underWay.delete(message);
      tally.lost += 1;
      return;
    }
    if (trace.isOn) trace.tell('upstream', `will send message ${message.number} again: ${why}`);
    const pauseMs = redelivers ? 2_000 * 2 ** Math.min(message.attempts, 12) * (0.5 + chance.fraction()) : leftMs;
    // The last try is the one right before the horizon: what is refused too early is refused then.
    const waitMs = redelivers ? Math.min(pauseMs, leftMs) : chance.duration(1_000, leftMs);
    message.isWaiting = true;
    clock.after(waitMs, () => {
      const signing = setup.resigns ? upstream.sign() : null;
      if (signing !== null) {
        message.value = signing.value;
        message.byHand = signing.byHand;
      }
      this.#arrive(message);
    });
  }

  #headersOf(value: string): Readonly<Record<string, string>> {
    const known = this.#headers.get(value);
    if (known !== undefined) return known;
    const headers = sign(this.#parts.policy.scheme ?? 'github', value, body);
    this.#headers.set(value, headers);
    return headers;
  }
}
