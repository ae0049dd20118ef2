import type { SecretValueEntry } from '@aws-sdk/client-secrets-manager';
import pLimit from 'p-limit';
import { isKeyturnError, type KeyturnError } from '../../../src/model/errors.ts';
import type { Wanted } from '../key.ts';
import type { AwsClient } from './client.ts';
import { lacksRight } from './errors.ts';
import { current, valueIn, type AwsSecrets, type Found } from './secrets.ts';

/** As many as one call of `BatchGetSecretValue` takes. */
export const namesPerCall = 20;

/** Groups, and beside them what has to be asked for by itself: together fewer than the SDK has sockets, fifty. */
const callsAtOnce = 16;

/** Many secrets with few calls. */
export class ManySecrets {
  readonly #client: AwsClient;
  readonly #secrets: AwsSecrets;
  readonly #groups = pLimit(callsAtOnce);
  /** One for all groups: a call that waits for a socket is late before it is made. */
  readonly #singly = pLimit(callsAtOnce);

  constructor(client: AwsClient, secrets: AwsSecrets) {
    this.#client = client;
    this.#secrets = secrets;
  }

  /** By key. Twenty with one call; what its answer lacks, or has of an older moment, is read by itself. */
  async read(wanted: readonly Wanted[]): Promise<ReadonlyMap<string, Found | KeyturnError>> {
    const groups = Array.from({ length: Math.ceil(wanted.length / namesPerCall) }, (_, index) =>
      wanted.slice(index * namesPerCall, (index + 1) * namesPerCall),
    );
    const found = await this.#groups.map(groups, (group) => this.#readGroup(group));
    return new Map(found.flat());
  }

  async #readGroup(group: readonly Wanted[]): Promise<readonly (readonly [string, Found | KeyturnError])[]> {
    const entries = await this.#batch(group);
    if (isKeyturnError(entries)) return group.map(({ key }) => [key, entries]);
    return this.#singly.map(group, async (wanted): Promise<readonly [string, Found | KeyturnError]> => {
      try {
        const entry = entries.get(this.#secrets.nameOf(wanted.key, wanted.what));
        const isNow = entry?.VersionStages?.includes(current) === true;
        const found = isNow ? valueIn(entry) : null;
        return [wanted.key, found ?? (await this.#secrets.read(wanted))];
      } catch (error) {
        if (isKeyturnError(error)) return [wanted.key, error];
        throw error;
      }
    });
  }

  /** By name; one error where nobody answers. Who may not ask for many at once asks for each, and is told of each. */
  async #batch(group: readonly Wanted[]): Promise<ReadonlyMap<string, SecretValueEntry> | KeyturnError> {
    const names = group.flatMap(({ key, what }) => {
      try {
        return [this.#secrets.nameOf(key, what)];
      } catch {
        return [];
      }
    });
    if (names.length < 2) return new Map();
    const asked = { what: 'The keyrings', action: 'secretsmanager:BatchGetSecretValue', name: names.join(', ') };
    try {
      const { answer } = await this.#client.call(asked, (sdk, options) =>
        sdk.batchGetSecretValue({ SecretIdList: [...names] }, options),
      );
      return new Map((answer?.SecretValues ?? []).map((entry) => [entry.Name ?? '', entry]));
    } catch (error) {
      if (!isKeyturnError(error)) throw error;
      return lacksRight(error) ? new Map() : error;
    }
  }
}
