import { formatTime } from '../model/duration.ts';
import { KeyturnError, messageOf } from '../model/errors.ts';
import { exitOfError, type Exit } from './exit.ts';
import type { Sink } from './sink.ts';
import type { Terminal } from './terminal.ts';

/** Lines that are redrawn in place, which everything else must not run into. */
export interface Below {
  /** Writes whole lines to the terminal, above these. */
  above(text: string): void;
  /** The same for somebody else who writes to it. */
  around(write: () => void): void;
}

/**
 * Every rule of what is printed where: results on stdout, progress and messages on stderr, with `--json` one document
 * (or one object a line) on stdout and nothing else.
 */
export class Output {
  readonly json: boolean;
  /** Where progress may be redrawn in place; null where it goes line by line, or is not shown. */
  readonly terminal: Terminal | null;
  readonly #quiet: boolean;
  readonly #stdout: Sink;
  readonly #stderr: Sink;
  readonly #redacted: (text: string) => string;
  #below: Below | null = null;

  constructor(options: {
    readonly json: boolean;
    readonly quiet: boolean;
    readonly stdout: Sink;
    readonly stderr: Sink;
    readonly terminal?: Terminal | null;
    /** Takes every value out of words that are not keyturn's own. */
    readonly redacted?: (text: string) => string;
  }) {
    this.json = options.json;
    this.#quiet = options.quiet;
    this.#stdout = options.stdout;
    this.#stderr = options.stderr;
    this.#redacted = options.redacted ?? ((text) => text);
    this.terminal = options.json || options.quiet ? null : (options.terminal ?? null);
  }

  /** True where a person reads the results as they come, and nothing keeps them. */
  get isAtTerminal(): boolean {
    return this.#stdout.isTTY === true;
  }

  /** Everything is printed above these lines from now on; null: they are gone. */
  printAbove(below: Below | null): void {
    this.#below = below;
  }

  /** The result: text for people, or the document for programs. */
  result(text: string | readonly string[], document: () => object): void {
    if (this.json) this.#toStdout(`${JSON.stringify(document(), null, 2)}\n`);
    else if (text.length > 0) this.#toStdout(`${typeof text === 'string' ? text : text.join('\n')}\n`);
  }

  /** One object of a stream; nothing without `--json`. */
  streamed(object: () => object): void {
    if (this.json) this.#toStdout(`${JSON.stringify(object())}\n`);
  }

  /** How it goes; nothing with `--quiet` or `--json`. */
  progress(line: string): void {
    if (!this.#quiet && !this.json) this.#toStderr(`${line}\n`);
  }

  /** What people must see although it is no result; with `--json` it is left to the document. */
  note(line: string): void {
    if (!this.json) this.#toStderr(`${line}\n`);
  }

  /** An error, in words or as a document. Returns the exit code that goes with it. */
  failure(error: unknown): Exit {
    const known = this.known(error);
    const code = exitOfError(known.code);
    const hint = known.hint;
    const { problems, ...details } = known.details;
    if (this.json) {
      const body = { code: known.code, message: known.message, hint, ...details, problems: problems ?? [] };
      this.#toStdout(`${JSON.stringify({ format: 'keyturn.error/1', exit: code, error: body }, null, 2)}\n`);
    } else {
      this.#toStderr(`keyturn: ${known.message}\n${hint === null ? '' : `  ${hint}\n`}`);
    }
    return code;
  }

  /** What nobody expected is a mistake of ours, or of the machine; it gets a sentence too, and `--verbose` the stack. */
  known(error: unknown): KeyturnError {
    if (error instanceof KeyturnError) return error;
    return new KeyturnError('unexpected', `Unexpected: ${this.#redacted(messageOf(error))}`, { cause: error });
  }

  #toStdout(text: string): void {
    if (this.#below === null) this.#stdout.write(text);
    else this.#below.around(() => this.#stdout.write(text));
  }

  #toStderr(text: string): void {
    if (this.#below === null) this.#stderr.write(text);
    else this.#below.above(text);
  }
}

/** The moment as JSON has it: RFC 3339 UTC, or null. */
export function jsonTime(ms: number | null): string | null {
  return ms === null ? null : formatTime(ms);
}
