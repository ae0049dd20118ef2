import { addressPart, formatAddress } from '../address.ts';
import { checkCanary } from './canary.ts';
import { nearest, type Findings } from './findings.ts';
import { builtIn, environmentsOf, mergeSecrets, statedAt, type Loose, type MergedSecret } from './merge.ts';
import { checkMirrors, checkPlaces, type Addressed } from './mirrors.ts';
import { checkReceivers } from './receivers.ts';
import { nameSentence } from './rules.ts';
import type { PolicyFile } from './schema.ts';
import type { Path } from './text.ts';
import { checkBlackouts, checkTimezone } from './times.ts';
import { checkStores, storePlace } from './stores.ts';
import { checkReference, checkUpstream, isLoopbackUpstream, type AddressTemplate } from './upstream.ts';
import { wholeName } from './warnings.ts';

/**
 * What no single field can show. Every check takes a file from which everything wrong was removed, so that all of them
 * can run beside the schema's findings; `complete` is false where something may be missing only because the text is broken.
 */
export interface CheckOptions {
  /** True when nothing is missing from the data merely because the text could not be read whole. */
  readonly complete: boolean;
  /** An absolute path for a path of the file. */
  readonly absolute: (path: string) => string;
}

export function checkPolicy(file: Loose<PolicyFile>, findings: Findings, { complete, absolute }: CheckOptions): void {
  checkNames(file, findings);
  if (complete) checkReferences(file, findings);
  checkPaths(file, findings, absolute);
  checkStores(file, findings, absolute);
  checkBlackouts(file, complete, findings);
  checkNaming(file, findings);
  for (const { path, fields } of everyLayer(file))
    checkTimezone(fields.cutover?.timezone, [...path, 'cutover', 'timezone'], findings);
  const secrets = mergeSecrets(file);
  for (const secret of secrets) {
    const { upstream } = secret.fields;
    const place = statedAt(secret, ['upstream']);
    if (upstream !== undefined && place !== null) checkUpstream(upstream, place, addressTemplates(secret), findings);
    const canaryPlace = statedAt(secret, ['canary']);
    if (secret.fields.canary !== undefined && canaryPlace !== null)
      checkCanary(secret.fields.canary, canaryPlace, addressTemplates(secret), findings);
    checkReceivers(secret, complete, findings);
    checkMirrors(secret, findings);
    if (complete) checkPresence(file, secret, findings);
  }
  checkPlaces(checkAddresses(secrets, findings), (store) => storePlace(file, store, absolute), findings);
}

function addressTemplates({ environment, fields }: MergedSecret): readonly AddressTemplate[] {
  return [
    ...(environment === null ? [] : ['environment' as const]),
    ...(fields.tenants === undefined ? [] : ['tenant' as const]),
  ];
}

function checkNames(file: Loose<PolicyFile>, findings: Findings): void {
  const names = (record: Readonly<Record<string, unknown>> | undefined, path: Path): void => {
    for (const name of Object.keys(record ?? {})) {
      if (!addressPart.test(name)) findings.add([...path, name], `a name ${nameSentence}`, { at: 'key' });
    }
  };
  names(file.secrets, ['secrets']);
  names(file.environments, ['environments']);
  names(file.stores, ['stores']);
  for (const { fields, path } of everyLayer(file)) names(fields.receivers?.pools, [...path, 'receivers', 'pools']);
}

function checkNaming({ naming }: Loose<PolicyFile>, findings: Findings): void {
  if (naming === undefined) return;
  try {
    wholeName(naming);
  } catch (error) {
    // The message begins with the expression, which is not shown.
    const why = error instanceof Error ? error.message.replace(/^.*: /s, '').toLowerCase() : 'it cannot be read';
    findings.add(['naming'], `is no regular expression: ${why}`);
  }
}

type LooseSecret = NonNullable<Loose<PolicyFile>['defaults']>;

/** Every place in the file that holds fields of a secret. */
function everyLayer(file: Loose<PolicyFile>): readonly { readonly path: Path; readonly fields: LooseSecret }[] {
  const secretsAt = (record: Loose<Readonly<Record<string, LooseSecret>>> | undefined, path: Path) =>
    Object.entries(record ?? {}).map(([name, fields]) => ({ path: [...path, name], fields }));
  return [
    { path: ['defaults'], fields: file.defaults },
    ...secretsAt(file.secrets, ['secrets']),
    ...Object.entries(file.environments ?? {}).flatMap(([name, environment]) => [
      { path: ['environments', name, 'defaults'], fields: environment?.defaults },
      ...secretsAt(environment?.secrets, ['environments', name, 'secrets']),
    ]),
  ].flatMap(({ path, fields }) => (fields === undefined ? [] : [{ path, fields }]));
}

/** Names that must be defined elsewhere in the file. */
function checkReferences(file: Loose<PolicyFile>, findings: Findings): void {
  const environments = Object.keys(file.environments ?? {});
  for (const { path, fields } of everyLayer(file)) {
    for (const [index, name] of (fields.environments ?? []).entries()) {
      if (environments.includes(name) || findings.touches(['environments'])) continue;
      findings.add([...path, 'environments', index], 'is no environment of this policy', {
        didYouMean: nearest(name, environments),
      });
    }
    const stores = Object.keys(file.stores ?? builtIn.stores);
    if (fields.store !== undefined && !stores.includes(fields.store) && !findings.touches(['stores', fields.store])) {
      findings.add([...path, 'store'], 'is no store of this policy', { didYouMean: nearest(fields.store, stores) });
    }
  }
  const secrets = Object.keys(file.secrets ?? {});
  for (const [environment, { secrets: special } = {}] of Object.entries(file.environments ?? {})) {
    for (const name of Object.keys(special ?? {})) {
      const path = ['environments', environment, 'secrets', name];
      if (!secrets.includes(name)) {
        findings.add(path, 'is no secret of this policy', { at: 'key', didYouMean: nearest(name, secrets) });
      } else if (!environmentsOf(file, name).includes(environment)) {
        findings.add(path, 'does not exist in this environment: its "environments" leaves it out', { at: 'key' });
      }
    }
  }
}

/** The journal is the operator's and the usage log everybody's, so they can never be one file. Its key is a reference. */
function checkPaths(file: Loose<PolicyFile>, findings: Findings, absolute: (path: string) => string): void {
  const auditKey = file.journal?.auditKey;
  if (auditKey !== undefined) checkReference(auditKey, ['journal', 'auditKey'], findings);
  const journal = absolute(file.journal?.path ?? builtIn.journalPath);
  if (journal !== absolute(file.usage?.path ?? builtIn.usagePath)) return;
  findings.add(
    file.usage?.path === undefined ? ['journal', 'path'] : ['usage', 'path'],
    'journal and usage log must be two files',
  );
}

/** What has no default and must come from one of the layers. */
function checkPresence(file: Loose<PolicyFile>, secret: MergedSecret, findings: Findings): void {
  const { name, environment, fields } = secret;
  const place: Path = ['secrets', name];
  const broken = (path: Path): boolean =>
    findings.touches(place) && layerPaths(secret).some((layer) => findings.touches([...layer, ...path]));
  if (fields.upstream === undefined) {
    if (!broken(['upstream'])) findings.add(place, 'its upstream is missing', { at: 'key', environment });
  } else if (
    fields.receivers?.expect === undefined &&
    fields.receivers?.pools === undefined &&
    fields.receivers?.reporting !== 'none'
  ) {
    const hosts = [...(statedAt(secret, ['upstream']) ?? place), 'allowHosts'];
    if (
      !isLoopbackUpstream(fields.upstream) &&
      !broken(['receivers', 'expect']) &&
      !broken(['receivers', 'pools']) &&
      !broken(['receivers', 'reporting']) &&
      !findings.touches(hosts)
    ) {
      findings.add(
        place,
        'its receivers.expect is missing: say how many receivers verify with it, for that has no default unless every host of the upstream is on loopback',
        { at: 'key', environment },
      );
    }
  }
  const stores = Object.keys(file.stores ?? builtIn.stores);
  if (
    fields.store === undefined &&
    !stores.includes(builtIn.store) &&
    !broken(['store']) &&
    !findings.touches(['stores'])
  ) {
    findings.add(place, `its store is missing: the default "${builtIn.store}" is not in stores`, {
      at: 'key',
      environment,
    });
  }
}

function layerPaths({ name, environment }: MergedSecret): readonly Path[] {
  const outer: readonly Path[] = [['defaults'], ['secrets', name]];
  if (environment === null) return outer;
  return [...outer, ['environments', environment, 'defaults'], ['environments', environment, 'secrets', name]];
}

/** Every address once. Two that differ by case alone count as the same: case is no difference on some disks. */
function checkAddresses(secrets: readonly MergedSecret[], findings: Findings): readonly Addressed[] {
  const known = new Map<string, string>();
  return secrets.flatMap((secret) => {
    const { name, environment, fields } = secret;
    const tenants = statedAt(secret, ['tenants']);
    return (fields.tenants ?? [null]).flatMap((tenant, index) => {
      const parts = { environment, tenant, name };
      const address = formatAddress(parts);
      const other = known.get(address.toLowerCase());
      if (other === undefined) {
        known.set(address.toLowerCase(), address);
        return [{ secret, parts }];
      }
      const message =
        other === address
          ? `the address ${address} is there twice`
          : `the addresses ${other} and ${address} differ by case alone`;
      if (tenants === null) findings.add(['secrets', name], message, { at: 'key' });
      else findings.add([...tenants, index], message);
      return [];
    });
  });
}
