import { expect } from 'vitest';
import { failing } from '../../src/model/check.ts';
import { acceptedVersions, isSettled } from '../../src/model/keyring.ts';
import type { Capabilities, SecretPolicy } from '../../src/model/policy.ts';
import type { Run } from '../../src/model/run.ts';
import type { Advance } from '../../src/orchestrator/advance.ts';
import type { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import { oldValue, policyOf, pool, secret, type World } from './world.ts';

/** How tests of whole rotations tell what happens, and what is seen of it. */

export function waitsFor(advance: Advance | null): readonly string[] {
  return advance?.kind === 'waiting' ? failing(advance.wait.checks).map((check) => check.name) : [];
}

export function stepOf(advance: Advance | null): string {
  return advance?.kind === 'waiting' ? advance.wait.step : (advance?.run.state ?? 'none');
}

/** What somebody sees who only looks: where the run is, what it waits for, and what people are told to do about it. */
export interface Seen {
  readonly step: string;
  readonly waits: readonly string[];
  readonly says: string;
}

export const minute = 60_000;
export const hour = 60 * minute;

/** Gates and receivers as the defaults of a policy have them: an hour of grace, half an hour of quiet, ten minutes until one vanishes. */
export function ordinary(over: Partial<SecretPolicy> = {}, able: Partial<Capabilities> = {}): SecretPolicy {
  const policy = policyOf({}, { redelivers: true, ...able });
  return {
    ...policy,
    receivers: {
      pools: { default: pool(2) },
      ...{ reportEveryMs: 10_000, missingAfterMs: 10 * minute, refreshEveryMs: minute },
    },
    gates: { ...policy.gates, graceMs: hour, quietMs: 30 * minute },
    ...over,
  };
}

/** What comes while hours pass: a message every so often (0: none), and a visit of the scheduler. */
export interface Pace {
  readonly messageEveryMs?: number;
  readonly visitEveryMs?: number;
  readonly process?: Orchestrator;
}

/** So many minutes, from visit to visit. */
export async function minutes(world: World, count: number, pace: Pace = {}): Promise<void> {
  const { messageEveryMs = minute, visitEveryMs = minute, process = world.orchestrator } = pace;
  for (let passed = 0; passed < count * minute; passed += visitEveryMs) {
    await world.clock.advance(visitEveryMs);
    const isTime = messageEveryMs > 0 && world.clock.monotonic() % messageEveryMs < visitEveryMs;
    await world.deliver(isTime ? undefined : null);
    await process.run();
  }
}

/** From visit to visit until the run has ended, for so many minutes at most. Returns how many it took. */
export async function minutesToEnd(world: World, limit: number, pace: Pace = {}): Promise<number> {
  const { visitEveryMs = minute, process = world.orchestrator } = pace;
  const step = visitEveryMs / minute;
  for (let passed = step; passed <= limit; passed += step) {
    await minutes(world, step, pace);
    if ((await process.look(secret)).live === null) return passed;
  }
  throw new Error(`after ${String(limit)} minutes: ${JSON.stringify(await look(world, process))}`);
}

/** `idle` where no run is live. */
export async function look(world: World, process: Orchestrator = world.orchestrator): Promise<Seen> {
  const { live } = await process.look(secret);
  if (live === null) return { step: 'idle', waits: [], says: '' };
  const { next } = live;
  if (next.kind !== 'wait') return { step: next.step, waits: [], says: next.kind };
  const closed = failing(next.checks);
  const says = [
    ...closed.flatMap(({ message, command }) => [message, command ?? '']),
    next.problem?.message ?? '',
    next.problem?.hint ?? '',
  ];
  return { step: next.step, waits: closed.map(({ name }) => name), says: says.join(' ') };
}

/** Second by second, with a message each, and a visit of the scheduler every few. */
export async function cron(world: World, seconds: number, process = world.orchestrator, every = 5): Promise<void> {
  for (let second = 1; second <= seconds; second++) {
    await world.seconds(1);
    if (second % every === 0) await process.run();
  }
}

/** As `cron`, until the run has ended, for so many seconds at most. Returns the run as it ended. */
export async function cronToEnd(world: World, seconds = 300, process = world.orchestrator): Promise<Run> {
  for (let second = 1; second <= seconds; second += 5) {
    const { runs } = await process.history(secret, 1);
    if (runs[0] !== undefined && runs[0].state !== 'live') return runs[0];
    await cron(world, 5, process);
  }
  throw new Error(`after ${String(seconds)} s: ${JSON.stringify(await look(world, process))}`);
}

/** Time without a message, and a visit of the scheduler every so often. */
export async function silence(world: World, ms: number, everyMs = 60_000, process = world.orchestrator): Promise<void> {
  for (let passed = 0; passed < ms; passed += everyMs) {
    await world.clock.advance(Math.min(everyMs, ms - passed));
    await process.run();
  }
}

/** The secret is settled with that value, everywhere, nothing was refused for good, and nobody called the upstream twice at a time. */
export async function expectSettled(world: World, which: 'old' | 'new'): Promise<void> {
  await world.seconds(2);
  await world.clock.advance(1.2 * Math.max(...world.receivers.map(({ cache }) => cache.refreshIntervalMs)));
  await world.seconds(2);
  const keyring = await world.keyring();
  expect(isSettled(keyring)).toBe(true);
  expect((await world.primaryValue()) === oldValue).toBe(which === 'old');
  expect(world.upstream.signsWith()).toBe(await world.primaryValue());
  for (const { cache } of world.receivers) {
    expect(cache.accepted(secret).map(({ id }) => id)).toEqual(acceptedVersions(keyring).map(({ id }) => id));
  }
  expect([world.refused, world.undelivered, world.overlaps]).toEqual([0, 0, 0]);
}

/** A rotation that waits at its first gate, and one that waits at its second, the switch just done. */
export async function toDeploy(world: World): Promise<void> {
  await world.begin();
  expect(stepOf(await world.orchestrator.rotate(secret))).toBe('deploy');
}

export async function toMonitor(world: World): Promise<void> {
  await toDeploy(world);
  await world.seconds(8);
  expect(stepOf(await world.orchestrator.advance(secret))).toBe('monitor');
}
