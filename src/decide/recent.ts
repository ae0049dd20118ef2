import type { RecentUse } from '../ports/usage-log.ts';

/**
 * The deliveries of the last minutes, by minute of the usage log's clock. A receiver reports cumulative counts, so only
 * what grew between two reports is known, and not when within that span.
 */

/** How many minutes are kept, the one that has just begun included. */
export const recentMinutes = 10;

const minuteMs = 60_000;

function minuteOf(moment: number): number {
  return Math.floor(moment / minuteMs);
}

/**
 * `growth` deliveries that came after `from` and up to `until` (epoch ms), spread evenly over that span; what lies
 * further back than the newest minutes is left out. After a regular report the span is some seconds. It is long where
 * reports were lost, or where a log meets a receiver that has been up for weeks: its whole count dated as of now would
 * show a flood that never was, and leaving it out would show peace.
 */
export function spread(growth: number, from: number, until: number): readonly RecentUse[] {
  // A clock that was set back between the reports leaves a span of nothing.
  const start = Math.min(from, until);
  const cameBefore = (moment: number): number => {
    if (moment <= start) return 0;
    return moment >= until ? growth : Math.floor((growth * (moment - start)) / (until - start));
  };
  const newest = minuteOf(until);
  const uses: RecentUse[] = [];
  for (let minute = Math.max(minuteOf(start), newest - recentMinutes + 1); minute <= newest; minute += 1) {
    uses.push({ minute, exclusive: cameBefore((minute + 1) * minuteMs) - cameBefore(minute * minuteMs) });
  }
  return uses;
}

/** The sums by minute, oldest first, of the minutes in which there was anything. */
export function byMinute(uses: readonly RecentUse[]): readonly RecentUse[] {
  const sums = new Map<number, number>();
  for (const { minute, exclusive } of uses) sums.set(minute, (sums.get(minute) ?? 0) + exclusive);
  return [...sums]
    .filter(([, exclusive]) => exclusive > 0)
    .sort(([one], [other]) => one - other)
    .map(([minute, exclusive]) => ({ minute, exclusive }));
}

/** Those of the newest minutes before `now`. A minute ahead of `now` was stamped before the clock was set back. */
export function recentAt(uses: readonly RecentUse[], now: number): readonly RecentUse[] {
  const newest = minuteOf(now);
  return uses.filter(({ minute }) => minute > newest - recentMinutes && minute <= newest);
}
