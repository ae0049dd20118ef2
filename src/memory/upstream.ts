import { KeyturnError } from '../model/errors.ts';
import type { Upstream, UpstreamCall } from '../ports/upstream.ts';

/** What goes wrong with a call, named by what the upstream does. */
export type UpstreamFault =
  /** Says no. */
  | 'refuse'
  /** Says later, and when. */
  | 'throttle'
  /** Breaks before it changes anything, and says so as a server does: with an error that proves nothing. */
  | 'fail-before'
  /** Changes its setting and then breaks. */
  | 'fail-after'
  /** Changes its setting, and the answer gets lost. */
  | 'lose-answer'
  /** Changes nothing and never answers. */
  | 'hang'
  /** Cannot be connected to. */
  | 'unreachable'
  /** Says yes and changes nothing. */
  | 'ignore';

export interface MemoryUpstreamControl {
  /** The value that it signs with; null until one was set. */
  signsWith(): string | null;
  /** The next calls meet these, one each, in this order. */
  fault(...faults: readonly UpstreamFault[]): void;
  /** Every call that reached it so far, faulty ones included. */
  calls(): readonly { readonly runId: string; readonly fault: UpstreamFault | null }[];
  /** Someone else changes the setting by hand. */
  set(value: string | null): void;
}

export interface MemoryUpstreamOptions {
  readonly signsWith?: string;
  readonly timeoutMs?: number;
}

/** An upstream in this process, and the handle by which a test or a simulation turns it. */
export function createMemoryUpstream(options: MemoryUpstreamOptions = {}): {
  readonly upstream: Upstream;
  readonly control: MemoryUpstreamControl;
} {
  const { timeoutMs = 10_000 } = options;
  let value = options.signsWith ?? null;
  const faults: UpstreamFault[] = [];
  const calls: { readonly runId: string; readonly fault: UpstreamFault | null }[] = [];

  const upstream: Upstream = {
    label: 'memory',
    timeoutMs,
    activate: async (call) => {
      if (call.signal.aborted) throw errors.unreachable();
      const fault = faults.shift() ?? null;
      if (fault !== 'unreachable') calls.push({ runId: call.runId, fault });
      if (fault === null || fault === 'fail-after' || fault === 'lose-answer') value = call.newValue;
      if (fault !== null) await suffer(fault, call);
      return { requestId: null };
    },
    close: async () => {},
  };
  const control: MemoryUpstreamControl = {
    signsWith: () => value,
    fault: (...next) => {
      faults.push(...next);
    },
    calls: () => [...calls],
    set: (next) => {
      value = next;
    },
  };
  return { upstream, control };
}

async function suffer(fault: UpstreamFault, { signal }: UpstreamCall): Promise<void> {
  switch (fault) {
    case 'refuse':
      throw errors.refused();
    case 'throttle':
      throw errors.throttled();
    case 'fail-before':
    case 'fail-after':
      throw errors.failed();
    case 'lose-answer':
      throw errors.unknown();
    case 'hang':
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      throw errors.unknown();
    case 'unreachable':
      throw errors.unreachable();
    case 'ignore':
  }
}

const errors = {
  refused: () =>
    new KeyturnError('upstream-refused', 'The upstream in memory refused the change.', {
      hint: 'It was told to refuse; let it accept and try again.',
    }),
  throttled: () =>
    new KeyturnError('upstream-throttled', 'The upstream in memory asks to wait.', {
      hint: 'Nothing to do: it is tried again later.',
      details: { retryAfterMs: 1_000 },
    }),
  failed: () =>
    new KeyturnError('upstream-failed', 'The upstream in memory failed, and the change may have happened.', {
      hint: 'It is tried again.',
    }),
  unknown: () =>
    new KeyturnError('upstream-unknown', 'The upstream in memory gave no answer, and the change may have happened.', {
      hint: 'It is tried again.',
    }),
  unreachable: () =>
    new KeyturnError('upstream-unreachable', 'The upstream in memory was not reached.', {
      hint: 'Nothing was sent; it is tried again.',
    }),
};
