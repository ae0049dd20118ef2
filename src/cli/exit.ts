import type { ErrorCode } from '../model/errors.ts';

/** Exit codes, as the README lists them. */
export const exit = {
  ok: 0,
  failed: 1,
  usage: 2,
  waiting: 3,
  person: 4,
  refused: 5,
  busy: 6,
  interrupted: 130,
  terminated: 143,
} as const;

export type Exit = (typeof exit)[keyof typeof exit];

const usageCodes: readonly ErrorCode[] = [
  'usage',
  'not-in-this-version',
  'policy-missing',
  'policy-invalid',
  'secret-unknown',
  'secret-ambiguous',
  'value-refused',
  'import-invalid',
];

const refusedCodes: readonly ErrorCode[] = [
  'foreign-claim',
  'drift',
  'wrong-state',
  'secret-exists',
  'value-shared',
  'run-held',
  'gate-timeout',
  'audit-key',
];

export function exitOfError(code: ErrorCode): Exit {
  if (usageCodes.includes(code)) return exit.usage;
  if (refusedCodes.includes(code)) return exit.refused;
  return code === 'lease-busy' || code === 'lease-lost' ? exit.busy : exit.failed;
}

const order: readonly Exit[] = [exit.failed, exit.refused, exit.busy, exit.person, exit.waiting, exit.ok];

/** Over several secrets: the first of 1, 5, 6, 4, 3, 0 that occurs; a usage error or an interruption goes before all. */
export function worstExit(exits: readonly Exit[]): Exit {
  return exits.find((each) => !order.includes(each)) ?? order.find((each) => exits.includes(each)) ?? exit.ok;
}

/** What an abort by that signal exits with: interrupted at the terminal, or terminated. */
export function exitOfSignal(reason: unknown): Exit {
  return reason === 'SIGTERM' ? exit.terminated : exit.interrupted;
}
