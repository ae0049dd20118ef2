import { formatAddress } from '../address.ts';
import { parseDuration } from '../duration.ts';
import type {
  CanaryPolicy,
  CredentialReference,
  CutoverPolicy,
  GatesPolicy,
  HttpStep,
  JournalPolicy,
  Policy,
  PoolPolicy,
  ReceiversPolicy,
  SecretPolicy,
  StorePolicy,
  UpstreamPolicy,
} from '../policy.ts';
import { builtIn, mergeSecrets, type Loose, type MergedSecret } from './merge.ts';
import { resolveMirror } from './mirrors.ts';
import type { HttpStepFields, PolicyFile, PoolFields, SecretFields, UpstreamFields } from './schema.ts';
import { resolveReference, resolveStore } from './stores.ts';
import { fillAddress, fillText } from './template.ts';
import { blackoutsOf, type PlacedBlackout } from './times.ts';
import { allowedHost, formatAllowedHost, type AddressTemplate } from './upstream.ts';

export interface ResolveOptions {
  readonly source: string;
  /** An absolute path for a path of the file. */
  readonly absolute: (path: string) => string;
}

/** The policy that the rest of the code reads. Only for a file in which the schema and every check found nothing. */
export function resolvePolicy(file: PolicyFile, { source, absolute }: ResolveOptions): Policy {
  const written: NonNullable<PolicyFile['stores']> = file.stores ?? builtIn.stores;
  const stores = Object.entries(written).map(([name, store]): readonly [string, StorePolicy] => [
    name,
    resolveStore(store, absolute),
  ]);
  const blackouts = blackoutsOf(file);
  return {
    source,
    journal: resolveJournal(file.journal, absolute),
    usage: { kind: 'sqlite', path: absolute(file.usage?.path ?? builtIn.usagePath), group: file.usage?.group ?? null },
    stores: Object.fromEntries(stores),
    secrets: mergeSecrets(file).flatMap((secret) => resolveSecret(secret, blackouts(secret.environment), absolute)),
    retain: { runs: file.retain?.runs ?? builtIn.retainedRuns },
    naming: file.naming ?? null,
  };
}

function resolveJournal(journal: PolicyFile['journal'], absolute: (path: string) => string): JournalPolicy {
  const { path = builtIn.journalPath, auditKey } = journal ?? {};
  return {
    kind: 'sqlite',
    path: absolute(path),
    auditKey: auditKey === undefined ? null : resolveReference(auditKey, absolute),
  };
}

/** One entry for each tenant, or the one without. What no address stands in is theirs in common: they may be thousands. */
function resolveSecret(
  { name, environment, fields }: MergedSecret,
  blackouts: readonly PlacedBlackout[],
  absolute: (path: string) => string,
): readonly SecretPolicy[] {
  const upstreamOf = resolveUpstream(found(fields.upstream), absolute);
  const common = {
    name,
    environment,
    owner: fields.owner ?? null,
    direction: fields.direction ?? 'inbound',
    store: fields.store ?? builtIn.store,
    generate: {
      bytes: fields.generate?.bytes ?? builtIn.generate.bytes,
      encoding: fields.generate?.encoding ?? builtIn.generate.encoding,
      prefix: fields.generate?.prefix ?? builtIn.generate.prefix,
    },
    scheme: fields.scheme ?? null,
    rotateEveryMs: fields.rotateEvery === undefined ? null : milliseconds(fields.rotateEvery),
    receivers: resolveReceivers(fields.receivers),
    gates: resolveGates(fields.gates),
    approvals: fields.approvals ?? 0,
    cutover: resolveCutover(fields.cutover),
    blackouts: blackouts.map(({ from, until, reason }) => ({ from, until, reason })),
    mode: 'push',
  } as const;
  return (fields.tenants ?? [null]).map((tenant) => {
    const secret = formatAddress({ environment, tenant, name });
    return {
      ...common,
      secret,
      tenant,
      key: fields.key ?? secret,
      mirrors: (fields.mirror ?? []).map((mirror) => resolveMirror(mirror, { environment, tenant, name })),
      ...resolveCanary(fields, { environment, tenant }),
      upstream: upstreamOf({ environment, tenant }),
    };
  });
}

function resolveReceivers(receivers: Loose<SecretFields>['receivers']): ReceiversPolicy {
  const { expect, pools, reporting } = receivers ?? {};
  // Without a number the upstream is on loopback, where a fleet may be one process.
  const written = pools ?? { default: { expect: expect ?? 1 } };
  return {
    pools: Object.fromEntries(
      Object.entries(written).map(([name, pool]): readonly [string, PoolPolicy] => [
        name,
        resolvePool(found(pool), reporting),
      ]),
    ),
    reportEveryMs: milliseconds(receivers?.reportEvery ?? builtIn.receivers.reportEvery),
    missingAfterMs: milliseconds(receivers?.missingAfter ?? builtIn.receivers.missingAfter),
    refreshEveryMs: milliseconds(receivers?.refreshEvery ?? builtIn.receivers.refreshEvery),
  };
}

function resolvePool(pool: Loose<PoolFields>, inherited: PoolFields['reporting']): PoolPolicy {
  const { ephemeral = false, reporting = inherited ?? 'required' } = pool;
  return {
    expect: ephemeral || reporting === 'none' ? 0 : found(pool.expect),
    reporting,
    ephemeral,
    maxAgeMs: ephemeral ? milliseconds(found(pool.maxAge)) : null,
  };
}

function resolveGates(gates: Loose<SecretFields>['gates']): GatesPolicy {
  return {
    graceMs: milliseconds(gates?.grace ?? builtIn.gates.grace),
    quietMs: milliseconds(gates?.quiet ?? builtIn.gates.quiet),
    timeoutMs: milliseconds(gates?.timeout ?? builtIn.gates.timeout),
    retryTail: gates?.retryTail ?? builtIn.gates.retryTail,
  };
}

function resolveCutover(cutover: Loose<SecretFields>['cutover']): CutoverPolicy | null {
  if (cutover === undefined) return null;
  return {
    cron: found(cutover.cron),
    durationMs: milliseconds(found(cutover.duration)),
    timezone: cutover.timezone ?? builtIn.timezone,
  };
}

/** Without a scheme there is nothing to sign a canary by. */
function resolveCanary({ canary, scheme }: Loose<SecretFields>, address: AddressValues): { canary?: CanaryPolicy } {
  if (canary === undefined || scheme === undefined) return {};
  return { canary: { url: fillText(found(canary.url), address), count: canary.count ?? builtIn.canary.count } };
}

type AddressValues = Readonly<Record<AddressTemplate, string | null>>;

/** The upstream of each address. */
function resolveUpstream(
  upstream: Loose<UpstreamFields>,
  absolute: (path: string) => string,
): (address: AddressValues) => UpstreamPolicy {
  const activate = found(upstream.steps?.activate);
  const capabilities = found(upstream.capabilities);
  const overlap = found(capabilities.overlap);
  const credentials = Object.entries(upstream.credentials ?? {}).map(
    ([name, reference]): readonly [string, CredentialReference] => [name, resolveReference(reference, absolute)],
  );
  const common = {
    kind: 'http',
    allowHosts: found(upstream.allowHosts).map((host) => formatAllowedHost(found(allowedHost(host) ?? undefined))),
    credentials: Object.fromEntries(credentials),
    capabilities: {
      valueOrigin: found(capabilities.valueOrigin),
      activation: found(capabilities.activation),
      overlap: typeof overlap === 'string' ? overlap : { maxMs: milliseconds(found(overlap.max)) },
      dualSigned: capabilities.dualSigned ?? false,
      retriesResigned: found(capabilities.retriesResigned),
      retryHorizonMs: milliseconds(capabilities.retryHorizon ?? builtIn.capabilities.retryHorizon),
      switchLagMs: milliseconds(capabilities.switchLag ?? builtIn.capabilities.switchLag),
      redelivers: capabilities.redelivers ?? false,
      idempotent: capabilities.idempotent ?? true,
    },
  } as const;
  return (address) => ({ ...common, steps: { activate: resolveStep(activate, address) } });
}

/** The parts of the address are known now and filled in; the other templates wait for the call. */
function resolveStep(step: Loose<HttpStepFields>, address: AddressValues): HttpStep {
  const fill = (text: string): string => fillText(text, address);
  return {
    method: found(step.method),
    url: fill(found(step.url)),
    headers: texts(step.headers, (name) => name.toLowerCase(), fill),
    json: fillAddress(step.json, address) ?? null,
    form: step.form === undefined ? null : texts(step.form, fill, fill),
    body: step.body === undefined ? null : fill(step.body),
    expect: step.expect ?? builtIn.step.expect,
    retryOn: step.retryOn ?? [],
    timeoutMs: milliseconds(step.timeout ?? builtIn.step.timeout),
  };
}

type Turn = (text: string) => string;

function texts(
  record: Loose<Readonly<Record<string, string>>> | undefined,
  key: Turn,
  value: Turn,
): Readonly<Record<string, string>> {
  const entries = Object.entries(record ?? {});
  return Object.fromEntries(entries.map(([name, text]): readonly [string, string] => [key(name), value(found(text))]));
}

function milliseconds(text: string): number {
  return found(parseDuration(text) ?? undefined);
}

/** What the schema and the checks have made sure of. Throwing here would be a mistake in them. */
function found<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('a policy was resolved that should have been refused');
  return value;
}
