import { afterEach, describe, expect, it } from 'vitest';
import { expectSettled, hour, look, minute, minutes, minutesToEnd, ordinary, silence } from './story.ts';
import { secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

const horizonMs = 24 * hour;

/** Days go by in steps of five minutes. */
const slowly = { visitEveryMs: 5 * minute } as const;

/** An upstream that tries again for a day what failed, with the signature of then. */
const retrying = (): World => new World([ordinary({}, { retriesResigned: 'no', retryHorizonMs: horizonMs })]);

/** A rotation that has just switched. */
async function switched(): Promise<void> {
  await world.begin(2, 30);
  await world.orchestrator.rotate(secret);
  for (let waited = 0; world.upstream.calls().length === 0; waited++) {
    expect(waited).toBeLessThan(5);
    await minutes(world, 1);
  }
}

const inTail = async (): Promise<void> => {
  expect(await look(world)).toMatchObject({ step: 'monitor', waits: ['retry-tail'] });
  expect(await world.stages()).toEqual(['deprecated', 'primary']);
};

describe('an upstream that tries again with the old signature', () => {
  it('gets its retries accepted for the whole horizon, and the old version goes right after it (I1, I2)', async () => {
    world = retrying();
    await world.begin(2, 30);
    // Down around the switch: no receiver ever sees these.
    await world.orchestrator.rotate(secret);
    await world.clock.advance(40_000);
    world.balancerDown = true;
    await minutes(world, 10);
    world.balancerDown = false;
    const late = world.takeUndelivered();
    expect(late.length).toBeGreaterThan(5);
    expect(world.upstream.calls()).toHaveLength(1);
    const [run] = await world.journal.runs({ live: true });
    const switchedAt = run!.intents.find(({ effect }) => effect === 'activate')!.result!.at;
    await minutes(world, 70);
    await inTail();
    expect((await look(world)).says).toContain('may be tried again for 1d, signed with the old version');
    // Each comes once more, the last of them when the horizon is over.
    for (const [index, again] of late.entries()) {
      const dueAt = switchedAt + (horizonMs * (index + 1)) / late.length;
      await minutes(world, 5 * Math.floor((dueAt - world.clock.now()) / (5 * minute)), slowly);
      await again();
    }
    expect(world.refused).toBe(0);
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
    // The last retry was a use of the old version: half an hour has to be quiet after it.
    expect(await minutesToEnd(world, 60)).toBeLessThanOrEqual(45);
    await expectSettled(world, 'new');
  });

  it('and has nothing left to try: the old version goes when the horizon is over, and no gate times out meanwhile (I8)', async () => {
    world = retrying();
    await switched();
    const took = await minutesToEnd(world, 25 * 60, { ...slowly, messageEveryMs: 10 * minute });
    expect(took).toBeGreaterThanOrEqual(24 * 60 - 5);
    expect(took).toBeLessThanOrEqual(24 * 60 + 15);
    await expectSettled(world, 'new');
  });

  it('is not waited for where retries are signed anew, or where the policy gives them up', async () => {
    for (const policy of [
      ordinary({}, { retriesResigned: 'yes', retryHorizonMs: horizonMs }),
      ordinary(
        { gates: { ...ordinary().gates, retryTail: 'ignore' } },
        { retriesResigned: 'no', retryHorizonMs: horizonMs },
      ),
    ]) {
      world = new World([policy]);
      await switched();
      expect(await minutesToEnd(world, 70)).toBeLessThanOrEqual(62);
      await expectSettled(world, 'new');
      await world.close();
    }
  });

  it('keeps the new version as long on the way back, and the old one’s retries prove nothing (I2)', async () => {
    world = retrying();
    await switched();
    world.balancerDown = true;
    await minutes(world, 3);
    world.balancerDown = false;
    const signedNew = world.takeUndelivered();
    await world.orchestrator.abort(secret, 'no');
    await minutes(world, 30, { messageEveryMs: 0 });
    await world.deliver((await world.keyring()).versions[0]?.value ?? '');
    await minutes(world, 60, { messageEveryMs: 0 });
    const seen = await look(world);
    expect(seen.waits).toEqual(['new-seen', 'retry-tail']);
    expect(seen.says).toContain('which proves nothing');
    await minutes(world, 24 * 60, { ...slowly, messageEveryMs: hour });
    for (const again of signedNew) await again();
    expect(world.refused).toBe(0);
    expect(await world.stages()).toEqual(['primary', 'deprecated']);
    await minutesToEnd(world, 26 * 60, { ...slowly, messageEveryMs: hour });
    await expectSettled(world, 'old');
  });
});

describe('little traffic', () => {
  it('of one message every two hours is enough, in bounded time', async () => {
    world = new World([ordinary()]);
    await world.begin(2, 30);
    await world.orchestrator.rotate(secret);
    const took = await minutesToEnd(world, 10 * 60, { ...slowly, messageEveryMs: 2 * hour });
    expect(took).toBeLessThanOrEqual(2 * 60 + 10);
    await expectSettled(world, 'new');
  });

  it('of one message every two hours is enough with retries, too, and holds nothing longer than the tail', async () => {
    world = retrying();
    await world.begin(2, 30);
    await world.orchestrator.rotate(secret);
    const took = await minutesToEnd(world, 30 * 60, { ...slowly, messageEveryMs: 2 * hour });
    expect(took).toBeLessThanOrEqual(26 * 60 + 5);
    await expectSettled(world, 'new');
  });

  it('that stops for good waits for a person’s word, and times out only by saying so (I8)', async () => {
    world = new World([ordinary({ gates: { ...ordinary().gates, timeoutMs: 3 * hour } })]);
    await switched();
    await silence(world, 2 * hour);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'monitor', waits: ['new-seen'] });
    expect(seen.says).toContain(`keyturn confirm ${secret}`);
    await silence(world, 2 * hour);
    const late = await look(world);
    expect(late.waits).toEqual(['timeout', 'new-seen']);
    expect(late.says).toContain(`keyturn unhold ${secret}`);
    const [run] = await world.journal.runs({ live: true });
    const events = (await world.orchestrator.events(run!.id)).filter(({ event }) => event === 'gate-timed-out');
    expect(events).toHaveLength(1);
    await world.orchestrator.confirm(secret, 'there is no traffic at night');
    await silence(world, hour);
    expect((await look(world)).waits).toEqual(['timeout']);
    await world.orchestrator.unhold(secret, 'I looked');
    await world.orchestrator.run();
    await expectSettled(world, 'new');
  });

  it('whose last message came under the old version right after that word can be spoken for again', async () => {
    world = new World([ordinary()]);
    await switched();
    await silence(world, 5 * minute);
    await world.orchestrator.confirm(secret, 'done');
    await silence(world, minute);
    await world.deliver((await world.keyring()).versions[0]?.value ?? '');
    await silence(world, 2 * hour);
    const seen = await look(world);
    expect(seen.waits).toContain('new-seen');
    expect(seen.says).toContain(`keyturn confirm ${secret}`);
    await world.orchestrator.confirm(secret, 'that was a late one');
    await silence(world, hour);
    const last = await look(world);
    if (last.step !== 'idle') {
      expect(last.waits).toEqual(['old-quiet']);
      expect(last.says).toContain('--accept old-quiet');
      await world.orchestrator.unhold(secret, 'it was a late one', 'old-quiet');
      await world.orchestrator.run();
    }
    await expectSettled(world, 'new');
  });
});

describe('a second sender', () => {
  it('that never got the new value holds the run for a person, and is refused by nobody (I1, I2, I8)', async () => {
    world = new World([ordinary()]);
    await switched();
    const [old] = (await world.keyring()).versions;
    for (let tries = 0; tries < 8; tries++) {
      await minutes(world, 45);
      await world.deliver(old?.value ?? '');
    }
    await minutes(world, 60);
    expect(world.refused).toBe(0);
    const seen = await look(world);
    expect(seen).toMatchObject({ step: 'monitor', waits: ['old-quiet'] });
    expect(seen.says).toContain('there is a second sender');
    expect(seen.says).toContain(`keyturn unhold ${secret} --accept old-quiet`);
    await world.orchestrator.unhold(secret, 'it has the new value now', 'old-quiet');
    await world.orchestrator.run();
    await expectSettled(world, 'new');
  });
});
