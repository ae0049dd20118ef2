/** Nobody asks less often than this, ms. */
const longestPauseMs = 50;

/** Those who have waited longest ask this often, ms. */
const shortestPauseMs = 5;

/**
 * How long to pause before asking again for a lock that another process has, after `asked` times in vain and `waitedMs`.
 * A lock that is asked for goes to whoever asks first when it is free; so who waits longer asks more often, or those who
 * came later would keep getting it first.
 */
export function pauseMs(asked: number, waitedMs: number): number {
  const longest = Math.max(shortestPauseMs, longestPauseMs - Math.round(waitedMs / longestPauseMs));
  return Math.min(2 ** Math.min(asked - 1, 10), longest);
}
