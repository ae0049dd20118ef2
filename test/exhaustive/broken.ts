import type { Run } from '../../src/model/run.ts';
import type { Parts } from '../../src/orchestrator/parts.ts';
import type { Lease } from '../../src/ports/journal.ts';
import type { SecretStore, StoreRead } from '../../src/ports/secret-store.ts';
import type { Change } from './ground.ts';

/** Protocols that lack one thing each. What they put in the place of a port is a few lines; the code over it is the real one. */

/** A port with some of its methods in the place of the real ones. */
function instead<T extends object>(port: T, methods: Partial<T>): T {
  return new Proxy(port, {
    get: (target, key) => Reflect.get(key in methods ? methods : target, key, target) as unknown,
  });
}

function withStore(parts: Parts, change: (store: SecretStore) => Partial<SecretStore>): Parts {
  return {
    ...parts,
    store: async (name) => {
      const store = await parts.store(name);
      return instead(store, change(store));
    },
  };
}

function withRuns(parts: Parts, change: (run: Run, token: number) => Run): Parts {
  let token = 0;
  const taken = <T extends object>(answer: T): T => {
    if ('lease' in answer) ({ token } = answer.lease as Lease);
    return answer;
  };
  const { journal, leases } = parts;
  return {
    ...parts,
    journal: instead(journal, {
      runs: async (query) => (await journal.runs(query)).map((run) => change(run, token)),
    }),
    leases: instead(leases, {
      acquire: async (...wanted) => taken(await leases.acquire(...wanted)),
      seize: async (...wanted) => taken(await leases.seize(...wanted)),
    }),
  };
}

/** Right before an effect nobody looks whether the lease is still one's own, nor what time it is. */
export const leaseNotReadAgain: Change = (parts) => {
  const { leases, clock } = parts;
  let own: Lease | null = null;
  let since: number | null = null;
  const had = (lease: Lease): Lease => {
    since = clock.now();
    return (own = lease);
  };
  return {
    ...parts,
    clock: instead(clock, { now: () => since ?? clock.now() }),
    leases: instead(leases, {
      acquire: async (...wanted) => {
        const answer = await leases.acquire(...wanted);
        if ('lease' in answer) had(answer.lease);
        return answer;
      },
      renew: async (...wanted) => had(await leases.renew(...wanted)),
      read: async (name) => {
        const read = await leases.read(name);
        if (own?.name !== name) return read;
        return { ...own, acquiredAt: 0, process: null, held: true, expiresAt: Infinity };
      },
    }),
  };
};

/** The last writer wins. */
export const writtenOver: Change = (parts) =>
  withStore(parts, (store) => ({
    commit: async (name, keyring) => {
      const present = (await store.read([name])).get(name.secret);
      await store.commit(name, keyring, present?.state === 'present' ? present.token : null);
    },
  }));

/** An intent of an earlier holder without a result looks like one's own: nobody claims the keyring anew. */
export const notReclaimed: Change = (parts) =>
  withRuns(parts, (run, token) => ({ ...run, intents: run.intents.map((intent) => ({ ...intent, token })) }));

/** A call of a process that died counts as over at once. */
export const notWaitedFor: Change = (parts) =>
  withRuns(parts, (run) => ({
    ...run,
    intents: run.intents.map((intent) => ({ ...intent, deadline: Math.min(intent.deadline, parts.clock.now()) })),
  }));

/** The claim in the keyring is nobody's business but of the journal that made it. */
export const foreignClaimIgnored: Change = (parts) =>
  withStore(parts, (store) => ({
    read: async (names) =>
      new Map(
        [...(await store.read(names))].map(([secret, read]) => [secret, withoutForeignClaim(read, parts.journal.id)]),
      ),
  }));

function withoutForeignClaim(read: StoreRead, own: string): StoreRead {
  if (read.state !== 'present' || read.keyring.claim?.journal === own) return read;
  return { ...read, keyring: { ...read.keyring, claim: null } };
}
