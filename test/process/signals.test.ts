import { readdirSync, readlinkSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { until, untilItSays } from './support/until.ts';
import { eventLines, World } from './support/world.ts';

/** True when that process has a file of that name open. */
function hasOpen(pid: number, name: string): boolean {
  const folder = `/proc/${String(pid)}/fd`;
  try {
    return readdirSync(folder).some((fd) => readlinkSync(`${folder}/${fd}`).endsWith(`/${name}`));
  } catch {
    // A descriptor that was closed meanwhile.
    return false;
  }
}

describe.concurrent('signals', { timeout: 240_000 }, () => {
  it.for([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    '%s ends `rotate --wait` with %i, which says how to go on, and going on finishes the run (I5)',
    async ([signal, code], { onTestFinished }) => {
      const world = await World.open(onTestFinished);
      await world.begin();
      world.hook().send(0);
      const following = world.start(['rotate', 'hook', '--wait']);
      await untilItSays(following, /waits for new-seen/);
      following.kill(signal);
      const ended = await following.finished;
      expect(ended).toMatchObject({ code, signal: null });
      const [run] = world.runs();
      expect(ended.stdout).toContain(`Run ${run?.id ?? ''} goes on where it stopped: keyturn rotate hook --wait`);

      world.hook().send(40);
      const again = await world.run(['rotate', 'hook', '--wait', '--json']);
      expect(again.code).toBe(0);
      expect(eventLines(again.stdout).at(-1)).toMatchObject({ run: run?.id, event: 'ended', outcome: 'completed' });
      expect(world.runs()).toEqual([{ id: run?.id, state: 'completed' }]);
      expect(world.refusals()).toEqual({});
      expect(world.traces()).toEqual([]);
    },
  );

  it('with --json the last line says that the run waits, and the exit code that it was interrupted', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    const following = world.start(['rotate', 'hook', '--wait', '--json']);
    await until('it waits', () => following.stdout().includes('"event":"waiting"'));
    following.kill('SIGINT');
    const ended = await following.finished;
    expect(ended).toMatchObject({ code: 130, stderr: '' });
    expect(eventLines(ended.stdout).at(-1)).toMatchObject({ event: 'ended', outcome: 'waiting' });
  });

  it('SIGINT while the upstream is called: the call is finished and noted, then it stops (I5)', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    await world.begin();
    world.hook().reactOnce({ kind: 'hold', takes: 'when released' });
    const following = world.start(['rotate', 'hook', '--wait']);
    const [call] = await until('the upstream is called', () => world.hook().calls.length > 0 && world.hook().calls);
    following.kill('SIGINT');
    call?.release();
    expect(await following.finished).toMatchObject({ code: 130 });
    expect(call?.wasLeft).toBe(false);
    expect(world.events()).toContain('activate-done');
    expect(await world.run(['rotate', 'hook', '--wait'])).toMatchObject({ code: 0 });
    // Once to switch, once more before the old one is revoked.
    expect(world.hook().calls).toHaveLength(2);
    expect(world.refusals()).toEqual({});
  });

  it('SIGINT ends one that only waits for its turn, at once', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished, { hook: { timeout: '60s' } });
    await world.begin();
    world.hook().reactOnce({ kind: 'hold', takes: 'when released' });
    const first = world.start(['rotate', 'hook', '--wait']);
    await until('the upstream is called', () => world.hook().calls.length > 0);
    const second = world.start(['rotate', 'hook', '--wait']);
    await until('the second one is up', () => hasOpen(second.pid, 'journal.db'));
    second.kill('SIGINT');
    // Had it gone on waiting, it would have given up with 6, or ended with the first one.
    expect(await second.finished).toMatchObject({ code: 130 });
    world.hook().calls[0]?.release();
    expect(await first.finished).toMatchObject({ code: 0 });
  });
});
