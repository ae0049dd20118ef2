import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Emulator } from '../../cli/emulator.ts';
import type { Later } from './processes.ts';
import { until } from './until.ts';
import { hookToken } from './upstream.ts';
import { keyturnProgram, type World } from './world.ts';

/** Why no program can be run in a terminal here; null where one can. */
export const noTerminal = findNoTerminal();

function findNoTerminal(): string | null {
  if (process.platform !== 'linux') return 'needs Linux';
  const { stdout, error } = spawnSync('script', ['--version'], { encoding: 'utf8' });
  if (error !== undefined || !stdout.includes('util-linux')) return 'needs `script` of util-linux (Debian: bsdutils)';
  return spawnSync('perl', ['-v']).error === undefined ? null : 'needs perl (Debian: perl-base)';
}

/**
 * Changes the size of a terminal. Right before, it writes the code that tells a terminal to do so, for whoever reads what
 * the terminal shows: what was written before it was written for the old size.
 */
const resizing = `
  my ($tty, $rows, $columns) = @ARGV;
  open(my $terminal, '+<', $tty) or die $!;
  syswrite($terminal, "\\e[8;$rows;\${columns}t");
  ioctl($terminal, 0x5414, pack('S4', $rows, $columns, 0, 0)) or die $!;
`;

export interface TerminalOptions {
  readonly columns?: number;
  readonly rows?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** `keyturn …` on a terminal of its own. */
export class InTerminal {
  readonly emulator: Emulator;
  readonly finished: Promise<number | null>;
  raw = '';
  readonly #type: (text: string) => void;
  readonly #facts: string;

  constructor(later: Later, world: World, args: readonly string[], options: TerminalOptions = {}) {
    const { columns = 80, rows = 24, env = {} } = options;
    this.emulator = new Emulator({ columns, rows });
    this.#facts = join(world.folder, `terminal-${String((count += 1))}`);
    const words = [process.execPath, '--conditions=keyturn-source', keyturnProgram, ...args];
    const command = [
      `stty cols ${String(columns)} rows ${String(rows)}`,
      `{ tty; echo $$; } > ${this.#facts}`,
      `exec ${words.map((word) => `'${word}'`).join(' ')}`,
    ].join(' && ');
    const child = spawn('script', ['--quiet', '--flush', '--return', '--command', command, '/dev/null'], {
      cwd: world.folder,
      env: { PATH: process.env['PATH'], SHELL: '/bin/sh', TERM: 'xterm-256color', HOOK_TOKEN: hookToken, ...env },
    });
    child.stdin.on('error', () => undefined);
    this.#type = (text) => void child.stdin.write(text);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.raw += text;
      this.emulator.write(text);
    });
    this.finished = once(child, 'close').then(([code]: (number | null)[]) => code ?? null);
    this.finished.catch(() => undefined);
    later(async () => {
      // Whoever loses its terminal ends.
      child.kill('SIGKILL');
      await this.finished.catch(() => undefined);
    });
  }

  /** What can be seen, as one text. */
  get text(): string {
    return this.emulator.screen.join('\n').trimEnd();
  }

  /** Waits until that can be seen, or could be seen at some moment. */
  async shows(pattern: RegExp): Promise<void> {
    const couldBeSeen = (): boolean => this.emulator.shown.some((rows) => pattern.test(rows.join('\n')));
    const isSeen = (): boolean => pattern.test(this.text) || couldBeSeen();
    await until(`the terminal shows ${String(pattern)}`, isSeen).catch((error: unknown) => {
      throw new Error(`${String(error)}; it shows:\n${this.text}`);
    });
  }

  pressCtrlC(): void {
    this.#type('\u0003');
  }

  kill(signal: NodeJS.Signals): void {
    process.kill(Number(this.#fact(1)), signal);
  }

  /** As a person who pulls at the window does. */
  resize(columns: number, rows: number): void {
    const { status, stderr } = spawnSync('perl', ['-e', resizing, this.#fact(0), String(rows), String(columns)]);
    if (status !== 0) throw new Error(`no new size: ${String(stderr)}`);
  }

  #fact(line: number): string {
    return (existsSync(this.#facts) ? readFileSync(this.#facts, 'utf8') : '').split('\n')[line] ?? '';
  }
}

let count = 0;
