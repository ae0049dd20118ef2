import { readFileSync } from 'node:fs';
import { openOrchestrator } from 'keyturn/orchestrator';
import { describe, expect, it } from 'vitest';
import { leaks } from './support/leaks.ts';
import { deliver } from './support/sender.ts';
import { hookToken } from './support/upstream.ts';
import { until } from './support/until.ts';
import { eventLines, type StatusDocument, World } from './support/world.ts';

const allSteps = ['generate', 'deploy', 'update', 'monitor', 'revoke'];
const rfc3339 = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

function stepsOf(stdout: string): readonly string[] {
  return eventLines(stdout)
    .filter(({ event }) => event === 'step-entered')
    .map(({ step }) => step);
}

describe('a whole rotation with real processes', { timeout: 240_000 }, () => {
  it('refuses no message, ends with one primary, and shows no value anywhere (I1 I2 I6 I7)', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished, { hook: { receivers: { expect: 3 }, rotateEvery: '30d' } });
    const receivers = await Promise.all(
      (['express', 'fetch', 'node'] as const).map((kind) => world.startReceiver(kind)),
    );
    const targets = receivers.map(({ url }) => url);

    // The first rotation: nothing to retire, and nothing sent before it.
    const first = await world.run(['rotate', 'hook', '--wait', '--json']);
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(eventLines(first.stdout).at(-1)).toMatchObject({ event: 'ended', outcome: 'completed' });
    expect(stepsOf(first.stdout)).toEqual(allSteps);
    const [old = ''] = world.hook().values;

    world.hook().send(90, ...targets);
    await world.moreDeliveries(60);
    const second = await world.run(['rotate', 'hook', '--wait', '--json', '--reason', 'a test of the whole']);
    await world.moreDeliveries(60);
    expect(second).toMatchObject({ code: 0, stderr: '' });
    const lines = eventLines(second.stdout);
    expect(stepsOf(second.stdout)).toEqual(allSteps);
    expect(lines.at(-1)).toMatchObject({ event: 'ended', outcome: 'completed', step: 'revoke', checks: [] });
    for (const line of lines) expect(line).toMatchObject({ at: rfc3339, secret: 'hook', run: lines[0]!.run });

    const { versions, claim } = world.keyring();
    expect(versions.map(({ stage }) => stage)).toEqual(['revoked', 'primary']);
    expect(versions[0]).not.toHaveProperty('value');
    expect(claim).toBeUndefined();
    const [, now = ''] = world.hook().values;
    expect(versions[1]?.value).toBe(now);
    expect(now).not.toBe(old);

    // Every receiver forgets the old one by its tombstone.
    for (const target of targets) {
      await until('the old value is refused', async () => (await deliver(target, old)) === 401);
      expect(await deliver(target, now)).toBe(200);
    }
    expect(world.refusals()).toEqual({});

    const human = await world.run(['status']);
    expect(human.stdout).toContain(versions[1]?.id);
    expect(human.stdout).toContain('idle');
    await world.run(['plan', '--now', '--verbose']);
    expect(world.leaks()).toEqual([]);
    expect(world.traces()).toEqual([]);
    const whole = new Map([['the keyring', readFileSync(`${world.folder}/.keyturn/secrets/hook.json`)]]);
    expect(leaks([old], whole), 'a revoked value is erased').toEqual([]);
    const processes = receivers.flatMap(({ process: { pid } }) => [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`]);
    expect(leaks([old, now, hookToken], new Map(processes.map((path) => [path, readFileSync(path)])))).toEqual([]);

    const status = await world.run(['status', '--json']);
    expect(JSON.parse(status.stdout)).toMatchObject({
      format: 'keyturn.status/1',
      secrets: [
        {
          secret: 'hook',
          state: 'idle',
          versions: [
            { id: versions[1]?.id, stage: 'primary', createdAt: rfc3339, lastUsedAt: rfc3339, holders: 3 },
            { id: versions[0]?.id, stage: 'revoked', createdAt: rfc3339, lastUsedAt: rfc3339, holders: 0 },
          ],
          run: null,
          due: { at: rfc3339, overdue: false },
        },
      ],
      scheduler: { lastRunAt: null },
    });
    const [secret] = (JSON.parse(status.stdout) as StatusDocument).secrets;
    expect(secret?.receivers).toHaveLength(3);
    for (const receiver of secret?.receivers ?? []) {
      expect(receiver).toMatchObject({ pool: 'default', lastSeenAt: rfc3339, holds: [versions[1]?.id] });
    }
  });

  it('moves by `keyturn run` alone, which cron starts again and again (I1 I5 I6)', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    const { old, receiver } = await world.begin();
    const started = await world.run(['rotate', 'hook']);
    expect(started).toMatchObject({ code: 0 });
    // Which step, goes by how busy the machine is.
    expect(started.stdout).toMatch(/hook: under way as it should be, waiting in step [234]\/5/);
    expect(started.stdout, 'the crontab line').toContain('keyturn.ts run --quiet --policy');
    await until(
      'run after run completes it',
      async () => {
        const visit = await world.run(['run', '--json']);
        expect(visit).toMatchObject({ code: 0, stderr: '' });
        expect(JSON.parse(visit.stdout)).toMatchObject({ format: 'keyturn.run/1', secrets: [{ secret: 'hook' }] });
        return world.runs().every(({ state }) => state === 'completed');
      },
      { everyMs: 200 },
    );
    const idle = await world.run(['run']);
    expect(idle).toMatchObject({ code: 0, stdout: '1 secret looked at, 1 with nothing to do.\n', stderr: '' });
    expect(world.keyring().versions.map(({ stage }) => stage)).toEqual(['revoked', 'primary']);
    await until('the old value is refused', async () => (await deliver(receiver.url, old)) === 401);
    expect(world.refusals()).toEqual({});
    expect(world.runs()).toHaveLength(1);
    const status = JSON.parse((await world.run(['status', '--json'])).stdout) as StatusDocument;
    expect(status.scheduler.lastRunAt).toEqual(rfc3339);
    expect(world.leaks()).toEqual([]);
  });

  it('is one JSON document where it is not followed, for one secret as for several', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished, { hook: {}, other: {} });
    for (const names of [['hook'], ['hook', 'other']]) {
      const started = await world.run(['rotate', ...names, '--json']);
      expect(started).toMatchObject({ code: 0, stderr: '' });
      expect(JSON.parse(started.stdout)).toMatchObject({
        format: 'keyturn.rotate/1',
        secrets: names.map((secret) => ({
          secret,
          outcome: 'waiting',
          run: { id: world.runs(secret)[0]?.id, startedAt: rfc3339, reason: expect.any(String) },
          waitingFor: { kind: 'receivers', until: null, command: null },
        })),
      });
    }
  });

  it('works as a library in a process of the user (I1 I6)', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished, { hook: { tokenVariable: 'LIBRARY_HOOK_TOKEN' } });
    const { old, receiver } = await world.begin();
    process.env['LIBRARY_HOOK_TOKEN'] = hookToken;
    onTestFinished(() => {
      delete process.env['LIBRARY_HOOK_TOKEN'];
    });
    const { orchestrator, close } = await openOrchestrator({ policy: `${world.folder}/rotation-policy.json` });
    onTestFinished(close);
    const started = await orchestrator.rotate('hook');
    expect(started).toMatchObject({ kind: 'waiting', joined: false });
    expect(await orchestrator.rotate('hook')).toMatchObject({ joined: true, run: { id: started.run.id } });
    const ended = await until('the run has ended', async () => {
      const advanced = await orchestrator.advance('hook');
      return advanced?.kind === 'ended' ? advanced : null;
    });
    expect(ended).toMatchObject({ run: { id: started.run.id, state: 'completed' }, problem: null });
    await until('the old value is refused', async () => (await deliver(receiver.url, old)) === 401);
    expect(world.refusals()).toEqual({});
    expect(world.leaks()).toEqual([]);
  });
});
