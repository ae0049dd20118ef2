import { describe, expect, it } from 'vitest';
import { World } from './support/world.ts';

describe('history', { timeout: 240_000 }, () => {
  it('--prune removes the ended runs that the policy does not retain with their events, and no live one', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    world.writePolicy({ secrets: { hook: {} }, more: { retain: { runs: 1 } } });
    await world.adopt();
    for (const why of ['one', 'two', 'three']) {
      expect(await world.run(['rotate', 'hook', '--reason', why])).toMatchObject({ code: 0 });
      expect(await world.run(['abort', 'hook', '--reason', 'not yet'])).toMatchObject({ code: 0 });
    }
    expect(await world.run(['rotate', 'hook', '--reason', 'four'])).toMatchObject({ code: 0 });
    const [, , third, live] = world.runs();
    const before = world.events().length;

    const pruned = await world.run(['history', '--prune']);
    expect(pruned).toMatchObject({ code: 0, stderr: '' });
    expect(pruned.stdout).toMatch(/^Removed 2 ended runs; the newest 1 of each secret stay\.$/m);
    expect(pruned.stdout).toContain('hook: 2 runs, newest first');
    expect(pruned.stdout).not.toContain(': one');
    expect(world.runs()).toEqual([third, live]);
    expect(live).toMatchObject({ state: 'live' });
    expect(world.events().length).toBeLessThan(before);

    const again = await world.run(['history', 'hook', '--prune', '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({
      format: 'keyturn.history/1',
      pruned: 0,
      secrets: [
        {
          secret: 'hook',
          runs: [
            { id: live?.id, reason: 'four' },
            { id: third?.id, reason: 'three' },
          ],
        },
      ],
    });
  });
});
