import { hostname } from 'node:os';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { Snapshot } from '../../src/cache/types.ts';
import { createFakeClock, createSeededRandom } from '../../src/memory/clock.ts';
import { KeyturnError } from '../../src/model/errors.ts';
import type { AcceptedVersion } from '../../src/model/keyring.ts';
import type { Log } from '../../src/ports/log.ts';
import type { UsageReport, UsageReportLog, VersionUse } from '../../src/ports/usage-log.ts';
import { createUsageReporter, type UsageReporterOptions } from '../../src/usage/reporter.ts';

function version(id: string, stage: AcceptedVersion['stage']): AcceptedVersion {
  return { id, stage, value: `value-of-${id}`, createdAt: '2026-01-01T00:00:00Z', revokedAt: null, compromised: false };
}

/** A cache of which the reporter sees only what tests set. */
class StillCache {
  readonly secrets: readonly string[];
  readonly #snapshots = new Map<string, Snapshot>();
  readonly #listeners = new Set<(secret: string) => void>();

  constructor(secrets: readonly string[]) {
    this.secrets = secrets;
  }

  /** Newest first; the first one is primary. */
  hold(secret: string, revision: number, ...ids: readonly string[]): void {
    const accepted = ids.map((id, index) => version(id, index === 0 ? 'primary' : 'deprecated'));
    const primary = accepted[0] ?? null;
    this.#snapshots.set(secret, { secret, revision, accepted, primary, settled: ids.length === 1, loadBeganAt: 0 });
    for (const listener of this.#listeners) listener(secret);
  }

  snapshot(secret: string): Snapshot | null {
    return this.#snapshots.get(secret) ?? null;
  }

  onChange(listener: (secret: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listeners(): number {
    return this.#listeners.size;
  }
}

type Answer = 'ok' | 'busy' | 'broken' | 'hangs' | 'throws';

/** A log that keeps every try and answers as told. */
class TestLog implements UsageReportLog {
  readonly tries: UsageReport[] = [];
  answer: Answer = 'ok';
  closed = 0;
  inFlight = 0;
  mostInFlight = 0;
  /** Ends the reports that hang. */
  readonly hanging: (() => void)[] = [];

  report(report: UsageReport): Promise<void> {
    this.tries.push(structuredClone(report));
    if (this.answer === 'throws') throw new TypeError('a bug');
    return this.#answerLater();
  }

  async #answerLater(): Promise<void> {
    this.inFlight += 1;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    try {
      if (this.answer === 'busy') throw new KeyturnError('usage-busy', 'Another process writes.');
      if (this.answer === 'broken') throw new KeyturnError('usage-unreachable', 'It is away.');
      if (this.answer === 'hangs') await new Promise<void>((resolve) => this.hanging.push(resolve));
    } finally {
      this.inFlight -= 1;
    }
  }

  async close(): Promise<void> {
    this.closed += 1;
  }

  get last(): UsageReport {
    return this.tries.at(-1)!;
  }

  use(id: string, secret = 'hook'): VersionUse | undefined {
    return this.last.secrets.find((each) => each.secret === secret)?.uses.find((use) => use.version === id);
  }
}

async function open(more: Partial<UsageReporterOptions> = {}, secrets: readonly string[] = ['hook']) {
  const clock = createFakeClock();
  const log = new TestLog();
  const cache = new StillCache(secrets);
  cache.hold('hook', 3, 'v2', 'v1');
  const random = createSeededRandom(1);
  const reporter = createUsageReporter({ log, cache, clock, random, receiverId: 'web-1', ...more });
  await clock.advance(0);
  return { clock, log, cache, reporter };
}

describe('when it reports', () => {
  test('at once on creation, where there is a snapshot already', async () => {
    const { log } = await open();
    expect(log.tries).toHaveLength(1);
    expect(log.last).toEqual({
      id: 'web-1',
      instance: expect.stringMatching(/^w[0-9a-z]{10}$/),
      pool: 'default',
      uptimeMs: 0,
      signsOff: false,
      secrets: [{ secret: 'hook', revision: 3, holds: ['v2', 'v1'], primary: 'v2', uses: [] }],
    });
  });

  test('at once when the first snapshot comes and at every change, once for changes of one moment', async () => {
    const clock = createFakeClock();
    const log = new TestLog();
    const cache = new StillCache(['hook', 'other', 'late']);
    createUsageReporter({ log, cache, clock });
    await clock.advance(5_000);
    expect(log.tries).toHaveLength(0);
    cache.hold('hook', 1, 'v1');
    cache.hold('other', 7, 'w1');
    await clock.advance(0);
    expect(log.tries).toHaveLength(1);
    expect(log.last.secrets.map(({ secret, revision }) => [secret, revision])).toEqual([
      ['hook', 1],
      ['other', 7],
    ]);
    cache.hold('hook', 2, 'v2', 'v1');
    await clock.advance(0);
    expect(log.tries).toHaveLength(2);
    expect(log.last.secrets[0]).toMatchObject({ revision: 2, holds: ['v2', 'v1'], primary: 'v2' });
  });

  test('then every interval, with an uptime that counts from creation', async () => {
    const { clock, log } = await open({ reportIntervalMs: 10_000 });
    clock.setWall(5);
    await clock.advance(35_000);
    expect(log.tries.map((report) => report.uptimeMs)).toEqual([0, 10_000, 20_000, 30_000]);
    expect(new Set(log.tries.map((report) => report.instance)).size).toBe(1);
  });

  test('never two at a time; who asks during one shares the next', async () => {
    const { clock, log, reporter } = await open();
    log.answer = 'hangs';
    const first = reporter.flush();
    await clock.advance(0);
    const [second, third] = [reporter.flush(), reporter.flush()];
    await clock.advance(30_000);
    expect(log.tries).toHaveLength(2);
    log.answer = 'ok';
    log.hanging[0]!();
    expect(await Promise.all([first, second, third])).toEqual([true, true, true]);
    expect(log.tries).toHaveLength(3);
    expect(log.mostInFlight).toBe(1);
  });
});

describe('who it says it is', () => {
  test('by default host, process and a few letters of the instance, which differs in every life', async () => {
    const clock = createFakeClock();
    const log = new TestLog();
    const cache = new StillCache(['hook']);
    cache.hold('hook', 1, 'v1');
    createUsageReporter({ log, cache, clock });
    createUsageReporter({ log, cache, clock, pool: 'jobs' });
    await clock.advance(0);
    const [one, two] = log.tries;
    expect(one!.id).toBe(`${hostname()}-${String(process.pid)}-${one!.instance.slice(-4)}`);
    expect(one!.instance).not.toBe(two!.instance);
    expect([one!.pool, two!.pool]).toEqual(['default', 'jobs']);
  });

  test('refuses empty names and intervals that make no sense', async () => {
    const [log, cache] = [new TestLog(), new StillCache(['hook'])];
    for (const wrong of [{ receiverId: '' }, { pool: '' }, { reportIntervalMs: 0 }, { reportIntervalMs: Number.NaN }]) {
      expect(() => createUsageReporter({ log, cache, ...wrong })).toThrow(expect.objectContaining({ code: 'usage' }));
    }
  });
});

describe('what it counts', () => {
  test('every match and answer since the start, in every report', async () => {
    const { log, reporter } = await open();
    for (const exclusive of [true, false, true]) reporter.matched('hook', 'v2', exclusive);
    reporter.matched('hook', 'v1', true);
    reporter.answered('hook', 'v2', true);
    reporter.answered('hook', 'v2', false);
    expect(await reporter.flush()).toBe(true);
    expect(log.use('v2')).toMatchObject({ matched: 3, exclusive: 2, notOk: 1 });
    expect(log.use('v1')).toMatchObject({ matched: 1, exclusive: 1, notOk: 0 });
    reporter.answered('hook', 'v2', true);
    reporter.answered('hook', 'v1', false);
    await reporter.flush();
    expect(log.use('v2')).toMatchObject({ matched: 3, exclusive: 2, notOk: 1 });
    expect(log.use('v1')).toMatchObject({ matched: 1, exclusive: 1, notOk: 1 });
  });

  test('each of several secrets by itself, also where version ids are alike', async () => {
    const { log, cache, reporter } = await open({}, ['hook', 'other']);
    cache.hold('other', 1, 'v2');
    for (let index = 0; index < 4; index += 1) reporter.matched(index % 2 === 0 ? 'hook' : 'other', 'v2', true);
    reporter.matched('other', 'v2', false);
    await reporter.flush();
    expect([log.use('v2')?.matched, log.use('v2', 'other')?.matched]).toEqual([2, 3]);
  });

  test('also a version that was revoked between the match and the count, and a secret the cache does not have', async () => {
    const { log, reporter } = await open();
    reporter.matched('hook', 'v0', true);
    reporter.matched('stranger', 's1', true);
    reporter.answered('nobody', 'n1', true);
    await reporter.flush();
    expect(log.use('v0')).toMatchObject({ matched: 1, notOk: 0 });
    expect(log.last.secrets.find(({ secret }) => secret === 'stranger')).toMatchObject({
      revision: 0,
      holds: [],
      primary: null,
      uses: [{ version: 's1', matched: 1 }],
    });
  });

  test('a secret without a snapshot is left out, and what was counted of it comes with its first one', async () => {
    const { log, cache, reporter } = await open({}, ['hook', 'late']);
    reporter.matched('late', 'l1', true);
    await reporter.flush();
    expect(log.last.secrets.map(({ secret }) => secret)).toEqual(['hook']);
    cache.hold('late', 1, 'l1');
    await reporter.flush();
    expect(log.use('l1', 'late')).toMatchObject({ matched: 1, lastMatchedAgeMs: 0 });
  });

  test('an answer without its match is no use', async () => {
    const { log, reporter } = await open();
    reporter.answered('hook', 'v1', false);
    await reporter.flush();
    expect(log.use('v1')).toBeUndefined();
    reporter.matched('hook', 'v1', true);
    reporter.answered('hook', 'v1', false);
    await reporter.flush();
    expect(log.use('v1')).toMatchObject({ matched: 1, notOk: 1 });
  });

  test('revoked versions stay in the reports, the last eight of them', async () => {
    const { clock, log, cache, reporter } = await open();
    for (let index = 1; index <= 12; index += 1) {
      cache.hold('hook', 10 + index, `v${String(index)}`);
      reporter.matched('hook', `v${String(index)}`, true);
      await clock.advance(1_000);
      await reporter.flush();
    }
    await reporter.flush();
    const versions = log.last.secrets[0]!.uses.map((use) => use.version);
    expect(versions).toEqual(['v4', 'v5', 'v6', 'v7', 'v8', 'v9', 'v10', 'v11', 'v12']);
    reporter.matched('hook', 'v1', true);
    await reporter.flush();
    expect(log.use('v1')).toMatchObject({ matched: 1, lastMatchedAgeMs: 0 });
  });

  test('nothing is dropped that never arrived', async () => {
    const { clock, log, reporter } = await open();
    log.answer = 'broken';
    for (let index = 1; index <= 30; index += 1) {
      reporter.matched('hook', `old-${String(index)}`, true);
      await clock.advance(10_000);
    }
    log.answer = 'ok';
    await reporter.flush();
    expect(log.last.secrets[0]!.uses).toHaveLength(30);
  });
});

describe('when it happened', () => {
  test('a use since the last try is of "now"; from then on its age grows', async () => {
    const { clock, log, reporter } = await open();
    await clock.advance(3_000);
    reporter.matched('hook', 'v1', true);
    await clock.advance(4_000);
    await reporter.flush();
    expect(log.use('v1')).toMatchObject({ firstMatchedAgeMs: 0, lastMatchedAgeMs: 0, lastExclusiveAgeMs: 0 });
    await clock.advance(2_000);
    reporter.matched('hook', 'v1', false);
    await reporter.flush();
    expect(log.use('v1')).toMatchObject({ firstMatchedAgeMs: 2_000, lastMatchedAgeMs: 0, lastExclusiveAgeMs: 2_000 });
    clock.setWall(0);
    await clock.advance(1_000);
    expect(await reporter.flush()).toBe(true);
    expect(log.use('v1')).toMatchObject({
      firstMatchedAgeMs: 3_000,
      lastMatchedAgeMs: 1_000,
      lastExclusiveAgeMs: 3_000,
    });
  });

  test('never: null', async () => {
    const { log, reporter } = await open();
    reporter.matched('hook', 'v1', false);
    reporter.answered('hook', 'v1', true);
    await reporter.flush();
    expect(log.use('v1')).toMatchObject({ lastExclusiveAgeMs: null });
  });

  test('a try that failed has dated what it saw', async () => {
    const { clock, log, reporter } = await open();
    log.answer = 'broken';
    reporter.matched('hook', 'v1', true);
    expect(await reporter.flush()).toBe(false);
    log.answer = 'ok';
    await clock.advance(1_500);
    await reporter.flush();
    expect(log.use('v1')).toMatchObject({ matched: 1, firstMatchedAgeMs: 1_500, lastMatchedAgeMs: 1_500 });
  });
});

describe('a log that fails', () => {
  test('throws out of nothing, whatever it throws', async () => {
    const { clock, log, reporter } = await open();
    for (const answer of ['throws', 'broken'] as const) {
      log.answer = answer;
      const before = log.tries.length;
      expect(await reporter.flush()).toBe(false);
      expect(log.tries).toHaveLength(before + 1);
      await clock.advance(10_000);
      expect(log.tries).toHaveLength(before + 2);
    }
    log.answer = 'ok';
    expect(await reporter.flush()).toBe(true);
  });

  test('is told to the diagnostics once for each reason, and once when it works again', async () => {
    const lines: string[] = [];
    const diagnostics: Log = {
      info: (message, fields) => lines.push(`info ${message} ${String(fields?.['code'])}`),
      warn: (message, fields) => lines.push(`warn ${message} ${String(fields?.['code'])}`),
      error: () => undefined,
      debug: () => undefined,
    };
    const { log, reporter } = await open({ diagnostics });
    log.answer = 'throws';
    await reporter.flush();
    await reporter.flush();
    log.answer = 'ok';
    await reporter.flush();
    await reporter.flush();
    expect(lines).toEqual([
      'warn The reports of this receiver do not arrive, so rotations wait for it. unexpected',
      'info The reports of this receiver arrive again. undefined',
    ]);
  });

  test('for being busy is tried again within 50 to 200 ms, a few times, then at the next flush', async () => {
    const { clock, log, reporter } = await open();
    await clock.advance(500);
    log.answer = 'busy';
    log.tries.length = 0;
    const flushed = reporter.flush();
    await clock.advance(2_000);
    expect(await flushed).toBe(false);
    const at = log.tries.map((report) => report.uptimeMs);
    expect(at).toHaveLength(5);
    const pauses = at.slice(1).map((moment, index) => moment - at[index]!);
    expect(pauses.every((pause) => pause >= 50 && pause <= 200)).toBe(true);
    expect(new Set(pauses).size).toBeGreaterThan(1);
    log.answer = 'ok';
    await clock.advance(7_500);
    expect(log.tries).toHaveLength(6);
  });

  test('for being busy for a moment gets the report, with what was counted meanwhile', async () => {
    const { clock, log, reporter } = await open();
    log.answer = 'busy';
    const flushed = reporter.flush();
    await clock.advance(0);
    reporter.matched('hook', 'v1', true);
    log.answer = 'ok';
    await clock.advance(200);
    expect(await flushed).toBe(true);
    expect(log.use('v1')).toMatchObject({ matched: 1, lastMatchedAgeMs: 0 });
  });
});

describe('close', () => {
  test('reports a last time, signs off, closes the log and stops', async () => {
    const { clock, log, cache, reporter } = await open();
    await clock.advance(2_000);
    reporter.matched('hook', 'v1', true);
    await reporter.close();
    expect(log.last).toMatchObject({ signsOff: true, uptimeMs: 2_000 });
    expect(log.use('v1')?.matched).toBe(1);
    expect(log.tries.filter((report) => report.signsOff)).toHaveLength(1);
    await reporter.close();
    expect(log.closed).toBe(1);
    expect([clock.sleepers, cache.listeners]).toEqual([0, 0]);
    const tries = log.tries.length;
    reporter.matched('hook', 'v1', true);
    cache.hold('hook', 9, 'v9');
    expect(await reporter.flush()).toBe(false);
    await clock.advance(60_000);
    expect(log.tries).toHaveLength(tries);
  });

  test('waits for the report under way', async () => {
    const { clock, log, reporter } = await open();
    log.answer = 'hangs';
    void reporter.flush();
    await clock.advance(0);
    const closed = reporter.close();
    await clock.advance(100);
    expect(log.closed).toBe(0);
    log.answer = 'ok';
    log.hanging[0]!();
    await closed;
    expect(log.last.signsOff).toBe(true);
    expect([log.mostInFlight, log.closed]).toEqual([1, 1]);
  });

  test('tries a busy log again until it is free', async () => {
    const { clock, log, reporter } = await open();
    log.answer = 'busy';
    const closed = reporter.close();
    await clock.advance(1_000);
    expect(log.closed).toBe(0);
    log.answer = 'ok';
    await clock.advance(200);
    await closed;
    expect(log.last.signsOff).toBe(true);
    expect(log.closed).toBe(1);
    expect(clock.sleepers).toBe(0);
  });

  test('gives up on a log that stays busy, hangs, or throws, and closes it all the same', async () => {
    for (const answer of ['busy', 'hangs', 'broken', 'throws'] as const) {
      const { clock, log, reporter } = await open();
      log.answer = answer;
      const closed = reporter.close();
      await clock.advance(2_000);
      await closed;
      expect(log.closed).toBe(1);
      const tries = log.tries.length;
      await clock.advance(60_000);
      expect(log.tries).toHaveLength(tries);
      expect(clock.sleepers).toBe(0);
    }
  });

  test('does not throw for a log that cannot be closed', async () => {
    const { log, reporter } = await open();
    log.close = () => Promise.reject(new Error('already gone'));
    await reporter.close();
  });
});

test('no value is in a report or in the reporter', async () => {
  const { log, reporter } = await open();
  reporter.matched('hook', 'v1', true);
  await reporter.flush();
  const text =
    inspect([reporter, log.tries], { depth: null, showHidden: true }) + JSON.stringify([reporter, log.tries]);
  expect(text).not.toContain('value-of');
});
