import { nearest, type Findings } from './findings.ts';
import type { Loose } from './merge.ts';
import type { CanaryFields } from './schema.ts';
import { hasLooseBraces, templateNames } from './template.ts';
import type { Path } from './text.ts';
import { checkPlace, type AddressTemplate } from './upstream.ts';

/**
 * Checks of a canary. It has no list of hosts: it carries neither a value nor a credential, and its host stands in the
 * policy as it is. It is encrypted all the same: who could answer in the receivers' place could let a run switch too soon.
 * No message shows the url.
 */
export function checkCanary(
  canary: Loose<CanaryFields>,
  path: Path,
  address: readonly AddressTemplate[],
  findings: Findings,
): void {
  const { url } = canary;
  if (url === undefined) return;
  const place = [...path, 'url'];
  checkPlace(url, place, findings, 'elsewhere than on loopback, somebody else could answer for the receivers');
  if (hasLooseBraces(url)) findings.add(place, 'holds {{ without the }} that ends a template');
  for (const name of templateNames(url)) {
    if (address.some((known) => known === name)) continue;
    if (name === 'environment' || name === 'tenant')
      findings.add(place, `holds {{${name}}}, and the secret has no ${name}`);
    else
      findings.add(place, 'holds a template that is neither {{environment}} nor {{tenant}}', {
        didYouMean: nearest(name, address),
      });
  }
}
