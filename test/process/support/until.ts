import { setTimeout as sleep } from 'node:timers/promises';

/** How long a condition may take on a machine that is busy with other work too, ms: it ends what hangs, and shows nothing else. */
const patienceMs = 90_000;

const askEveryMs = 20;

/** Asks until the answer is neither null, undefined nor false, and returns it. Fails with `what` when that takes too long. */
export async function until<T>(
  what: string,
  ask: () => T | Promise<T>,
  { timeoutMs = patienceMs, everyMs = askEveryMs } = {},
): Promise<Exclude<T, null | undefined | false>> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== undefined && answer !== false) {
      return answer as Exclude<T, null | undefined | false>;
    }
    if (performance.now() >= giveUpAt) throw new Error(`after ${String(timeoutMs)} ms still not: ${what}`);
    await sleep(everyMs);
  }
}

/** Waits until a process has said that on stderr; fails at once, with what it did say, when it ends before. */
export async function untilItSays(
  process: { readonly stdout: () => string; readonly stderr: () => string; readonly hasEnded: () => boolean },
  pattern: RegExp,
): Promise<void> {
  await until(`it says ${String(pattern)}`, () => {
    if (pattern.test(process.stderr())) return true;
    if (!process.hasEnded()) return false;
    throw new Error(`it ended without saying ${String(pattern)}:\n${process.stderr()}${process.stdout()}`);
  });
}
