import { describe, expect, it } from 'vitest';
import { Screen } from '../../src/cli/screen.ts';
import type { Terminal } from '../../src/cli/terminal.ts';
import { Emulator } from './emulator.ts';

interface Setup {
  readonly columns?: number;
  readonly rows?: number;
  readonly reflows?: boolean;
}

/** A terminal with a screen on it whose lines a test sets. */
function setUp({ columns = 60, rows = 10, reflows = true }: Setup = {}) {
  const emulator = new Emulator({ columns, rows, reflows });
  const writes: string[] = [];
  const listeners = new Set<() => void>();
  const terminal: Terminal = {
    get size() {
      return { columns: emulator.columns, rows: emulator.rows };
    },
    hasColors: false,
    hasSymbols: true,
    reflows,
    write(text) {
      writes.push(text);
      emulator.write(text);
    },
    onResize(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  const frame = { lines: [] as readonly string[] };
  const screen = new Screen(terminal, () => frame.lines);
  return {
    emulator,
    writes,
    screen,
    listeners,
    draw(...lines: readonly string[]) {
      frame.lines = lines;
      screen.draw();
    },
    resize(to: number, height = rows) {
      emulator.resize(to, height);
      for (const listener of listeners) listener();
    },
  };
}

const noBlankEnd = (rows: readonly string[]): readonly string[] => rows.join('\n').trimEnd().split('\n');

describe('the lines that are redrawn in place', () => {
  it('stay below everything else that is printed, and go at the end', () => {
    const { emulator, screen, draw } = setUp();
    draw('one', 'two');
    screen.above('first\n');
    draw('one', 'two!', 'three');
    screen.above('second\nthird\n');
    expect(noBlankEnd(emulator.screen)).toEqual(['first', 'second', 'third', 'one', 'two!', 'three']);
    draw('one');
    expect(noBlankEnd(emulator.screen)).toEqual(['first', 'second', 'third', 'one']);
    screen.around(() => emulator.write('a result\n'));
    screen.close();
    draw('never');
    expect(noBlankEnd(emulator.screen)).toEqual(['first', 'second', 'third', 'a result']);
  });

  it('are there in every moment that can be seen, also while a line is printed above them', () => {
    const { emulator, screen, draw, writes } = setUp();
    draw('now', 'later');
    for (let count = 0; count < 30; count++) {
      screen.above(`line ${String(count)}\n`);
      draw('now', `later ${String(count)}`);
    }
    expect(emulator.shown).toHaveLength(writes.length);
    for (const rows of emulator.shown) {
      expect(rows.filter((row) => row === 'now')).toHaveLength(1);
      expect(rows.filter((row) => row.startsWith('later'))).toHaveLength(1);
    }
    const history = Array.from({ length: 30 }, (_, count) => `line ${String(count)}`);
    expect(noBlankEnd(emulator.all)).toEqual([...history, 'now', 'later 29']);
  });

  it('are not written again where nothing changed', () => {
    const { draw, writes } = setUp();
    draw('one', 'two');
    const before = writes.length;
    draw('one', 'two');
    expect(writes).toHaveLength(before);
  });

  it('leave a line that is longer than the terminal whole in its history', () => {
    const { emulator, screen, draw, resize } = setUp({ columns: 20 });
    draw('frame');
    screen.above(`${'x'.repeat(50)}\n`);
    draw('frame 2');
    resize(60);
    expect(noBlankEnd(emulator.screen)).toEqual(['x'.repeat(50), 'frame 2']);
  });

  it.for([true, false])('are whole after the terminal changed its size, where it breaks lines: %s', (reflows) => {
    const { emulator, screen, draw, resize } = setUp({ columns: 60, rows: 12, reflows });
    screen.above('history\n');
    draw('a'.repeat(50), '消息'.repeat(12), 'short');
    resize(25);
    draw('b'.repeat(20), 'short');
    expect(noBlankEnd(emulator.screen)).toEqual(['history', 'b'.repeat(20), 'short']);
    resize(80);
    draw('c'.repeat(70), 'short');
    expect(noBlankEnd(emulator.screen)).toEqual(['history', 'c'.repeat(70), 'short']);
    screen.close();
    expect(noBlankEnd(emulator.screen)).toEqual(['history']);
  });

  it('are drawn at once when the size changes, and no more once they are closed', () => {
    const { screen, draw, resize, writes, listeners, emulator } = setUp();
    draw('a'.repeat(50));
    resize(30);
    expect(emulator.screen.join('')).toContain('a'.repeat(30));
    screen.close();
    expect(listeners.size).toBe(0);
    const before = writes.length;
    screen.above('late\n');
    resize(20);
    expect(writes).toHaveLength(before);
  });
});
