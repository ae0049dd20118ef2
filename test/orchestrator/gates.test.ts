import { afterEach, describe, expect, it } from 'vitest';
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
  silence,
  stepOf,
} from './story.ts';
import { oldValue, policyOf, secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

/** A fake clock begins at midnight. */
const atThree = { cron: '0 3 * * *', durationMs: hour, timezone: 'UTC' };

async function started(over: Parameters<typeof ordinary>[0]): Promise<void> {
  world = new World([ordinary(over)]);
  await world.begin(2, 30);
  await world.orchestrator.rotate(secret);
}

describe('a cutover window', () => {
  it('is waited for with everything else ready, without timing out, and the wait says until when', async () => {
    await started({ cutover: atThree, gates: { ...ordinary().gates, timeoutMs: hour } });
    await minutes(world, 170);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'deploy', waits: ['cutover'] });
    expect(seen.says).toContain('0 3 * * * (UTC), for 1h');
    expect(world.upstream.calls()).toHaveLength(0);
    await minutes(world, 12);
    expect(stepOf(await world.orchestrator.advance(secret))).toBe('monitor');
    await minutesToEnd(world, 70);
    await expectSettled(world, 'new');
  });

  it('that closes before the upstream took the value is waited for again', async () => {
    await started({ cutover: atThree });
    await minutes(world, 179);
    world.upstream.fault(...Array.from({ length: 8 }, () => 'refuse' as const));
    await minutes(world, 61);
    const calls = world.upstream.calls().length;
    expect(calls).toBeGreaterThan(2);
    await minutes(world, 120);
    expect((await look(world)).waits).toEqual(['cutover']);
    expect(world.upstream.calls()).toHaveLength(calls);
    world.upstream.fault();
    await world.orchestrator.unhold(secret, 'we cannot wait', 'cutover');
    await world.orchestrator.rotate(secret);
    expect(world.upstream.calls().length).toBe(calls + 1);
  });

  it('does not stop the way back', async () => {
    await started({ cutover: { ...atThree, cron: '0 0 * * *' }, gates: { ...ordinary().gates, graceMs: 3 * hour } });
    await minutes(world, 3);
    expect((await look(world)).step).toBe('monitor');
    await minutes(world, 70);
    await world.orchestrator.abort(secret, 'no');
    expect(world.upstream.signsWith()).toBe(oldValue);
    await minutesToEnd(world, 200);
    await expectSettled(world, 'old');
  });
});

describe('a blackout', () => {
  it('keeps the upstream untold until it is over, and a schedule from starting anything', async () => {
    const from = Date.UTC(2026, 0, 1);
    world = new World([
      ordinary({ blackouts: [{ from, until: from + 6 * hour, reason: 'a launch' }], rotateEveryMs: hour }),
    ]);
    await world.begin(2, 30);
    await minutes(world, 120);
    expect((await look(world)).step).toBe('idle');
    await world.orchestrator.rotate(secret);
    await minutes(world, 60);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'deploy', waits: ['blackout'] });
    expect(seen.says).toContain('No update starts during a blackout: a launch.');
    await minutes(world, 4 * 60, { visitEveryMs: 5 * minute });
    await minutesToEnd(world, 80);
    await expectSettled(world, 'new');
  });
});

describe('a gate that waits too long', () => {
  it('holds the run for a person, even when what it waited for comes', async () => {
    world = new World([policyOf({ gates: { ...policyOf().gates, timeoutMs: 60_000 } })]);
    await world.begin();
    world.receivers[0]!.store.control.unreachable = true;
    await world.orchestrator.rotate(secret);
    await cron(world, 70);
    const seen = await look(world);
    expect(seen.waits).toEqual(['timeout', 'holding']);
    expect(seen.says).toContain('does not pass by itself any more');
    world.receivers[0]!.store.control.unreachable = false;
    await cron(world, 30);
    expect((await look(world)).waits).toEqual(['timeout']);
    expect(world.upstream.calls()).toHaveLength(0);
    await world.orchestrator.unhold(secret, 'I looked');
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('does not for time in which nobody looked', async () => {
    world = new World([ordinary({ gates: { ...ordinary().gates, timeoutMs: 2 * hour } })]);
    await world.begin(2, 30);
    world.receivers[0]!.store.control.unreachable = true;
    await world.orchestrator.rotate(secret);
    await silence(world, minute);
    await world.clock.advance(48 * hour);
    await world.orchestrator.run();
    expect((await look(world)).waits).toEqual(['holding']);
    world.receivers[0]!.store.control.unreachable = false;
    await minutesToEnd(world, 80);
    await expectSettled(world, 'new');
  });

  it('can be left by an abort, whose gate has a clock of its own', async () => {
    world = new World([policyOf({ gates: { ...policyOf().gates, timeoutMs: 90_000 } })]);
    await world.begin();
    world.upstream.fault('ignore');
    await world.orchestrator.rotate(secret);
    await cron(world, 130);
    expect((await look(world)).waits).toContain('timeout');
    await world.orchestrator.abort(secret, 'it ignores us');
    expect((await cronToEnd(world)).state).toBe('aborted');
    await expectSettled(world, 'old');
  });
});
