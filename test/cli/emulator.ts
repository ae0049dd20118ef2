/** A row of a terminal: a cell for each column; the second cell of a wide character is empty. */
interface Row {
  cells: string[];
  /** True when what follows in the next row belongs to the same line, which was too long for this one. */
  goesOn: boolean;
}

const escape = '\u001B';

/** What follows the escape character. */
const code = /^\[(\??)([\d;]*)([A-Za-z])/;

/** As far as it has come, it may become such a code. */
const unfinished = /^(?:\[\??[\d;]*)?$/;

/**
 * As much of a terminal as keyturn asks for: text, line ends, and the escape codes that its progress uses. Any other
 * code is an error, so that a test shows what is asked of terminals.
 */
export class Emulator {
  columns: number;
  rows: number;
  isCursorShown = true;
  /** True once anything was coloured, or bold or dim. */
  isStyled = false;
  /** What could be seen whenever the terminal was told to show what it has. */
  readonly shown: (readonly string[])[] = [];
  readonly #reflows: boolean;
  #lines: Row[] = [{ cells: [], goesOn: false }];
  #row = 0;
  #column = 0;
  /** The first row that can be seen. */
  #top = 0;
  #rest = '';

  constructor({ columns, rows, reflows = true }: { columns: number; rows: number; reflows?: boolean }) {
    this.columns = columns;
    this.rows = rows;
    this.#reflows = reflows;
  }

  /** How many columns of the present row are left of the cursor. */
  get column(): number {
    return this.#column;
  }

  /** The rows that can be seen, without what is blank at their ends. */
  get screen(): readonly string[] {
    return this.all.slice(this.#top, this.#top + this.rows);
  }

  /** Every row from the beginning, those that scrolled away included. */
  get all(): readonly string[] {
    return this.#lines.map(({ cells }) => cells.join('').trimEnd());
  }

  write(text: string): void {
    let rest = this.#rest + text;
    this.#rest = '';
    while (rest !== '') {
      const begins = rest.startsWith(escape);
      if (begins && unfinished.test(rest.slice(1))) {
        this.#rest = rest;
        return;
      }
      const [found] = begins ? (code.exec(rest.slice(1)) ?? []) : [];
      const [character = ''] = rest;
      if (found === undefined) this.#put(character);
      else this.#obey(found);
      rest = rest.slice(found === undefined ? character.length : found.length + 1);
    }
  }

  /** What a terminal does that breaks its lines anew, or one that cuts them off. */
  resize(columns: number, rows: number): void {
    const narrower = columns < this.columns;
    [this.columns, this.rows] = [columns, rows];
    if (this.#reflows) this.#reflow();
    else if (narrower) for (const row of this.#lines) row.cells = row.cells.slice(0, columns);
    this.#column = Math.min(this.#column, columns);
    this.#top = Math.max(0, Math.min(this.#top, this.#lines.length - rows), this.#row - rows + 1);
  }

  #obey(found: string): void {
    const [, mode = '', numbers = '', letter = ''] = code.exec(found) ?? [];
    const count = numbers === '' ? 1 : Number(numbers);
    if (letter === 't') {
      const [, rows = 0, columns = 0] = numbers.split(';').map(Number);
      this.resize(columns, rows);
      return;
    }
    const what = `${mode}${letter === 'm' || letter === 'A' || letter === 'B' || letter === 'G' ? '' : numbers}${letter}`;
    const acts: Readonly<Partial<Record<string, () => void>>> = {
      A: () => (this.#row = Math.max(this.#top, this.#row - count)),
      B: () => this.#moveTo(Math.min(this.#top + this.rows - 1, this.#row + count)),
      G: () => (this.#column = count - 1),
      K: () => (this.#present.cells = this.#present.cells.slice(0, this.#column)),
      '2K': () => (this.#lines[this.#row] = { cells: [], goesOn: false }),
      m: () => (this.isStyled = true),
      '?25l': () => (this.isCursorShown = false),
      '?25h': () => (this.isCursorShown = true),
      '?2026h': () => undefined,
      '?2026l': () => this.shown.push(this.screen),
    };
    const act = acts[what];
    if (act === undefined) throw new Error(`no terminal is asked for ${JSON.stringify(found)}`);
    act();
  }

  #put(character: string): void {
    if (character === '\n') {
      this.#moveTo(this.#row + 1);
      this.#column = 0;
    } else if (character === '\r') this.#column = 0;
    else if (/\p{Cc}/u.test(character)) throw new Error(`no terminal is asked for ${JSON.stringify(character)}`);
    else this.#print(character);
  }

  #print(character: string): void {
    const width = widthOf(character);
    if (this.#column + width > this.columns) {
      this.#present.goesOn = true;
      this.#moveTo(this.#row + 1);
      this.#column = 0;
    }
    const { cells } = this.#present;
    while (cells.length < this.#column) cells.push(' ');
    if (width === 0) cells.splice(-1, 1, `${cells.at(-1) ?? ''}${character}`);
    for (let cell = 0; cell < width; cell++) cells[this.#column++] = cell === 0 ? character : '';
  }

  get #present(): Row {
    return this.#lines[this.#row]!;
  }

  #moveTo(row: number): void {
    this.#row = row;
    while (this.#lines.length <= row) this.#lines.push({ cells: [], goesOn: false });
    this.#top = Math.max(this.#top, row - this.rows + 1);
  }

  #reflow(): void {
    const lines: Row[] = [];
    let [row, column] = [0, 0];
    for (let index = 0; index < this.#lines.length; index++) {
      const whole: string[] = [];
      let offset: number | null = null;
      for (; ; index++) {
        if (index === this.#row) offset = whole.length + this.#column;
        const part = this.#lines[index]!;
        whole.push(...part.cells);
        if (!part.goesOn || index === this.#lines.length - 1) break;
      }
      const broken = this.#broken(whole);
      if (offset !== null) {
        const before = Math.min(broken.length - 1, Math.floor(offset / this.columns));
        [row, column] = [lines.length + before, offset - before * this.columns];
      }
      lines.push(...broken);
    }
    [this.#lines, this.#row, this.#column] = [lines, row, column];
  }

  #broken(cells: readonly string[]): Row[] {
    const rows: Row[] = [{ cells: [], goesOn: false }];
    for (const [index, cell] of cells.entries()) {
      const last = rows.at(-1)!;
      const width = cells[index + 1] === '' ? 2 : 1;
      if (cell !== '' && last.cells.length + width > this.columns) {
        last.goesOn = true;
        rows.push({ cells: [], goesOn: false });
      }
      rows.at(-1)!.cells.push(cell);
    }
    return rows;
  }
}

/** Columns of a character, as far as these tests print any. */
function widthOf(character: string): number {
  if (/\p{M}|\p{Cf}/u.test(character)) return 0;
  return /[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFF00-\uFF60]|\p{Emoji_Presentation}/u.test(character)
    ? 2
    : 1;
}
