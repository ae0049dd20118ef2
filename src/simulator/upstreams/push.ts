import { KeyturnError } from '../../model/errors.ts';
import type { UpstreamAnswer, UpstreamCall } from '../../ports/upstream.ts';
import type { CallFault } from '../schedule.ts';
import type { Signing, UpstreamParts, WorldUpstream } from './upstream.ts';

/**
 * An upstream that is given each new value by a call. Several parts of it sign; each learns of a new value a while after
 * the call was answered, in the order of the calls. What it answers and what it does are two things.
 */
export function createPushUpstream(parts: UpstreamParts): WorldUpstream {
  return new PushUpstream(parts);
}

interface Signer {
  signing: Signing | null;
  /** Of which setting that is. */
  setting: number;
}

/** Faults in which a call changes nothing. */
const inert: readonly CallFault[] = ['refuse', 'throttle', 'fail-before', 'hang', 'unreachable', 'ignore'];

class PushUpstream implements WorldUpstream {
  readonly port;
  readonly #parts: UpstreamParts;
  readonly #faults: CallFault[] = [];
  readonly #signers: Signer[];
  readonly #told = new Set<string>();
  /** Settings on their way to signers, by value. */
  readonly #coming = new Map<string, number>();
  #settings = 0;
  #calling = 0;
  #lastTold: string | null = null;

  constructor(parts: UpstreamParts) {
    this.#parts = parts;
    this.#signers = Array.from({ length: parts.setup.signers }, () => ({ signing: null, setting: 0 }));
    const { timeoutMs } = parts.policy.upstream.steps.activate;
    this.port = {
      label: 'simulated upstream',
      timeoutMs,
      activate: (call: UpstreamCall) => this.#activate(call),
      close: () => Promise.resolve(),
    };
  }

  get lastTold(): string | null {
    return this.#lastTold;
  }

  fault(calls: readonly CallFault[]): void {
    this.#faults.push(...calls);
  }

  sign(): Signing | null {
    const { chance } = this.#parts;
    return this.#signers[chance.whole(0, this.#signers.length - 1)]?.signing ?? null;
  }

  setByHand(value: string, amiss: boolean): void {
    if (!amiss) this.#told.add(value);
    this.#settings += 1;
    for (const signer of this.#signers) {
      signer.setting = this.#settings;
      signer.signing = { value, byHand: amiss };
    }
  }

  isTold(value: string): boolean {
    return this.#told.has(value) || this.mayStillSign(value);
  }

  mayStillSign(value: string): boolean {
    const isSigned = this.#signers.some(({ signing }) => signing?.value === value && !signing.byHand);
    return isSigned || (this.#coming.get(value) ?? 0) > 0;
  }

  signsOnlyWith(value: string): boolean {
    const isOther = [...this.#coming].some(([coming, count]) => count > 0 && coming !== value);
    return !isOther && this.#signers.every(({ signing }) => signing?.value === value);
  }

  arriveLate(value: string, withinMs: number): void {
    const { clock, chance, tell } = this.#parts;
    if (withinMs <= 0 || chance.is(0.3)) return;
    clock.after(chance.whole(0, Math.floor(withinMs)), () => {
      tell('a call of a process that is dead arrives');
      this.#set(value);
    });
  }

  async #activate({ runId, newValue, signal }: UpstreamCall): Promise<UpstreamAnswer> {
    const { clock, chance, onCall, fail, tell } = this.#parts;
    if (this.#calling > 0) fail(`Run ${runId} called the upstream while another call was under way.`);
    const fault = this.#faults.shift() ?? null;
    this.#calling += 1;
    try {
      await clock.sleep(chance.duration(20, 400), { signal });
      if (isAborted(signal)) throw errors.unreachable();
      if (fault !== 'unreachable') {
        onCall(runId, newValue);
        this.#lastTold = newValue;
      }
      tell(`run ${runId} calls${fault === null ? '' : `, which meets: ${fault}`}`);
      if (fault === null || !inert.includes(fault)) this.#set(newValue, fault === 'partial');
      await clock.sleep(chance.duration(20, 400), { signal });
      if (fault !== null) await suffer(fault, signal);
      if (isAborted(signal)) throw errors.unknown();
      this.#told.add(newValue);
      return { requestId: null };
    } finally {
      this.#calling -= 1;
    }
  }

  /** Each signer learns of it in its time; none goes back to an earlier setting. */
  #set(value: string, isPartial = false): void {
    const { clock, chance, setup } = this.#parts;
    this.#settings += 1;
    const setting = this.#settings;
    const first = chance.whole(0, this.#signers.length - 1);
    for (const [index, signer] of this.#signers.entries()) {
      if (isPartial && index === (first + 1) % this.#signers.length && index !== first) continue;
      const lateMs = index === first ? 0 : chance.whole(0, setup.switchSpreadMs);
      this.#coming.set(value, (this.#coming.get(value) ?? 0) + 1);
      clock.after(setup.switchDelayMs + lateMs, () => {
        this.#coming.set(value, (this.#coming.get(value) ?? 0) - 1);
        if (setting < signer.setting) return;
        const isNews = signer.signing?.value !== value;
        signer.setting = setting;
        signer.signing = { value, byHand: false };
        if (isNews) this.#parts.onSwitch(value);
      });
    }
  }
}

/** Asked anew each time: it changes while something is waited for. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

async function suffer(fault: CallFault, signal: AbortSignal): Promise<void> {
  switch (fault) {
    case 'refuse':
      throw new KeyturnError('upstream-refused', 'The simulated upstream refused the change.');
    case 'throttle':
      throw new KeyturnError('upstream-throttled', 'The simulated upstream asks to wait.', {
        details: { retryAfterMs: 1_000 },
      });
    case 'fail-before':
    case 'fail-after':
      throw new KeyturnError('upstream-failed', 'The simulated upstream failed, and the change may have happened.');
    case 'lose-answer':
      throw errors.unknown();
    case 'hang':
      if (!signal.aborted) {
        await new Promise((resolve) => {
          signal.addEventListener('abort', resolve, { once: true });
        });
      }
      throw errors.unknown();
    case 'unreachable':
      throw errors.unreachable();
    case 'ignore':
    case 'partial':
  }
}

const errors = {
  unknown: () =>
    new KeyturnError('upstream-unknown', 'The simulated upstream gave no answer, and the change may have happened.'),
  unreachable: () => new KeyturnError('upstream-unreachable', 'The simulated upstream was not reached.'),
};
