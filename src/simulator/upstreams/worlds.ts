import { KeyturnError } from '../../model/errors.ts';
import type { Mode, SecretPolicy } from '../../model/policy.ts';
import { createPushUpstream } from './push.ts';
import type { UpstreamParts, WorldUpstream } from './upstream.ts';

const worlds: Readonly<Record<Mode, (parts: UpstreamParts) => WorldUpstream>> = { push: createPushUpstream };

/** Throws `not-in-this-version` for an upstream of a mode without a world. */
export function createWorldUpstream(parts: UpstreamParts): WorldUpstream {
  requireWorld(parts.policy);
  return worlds[parts.policy.mode](parts);
}

/** Throws `not-in-this-version` where nothing in this version behaves as such an upstream does. */
export function requireWorld({ secret, mode, direction }: SecretPolicy): void {
  if (mode in worlds && direction === 'inbound') return;
  throw new KeyturnError(
    'not-in-this-version',
    `The upstream of ${secret} works by ${direction === 'inbound' ? `mode ${mode}` : 'signatures of the fleet'}, and this version simulates none of that kind.`,
    { hint: `It simulates inbound upstreams of these modes: ${Object.keys(worlds).join(', ')}.` },
  );
}
