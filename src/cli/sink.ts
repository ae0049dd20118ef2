/** Where text goes; `process.stdout` and `process.stderr`, or a test's. */
export interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}
