import type { GenerateRule } from './policy.ts';

/** A new value from random bytes, as the policy wants it written. */
export function valueFrom(rule: GenerateRule, random: Uint8Array): string {
  if (random.length !== rule.bytes) throw new RangeError(`the rule asks for ${String(rule.bytes)} bytes`);
  return rule.prefix + Buffer.from(random).toString(rule.encoding);
}
