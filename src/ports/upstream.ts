/** What every call to an upstream is given. Values are handed over here and nowhere kept. */
export interface UpstreamCall {
  readonly runId: string;
  /** Unique to this try. The upstream is told it, so that both sides can name the same call. */
  readonly intentId: string;
  /** The value that the upstream is to sign with. */
  readonly newValue: string;
  /** The value it signs with until then; null in a first rotation. */
  readonly oldValue: string | null;
  /** Aborts at the effect's absolute deadline: nothing is sent after it. */
  readonly signal: AbortSignal;
}

/** What an upstream's yes says beside it. */
export interface UpstreamAnswer {
  /** The upstream's own id of the call, for its support; null where it named none. */
  readonly requestId: string | null;
}

/**
 * The outside system whose setting the update step changes.
 * Errors: `upstream-refused` and `credential-missing` (a person must change something; it did not happen),
 * `upstream-throttled` (it did not happen; `details.retryAfterMs` where named),
 * `upstream-failed` (an answer that leaves open whether it happened, 5xx), `upstream-unreachable` (not even connected: it did not happen),
 * `upstream-unknown` (sent, and no whole answer: it may have happened).
 * `details.upstreamRequestId` is the upstream's own id of the call, where it named one.
 */
export interface Upstream {
  /** One line for people: kind and place. */
  readonly label: string;
  /** The longest that one `activate` may take, ms. */
  readonly timeoutMs: number;
  /** Makes the upstream sign with the new value. Resolves when it said so, which is no evidence yet that it does. */
  activate(call: UpstreamCall): Promise<UpstreamAnswer>;
  close(): Promise<void>;
}
