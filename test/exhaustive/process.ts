import { KeyturnError, isKeyturnError, type ErrorCode } from '../../src/model/errors.ts';
import { createSeededRandom } from '../../src/memory/clock.ts';
import { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import type { Parts } from '../../src/orchestrator/parts.ts';
import type { ProcessIdentity } from '../../src/ports/journal.ts';
import type { Clock, Random } from '../../src/ports/system.ts';
import type { UpstreamAnswer, UpstreamCall } from '../../src/ports/upstream.ts';
import { farProcess } from '../conformance/run-samples.ts';
import { around, type Call } from '../orchestrator/faults.ts';
import type { Ground } from './ground.ts';

/** `throw`: the call fails and has no effect. `lost`: it has its effect, and fails all the same. */
export type How = 'go' | 'throw' | 'lost';

/** A call that a process has begun and that the scheduler lets go on when it likes. */
export interface Pending {
  readonly port: Call['port'] | 'clock';
  readonly method: string;
  /** Monotonic ms before which it does not go on; a sleep's end. */
  readonly due: number;
  /** What came of it: `ok`, or the error's code. */
  readonly go: (how: How) => Promise<string>;
}

/** What a process does, from its first call to its end. What it throws ends it, as it would end a command. */
export interface Script {
  readonly name: string;
  /** The journal that it is over, by number. */
  readonly journal: number;
  readonly work: (process: Orchestrator, life: Life) => Promise<unknown>;
}

/** What a script may ask of the scheduler. */
export interface Life {
  readonly ground: Ground;
  /** Time passes for the process as for a command that ended and is given again: nothing of before is kept. */
  readonly pause: (ms: number) => Promise<void>;
}

/** A process that makes no call before the scheduler says so. */
export interface Stepped {
  readonly script: Script;
  readonly index: number;
  readonly identity: ProcessIdentity;
  state: 'runs' | 'ended' | 'killed';
  /** Oldest first. */
  readonly pending: Pending[];
  /** All that it has learned since it keeps anything: the same history makes the same next call. */
  history: string;
  /** True while it is between two commands, and keeps nothing. */
  pausing: boolean;
  /** Ended with an error that is no answer of keyturn's. */
  broke: unknown;
}

const codes: Readonly<Record<Call['port'], ErrorCode>> = {
  journal: 'journal-unreachable',
  usage: 'usage-unreachable',
  store: 'store-unreachable',
  upstream: 'upstream-unknown',
  canary: 'canary-unreachable',
};

export function startProcess(ground: Ground, script: Script, index: number): Stepped {
  const identity: ProcessIdentity = { ...farProcess, pid: index + 1 };
  const stepped: Stepped = {
    script,
    index,
    identity,
    state: 'runs',
    pending: [],
    history: '',
    pausing: false,
    broke: null,
  };
  const clock = steppedClock(ground, stepped);
  const bare = ground.partsOf(script.journal);
  const wrapped = around(bare, `process ${String(index + 1)}`, (call, work) =>
    call.port === 'upstream' && call.method === 'activate'
      ? callUpstream(ground, stepped, call.args[0] as UpstreamCall)
      : wait(stepped, call, 0, work, () => new KeyturnError(codes[call.port], `${call.method} does not answer.`)),
  );
  const parts: Parts = {
    ...wrapped,
    clock,
    random: randomOf(ground, stepped),
    holder: { name: `process ${String(index + 1)}`, process: identity },
    processes: { self: () => identity, isDead: (process) => ground.isDead(process) },
  };
  const life: Life = {
    ground,
    pause: async (ms) => {
      stepped.pausing = true;
      await clock.sleep(ms);
      stepped.pausing = false;
    },
  };
  void wait(stepped, { port: 'clock', method: 'start' }, 0, async () => {}, neverFails)
    .then(() => script.work(new Orchestrator(ground.change(parts)), life))
    .catch((error: unknown) => {
      if (!isKeyturnError(error)) stepped.broke = error;
    })
    .finally(() => {
      if (stepped.state === 'runs') stepped.state = 'ended';
    });
  return stepped;
}

/** Ids that depend on nothing but who makes them, when, and after how many others: the same history gives the same ones. */
function randomOf(ground: Ground, { index }: Stepped): Random {
  let [seededAt, random] = [-1, createSeededRandom(0)];
  const present = (): Random => {
    const now = ground.world.clock.monotonic();
    if (now !== seededAt) [seededAt, random] = [now, createSeededRandom(index * 10_000_019 + now)];
    return random;
  };
  return { bytes: (count) => present().bytes(count), fraction: () => present().fraction() };
}

function wait<T>(
  stepped: Stepped,
  { port, method }: Pick<Pending, 'port' | 'method'>,
  due: number,
  work: () => Promise<T>,
  failure: () => Error,
): Promise<T> {
  // Whatever a killed process still calls never comes back.
  if (stepped.state === 'killed') return new Promise(() => {});
  return new Promise<T>((resolve, reject) => {
    const go = async (how: How): Promise<string> => {
      stepped.pending.splice(stepped.pending.indexOf(pending), 1);
      try {
        if (how === 'throw') throw failure();
        const result = await work();
        if (how === 'lost') throw failure();
        resolve(result);
        return 'ok';
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
        return isKeyturnError(error) ? error.code : String(error);
      }
    };
    const pending: Pending = { port, method, due, go };
    stepped.pending.push(pending);
  });
}

/** Ends the first wait of that method and time as if it had never been, with `outcome`. */
function endWait(stepped: Stepped, method: string, due: number, outcome: () => void): void {
  const index = stepped.pending.findIndex((pending) => pending.method === method && pending.due === due);
  if (index < 0) return;
  stepped.pending.splice(index, 1);
  outcome();
}

/** Only calls of ports are made to fail. */
function neverFails(): Error {
  return new Error('a clock failed');
}

function steppedClock({ world }: Ground, stepped: Stepped): Clock {
  return {
    now: () => world.clock.now(),
    monotonic: () => world.clock.monotonic(),
    sleep: (ms, { signal } = {}) => {
      if (signal?.aborted === true) return Promise.resolve();
      return new Promise((resolve) => {
        const due = world.clock.monotonic() + Math.max(1, ms);
        const slept = wait(stepped, { port: 'clock', method: 'sleep' }, due, async () => {}, neverFails);
        void slept.then(resolve);
        signal?.addEventListener('abort', () => endWait(stepped, 'sleep', due, resolve), { once: true });
      });
    },
  };
}

/** A call goes out, takes effect, and is answered; the process may be stopped or die in between. */
async function callUpstream(ground: Ground, stepped: Stepped, call: UpstreamCall): Promise<UpstreamAnswer> {
  const unknown = (): KeyturnError => new KeyturnError('upstream-unknown', 'The upstream did not answer.');
  const flight = ground.takeOff(stepped, call);
  const aborted = new Promise<never>((_, reject) => {
    call.signal.addEventListener(
      'abort',
      () => {
        flight.landed = true;
        for (const method of ['arrive', 'answer']) endWait(stepped, method, 0, () => {});
        reject(unknown());
      },
      { once: true },
    );
  });
  aborted.catch(() => {});
  const arrive = wait(stepped, { port: 'upstream', method: 'arrive' }, 0, async () => ground.arrive(flight), unknown);
  try {
    await Promise.race([arrive, aborted]);
    await Promise.race([wait(stepped, { port: 'upstream', method: 'answer' }, 0, async () => {}, unknown), aborted]);
    return { requestId: null };
  } finally {
    flight.landed = true;
  }
}
