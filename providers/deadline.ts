import { formatDuration } from '../src/model/duration.ts';
import { wakeUp, type Clock } from '../src/ports/system.ts';

/** When a request over the network has to have ended. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Why it came, for the end of a sentence. */
  reason(): string;
  end(): void;
}

/** The earlier of the call's own signal and `timeoutMs` from now. */
export function startDeadline(clock: Clock, timeoutMs: number, outer: AbortSignal): Deadline {
  const inner = new AbortController();
  const sleep = new AbortController();
  const abort = (): void => inner.abort();
  outer.addEventListener('abort', abort, { once: true });
  void clock.sleep(timeoutMs, { signal: sleep.signal }).then(abort);
  return {
    signal: inner.signal,
    reason: () => (outer.aborted ? 'when its time was over' : `within ${formatDuration(timeoutMs)}`),
    end: () => {
      outer.removeEventListener('abort', abort);
      sleep.abort(wakeUp);
    },
  };
}
