import { isDeepStrictEqual } from 'node:util';
import { formatTime } from '../../model/duration.ts';
import { isKeyturnError, KeyturnError } from '../../model/errors.ts';
import { idBytes, idFrom } from '../../model/id.ts';
import { emptyKeyring, nextKeyring, type Keyring, type KeyringMove } from '../../model/keyring.ts';
import { failed, ok } from '../../ports/probe.ts';
import { scratchName } from '../../ports/scratch.ts';
import type { ProbeFinding, SecretStore, StoreName, StoreToken } from '../../ports/secret-store.ts';
import type { Clock, Random } from '../../ports/system.ts';

/** What a trial needs of the machine. */
interface Machine {
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Tries a store with a keyring that nobody needs: writes it, reads it back, writes it again, is refused with what it read
 * before, erases older copies, and takes it away. It is taken away whatever happens in between. Never throws.
 */
export async function tryStore(store: SecretStore, machine: Machine): Promise<readonly ProbeFinding[]> {
  const trial = new Trial(store, machine);
  const findings: ProbeFinding[] = [];
  for (const [name, act] of trial.acts) {
    try {
      findings.push(ok(name, await act()));
    } catch (error) {
      findings.push(failed(name, error));
      break;
    }
  }
  return [...findings, await trial.takeAway()];
}

class Trial {
  readonly acts: readonly (readonly [name: string, act: () => Promise<string>])[] = [
    ['try-commit', () => this.#commit()],
    ['try-read', () => this.#readBack()],
    ['try-compare', () => this.#compare()],
    ['try-purge', () => this.#purge()],
  ];
  readonly #store: SecretStore;
  readonly #machine: Machine;
  readonly #name: StoreName;
  #keyring: Keyring;
  #staleToken: StoreToken = null;

  constructor(store: SecretStore, machine: Machine) {
    this.#store = store;
    this.#machine = machine;
    this.#name = scratchName(machine.random);
    this.#keyring = emptyKeyring(this.#name.secret);
  }

  async #commit(): Promise<string> {
    this.#keyring = this.#next(this.#adding());
    await this.#store.commit(this.#name, this.#keyring, null);
    return `A keyring for trial was written, as ${this.#name.key}.`;
  }

  async #readBack(): Promise<string> {
    this.#staleToken = await this.#read();
    return 'It was read back as it was written.';
  }

  async #compare(): Promise<string> {
    const [first] = this.#keyring.versions;
    const before = this.#keyring;
    const at = formatTime(this.#machine.clock.now());
    this.#keyring = this.#next([...this.#adding(), { kind: 'revoke', version: first?.id ?? '', at }]);
    await this.#store.commit(this.#name, this.#keyring, this.#staleToken);
    const isRefused = await this.#store.commit(this.#name, this.#next(this.#adding(), before), this.#staleToken).then(
      () => false,
      (error: unknown) => {
        if (isKeyturnError(error, 'store-conflict')) return true;
        throw error;
      },
    );
    if (isRefused) return 'Of two writes on one document the second was refused.';
    throw new KeyturnError('store-conflict', 'The store took a write that was made for an older document.', {
      hint: 'Two writers would overwrite each other there: keep no keyring in it.',
    });
  }

  async #purge(): Promise<string> {
    await this.#store.purge(this.#name);
    await this.#read();
    return `Older copies were erased. ${this.#store.capabilities.afterPurge}`;
  }

  async takeAway(): Promise<ProbeFinding> {
    if (this.#keyring.revision === 0) return ok('try-remove', 'Nothing was written.');
    try {
      await this.#store.erase(this.#name);
      await this.#propagated();
      const read = (await this.#store.read([this.#name])).get(this.#name.secret);
      if (read?.state === 'present') {
        throw new KeyturnError('store-conflict', 'The keyring for trial is still there after it was taken away.');
      }
      return ok('try-remove', 'It was taken away again.');
    } catch (error) {
      const { message, hint } = failed('try-remove', error);
      const left = `Take ${this.#name.key} away there by hand: its values were made for this trial, and nothing uses them.`;
      return { name: 'try-remove', state: 'warning', message, hint: hint === null ? left : `${hint} ${left}` };
    }
  }

  /** The token of what is there. Throws unless that is what was written. */
  async #read(): Promise<StoreToken> {
    await this.#propagated();
    const read = (await this.#store.read([this.#name])).get(this.#name.secret);
    if (read?.state === 'failed') throw read.error;
    if (read?.state === 'present' && isDeepStrictEqual(read.keyring, this.#keyring)) return read.token;
    throw new KeyturnError('store-conflict', 'What was read is not what was written a moment before.', {
      hint: 'Where reads are late, say so in the policy: "propagationLag".',
    });
  }

  async #propagated(): Promise<void> {
    const { propagationLagMs } = this.#store.capabilities;
    if (propagationLagMs > 0) await this.#machine.clock.sleep(propagationLagMs);
  }

  #adding(): readonly KeyringMove[] {
    const { clock, random } = this.#machine;
    const version = idFrom('version', random.bytes(idBytes));
    const value = Buffer.from(random.bytes(32)).toString('base64url');
    return [
      { kind: 'add', version, value, createdAt: formatTime(clock.now()) },
      { kind: 'promote', version },
    ];
  }

  #next(moves: readonly KeyringMove[], base = this.#keyring): Keyring {
    const id = idFrom('commit', this.#machine.random.bytes(idBytes));
    return nextKeyring(base, moves, { id, highestRevision: 0 });
  }
}
