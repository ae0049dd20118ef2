import { describe, expect, it } from 'vitest';
import { deliver } from './support/sender.ts';
import { until } from './support/until.ts';
import { eventLines, World } from './support/world.ts';

/** For questions that take a process to answer. */
const slowly = { everyMs: 300 };

describe.concurrent('receivers and people', { timeout: 240_000 }, () => {
  it('abort before the switch: the pending value is revoked, and receivers drop it (I2 I6)', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished, { hook: { receivers: { expect: 2 } } });
    const { receiver } = await world.begin();
    await until('one of two reports', async () => {
      const waiting = await world.run(['rotate', 'hook', '--wait=1s']);
      expect(waiting.code, '--wait=DURATION ran out').toBe(3);
      return waiting.stdout.includes('roster: Too few receivers report: 1 of 2');
    });
    const detailed = await world.run(['rotate', 'hook', '--detailed-exitcode']);
    expect(detailed.code).toBe(3);
    expect(await world.run(['rotate', 'hook'])).toMatchObject({ code: 0 });

    const pending = world.keyring().versions.find(({ stage }) => stage === 'pending');
    await until(
      'the receiver holds it',
      async () => (await world.status()).receivers[0]?.holds.includes(pending!.id),
      slowly,
    );
    expect(await deliver(receiver.url, pending?.value ?? '')).toBe(200);
    const status = await world.status();
    expect(status).toMatchObject({
      state: 'waiting',
      run: {
        id: world.runs()[0]?.id,
        step: 'deploy',
        reason: expect.any(String),
        waitingFor: { kind: 'receivers', until: null, command: null },
      },
    });
    expect(status.run?.checks.map(({ name }) => name)).toContain('roster');
    for (const each of status.run?.checks ?? []) {
      expect(Object.keys(each)).toEqual(
        expect.arrayContaining(['name', 'ok', 'since', 'reason', 'message', 'eta', 'evidence']),
      );
    }
    // That delivery by hand shows the pending value in use, and then nothing takes it away before it falls quiet.
    const aborted = await world.run(['abort', 'hook', '--reason', 'it is used']);
    expect(aborted).toMatchObject({ code: 0 });
    expect(aborted.stdout).toMatch(/on its way back/);
    expect(world.keyring().versions.map(({ stage }) => stage)).toContain('pending');
  });

  it('abort of a run whose value nobody used: exit 0, and a delivery with it is refused (I2 I6)', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished, { hook: { receivers: { expect: 2 } } });
    const { receiver, old } = await world.begin();
    expect(await world.run(['rotate', 'hook'])).toMatchObject({ code: 0 });
    const pending = world.keyring().versions.find(({ stage }) => stage === 'pending');
    await until(
      'the receiver holds it',
      async () => (await world.status()).receivers[0]?.holds.includes(pending!.id),
      slowly,
    );
    const aborted = await world.run(['abort', 'hook', '--reason', 'the second receiver is not ready']);
    expect(aborted).toMatchObject({ code: 0, stderr: '' });
    expect(aborted.stdout).toMatch(/Aborted before the switch/);
    expect(world.runs()).toMatchObject([{ state: 'aborted' }]);
    expect(world.keyring().versions.map(({ stage }) => stage)).toEqual(['primary', 'revoked']);
    expect(world.keyring().claim).toBeUndefined();
    await until(
      'the receiver drops it',
      async () => {
        const { receivers } = await world.status();
        return receivers[0]?.holds.length === 1 && receivers[0].holds[0] === world.keyring().versions[0]?.id;
      },
      slowly,
    );
    expect(await deliver(receiver.url, pending?.value ?? '')).toBe(401);
    expect(await deliver(receiver.url, old)).toBe(200);
    expect(world.hook().calls).toEqual([]);
    expect(world.refusals()).toEqual({});
    const again = await world.run(['abort', 'hook', '--reason', 'twice']);
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/hook is not being rotated/);
    expect(world.leaks()).toEqual([]);
    expect(world.traces()).toEqual([]);
  });

  it('abort after the switch goes back: both stay accepted until nobody uses the new one (I1 I2)', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    const { old } = await world.begin();
    world.hook().send(0);
    await world.followUntil(/waits for new-seen: /);
    expect(world.hook().calls).toHaveLength(1);
    const aborted = await world.run(['abort', 'hook', '--reason', 'changed my mind']);
    expect(aborted).toMatchObject({ code: 0 });
    expect(aborted.stdout).toMatch(/on its way back/);
    expect(world.hook().signingValue).toBe(old);
    expect(world.keyring().versions.map(({ stage }) => stage)).toEqual(['primary', 'deprecated']);
    world.hook().send(40);
    const ended = await world.run(['rotate', 'hook', '--wait', '--json']);
    expect(ended).toMatchObject({ code: 0 });
    expect(eventLines(ended.stdout).at(-1)).toMatchObject({ event: 'ended', outcome: 'aborted' });
    expect(world.keyring().versions.map(({ stage }) => stage)).toEqual(['primary', 'revoked']);
    expect(world.refusals()).toEqual({});
  });

  it('confirm before the switch is refused: there is nothing to confirm (I2)', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    expect(await world.run(['rotate', 'hook'])).toMatchObject({ code: 0 });
    const refused = await world.run(['confirm', 'hook']);
    expect(refused.code).toBe(5);
    expect(refused.stderr).toMatch(/the upstream was not told yet/);
  });

  it('a receiver that was killed blocks the update until a person forgets it (I1 I8)', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished, { hook: { receivers: { missingAfter: '15s' } } });
    await world.begin();
    const [first] = (await world.status()).receivers;
    const doomed = await world.startReceiver('node');
    const second = await until(
      'both report',
      async () => {
        const { receivers } = await world.status();
        return receivers.find(({ id }) => id !== first?.id);
      },
      slowly,
    );
    doomed.process.kill('SIGKILL');
    await doomed.process.finished;

    const blocked = await world.run(['rotate', 'hook', '--wait']);
    expect(blocked.code, 'it needs a person').toBe(4);
    expect(blocked.stdout).toContain(second.id);
    expect(blocked.stdout).toContain(`keyturn forget ${second.id} --reason`);
    expect(world.hook().calls).toEqual([]);
    expect(await world.status()).toMatchObject({ state: 'needs-person', run: { waitingFor: { kind: 'person' } } });
    const detailed = await world.run(['rotate', 'hook', '--detailed-exitcode']);
    expect(detailed.code).toBe(4);
    expect(await world.run(['run'])).toMatchObject({ code: 0 });

    const forgotten = await world.run(['forget', second.id, '--reason', 'the machine is gone']);
    expect(forgotten).toMatchObject({ code: 0, stderr: '' });
    const done = await world.run(['rotate', 'hook', '--wait']);
    expect(done.code).toBe(0);
    expect(world.runs()).toMatchObject([{ state: 'completed' }]);
    expect(world.refusals()).toEqual({});
    expect(world.traces()).toEqual([]);
  });

  it('a receiver that ends in order is off the roster at once (I1)', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    await world.begin();
    const leaving = await world.startReceiver('express');
    await until('both report', async () => (await world.status()).receivers.length === 2, slowly);
    leaving.process.kill('SIGTERM');
    expect(await leaving.process.finished).toMatchObject({ code: 0, stderr: '' });
    expect((await world.status()).receivers).toHaveLength(1);
    expect(await world.run(['rotate', 'hook', '--wait'])).toMatchObject({ code: 0 });
    expect(world.refusals()).toEqual({});
  });
});
