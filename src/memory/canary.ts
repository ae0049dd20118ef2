import { KeyturnError } from '../model/errors.ts';
import type { Canary, CanaryAnswer, CanaryCall } from '../ports/canary.ts';

/** What goes wrong with a message on its way. */
export type CanaryFault =
  /** Nobody can be connected to. */
  | 'unreachable'
  /** It arrives, and no answer ever comes. */
  | 'hang';

/** What arrives, and how the receivers answer it. */
export type CanaryReceiver = (message: Pick<CanaryCall, 'headers' | 'body'>) => CanaryAnswer | Promise<CanaryAnswer>;

export interface MemoryCanaryControl {
  /** From now on messages are answered so; until then each with 200. */
  answer(receiver: CanaryReceiver): void;
  /** The next messages meet these, one each, in this order. */
  fault(...faults: readonly CanaryFault[]): void;
  /** Every message that arrived so far. */
  arrived(): readonly Pick<CanaryCall, 'runId' | 'id' | 'headers' | 'body'>[];
}

/** The way to receivers in this process, and the handle by which a test or a simulation turns it. */
export function createMemoryCanary({ timeoutMs = 5_000 }: { readonly timeoutMs?: number } = {}): {
  readonly canary: Canary;
  readonly control: MemoryCanaryControl;
} {
  let receive: CanaryReceiver = () => ({ status: 200, reason: null });
  const faults: CanaryFault[] = [];
  const arrived: CanaryCall[] = [];
  const canary: Canary = {
    label: 'memory',
    timeoutMs,
    send: async (call) => {
      const { signal } = call;
      if (signal.aborted) throw unreachable('its time was over before it was sent');
      const fault = faults.shift();
      if (fault === 'unreachable') throw unreachable('nobody is there');
      arrived.push(call);
      if (fault === undefined) return receive(call);
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      throw unreachable('when its time was over');
    },
    close: async () => {},
  };
  const control: MemoryCanaryControl = {
    answer: (receiver) => {
      receive = receiver;
    },
    fault: (...next) => {
      faults.push(...next);
    },
    arrived: () => arrived.map(({ runId, id, headers, body }) => ({ runId, id, headers, body })),
  };
  return { canary, control };
}

function unreachable(why: string): KeyturnError {
  return new KeyturnError('canary-unreachable', `A canary had no answer from the receivers in memory (${why}).`, {
    hint: 'It was told to get none; it is tried again.',
    details: { why },
  });
}
