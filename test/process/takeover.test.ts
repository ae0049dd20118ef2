import { describe, expect, it } from 'vitest';
import { until } from './support/until.ts';
import { World } from './support/world.ts';

describe.concurrent('taking over a secret', { timeout: 240_000 }, () => {
  it('from a `rotate` that was killed waits for no lease', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    await world.adopt();
    const killed = await world.runStruckAt('generate-started:after', 'kill', ['rotate', 'hook']);
    expect(killed.signal).toBe('SIGKILL');
    const [run] = world.runs();
    expect(await world.run(['rotate', 'hook', '--lock-timeout', '0s'])).toMatchObject({ code: 0 });
    expect(world.runs()).toEqual([{ id: run?.id, state: 'live' }]);
    expect(world.events()).toContain('generate-done');
  });

  it('from one that is merely stopped is refused, until it is killed', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished, { hook: { timeout: '30s' } });
    await world.begin();
    const hook = world.hook();
    hook.reactOnce({ kind: 'hold', takes: 'never' });
    const first = world.start(['rotate', 'hook', '--wait']);
    await until('the upstream is called', () => hook.calls.length > 0);
    first.kill('SIGSTOP');
    const refused = await world.run(['rotate', 'hook', '--lock-timeout', '0s']);
    expect(refused.code).toBe(6);
    expect(refused.stderr).toContain(`process ${String(first.pid)}`);
    first.kill('SIGKILL');
    await first.finished;
    const next = await world.run(['rotate', 'hook', '--lock-timeout', '0s', '--json']);
    expect(next.code).toBe(0);
    // Its call may still be on its way: the lease was seized, the deadline was not.
    expect((await world.status()).run?.checks).toMatchObject([{ name: 'effect-in-flight', ok: false }]);
    expect(hook.calls).toHaveLength(1);
  });
});
