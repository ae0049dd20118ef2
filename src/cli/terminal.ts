import type { Sink } from './sink.ts';

/** A stream of the process, as far as a terminal is to be told from a file. */
export interface TerminalSink extends Sink {
  readonly columns?: number;
  readonly rows?: number;
  hasColors?(env?: object): boolean;
  on?(event: 'resize', listener: () => void): unknown;
  off?(event: 'resize', listener: () => void): unknown;
}

/** What a frame must fit into. */
export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** A terminal on which something may be redrawn in place. */
export interface Terminal {
  readonly size: Size;
  readonly hasColors: boolean;
  /** False where the font of the terminal has little more than letters. */
  readonly hasSymbols: boolean;
  /** True where a terminal that becomes narrower breaks the lines that are on it already. */
  readonly reflows: boolean;
  write(text: string): void;
  /** Calls the listener whenever the size has changed, until the returned function is called. */
  onResize(listener: () => void): () => void;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Some terminals on a serial line, and some made by programs, say that they have no columns. */
const usualSize: Size = { columns: 80, rows: 24 };

/** The terminal behind a stream; null where lines are to be printed plainly: no terminal, a dumb one, or a build's. */
export function terminalOf(stream: TerminalSink, env: Environment, { color }: { color: boolean }): Terminal | null {
  if (stream.isTTY !== true || env['TERM'] === 'dumb' || isSet(env['CI'])) return null;
  return {
    get size() {
      return { columns: known(stream.columns, usualSize.columns), rows: known(stream.rows, usualSize.rows) };
    },
    hasColors: color && !isSet(env['NO_COLOR']) && stream.hasColors?.(env) === true,
    hasSymbols: env['TERM'] !== 'linux',
    reflows: !keepsLines(env),
    write: (text) => void stream.write(text),
    onResize(listener) {
      stream.on?.('resize', listener);
      return () => void stream.off?.('resize', listener);
    },
  };
}

function known(count: number | undefined, usual: number): number {
  return count === undefined || count === 0 ? usual : count;
}

function isSet(variable: string | undefined): boolean {
  return variable !== undefined && variable !== '' && variable !== '0' && variable !== 'false';
}

/** The console of Linux, xterm and GNU screen cut lines off where the others break them. */
function keepsLines(env: Environment): boolean {
  const { TERM = '', XTERM_VERSION, TMUX } = env;
  return TERM === 'linux' || XTERM_VERSION !== undefined || (TERM.startsWith('screen') && TMUX === undefined);
}
