import { afterEach, describe, expect, it } from 'vitest';
import { expectSettled, hour, look, minute, minutes, minutesToEnd, ordinary } from './story.ts';
import { secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

const day = 24 * hour;

/** The wall clock of orchestrator and usage log alike; receivers have clocks of their own. */
function setClock(byMs: number): void {
  world.clock.setWall(world.clock.now() + byMs);
}

async function started(): Promise<void> {
  world = new World([ordinary({}, { retriesResigned: 'no', retryHorizonMs: 2 * hour })]);
  await world.begin(3, 30);
  await world.orchestrator.rotate(secret);
}

async function switched(): Promise<void> {
  await started();
  await minutes(world, 2);
  expect((await look(world)).step).toBe('monitor');
}

const stages = [
  [
    'before the new version is made',
    async () => {
      world = new World([ordinary({}, { retriesResigned: 'no', retryHorizonMs: 2 * hour })]);
      await world.begin(3, 30);
    },
  ],
  ['while receivers fetch it', started],
  [
    'while the answer of the upstream is not known',
    async () => {
      await started();
      world.upstream.fault('lose-answer');
      await minutes(world, 1);
      expect((await look(world)).waits).toEqual(['upstream']);
    },
  ],
  ['right after the switch', switched],
  [
    'in the grace',
    async () => {
      await switched();
      await minutes(world, 30);
    },
  ],
  [
    'in the retry tail',
    async () => {
      await switched();
      await minutes(world, 90);
    },
  ],
  [
    'on the way back',
    async () => {
      await switched();
      await minutes(world, 5);
      await world.orchestrator.abort(secret, 'no');
      await minutes(world, 1);
    },
  ],
] as const;

describe.each(stages)('a clock that is set %s', (where, there) => {
  const isBack = where === 'on the way back';

  it.each([
    ['back by an hour', -hour],
    ['forward by a day', day],
  ])('%s refuses nothing, cuts nothing short, and ends by itself (I1, I2, I8)', async (_how, by) => {
    await there();
    const started = world.clock.monotonic();
    const isBegun = (await look(world)).step !== 'idle';
    setClock(by);
    if (!isBegun) await world.orchestrator.rotate(secret);
    // On the way back retries of both versions may come, one after the other.
    const took = await minutesToEnd(world, isBack ? 6 * 60 : 4 * 60);
    const spent = where === 'in the grace' ? 32 * minute : where === 'in the retry tail' ? 92 * minute : 2 * minute;
    expect(world.clock.monotonic() - started).toBe(took * minute);
    // The tail lasts two hours and a minute from the switch, by a clock that nobody sets.
    expect(took * minute + spent).toBeGreaterThanOrEqual(2 * hour);
    await expectSettled(world, isBack ? 'old' : 'new');
  });
});

describe('a clock that is wrong and set right', () => {
  it('leaves stamps of the future, which are waited for, and the wait says so (I8)', async () => {
    await switched();
    setClock(day);
    await minutes(world, 5);
    setClock(-day);
    await minutes(world, 5);
    const seen = await look(world);
    expect(seen.waits).toContain('clock');
    expect(seen.says).toContain('The clock was set back');
    await minutes(world, 24 * 60, { visitEveryMs: 5 * minute, messageEveryMs: 10 * minute });
    const late = await look(world);
    expect(late.waits).toContain('timeout');
    expect(late.says).toContain(`keyturn unhold ${secret}`);
    await world.orchestrator.unhold(secret, 'the clock is right');
    await minutesToEnd(world, 3 * 60);
    await expectSettled(world, 'new');
  });

  it('may be spoken for by a person, who is believed about the clock and about nothing else (I2)', async () => {
    await switched();
    setClock(day);
    await minutes(world, 5);
    setClock(-day);
    await minutes(world, 5);
    await world.orchestrator.unhold(secret, 'it is right now', 'clock');
    await minutes(world, 4 * 60, { visitEveryMs: 5 * minute });
    expect((await look(world)).waits).not.toContain('clock');
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
  });

  it('and a witness that died meanwhile, cut the tail no shorter (I2)', async () => {
    await switched();
    const switchedAt = world.clock.monotonic();
    await minutes(world, 5);
    world.kill(world.receivers[0]);
    await minutes(world, 20);
    setClock(day);
    await minutesToEnd(world, 5 * 60);
    expect(world.clock.monotonic() - switchedAt).toBeGreaterThanOrEqual(2 * hour);
    await expectSettled(world, 'new');
  });

  it('is set forward again and again, and each time counts as no time', async () => {
    await switched();
    const switchedAt = world.clock.monotonic();
    for (let jump = 0; jump < 5; jump++) {
      await minutes(world, 7);
      setClock(6 * hour);
    }
    await minutesToEnd(world, 5 * 60);
    expect(world.clock.monotonic() - switchedAt).toBeGreaterThanOrEqual(2 * hour);
    const [run] = await world.journal.runs({});
    expect((await world.orchestrator.events(run!.id)).filter(({ event }) => event === 'clock-jumped')).toHaveLength(5);
    await expectSettled(world, 'new');
  });
});

it('an orchestrator whose clock is apart from the usage log’s counts no evidence until a person sets it right', async () => {
  await switched();
  const apart = {
    ...world.clock,
    now: () => world.clock.now() + 10 * minute,
    monotonic: () => world.clock.monotonic(),
    sleep: world.clock.sleep.bind(world.clock),
  };
  const process = world.another({ clock: apart });
  await world.clock.advance(20_000);
  await process.advance(secret);
  const seen = await look(world, process);
  expect(seen.waits).toContain('clock');
  expect(seen.says).toContain('Set them by NTP');
  await minutesToEnd(world, 5 * 60);
  await expectSettled(world, 'new');
});
