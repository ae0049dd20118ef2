import type { Tag } from '@aws-sdk/client-secrets-manager';
import { KeyturnError } from '../../../src/model/errors.ts';
import type { PlainCopies } from '../../../src/ports/secret-store.ts';
import { copyText, plainCopy, writeCopy } from '../copies.ts';
import type { AwsSecrets } from './secrets.ts';

/** A copy and the version that it is; null: there is none. */
interface Copy {
  readonly text: string | null;
  readonly token: string | null;
}

/** Plain copies as secrets of their own, whose string is the whole text: what any client of AWS reads. */
export class AwsPlainCopies implements PlainCopies {
  readonly #secrets: AwsSecrets;
  readonly #tags: readonly Tag[];

  constructor(secrets: AwsSecrets, tags: readonly Tag[]) {
    this.#secrets = secrets;
    this.#tags = tags;
  }

  async read(key: string): Promise<string | null> {
    return (await this.#read(key)).text;
  }

  write(key: string, change: (present: string | null) => string): Promise<void> {
    const wanted = { key, what: plainCopy(key) };
    return writeCopy(
      {
        key,
        label: this.#secrets.label,
        read: () => this.#read(key),
        write: (text, token) => this.#secrets.write(wanted, text, token, this.#tags),
        isSame: (read, written) => read === written,
      },
      change,
    );
  }

  async #read(key: string): Promise<Copy> {
    const what = plainCopy(key);
    const found = await this.#secrets.read({ key, what });
    if (found.state === 'deleted') {
      throw new KeyturnError('store-deleted', `${what} in the ${this.#secrets.label} is scheduled for deletion.`, {
        hint: `Bring it back: aws secretsmanager restore-secret --secret-id ${this.#secrets.nameOf(key, what)}`,
        details: { key },
      });
    }
    if (found.state !== 'present') return { text: null, token: null };
    return { text: copyText(found.text, key, this.#secrets.label), token: found.version };
  }
}
