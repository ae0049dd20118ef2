import { KeyturnError } from '../../../src/model/errors.ts';
import { isRecord, type Fields } from '../../../src/model/json.ts';
import type { VaultStorePolicy } from '../../../src/model/policy.ts';
import { dataOf, type Call, type VaultClient } from './client.ts';
import type { Asked } from './errors.ts';
import { placeOf } from './place.ts';
import type { VaultSession } from './session.ts';
import type { Answer } from './transport.ts';

/** The field of a key that is a keyring's text. */
export const keyringField = 'keyring';

/** What a key holds. `version` counts the key's versions from 1, deleted ones too. */
export type Found =
  | { readonly state: 'absent' | 'empty' }
  | { readonly state: 'deleted'; readonly version: number; readonly destroyed: boolean }
  | {
      readonly state: 'present';
      readonly version: number;
      readonly data: Fields;
    };

/** What is asked of the mount, as the engine answers it: keys, versions and fields, no keyrings. */
export class VaultMount {
  readonly label: string;
  readonly #policy: VaultStorePolicy;
  readonly #client: VaultClient;
  readonly #session: VaultSession;
  /** Once it is known that the engine compares. */
  #isVersion2 = false;

  constructor(parts: {
    readonly policy: VaultStorePolicy;
    readonly client: VaultClient;
    readonly session: VaultSession;
  }) {
    this.label = parts.client.label;
    this.#policy = parts.policy;
    this.#client = parts.client;
    this.#session = parts.session;
  }

  async read(key: string, what: string): Promise<Found> {
    const place = placeOf(key, this.#policy, what);
    await this.#checkVersion(what);
    const asked = { what, path: place.data };
    const answer = await this.#call({ method: 'GET', path: place.data }, what);
    const data = dataOf(answer.body);
    const version = isRecord(data?.['metadata']) ? data['metadata']['version'] : undefined;
    if (answer.statusCode === 404) {
      if (typeof version === 'number' && isRecord(data?.['metadata'])) {
        return { state: 'deleted', version, destroyed: data['metadata']['destroyed'] === true };
      }
      if (!isNotFound(answer.body)) throw this.#noMount(what, answer);
      return { state: (await this.#isShell(place.metadata, what)) ? 'empty' : 'absent' };
    }
    if (answer.statusCode !== 200 || !isRecord(data?.['data']) || typeof version !== 'number') {
      throw await this.#refused(asked, answer);
    }
    return { state: 'present', version, data: data['data'] };
  }

  /** Somebody made the key and wrote no version of it. Who may not know takes it for absent, which is the same to a reader. */
  async #isShell(path: string, what: string): Promise<boolean> {
    const answer = await this.#call({ method: 'GET', path }, what);
    if (answer.statusCode === 200) return true;
    if (answer.statusCode === 404 || answer.statusCode === 403) return false;
    throw await this.#refused({ what, path }, answer);
  }

  /** False where another version is there than `cas`, 0 for none; and where the engine refuses it for another reason. */
  async write(key: string, what: string, data: Fields, cas: number): Promise<boolean> {
    const place = placeOf(key, this.#policy, what);
    await this.#checkVersion(what);
    if (!this.#isVersion2) throw this.#unknownVersion(what);
    if (!Number.isSafeInteger(cas)) return false;
    const answer = await this.#call({ method: 'POST', path: place.data, body: { options: { cas }, data } }, what);
    if (answer.statusCode === 200 && typeof dataOf(answer.body)?.['version'] === 'number') return true;
    if (answer.statusCode === 400) return false;
    throw await this.#refused({ what, path: place.data }, answer);
  }

  /** Destroys every version but the newest. */
  async destroyOlder(key: string, what: string): Promise<void> {
    const place = placeOf(key, this.#policy, what);
    await this.#checkVersion(what);
    const answer = await this.#call({ method: 'GET', path: place.metadata }, what);
    if (answer.statusCode === 404 && isNotFound(answer.body)) return;
    const data = dataOf(answer.body);
    if (answer.statusCode !== 200 || !isRecord(data?.['versions'])) {
      throw await this.#refused({ what, path: place.metadata }, answer);
    }
    const older = Object.entries(data['versions']).flatMap(([version, details]) => {
      const isThere = isRecord(details) && details['destroyed'] !== true;
      return isThere && Number(version) !== data['current_version'] ? [Number(version)] : [];
    });
    if (older.length === 0) return;
    const call = { method: 'PUT', path: place.destroy, body: { versions: older } } as const;
    const destroyed = await this.#call(call, what);
    if (destroyed.statusCode === 204 || destroyed.statusCode === 200) return;
    throw await this.#refused({ what, path: place.destroy }, destroyed);
  }

  /** Takes the key away with all its versions. */
  async remove(key: string, what: string): Promise<void> {
    const place = placeOf(key, this.#policy, what);
    await this.#checkVersion(what);
    const answer = await this.#call({ method: 'DELETE', path: place.metadata }, what);
    if (answer.statusCode === 204 || answer.statusCode === 200) return;
    throw await this.#refused({ what, path: place.metadata }, answer);
  }

  /**
   * Looks once whether the engine is KV, version 2: the first version takes the same calls for other keys, and ignores what
   * is to be compared. Throws `policy-invalid`. Who may not know it can still read, if that is allowed.
   */
  async #checkVersion(what: string): Promise<void> {
    if (this.#isVersion2) return;
    const version = await this.version(what);
    if (version === 'unknown') return;
    if (version !== '2') {
      const { mount } = this.#policy;
      const is = version === null ? 'no KV secrets engine' : `a KV secrets engine of version ${version}`;
      throw new KeyturnError('policy-invalid', `${what} cannot be kept in the ${this.label}: it is ${is}.`, {
        hint: `keyturn needs version 2, which compares before it writes: bao kv enable-versioning ${mount}, or name another mount in the policy.`,
        details: { mount, version },
      });
    }
    this.#isVersion2 = true;
  }

  /** What the engine is; null: no KV. Throws where it cannot be reached, and for a mount that is not there. */
  async version(what: string): Promise<'1' | '2' | 'unknown' | null> {
    const path = `sys/internal/ui/mounts/${this.#policy.mount}`;
    const answer = await this.#call({ method: 'GET', path }, what);
    if (answer.statusCode === 403) return 'unknown';
    const data = dataOf(answer.body);
    if (answer.statusCode !== 200 || data === null) throw await this.#refused({ what, path }, answer);
    if (data['type'] !== 'kv' && data['type'] !== 'generic') return null;
    const options = isRecord(data['options']) ? data['options'] : {};
    return options['version'] === '2' ? '2' : '1';
  }

  /** What those paths are allowed to the token; null where it may not ask. */
  async capabilities(paths: readonly string[]): Promise<ReadonlyMap<string, readonly string[]> | null> {
    const call = { method: 'POST', path: 'sys/capabilities-self', body: { paths } } as const;
    const answer = await this.#call(call, 'The rights of the token');
    const data = answer.statusCode === 200 ? dataOf(answer.body) : null;
    if (data === null) return null;
    return new Map(paths.map((path) => [path, listOf(data[path])]));
  }

  placeOf(key: string, what: string): ReturnType<typeof placeOf> {
    return placeOf(key, this.#policy, what);
  }

  #call(call: Omit<Call, 'token'>, what: string): Promise<Answer> {
    return this.#session.call(call, what);
  }

  async #refused(asked: Asked, answer: Answer): Promise<KeyturnError> {
    const isTokenGood = answer.statusCode === 403 ? await this.#session.isTokenGood() : null;
    return this.#client.refusal(asked, answer, isTokenGood);
  }

  #unknownVersion(what: string): KeyturnError {
    const { mount } = this.#policy;
    return new KeyturnError(
      'store-denied',
      `${what} is not written to the ${this.label}: its token has no right to anything there, so the engine's version is unknown.`,
      { hint: `Give the token a policy for ${mount}/data/…; deploy/vault has one.`, details: { mount } },
    );
  }

  #noMount(what: string, { statusCode }: Answer): KeyturnError {
    const { mount } = this.#policy;
    return new KeyturnError(
      'policy-invalid',
      `${what} cannot be kept in the ${this.label}: nothing is mounted there.`,
      {
        hint: `Mount a KV secrets engine, version 2: bao secrets enable -path=${mount} kv-v2; or correct the mount, or the namespace, in the policy.`,
        details: { mount, status: statusCode },
      },
    );
  }
}

/** A 404 that the engine gave: other answers of that status have words. */
function isNotFound(body: unknown): boolean {
  return isRecord(body) && Array.isArray(body['errors']) && body['errors'].length === 0;
}

function listOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}
