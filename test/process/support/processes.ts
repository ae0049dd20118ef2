import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { until } from './until.ts';

/** What is to be done when a test is over, whatever came of it: vitest's own `onTestFinished`, or a list of the suite's. */
export type Later = (stop: () => Promise<void> | void) => void;

export interface Finished {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Both, for what may stand on either. */
  readonly all: string;
}

/** A process that a test started, with everything it has said so far. */
export interface Running {
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly finished: Promise<Finished>;
  readonly hasEnded: () => boolean;
  kill(signal: NodeJS.Signals): void;
}

export const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Hardly a process of these tests has a reason to run longer, however busy the machine is. */
const usualLongestMs = 200_000;

/** Nothing of the machine's own keyturn settings, and nothing of vitest's. */
const inherited = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => ['PATH', 'HOME', 'TMPDIR', 'LANG'].includes(name)),
);

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Standard input as a whole; without it, it is empty. */
  readonly input?: string | Buffer;
  /** A module that is loaded before the program. */
  readonly preload?: string;
  readonly uid?: number;
  /** For one that serves a whole suite. */
  readonly longestMs?: number;
  /** Gets what it says on standard output, as it comes. */
  readonly hears?: (text: string) => void;
  /** In a process group of its own, so that `interrupt` reaches its children too, as Ctrl-C in a terminal does. */
  readonly ownGroup?: boolean;
}

/** Starts a program of the sources with this very Node; it is killed when the test is over. */
export function startNode(later: Later, program: string, args: readonly string[], options: StartOptions): Running {
  const { cwd = root, env = {}, input = '', preload, uid, ownGroup = false, longestMs = usualLongestMs } = options;
  const flags = ['--conditions=keyturn-source', ...(preload === undefined ? [] : ['--import', preload])];
  const child = spawn(process.execPath, [...flags, program, ...args], {
    cwd,
    env: { ...inherited, NO_COLOR: '1', ...env },
    detached: ownGroup,
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  if (options.hears !== undefined) child.stdout.setEncoding('utf8').on('data', options.hears);
  const running = watch(child, `${program} ${args.join(' ')}`, longestMs);
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  later(async () => {
    running.kill('SIGKILL');
    await running.finished.catch(() => undefined);
    if (ownGroup) killGroup(running.pid);
  });
  return running;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nobody is left in it.
  }
}

/** What Ctrl-C does: SIGINT to a process that was started with `ownGroup`, and to all its children. */
export function interrupt(running: Running): void {
  process.kill(-running.pid, 'SIGINT');
}

function watch(child: ChildProcessWithoutNullStreams, what: string, longestMs: number): Running {
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => (said[stream] += text));
  }
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const kill = (signal: NodeJS.Signals): void => {
    if (!hasEnded()) child.kill(signal);
  };
  const finished = (async (): Promise<Finished> => {
    const tooLong = setTimeout(() => {
      said.stderr += `\n(the test killed it: it ran for ${String(longestMs)} ms)`;
      kill('SIGKILL');
    }, longestMs);
    try {
      // `close` comes after the last output.
      const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
      return { code, signal, ...said, all: `${said.stdout}\n${said.stderr}` };
    } catch (error) {
      throw new Error(`${what} could not be started`, { cause: error });
    } finally {
      clearTimeout(tooLong);
    }
  })();
  finished.catch(() => undefined);
  return {
    pid: child.pid ?? 0,
    stdout: () => said.stdout,
    stderr: () => said.stderr,
    finished,
    hasEnded,
    kill,
  };
}

/** The origin that a server program says it listens on. */
export async function listening(server: Running, what: string): Promise<string> {
  return until(`${what} listens`, () => {
    if (server.hasEnded()) throw new Error(`${what} ended at once:\n${server.stdout()}${server.stderr()}`);
    return /http:\/\/127\.0\.0\.1:\d+/.exec(server.stdout())?.[0];
  });
}
