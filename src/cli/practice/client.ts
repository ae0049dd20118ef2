import { realFetch } from '../../ports/real.ts';
import type { TrafficStats } from './traffic.ts';

/** The practice upstream's settings, as its owner changes them. */
export class PracticeClient {
  readonly #origin: string;
  readonly #token: string;

  constructor(origin: string, token: string) {
    this.#origin = origin;
    this.#token = token;
  }

  async setSecret(secret: string): Promise<void> {
    await this.#send('PATCH', '/hook', { secret });
  }

  async sendTo(targets: readonly string[]): Promise<void> {
    await this.#send('POST', '/targets', { targets });
  }

  async sendAt(ratePerSecond: number): Promise<void> {
    await this.#send('POST', '/traffic', { ratePerSecond });
  }

  async resetStats(): Promise<void> {
    await this.#send('POST', '/stats/reset', {});
  }

  async stats(): Promise<TrafficStats> {
    return (await this.#send('GET', '/stats', null)) as TrafficStats;
  }

  async #send(method: string, path: string, body: object | null): Promise<unknown> {
    const response = await realFetch(`${this.#origin}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
      ...(body === null ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok)
      throw new TypeError(`the practice upstream answered ${String(response.status)} to ${method} ${path}`);
    return response.json();
  }
}
