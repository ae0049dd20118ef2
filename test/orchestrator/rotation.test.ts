import { afterEach, describe, expect, it } from 'vitest';
import { failing } from '../../src/model/check.ts';
import { createMemoryJournal } from '../../src/memory/journal.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import { around } from './faults.ts';
import { stepOf, waitsFor } from './story.ts';
import { policyOf, secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

describe('a rotation', () => {
  it('goes through all five steps and refuses nothing (I1, I2, I6)', async () => {
    world = new World();
    await world.begin();
    const started = await world.orchestrator.rotate(secret);
    expect(stepOf(started)).toBe('deploy');
    expect(waitsFor(started)).toEqual(['holding']);
    expect(await world.stages()).toEqual(['primary', 'pending']);
    await world.seconds(8);
    const switched = await world.orchestrator.advance(secret);
    expect(stepOf(switched)).toBe('monitor');
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
    expect(world.upstream.signsWith()).toBe(await world.primaryValue());
    await world.seconds(40);
    const ended = await world.orchestrator.advance(secret);
    expect(ended?.run.state).toBe('completed');
    const keyring = await world.keyring();
    expect(keyring.versions.map((version) => [version.stage, version.value === null])).toEqual([
      ['revoked', true],
      ['primary', false],
    ]);
    expect(keyring.claim).toBeNull();
    await world.seconds(10);
    expect(world.refused).toBe(0);
    expect(world.delivered).toBeGreaterThan(60);
    const events = await world.orchestrator.events(ended?.run.id ?? '');
    const entered = events.filter((event) => event.event === 'step-entered').map((event) => event.step);
    expect(entered).toEqual(['generate', 'deploy', 'update', 'monitor', 'revoke']);
  });

  it('without a primary is the first one, has nothing to retire and ends after the switch', async () => {
    world = new World();
    const started = await world.orchestrator.rotate(secret);
    expect(started.run.kind).toBe('first');
    expect(waitsFor(started)).toEqual(['roster', 'holding']);
    world.receiver();
    world.receiver();
    await world.seconds(8);
    const ended = await world.orchestrator.advance(secret);
    expect(ended?.run.state).toBe('completed');
    expect(await world.stages()).toEqual(['primary']);
    expect((await world.keyring()).claim).toBeNull();
  });

  it('joins the live run instead of starting a second (I3)', async () => {
    world = new World();
    await world.begin();
    const first = await world.orchestrator.rotate(secret);
    const second = await world.another({}).rotate(secret);
    expect(second.joined).toBe(true);
    expect(second.run.id).toBe(first.run.id);
    expect(await world.stages()).toEqual(['primary', 'pending']);
  });

  it('waits in deploy for a receiver that stopped without signing off, and goes on when a person says that it is gone', async () => {
    world = new World();
    await world.begin(3);
    const gone = world.kill();
    await world.orchestrator.rotate(secret);
    await world.seconds(90);
    const waiting = await world.orchestrator.advance(secret);
    expect(stepOf(waiting)).toBe('deploy');
    expect(waitsFor(waiting)).toEqual(['missing']);
    expect(waiting?.kind === 'waiting' && failing(waiting.wait.checks)[0]?.waitingFor).toBe('person');
    expect(await world.orchestrator.forget(gone, 'its machine is gone')).toBe(1);
    expect(stepOf(await world.orchestrator.advance(secret))).toBe('monitor');
  });

  it('answers nothing with 401 while a receiver does not have the new version yet (I1)', async () => {
    world = new World();
    await world.begin();
    await world.clock.advance(1_500);
    await world.orchestrator.rotate(secret);
    const [fresh] = await world.acceptedValues();
    await world.deliver(fresh);
    expect(world.refused).toBe(0);
    expect(world.receivers.map(({ cache }) => cache.accepted(secret).length)).toEqual([2, 2]);
  });

  it('goes on when the answer of the upstream was lost after it had switched (I5)', async () => {
    world = new World();
    await world.begin();
    world.upstream.fault('lose-answer');
    await world.orchestrator.rotate(secret);
    await world.seconds(8);
    const lost = await world.orchestrator.advance(secret);
    expect(waitsFor(lost)).toEqual(['upstream']);
    await world.seconds(3);
    const seen = await world.orchestrator.advance(secret);
    expect(stepOf(seen)).toBe('monitor');
    expect(world.upstream.calls()).toHaveLength(1);
    await world.seconds(40);
    expect((await world.orchestrator.advance(secret))?.run.state).toBe('completed');
    expect(world.refused).toBe(0);
  });

  it('waits at new-seen when the upstream answered 200 and changed nothing, and a person may confirm what only they know', async () => {
    world = new World();
    await world.begin();
    world.upstream.fault('ignore');
    await world.orchestrator.rotate(secret);
    await world.seconds(8);
    await world.orchestrator.advance(secret);
    await world.seconds(60);
    const waiting = await world.orchestrator.advance(secret);
    expect(waitsFor(waiting)).toEqual(['new-seen', 'old-quiet']);
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
    expect(world.refused).toBe(0);
    await world.orchestrator.confirm(secret, 'I looked');
    await world.seconds(5);
    expect(waitsFor(await world.orchestrator.advance(secret))).toEqual(['new-seen', 'old-quiet']);
  });

  it('ends without traffic once a person confirms', async () => {
    world = new World();
    await world.begin();
    await world.orchestrator.rotate(secret);
    await world.clock.advance(8_000);
    await world.orchestrator.advance(secret);
    await world.clock.advance(60_000);
    expect(waitsFor(await world.orchestrator.advance(secret))).toEqual(['new-seen']);
    await world.orchestrator.confirm(secret, 'there is no traffic at night');
    expect((await world.orchestrator.advance(secret))?.run.state).toBe('completed');
  });

  it('is aborted before the switch with everything as it was', async () => {
    world = new World();
    await world.begin();
    await world.orchestrator.rotate(secret);
    const aborted = await world.orchestrator.abort(secret, 'not today');
    expect(aborted.run.state).toBe('aborted');
    expect(await world.stages()).toEqual(['primary', 'revoked']);
    expect((await world.keyring()).claim).toBeNull();
  });

  it('can be aborted after the upstream refused for certain, because nothing was switched', async () => {
    world = new World();
    await world.begin();
    world.upstream.fault('refuse');
    await world.orchestrator.rotate(secret);
    await world.seconds(8);
    const refused = await world.orchestrator.advance(secret);
    expect(refused?.kind === 'waiting' && refused.wait.problem).toMatchObject({
      code: 'upstream-refused',
      retryable: false,
    });
    expect((await world.orchestrator.abort(secret, 'wrong url')).run.state).toBe('aborted');
    expect(await world.stages()).toEqual(['primary', 'revoked']);
  });

  it('can be aborted after the store failed right before the upstream was called', async () => {
    world = new World();
    await world.begin();
    await world.orchestrator.rotate(secret);
    await world.seconds(8);
    world.store.control.loseNextAnswers();
    expect(waitsFor(await world.orchestrator.advance(secret))).toEqual(['upstream']);
    expect(world.upstream.calls()).toHaveLength(0);
    expect((await world.orchestrator.abort(secret, 'not today')).run.state).toBe('aborted');
    expect(await world.stages()).toEqual(['primary', 'revoked']);
  });

  it('tries a refusing upstream again when a person rotates again', async () => {
    world = new World();
    await world.begin();
    world.upstream.fault('refuse');
    await world.orchestrator.rotate(secret);
    await world.seconds(8);
    await world.orchestrator.advance(secret);
    expect(waitsFor(await world.orchestrator.advance(secret))).toEqual(['upstream']);
    await world.seconds(1);
    expect(stepOf(await world.orchestrator.rotate(secret))).toBe('monitor');
  });

  it('is refused to a second journal by the first one’s name (I3)', async () => {
    world = new World();
    await world.begin();
    await world.orchestrator.rotate(secret);
    const journal = createMemoryJournal({ clock: world.clock, id: 'j-two' });
    const other = world.another({ journal, leases: journal });
    await expect(other.rotate(secret)).rejects.toMatchObject({
      code: 'foreign-claim',
      message: expect.stringContaining('j-one') as string,
    });
    expect(await journal.runs({})).toEqual([]);
  });

  it('keeps what it has when the store is out of reach, and goes on afterwards', async () => {
    world = new World();
    await world.begin();
    await world.orchestrator.rotate(secret);
    world.store.control.unreachable = true;
    await world.seconds(8);
    const waiting = await world.orchestrator.advance(secret);
    expect(waitsFor(waiting)).toEqual(['store']);
    world.store.control.unreachable = false;
    await world.seconds(20);
    expect(stepOf(await world.orchestrator.advance(secret))).toBe('monitor');
    expect(world.refused).toBe(0);
  });

  it('commits once when the answer to a commit was lost (I5)', async () => {
    world = new World();
    await world.begin();
    world.store.control.loseNextAnswers();
    await world.orchestrator.rotate(secret);
    expect(await world.stages()).toEqual(['primary', 'pending']);
    await world.seconds(8);
    await world.orchestrator.advance(secret);
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
  });

  it('observes again when it lost a race for a commit', async () => {
    world = new World();
    await world.begin();
    world.store.control.refuseNextCommits(2);
    const started = await world.orchestrator.rotate(secret);
    expect(stepOf(started)).toBe('deploy');
    expect(await world.stages()).toEqual(['primary', 'pending']);
  });
});

describe('run', () => {
  it('starts what is due, advances what is live, and lets no failure stop another', async () => {
    const names = ['a', 'b', 'broken', 'absent'];
    world = new World(names.map((name) => policyOf({ secret: name, name })));
    for (const name of ['a', 'b', 'broken']) await world.orchestrator.adopt(name, `the-value-of-${name}`);
    await world.clock.advance(31 * 86_400_000);
    world.store.control.fail('broken', new KeyturnError('store-denied', 'no'));
    const visits = await world.orchestrator.run();
    expect(visits.map((visit) => [visit.secret, visit.kind])).toEqual([
      ['a', 'advanced'],
      ['b', 'advanced'],
      ['broken', 'failed'],
      ['absent', 'absent'],
    ]);
    expect(visits.map((visit) => visit.kind === 'advanced' && visit.started)).toEqual([true, true, false, false]);
    const again = await world.orchestrator.run();
    expect(again.map((visit) => visit.kind === 'advanced' && visit.started)).toEqual([false, false, false, false]);
    expect(await world.orchestrator.schedulerSeenAt()).toBe(world.clock.now());
  });

  it('starts nothing that another process rotated since it was found due (I3)', async () => {
    world = new World([policyOf({ rotateEveryMs: 3_600_000 })]);
    await world.begin();
    await world.clock.advance(3_600_000);
    const other = world.another();
    let isMoved = false;
    const parts = around(world.parts, 'someone@here, process 3', async ({ method, args }, work) => {
      if (!isMoved && method === 'acquire' && args[0] === secret) {
        isMoved = true;
        do await world.seconds(10);
        while ((await other.run())[0]?.kind !== 'idle');
      }
      return work();
    });
    expect(await new Orchestrator(parts).run()).toMatchObject([{ secret, kind: 'idle' }]);
    const runs = await world.journal.runs({ secret });
    expect(runs).toMatchObject([{ state: 'completed' }]);
    expect(await world.stages()).toEqual(['revoked', 'primary']);
  });

  it('takes no lease of what another process rotated since it was found due, nor notes each of many visits', async () => {
    world = new World([policyOf({ rotateEveryMs: 3_600_000 })]);
    await world.begin();
    await world.clock.advance(3_600_000);
    const other = world.another();
    const taken: unknown[] = [];
    let isMoved = false;
    const parts = around(world.parts, 'someone@here, process 3', async ({ port, method, args }, work) => {
      if (method === 'acquire') taken.push(args[0]);
      const seen = await work();
      if (isMoved || port !== 'store' || method !== 'read') return seen;
      isMoved = true;
      do await world.seconds(10);
      while ((await other.run())[0]?.kind !== 'idle');
      taken.length = 0;
      return seen;
    });
    const visitor = new Orchestrator(parts);
    expect(await visitor.run()).toMatchObject([{ secret, kind: 'idle' }]);
    expect(await visitor.run()).toMatchObject([{ secret, kind: 'idle' }]);
    expect(taken).toEqual([]);
    expect(await world.journal.runs({ secret })).toMatchObject([{ state: 'completed' }]);
  });

  it('goes on where a crowd keeps it from noting its visit, and stops where the journal is not what it was', async () => {
    world = new World([policyOf({ rotateEveryMs: 3_600_000 })]);
    await world.begin();
    let code: 'journal-busy' | 'journal-unreachable' = 'journal-busy';
    const parts = around(world.parts, 'someone@here, process 3', async ({ method, args }, work) => {
      if (method === 'acquire' && args[0] === 'keyturn run') throw new KeyturnError(code, 'not now');
      return work();
    });
    expect(await new Orchestrator(parts).run()).toMatchObject([{ secret, kind: 'idle' }]);
    code = 'journal-unreachable';
    await expect(new Orchestrator(parts).run()).rejects.toMatchObject({ code });
  });

  it('folds receivers that departed long ago into one, and keeps their uses', async () => {
    world = new World();
    await world.begin();
    for (const receiver of [...world.receivers]) await world.stop(receiver);
    const uses = async (): Promise<readonly number[]> =>
      (await world.usage.evidence(secret)).receivers.map((receiver) => receiver.uses[0]?.matched ?? 0);
    const before = await uses();
    expect(before).toHaveLength(2);
    await world.clock.advance(31 * 86_400_000);
    await world.orchestrator.run();
    expect(await uses()).toEqual([before.reduce((sum, each) => sum + each, 0)]);
  });
});
