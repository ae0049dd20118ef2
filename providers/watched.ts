import { dirname } from 'node:path';
import { KeyturnError } from '../src/model/errors.ts';
import type { Policy } from '../src/model/policy.ts';
import type { Log } from '../src/ports/log.ts';
import { realClock, realRandom } from '../src/ports/real.ts';
import { redacting, remembering, type RedactingLog } from '../src/ports/redact.ts';
import type { SecretStore } from '../src/ports/secret-store.ts';
import { tracedStore, type Tracing } from '../src/ports/trace.ts';
import { readAuditKey, readCredential, type PartCredential } from './credentials.ts';
import { openStore, type Surroundings } from './registry.ts';

/** What all that opens adapters has in common. In a file of its own, because what `open.ts` exports is the library. */

export const surroundings: Surroundings = { clock: realClock, random: realRandom };

/** The log as all that is opened here uses it: it shows no value, and learns those that come by. */
export interface Watched extends Tracing {
  readonly log: RedactingLog;
}

export function watchedBy(log: Log): Watched {
  return { log: redacting(log), clock: realClock };
}

/** Opens each store of a policy once, at its first use. It keeps nothing else of the policy. */
export function storesOf(
  { source, stores }: Pick<Policy, 'source' | 'stores'>,
  watched: Watched,
): {
  readonly open: (name: string) => Promise<SecretStore>;
  readonly close: () => Promise<void>;
} {
  const opened = new Map<string, Promise<SecretStore>>();
  const open = (name: string): Promise<SecretStore> => {
    const before = opened.get(name);
    if (before !== undefined) return before;
    const settings = stores[name];
    if (settings === undefined) {
      throw new KeyturnError('policy-invalid', `The policy ${source} has no store ${name}.`, {
        hint: 'A run keeps the store that it began with. Give the policy that store again until the run has ended, or use the policy that the run was started with.',
      });
    }
    const store = openStore(settings, surroundings, storeCredentials(source, name, watched));
    const guarded = store.then((bare) => tracedStore(remembering(bare, watched.log), watched));
    opened.set(name, guarded);
    return guarded;
  };
  const close = async (): Promise<void> => {
    // One that could not be opened was told to whoever asked for it.
    for (const store of opened.values()) await (await store.catch(() => null))?.close();
  };
  return { open, close };
}

/** What a store needs to be opened; receivers read it too. */
function storeCredentials(source: string, store: string, { log }: Watched): PartCredential {
  return async (name, reference, options) => {
    const context = { folder: dirname(source), env: process.env, name, of: `the store ${store}`, ...options };
    const { value } = await readCredential(reference, context);
    log.remember(value);
    return value;
  };
}

/** What the journal needs to be opened. */
export function journalCredentials(policy: Policy, { log }: Watched): PartCredential {
  return async (name, reference) => {
    const { value } = await readAuditKey(reference, dirname(policy.source), name);
    log.remember(value);
    return value;
  };
}
