import { afterEach, vi } from 'vitest';
import type { StoreProbe } from '../../../src/ports/secret-store.ts';

/** What the tests of stores over a network have in common. */

interface Closing {
  /** Called after the test, the last first; then the environment is as it was. */
  later(...closes: readonly (() => unknown)[]): void;
  /** What was opened is closed after the test. */
  kept<T extends { close(): Promise<void> }>(opening: Promise<T>): Promise<T>;
}

export function closingAfterEach(): Closing {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    vi.unstubAllEnvs();
  });
  return {
    later: (...closes) => void closing.push(...closes),
    async kept(opening) {
      const opened = await opening;
      closing.push(() => opened.close());
      return opened;
    },
  };
}

/** What a probe found of that; undefined where it did not look. */
export function stateOf({ findings }: StoreProbe, of: string): string | undefined {
  return findings.find((each) => each.name === of)?.state;
}

/** Of a server that knows no rights. */
export const lacksOfOpenServer = {
  overwritePlain: 'writing there takes a call',
  denied: 'it lets everybody do everything',
} as const;
