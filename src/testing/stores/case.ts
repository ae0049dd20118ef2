import type { Keyring } from '../../model/keyring.ts';
import type { SecretStore, StoreName } from '../../ports/secret-store.ts';
import { firstKeyring } from '../keyrings.ts';
import type { Ability, Disturbance, Network, SecretStorePlace } from './place.ts';

/** One promise of a secret store, and how to see whether an adapter keeps it. */
export interface StoreCase {
  /** A kebab-case word: what deviations and the table of results name it by. */
  readonly id: string;
  /** One sentence without its point. */
  readonly title: string;
  /** What a place must be able to do for it. */
  readonly needs?: readonly (Ability | Disturbance)[];
  /** Rejects where the promise is not kept. */
  run(on: CaseContext): Promise<void>;
}

/** A fresh place with one adapter over it. */
export class CaseContext {
  readonly place: SecretStorePlace;
  readonly store: SecretStore;
  readonly #opened: SecretStore[];

  constructor(place: SecretStorePlace, store: SecretStore) {
    this.place = place;
    this.store = store;
    this.#opened = [store];
  }

  static async open(place: SecretStorePlace): Promise<CaseContext> {
    return new CaseContext(place, await place.adapter());
  }

  /** Another adapter over the same place; it is closed with the rest. */
  async another(): Promise<SecretStore> {
    return this.closing(await this.place.adapter());
  }

  closing(store: SecretStore): SecretStore {
    this.#opened.push(store);
    return store;
  }

  name(secret: string): StoreName {
    return this.place.name(secret);
  }

  async propagate(): Promise<void> {
    await this.place.propagate?.();
  }

  async commitFirst(name: StoreName, value?: string): Promise<Keyring> {
    const keyring = firstKeyring(name.secret, value);
    await this.store.commit(name, keyring, null);
    await this.propagate();
    return keyring;
  }

  /** For a case that needs it. */
  get network(): Network {
    return given(this.place.network, 'network');
  }

  async close(): Promise<void> {
    await this.place.network?.calm();
    for (const store of this.#opened) await store.close();
    await this.place.close?.();
  }
}

/** What a case needs and therefore has. */
export function given<T>(ability: T | undefined, name: string): T {
  if (ability === undefined) throw new Error(`this place cannot do it: ${name}; say so in "lacks"`);
  return ability;
}
