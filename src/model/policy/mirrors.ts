import { formatAddress, type AddressParts } from '../address.ts';
import type { MirrorPolicy } from '../policy.ts';
import type { Findings } from './findings.ts';
import { builtIn, placeOf, statedAt, type MergedSecret } from './merge.ts';
import { isStoreKey } from './rules.ts';
import type { MirrorFields } from './schema.ts';
import { fillText, hasLooseBraces, templateNames } from './template.ts';
import type { Path } from './text.ts';

/** Mirrors, and everything that has a place in a store: each place may hold one thing. */

/** Only for a mirror in which the checks found nothing. */
export function resolveMirror(mirror: MirrorFields, parts: AddressParts): MirrorPolicy {
  return { key: fillText(mirror.key, { ...parts }), property: mirror.property ?? null, format: mirror.format };
}

/** What each mirror says by itself. */
export function checkMirrors(secret: MergedSecret, findings: Findings): void {
  const place = statedAt(secret, ['mirror']);
  if (place === null) return;
  for (const [index, mirror] of (secret.fields.mirror ?? []).entries()) {
    const path = [...place, index];
    if (mirror.format !== 'plain' && mirror.property !== undefined)
      findings.add([...path, 'property'], 'is for the format "plain" alone', { at: 'key' });
    checkKey(secret, mirror.key, [...path, 'key'], findings);
  }
}

const known = ['environment', 'tenant', 'name'];

function checkKey({ environment, fields }: MergedSecret, key: string, path: Path, findings: Findings): void {
  if (hasLooseBraces(key)) findings.add(path, 'holds {{ without the }} that ends a template');
  for (const inner of templateNames(key)) {
    const lacks =
      (inner === 'environment' && environment === null) || (inner === 'tenant' && fields.tenants === undefined);
    if (lacks) findings.add(path, `holds {{${inner}}}, and the secret has no ${inner}`);
    else if (!known.includes(inner))
      findings.add(path, 'holds a template that is none of {{environment}} {{tenant}} {{name}}');
  }
}

/** One thing in a store. */
interface Kept {
  readonly what: 'keyring' | 'mirror';
  readonly key: string;
  /** Null: the whole of what is at the key. */
  readonly property: string | null;
  readonly parts: AddressParts;
  readonly address: string;
  readonly path: Path;
}

/** One address of a secret. */
export interface Addressed {
  readonly secret: MergedSecret;
  readonly parts: AddressParts;
}

/**
 * Two things in one place of a store would overwrite each other. Case is no difference on some disks. `placeOfStore` says
 * what is one store, whatever it is called.
 */
export function checkPlaces(
  addressed: readonly Addressed[],
  placeOfStore: (store: string) => string,
  findings: Findings,
): void {
  const places = new Map<string, readonly Kept[]>();
  for (const { secret, parts } of addressed) {
    const store = placeOfStore(secret.fields.store ?? builtIn.store);
    for (const kept of [keyringOf(secret, parts), ...mirrorsOf(secret, parts, findings)]) {
      const place = JSON.stringify([store, kept.key.toLowerCase()]);
      const others = places.get(place) ?? [];
      const other = others.find((one) => isSamePlace(one, kept));
      if (other === undefined) places.set(place, [...others, kept]);
      else findings.add(kept.what === 'mirror' ? kept.path : other.path, clash(other, kept));
    }
  }
}

function keyringOf(secret: MergedSecret, parts: AddressParts): Kept {
  const address = formatAddress(parts);
  const key = secret.fields.key ?? address;
  return { what: 'keyring', key, property: null, parts, address, path: placeOf(secret, ['key']) };
}

function mirrorsOf(secret: MergedSecret, parts: AddressParts, findings: Findings): readonly Kept[] {
  const place = statedAt(secret, ['mirror']);
  if (place === null) return [];
  return (secret.fields.mirror ?? []).flatMap((mirror, index) => {
    const key = fillText(mirror.key, { ...parts });
    const path = [...place, index, 'key'];
    if (key.includes('{{')) return [];
    if (!isStoreKey(key)) findings.add(path, 'is too long for a key once its templates are filled in');
    // The documents' JSON has an entry for each secret, by its name.
    const property = mirror.format === 'active_secrets' ? parts.name : (mirror.property ?? null);
    return [{ what: 'mirror' as const, key, property, parts, address: formatAddress(parts), path }];
  });
}

function isSamePlace(one: Kept, other: Kept): boolean {
  return one.property === null || other.property === null || one.property === other.property;
}

function clash(first: Kept, second: Kept): string {
  if (first.what === 'keyring' && second.what === 'keyring')
    return `${first.address} and ${second.address} have the same key in the same store`;
  if (first.what !== second.what) {
    const [mirror, keyring] = first.what === 'mirror' ? [first, second] : [second, first];
    return `the mirror of ${mirror.address} has the key of the keyring of ${keyring.address}, and would replace it`;
  }
  if (first.address === second.address) return `${first.address} has two mirrors in the same place`;
  const apart = (['environment', 'tenant', 'name'] as const).filter((part) => first.parts[part] !== second.parts[part]);
  const templates = apart.map((part) => `{{${part}}}`).join(' and ');
  return (
    `${first.address} and ${second.address} have mirrors in the same place, and each would replace the other: ` +
    `write ${templates} into the key`
  );
}
