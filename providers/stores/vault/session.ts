import { isKeyturnError, KeyturnError } from '../../../src/model/errors.ts';
import { isRecord } from '../../../src/model/json.ts';
import type { VaultAuthPolicy } from '../../../src/model/policy.ts';
import type { Clock } from '../../../src/ports/system.ts';
import type { PartCredential } from '../../credentials.ts';
import { dataOf, type Call, type VaultClient } from './client.ts';
import type { Answer } from './transport.ts';

/**
 * The token that calls are made with. It is renewed when two thirds of its time are over, by whoever calls next: no timer
 * runs, so that an idle or frozen process loses nothing but a login. A renewal that fails is tried again a little later; a
 * token that is refused, or is over, is replaced by logging in again.
 */

interface Token {
  readonly text: string;
  /** Monotonic ms; null: it never ends, or nobody knows when. */
  readonly endsAt: number | null;
  readonly renewAt: number | null;
}

/** How long a renewal that failed, or a token that cannot be renewed, is left alone. */
const renewalPauseMs = 15_000;

/** So much of a token's time passes before it is renewed. */
const renewAfter = 2 / 3;

export interface SessionOptions {
  readonly client: VaultClient;
  readonly auth: VaultAuthPolicy;
  readonly credential: PartCredential;
  readonly clock: Clock;
}

export class VaultSession {
  readonly #client: VaultClient;
  readonly #auth: VaultAuthPolicy;
  readonly #credential: PartCredential;
  readonly #clock: Clock;
  #token: Token | null = null;
  /** One login, or one renewal, at a time, whoever waits for it. */
  #entering: Promise<Token> | null = null;

  constructor({ client, auth, credential, clock }: SessionOptions) {
    this.#client = client;
    this.#auth = auth;
    this.#credential = credential;
    this.#clock = clock;
  }

  /**
   * The answer to a call under the token; where it is refused (403), to the same call under a new one, if there is one.
   * Throws `store-unreachable`, `store-denied` for a login that is refused, `credential-missing`.
   */
  async call(call: Omit<Call, 'token'>, what: string): Promise<Answer> {
    const token = await this.#current();
    const answer = await this.#client.call({ ...call, token: token.text }, what);
    if (answer.statusCode !== 403) return answer;
    const fresh = await this.#after(token);
    return fresh === null ? answer : this.#client.call({ ...call, token: fresh.text }, what);
  }

  /** Whether the server knows the token; null where it does not tell. */
  async isTokenGood(): Promise<boolean | null> {
    try {
      const { text: token } = await this.#current();
      const answer = await this.#client.call({ method: 'GET', path: 'auth/token/lookup-self', token }, 'The token');
      return answer.statusCode === 200 ? true : answer.statusCode === 403 ? false : null;
    } catch {
      return null;
    }
  }

  async #current(): Promise<Token> {
    const token = this.#token;
    const now = this.#clock.monotonic();
    if (token === null || (token.endsAt !== null && token.endsAt <= now)) return this.#enter(() => this.#login());
    if (token.renewAt === null || token.renewAt > now) return token;
    return this.#enter(() => this.#renew(token));
  }

  /** Another token than the one that was refused; null where logging in gives no other. */
  async #after(refused: Token): Promise<Token | null> {
    const token = this.#token;
    if (token !== null && token.text !== refused.text) return token;
    // A login may be a thing that is counted or limited, so a token that is known to be good is not replaced.
    if (this.#auth.kind !== 'token' && (await this.isTokenGood()) !== false) return null;
    const fresh = await this.#enter(() => this.#login());
    return fresh.text === refused.text ? null : fresh;
  }

  async #enter(get: () => Promise<Token>): Promise<Token> {
    this.#entering ??= get().finally(() => {
      this.#entering = null;
    });
    this.#token = await this.#entering;
    return this.#token;
  }

  async #login(): Promise<Token> {
    const auth = this.#auth;
    switch (auth.kind) {
      case 'token':
        return this.#lookedUp(await this.#credential('auth.token', auth.token));
      case 'approle': {
        const role_id = await this.#credential('auth.roleId', auth.roleId);
        const secret_id = await this.#credential('auth.secretId', auth.secretId);
        return this.#loggedIn(auth.mount, { role_id, secret_id }, 'AppRole');
      }
      case 'kubernetes': {
        const jwt = await this.#credential('auth.tokenFile', { file: auth.tokenFile });
        return this.#loggedIn(auth.mount, { role: auth.role, jwt }, 'Kubernetes');
      }
    }
  }

  /** A token that somebody gave tells of itself how long it is good for, if it may. */
  async #lookedUp(text: string): Promise<Token> {
    const call = { method: 'GET', path: 'auth/token/lookup-self', token: text } as const;
    const answer = await this.#client.call(call, 'The token');
    const data = answer.statusCode === 200 ? dataOf(answer.body) : null;
    return this.#lasting(text, data?.['ttl'], data?.['renewable']);
  }

  async #loggedIn(mount: string, body: Readonly<Record<string, string>>, how: string): Promise<Token> {
    const path = `auth/${mount}/login`;
    const what = `The login with ${how}`;
    const answer = await this.#client.call({ method: 'POST', path, body, token: null }, what);
    const auth = isRecord(answer.body) && isRecord(answer.body['auth']) ? answer.body['auth'] : null;
    const text = auth?.['client_token'];
    if (answer.statusCode === 200 && typeof text === 'string' && text !== '') {
      return this.#lasting(text, auth?.['lease_duration'], auth?.['renewable']);
    }
    if (answer.statusCode !== 400 && answer.statusCode !== 403)
      throw this.#client.refusal({ what, path }, answer, null);
    throw new KeyturnError('store-denied', `${what} is refused by the ${this.#client.label}.`, {
      hint: `Check the credentials of the login, the role, and that the method is enabled at auth/${mount}.`,
      details: { path, status: answer.statusCode },
    });
  }

  #lasting(text: string, seconds: unknown, renewable: unknown): Token {
    if (typeof seconds !== 'number' || seconds <= 0) return { text, endsAt: null, renewAt: null };
    const now = this.#clock.monotonic();
    const endsAt = now + seconds * 1_000;
    return { text, endsAt, renewAt: renewable === true ? now + seconds * 1_000 * renewAfter : null };
  }

  /** Never throws: the token is good until it ends, and then there is a login. */
  async #renew(token: Token): Promise<Token> {
    const later = { ...token, renewAt: this.#clock.monotonic() + renewalPauseMs };
    try {
      const call = { method: 'POST', path: 'auth/token/renew-self', body: {}, token: token.text } as const;
      const answer = await this.#client.call(call, 'The renewal of the token');
      const auth = isRecord(answer.body) && isRecord(answer.body['auth']) ? answer.body['auth'] : null;
      if (answer.statusCode !== 200 || auth === null) return later;
      const renewed = this.#lasting(token.text, auth['lease_duration'], auth['renewable']);
      // Near its highest age a token is renewed for ever less.
      const isShrinking = renewed.endsAt !== null && token.endsAt !== null && renewed.endsAt <= token.endsAt;
      return isShrinking ? { ...renewed, renewAt: null } : renewed;
    } catch (error) {
      if (!isKeyturnError(error)) throw error;
      return later;
    }
  }
}
