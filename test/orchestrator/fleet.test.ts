import { afterEach, describe, expect, it } from 'vitest';
import type { PoolPolicy } from '../../src/model/policy.ts';
import {
  cron,
  cronToEnd,
  expectSettled,
  hour,
  look,
  minute,
  minutes,
  minutesToEnd,
  ordinary,
  stepOf,
  toDeploy,
  toMonitor,
} from './story.ts';
import { policyOf, pool, secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

const pooled = (pools: Readonly<Record<string, PoolPolicy>>): World =>
  new World([ordinary({ receivers: { ...ordinary().receivers, pools } })]);

/** A world with so many receivers, on the ordinary policy, that a rotation has just begun in. */
async function started(receivers = 2): Promise<void> {
  world = new World([ordinary()]);
  await world.begin(receivers, 30);
  await world.orchestrator.rotate(secret);
}

describe('a fleet', () => {
  it('that is smaller than expected is waited for, and the wait says how many there are', async () => {
    world = new World([ordinary({ receivers: { ...ordinary().receivers, pools: { default: pool(3) } } })]);
    await world.begin(2, 30);
    await world.orchestrator.rotate(secret);
    await minutes(world, 10);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'deploy', waits: ['roster'] });
    expect(seen.says).toContain('2 of 3 in pool default');
    expect(world.upstream.calls()).toHaveLength(0);
    world.receiver();
    await minutesToEnd(world, 70);
    await expectSettled(world, 'new');
  });

  it('that is larger than expected has to hold the new version as a whole', async () => {
    await started(4);
    world.receivers[3]!.store.control.unreachable = true;
    await minutes(world, 5);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'deploy', waits: ['holding'] });
    expect(seen.says).toContain('3 of 4 receivers hold the new version; not yet: receiver-3');
    world.receivers[3]!.store.control.unreachable = false;
    await minutesToEnd(world, 70);
    await expectSettled(world, 'new');
  });

  it.each([
    ['before the switch', 0, 'deploy', ['roster', 'holding']],
    ['after it', 5, 'monitor', ['roster', 'holding', 'coverage', 'old-quiet']],
  ] as const)(
    'that is scaled to zero %s and back again is waited for, and covered anew (I1, I2)',
    async (_when, after, step, waits) => {
      await started();
      await minutes(world, after);
      for (const receiver of [...world.receivers]) await world.stop(receiver);
      world.balancerDown = true;
      await minutes(world, 90);
      const seen = await look(world);
      expect(seen.step).toBe(step);
      expect(seen.waits).toEqual(expect.arrayContaining([...waits]));
      expect(seen.says).toContain('0 of 2 in pool default');
      const stages = await world.stages();
      world.receiver();
      world.receiver();
      world.balancerDown = false;
      await minutes(world, 1);
      // Half an hour has to be seen again.
      await minutes(world, 25);
      if (step === 'monitor') expect(await world.stages()).toEqual(stages);
      await minutesToEnd(world, 70);
      await expectSettled(world, 'new');
    },
  );

  it('whose receivers restart all the time, one after the other, is rotated like any other', async () => {
    await started(3);
    for (let round = 0; round < 30; round++) {
      const [oldest] = world.receivers;
      world.receiver({ id: oldest!.id });
      await world.stop(oldest!);
      await minutes(world, 4);
    }
    expect((await world.orchestrator.look(secret)).live).toBeNull();
    await expectSettled(world, 'new');
  });
});

describe('a receiver', () => {
  it('that cannot reach the store and serves on is not left behind by the switch (I1)', async () => {
    await started();
    world.receivers[0]!.store.control.unreachable = true;
    await minutes(world, 60);
    expect(await look(world)).toMatchObject({ step: 'deploy', waits: ['holding'] });
    expect(world.upstream.calls()).toHaveLength(0);
    world.receivers[0]!.store.control.unreachable = false;
    await minutesToEnd(world, 80);
    await expectSettled(world, 'new');
  });

  it('that cannot reach the store from the switch on serves all of it, and is refreshed in the end (I1)', async () => {
    await started();
    await minutes(world, 3);
    expect((await look(world)).step).toBe('monitor');
    world.receivers[0]!.store.control.unreachable = true;
    await minutesToEnd(world, 80);
    expect(world.refused).toBe(0);
    world.receivers[0]!.store.control.unreachable = false;
    await minutes(world, 2);
    await expectSettled(world, 'new');
  });

  it('that is cut off from the usage log before the switch is for a person, because it may be serving (I1)', async () => {
    world = new World([policyOf()]);
    await world.begin(3);
    const [cutOff] = world.receivers;
    cutOff!.isCut = true;
    await world.orchestrator.rotate(secret);
    await cron(world, 90);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'deploy', waits: ['missing'] });
    expect(seen.says).toContain('receiver-0 stopped reporting');
    expect(seen.says).toContain('keyturn forget receiver-0');
    cutOff!.isCut = false;
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('that is cut off from the usage log after it is missed, then counted as a user of all it holds, and covered again (I2)', async () => {
    await started(3);
    await minutes(world, 3);
    world.receivers[2]!.isCut = true;
    await minutes(world, 5);
    expect((await look(world)).waits).toContain('missing');
    expect((await look(world)).says).toContain('keyturn forget receiver-2');
    await minutes(world, 57);
    expect(await look(world)).toMatchObject({ step: 'idle' });
    world.receivers[2]!.isCut = false;
    await expectSettled(world, 'new');
  });

  it('that is cut off from the usage log for an hour and comes back with what it saw meanwhile is believed (I2)', async () => {
    await started(3);
    await minutes(world, 3);
    const [, , cutOff] = world.receivers;
    cutOff!.isCut = true;
    await minutes(world, 40);
    // A delivery under the old version that only the cut-off receiver saw.
    const oldOnes = world.receivers.splice(0, 2);
    await world.deliver((await world.keyring()).versions[0]?.value ?? '');
    world.receivers.unshift(...oldOnes);
    cutOff!.isCut = false;
    await minutes(world, 18);
    expect((await look(world)).waits).toEqual(expect.arrayContaining(['old-quiet']));
    expect((await look(world)).says).toContain('keyturn unhold my-hook --accept old-quiet');
    await world.orchestrator.unhold(secret, 'it was a late one', 'old-quiet');
    await minutesToEnd(world, 30);
    await expectSettled(world, 'new');
  });

  it.each([0, 1, 30])(
    'that vanishes without signing off %i minutes after the switch delays the end, and does not prevent it (I8)',
    async (after) => {
      await started(3);
      await minutes(world, 3 + after);
      world.kill();
      const took = await minutesToEnd(world, 120);
      // It is missed for ten minutes, and half an hour has to be seen without it.
      expect(took).toBeGreaterThanOrEqual(Math.max(39, 60 - after) - 3);
      expect(took).toBeLessThanOrEqual(Math.max(42, 62 - after));
      await expectSettled(world, 'new');
    },
  );

  it('that vanishes before the switch and is said to be gone holds nobody up', async () => {
    world = new World();
    await world.begin(3);
    const gone = world.kill();
    await world.orchestrator.rotate(secret);
    await cron(world, 30);
    expect((await look(world)).waits).toEqual(['missing']);
    await world.orchestrator.forget(gone, 'its machine is gone');
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('that was forgotten and is there after all counts again', async () => {
    world = new World();
    await world.begin(3);
    world.receivers[2]!.isCut = true;
    await world.orchestrator.rotate(secret);
    await cron(world, 10);
    await world.orchestrator.forget('receiver-2', 'its machine is gone');
    world.receivers[2]!.isCut = false;
    world.receivers[2]!.store.control.unreachable = true;
    await cron(world, 10);
    if ((await look(world)).step === 'deploy') expect((await look(world)).waits).toEqual(['holding']);
    world.receivers[2]!.store.control.unreachable = false;
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it.each(['deploy', 'monitor'])('that restarts in %s is there again with another life', async (step) => {
    world = new World();
    await (step === 'deploy' ? toDeploy(world) : toMonitor(world));
    const [first] = world.receivers;
    await world.stop(first!);
    world.receiver({ id: first!.id });
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('that crashes and restarts after the switch leaves a life that is missed until it is given up (I2)', async () => {
    await started();
    await minutes(world, 10);
    const [first] = world.receivers;
    world.kill(first);
    world.receiver({ id: first!.id });
    await minutes(world, 5);
    expect((await look(world)).waits).toContain('missing');
    await minutesToEnd(world, 70);
    await expectSettled(world, 'new');
  });

  it('that holds an older revision when the gate is asked keeps it closed (I1)', async () => {
    world = new World([policyOf({ receivers: { ...policyOf().receivers, refreshEveryMs: 60_000 } })]);
    await world.begin();
    await world.clock.advance(100);
    await world.orchestrator.rotate(secret);
    await world.orchestrator.advance(secret);
    expect((await look(world)).waits).toEqual(['holding']);
    expect(world.upstream.calls()).toHaveLength(0);
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it.each([-30, 30])('whose clock is %i minutes off is believed as any other: only ages are reported', async (off) => {
    world = new World();
    world.receiver({ clockOffMs: off * minute });
    await world.begin(1);
    await world.orchestrator.rotate(secret);
    const run = await cronToEnd(world);
    expect(run.state).toBe('completed');
    expect(run.endedAt! - run.startedAt).toBeLessThan(60_000);
    await expectSettled(world, 'new');
  });

  it('that starts in the middle and finds nothing in the store answers "try again" until it does (I1)', async () => {
    await started();
    await minutes(world, 3);
    const late = world.receiver();
    late.store.control.unreachable = true;
    await world.stop(late);
    const cold = world.receiver();
    cold.store.control.unreachable = true;
    await minutes(world, 2);
    cold.store.control.unreachable = false;
    await minutesToEnd(world, 80);
    await expectSettled(world, 'new');
  });
});

describe('a usage log that is out of reach for an hour', () => {
  it.each([
    ['before the switch', 0],
    ['after it', 3],
    ['right before the revocation', 58],
  ])('%s stops the run, which goes on by itself when it is back (I2, I8)', async (_when, after) => {
    await started();
    await minutes(world, after);
    const step = after === 0 ? 'deploy' : 'monitor';
    world.usageDown = true;
    await minutes(world, 60);
    const seen = await look(world);
    expect(seen).toMatchObject({ step });
    expect(seen.waits).toContain('usage-log');
    expect(seen.says).toContain('nothing is known of the receivers');
    expect(await world.stages()).toHaveLength(2);
    world.usageDown = false;
    await minutesToEnd(world, 75);
    await expectSettled(world, 'new');
  });
});

describe('pools that give no roster', () => {
  it('that do not report are given the time of a refresh, then the horizon, and a person’s word (I1, I2)', async () => {
    world = pooled({ lambda: pool(0, { reporting: 'none' }) });
    for (let i = 0; i < 2; i++) world.receiver({ pool: 'lambda' }).isCut = true;
    await world.orchestrator.adopt(secret, 'the-value-in-use-until-now');
    world.upstream.set('the-value-in-use-until-now');
    await world.seconds(5);
    await world.orchestrator.rotate(secret);
    const early = await look(world);
    expect(early).toMatchObject({ step: 'deploy', waits: ['unreported'] });
    expect(early.says).toContain('has 1m 21s to fetch the new version');
    await minutes(world, 3);
    expect((await look(world)).step).toBe('monitor');
    await minutes(world, 90);
    const seen = await look(world);
    expect(seen.waits).toEqual(['new-seen', 'unreported']);
    expect(seen.says).toContain(`keyturn confirm ${secret}`);
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
    await world.orchestrator.confirm(secret, 'I looked at its settings');
    const took = await minutesToEnd(world, 30);
    // From that word: a minute until it switched everywhere, five under way, and what a refresh takes.
    expect(took).toBeGreaterThanOrEqual(7);
    await expectSettled(world, 'new');
  });

  it('that come and go are use while they are there, and never coverage', async () => {
    world = pooled({ default: pool(2), spot: pool(0, { ephemeral: true, maxAgeMs: 5 * minute }) });
    await world.begin(2, 30);
    const spot = world.receiver({ pool: 'spot' });
    await world.seconds(5);
    await world.orchestrator.rotate(secret);
    await minutes(world, 3);
    expect((await look(world)).waits).toEqual(['unreported']);
    world.kill(spot);
    await minutes(world, 5);
    expect((await look(world)).step).toBe('monitor');
    await minutes(world, 90);
    expect((await look(world)).waits).toEqual(['unreported']);
    await world.orchestrator.confirm(secret, 'I looked');
    await minutesToEnd(world, 5);
    await expectSettled(world, 'new');
  });

  it('that come and go and still see the old version keep it (I2)', async () => {
    world = pooled({ default: pool(2), spot: pool(0, { ephemeral: true, maxAgeMs: 5 * minute }) });
    await world.begin(2, 30);
    await world.orchestrator.rotate(secret);
    await minutes(world, 10);
    await world.orchestrator.confirm(secret, 'I looked');
    const spot = world.receiver({ pool: 'spot' });
    await minutes(world, 8);
    const others = world.receivers.splice(0, 2);
    await world.deliver((await world.keyring()).versions[0]?.value ?? '');
    world.receivers.unshift(...others);
    await minutes(world, 1);
    await world.stop(spot);
    await minutes(world, hour / minute);
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
    expect((await look(world)).says).toContain('--accept old-quiet');
    await world.orchestrator.unhold(secret, 'found it', 'old-quiet');
    await minutesToEnd(world, 5);
    await expectSettled(world, 'new');
  });

  it('are waited for by nobody under compromise', async () => {
    world = pooled({ lambda: pool(0, { reporting: 'none' }) });
    world.receiver({ pool: 'lambda' }).isCut = true;
    await world.orchestrator.adopt(secret, 'the-value-in-use-until-now');
    expect(stepOf(await world.orchestrator.rotate(secret, { compromised: true }))).toBe('completed');
  });
});
