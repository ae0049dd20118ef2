import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { UpstreamFault } from '../../src/memory/upstream.ts';
import type { ErrorCode, KeyturnError } from '../../src/model/errors.ts';
import type { Upstream, UpstreamCall } from '../../src/ports/upstream.ts';
import { shownFailure } from './failure.ts';

export interface OpenedUpstream {
  readonly upstream: Upstream;
  /** What the far side signs with; null until a value was set. */
  signsWith(): string | null;
  /** Makes the next call meet this fault. */
  fault(kind: UpstreamFault): void | Promise<void>;
  /** Resolves when a call that hangs has reached the far side. */
  arrived(): Promise<void>;
  close(): Promise<void>;
}

export interface UpstreamHarness {
  open(): Promise<OpenedUpstream>;
  /** What the adapter uses to get in; no error may show it. */
  readonly credentials?: readonly string[];
}

const oldValue = 'old-päss/wörd+"\\ 1234567890';
const newValue = 'new-gehëim/nis+"\\ 0987654321';

function callWith(over: Partial<UpstreamCall> = {}): UpstreamCall {
  return {
    runId: 'r0123456789',
    intentId: 'i0123456789',
    newValue,
    oldValue,
    signal: new AbortController().signal,
    ...over,
  };
}

/** Every fault, what it must become, and what the far side signs with afterwards. */
const faults: readonly { kind: Exclude<UpstreamFault, 'hang' | 'ignore'>; code: ErrorCode; signsWith: string }[] = [
  { kind: 'refuse', code: 'upstream-refused', signsWith: oldValue },
  { kind: 'throttle', code: 'upstream-throttled', signsWith: oldValue },
  { kind: 'fail-before', code: 'upstream-failed', signsWith: oldValue },
  { kind: 'fail-after', code: 'upstream-failed', signsWith: newValue },
  { kind: 'lose-answer', code: 'upstream-unknown', signsWith: newValue },
  { kind: 'unreachable', code: 'upstream-unreachable', signsWith: oldValue },
];

/** What every push upstream promises, whatever it talks to. */
export function describeUpstream(name: string, harness: UpstreamHarness): void {
  const secrets = [oldValue, newValue, ...(harness.credentials ?? [])];

  /** Opened and signing with the old value, as in the middle of a rotation. */
  async function open(): Promise<OpenedUpstream> {
    const opened = await harness.open();
    onTestFinished(() => opened.close());
    await opened.upstream.activate(callWith({ newValue: oldValue, oldValue: null }));
    return opened;
  }

  async function failureOf(promise: Promise<unknown>): Promise<KeyturnError> {
    const { error, shown } = await shownFailure(promise);
    for (const secret of secrets) {
      expect(shown).not.toContain(secret);
      expect(shown).not.toContain(encodeURIComponent(secret));
      expect(shown).not.toContain(Buffer.from(secret).toString('base64'));
      expect(shown).not.toContain(JSON.stringify(secret).slice(1, -1));
    }
    return error;
  }

  describe(`${name} as an upstream`, () => {
    it('signs with the new value after activate', async () => {
      const { upstream, signsWith } = await open();
      expect(signsWith()).toBe(oldValue);
      await upstream.activate(callWith());
      expect(signsWith()).toBe(newValue);
    });

    it('is the same after the second activate as after the first', async () => {
      const { upstream, signsWith } = await open();
      await upstream.activate(callWith());
      await upstream.activate(callWith());
      expect(signsWith()).toBe(newValue);
    });

    it('goes back when the old value is activated', async () => {
      const { upstream, signsWith } = await open();
      await upstream.activate(callWith());
      await upstream.activate(callWith({ newValue: oldValue, oldValue: newValue }));
      expect(signsWith()).toBe(oldValue);
    });

    it.each(faults)('answers $kind with $code', async ({ kind, code, signsWith: after }) => {
      const opened = await open();
      await opened.fault(kind);
      const error = await failureOf(opened.upstream.activate(callWith()));
      expect(error.code).toBe(code);
      expect(opened.signsWith()).toBe(after);
      if (kind === 'throttle') expect(error.details['retryAfterMs']).toBeGreaterThan(0);
    });

    it('can be activated again after each fault that leaves it there', async () => {
      for (const { kind } of faults.filter((fault) => fault.kind !== 'unreachable')) {
        const opened = await open();
        await opened.fault(kind);
        await failureOf(opened.upstream.activate(callWith()));
        await opened.upstream.activate(callWith());
        expect(opened.signsWith()).toBe(newValue);
      }
    });

    it('resolves when the upstream said yes and did nothing: a yes is no evidence', async () => {
      const opened = await open();
      await opened.fault('ignore');
      await opened.upstream.activate(callWith());
      expect(opened.signsWith()).toBe(oldValue);
    });

    it('ends with upstream-unknown when the signal aborts a call that hangs', async () => {
      const opened = await open();
      await opened.fault('hang');
      const deadline = new AbortController();
      const failure = failureOf(opened.upstream.activate(callWith({ signal: deadline.signal })));
      await opened.arrived();
      deadline.abort();
      expect((await failure).code).toBe('upstream-unknown');
      expect(opened.signsWith()).toBe(oldValue);
    });

    it('sends nothing after the signal has aborted', async () => {
      const opened = await open();
      const error = await failureOf(opened.upstream.activate(callWith({ signal: AbortSignal.abort() })));
      expect(error.code).toBe('upstream-unreachable');
      expect(opened.signsWith()).toBe(oldValue);
    });

    it('names itself and its longest call, and shows no value when it is inspected', async () => {
      const { upstream } = await open();
      await upstream.activate(callWith());
      expect(upstream.label).not.toBe('');
      expect(upstream.timeoutMs).toBeGreaterThan(0);
      const shown = inspect(upstream, { depth: Infinity, showHidden: true });
      for (const secret of secrets) expect(shown).not.toContain(secret);
    });
  });
}
