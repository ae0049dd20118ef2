import { afterEach, describe, expect, it } from 'vitest';
import { createMemoryJournal } from '../../src/memory/journal.ts';
import { isKeyturnError } from '../../src/model/errors.ts';
import { acceptedVersions, isSettled } from '../../src/model/keyring.ts';
import type { SecretPolicy } from '../../src/model/policy.ts';
import { wantsAbort, type Run } from '../../src/model/run.ts';
import type { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import type { Parts } from '../../src/orchestrator/parts.ts';
import { around, dyingInCall, faults, faulty, sleepy, type Faulty } from './faults.ts';
import { oldValue, policyOf, pool, secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

/** Gates of seconds, so that a rotation with a fault in it takes half a minute. */
function quick(over: Partial<SecretPolicy> = {}): SecretPolicy {
  const policy = policyOf({}, { switchLagMs: 1_000, redelivers: true });
  return {
    ...policy,
    receivers: { ...policy.receivers, pools: { default: pool(1) }, refreshEveryMs: 1_000 },
    gates: { ...policy.gates, graceMs: 3_000, quietMs: 2_000 },
    ...over,
  };
}

const mirrors: SecretPolicy['mirrors'] = [
  { key: 'plain', property: null, format: 'plain' },
  { key: 'documents', property: null, format: 'active_secrets' },
];

const canary: SecretPolicy['canary'] = { url: 'https://hooks.example/', count: 2 };

/** One way through a rotation. */
interface Way {
  readonly name: string;
  readonly policy?: SecretPolicy;
  /** Brings the world to where it begins; returns the parts of the processes that go it. */
  readonly prepare: () => Promise<Parts>;
  /** Whether the newest run shows that a person asked for it. */
  readonly isAsked: (newest: Run | null) => boolean;
  /** The command that asks for it, which a person gives again where it failed. */
  readonly ask: (process: Orchestrator) => Promise<unknown>;
  readonly ends: 'completed' | 'aborted';
}

const noWait = { lockTimeoutMs: 0 } as const;

/** A run that this process has begun, as far as its first gate. */
async function beginRun(): Promise<Parts> {
  await world.orchestrator.rotate(secret);
  return world.parts;
}

async function toMonitor(): Promise<Parts> {
  await beginRun();
  await world.seconds(2);
  const advanced = await world.orchestrator.advance(secret);
  expect(advanced?.kind === 'waiting' && advanced.wait.step).toBe('monitor');
  return world.parts;
}

/** The journal is gone, and another one takes its place. */
function withoutJournal(parts: Parts): Parts {
  const journal = createMemoryJournal({ clock: world.clock, id: 'j-two' });
  return { ...parts, journal, leases: journal };
}

const takenOver = async () => ({ takeOver: (await world.keyring()).claim?.run, ...noWait });

const forward: Omit<Way, 'name'> = {
  prepare: async () => world.parts,
  isAsked: (newest) => newest !== null,
  ask: (process) => process.rotate(secret, noWait),
  ends: 'completed',
};

const back: Omit<Way, 'name'> = {
  prepare: toMonitor,
  isAsked: (newest) => newest !== null && wantsAbort(newest),
  ask: (process) => process.abort(secret, 'no', noWait),
  ends: 'aborted',
};

const compromised: Omit<Way, 'name' | 'prepare'> = {
  isAsked: (newest) => newest?.compromised === true,
  ask: (process) => process.rotate(secret, { compromised: true, ...noWait }),
  ends: 'completed',
};

const takeOver: Omit<Way, 'name' | 'prepare'> = {
  isAsked: (newest) => newest !== null,
  ask: async (process) => process.rotate(secret, await takenOver()),
  ends: 'completed',
};

const ways: readonly Way[] = [
  { ...forward, name: 'a rotation with mirrors and canaries', policy: quick({ mirrors, canary }) },
  { ...back, name: 'the way back after the switch, with mirrors', policy: quick({ mirrors }) },
  { ...back, name: 'an abort before the switch', prepare: beginRun },
  { ...compromised, name: 'a rotation under compromise', prepare: async () => world.parts },
  { ...compromised, name: 'a rotation under compromise over a live run', prepare: beginRun },
  { ...compromised, name: 'a rotation under compromise over one that has switched', prepare: toMonitor },
  { ...takeOver, name: 'a take-over before the switch', prepare: async () => withoutJournal(await beginRun()) },
  { ...takeOver, name: 'a take-over after the switch', prepare: async () => withoutJournal(await toMonitor()) },
  {
    ...back,
    name: 'a take-over that goes back',
    prepare: async () => withoutJournal(await toMonitor()),
    ask: async (process) => process.abort(secret, 'no', await takenOver()),
  },
];

async function begin(way: Way): Promise<Parts> {
  await world.close();
  world = new World([way.policy ?? quick()], {}, 1_000);
  await world.begin(1, 3);
  return way.prepare();
}

async function newestRun({ journal }: Parts): Promise<Run | null> {
  return (await journal.runs({ limit: 1 }))[0] ?? null;
}

/** Whether the way is gone to its end. */
async function isOver(way: Way, parts: Parts): Promise<boolean> {
  const newest = await newestRun(parts);
  return newest !== null && newest.state !== 'live' && way.isAsked(newest);
}

/** What cron does, and what it says of the secret. */
async function visitBySchedule(process: Orchestrator): Promise<void> {
  const [visit] = await process.run();
  if (visit !== undefined && 'error' in visit) throw visit.error;
}

/** People ask until it is journalled that they did; then cron goes on, unless it is the one process that is told of. */
async function visit(way: Way, process: Orchestrator, newest: Run | null, isCron: boolean): Promise<void> {
  if (!way.isAsked(newest)) await way.ask(process);
  else if (isCron) await visitBySchedule(process);
  else await process.advance(secret, noWait);
}

interface Ended {
  readonly struck: boolean;
}

/** Visits every few seconds, first by the process in which something goes wrong, and by another one when that is dead. */
async function go(way: Way, parts: Parts, doomed: Faulty): Promise<Ended> {
  const [first, next] = [world.another(doomed.parts), world.another(parts)];
  for (let visits = 0; visits < 40; visits++) {
    if (await isOver(way, parts)) return { struck: doomed.struck() };
    const isFirst = !doomed.dead();
    const wasStruck = doomed.struck();
    try {
      await visit(way, isFirst ? first : next, await newestRun(parts), !isFirst);
    } catch (error) {
      // What went wrong ends the visit; after it only a lease that is still held may.
      const isExpected = wasStruck !== doomed.struck() || isKeyturnError(error, 'lease-busy', 'lease-lost');
      if (!isExpected && !(isFirst && doomed.dead())) throw error;
    }
    expect((await parts.journal.runs({ live: true })).length).toBeLessThanOrEqual(1);
    await world.seconds(2);
  }
  throw new Error(`it did not end: ${JSON.stringify(await newestRun(parts))}`);
}

/** What has to hold once it is over, whatever went wrong. */
async function expectSound(way: Way, parts: Parts): Promise<void> {
  await world.seconds(4);
  const keyring = await world.keyring();
  expect(isSettled(keyring)).toBe(true);
  expect(world.upstream.signsWith()).toBe(await world.primaryValue());
  expect((await world.primaryValue()) === oldValue).toBe(way.ends === 'aborted');
  for (const { cache } of world.receivers) {
    expect(cache.accepted(secret).map(({ id }) => id)).toEqual(acceptedVersions(keyring).map(({ id }) => id));
  }
  expect([world.refused, world.undelivered, world.overlaps]).toEqual([0, 0, 0]);
  const newest = await newestRun(parts);
  expect(newest?.state).toBe(way.ends);
  expect(await parts.journal.runs({ live: true })).toEqual([]);
  if (way.policy?.mirrors.length !== undefined) {
    expect(await world.store.plain.read('plain')).toBe(await world.primaryValue());
    const documents = JSON.parse((await world.store.plain.read('documents')) ?? '') as Record<string, unknown>;
    expect(documents[secret]).toMatchObject({ active_secrets: [{ status: 'primary' }] });
  }
}

/** Goes the way once for each call that there is, with the fault at that call. Returns how many there were. */
async function atEveryCall(way: Way, strike: (parts: Parts, call: number) => Faulty): Promise<number> {
  for (let call = 1; ; call++) {
    const parts = await begin(way);
    const told = (error: unknown): never => {
      throw new Error(`at call ${String(call)}: ${String(error)}`, { cause: error });
    };
    const { struck } = await go(way, parts, strike(parts, call)).catch(told);
    await expectSound(way, parts).catch(told);
    if (!struck) return call - 1;
  }
}

/** Longer than any lease or deadline. */
const napMs = 30_000;

describe.each(ways)('$name', (way) => {
  it.each(faults)(
    'ends as it should, with nothing refused, whatever call goes wrong: %s (I1–I6, I8)',
    async (fault) => {
      const calls = await atEveryCall(way, (parts, call) => faulty(parts, call, fault));
      expect(calls).toBeGreaterThan(20);
    },
  );

  it('ends as it should where a dead process’s call to the upstream takes effect at its deadline (I1, I2, I5)', async () => {
    const calls = await atEveryCall(way, (parts, call) => dyingInCall(world, parts, call));
    expect(calls).toBeGreaterThanOrEqual(way.name === 'an abort before the switch' ? 0 : 1);
  });
});

/** The first process is stopped at that call, and another one goes on; when it wakes up, all is over. Returns whether it stopped. */
async function sleepThrough(way: Way, call: number, side: 'before' | 'after'): Promise<boolean> {
  const parts = await begin(way);
  const stopped = sleepy(parts, call, side, napMs);
  const [first, next] = [world.another(stopped.parts), world.another()];
  let visits: Promise<unknown> = Promise.resolve();
  while (!stopped.struck() && !(await isOver(way, parts))) {
    const newest = await newestRun(parts);
    visits = visits.then(() => visit(way, first, newest, false)).catch(() => undefined);
    await world.seconds(2);
  }
  if (!stopped.struck()) return false;
  await go(way, parts, {
    parts: { ...parts, holder: { name: 'another', process: null } },
    struck: () => false,
    dead: () => true,
  });
  const calls = world.upstream.calls().length;
  const before = await parts.journal.runs({});
  const text = world.place.newest(secret);
  await world.clock.advance(napMs);
  await visits;
  // One that was stopped before its run was journalled begins a run of its own when it wakes up.
  const after = await parts.journal.runs({});
  if (after.length > before.length) {
    while ((await parts.journal.liveSecrets()).length > 0) {
      await world.seconds(2);
      await visitBySchedule(next);
    }
  } else {
    expect(world.place.newest(secret)).toBe(text);
    expect(world.upstream.calls()).toHaveLength(calls);
    expect(after).toEqual(before);
  }
  return true;
}

describe('a process that is stopped for longer than its lease', () => {
  const stoppable = ways.filter(({ name }) => !name.includes('take-over'));
  it.each(stoppable.flatMap((way) => (['before', 'after'] as const).map((side) => ({ way, side, name: way.name }))))(
    'does no harm when it wakes up after another has gone its way: $name, $side its effect (I1–I6)',
    async ({ way, side }) => {
      let call = 1;
      for (; await sleepThrough(way, call, side); call++) {
        await world.seconds(4);
        expect([call, isSettled(await world.keyring())]).toEqual([call, true]);
        expect([call, world.upstream.signsWith()]).toEqual([call, await world.primaryValue()]);
        expect([call, world.refused, world.undelivered, world.overlaps]).toEqual([call, 0, 0, 0]);
        if (way.policy === undefined) continue;
        expect([call, await world.store.plain.read('plain')]).toEqual([call, await world.primaryValue()]);
      }
      expect(call).toBeGreaterThan(25);
    },
  );

  it.each(['before', 'after'] as const)(
    'does no harm when it wakes up after another journal has taken its run over, stopped %s any call’s effect (I1–I5)',
    async (side) => {
      const way: Way = { ...forward, name: 'a rotation', policy: quick({ mirrors }) };
      let taken = 0;
      for (let call = 1; ; call++) {
        const parts = await begin(way);
        const stopped = sleepy(parts, call, side, napMs);
        const first = world.another(stopped.parts);
        let visits: Promise<unknown> = Promise.resolve();
        while (!stopped.struck() && !(await isOver(way, parts))) {
          const newest = await newestRun(parts);
          visits = visits.then(() => visit(way, first, newest, false)).catch(() => undefined);
          await world.seconds(2);
        }
        if (!stopped.struck()) break;
        if ((await world.keyring()).claim !== null) {
          taken += 1;
          const heir = withoutJournal(parts);
          const alive = { parts: heir, struck: () => false, dead: () => true };
          await go({ ...takeOver, name: 'its heir', prepare: async () => heir }, heir, alive);
        }
        await world.clock.advance(napMs);
        await visits;
        for (let visit = 0; visit < 20 && (await world.journal.liveSecrets()).length > 0; visit++) {
          await world.seconds(2);
          await visitBySchedule(world.another());
        }
        await world.seconds(4);
        expect([call, isSettled(await world.keyring())]).toEqual([call, true]);
        expect([call, world.upstream.signsWith()]).toEqual([call, await world.primaryValue()]);
        expect([call, world.refused, world.undelivered, world.overlaps]).toEqual([call, 0, 0, 0]);
        expect([call, await world.journal.liveSecrets()]).toEqual([call, []]);
        const value = await world.primaryValue();
        // One that was stopped before its run was journalled has begun none.
        if (value !== oldValue) expect([call, await world.store.plain.read('plain')]).toEqual([call, value]);
      }
      expect(taken).toBeGreaterThan(25);
    },
  );

  it.each([
    ['the old version is used again', () => world.deliver(oldValue)],
    ['a person holds the run', () => world.orchestrator.hold(secret, 'wait')],
    [
      'the usage log is out of reach',
      async () => {
        world.usageDown = true;
      },
    ],
  ])(
    'right before its revocation commits it no more where %s meanwhile and another looked (I2)',
    async (_what, happens) => {
      await begin({ ...forward, name: 'a rotation' });
      await toMonitor();
      await world.seconds(10);
      let isStopped = false;
      const stopped = around(world.parts, 'someone@here, process 777', async ({ method }, work) => {
        const [live] = await world.journal.runs({ live: true });
        if (!isStopped && method === 'commit' && live?.intents.at(-1)?.effect === 'revoke') {
          isStopped = true;
          await world.clock.sleep(napMs);
        }
        return work();
      });
      const visit = world
        .another(stopped)
        .advance(secret)
        .catch(() => null);
      await world.clock.advance(7_000);
      expect(isStopped).toBe(true);
      await happens();
      await world.seconds(1);
      await visitBySchedule(world.another());
      expect(await world.stages()).toEqual(['deprecated', 'primary']);
      await world.clock.advance(napMs);
      await visit;
      expect(await world.stages()).toEqual(['deprecated', 'primary']);
      await world.deliver(oldValue);
      expect(world.refused).toBe(0);
    },
  );
});
