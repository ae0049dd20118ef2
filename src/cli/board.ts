import type { Context } from './context.ts';
import type { RunView } from './progress.ts';
import type { Terminal } from './terminal.ts';

/** How often it is drawn anew, ms: time that is left counts down in seconds. */
const drawEveryMs = 250;

/** What goes on, as it is now, for people who watch; what happened is printed above it. */
export interface Board {
  /** False where nothing is redrawn: there a wait is told line by line. */
  readonly isShown: boolean;
  /** Shows the run, in the place of what was shown of it before. */
  show(view: RunView): void;
  /** Takes the run away; one that has ended leaves a line with its steps. */
  remove(run: string): void;
  /** The last lines; asked for whenever it is drawn. */
  endWith(lines: () => readonly string[]): void;
}

/** The board where nothing can be redrawn in place. */
export const noBoard: Board = {
  isShown: false,
  show: () => undefined,
  remove: () => undefined,
  endWith: () => undefined,
};

/** Shows a board while the work goes on, where output goes to a terminal; whatever happens, the terminal is as it was. */
export async function withBoard<T>(context: Context, work: (board: Board) => Promise<T>): Promise<T> {
  const { terminal } = context.output;
  return terminal === null ? work(noBoard) : onTerminal(context, terminal, work);
}

async function onTerminal<T>(context: Context, terminal: Terminal, work: (board: Board) => Promise<T>): Promise<T> {
  const { clock, output } = context;
  const [{ Screen }, { frameOf, stepsLine }] = await Promise.all([import('./screen.ts'), import('./progress.ts')]);
  const views = new Map<string, RunView>();
  let closing = (): readonly string[] => [];
  const screen = new Screen(terminal, () =>
    frameOf([...views.values()], closing(), terminal.size, terminal, clock.now()),
  );
  const board: Board = {
    isShown: true,
    show: (view) => void views.set(view.run.id, view),
    remove(run) {
      const view = views.get(run);
      if (!views.delete(run) || view === undefined || view.run.state === 'live') return;
      output.progress(stepsLine(view, terminal, clock.now()));
    },
    endWith: (lines) => (closing = lines),
  };
  const over = new AbortController();
  const draw = async (): Promise<void> => {
    while (!over.signal.aborted) {
      screen.draw();
      await clock.sleep(drawEveryMs, { signal: over.signal });
    }
  };
  output.printAbove(screen);
  // A mistake in drawing is told when the work is done: nothing that is only shown stops it.
  const [done, drawn] = await Promise.allSettled([work(board).finally(() => over.abort()), draw()]);
  output.printAbove(null);
  screen.close();
  if (done.status === 'rejected') throw done.reason;
  if (drawn.status === 'rejected') throw drawn.reason;
  return done.value;
}
