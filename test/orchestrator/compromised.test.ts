import { afterEach, describe, expect, it } from 'vitest';
import { wantsAbort } from '../../src/model/run.ts';
import { farProcess } from '../conformance/run-samples.ts';
import { around, Crash, dyingInCall } from './faults.ts';
import { cron, cronToEnd, expectSettled, look, stepOf, toDeploy, toMonitor, waitsFor } from './story.ts';
import { oldValue, policyOf, pool, secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

const compromised = { compromised: true } as const;

/** Every version that the secret has had, and whether it is marked. */
async function marks(): Promise<readonly (readonly [stage: string, isMarked: boolean])[]> {
  return (await world.keyring()).versions.map((version) => [version.stage, version.compromised]);
}

/** A message with that value is refused, and one with what the upstream signs with now is not. */
async function expectRefused(value: string): Promise<void> {
  const before = world.refused;
  await world.deliver(value);
  expect(world.refused).toBe(before + world.receivers.length);
  world.refused = before;
  await world.deliver();
  expect(world.refused).toBe(before);
}

describe('a rotation under compromise', () => {
  it('of an idle secret waits for nobody and refuses the old value at once (I6)', async () => {
    world = new World();
    await world.begin();
    const ended = await world.orchestrator.rotate(secret, compromised);
    expect(stepOf(ended)).toBe('completed');
    expect(ended.run.compromised).toBe(true);
    expect(await marks()).toEqual([
      ['revoked', true],
      ['primary', false],
    ]);
    await world.seconds(6);
    await expectRefused(oldValue);
    await expectSettled(world, 'new');
  });

  it('answers what receivers do not know yet with a refetch, and refuses none of it (I1)', async () => {
    world = new World([policyOf({ receivers: { ...policyOf().receivers, refreshEveryMs: 600_000 } })]);
    await world.begin();
    await world.orchestrator.rotate(secret, compromised);
    await world.deliver();
    await expectSettled(world, 'new');
  });

  it.each<[string, () => Promise<unknown>, number]>([
    [
      'that has stored nothing',
      async () => {
        await world.begin();
        world.store.control.refuseNextCommits(5);
        expect(waitsFor(await world.orchestrator.rotate(secret))).toEqual(['store']);
      },
      1,
    ],
    ['that waits for receivers', () => toDeploy(world), 2],
    [
      'that the upstream refuses',
      async () => {
        await toDeploy(world);
        world.upstream.fault('refuse');
        await cron(world, 10);
      },
      2,
    ],
    [
      'that may have switched',
      async () => {
        await toDeploy(world);
        world.upstream.fault('lose-answer');
        await world.seconds(8);
        await world.orchestrator.advance(secret);
      },
      2,
    ],
    ['that has switched', () => toMonitor(world), 2],
    [
      'that goes back',
      async () => {
        await toMonitor(world);
        await world.orchestrator.abort(secret, 'no');
      },
      2,
    ],
    [
      'that goes back and is refused',
      async () => {
        await toMonitor(world);
        world.upstream.fault('refuse');
        await world.orchestrator.abort(secret, 'no');
      },
      2,
    ],
  ])('takes the place of a live run %s (I3, I6)', async (_which, there, before) => {
    world = new World();
    await there();
    const [live] = await world.journal.runs({ live: true });
    const ended = await world.orchestrator.rotate(secret, compromised);
    expect([ended.kind, stepOf(ended), ended.run.id === live?.id]).toEqual(['ended', 'completed', false]);
    expect(await marks()).toEqual([...Array.from({ length: before }, () => ['revoked', true]), ['primary', false]]);
    expect(await world.journal.runs({})).toMatchObject([
      { state: 'completed', compromised: true, tookOver: { run: live?.id, journal: 'j-one' } },
      { id: live?.id, state: 'superseded' },
    ]);
    const events = (await world.orchestrator.events(live?.id ?? '')).map(({ event }) => event);
    expect(events.at(-1)).toBe('superseded');
    await world.seconds(6);
    await expectRefused(oldValue);
    await expectSettled(world, 'new');
  });

  it('twice makes two new values, and the first of them is marked as well', async () => {
    world = new World();
    await world.begin();
    world.upstream.fault('refuse');
    expect(waitsFor(await world.orchestrator.rotate(secret, compromised))).toEqual(['upstream']);
    expect((await look(world)).says).toContain(`Mend it, then: keyturn rotate ${secret}`);
    const ended = await world.orchestrator.rotate(secret, compromised);
    expect(stepOf(ended)).toBe('completed');
    expect(await marks()).toEqual([
      ['revoked', true],
      ['revoked', true],
      ['primary', false],
    ]);
    await expectSettled(world, 'new');
  });

  it('twice before the first one could store anything ends with one run and one value (I3)', async () => {
    world = new World();
    await toDeploy(world);
    world.store.control.refuseNextCommits(10);
    expect(waitsFor(await world.orchestrator.rotate(secret, compromised))).toEqual(['store']);
    expect(waitsFor(await world.orchestrator.rotate(secret, compromised))).toEqual(['store']);
    expect(await world.journal.runs({ live: true })).toHaveLength(1);
    expect((await cronToEnd(world)).state).toBe('completed');
    expect(await marks()).toEqual([
      ['revoked', true],
      ['revoked', true],
      ['primary', false],
    ]);
    await expectSettled(world, 'new');
  });

  it('is joined by a rotation that is merely asked for, and goes on by schedule', async () => {
    world = new World();
    await world.begin();
    world.upstream.fault('refuse', 'refuse');
    await world.orchestrator.rotate(secret, compromised);
    const joined = await world.orchestrator.rotate(secret);
    expect([joined.joined, joined.run.compromised]).toEqual([true, true]);
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('cannot go back, and says so; before it has changed anything it ends (I8)', async () => {
    world = new World();
    await world.begin();
    world.upstream.fault('refuse');
    await world.orchestrator.rotate(secret, compromised);
    await expect(world.orchestrator.abort(secret, 'no')).rejects.toMatchObject({
      code: 'wrong-state',
      message: expect.stringContaining('is marked compromised') as string,
      hint: expect.stringContaining('--compromised') as string,
    });
    await world.seconds(1);
    await world.orchestrator.rotate(secret);
    await expectSettled(world, 'new');
    world.store.control.refuseNextCommits(5);
    await world.orchestrator.rotate(secret, compromised);
    expect((await world.orchestrator.abort(secret, 'a false alarm')).run.state).toBe('aborted');
    await expectSettled(world, 'new');
  });

  it('cannot be aborted where its first commit happened and its process died before it knew', async () => {
    world = new World();
    await world.begin();
    let isDead = false;
    const dying = around(world.parts, 'process 2', async ({ method }, work) => {
      if (isDead) throw new Crash();
      if (method !== 'commit') return work();
      await work();
      isDead = true;
      throw new Crash();
    });
    await expect(world.another(dying).rotate(secret, compromised)).rejects.toThrow(Crash);
    expect(await world.stages()).toEqual(['primary', 'pending']);
    await world.seconds(10);
    await expect(world.orchestrator.abort(secret, 'no')).rejects.toMatchObject({
      code: 'wrong-state',
      message: expect.stringContaining('is marked compromised') as string,
    });
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('is held like any other, and a hold that came before it is not passed', async () => {
    world = new World();
    await world.begin();
    world.upstream.fault('refuse');
    await world.orchestrator.rotate(secret, compromised);
    await world.orchestrator.hold(secret, 'we look');
    const calls = world.upstream.calls().length;
    await cron(world, 90);
    expect(await look(world)).toMatchObject({ step: 'deploy', waits: ['held'] });
    expect(world.upstream.calls()).toHaveLength(calls);
    await expect(world.orchestrator.rotate(secret, compromised)).rejects.toMatchObject({ code: 'run-held' });
    await world.orchestrator.unhold(secret, 'go');
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('waits for a call of the run it supersedes, which may take effect up to its deadline (I2, I5)', async () => {
    world = new World();
    await toDeploy(world);
    await world.seconds(8);
    const doomed = dyingInCall(world, world.parts, 1);
    const first = world.another({ ...doomed.parts, holder: { name: 'process 1', process: farProcess } });
    await expect(first.advance(secret)).rejects.toThrow(Crash);
    const next = world.another({ processes: { self: () => null, isDead: () => true } });
    expect(waitsFor(await next.rotate(secret, { ...compromised, lockTimeoutMs: 0 }))).toEqual(['effect-in-flight']);
    expect(world.upstream.calls()).toEqual([]);
    expect((await cronToEnd(world, 30, next)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('waits while the process of the live run is at work', async () => {
    world = new World();
    await toDeploy(world);
    world.upstream.fault('hang');
    await world.seconds(8);
    const busy = world.orchestrator.advance(secret);
    await world.clock.advance(1);
    await expect(world.another().rotate(secret, { ...compromised, lockTimeoutMs: 0 })).rejects.toMatchObject({
      code: 'lease-busy',
    });
    await world.clock.advance(9_000);
    await busy;
    expect(stepOf(await world.another().rotate(secret, compromised))).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('needs no receiver, no roster and no usage log', async () => {
    world = new World([policyOf({ receivers: { ...policyOf().receivers, pools: { default: pool(5) } } })]);
    await world.begin();
    world.usageDown = true;
    expect(stepOf(await world.orchestrator.rotate(secret, compromised))).toBe('completed');
    world.usageDown = false;
    await expectSettled(world, 'new');
  });

  it('of a secret that has no value yet is its first rotation', async () => {
    world = new World();
    world.receiver();
    const ended = await world.orchestrator.rotate(secret, compromised);
    expect([ended.run.kind, stepOf(ended)]).toEqual(['first', 'completed']);
    await world.seconds(6);
    await expectSettled(world, 'new');
  });

  it('asks for no approvals, and can be denied as little as it can go back', async () => {
    world = new World([policyOf({ approvals: 2 })]);
    await world.begin();
    world.upstream.fault('refuse');
    expect(waitsFor(await world.orchestrator.rotate(secret, compromised))).toEqual(['upstream']);
    await expect(world.orchestrator.deny(secret, 'no')).rejects.toMatchObject({
      code: 'wrong-state',
      message: expect.stringContaining('it is under compromise') as string,
      hint: `To stop it: keyturn hold ${secret} --reason "…"`,
    });
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('goes on after a person aborted the run that it supersedes', async () => {
    world = new World();
    await toMonitor(world);
    world.upstream.fault('refuse');
    await world.orchestrator.abort(secret, 'no');
    const [live] = await world.journal.runs({ live: true });
    expect(live === undefined ? null : wantsAbort(live)).toBe(true);
    await world.orchestrator.rotate(secret, compromised);
    await expectSettled(world, 'new');
  });
});
