import { afterEach, describe, expect, it } from 'vitest';
import type { CanaryAnswer } from '../../src/ports/canary.ts';
import { cron, cronToEnd, expectSettled, look, stepOf, waitsFor } from './story.ts';
import { policyOf, secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

const canary = { url: 'https://hooks.example/github', count: 3 };

/** At the gate before the switch, where everybody is about to hold the new version. */
async function begin(over: Parameters<typeof policyOf>[0] = {}): Promise<void> {
  world = new World([policyOf({ canary, ...over })]);
  await world.begin();
  await world.orchestrator.rotate(secret);
}

async function events(): Promise<readonly string[]> {
  const { events: all } = await world.orchestrator.history(secret, 100);
  return all.map(({ event }) => event).toReversed();
}

/** What each of so many messages is answered, in the order in which they are sent; the one of a random key is the last. */
function answers(...answered: readonly CanaryAnswer[]): void {
  let sent = 0;
  world.canaries.answer(() => answered[sent++ % answered.length] ?? { status: 200, reason: null });
}

const taken: CanaryAnswer = { status: 200, reason: null };
const mismatch: CanaryAnswer = { status: 401, reason: 'signature-mismatch' };

describe('a rotation with canaries', () => {
  it('switches after receivers took them, which counts as no delivery, and is journalled (I1)', async () => {
    await begin();
    await cron(world, 10);
    expect(stepOf(await world.orchestrator.advance(secret))).toBe('monitor');
    const told = await events();
    expect(told.indexOf('canary-done')).toBeLessThan(told.indexOf('activate-started'));
    expect(told.indexOf('canary-started')).toBeGreaterThan(told.indexOf('generate-done'));
    expect(world.canaries.arrived()).toHaveLength(4);
    const { events: all } = await world.orchestrator.history(secret, 100);
    const ids = world.canaries.arrived().map(({ id }) => id);
    expect(all.find(({ event }) => event === 'canary-done')?.data['canaries']).toEqual([
      ...ids.slice(0, 3).map((id) => ({ id, signedBy: 'new-version', status: 200, reason: null })),
      { id: ids[3], signedBy: 'random-key', status: 401, reason: 'signature-mismatch' },
    ]);
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('takes no canary for a sign of the switch: an upstream that ignores the new value is noticed (I2)', async () => {
    await begin();
    world.upstream.fault('ignore');
    await cron(world, 60);
    expect(world.canaries.arrived()).toHaveLength(4);
    const seen = await look(world);
    expect([seen.step, seen.waits]).toEqual(['monitor', expect.arrayContaining(['new-seen'])]);
    const { evidence } = await world.orchestrator
      .look(secret)
      .then(({ seen: { usage } }) => (usage.state === 'read' ? usage : expect.unreachable()));
    const { live } = await world.orchestrator.look(secret);
    const counted = evidence.receivers.flatMap(({ uses }) => uses).filter(({ version }) => version === live?.run.to);
    expect(counted).toEqual([]);
  });

  it('can be aborted as before the switch while they go wrong', async () => {
    await begin();
    world.canaries.answer(() => mismatch);
    await cron(world, 20);
    expect((await look(world)).waits).toEqual(['canary']);
    await world.orchestrator.abort(secret, 'no');
    expect((await cronToEnd(world)).state).toBe('aborted');
    expect(world.upstream.calls()).toHaveLength(0);
    await expectSettled(world, 'old');
  });

  it('sends them in a first rotation too', async () => {
    world = new World([policyOf({ canary })]);
    for (let i = 0; i < 2; i++) world.receiver();
    await world.orchestrator.rotate(secret);
    expect((await cronToEnd(world)).state).toBe('completed');
    expect(world.canaries.arrived()).toHaveLength(4);
  });

  it('sends none under compromise, and none on the way back', async () => {
    await begin();
    await cron(world, 10);
    await world.orchestrator.abort(secret, 'no');
    expect((await cronToEnd(world)).state).toBe('aborted');
    expect(world.canaries.arrived()).toHaveLength(4);
    await world.orchestrator.rotate(secret, { compromised: true });
    expect((await cronToEnd(world)).state).toBe('completed');
    expect(world.canaries.arrived()).toHaveLength(4);
  });
});

describe('canaries that go wrong', () => {
  it.each<[what: string, answered: readonly CanaryAnswer[], says: string]>([
    [
      'one receiver refuses them',
      [taken, mismatch, taken, mismatch],
      'were answered by memory as they should be: canary 2 answered 401 (signature-mismatch). Behind that url',
    ],
    [
      'the url leads elsewhere',
      [{ status: 404, reason: null }],
      'as they should be: canary 1, 2, 3 answered 404. Behind that url',
    ],
    [
      'they are sent on',
      [{ status: 302, reason: null }],
      'canary 1, 2, 3 answered 302; the one that a random key signed answered 302, which is no refusal.',
    ],
    [
      'the random key is answered by no word on its signature',
      [taken, taken, taken, { status: 500, reason: null }],
      'as they should be: the one that a random key signed answered 500, which is no refusal.',
    ],
    [
      'the random key is told to come again, and not why',
      [taken, taken, taken, { status: 503, reason: null }],
      'the one that a random key signed answered 503, which is no refusal.',
    ],
    [
      'the random key is limited',
      [taken, taken, taken, { status: 429, reason: null }],
      'the one that a random key signed answered 429, which is no refusal.',
    ],
  ])('keep the run where it is, with what happened, where %s', async (_what, answered, says) => {
    await begin();
    answers(...answered);
    await cron(world, 20);
    const seen = await look(world);
    expect([seen.step, seen.waits]).toEqual(['deploy', ['canary']]);
    expect(seen.says).toContain(says);
    expect(seen.says).toMatch(/Tried \d times; it will be tried again/);
    expect(world.upstream.calls()).toHaveLength(0);
    world.canaries.answer(({ headers }) => (world.canaries.arrived().at(-1)?.headers === headers ? mismatch : taken));
    await world.orchestrator.unhold(secret, 'I looked', 'canary');
    await cron(world, 5);
    expect(world.upstream.calls()).toHaveLength(1);
  });

  it('are seen where nobody is there', async () => {
    await begin();
    world.canaries.fault(...Array.from({ length: 40 }, () => 'unreachable' as const));
    await cron(world, 15);
    const seen = await look(world);
    expect(seen.waits).toEqual(['canary']);
    expect(seen.says).toContain(
      'canary 1, 2, 3 had no answer (nobody is there); the one that a random key signed had no answer',
    );
    expect(seen.says).toContain('the network of this machine');
  });

  it('are given up at their time where one hangs, and tell so', async () => {
    await begin();
    await world.seconds(8);
    world.canaries.fault('hang');
    const advancing = world.orchestrator.advance(secret);
    await world.clock.advance(20_000);
    const advanced = await advancing;
    expect(waitsFor(advanced)).toEqual(['canary']);
    const message = advanced?.kind === 'waiting' ? advanced.wait.checks.at(-1)?.message : null;
    expect(message).toContain('canary 1 had no answer (when its time was over)');
  });

  it('are few: they are tried again ever more seldom, and at once where a person asks', async () => {
    await begin();
    world.canaries.answer(() => mismatch);
    await cron(world, 3_600, world.orchestrator, 5);
    const tries = world.canaries.arrived().length / 4;
    expect(tries).toBeGreaterThan(10);
    expect(tries).toBeLessThan(25);
    await world.orchestrator.rotate(secret);
    expect(world.canaries.arrived().length / 4).toBe(tries + 1);
  });

  it('need a person where anything is taken: nothing is verified there', async () => {
    await begin();
    world.canaries.answer(() => taken);
    await cron(world, 20);
    const seen = await look(world);
    expect(seen.waits).toEqual(['canary']);
    expect(seen.says).toContain('took a message that a random key had signed (answered 200): it verifies nothing.');
    expect(seen.says).toContain(`keyturn rotate ${secret}`);
    const { live } = await world.orchestrator.look(secret);
    expect(live?.next).toMatchObject({
      kind: 'wait',
      checks: expect.arrayContaining([expect.objectContaining({ name: 'canary', waitingFor: 'person' })]),
    });
    const sent = world.canaries.arrived().length;
    await cron(world, 30);
    expect(world.canaries.arrived()).toHaveLength(sent);
  });
});

it('are asked anew where the upstream could not be told for long, and then the switch follows at once', async () => {
  await begin();
  world.upstream.fault(...Array.from({ length: 8 }, () => 'unreachable' as const));
  await cron(world, 900);
  const told = (await events()).filter((event) => /^(canary|activate)-(done|failed)$/.test(event));
  expect(told.filter((event) => event === 'activate-failed')).toHaveLength(8);
  expect(told.at(-1)).toBe('activate-done');
  expect(told.at(-2)).toBe('canary-done');
  // The first pauses are shorter than an answer counts.
  expect(told.slice(0, 4)).toEqual(['canary-done', 'activate-failed', 'activate-failed', 'activate-failed']);
  const [run] = (await world.orchestrator.history(secret, 1)).runs;
  expect(run?.intents.filter(({ effect }) => effect === 'canary')).toHaveLength(1);
});

it('push nothing out of a run’s memory of the upstream, however often they fail', async () => {
  await begin();
  world.upstream.fault('refuse');
  await cron(world, 10);
  world.canaries.answer(() => mismatch);
  for (let tries = 0; tries < 30; tries++) {
    await world.clock.advance(61_000);
    await world.orchestrator.rotate(secret);
  }
  const { live } = await world.orchestrator.look(secret);
  const failed = (effect: string) => live?.run.intents.filter((each) => each.effect === effect);
  expect(failed('activate')).toHaveLength(1);
  expect(failed('canary')).toHaveLength(20);
});
