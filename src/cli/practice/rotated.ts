import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { KeyturnError } from '../../model/errors.ts';
import { steps, type Step } from '../../model/run.ts';
import type { Context } from '../context.ts';
import { nodeFlags, ownProgram } from './children.ts';

/** How long a step of a rotation took. */
export interface RotatedStep {
  readonly step: Step;
  readonly ms: number;
}

/** The beginning of a step. */
export interface EnteredStep {
  readonly step: Step;
  /** Epoch ms. */
  readonly at: number;
  readonly message: string;
}

/** Who is told of a rotation. */
export interface Audience {
  entered(step: EnteredStep): void;
  /** Asked for whenever it is time to tell what is going on. */
  meanwhile(): Promise<void>;
  /** How often, ms. */
  readonly everyMs: number;
}

export interface RotateOptions {
  readonly policy: string;
  readonly secret: string;
  /** Null: nobody looks. */
  readonly audience: Audience | null;
}

/** A line of `keyturn rotate --wait --json`, as far as it is looked at. */
interface EventLine {
  readonly at: string;
  readonly step: Step | null;
  readonly event: string;
  readonly message?: string;
  readonly outcome?: string;
}

/** Rotates by the real command line, in a process of its own, and measures the steps. */
export async function rotateByCli(context: Context, options: RotateOptions): Promise<readonly RotatedStep[]> {
  const { policy, secret, audience } = options;
  const args = ['rotate', secret, '--wait', '--json', '--policy', policy];
  const child = spawn(process.execPath, [...nodeFlags, ownProgram('bin/keyturn'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  const exited = once(child, 'exit');
  const interrupt = (): boolean => child.kill('SIGINT');
  context.signal.addEventListener('abort', interrupt, { once: true });
  const over = new AbortController();
  const telling = audience === null ? null : tellRegularly(context, audience, over.signal);
  const entered: EnteredStep[] = [];
  let last: EventLine | null = null;
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      last = JSON.parse(line) as EventLine;
      if (last.event !== 'step-entered' || last.step === null) continue;
      const begun = { step: last.step, at: Date.parse(last.at), message: last.message ?? '' };
      entered.push(begun);
      audience?.entered(begun);
    }
  } finally {
    over.abort();
    await telling;
    context.signal.removeEventListener('abort', interrupt);
  }
  await exited;
  if (last?.outcome !== 'completed') {
    throw new KeyturnError(
      'unexpected',
      `The rotation of ${secret} did not complete: ${last?.message ?? 'it said nothing'}`,
    );
  }
  const end = Date.parse(last.at);
  return steps.flatMap((step) => {
    const index = entered.findIndex((each) => each.step === step);
    const from = entered[index];
    return from === undefined ? [] : [{ step, ms: (entered[index + 1]?.at ?? end) - from.at }];
  });
}

async function tellRegularly(context: Context, audience: Audience, signal: AbortSignal): Promise<void> {
  for (;;) {
    await context.clock.sleep(audience.everyMs, { signal });
    if (signal.aborted) return;
    await audience.meanwhile();
  }
}
