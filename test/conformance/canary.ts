import { describe, expect, it, onTestFinished } from 'vitest';
import type { CanaryFault } from '../../src/memory/canary.ts';
import type { KeyturnError } from '../../src/model/errors.ts';
import type { Canary, CanaryAnswer, CanaryCall } from '../../src/ports/canary.ts';
import { signedCanary } from '../../src/webhook/canary.ts';
import { shownFailure } from './failure.ts';

export interface OpenedCanary {
  readonly canary: Canary;
  /** How the far side answers from now on; 200 until then. */
  answer(answer: CanaryAnswer): void;
  /** Makes the next message meet this fault. */
  fault(kind: CanaryFault): void | Promise<void>;
  /** What the far side got. */
  got(): readonly { readonly headers: Readonly<Record<string, unknown>>; readonly body: string }[];
  /** Resolves when a message that hangs has reached the far side. */
  arrived(): Promise<void>;
  close(): Promise<void>;
}

export interface CanaryHarness {
  open(): Promise<OpenedCanary>;
}

const value = 'new-gehëim/nis+"\\ 0987654321';
const message = signedCanary('github', value, 'm0123456789');

function callWith(over: Partial<CanaryCall> = {}): CanaryCall {
  return { runId: 'r0123456789', id: 'm0123456789', ...message, signal: new AbortController().signal, ...over };
}

/** What every way to the receivers promises, whatever it leads over. */
export function describeCanary(name: string, harness: CanaryHarness): void {
  async function open(): Promise<OpenedCanary> {
    const opened = await harness.open();
    onTestFinished(() => opened.close());
    return opened;
  }

  async function failureOf(promise: Promise<unknown>): Promise<KeyturnError> {
    const { error, shown } = await shownFailure(promise);
    for (const secret of [value, ...Object.values(message.headers).filter((header) => header.includes('='))]) {
      expect(shown).not.toContain(secret);
    }
    expect(error.details['why']).toMatch(/\w/);
    return error;
  }

  describe(`${name} as a way for canaries`, () => {
    it('brings the message as it was signed, and says how it was answered', async () => {
      const { canary, got } = await open();
      expect(await canary.send(callWith())).toEqual({ status: 200, reason: null });
      expect(got()).toHaveLength(1);
      expect(got()[0]).toMatchObject({ headers: message.headers, body: message.body });
    });

    it.each<CanaryAnswer>([
      { status: 204, reason: null },
      { status: 302, reason: null },
      { status: 401, reason: 'signature-mismatch' },
      { status: 401, reason: null },
      { status: 503, reason: 'store-unreachable' },
      { status: 500, reason: null },
    ])('says it whatever the answer is: $status $reason', async (answer) => {
      const opened = await open();
      opened.answer(answer);
      expect(await opened.canary.send(callWith())).toEqual(answer);
      expect(opened.got()).toHaveLength(1);
    });

    it('has several under way at a time', async () => {
      const { canary, got } = await open();
      const ids = ['m1', 'm2', 'm3'];
      const calls = ids.map((id) => canary.send(callWith({ id, ...signedCanary('github', value, id) })));
      expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200, 200]);
      const bodies = got().map(({ body }) => body);
      expect(bodies.toSorted()).toEqual(ids.map((id) => signedCanary('github', value, id).body));
    });

    it('ends with canary-unreachable where nobody is there', async () => {
      const opened = await open();
      await opened.fault('unreachable');
      expect((await failureOf(opened.canary.send(callWith()))).code).toBe('canary-unreachable');
    });

    it('ends with canary-unreachable when the signal aborts one that hangs', async () => {
      const opened = await open();
      await opened.fault('hang');
      const deadline = new AbortController();
      const failure = failureOf(opened.canary.send(callWith({ signal: deadline.signal })));
      await opened.arrived();
      deadline.abort();
      expect((await failure).code).toBe('canary-unreachable');
    });

    it('sends nothing after the signal has aborted', async () => {
      const { canary, got } = await open();
      const error = await failureOf(canary.send(callWith({ signal: AbortSignal.abort() })));
      expect([error.code, got()]).toEqual(['canary-unreachable', []]);
    });

    it('names its place and how long one message may take', async () => {
      const { canary } = await open();
      expect(canary.label).not.toBe('');
      expect(canary.timeoutMs).toBeGreaterThan(0);
    });
  });
}
