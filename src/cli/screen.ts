import { Writable } from 'node:stream';
import { createLogUpdate } from 'log-update';
import wrapAnsi from 'wrap-ansi';
import type { Terminal } from './terminal.ts';

/** A terminal that knows how shows what lies between the two at once, or not at all; the others ignore both. */
const [hold, release] = ['\u001B[?2026h', '\u001B[?2026l'];

const eraseRowAbove = '\u001B[1A\u001B[2K';

/**
 * The last lines of a terminal, drawn anew in place, and everything else above them. What is written at one time goes
 * out as one, so that nobody sees the terminal without these lines.
 */
export class Screen {
  readonly #terminal: Terminal;
  readonly #frame: () => readonly string[];
  readonly #stream: Writable;
  readonly #redraw: ReturnType<typeof createLogUpdate>;
  readonly #stopListening: () => void;
  #drawn: readonly string[] = [];
  #columns: number;
  #isClosed = false;

  /** `frame` gives the lines as they are now; each is narrower than the terminal, and all of them fit on it. */
  constructor(terminal: Terminal, frame: () => readonly string[]) {
    this.#terminal = terminal;
    this.#frame = frame;
    this.#columns = terminal.size.columns;
    this.#stream = streamTo(terminal);
    this.#redraw = createLogUpdate(this.#stream);
    this.#stopListening = terminal.onResize(() => this.draw());
  }

  draw(): void {
    this.#atOnce(() => this.#drawFrame());
  }

  /** Writes whole lines to the terminal, above what is redrawn. */
  above(text: string): void {
    this.#atOnce(() => {
      this.#erase();
      this.#stream.write(text);
      this.#drawFrame();
    });
  }

  /** Makes room for somebody else who writes whole lines to the same terminal. */
  around(write: () => void): void {
    this.#atOnce(() => this.#erase());
    write();
    this.draw();
  }

  /** Takes the lines away and gives the cursor back; from then on nothing is drawn. */
  close(): void {
    this.#stopListening();
    this.#atOnce(() => this.#erase());
    this.#isClosed = true;
    this.#redraw.done();
  }

  #drawFrame(): void {
    if (this.#isClosed) return;
    const { columns } = this.#terminal.size;
    if (columns < this.#columns) this.#erase();
    this.#columns = columns;
    const lines = this.#frame();
    if (lines.length === 0) this.#erase();
    else this.#redraw(lines.join('\n'));
    this.#drawn = lines;
  }

  #erase(): void {
    this.#redraw.clear();
    this.#stream.write(eraseRowAbove.repeat(this.#brokenRows()));
    this.#drawn = [];
  }

  /** How many rows more the lines take than when they were drawn, because the terminal became narrower. */
  #brokenRows(): number {
    const { size, reflows } = this.#terminal;
    if (!reflows || size.columns >= this.#columns) return 0;
    const rowsOf = (line: string): number =>
      wrapAnsi(line, size.columns, { hard: true, wordWrap: false, trim: false }).split('\n').length;
    return this.#drawn.reduce((sum, line) => sum + rowsOf(line) - 1, 0);
  }

  #atOnce(write: () => void): void {
    if (this.#isClosed) return;
    this.#stream.cork();
    try {
      write();
    } finally {
      this.#stream.uncork();
    }
  }
}

/** What `log-update` takes for the terminal: one write of it for everything between cork and uncork. */
function streamTo(terminal: Terminal): Writable {
  const send = (text: string): void => {
    if (text !== '') terminal.write(`${hold}${text}${release}`);
  };
  const stream = new Writable({
    decodeStrings: false,
    write(text: string, _, done) {
      send(text);
      done();
    },
    writev(chunks, done) {
      send(chunks.map(({ chunk }) => String(chunk)).join(''));
      done();
    },
  });
  return Object.defineProperties(stream, {
    columns: { get: () => terminal.size.columns },
    rows: { get: () => terminal.size.rows },
  });
}
