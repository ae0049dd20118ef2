/** Counts what a receiver's verifiers saw and reports it every `reportIntervalMs`. The first two are for the hot path. */
export interface UsageReporter {
  /** A delivery matched `version`; `exclusive`: no newer accepted version explains it as well. Its answer is not known yet. */
  matched(secret: string, version: string, exclusive: boolean): void;
  /** How a matched delivery was answered; call it once per `matched`. */
  answered(secret: string, version: string, ok: boolean): void;
  /** Reports now; never throws: what could not be written is in the next report. Resolves to whether it arrived. */
  flush(): Promise<boolean>;
  /** Reports a last time, signs the receiver off, stops. */
  close(): Promise<void>;
}
