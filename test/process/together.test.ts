import { describe, expect, it } from 'vitest';
import { deliver } from './support/sender.ts';
import { until } from './support/until.ts';
import { eventLines, World } from './support/world.ts';

describe.concurrent('two at once', { timeout: 240_000 }, () => {
  it('two `rotate --wait` of one secret follow one run, and both see it completed (I1 I3)', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished, { hook: { receivers: { expect: 2 } } });
    const { old, receiver } = await world.begin();
    const following = [1, 2].map((turn) =>
      world.start(['rotate', 'hook', '--wait', '--json', '--reason', `turn ${String(turn)}`]),
    );
    // The run cannot end before both follow it.
    await until('both follow', () => following.every((each) => each.stdout().includes('"event":"started"')));
    await world.startReceiver('express');
    const both = await Promise.all(following.map(({ finished }) => finished));
    const runs = both.map(({ code, stderr, stdout }) => {
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const lines = eventLines(stdout);
      expect(lines.at(-1)).toMatchObject({ event: 'ended', outcome: 'completed' });
      return [...new Set(lines.map(({ run }) => run))];
    });
    expect(runs[0]).toHaveLength(1);
    expect(runs[1]).toEqual(runs[0]);
    expect(world.runs()).toEqual([{ id: runs[0]?.[0], state: 'completed' }]);
    // Once to switch, once more before the old one is revoked.
    expect(world.hook().calls).toHaveLength(2);
    await until('the old value is refused', async () => (await deliver(receiver.url, old)) === 401);
    expect(world.refusals()).toEqual({});
    expect(world.leaks()).toEqual([]);
  });

  it('two `run` at once rotate each due secret once (I3)', async ({ onTestFinished }) => {
    const names = ['one', 'two', 'three', 'four'];
    const secretsDue = (rotateEvery: string, expected = 1) => ({
      secrets: Object.fromEntries(names.map((name) => [name, { rotateEvery, receivers: { expect: expected } }])),
    });
    const world = await World.open(onTestFinished);
    world.writePolicy(secretsDue('30d'));
    const olds = await Promise.all(names.map((name) => world.adopt(name)));
    const receiver = await world.startReceiver(names);
    for (const name of names) world.hook(name).send(20, `${receiver.url}/${name}`);
    await Promise.all(names.map((name) => world.moreDeliveries(3, name)));
    const idle = await world.run(['run', '--json']);
    expect(JSON.parse(idle.stdout)).toMatchObject({ secrets: names.map((secret) => ({ secret, did: 'idle' })) });

    // None can end before a second receiver is there, however long either of the two takes.
    world.writePolicy(secretsDue('1s', 2));
    await until(
      'all are due',
      async () => {
        const states = await Promise.all(names.map((name) => world.status(name)));
        return states.every(({ due }) => due.overdue);
      },
      { everyMs: 300 },
    );
    const both = await Promise.all([world.run(['run', '--json']), world.run(['run', '--json'])]);
    for (const { code, stderr } of both) expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const name of names) expect(world.runs(name), name).toHaveLength(1);

    // What is due again is another question.
    world.writePolicy(secretsDue('30d'));
    await world.startReceiver(names);
    await until('all are completed', async () => {
      for (const { code } of await Promise.all([world.run(['run']), world.run(['run'])])) expect(code).toBe(0);
      return names.every((name) => world.runs(name).every(({ state }) => state === 'completed'));
    });
    for (const [index, name] of names.entries()) {
      expect(world.runs(name), name).toHaveLength(1);
      expect(world.hook(name).calls, name).toHaveLength(2);
      expect(world.keyring(name).versions.map(({ stage }) => stage)).toEqual(['revoked', 'primary']);
      const old = olds[index] ?? '';
      await until('the old value is refused', async () => (await deliver(`${receiver.url}/${name}`, old)) === 401);
      expect(world.refusals(name)).toEqual({});
    }
    expect(world.leaks()).toEqual([]);
  });

  it('two journals over one store exclude each other, and take turns (I3)', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    const other = 'other-policy.json';
    world.writePolicy({ secrets: { hook: {} }, journal: '.keyturn-other/journal.db' }, other);
    const { old, receiver } = await world.begin();
    // Nothing comes, so it waits for the new value to be seen.
    world.hook().send(0);
    await world.followUntil(/waits for new-seen: /);
    const { run = '', journal = '' } = world.keyring().claim ?? {};
    expect(world.runs()).toMatchObject([{ id: run, state: 'live' }]);

    for (const args of [
      ['rotate', 'hook'],
      ['rotate', 'hook', '--wait'],
    ]) {
      const refused = await world.run(args, { policy: other });
      expect(refused.code).toBe(5);
      expect(refused.stderr).toContain(run);
      expect(refused.stderr).toContain(journal);
    }
    const document = await world.run(['rotate', 'hook', '--json'], { policy: other });
    expect(document.code).toBe(5);
    expect(JSON.parse(document.stdout)).toMatchObject({
      format: 'keyturn.error/1',
      exit: 5,
      error: { code: 'foreign-claim', message: expect.stringContaining(run) },
    });
    expect(world.runs('hook', '.keyturn-other/journal.db')).toEqual([]);
    expect(world.hook().calls).toHaveLength(1);

    world.hook().send(40);
    expect(await world.run(['rotate', 'hook', '--wait'])).toMatchObject({ code: 0 });
    expect(await world.run(['rotate', 'hook', '--wait'], { policy: other })).toMatchObject({ code: 0 });
    expect(world.runs('hook', '.keyturn-other/journal.db')).toMatchObject([{ state: 'completed' }]);
    expect(world.keyring().versions.map(({ stage }) => stage)).toEqual(['revoked', 'revoked', 'primary']);
    await until('the old value is refused', async () => (await deliver(receiver.url, old)) === 401);
    expect(world.refusals()).toEqual({});
    expect(world.leaks()).toEqual([]);
    expect(world.traces()).toEqual([]);
  });
});
