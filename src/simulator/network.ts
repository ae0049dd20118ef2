import { KeyturnError } from '../model/errors.ts';
import type { CutOff } from './schedule.ts';

/** What is out of reach now. Outages may lie over one another, so each is counted. */
export class Network {
  readonly #down = new Map<string, number>();
  #answersToLose = 0;

  /** Takes it away; what is returned gives it back. */
  takeAway(what: string): () => void {
    this.#down.set(what, (this.#down.get(what) ?? 0) + 1);
    return () => void this.#down.set(what, (this.#down.get(what) ?? 0) - 1);
  }

  isDown(what: string): boolean {
    return (this.#down.get(what) ?? 0) > 0;
  }

  loseAnswers(count: number): void {
    this.#answersToLose += count;
  }

  /** True where the answer of a commit that happened is lost. */
  losesAnswer(): boolean {
    return this.#answersToLose > 0 && this.#answersToLose-- > 0;
  }

  /** Throws where these cannot reach the store. */
  admitToStore(who: Exclude<CutOff, 'everybody'>): void {
    if (this.isDown('store') || this.isDown(`store of ${who}`)) throw unreachable('store-unreachable', 'secret store');
    if (!this.isDown('store throttled')) return;
    throw new KeyturnError('store-throttled', 'The secret store asks to wait.', { details: { retryAfterMs: 1_000 } });
  }

  admitToUsageLog(): void {
    if (this.isDown('usage log')) throw unreachable('usage-unreachable', 'usage log');
  }

  admitToJournal(): void {
    if (this.isDown('journal')) throw unreachable('journal-unreachable', 'journal');
  }
}

export function unreachable(
  code: 'store-unreachable' | 'usage-unreachable' | 'journal-unreachable' | 'canary-unreachable',
  what: string,
): KeyturnError {
  return new KeyturnError(code, `The ${what} does not answer.`, { hint: 'Try again once it does.' });
}
