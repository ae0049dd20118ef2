const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `"500ms" "30s" "15m" "1h" "30d"` → milliseconds; null when it is none of these or longer than 100 years. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text);
  if (match === null) return null;
  const ms = Number(match[1]) * unitMs[match[2] as keyof typeof unitMs];
  return ms <= 100 * 365 * unitMs.d ? ms : null;
}

/** Milliseconds for people, rounded up to what matters: `"850ms"`, `"12s"`, `"4m 10s"`, `"3h 5m"`, `"29d 4h"`. */
export function formatDuration(ms: number): string {
  const whole = Math.max(0, Math.ceil(ms));
  if (whole < 1_000) return `${String(whole)}ms`;
  const seconds = Math.ceil(whole / 1_000);
  const two = (big: number, bigUnit: string, small: number, smallUnit: string): string =>
    small === 0 ? `${String(big)}${bigUnit}` : `${String(big)}${bigUnit} ${String(small)}${smallUnit}`;
  if (seconds < 60) return `${String(seconds)}s`;
  if (seconds < 3_600) return two(Math.floor(seconds / 60), 'm', seconds % 60, 's');
  const minutes = Math.ceil(seconds / 60);
  if (minutes < 1_440) return two(Math.floor(minutes / 60), 'h', minutes % 60, 'm');
  const hours = Math.ceil(minutes / 60);
  return two(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

/** As `formatDuration`, rounded down: what has passed is never told longer than it was. */
export function formatElapsed(ms: number): string {
  return formatDuration(ms < 1_000 ? ms : Math.floor(ms / 1_000) * 1_000);
}

/** Epoch milliseconds → RFC 3339 UTC. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}
