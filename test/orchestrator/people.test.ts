import { afterEach, describe, expect, it } from 'vitest';
import { KeyturnError } from '../../src/model/errors.ts';
import type { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import { cron, cronToEnd, expectSettled, look, silence, stepOf, toDeploy, toMonitor, waitsFor } from './story.ts';
import { policyOf, secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

const calls = (): number => world.upstream.calls().length;

/** The upstream refuses what it is asked next, that often. */
function refuse(times: number): void {
  world.upstream.fault(...Array.from({ length: times }, () => 'refuse' as const));
}

/** Waits at its last call before the revocation, which the upstream refuses. */
async function toRevoke(): Promise<void> {
  await toMonitor(world);
  refuse(1);
  await world.seconds(40);
  expect(waitsFor(await world.orchestrator.advance(secret))).toEqual(['reassert']);
}

describe('an abort under traffic', () => {
  it.each<[string, () => Promise<void>, boolean]>([
    [
      'while the new version is not stored',
      async () => {
        await world.begin();
        world.store.control.refuseNextCommits(5);
        expect(waitsFor(await world.orchestrator.rotate(secret))).toEqual(['store']);
      },
      false,
    ],
    ['while receivers fetch it', () => toDeploy(world), false],
    [
      'after the upstream refused it',
      async () => {
        await toDeploy(world);
        refuse(1);
        await cron(world, 10);
        expect((await look(world)).waits).toEqual(['upstream']);
      },
      false,
    ],
    [
      'after the upstream took it and its answer was lost',
      async () => {
        await toDeploy(world);
        world.upstream.fault('lose-answer');
        await world.seconds(8);
        expect(waitsFor(await world.orchestrator.advance(secret))).toEqual(['upstream']);
      },
      true,
    ],
    [
      'after the upstream may have taken it, and did not',
      async () => {
        await toDeploy(world);
        world.upstream.fault('fail-before');
        await world.seconds(8);
        expect(waitsFor(await world.orchestrator.advance(secret))).toEqual(['upstream']);
      },
      true,
    ],
    ['right after the switch', () => toMonitor(world), true],
    [
      'when the old version has long been quiet',
      async () => {
        await toMonitor(world);
        await world.seconds(45);
      },
      true,
    ],
    ['right before the revocation', toRevoke, true],
  ])('%s refuses nothing, and the old version is what it was (I1, I2, I6)', async (_when, there, isSwitched) => {
    world = new World();
    await there();
    const before = calls();
    const aborted = await world.orchestrator.abort(secret, 'not today');
    expect(stepOf(aborted)).toBe(isSwitched ? 'monitor' : 'aborted');
    expect(calls() - before).toBe(isSwitched ? 1 : 0);
    if (isSwitched) {
      expect(world.upstream.signsWith()).toBe(await world.primaryValue());
      expect((await world.keyring()).claim).not.toBeNull();
    }
    const run = await cronToEnd(world, 120);
    expect(run.state).toBe('aborted');
    await expectSettled(world, 'old');
    expect((await world.keyring()).versions.map(({ stage }) => stage)).toEqual(
      run.step === 'generate' ? ['primary'] : ['primary', 'revoked'],
    );
  });

  it('is not followed by the same rotation at once, and by the next one a day later', async () => {
    world = new World([policyOf({ rotateEveryMs: 2 * 86_400_000 })]);
    await toMonitor(world);
    await world.orchestrator.abort(secret, 'not today');
    await cronToEnd(world);
    // Nobody is needed to see the days go by.
    for (const receiver of [...world.receivers]) await world.stop(receiver);
    await world.clock.advance(2 * 86_400_000 - 3_600_000);
    expect((await world.orchestrator.run())[0]?.kind).toBe('idle');
    await world.clock.advance(3_600_000);
    expect((await world.orchestrator.run())[0]).toMatchObject({ kind: 'advanced', started: true });
    world.receiver();
    world.receiver();
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('after the switch holds on until the upstream takes the old value again, and says who has to do what (I1, I8)', async () => {
    world = new World();
    await toMonitor(world);
    refuse(2);
    expect(waitsFor(await world.orchestrator.abort(secret, 'not today'))).toEqual(['upstream']);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'update', waits: ['upstream'] });
    expect(seen.says).toContain(`Mend it, then: keyturn rotate ${secret}`);
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
    await cron(world, 65);
    expect((await look(world)).waits).toEqual(['upstream']);
    await world.orchestrator.rotate(secret);
    await cronToEnd(world);
    await expectSettled(world, 'old');
  });

  it('without traffic needs a person’s word, like the way forward', async () => {
    world = new World();
    await toMonitor(world);
    await world.orchestrator.abort(secret, 'not today');
    await silence(world, 5 * 60_000);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'monitor', waits: ['new-seen'] });
    expect(seen.says).toContain(`keyturn confirm ${secret}`);
    await world.orchestrator.confirm(secret, 'I looked');
    await world.orchestrator.run();
    await expectSettled(world, 'old');
  });

  it('is refused once nothing is left to go back to (I2)', async () => {
    const failing = new KeyturnError('store-denied', 'No.', { hint: 'Allow it.' });
    world = new World();
    const store = { ...world.store, label: 'memory', capabilities: world.store.capabilities, plain: world.store.plain };
    const denying = {
      ...store,
      read: world.store.read.bind(world.store),
      commit: world.store.commit.bind(world.store),
      purge: () => Promise.reject(failing),
      erase: () => Promise.reject(failing),
      close: () => Promise.resolve(),
    };
    await toMonitor(world);
    await world.seconds(40);
    const process = world.another({ store: () => Promise.resolve(denying) });
    expect(waitsFor(await process.advance(secret))).toEqual(['store']);
    expect(await world.stages()).toEqual(['revoked', 'primary']);
    await expect(process.abort(secret, 'too late')).rejects.toMatchObject({
      code: 'wrong-state',
      message: expect.stringContaining('is revoked, and its value is erased') as string,
    });
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('of a first rotation is refused after the switch: there is no older value', async () => {
    world = new World();
    world.receiver();
    world.receiver();
    world.upstream.fault('lose-answer');
    await world.orchestrator.rotate(secret);
    await world.clock.advance(8_000);
    await world.orchestrator.advance(secret);
    await expect(world.orchestrator.abort(secret, 'no')).rejects.toMatchObject({
      code: 'wrong-state',
      message: expect.stringContaining('it is the first rotation') as string,
    });
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });
});

describe('a hold', () => {
  it('at the first gate keeps the upstream untold until somebody lifts it', async () => {
    world = new World();
    await toDeploy(world);
    await world.orchestrator.hold(secret, 'a launch');
    await cron(world, 60);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'deploy', waits: ['held'] });
    expect(seen.says).toContain('someone@here holds the run');
    expect(seen.says).toContain(`keyturn unhold ${secret}`);
    expect(calls()).toBe(0);
    await expect(world.orchestrator.hold(secret, 'again')).rejects.toMatchObject({ code: 'wrong-state' });
    await world.orchestrator.unhold(secret, 'the launch is over');
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('at the second gate keeps both versions accepted', async () => {
    world = new World();
    await toMonitor(world);
    await world.orchestrator.hold(secret, 'a launch');
    await cron(world, 120);
    expect(await look(world)).toMatchObject({ step: 'monitor', waits: ['held'] });
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
    await world.orchestrator.unhold(secret, 'the launch is over');
    await world.orchestrator.run();
    await expectSettled(world, 'new');
  });

  it('stops a run that the upstream refuses from asking it again, whoever asks', async () => {
    world = new World();
    await toDeploy(world);
    refuse(1);
    await cron(world, 10);
    await world.orchestrator.hold(secret, 'we look');
    const before = calls();
    await cron(world, 180);
    await world.orchestrator.rotate(secret);
    expect(calls()).toBe(before);
    await world.orchestrator.unhold(secret, 'mended');
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('stops the way back, too, and an abort lifts one of before it', async () => {
    world = new World();
    await toMonitor(world);
    await world.orchestrator.hold(secret, 'we look');
    refuse(1);
    expect(waitsFor(await world.orchestrator.abort(secret, 'no'))).toEqual(['upstream']);
    await world.orchestrator.hold(secret, 'wait');
    const before = calls();
    await cron(world, 120);
    expect(await look(world)).toMatchObject({ waits: ['held'] });
    expect(calls()).toBe(before);
    await world.orchestrator.unhold(secret, 'go');
    expect((await cronToEnd(world)).state).toBe('aborted');
    await expectSettled(world, 'old');
  });

  it('is not lifted by a rotation under compromise, nor by the schedule', async () => {
    world = new World();
    await toMonitor(world);
    await world.orchestrator.hold(secret, 'we look');
    await expect(world.orchestrator.rotate(secret, { compromised: true })).rejects.toMatchObject({
      code: 'run-held',
      hint: expect.stringContaining('keyturn unhold') as string,
    });
    await cron(world, 60);
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
  });
});

describe('overruling one check', () => {
  it('lets the first gate open without a receiver that nobody can answer for', async () => {
    world = new World();
    await world.begin(3);
    world.kill();
    await world.orchestrator.rotate(secret);
    await cron(world, 90);
    const seen = await look(world);
    expect(seen.waits).toEqual(['missing']);
    expect(seen.says).toContain('keyturn forget receiver-2');
    await expect(world.orchestrator.unhold(secret, 'x', 'nonsense')).rejects.toMatchObject({ code: 'usage' });
    await expect(world.orchestrator.unhold(secret, 'x', 'store')).rejects.toMatchObject({ code: 'usage' });
    await world.orchestrator.unhold(secret, 'its machine burnt down', 'missing');
    await world.orchestrator.run();
    expect((await look(world)).step).toBe('monitor');
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('is for one check of one gate, and stays in the history', async () => {
    world = new World();
    await toMonitor(world);
    await world.orchestrator.unhold(secret, 'we are in a hurry', 'grace');
    await cron(world, 10);
    expect((await look(world)).waits).toEqual(['old-quiet']);
    const run = await cronToEnd(world);
    const words = (await world.orchestrator.events(run.id)).map(({ message }) => message);
    expect(words).toContain('A person overruled the check grace: we are in a hurry');
    expect(run.endedAt! - run.startedAt).toBeLessThan(45_000);
    await expectSettled(world, 'new');
  });
});

describe('approvals', () => {
  const asking = (): World => new World([policyOf({ approvals: 2 })]);
  const as = (who: string): Orchestrator => world.another({ who });

  it('of two people are asked for before the switch, and again before the revocation', async () => {
    world = asking();
    await toDeploy(world);
    await cron(world, 15);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'deploy', waits: ['approvals'] });
    expect(seen.says).toContain('0 of 2 people have approved the switch.');
    expect(seen.says).toContain(`keyturn approve ${secret}`);
    await as('ada').approve(secret, 'looks good');
    await as('ada').approve(secret, 'really');
    await cron(world, 10);
    expect((await look(world)).says).toContain('1 of 2');
    expect(calls()).toBe(0);
    await as('bob').approve(secret, null);
    await cron(world, 5);
    expect((await look(world)).step).toBe('monitor');
    await cron(world, 60);
    expect(await look(world)).toMatchObject({ step: 'monitor', waits: ['approvals'] });
    await as('ada').approve(secret, null);
    await as('bob').approve(secret, null);
    expect((await cronToEnd(world, 10)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('denied before the switch end the run as it began', async () => {
    world = asking();
    await toDeploy(world);
    await as('ada').approve(secret, null);
    await as('bob').deny(secret, 'not on a Friday');
    const run = await cronToEnd(world, 10);
    expect(run.state).toBe('aborted');
    expect(calls()).toBe(0);
    await expectSettled(world, 'old');
  });

  it('denied while the switch may have happened take the way back (I2)', async () => {
    world = asking();
    await toDeploy(world);
    world.upstream.fault('lose-answer');
    await as('ada').approve(secret, null);
    await as('bob').approve(secret, null);
    await world.seconds(8);
    expect(waitsFor(await world.orchestrator.advance(secret))).toEqual(['upstream']);
    await as('bob').deny(secret, 'no');
    await cron(world, 60);
    expect(await look(world)).toMatchObject({ step: 'monitor', waits: ['approvals'] });
    await as('ada').approve(secret, null);
    await as('bob').approve(secret, null);
    expect((await cronToEnd(world)).state).toBe('aborted');
    await expectSettled(world, 'old');
  });

  it('denied before the revocation hold the run, and are asked for anew when somebody lifts it', async () => {
    world = asking();
    await toDeploy(world);
    for (const who of ['ada', 'bob']) await as(who).approve(secret, null);
    await cron(world, 60);
    await as('ada').approve(secret, null);
    await as('bob').deny(secret, 'wait for the report');
    await cron(world, 60);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'monitor', waits: ['held', 'approvals'] });
    expect(seen.says).toContain('bob denied the revocation');
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
    await as('bob').unhold(secret, 'it came');
    await cron(world, 10);
    expect((await look(world)).says).toContain('0 of 2 people have approved the revocation.');
    for (const who of ['ada', 'bob']) await as(who).approve(secret, null);
    expect((await cronToEnd(world, 10)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('where none are asked for, there is nothing to approve or deny', async () => {
    world = new World();
    await toDeploy(world);
    for (const say of [() => as('ada').approve(secret, null), () => as('ada').deny(secret, 'no')]) {
      await expect(say()).rejects.toMatchObject({
        code: 'wrong-state',
        hint: expect.stringContaining('keyturn hold') as string,
      });
    }
  });
});

describe('an upstream for which telling twice is not telling once', () => {
  const once = (): World => new World([policyOf({}, { idempotent: false })]);

  it('whose answer was lost is left alone until a delivery or a person settles it', async () => {
    world = once();
    await toDeploy(world);
    world.upstream.fault('lose-answer');
    await world.clock.advance(8_000);
    await world.orchestrator.advance(secret);
    await silence(world, 5 * 60_000);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'update', waits: ['upstream'] });
    expect(seen.says).toContain('it must not be told twice');
    expect(seen.says).toContain(`keyturn confirm ${secret}`);
    await world.orchestrator.rotate(secret);
    expect(calls()).toBe(1);
    expect((await cronToEnd(world)).state).toBe('completed');
    expect(calls()).toBe(1);
    await expectSettled(world, 'new');
  });

  it('that did not take the value is left by an abort, and the old value is told once (I1, I2)', async () => {
    world = once();
    await toDeploy(world);
    world.upstream.fault('fail-before');
    await cron(world, 60);
    expect((await look(world)).waits).toEqual(['upstream']);
    await world.orchestrator.abort(secret, 'it did not take it');
    expect((await cronToEnd(world)).state).toBe('aborted');
    expect(calls()).toBe(2);
    await expectSettled(world, 'old');
  });

  it('whose answer was lost on the way back waits for a person, whatever is delivered (I2)', async () => {
    world = once();
    await toMonitor(world);
    world.upstream.fault('fail-before');
    await world.orchestrator.abort(secret, 'no');
    await world.deliver((await world.keyring()).versions[0]?.value ?? '');
    await cron(world, 60);
    expect(await look(world)).toMatchObject({ step: 'update', waits: ['upstream'] });
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
    world.upstream.set((await world.keyring()).versions[0]?.value ?? '');
    await world.orchestrator.confirm(secret, 'I set it by hand');
    expect((await cronToEnd(world)).state).toBe('aborted');
    await expectSettled(world, 'old');
  });
});

describe('a word', () => {
  it('needs a live run to be said to', async () => {
    world = new World();
    await world.begin();
    const { orchestrator } = world;
    const words = [
      () => orchestrator.confirm(secret, 'x'),
      () => orchestrator.abort(secret, 'x'),
      () => orchestrator.hold(secret, 'x'),
      () => orchestrator.unhold(secret, 'x'),
      () => orchestrator.approve(secret, 'x'),
      () => orchestrator.deny(secret, 'x'),
    ];
    for (const word of words) await expect(word()).rejects.toMatchObject({ code: 'no-live-run' });
    await toDeployAgain();
    await expect(orchestrator.confirm(secret, 'x')).rejects.toMatchObject({ code: 'wrong-state' });
  });

  async function toDeployAgain(): Promise<void> {
    expect(stepOf(await world.orchestrator.rotate(secret))).toBe('deploy');
  }
});
