import { afterEach, describe, expect, it } from 'vitest';
import { cron, cronToEnd, expectSettled, look, stepOf, toDeploy, toMonitor } from './story.ts';
import { secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

const newest = (): string => world.place.newest(secret) ?? '';

/** The store shows that document, as after a restore from a backup. */
function putBack(text: string): void {
  world.place.write(secret, text, world.clock.monotonic());
}

describe('a store that was put back to an older keyring', () => {
  it('while nothing is rotated starts nothing, and says what is to be restored', async () => {
    world = new World();
    await world.begin();
    const older = newest();
    await world.orchestrator.rotate(secret);
    expect((await cronToEnd(world)).state).toBe('completed');
    const right = newest();
    putBack(older);
    await expect(world.orchestrator.rotate(secret)).rejects.toMatchObject({
      code: 'drift',
      message: expect.stringContaining('the store was put back to an older state') as string,
    });
    await expect(world.orchestrator.rotate(secret, { compromised: true })).rejects.toMatchObject({ code: 'drift' });
    await world.seconds(20);
    putBack(right);
    await expectSettled(world, 'new');
  });

  it.each([
    ['before the switch', toDeploy],
    ['after it', toMonitor],
  ])(
    '%s stops the run, while receivers keep what they hold; it goes on when the newest is back (I1, I4, I8)',
    async (_when, there) => {
      world = new World();
      await there(world);
      const right = newest();
      const older = JSON.stringify({ ...(JSON.parse(right) as object), revision: 1 });
      putBack(older);
      await cron(world, 60);
      const seen = await look(world);
      expect(seen.waits).toEqual(['keyring']);
      expect(seen.says).toContain('the store was put back to an older state');
      expect(seen.says).toContain('Restore the newest document');
      expect(newest()).toBe(older);
      putBack(right);
      expect((await cronToEnd(world)).state).toBe('completed');
      await expectSettled(world, 'new');
    },
  );
});

describe('a keyring that is gone', () => {
  it('stops the run and keeps receivers serving; restored, it goes on (I1)', async () => {
    world = new World();
    await toMonitor(world);
    const right = newest();
    world.place.remove(secret);
    await cron(world, 60);
    const seen = await look(world);
    expect(seen.waits).toEqual(['keyring']);
    expect(seen.says).toContain('is gone from the store');
    expect(seen.says).toContain(`keyturn adopt ${secret}`);
    putBack(right);
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('for good before the switch is adopted anew, and the run is aborted (I8)', async () => {
    world = new World();
    await toDeploy(world);
    world.place.remove(secret);
    await world.seconds(5);
    await world.orchestrator.adopt(secret, 'the-value-in-use-until-now');
    await cron(world, 10);
    expect((await look(world)).says).toContain(`keyturn abort ${secret}`);
    expect(stepOf(await world.orchestrator.abort(secret, 'its keyring was lost'))).toBe('aborted');
    expect(stepOf(await world.orchestrator.rotate(secret))).toBe('deploy');
    world.receivers.forEach((receiver) => world.kill(receiver));
  });

  it('for good after the switch is adopted anew, and a rotation under compromise makes a new value (I8)', async () => {
    world = new World();
    await toMonitor(world);
    const inUse = world.upstream.signsWith() ?? '';
    world.place.remove(secret);
    await world.seconds(5);
    await world.orchestrator.adopt(secret, inUse);
    await cron(world, 10);
    const seen = await look(world);
    expect(seen.waits).toEqual(['keyring']);
    expect(seen.says).toContain(`keyturn rotate ${secret} --compromised`);
    await expect(world.orchestrator.abort(secret, 'no')).rejects.toMatchObject({ code: 'wrong-state' });
    expect(stepOf(await world.orchestrator.rotate(secret, { compromised: true }))).toBe('completed');
    await world.seconds(10);
    expect(world.refused).toBe(0);
    expect(world.upstream.signsWith()).toBe(await world.primaryValue());
  });
});

describe('somebody who edits the keyring by hand', () => {
  it('and goes back is told how the upstream gets to know, and the run ends (I8)', async () => {
    world = new World();
    await toMonitor(world);
    const keyring = await world.keyring();
    const turned = {
      ...(JSON.parse(newest()) as { versions: { stage: string }[] }),
      revision: keyring.revision + 1,
    };
    for (const version of turned.versions) version.stage = version.stage === 'primary' ? 'deprecated' : 'primary';
    putBack(JSON.stringify(turned));
    await cron(world, 10);
    const seen = await look(world);
    expect(seen.waits).toEqual(['keyring']);
    expect(seen.says).toContain(`keyturn abort ${secret}`);
    await world.orchestrator.abort(secret, 'we went back');
    expect((await cronToEnd(world)).state).toBe('aborted');
    await expectSettled(world, 'old');
  });
});
