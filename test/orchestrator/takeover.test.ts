import { afterEach, describe, expect, it } from 'vitest';
import type { Parts } from '../../src/orchestrator/parts.ts';
import { idleLeaseMs } from '../../src/orchestrator/tenure.ts';
import type { ProcessIdentity } from '../../src/ports/journal.ts';
import type { Processes } from '../../src/ports/system.ts';
import { farProcess } from '../conformance/run-samples.ts';
import { waitsFor } from './story.ts';
import { secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

const first: ProcessIdentity = { ...farProcess, pid: 1 };
const second: ProcessIdentity = { ...farProcess, pid: 2 };

/** The machine as the second process sees it. */
function seeing(dead: readonly ProcessIdentity[]): Processes {
  return { self: () => second, isDead: ({ pid }) => dead.some((each) => each.pid === pid) };
}

function asSecond(processes: Processes): Partial<Parts> {
  return { holder: { name: 'someone@here, process 2', process: second }, processes };
}

class Death extends Error {}

/** The first process, which ends as soon as that event is durable; from then on nothing that it calls has an effect. */
function endingAfter(event: string): Partial<Parts> {
  let isDead = false;
  const mortal = <T extends object>(port: T): T =>
    new Proxy(port, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        return async (...args: readonly unknown[]): Promise<unknown> => {
          if (isDead) throw new Death();
          const result: unknown = await Reflect.apply(value, target, args);
          isDead = key === 'save' && JSON.stringify(args[1]).includes(event);
          if (isDead) throw new Death();
          return result;
        };
      },
    });
  return {
    holder: { name: 'someone@here, process 1', process: first },
    journal: mortal(world.parts.journal),
    leases: mortal(world.parts.leases),
  };
}

/** A run whose first process dies with the intent of the switch written and the call not made. */
async function dieBeforeTheCall(): Promise<{ readonly deadline: number }> {
  world = new World();
  await world.begin();
  await world.orchestrator.rotate(secret);
  await world.seconds(8);
  await expect(world.another(endingAfter('activate-started')).rotate(secret)).rejects.toThrow(Death);
  const [run] = await world.journal.runs({ live: true });
  const intent = run?.intents.at(-1);
  expect(intent).toMatchObject({ effect: 'activate', result: null });
  expect(await world.journal.read(secret)).toMatchObject({ held: true, process: first });
  return { deadline: intent?.deadline ?? 0 };
}

describe('a run whose process died', () => {
  it('is taken over at once, and its call is not made before the deadline of the dead one (I1 I5)', async () => {
    const { deadline } = await dieBeforeTheCall();
    const next = world.another(asSecond(seeing([first])));
    const since = world.clock.now();
    const waiting = await next.rotate(secret, { lockTimeoutMs: 0 });
    expect(world.clock.now()).toBe(since);
    expect(waitsFor(waiting)).toEqual(['effect-in-flight']);
    while (world.clock.now() < deadline - 1) {
      await world.clock.advance(Math.min(500, deadline - 1 - world.clock.now()));
      await next.rotate(secret);
      expect(world.upstream.calls()).toEqual([]);
    }
    await world.clock.advance(1);
    await next.rotate(secret);
    expect(world.upstream.calls()).toHaveLength(1);
    expect(world.upstream.signsWith()).toBe(await world.primaryValue());
    await world.seconds(40);
    expect((await next.rotate(secret)).run.state).toBe('completed');
    expect(world.refused).toBe(0);
  });

  it('is taken over by the scheduler, which waits for no lease', async () => {
    await dieBeforeTheCall();
    const [visit] = await world.another(asSecond(seeing([first]))).run();
    expect(visit).toMatchObject({ kind: 'advanced' });
    expect(world.upstream.calls()).toEqual([]);
  });

  it('is left to its lease where nobody can tell that it died', async () => {
    await dieBeforeTheCall();
    const next = world.another(asSecond(seeing([])));
    await expect(next.rotate(secret, { lockTimeoutMs: 0 })).rejects.toMatchObject({ code: 'lease-busy' });
    const [visit] = await next.run();
    expect(visit?.kind).toBe('busy');
    await world.clock.advance(2 * idleLeaseMs);
    expect((await next.rotate(secret)).kind).toBe('waiting');
  });
});
