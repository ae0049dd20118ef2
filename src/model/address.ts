/**
 * A secret's address, `[environment/][tenant/]name`: unique everywhere, in journal, cache, JSON and messages.
 * One part is a name, two are environment or tenant and name, three are all of them; the policy knows which.
 */
export type Address = string;

export interface AddressParts {
  readonly environment: string | null;
  readonly tenant: string | null;
  readonly name: string;
}

/** What a part may look like: it becomes a file name, a path in a store, an argument in a shell. */
export const addressPart = /^[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,62}[a-zA-Z0-9])?$/;

export function formatAddress(parts: AddressParts): Address {
  return [parts.environment, parts.tenant, parts.name].filter((part) => part !== null).join('/');
}

/** True when `short` is the address or its tail at a slash: `globex/hook` names `production/globex/hook`. */
export function addressMatches(address: Address, short: string): boolean {
  return address === short || address.endsWith(`/${short}`);
}
