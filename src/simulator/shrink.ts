import type { SecretPolicy } from '../model/policy.ts';
import type { Fault, Schedule } from './schedule.ts';
import { runWorld, type Outcome } from './world.ts';

/** How many schedules are tried at the most: what is left after so many is small enough to be read. */
const maxTries = 80;

/**
 * The same violation with as little going wrong as can be found: halves, quarters and single faults are left out as long as
 * what is left still ends in it. The schedule of an outcome without a violation is returned as it is.
 */
export async function shrunk(
  policy: SecretPolicy,
  { schedule, violation }: Outcome,
  run: typeof runWorld = runWorld,
): Promise<Schedule> {
  if (violation === null) return schedule;
  let tries = 0;
  const stillFails = async (faults: readonly Fault[]): Promise<boolean> => {
    tries += 1;
    const outcome = await run(policy, { ...schedule, faults });
    return outcome.violation?.invariant === violation.invariant;
  };
  let { faults } = schedule;
  if (faults.length > 0 && (await stillFails([]))) return { ...schedule, faults: [] };
  for (let size = Math.ceil(faults.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < faults.length && tries < maxTries;) {
      const fewer = faults.toSpliced(from, size);
      if (fewer.length > 0 && (await stillFails(fewer))) faults = fewer;
      else from += size;
    }
  }
  return { ...schedule, faults };
}
