import { afterEach, describe, expect, it } from 'vitest';
import { createMemoryJournal } from '../../src/memory/journal.ts';
import type { Run } from '../../src/model/run.ts';
import type { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import type { Parts } from '../../src/orchestrator/parts.ts';
import { around, Crash } from './faults.ts';
import { cron, cronToEnd, expectSettled, look, stepOf, toDeploy, toMonitor, waitsFor } from './story.ts';
import { policyOf, secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

/** A process with a journal of its own. */
function withJournal(id = 'j-two'): { readonly process: Orchestrator; readonly parts: Parts } {
  const journal = createMemoryJournal({ clock: world.clock, id });
  const parts: Parts = { ...world.parts, journal, leases: journal };
  return { parts, process: world.another(parts) };
}

async function claimed(): Promise<string> {
  return (await world.keyring()).claim?.run ?? 'nobody';
}

/** A process of the first journal that ends at its call of the upstream. */
function dyingInCall(side: 'before' | 'after'): Orchestrator {
  let isDead = false;
  return world.another(
    around(world.parts, 'process 9', async ({ port }, work) => {
      if (isDead) throw new Crash();
      if (port !== 'upstream') return work();
      if (side === 'after') await work();
      isDead = true;
      throw new Crash();
    }),
  );
}

/** Where a journal may be lost, and whether the upstream signs with the new value by then. */
const places: readonly (readonly [where: string, there: () => Promise<void>])[] = [
  ['while receivers fetch the new version', () => toDeploy(world)],
  ...(['before', 'after'] as const).map(
    (side) =>
      [
        side === 'after' ? 'with the upstream told and its answer lost' : 'with a call announced and not made',
        async () => {
          await toDeploy(world);
          await world.seconds(8);
          await expect(dyingInCall(side).advance(secret)).rejects.toThrow(Crash);
        },
      ] as const,
  ),
  ['after the switch', () => toMonitor(world)],
  [
    'when everything was ready to be revoked',
    async () => {
      await toMonitor(world);
      await world.seconds(60);
    },
  ],
  [
    'on the way back, the upstream not told again',
    async () => {
      await toMonitor(world);
      world.upstream.fault('refuse');
      await world.orchestrator.abort(secret, 'no');
    },
  ],
];

describe.each(places)('a journal that is lost %s', (_where, there) => {
  it('is stood in for by another one, which goes on to the end, and keeps its hands off when it comes back (I1–I3)', async () => {
    world = new World();
    await there();
    const { process } = withJournal();
    const run = await claimed();
    await expect(process.rotate(secret)).rejects.toMatchObject({
      code: 'foreign-claim',
      hint: expect.stringContaining(`keyturn rotate ${secret} --take-over ${run}`) as string,
    });
    await expect(process.rotate(secret, { takeOver: 'r-other' })).rejects.toMatchObject({ code: 'foreign-claim' });
    await process.rotate(secret, { takeOver: run });
    const wakes = async (): Promise<void> => {
      const [text, calls] = [world.place.newest(secret), world.upstream.calls().length];
      await world.orchestrator.run();
      expect(world.place.newest(secret)).toBe(text);
      expect(world.upstream.calls()).toHaveLength(calls);
    };
    for (let visits = 0; visits < 6; visits++) {
      await cron(world, 15, process);
      await wakes();
    }
    expect((await cronToEnd(world, 120, process)).state).toBe('completed');
    await expectSettled(world, 'new');
    await wakes();
    expect((await world.journal.runs({ limit: 1 }))[0]?.state).toBe('completed');
    expect((await world.orchestrator.rotate(secret)).run.state).toBe('live');
  });

  it('is stood in for by another one that goes back, and nobody is refused (I1, I2, I6)', async () => {
    world = new World();
    await there();
    const { process } = withJournal();
    const aborted = await process.abort(secret, 'we do not know where it was', { takeOver: await claimed() });
    expect(aborted.run.tookOver).toMatchObject({ journal: 'j-one' });
    for (let visits = 0; visits < 4; visits++) {
      await cron(world, 15, process);
      await world.orchestrator.run();
    }
    expect((await cronToEnd(world, 120, process)).state).toBe('aborted');
    await expectSettled(world, 'old');
    // What the first journal knows of is undone: it says what is to be said, and ends when it is.
    await world.orchestrator.run();
    if ((await world.orchestrator.look(secret)).live !== null) {
      expect((await look(world)).says).toContain(`keyturn abort ${secret}`);
      await world.orchestrator.abort(secret, 'it was undone');
      expect((await cronToEnd(world, 120)).state).toBe('aborted');
    }
    await expectSettled(world, 'old');
  });

  it('is stood in for by a rotation under compromise', async () => {
    world = new World();
    await there();
    const { process } = withJournal();
    const takeOver = await claimed();
    await expect(process.rotate(secret, { compromised: true })).rejects.toMatchObject({ code: 'foreign-claim' });
    await process.rotate(secret, { compromised: true, takeOver });
    expect((await cronToEnd(world, 30, process)).state).toBe('completed');
    await expectSettled(world, 'new');
    await world.orchestrator.run();
    await expectSettled(world, 'new');
  });
});

describe('a take-over', () => {
  it('needs a claim to take over, and may be asked for twice', async () => {
    world = new World();
    await world.begin();
    const { process, parts } = withJournal();
    await expect(process.rotate(secret, { takeOver: 'r1' })).rejects.toMatchObject({ code: 'wrong-state' });
    await world.orchestrator.rotate(secret);
    const takeOver = await claimed();
    const first = await process.rotate(secret, { takeOver });
    const again = await process.rotate(secret, { takeOver });
    expect([again.joined, again.run.id]).toEqual([true, first.run.id]);
    await expect(process.rotate(secret, { takeOver: 'r1' })).rejects.toMatchObject({ code: 'wrong-state' });
    expect(await parts.journal.runs({})).toHaveLength(1);
    await expectEnd(process);
  });

  async function expectEnd(process: Orchestrator): Promise<void> {
    expect((await cronToEnd(world, 120, process)).state).toBe('completed');
    await expectSettled(world, 'new');
  }

  it('can be taken over in turn, by the first journal too, whose own run is still live (I8)', async () => {
    world = new World();
    await toDeploy(world);
    const { process } = withJournal();
    await process.rotate(secret, { takeOver: await claimed() });
    const theirs = await claimed();
    await world.orchestrator.run();
    const seen = await look(world);
    expect(seen.waits).toEqual(['claim']);
    expect(seen.says).toContain(`keyturn rotate ${secret} --take-over ${theirs}`);
    await world.orchestrator.rotate(secret, { takeOver: theirs });
    await expectEnd(world.orchestrator);
    expect((await world.journal.runs({})).map(({ state }) => state)).toEqual(['completed', 'superseded']);
    await process.run();
    await expectSettled(world, 'new');
  });

  it('waits for a call of the lost journal, also one that was announced after it had looked (I5)', async () => {
    world = new World();
    await toDeploy(world);
    await world.seconds(8);
    const { parts } = withJournal();
    let isAnnounced = false;
    const late = around(parts, 'process 2', async ({ method }, work) => {
      const result = await work();
      if (method === 'begin' && !isAnnounced) {
        isAnnounced = true;
        world.upstream.fault('hang');
        void world.orchestrator.advance(secret).catch(() => null);
        await world.clock.sleep(1_000);
      }
      return result;
    });
    const process = world.another(late);
    const run = await claimed();
    const taken = process.rotate(secret, { takeOver: run });
    await world.clock.advance(1_500);
    expect(waitsFor(await taken)).toEqual(['effect-in-flight']);
    expect(await parts.journal.events({ secret })).toContainEqual(expect.objectContaining({ event: 'call-found' }));
    await cron(world, 4, process, 1);
    expect(world.overlaps).toBe(0);
    expect(world.upstream.calls()).toHaveLength(1);
    await expectEnd(process);
  });

  it('ends where the run ended, or another began, before it could claim the keyring', async () => {
    world = new World();
    await toMonitor(world);
    await world.seconds(60);
    const { process, parts } = withJournal();
    const stop = new AbortController();
    stop.abort();
    await process.rotate(secret, { takeOver: await claimed(), signal: stop.signal });
    expect((await cronToEnd(world)).state).toBe('completed');
    expect((await process.run())[0]).toMatchObject({ kind: 'advanced', advance: { run: { state: 'completed' } } });
    await world.orchestrator.rotate(secret);
    await process.rotate(secret, { takeOver: await claimed(), signal: stop.signal });
    await world.orchestrator.abort(secret, 'no');
    await world.orchestrator.rotate(secret);
    expect((await process.run())[0]).toMatchObject({ advance: { run: { state: 'aborted' } } });
    expect(await parts.journal.runs({ live: true })).toEqual([]);
    await expectEnd(world.orchestrator);
  });

  it('of a first rotation cannot go back, and can go on', async () => {
    world = new World();
    world.receiver();
    world.receiver();
    await world.orchestrator.rotate(secret);
    const { process } = withJournal();
    await expect(process.abort(secret, 'no', { takeOver: await claimed() })).rejects.toMatchObject({
      code: 'wrong-state',
      message: expect.stringContaining('first rotation') as string,
    });
    await world.clock.advance(10_000);
    await process.rotate(secret, { takeOver: await claimed() });
    await expectEnd(process);
  });

  it('keeps nobody’s hold: it was in the journal that is lost', async () => {
    world = new World();
    await toMonitor(world);
    await world.orchestrator.hold(secret, 'a launch');
    const { process } = withJournal();
    await process.rotate(secret, { takeOver: await claimed() });
    await expectEnd(process);
  });
});

describe('a journal that was put back to before the switch', () => {
  /** The same journal as it was when that run was journalled so. */
  async function putBackTo(run: Run): Promise<Orchestrator> {
    const journal = createMemoryJournal({ clock: world.clock, id: 'j-one' });
    const answer = await journal.acquire(secret, { name: 'the backup', process: null }, 5_000);
    if (!('lease' in answer)) throw new Error('the lease is free');
    await journal.begin(run, [], answer.lease);
    await journal.release(answer.lease);
    return world.another({ journal, leases: journal });
  }

  async function liveRun(): Promise<Run> {
    const [run] = await world.journal.runs({ live: true });
    if (run === undefined) throw new Error('no run is live');
    return run;
  }

  it('has an older revision than the store, and goes on from what is there', async () => {
    world = new World();
    await toDeploy(world);
    const before = await liveRun();
    await world.seconds(8);
    expect(stepOf(await world.orchestrator.advance(secret))).toBe('monitor');
    const process = await putBackTo(before);
    expect((await cronToEnd(world, 120, process)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('does not withdraw what the upstream may sign with, however certainly the next call failed (I2)', async () => {
    world = new World();
    await toDeploy(world);
    const before = await liveRun();
    await world.seconds(8);
    // The upstream has the value, its answer is lost, and no message comes to show it.
    world.upstream.fault('lose-answer', 'refuse', 'refuse');
    await world.orchestrator.advance(secret);
    const process = await putBackTo(before);
    await world.clock.advance(8_000);
    expect(waitsFor(await process.advance(secret))).toEqual(['upstream']);
    expect(stepOf(await process.abort(secret, 'no'))).toBe('update');
    expect(await world.stages()).toEqual(['primary', 'pending']);
    await world.seconds(3);
    expect(world.refused).toBe(0);
    expect((await cronToEnd(world, 300, process)).state).toBe('aborted');
    await expectSettled(world, 'old');
  });

  it('does not withdraw either where the call back failed for certain (I2)', async () => {
    world = new World();
    await toDeploy(world);
    const before = await liveRun();
    await world.seconds(8);
    world.upstream.fault('lose-answer', 'refuse');
    await world.orchestrator.advance(secret);
    const process = await putBackTo(before);
    await world.clock.advance(8_000);
    expect(waitsFor(await process.abort(secret, 'no'))).toEqual(['upstream']);
    await process.run();
    expect(await world.stages()).toEqual(['primary', 'pending']);
    expect((await cronToEnd(world, 300, process)).state).toBe('aborted');
    await expectSettled(world, 'old');
  });
});

it('where approvals were given to the lost journal, they are asked for again', async () => {
  world = new World([policyOf({ approvals: 1 })]);
  await toDeploy(world);
  await world.orchestrator.approve(secret, null);
  await cron(world, 10);
  expect((await look(world)).step).toBe('monitor');
  const { process } = withJournal();
  await process.rotate(secret, { takeOver: await claimed() });
  await cron(world, 60, process);
  expect((await look(world, process)).waits).toEqual(['approvals']);
  await process.approve(secret, null);
  expect((await cronToEnd(world, 30, process)).state).toBe('completed');
  await expectSettled(world, 'new');
});
