const retryable = { firstMs: 2_000, longestMs: 5 * 60_000 };
const notRetryable = { firstMs: 60_000, longestMs: 60 * 60_000 };

/**
 * How long to leave an upstream alone after its `failures`th failure in a row. What a person must mend first is tried
 * less often, but tried: the mended credential may be anywhere.
 */
export function backoffMs(failures: number, canRetry: boolean): number {
  const { firstMs, longestMs } = canRetry ? retryable : notRetryable;
  return Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));
}
