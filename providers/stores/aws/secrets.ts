import type { GetSecretValueResponse, SecretValueEntry, Tag } from '@aws-sdk/client-secrets-manager';
import { isKeyturnError, KeyturnError } from '../../../src/model/errors.ts';
import type { AwsStorePolicy } from '../../../src/model/policy.ts';
import type { Random } from '../../../src/ports/system.ts';
import { pathOf, type Wanted } from '../key.ts';
import type { AwsClient } from './client.ts';
import { strange, type Asked } from './errors.ts';
import type { AwsStoreOptions } from './options.ts';

/** What a name in Secrets Manager holds. `text` is null where it is bytes. */
export type Found =
  | { readonly state: 'absent' | 'empty' }
  | { readonly state: 'deleted'; readonly deletedAt: Date | null }
  | { readonly state: 'present'; readonly version: string; readonly text: string | null };

/** What is known of a secret without its value. */
export interface Described {
  /** The labels of each version. */
  readonly versions: ReadonlyMap<string, readonly string[]>;
  readonly deletedAt: Date | null;
  readonly rotates: boolean;
  /** The service of AWS that it belongs to; null: nobody's but its account's. */
  readonly ownedBy: string | null;
}

/** The label of the version that a read without one gives. */
export const current = 'AWSCURRENT';
const previous = 'AWSPREVIOUS';

/** Labels of ours begin so. `AWSPENDING` is not for us: left behind, it makes `RotateSecret` refuse. */
const labelPrefix = 'keyturn-';

/** Names, versions and labels as Secrets Manager has them; no keyrings. */
export class AwsSecrets {
  readonly label: string;
  readonly #client: AwsClient;
  readonly #policy: AwsStorePolicy;
  readonly #random: Random;

  constructor(client: AwsClient, { policy, random }: Pick<AwsStoreOptions, 'policy' | 'random'>) {
    this.label = client.label;
    this.#client = client;
    this.#policy = policy;
    this.#random = random;
  }

  /** Throws `store-denied` for a key that could lead elsewhere. */
  nameOf(key: string, what: string): string {
    return pathOf(key, this.#policy.prefix, what, 'another name of the account');
  }

  async read({ key, what }: Wanted): Promise<Found> {
    const asked = this.#asked({ key, what }, 'secretsmanager:GetSecretValue');
    const { answer, exception } = await this.#client.call(
      asked,
      (sdk, options) => sdk.getSecretValue({ SecretId: asked.name, VersionStage: current }, options),
      ['ResourceNotFoundException', 'InvalidRequestException'],
    );
    if (exception === null) {
      const found = valueIn(answer);
      if (found === null) throw strange(asked, this.label);
      return found;
    }
    // Absent, without a value, or to be deleted: only a description tells. Who may not know takes it for absent, which is the
    // same to a reader.
    const described = await this.describe({ key, what }).catch((error: unknown) => {
      if (isKeyturnError(error, 'store-denied')) return null;
      throw error;
    });
    const deletedAt = described?.deletedAt ?? null;
    if (exception === 'InvalidRequestException' || deletedAt !== null) return { state: 'deleted', deletedAt };
    return { state: described === null ? 'absent' : 'empty' };
  }

  /** Null where there is none. */
  async describe({ key, what }: Wanted): Promise<Described | null> {
    const asked = this.#asked({ key, what }, 'secretsmanager:DescribeSecret');
    const { answer, exception } = await this.#client.call(
      asked,
      (sdk, options) => sdk.describeSecret({ SecretId: asked.name }, options),
      ['ResourceNotFoundException'],
    );
    if (exception !== null) return null;
    return {
      versions: new Map(Object.entries(answer.VersionIdsToStages ?? {})),
      deletedAt: answer.DeletedDate ?? null,
      rotates: answer.RotationEnabled === true,
      ownedBy: answer.OwningService ?? null,
    };
  }

  /**
   * Writes where the version `expected` is the current one; null: where there is none. False where another is. A version
   * is put first under a label of its own, since without one it would be current at once; moving the label `AWSCURRENT`
   * from the expected version is what compares.
   */
  async write({ key, what }: Wanted, text: string, expected: string | null, tags: readonly Tag[]): Promise<boolean> {
    if (expected === null) {
      if (await this.#created({ key, what }, text, tags)) return true;
      const described = await this.describe({ key, what });
      const isEmpty = described?.deletedAt === null && holderOf(described, current) === null;
      if (!isEmpty) return false;
    }
    const version = this.#versionId();
    const label = `${labelPrefix}${version.slice(0, 8)}`;
    if (!(await this.#put({ key, what }, { text, version, label }))) return false;
    const isCurrent =
      (expected === null && (await this.#isFirst({ key, what }, version))) ||
      // Where nobody has the label, it is taken from nobody; that is refused where somebody has it by now.
      (await this.#moved({ key, what }, { label: current, from: expected, to: version }));
    // The winner's label has done its work, and the loser's version is nobody's.
    await this.#moved({ key, what }, { label, from: version, to: null }).catch(() => false);
    return isCurrent;
  }

  /** Whether this version is current because it is the first one of all. */
  async #isFirst(wanted: Wanted, version: string): Promise<boolean> {
    const described = await this.describe(wanted);
    return described !== null && holderOf(described, current) === version;
  }

  /** False where there is one of that name. */
  async #created({ key, what }: Wanted, text: string, tags: readonly Tag[]): Promise<boolean> {
    const asked = this.#asked({ key, what }, 'secretsmanager:CreateSecret');
    const { kmsKeyId } = this.#policy;
    const more = {
      ClientRequestToken: this.#versionId(),
      Tags: [...tags],
      ...(kmsKeyId === null ? {} : { KmsKeyId: kmsKeyId }),
    };
    const { exception } = await this.#client.call(
      asked,
      (sdk, options) =>
        sdk.createSecret(
          { Name: asked.name, Description: `${what}, kept by keyturn.`, SecretString: text, ...more },
          options,
        ),
      ['ResourceExistsException', 'InvalidRequestException'],
    );
    return exception === null;
  }

  /** False where it is not there any more. */
  async #put(
    { key, what }: Wanted,
    { text, version, label }: { readonly text: string; readonly version: string; readonly label: string },
  ): Promise<boolean> {
    const asked = this.#asked({ key, what }, 'secretsmanager:PutSecretValue');
    const { exception } = await this.#client.call(
      asked,
      (sdk, options) =>
        sdk.putSecretValue(
          { SecretId: asked.name, ClientRequestToken: version, SecretString: text, VersionStages: [label] },
          options,
        ),
      ['ResourceNotFoundException', 'InvalidRequestException', 'ResourceExistsException'],
    );
    return exception === null;
  }

  /** False where the label was not on the version that it was to be taken from. */
  async #moved(
    { key, what }: Wanted,
    { label, from, to }: { readonly label: string; readonly from: string | null; readonly to: string | null },
  ): Promise<boolean> {
    const asked = this.#asked({ key, what }, 'secretsmanager:UpdateSecretVersionStage');
    const move = {
      VersionStage: label,
      ...(from === null ? {} : { RemoveFromVersionId: from }),
      ...(to === null ? {} : { MoveToVersionId: to }),
    };
    const { exception } = await this.#client.call(
      asked,
      (sdk, options) => sdk.updateSecretVersionStage({ SecretId: asked.name, ...move }, options),
      ['InvalidParameterException', 'ResourceNotFoundException', 'InvalidRequestException'],
    );
    return exception === null;
  }

  /** Takes the labels off every version but the current one, so that nobody finds it by a label and AWS collects it. */
  async unlabelOlder(wanted: Wanted): Promise<void> {
    let isRefused = false;
    for (const [version, label] of await this.#olderLabels(wanted)) {
      if (!(await this.#moved(wanted, { label, from: version, to: null }))) isRefused = true;
    }
    // Somebody else may have taken it off first.
    if (!isRefused || (await this.#olderLabels(wanted)).length === 0) return;
    const message = `${wanted.what} in the ${this.label} still has older versions under labels: Secrets Manager refused to take them off.`;
    throw new KeyturnError('store-denied', message, {
      hint: 'See that it is not scheduled for deletion, and that no other region replicates to it.',
      details: { key: wanted.key },
    });
  }

  async #olderLabels(wanted: Wanted): Promise<readonly (readonly [version: string, label: string])[]> {
    const described = await this.describe(wanted);
    const isOlder = (label: string): boolean => label === previous || label.startsWith(labelPrefix);
    return [...(described?.versions ?? [])].flatMap(([version, labels]) =>
      labels.filter(isOlder).map((label) => [version, label] as const),
    );
  }

  /** For good, and at once; one that is not there too. */
  async remove({ key, what }: Wanted): Promise<void> {
    const asked = this.#asked({ key, what }, 'secretsmanager:DeleteSecret');
    await this.#client.call(
      asked,
      (sdk, options) => sdk.deleteSecret({ SecretId: asked.name, ForceDeleteWithoutRecovery: true }, options),
      ['ResourceNotFoundException'],
    );
  }

  /** Secrets Manager takes 32 to 64 characters. */
  #versionId(): string {
    return Buffer.from(this.#random.bytes(16)).toString('hex');
  }

  #asked({ key, what }: Wanted, action: string): Asked {
    return { what, action, name: this.nameOf(key, what) };
  }
}

/** Who has that label; null: nobody. */
function holderOf({ versions }: Described, label: string): string | null {
  return [...versions].find(([, labels]) => labels.includes(label))?.[0] ?? null;
}

/** Null for an answer that lacks what every value has. */
export function valueIn({
  VersionId,
  SecretString,
  SecretBinary,
}: GetSecretValueResponse | SecretValueEntry): Found | null {
  const hasValue = SecretString !== undefined || SecretBinary !== undefined;
  return VersionId !== undefined && hasValue
    ? { state: 'present', version: VersionId, text: SecretString ?? null }
    : null;
}
