import { createHmac } from 'node:crypto';
import { withoutPrimary, type LabelledVersion } from '../model/active-secrets.ts';
import type { Address } from '../model/address.ts';
import { formatTime } from '../model/duration.ts';
import { isKeyturnError, KeyturnError } from '../model/errors.ts';
import { idBytes, idFrom } from '../model/id.ts';
import { isRecord, parseObject } from '../model/json.ts';
import {
  acceptedVersions,
  findVersion,
  nextKeyring,
  primaryOf,
  type AcceptedVersion,
  type Keyring,
  type KeyringMove,
} from '../model/keyring.ts';
import type { SecretPolicy } from '../model/policy.ts';
import type { Run } from '../model/run.ts';
import { pollutionOf } from '../model/value.ts';
import type { Parts } from './parts.ts';
import { readMany } from './read-many.ts';
import { letItEnd, liveRun } from './runs.ts';
import { knownRevision, readKeyring } from './start.ts';
import { withTenure, type Tenure } from './tenure.ts';

/**
 * The ways in and out: values that are in use elsewhere are taken in, and what is kept here is shown to a person. Each
 * leaves an event in the journal before it happens, so that nothing comes or goes without one.
 */

/** One secret that has no value yet, and what it is to have. */
export interface Intake {
  readonly policy: SecretPolicy;
  /** Oldest first; one of them is primary. */
  readonly versions: readonly LabelledVersion[];
}

export interface IntakeOptions {
  readonly how: 'adopt' | 'import';
  /** How long to wait while another process moves the secret, or takes values in, ms. */
  readonly waitMs: number;
  /** Stops before the next secret but the first. */
  readonly signal?: AbortSignal | undefined;
  /** True: a person says that the values are as they should be, however they look. */
  readonly asIs: boolean;
  /** True: a person says that the value of another secret may be taken too, or cannot be compared. */
  readonly skipDuplicateCheck: boolean;
  /** True: everything is judged, and nothing is written. */
  readonly dryRun: boolean;
}

/** By address: the keyring as it is then (or would be), or why that secret was left as it was. */
export type Intakes = ReadonlyMap<Address, Keyring | KeyturnError>;

/** The value in use now, of which neither label nor age is known. */
export function inUseNow(parts: Pick<Parts, 'clock' | 'random'>, value: string): readonly LabelledVersion[] {
  const createdAt = formatTime(parts.clock.now());
  return [{ id: idFrom('version', parts.random.bytes(idBytes)), value, createdAt, stage: 'primary' }];
}

/** Whoever takes values in does so alone: two that came with the same value would both find nobody who has it. */
const intakeLease = 'keyturn import';

/** How long both leases run ahead of one batch of reads and of the commit, ms. */
const allowanceMs = 60_000;

/**
 * Takes values in, each secret wholly or not at all. An error of one secret is in the result: `value-refused`,
 * `value-shared`, `secret-exists`, `import-invalid` for a label that was used before, `wrong-state` while a run is live in another
 * store, and the errors of its store.
 * Throws `lease-busy` and the journal's errors.
 */
export async function takeIn(parts: Parts, intakes: readonly Intake[], options: IntakeOptions): Promise<Intakes> {
  const { waitMs, signal, dryRun } = options;
  const taken = new Map<Address, Keyring | KeyturnError>();
  const all = async (extend: Extend): Promise<void> => {
    const others = new OtherValues(parts);
    for (const intake of intakes) {
      if (signal?.aborted === true && taken.size > 0) return;
      const keyring = await takeOne(parts, intake, options, { others, extend }).catch(ownError);
      taken.set(intake.policy.secret, keyring);
      if (!isKeyturnError(keyring)) others.add(keyring);
    }
  };
  if (dryRun) await all(() => Promise.resolve());
  else await withTenure(parts, intakeLease, { waitMs, signal }, (tenure) => all((ms) => tenure.extend(ms)));
  return taken;
}

type Extend = (ms: number) => Promise<void>;

/** What one intake shares with the others of a command. */
interface Shared {
  readonly others: OtherValues;
  /** Keeps the lease on taking in. */
  readonly extend: Extend;
}

/** The failure of one secret of many; anything else, and what would befall the next one too, ends the command. */
export function ownError(error: unknown): KeyturnError {
  if (isKeyturnError(error) && !error.code.startsWith('journal-') && error.code !== 'lease-lost') return error;
  throw error;
}

async function takeOne(parts: Parts, intake: Intake, options: IntakeOptions, shared: Shared): Promise<Keyring> {
  const { policy, versions } = intake;
  const { waitMs, signal, dryRun } = options;
  refusePolluted(intake, options);
  if (dryRun) return (await judged(parts, intake, options, shared, () => Promise.resolve())).next;
  await shared.extend(waitMs + allowanceMs);
  return withTenure(parts, policy.secret, { waitMs, signal }, async (tenure: Tenure) => {
    const keepLeases = async (): Promise<void> => {
      await shared.extend(allowanceMs);
      await tenure.extend(allowanceMs);
    };
    const { next, token } = await judged(parts, intake, options, shared, keepLeases);
    const store = await parts.store(policy.store);
    const data = { versions: versions.map(({ id, stage }) => ({ id, stage })), ...saidBy(options) };
    const words = { adopt: 'Taking over the value in use', import: `Importing ${countOf(versions)}` }[options.how];
    await note(parts, policy.secret, options.how, `${words}.`, data);
    await keepLeases();
    await store.commit({ secret: policy.secret, key: policy.key }, next, token);
    return next;
  });
}

function countOf(versions: readonly LabelledVersion[]): string {
  return versions.length === 1 ? 'a version' : `${String(versions.length)} versions`;
}

/** What a person overruled. */
function saidBy({ asIs, skipDuplicateCheck }: IntakeOptions): Readonly<Record<string, true>> {
  return { ...(asIs ? { asIs } : {}), ...(skipDuplicateCheck ? { skipDuplicateCheck } : {}) };
}

/** The keyring that the intake makes. Throws what speaks against it. */
async function judged(
  parts: Parts,
  { policy, versions }: Intake,
  options: IntakeOptions,
  { others }: Shared,
  keepLeases: () => Promise<void>,
): Promise<{ readonly next: Keyring; readonly token: string | null }> {
  const { secret } = policy;
  refuseElsewhere(policy, await liveRun(parts, secret));
  const { keyring, token } = await readKeyring(parts, policy);
  if (acceptedVersions(keyring).length > 0) {
    throw new KeyturnError('secret-exists', `${secret} has a value already.`, {
      hint: `To change it: keyturn rotate ${secret}`,
    });
  }
  const used = versions.find(({ id }) => findVersion(keyring, id) !== null);
  if (used !== undefined) {
    throw new KeyturnError('import-invalid', `${secret} had a version ${used.id} before, and ids are never reused.`, {
      hint: 'Give that version another label.',
    });
  }
  if (!options.skipDuplicateCheck) {
    await others.load(keepLeases);
    others.refuseShared(secret, versions);
  }
  const commit = {
    id: idFrom('commit', parts.random.bytes(idBytes)),
    highestRevision: await knownRevision(parts, secret),
  };
  return { next: nextKeyring(keyring, movesOf(versions), commit), token };
}

/** A run keeps the store that it began with, whatever the policy says by now. */
function refuseElsewhere({ secret, store, key }: SecretPolicy, live: Run | null): void {
  if (live === null || (live.policy.store === store && live.policy.key === key)) return;
  throw new KeyturnError(
    'wrong-state',
    `${secret} is being rotated by run ${live.id} in the store ${live.policy.store}, at ${JSON.stringify(live.policy.key)}; this policy has it elsewhere.`,
    {
      hint: `${letItEnd(secret)}. To take a keyring to another store: keyturn migrate`,
      details: { run: live.id, store: live.policy.store, key: live.policy.key },
    },
  );
}

/** The legal way to several versions of which some are deprecated: each was the primary once, in its turn. */
function movesOf(versions: readonly LabelledVersion[]): readonly KeyringMove[] {
  const deprecated = versions.filter(({ stage }) => stage === 'deprecated');
  const primary = versions.filter(({ stage }) => stage === 'primary');
  return [
    ...versions.map(({ id, value, createdAt }) => ({ kind: 'add', version: id, value, createdAt }) as const),
    ...[...deprecated, ...primary].map(({ id }) => ({ kind: 'promote', version: id }) as const),
  ];
}

/** A secret that nothing verifies signatures with is a token that is compared as it is. */
function refusePolluted({ policy, versions }: Intake, { how, asIs }: IntakeOptions): void {
  const compared = policy.scheme === null;
  const found = versions.flatMap(({ id, value }) => {
    const pollution = pollutionOf(value, { compared, asIs });
    return pollution === null ? [] : [{ id, ...pollution }];
  });
  const [first] = found;
  if (first === undefined) return;
  const which = ({ id }: { readonly id: string }): string =>
    how === 'adopt' ? `The value for ${policy.secret}` : `The value of version ${id} of ${policy.secret}`;
  const wayOut = found.every(({ sure }) => !sure) ? ' If the upstream uses it just as it is: --as-is.' : '';
  throw new KeyturnError('value-refused', found.map((each) => `${which(each)} ${each.what}.`).join('\n'), {
    hint: `${[...new Set(found.map(({ hint }) => hint))].join('\n  ')}${wayOut}`,
  });
}

/**
 * Which secret has which value, told by fingerprints: an HMAC under a random key that is made for one command and never
 * leaves it. So what is compared is of no use to anybody later, it is stored nowhere, and of a thousand other secrets no
 * value stays in memory.
 */
class OtherValues {
  readonly #parts: Parts;
  readonly #key: Uint8Array;
  readonly #owners = new Map<string, Address>();
  #isLoaded = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#key = parts.random.bytes(32);
  }

  /** Every accepted value of every secret of the policy. Throws the store's error for one that cannot be read. */
  async load(beforeBatch: () => Promise<void>): Promise<void> {
    if (this.#isLoaded) return;
    await beforeBatch();
    for await (const batch of readMany(this.#parts, this.#parts.policy.secrets)) {
      for (const { policy, read } of batch) {
        if (read.state === 'failed') throw notCompared(policy.secret, read.error);
        if (read.state === 'present') this.add(read.keyring);
      }
      await beforeBatch();
    }
    this.#isLoaded = true;
  }

  add(keyring: Keyring): void {
    for (const { value } of acceptedVersions(keyring)) this.#owners.set(this.#fingerprint(value), keyring.secret);
  }

  /** Throws `value-shared` where another secret has one of these values. */
  refuseShared(secret: Address, versions: readonly LabelledVersion[]): void {
    for (const { value } of versions) {
      const owner = this.#owners.get(this.#fingerprint(value));
      if (owner === undefined) continue;
      throw new KeyturnError('value-shared', `${secret} would have the same value as ${owner}; no two secrets may.`, {
        hint: 'Take over the value of this one. If both upstreams do use the same: --skip-duplicate-check, and rotate one of them at once.',
        details: { secret, sharedWith: owner },
      });
    }
  }

  #fingerprint(value: string): string {
    return createHmac('sha256', this.#key).update(value).digest('base64');
  }
}

function notCompared(secret: Address, { code, message, hint }: KeyturnError): KeyturnError {
  return new KeyturnError(code, `It cannot be told whether ${secret} has the same value: ${message}`, {
    hint: `${hint ?? 'Mend the store.'} To take it over without comparing: --skip-duplicate-check.`,
    details: { secret },
  });
}

/** What stands in the place of a value that is not shown. */
export const placeholder = '…';

/** What is written of a secret: every accepted version, or the primary alone. */
export type ExportFormat = 'active-secrets' | 'dotenv' | 'value';

export interface ExportOptions {
  readonly format: ExportFormat;
  /** False: every value is a placeholder, and nothing is journalled. */
  readonly showValues: boolean;
  /** True: a secret without a primary is left out; else it is an error. */
  readonly leaveOut: boolean;
}

/**
 * The keyrings of these secrets, in their order, with values that are journalled first as shown, or without. Throws
 * `secret-absent` where there is no primary, and the store's error for one that cannot be read.
 */
export async function handOut(
  parts: Parts,
  policies: readonly SecretPolicy[],
  { format, showValues, leaveOut }: ExportOptions,
): Promise<readonly Keyring[]> {
  const found = new Map<Address, Keyring>();
  for await (const batch of readMany(parts, policies)) {
    for (const { policy, read } of batch) {
      if (read.state === 'failed') throw read.error;
      const hasPrimary = read.state === 'present' && primaryOf(read.keyring) !== null;
      if (hasPrimary) found.set(policy.secret, showValues ? read.keyring : withoutValues(read.keyring));
      else if (!leaveOut) throw withoutPrimary(policy.secret);
    }
  }
  const keyrings = policies.flatMap(({ secret }) => found.get(secret) ?? []);
  for (const keyring of showValues ? keyrings : []) {
    const versions = acceptedVersions(keyring)
      .filter(({ stage }) => format === 'active-secrets' || stage === 'primary')
      .map(({ id, stage }) => ({ id, stage }));
    await note(parts, keyring.secret, 'export', 'Showing values in an export.', { format, versions });
  }
  return keyrings;
}

function withoutValues(keyring: Keyring): Keyring {
  const hidden = ({ value }: { readonly value: string | null }): string | null => (value === null ? null : placeholder);
  return { ...keyring, versions: keyring.versions.map((version) => ({ ...version, value: hidden(version) })) };
}

export interface RevealOptions {
  readonly stage: AcceptedVersion['stage'];
  /** Which one, where several are in that stage; null: the only one. */
  readonly version: string | null;
}

/** One version with its value; journalled first. Throws `secret-absent` where there is none, `usage` where there are several. */
export async function reveal(
  parts: Parts,
  policy: SecretPolicy,
  { stage, version }: RevealOptions,
): Promise<AcceptedVersion> {
  const { secret } = policy;
  const { keyring } = await readKeyring(parts, policy);
  const found = acceptedVersions(keyring).filter(
    (each) => each.stage === stage && (version === null || each.id === version),
  );
  const [only] = found;
  if (only === undefined) {
    const which = version === null ? `${stage} version` : `${stage} version ${version}`;
    throw new KeyturnError('secret-absent', `${secret} has no ${which}.`, { hint: `See keyturn status ${secret}` });
  }
  if (found.length > 1) {
    const ids = found.map(({ id }) => id);
    throw new KeyturnError('usage', `${secret} has ${String(ids.length)} ${stage} versions: ${ids.join(', ')}.`, {
      hint: 'Say which: --id VERSION.',
      details: { versions: ids },
    });
  }
  await note(parts, secret, 'reveal', `Showing the value of version ${only.id}, which is ${stage}.`, {
    version: only.id,
    stage,
  });
  return only;
}

/** Where a plain copy is; with a property it is a JSON object. */
export interface CopyPlace {
  readonly key: string;
  readonly property: string | null;
}

/** The text of a plain copy in the secret's store, or of one property of it. Throws `usage` where nothing is there, `value-refused`. */
export async function readPlainCopy(parts: Parts, policy: SecretPolicy, { key, property }: CopyPlace): Promise<string> {
  const store = await parts.store(policy.store);
  const place = `the plain copy ${key} in the ${store.label}`;
  const text = await store.plain.read(key);
  if (text === null) {
    throw new KeyturnError('usage', `There is no text at ${place}.`, {
      hint: 'Name the key as the store has it, and behind a # the property of a JSON object.',
    });
  }
  if (property === null) return text;
  const fields = parseObject(text);
  const value = fields === null || !Object.hasOwn(fields, property) ? undefined : fields[property];
  if (typeof value === 'string') return value;
  const why = fields === null ? 'is no JSON object' : `has no property ${property} that is text`;
  throw new KeyturnError('value-refused', `What stands at ${place} ${why}.`, {
    hint: isRecord(value)
      ? 'Name a property of a single value.'
      : `Name it as it stands there: --from-store ${key}#PROPERTY`,
  });
}

/** A line of the audit trail that belongs to no run. */
export async function note(
  parts: Parts,
  secret: Address,
  event: string,
  message: string,
  data: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { journal, clock, who } = parts;
  await journal.note({ at: clock.now(), secret, run: null, step: null, event, message, data: { ...data, who } });
}
