import type { EnvironmentFields, PolicyFile, SecretFields } from './schema.ts';
import { valueAt, type Path } from './text.ts';

/** The type of what is left of a file after everything wrong was taken out of it: whatever is there is right. */
export type Loose<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { readonly [K in keyof T]?: Loose<T[K]> | undefined }
    : T;

/** The fields of one secret in one environment, laid over each other, and where each of them stands in the file. */
export interface MergedSecret {
  readonly name: string;
  readonly environment: string | null;
  readonly fields: Loose<SecretFields>;
  /** From the weakest to the strongest: top defaults, the environment's defaults, the secret, the environment's word on it. */
  readonly layers: readonly Layer[];
}

interface Layer {
  readonly path: Path;
  readonly fields: Loose<SecretFields>;
}

/** What holds where neither the secret nor any defaults say otherwise. Durations are as in the file. */
export const builtIn = {
  journalPath: '.keyturn/journal.db',
  usagePath: '.keyturn/usage/usage.db',
  stores: { local: { kind: 'file', path: '.keyturn/secrets' } },
  store: 'local',
  generate: { bytes: 32, encoding: 'base64url', prefix: '' },
  receivers: { reportEvery: '10s', missingAfter: '10m', refreshEvery: '60s' },
  gates: { grace: '1h', quiet: '30m', timeout: '24h', retryTail: 'respect' },
  capabilities: { retryHorizon: '0ms', switchLag: '1m' },
  canary: { count: 3 },
  timezone: 'UTC',
  retainedRuns: 50,
  step: { expect: [200, 201, 202, 204], timeout: '5s' },
} as const;

/** Every secret in every environment it exists in, in the order of the file. */
export function mergeSecrets(file: Loose<PolicyFile>): readonly MergedSecret[] {
  return Object.keys(file.secrets ?? {}).flatMap((name) =>
    environmentsOf(file, name).map((environment) => {
      const layers = layersOf(file, name, environment);
      return { name, environment, layers, fields: layers.reduce((below, { fields }) => overlay(below, fields), {}) };
    }),
  );
}

/** The environments of a secret that there are; null alone where the file has none. */
export function environmentsOf(file: Loose<PolicyFile>, name: string): readonly (string | null)[] {
  const all = Object.keys(file.environments ?? {});
  if (all.length === 0) return [null];
  const named = entry(file.secrets, name)?.environments ?? file.defaults?.environments;
  return named === undefined ? all : all.filter((environment) => named.includes(environment));
}

/** The place of the field at `path` that counts, or null where only a built-in default can hold. */
export function statedAt(secret: MergedSecret, path: Path): Path | null {
  const layer = secret.layers[strength(secret, path)];
  return layer === undefined || valueAt(layer.fields, path) === undefined ? null : [...layer.path, ...path];
}

/** The fields of a secret whose own fields may come from different layers. */
const mergedByField: readonly (string | number | undefined)[] = ['receivers', 'gates', 'generate'];

/** The index of the strongest layer that states the field at `path`, or what it is a part of; -1 where none does. */
export function strength(secret: MergedSecret, path: Path): number {
  const whole = path.slice(0, mergedByField.includes(path[0]) ? 2 : 1);
  return secret.layers.findLastIndex(({ fields }) => valueAt(fields, whole) !== undefined);
}

/** Where to point about a field: at the place that states it, or else at the secret. */
export function placeOf(secret: MergedSecret, path: Path): Path {
  return statedAt(secret, path) ?? ['secrets', secret.name];
}

/** Own keys only: a secret called `constructor` is a secret like any other. */
export function entry<T>(record: Readonly<Record<string, T>> | undefined, key: string): T | undefined {
  return record !== undefined && Object.hasOwn(record, key) ? record[key] : undefined;
}

function layersOf(file: Loose<PolicyFile>, name: string, environment: string | null): readonly Layer[] {
  const inEnvironment: Loose<EnvironmentFields> | undefined =
    environment === null ? undefined : entry(file.environments, environment);
  const place: Path = environment === null ? [] : ['environments', environment];
  const layers: readonly { readonly path: Path; readonly fields: Loose<SecretFields> | undefined }[] = [
    { path: ['defaults'], fields: file.defaults },
    { path: [...place, 'defaults'], fields: inEnvironment?.defaults },
    { path: ['secrets', name], fields: entry(file.secrets, name) },
    { path: [...place, 'secrets', name], fields: entry(inEnvironment?.secrets, name) },
  ];
  return layers.flatMap(({ path, fields }) => (fields === undefined ? [] : [{ path, fields }]));
}

/** What is in `mergedByField` is merged by field; everything else is replaced as a whole. */
function overlay(below: Loose<SecretFields>, above: Loose<SecretFields>): Loose<SecretFields> {
  const merged: Loose<SecretFields> = { ...below, ...above };
  return {
    ...merged,
    ...(merged.generate === undefined ? {} : { generate: { ...below.generate, ...above.generate } }),
    ...(merged.gates === undefined ? {} : { gates: { ...below.gates, ...above.gates } }),
    ...(merged.receivers === undefined ? {} : { receivers: overlayReceivers(below.receivers, above.receivers) }),
  };
}

type LooseReceivers = Loose<SecretFields>['receivers'];

/** `expect` and `pools` say the same thing in two ways, so a stronger layer's one replaces a weaker layer's other. */
function overlayReceivers(below: LooseReceivers, above: LooseReceivers): LooseReceivers {
  const { expect, pools, ...rest } = below ?? {};
  const counted = above?.expect !== undefined || above?.pools !== undefined;
  const kept = counted
    ? {}
    : { ...(expect === undefined ? {} : { expect }), ...(pools === undefined ? {} : { pools }) };
  return { ...rest, ...kept, ...above };
}
