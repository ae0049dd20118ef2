import { isDeepStrictEqual } from 'node:util';
import { keyringIn } from '../decide/observation.ts';
import type { Address } from '../model/address.ts';
import { KeyturnError } from '../model/errors.ts';
import { idBytes, idFrom } from '../model/id.ts';
import { nextKeyring, primaryOf, type Keyring } from '../model/keyring.ts';
import { leftKeyring, migrationClaim, migrationState, type Stores } from '../model/migration.ts';
import { mirrorText } from '../model/mirror.ts';
import type { SecretPolicy } from '../model/policy.ts';
import type { Run } from '../model/run.ts';
import type { SecretStore, StoreName, StoreToken } from '../ports/secret-store.ts';
import { note, ownError } from './exchange.ts';
import type { Parts } from './parts.ts';
import { letItEnd, liveRun } from './runs.ts';
import { knownRevision } from './start.ts';
import { withTenure, type Tenure } from './tenure.ts';

/** Keyrings go from one store to another; see `model/migration.ts` for the order in which both are written, and why. */

export interface MigrateOptions extends Stores {
  /** How long to wait while another process moves the secret, ms. */
  readonly waitMs: number;
  /** Stops before the next secret but the first. */
  readonly signal?: AbortSignal | undefined;
  /** True: everything is judged, and nothing is written. */
  readonly dryRun: boolean;
  /** Called with each secret as soon as something came of it. */
  readonly told?: ((secret: Address, result: Migrated | KeyturnError) => void) | undefined;
}

export interface Migrated {
  /** `absent`: the source has no keyring of it. `already`: it was taken there before. */
  readonly outcome: 'migrated' | 'would-migrate' | 'already' | 'absent';
  /** As the target has it then, or would. */
  readonly keyring: Keyring;
}

export type Migrations = ReadonlyMap<Address, Migrated | KeyturnError>;

/** How long the lease runs ahead of each write, ms. */
const allowanceMs = 60_000;

/**
 * Takes keyrings to another store, each wholly or to be gone on with by the same call. An error of one secret is in the
 * result: `wrong-state`, `foreign-claim`, `lease-busy`, `usage` for a secret of a third store, and the stores' errors.
 * Throws `usage` for stores that are not there or the same, and the journal's errors.
 */
export async function migrate(
  parts: Parts,
  policies: readonly SecretPolicy[],
  options: MigrateOptions,
): Promise<Migrations> {
  await refuseStores(parts, options);
  const done = new Map<Address, Migrated | KeyturnError>();
  for (const policy of policies) {
    if (options.signal?.aborted === true && done.size > 0) break;
    const result = await migrateOne(parts, policy, options).catch(ownError);
    done.set(policy.secret, result);
    options.told?.(policy.secret, result);
  }
  return done;
}

async function refuseStores({ policy, store }: Parts, { from, to }: MigrateOptions): Promise<void> {
  for (const name of [from, to]) {
    if (policy.stores[name] !== undefined) continue;
    throw new KeyturnError('usage', `The policy ${policy.source} has no store ${name}.`, {
      hint: `Its stores are ${Object.keys(policy.stores).join(', ')}. Name both: the one that is left, and the one that is gone to.`,
    });
  }
  const isSame = from === to || isDeepStrictEqual(policy.stores[from], policy.stores[to]);
  if (!isSame && (await store(from)).label !== (await store(to)).label) return;
  if (!isSame && policy.stores[from]?.kind !== 'file') return;
  throw new KeyturnError('usage', `The stores ${from} and ${to} are one and the same place.`, {
    hint: 'Name the store that is left with --from, and another one with --to.',
  });
}

/** One of the two stores, with what it holds of the secret. */
interface Side {
  readonly store: SecretStore;
  readonly keyring: Keyring;
  readonly token: StoreToken;
}

async function sideOf(parts: Parts, name: string, place: StoreName): Promise<Side> {
  const store = await parts.store(name);
  const read = (await store.read([place])).get(place.secret) ?? ({ state: 'absent', token: null } as const);
  if (read.state === 'failed') throw read.error;
  return { store, keyring: keyringIn(read, place.secret), token: read.token };
}

async function migrateOne(parts: Parts, policy: SecretPolicy, options: MigrateOptions): Promise<Migrated> {
  const { waitMs, signal, dryRun } = options;
  refuseThirdStore(policy, options);
  if (dryRun) return (await judged(parts, policy, options)).result;
  return withTenure(parts, policy.secret, { waitMs, signal }, async (tenure) => {
    await tenure.extend(allowanceMs);
    const { source, target, result } = await judged(parts, policy, options);
    if (result.outcome !== 'would-migrate') return result;
    return { outcome: 'migrated', keyring: await copy(parts, policy, { options, source, target, tenure }) };
  });
}

function refuseThirdStore({ secret, store }: SecretPolicy, { from, to }: Stores): void {
  if (store === from || store === to) return;
  throw new KeyturnError('usage', `${secret} is kept in the store ${store}, which is neither ${from} nor ${to}.`, {
    hint: `Name the store that it is in: --from ${store}`,
  });
}

interface Judged {
  readonly source: Side;
  readonly target: Side;
  readonly result: Migrated;
}

/** What is to be done, after all that speaks against it was looked for. */
async function judged(parts: Parts, policy: SecretPolicy, options: MigrateOptions): Promise<Judged> {
  const { secret, key } = policy;
  const live = await liveRun(parts, secret);
  if (live !== null) throw isLive(live);
  const source = await sideOf(parts, options.from, { secret, key });
  const target = await sideOf(parts, options.to, { secret, key });
  const state = migrationState(source.keyring, target.keyring, options);
  if (state === 'absent') return { source, target, result: { outcome: 'absent', keyring: source.keyring } };
  if (state === 'done') return { source, target, result: { outcome: 'already', keyring: target.keyring } };
  await eachMirror(
    policy,
    source.keyring,
    async (mirrorKey, text) => void text(await target.store.plain.read(mirrorKey)),
  );
  return { source, target, result: { outcome: 'would-migrate', keyring: source.keyring } };
}

function isLive({ secret, id }: Run): KeyturnError {
  return new KeyturnError(
    'wrong-state',
    `${secret} is being rotated by run ${id}, and a run keeps the store it began with.`,
    {
      hint: letItEnd(secret),
      details: { secret, run: id },
    },
  );
}

interface Copying {
  readonly options: MigrateOptions;
  readonly source: Side;
  readonly target: Side;
  readonly tenure: Tenure;
}

/** Each write is made for what was read, and what was cut short is found and gone on with by the next call. */
async function copy(
  parts: Parts,
  policy: SecretPolicy,
  { options, source, target, tenure }: Copying,
): Promise<Keyring> {
  const { from, to } = options;
  const { secret, key } = policy;
  const place = { secret, key };
  const fresh = (kind: 'commit' | 'migration'): string => idFrom(kind, parts.random.bytes(idBytes));
  const highestRevision = Math.max(target.keyring.revision, await knownRevision(parts, secret));
  const claim = migrationClaim(fresh('migration'), parts.journal.id, { from, to });
  const left = leftKeyring(source.keyring, { claim, commit: fresh('commit'), highestRevision });
  const migration = left.claim?.run ?? claim.run;
  await note(parts, secret, 'migrate', `Taking the keyring from the store ${from} to the store ${to}.`, {
    ...{ from, to, migration },
  });

  await tenure.extend(allowanceMs);
  await target.store.commit(place, left, target.token);
  await sameAs(left, parts, to, place);
  await source.store.commit(place, left, source.token);
  await tenure.extend(allowanceMs);
  await eachMirror(policy, left, (mirrorKey, text) => target.store.plain.write(mirrorKey, text));
  await target.store.purge(place);
  const { token } = await sameAs(left, parts, to, place);

  await tenure.extend(allowanceMs);
  const freed = nextKeyring(left, [{ kind: 'release' }], { id: fresh('commit'), highestRevision: left.revision });
  await target.store.commit(place, freed, token);
  await sameAs(freed, parts, to, place);
  const { revision } = freed;
  await note(parts, secret, 'migrated', `The store ${to} has the keyring, and in ${from} nothing moves it any more.`, {
    ...{ from, to, migration, revision },
  });
  return freed;
}

/** Reads back what was written: every version, value and id of it. */
async function sameAs(keyring: Keyring, parts: Parts, name: string, place: StoreName): Promise<Side> {
  const side = await sideOf(parts, name, place);
  if (isDeepStrictEqual(side.keyring, keyring)) return side;
  throw new KeyturnError(
    'store-conflict',
    `The keyring of ${place.secret} in the store ${name} is not what was written.`,
    {
      hint: 'Somebody else writes there, or reads are late. The same command goes on from here.',
      details: { secret: place.secret, store: name },
    },
  );
}

/** The plain copies that the policy asks for, as they are to be in the store that is gone to. */
async function eachMirror(
  policy: SecretPolicy,
  keyring: Keyring,
  work: (key: string, text: (present: string | null) => string) => Promise<void>,
): Promise<void> {
  if (primaryOf(keyring) === null) return;
  for (const mirror of policy.mirrors) {
    await work(mirror.key, (present) => mirrorText(present, mirror, keyring, policy));
  }
}
