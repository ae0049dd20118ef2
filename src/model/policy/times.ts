import { endOf, isTimezone, parseMoment, startOf, timezones } from '../calendar.ts';
import type { Blackout } from '../policy.ts';
import { nearest, type Findings } from './findings.ts';
import { builtIn, type Loose } from './merge.ts';
import type { BlackoutFields, PolicyFile } from './schema.ts';
import type { Path } from './text.ts';

/** What a policy says about times of the calendar: time zones, and blackouts. */

export function checkTimezone(name: string | undefined, path: Path, findings: Findings): void {
  if (name === undefined || isTimezone(name)) return;
  findings.add(path, 'is no time zone: write an IANA name such as "Europe/Berlin" or "UTC"', {
    didYouMean: nearest(name, timezones()),
  });
}

export function checkBlackouts(file: Loose<PolicyFile>, complete: boolean, findings: Findings): void {
  const environments = Object.keys(file.environments ?? {});
  for (const [index, blackout] of (file.blackouts ?? []).entries()) {
    const path = ['blackouts', index];
    checkTimezone(blackout.timezone, [...path, 'timezone'], findings);
    const span = spanOf(blackout);
    if (span !== null && span.from >= span.until)
      findings.add([...path, 'until'], 'is not after from: the blackout would never hold');
    for (const [at, name] of (blackout.environments ?? []).entries()) {
      if (!complete || environments.includes(name) || findings.touches(['environments'])) continue;
      findings.add([...path, 'environments', at], 'is no environment of this policy', {
        didYouMean: nearest(name, environments),
      });
    }
  }
}

/** The span of a blackout; null where it cannot be told, which is found elsewhere. */
function spanOf(blackout: BlackoutFields): Blackout | null {
  const { timezone = builtIn.timezone, reason = null } = blackout;
  const [from, until] = [parseMoment(blackout.from), parseMoment(blackout.until)];
  if (from === null || until === null || !isTimezone(timezone)) return null;
  return { from: startOf(from, timezone), until: endOf(until, timezone), reason };
}

/** A blackout of an environment, and where in the file it stands. */
export interface PlacedBlackout extends Blackout {
  readonly index: number;
}

/** The blackouts that hold in an environment, the first to begin first. Each is worked out once, however many secrets there are. */
export function blackoutsOf(file: PolicyFile): (environment: string | null) => readonly PlacedBlackout[] {
  const all = (file.blackouts ?? []).flatMap((blackout, index) => {
    const span = spanOf(blackout);
    return span === null ? [] : [{ environments: blackout.environments, placed: { ...span, index } }];
  });
  const sorted = all.toSorted((a, b) => a.placed.from - b.placed.from);
  const holds = (environments: readonly string[] | undefined, environment: string | null): boolean =>
    environments === undefined || (environment !== null && environments.includes(environment));
  return (environment) =>
    sorted.filter(({ environments }) => holds(environments, environment)).map(({ placed }) => placed);
}
