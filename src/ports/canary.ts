/** One message that asks a receiver whether it takes what signed it. There is no value in it. */
export interface CanaryCall {
  readonly runId: string;
  /** Unique to this message; both sides can name it by this. */
  readonly id: string;
  /** Its signature, and what else the receiver goes by. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Aborts at the absolute deadline: nothing is sent after it. */
  readonly signal: AbortSignal;
}

/** How it was answered; whether that is good or bad the caller knows. */
export interface CanaryAnswer {
  /** Of HTTP. */
  readonly status: number;
  /** Why the receiver refused it, in its own word, such as `signature-mismatch`; null where it gave none. */
  readonly reason: string | null;
}

/**
 * The way that deliveries take to the receivers of one secret.
 * Errors: `canary-unreachable` (no answer came, for whatever reason; `details.why` says it in a word or two). None shows
 * what was sent.
 */
export interface Canary {
  /** One line for people: the place. */
  readonly label: string;
  /** The longest that one `send` may take, ms. */
  readonly timeoutMs: number;
  /** Sends the message once, and follows no redirect. Several may be under way at a time. */
  send(call: CanaryCall): Promise<CanaryAnswer>;
  close(): Promise<void>;
}
