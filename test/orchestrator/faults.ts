import { KeyturnError, type ErrorCode } from '../../src/model/errors.ts';
import type { Parts } from '../../src/orchestrator/parts.ts';
import type { UpstreamCall } from '../../src/ports/upstream.ts';
import type { World } from './world.ts';

/** A process whose nth call of any port goes wrong, whichever port that is. */

export class Crash extends Error {}

/**
 * What befalls the process at that call. `before` and `after`: it dies, right before the call has its effect or right
 * after. `throw`: the call fails and has no effect. `lost`: it has its effect, and fails all the same.
 */
export type Fault = 'before' | 'after' | 'throw' | 'lost';

export const faults: readonly Fault[] = ['before', 'after', 'throw', 'lost'];

type PortName = 'journal' | 'usage' | 'store' | 'upstream' | 'canary';

/** The error that a port which could not be reached gives. */
const codes: Readonly<Record<PortName, ErrorCode>> = {
  journal: 'journal-unreachable',
  usage: 'usage-unreachable',
  store: 'store-unreachable',
  upstream: 'upstream-unknown',
  canary: 'canary-unreachable',
};

/** One call of a port. */
export interface Call {
  readonly port: PortName;
  readonly method: string;
  readonly args: readonly unknown[];
}

type Around = (call: Call, work: () => Promise<unknown>) => Promise<unknown>;

/** The parts of a process with something around each of its calls. */
export function around(parts: Parts, name: string, wrapCall: Around): Parts {
  const wrap = <T extends object>(port: PortName, target: T): T =>
    new Proxy(target, {
      get(_, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (key === 'plain' && typeof value === 'object' && value !== null) return wrap(port, value);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) =>
          wrapCall(
            { port, method: String(key), args },
            async () => (await Reflect.apply(value, target, args)) as unknown,
          );
      },
    });
  return {
    ...parts,
    holder: { name, process: null },
    journal: wrap('journal', parts.journal),
    leases: wrap('journal', parts.leases),
    usage: wrap('usage', parts.usage),
    store: async (store) => wrap('store', await parts.store(store)),
    upstream: async (policy) => wrap('upstream', await parts.upstream(policy)),
    canary: async (policy) => wrap('canary', await parts.canary(policy)),
  };
}

export interface Faulty {
  readonly parts: Parts;
  /** Whether the call at which it goes wrong has come. */
  readonly struck: () => boolean;
  /** Whether the process is dead: nothing that it calls has an effect any more. */
  readonly dead: () => boolean;
}

export function faulty(parts: Parts, at: number, fault: Fault): Faulty {
  let calls = 0;
  let isDead = false;
  const wrapped = around(parts, 'someone@here, process 666', async ({ port, method }, work) => {
    if (isDead) throw new Crash('dead');
    calls += 1;
    if (calls !== at) return work();
    isDead = fault === 'before' || fault === 'after';
    if (fault === 'after' || fault === 'lost') await work();
    if (isDead) throw new Crash(fault);
    throw new KeyturnError(codes[port], `${port}.${method} does not answer.`);
  });
  return { parts: wrapped, struck: () => calls >= at, dead: () => isDead };
}

/**
 * A process that dies with a call to the upstream sent, its nth. The call is under way until right before the deadline
 * that its intent names, and only then has its effect.
 */
export function dyingInCall(world: World, parts: Parts, at: number): Faulty {
  let calls = 0;
  let isDead = false;
  const wrapped = around(parts, 'someone@here, process 667', async ({ port, args }, work) => {
    if (isDead) throw new Crash('dead');
    if (port === 'upstream') calls += 1;
    if (port !== 'upstream' || calls !== at) return work();
    isDead = true;
    const [run] = await parts.journal.runs({ live: true });
    const deadline = run?.intents.at(-1)?.deadline ?? 0;
    const { newValue } = args[0] as UpstreamCall;
    void world.calling(async () => {
      await world.clock.sleep(deadline - world.clock.now() - 1);
      world.upstream.set(newValue);
    });
    throw new Crash('in the call');
  });
  return { parts: wrapped, struck: () => calls >= at, dead: () => isDead };
}

/** A process that is stopped at its nth call for so long, right before or right after it, and then goes on as if nothing were. */
export function sleepy(parts: Parts, at: number, side: 'before' | 'after', ms: number): Faulty {
  let calls = 0;
  const wrapped = around(parts, 'someone@here, process 777', async (_, work) => {
    calls += 1;
    const isHere = calls === at;
    if (isHere && side === 'before') await parts.clock.sleep(ms);
    const result = await work();
    if (isHere && side === 'after') await parts.clock.sleep(ms);
    return result;
  });
  return { parts: wrapped, struck: () => calls >= at, dead: () => false };
}
