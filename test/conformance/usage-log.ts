import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FakeClock } from '../../src/memory/clock.ts';
import { recentExclusive } from '../../src/decide/evidence.ts';
import type { ReceiverEvidence, UsageLog, UsageReport } from '../../src/ports/usage-log.ts';
import { reportOf, secretOf, useOf } from './report-samples.ts';

/** A fresh, empty usage log and the clock that it goes by. */
export interface UsageLogPlace {
  readonly clock: FakeClock;
  /** Another opening of the same log, as another process would make one. */
  log(): Promise<UsageLog>;
  close?(): Promise<void>;
}

export interface UsageLogSuite {
  open(): Promise<UsageLogPlace>;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

function minuteOf(moment: number): number {
  return Math.floor(moment / minuteMs);
}

/** What every usage log must do. `log` is a receiver's, `reader` the orchestrator's. */
export function describeUsageLog(name: string, suite: UsageLogSuite): void {
  describe(`usage log: ${name}`, () => {
    let place: UsageLogPlace;
    let log: UsageLog;
    let reader: UsageLog;

    beforeEach(async () => {
      place = await suite.open();
      log = await place.log();
      reader = await place.log();
    });

    afterEach(async () => {
      await log.close();
      await reader.close();
      await place.close?.();
    });

    describeReports(() => ({ place, log, reader }));
    describeRecentMinutes(() => ({ place, log, reader }));
    describeClock(() => ({ place, log, reader }));
    describeDeparture(() => ({ place, log, reader }));
    describePruning(() => ({ place, log, reader }));
    describeProbe(() => ({ place, log, reader }));
  });
}

type Opened = () => { readonly place: UsageLogPlace; readonly log: UsageLog; readonly reader: UsageLog };

/** The evidence of the one receiver that there is. */
async function only(reader: UsageLog, secret = 'hook'): Promise<ReceiverEvidence> {
  const { receivers } = await reader.evidence(secret);
  expect(receivers).toHaveLength(1);
  return receivers[0]!;
}

function describeReports(opened: Opened): void {
  it('is empty at first', async () => {
    const { place, reader } = opened();
    expect(reader.label).not.toBe('');
    expect(await reader.evidence('hook')).toEqual({ now: place.clock.now(), newestStampAt: null, receivers: [] });
  });

  it('turns ages into moments of its own clock', async () => {
    const { place, log, reader } = opened();
    const now = place.clock.now();
    await log.report(reportOf('w-1', { uptimeMs: 5_000.9, secrets: [secretOf('hook', [useOf('v1', 3, 100.7)])] }));
    await place.clock.advance(250);
    expect(await reader.evidence('hook')).toEqual({
      now: now + 250,
      newestStampAt: now,
      receivers: [
        {
          id: 'id of w-1',
          instance: 'w-1',
          pool: 'web',
          coveredSince: now - 5_000,
          lastReportAt: now,
          signedOffAt: null,
          forgottenAt: null,
          revision: 7,
          holds: ['v2', 'v1'],
          primary: 'v1',
          uses: [
            {
              version: 'v1',
              matched: 3,
              exclusive: 3,
              notOk: 1,
              firstMatchedAt: now - 1_100,
              lastMatchedAt: now - 100,
              lastExclusiveAt: now - 100,
              recent: [{ minute: minuteOf(now) - 1, exclusive: 3 }],
            },
          ],
        },
      ],
    });
  });

  it('never dates a use after its arrival, whatever age is claimed', async () => {
    const { place, log, reader } = opened();
    await log.report(reportOf('w-1', { secrets: [secretOf('hook', [useOf('v1', 1, -50)])] }));
    expect((await only(reader)).uses[0]?.lastMatchedAt).toBe(place.clock.now());
  });

  it('replaces what an instance held, and keeps the uses of versions it no longer lists', async () => {
    const { log, reader } = opened();
    await log.report(reportOf('w-1', { secrets: [secretOf('hook', [useOf('v1', 3, 0), useOf('v2', 1, 0)])] }));
    const later = { ...secretOf('hook', [useOf('v2', 2, 0)]), revision: 8, holds: ['v2'], primary: 'v2' };
    await log.report(reportOf('w-1', { secrets: [later] }));
    const receiver = await only(reader);
    expect(receiver).toMatchObject({ revision: 8, holds: ['v2'], primary: 'v2' });
    expect(receiver.uses.map((use) => [use.version, use.matched])).toEqual([
      ['v1', 3],
      ['v2', 2],
    ]);
  });

  it('counts a report once that comes twice, and makes nothing look older', async () => {
    const { place, log, reader } = opened();
    const report = reportOf('w-1', { uptimeMs: 1_000, secrets: [secretOf('hook', [useOf('v1', 3, 400)])] });
    await log.report(report);
    const once = await only(reader);
    await place.clock.advance(50);
    await log.report(report);
    const twice = await only(reader);
    expect(twice.uses[0]).toMatchObject({ matched: 3, exclusive: 3, notOk: 1 });
    expect(twice.uses[0]?.lastExclusiveAt).toBe(once.uses[0]!.lastExclusiveAt! + 50);
    expect(twice.uses[0]?.firstMatchedAt).toBe(once.uses[0]?.firstMatchedAt);
    expect(twice.coveredSince).toBe(once.coveredSince + 50);
  });

  it('misses nothing when a report is lost', async () => {
    const { place, log, reader } = opened();
    const now = place.clock.now();
    await log.report(reportOf('w-1', { uptimeMs: 1_000, secrets: [secretOf('hook', [useOf('v1', 3, 0)])] }));
    await place.clock.advance(20_000);
    await log.report(reportOf('w-1', { uptimeMs: 21_000, secrets: [secretOf('hook', [useOf('v1', 9, 12_000)])] }));
    const receiver = await only(reader);
    expect(receiver.coveredSince).toBe(now - 1_000);
    expect(receiver.uses[0]).toMatchObject({ matched: 9, lastMatchedAt: now + 8_000 });
  });

  it('never lets a count or a use go away', async () => {
    const { place, log, reader } = opened();
    await log.report(reportOf('w-1', { secrets: [secretOf('hook', [useOf('v1', 3, 10)])] }));
    const before = (await only(reader)).uses;
    const emptied = { ...useOf('v1', 0, 0), firstMatchedAgeMs: null, lastMatchedAgeMs: null };
    await place.clock.advance(5);
    await log.report(
      reportOf('w-1', {
        secrets: [secretOf('hook', [{ ...emptied, lastExclusiveAgeMs: null }])],
      }),
    );
    expect((await only(reader)).uses).toEqual(before);
  });

  it('keeps an instance that restarted under the same id apart from the one before', async () => {
    const { place, log, reader } = opened();
    const report = (instance: string, matched: number): Promise<void> =>
      log.report(reportOf(instance, { id: 'web-1', secrets: [secretOf('hook', [useOf('v1', matched, 0)])] }));
    await report('w-1', 40);
    await place.clock.advance(1_000);
    await report('w-2', 1);
    const { receivers } = await reader.evidence('hook');
    expect(receivers.map((each) => [each.id, each.instance, each.uses[0]?.matched])).toEqual([
      ['web-1', 'w-1', 40],
      ['web-1', 'w-2', 1],
    ]);
    expect(receivers[0]?.lastReportAt).toBe(place.clock.now() - 1_000);
  });

  it('keeps secrets apart, and is silent about one that a receiver no longer lists', async () => {
    const { place, log, reader } = opened();
    const now = place.clock.now();
    await log.report(reportOf('w-1', { secrets: [secretOf('a'), secretOf('b', [useOf('v1', 2, 0)])] }));
    await place.clock.advance(1_000);
    await log.report(reportOf('w-1', { secrets: [secretOf('a')] }));
    await place.clock.advance(1_000);
    await log.report(reportOf('w-1', { secrets: [secretOf('a')] }));
    expect((await only(reader, 'a')).lastReportAt).toBe(now + 2_000);
    expect(await only(reader, 'b')).toMatchObject({ lastReportAt: now, uses: [{ matched: 2 }] });
    await log.report(reportOf('w-1', { secrets: [secretOf('a'), secretOf('b')] }));
    expect(await only(reader, 'b')).toMatchObject({ lastReportAt: now + 2_000, uses: [{ matched: 2 }] });
    expect((await reader.evidence('c')).receivers).toEqual([]);
  });

  it('takes a report of many secrets, and addresses as people write them', async () => {
    const { log, reader } = opened();
    const secrets = Array.from({ length: 300 }, (_, index) => secretOf(`production/tenant-${String(index)}/hook`));
    await log.report(reportOf('w-1', { secrets }));
    await log.report(reportOf("w-2'; DROP TABLE receivers; --", { secrets }));
    expect((await reader.evidence('production/tenant-299/hook')).receivers).toHaveLength(2);
  });

  it('keeps the versions used last where an instance has used very many', async () => {
    const { log, reader } = opened();
    const uses = Array.from({ length: 400 }, (_, index) => useOf(`v${String(index)}`, 1, index));
    await log.report(reportOf('w-1', { secrets: [secretOf('hook', uses)] }));
    const kept = (await only(reader)).uses.map((use) => use.version);
    expect(kept.length).toBeLessThan(400);
    expect(kept).toContain('v0');
    expect(kept).not.toContain('v399');
  });
}

function describeRecentMinutes(opened: Opened): void {
  const report = (uptimeMs: number, exclusive: number, instance = 'w-1', version = 'v1'): UsageReport =>
    reportOf(instance, { uptimeMs, secrets: [secretOf('hook', [useOf(version, exclusive, 0)])] });
  const last = async (versions: readonly string[] = ['v1']): Promise<[string, number][]> => {
    const { place, reader } = opened();
    const { perMinute } = recentExclusive(await reader.evidence('hook'), versions, place.clock.now());
    return perMinute.map(({ minute, exclusive }) => [`-${String(minuteOf(place.clock.now()) - minute)}`, exclusive]);
  };

  it('knows what matched in each of the last minutes, from what the counts grew by', async () => {
    const { place, log } = opened();
    await place.clock.advance(30_000);
    await log.report(report(5_000, 4));
    await place.clock.advance(10_000);
    await log.report(report(15_000, 6));
    await place.clock.advance(minuteMs);
    await log.report(report(75_000, 6));
    await place.clock.advance(10_000);
    await log.report(report(85_000, 9));
    expect(await last()).toEqual([
      ['-1', 6],
      ['-0', 3],
    ]);
    await place.clock.advance(9 * minuteMs);
    expect(await last()).toEqual([['-9', 3]]);
    await place.clock.advance(minuteMs);
    expect(await last()).toEqual([]);
  });

  it('counts a report once that comes twice, and spreads what was lost over the minutes that it can be of', async () => {
    const { place, log } = opened();
    await log.report(report(1_000, 7));
    await log.report(report(1_000, 7));
    expect(await last()).toEqual([['-1', 7]]);
    await place.clock.advance(4 * minuteMs);
    await log.report(report(241_000, 15));
    expect(await last()).toEqual([
      ['-5', 7],
      ['-4', 2],
      ['-3', 2],
      ['-2', 2],
      ['-1', 2],
    ]);
  });

  it('takes no report for a flood that is the first one and has counted for hours', async () => {
    const { log } = opened();
    await log.report(report(10 * hourMs, 1_200));
    expect(await last()).toEqual(Array.from({ length: 9 }, (_, index) => [`-${String(9 - index)}`, 2]));
  });

  it('adds up receivers, the departed and those that started anew, for the versions asked for', async () => {
    const { place, log, reader } = opened();
    await place.clock.advance(30_000);
    await log.report({ ...report(5_000, 4), signsOff: true });
    await log.report(report(5_000, 2, 'w-2'));
    await log.report(report(5_000, 8, 'w-2', 'v2'));
    await place.clock.advance(minuteMs);
    await log.report(report(5_000, 1, 'w-3'));
    const expected = [
      ['-1', 6],
      ['-0', 1],
    ];
    expect(await last()).toEqual(expected);
    await reader.prune(place.clock.now());
    expect((await reader.evidence('hook')).receivers.map((each) => each.instance)).toContain('(departed)');
    expect(await last()).toEqual(expected);
    expect((await last(['v1', 'v2'])).at(0)).toEqual(['-1', 14]);
    expect(await last([])).toEqual([]);
  });

  it('leaves out what is ahead of a clock that was set back, and keeps ten minutes, however long it lasts', async () => {
    const { place, log, reader } = opened();
    const start = place.clock.now();
    await log.report(report(1_000, 5));
    place.clock.setWall(start - hourMs);
    expect(await last()).toEqual([]);
    await log.report(report(2_000, 6));
    expect(await last()).toEqual([['-0', 1]]);
    for (let minute = 1; minute <= 40; minute += 1) {
      await place.clock.advance(minuteMs);
      await log.report(report(2_000 + minute * minuteMs, 6 + minute));
    }
    const { recent } = (await only(reader)).uses[0]!;
    expect(recent.map(({ exclusive }) => exclusive)).toEqual(Array.from({ length: 10 }, () => 1));
    expect(recent.at(-1)?.minute).toBe(minuteOf(place.clock.now()));
  });
}

function describeClock(opened: Opened): void {
  const use = (ageMs: number): Parameters<UsageLog['report']>[0] =>
    reportOf('w-1', { uptimeMs: 60_000 + ageMs, secrets: [secretOf('hook', [useOf('v1', 1, ageMs)])] });

  it('makes nothing look older when its clock is set back', async () => {
    const { place, log, reader } = opened();
    await log.report(use(0));
    const before = await only(reader);
    const stamp = place.clock.now();
    place.clock.setWall(stamp - hourMs);
    await log.report(use(10));
    expect(await only(reader)).toEqual(before);
    const evidence = await reader.evidence('hook');
    expect(evidence).toMatchObject({ now: stamp - hourMs, newestStampAt: stamp });
  });

  it('agrees with its clock again once that has passed the newest stamp', async () => {
    const { place, log, reader } = opened();
    await log.report(use(0));
    const stamp = place.clock.now();
    place.clock.setWall(stamp - hourMs);
    await place.clock.advance(hourMs + 1_000);
    await log.report(use(hourMs + 1_000));
    const { now, newestStampAt, receivers } = await reader.evidence('hook');
    expect({ now, newestStampAt }).toEqual({ now: stamp + 1_000, newestStampAt: stamp + 1_000 });
    expect(receivers[0]?.uses[0]?.lastMatchedAt).toBe(stamp);
  });

  it('moves uses and coverage later when its clock is set forward, but never the first match', async () => {
    const { place, log, reader } = opened();
    await log.report(use(0));
    const before = await only(reader);
    place.clock.setWall(place.clock.now() + hourMs);
    await log.report(use(0));
    const after = await only(reader);
    expect(after.coveredSince).toBe(before.coveredSince + hourMs);
    expect(after.uses[0]).toMatchObject({
      firstMatchedAt: before.uses[0]?.firstMatchedAt,
      lastMatchedAt: before.uses[0]!.lastMatchedAt! + hourMs,
      lastExclusiveAt: before.uses[0]!.lastExclusiveAt! + hourMs,
    });
  });

  it('moves the start of coverage later when a receiver counts anew, never earlier', async () => {
    const { place, log, reader } = opened();
    const now = place.clock.now();
    await log.report(reportOf('w-1', { uptimeMs: 60_000 }));
    expect((await only(reader)).coveredSince).toBe(now - 60_000);
    await place.clock.advance(5_000);
    await log.report(reportOf('w-1', { uptimeMs: 1_000 }));
    expect((await only(reader)).coveredSince).toBe(now + 4_000);
    await log.report(reportOf('w-1', { uptimeMs: 90_000 }));
    expect((await only(reader)).coveredSince).toBe(now + 4_000);
  });

  it('knows the newest stamp of whatever receiver', async () => {
    const { place, log, reader } = opened();
    await log.report(reportOf('w-1', { secrets: [secretOf('a')] }));
    await place.clock.advance(1_000);
    await log.report(reportOf('w-2', { secrets: [secretOf('b')] }));
    expect((await reader.evidence('a')).newestStampAt).toBe(place.clock.now());
    await place.clock.advance(1_000);
    await reader.forget('w-1');
    expect((await reader.evidence('b')).newestStampAt).toBe(place.clock.now());
  });
}

function describeDeparture(opened: Opened): void {
  it('signs a receiver off, and back on if it reports again', async () => {
    const { place, log, reader } = opened();
    await log.report(reportOf('w-1'));
    await place.clock.advance(1_000);
    await log.report(reportOf('w-1', { signsOff: true }));
    expect((await only(reader)).signedOffAt).toBe(place.clock.now());
    await log.report(reportOf('w-1'));
    expect((await only(reader)).signedOffAt).toBeNull();
  });

  it('forgets by id or instance whoever has not signed off, and keeps their uses', async () => {
    const { place, log, reader } = opened();
    const report = (instance: string, signsOff: boolean): Promise<void> =>
      log.report(reportOf(instance, { id: 'web-1', signsOff, secrets: [secretOf('hook', [useOf('v1', 5, 0)])] }));
    await report('w-1', true);
    await report('w-2', false);
    await report('w-3', false);
    await place.clock.advance(1_000);
    const at = place.clock.now();
    expect(await reader.forget('nobody')).toBe(0);
    expect(await reader.forget('w-1')).toBe(0);
    expect(await reader.forget('w-2')).toBe(1);
    await place.clock.advance(1_000);
    expect(await reader.forget('web-1')).toBe(2);
    const { receivers } = await reader.evidence('hook');
    expect(receivers.map((each) => [each.instance, each.signedOffAt, each.forgottenAt])).toEqual([
      ['w-1', at - 1_000, null],
      ['w-2', null, at],
      ['w-3', null, at + 1_000],
    ]);
    expect(receivers.every((each) => each.uses[0]?.matched === 5)).toBe(true);
  });

  it('takes a report for better evidence than a word: a forgotten receiver that reports is back', async () => {
    const { log, reader } = opened();
    await log.report(reportOf('w-1'));
    await reader.forget('w-1');
    await log.report(reportOf('w-1'));
    expect((await only(reader)).forgottenAt).toBeNull();
  });
}

function describePruning(opened: Opened): void {
  it('folds the departed into one that keeps sums and latest uses', async () => {
    const { place, log, reader } = opened();
    const start = place.clock.now();
    const leave = async (instance: string, ageMs: number): Promise<void> => {
      const uses = [useOf('v1', 4, ageMs), useOf(`only of ${instance}`, 1, 0)];
      await log.report(reportOf(instance, { uptimeMs: 0, signsOff: true, secrets: [secretOf('hook', uses)] }));
      await place.clock.advance(1_000);
    };
    await leave('w-1', 0);
    await leave('w-2', 500);
    await leave('w-3', 0);
    await log.report(reportOf('w-4', { secrets: [secretOf('hook', [useOf('v1', 1, 0)])] }));
    await reader.prune(start + 2_000);
    const { receivers } = await reader.evidence('hook');
    expect(receivers.map((each) => each.instance)).toEqual(['w-3', 'w-4', '(departed)']);
    const fold = receivers[2]!;
    expect(fold).toMatchObject({
      signedOffAt: start + 1_000,
      forgottenAt: null,
      lastReportAt: start + 1_000,
      holds: [],
    });
    expect(fold.uses).toEqual([
      {
        version: 'v1',
        matched: 8,
        exclusive: 8,
        notOk: 2,
        firstMatchedAt: start - 1_000,
        lastMatchedAt: start + 500,
        lastExclusiveAt: start + 500,
        recent: [{ minute: minuteOf(start), exclusive: 8 }],
      },
      expect.objectContaining({ version: 'only of w-1', matched: 1, lastMatchedAt: start }),
      expect.objectContaining({ version: 'only of w-2', matched: 1, lastMatchedAt: start + 1_000 }),
    ]);

    await reader.prune(start + 10_000);
    const again = (await reader.evidence('hook')).receivers;
    expect(again.map((each) => each.instance)).toEqual(['w-4', '(departed)']);
    expect(again[1]?.uses[0]).toMatchObject({ matched: 12, lastMatchedAt: start + 2_000 });
  });

  it('lets a forgotten receiver stay one that may have used what it held', async () => {
    const { place, log, reader } = opened();
    const start = place.clock.now();
    await log.report(reportOf('w-1', { secrets: [{ ...secretOf('hook'), holds: ['v1'] }] }));
    await reader.forget('w-1');
    await place.clock.advance(1_000);
    await log.report(reportOf('w-2', { signsOff: true, secrets: [{ ...secretOf('hook'), holds: ['v2'] }] }));
    await place.clock.advance(1_000);
    await reader.prune(place.clock.now());
    expect(await only(reader)).toMatchObject({
      instance: '(departed)',
      signedOffAt: null,
      forgottenAt: start,
      lastReportAt: start + 1_000,
      holds: ['v1'],
    });
  });

  it('takes back a receiver that was forgotten, folded, and reports after all', async () => {
    const { place, log, reader } = opened();
    const report = reportOf('w-1', { secrets: [secretOf('a', [useOf('v1', 2, 0)]), secretOf('b')] });
    await log.report(report);
    await reader.forget('w-1');
    await place.clock.advance(1_000);
    await reader.prune(place.clock.now());
    expect((await reader.evidence('b')).receivers.map((each) => each.instance)).toEqual(['(departed)']);
    await log.report(report);
    for (const secret of ['a', 'b']) {
      const { receivers } = await reader.evidence(secret);
      expect(receivers.map((each) => [each.instance, each.forgottenAt !== null])).toEqual([
        ['w-1', false],
        ['(departed)', true],
      ]);
    }
    expect((await reader.evidence('a')).receivers[0]?.uses).toMatchObject([{ version: 'v1', matched: 2 }]);
  });

  it('keeps whoever is only silent, and the newest stamp', async () => {
    const { place, log, reader } = opened();
    await log.report(reportOf('w-1'));
    await place.clock.advance(1_000);
    await log.report(reportOf('w-2', { signsOff: true }));
    const stamp = place.clock.now();
    await place.clock.advance(30 * 24 * hourMs);
    await reader.prune(place.clock.now());
    const { receivers, newestStampAt } = await reader.evidence('hook');
    expect(receivers.map((each) => each.instance)).toEqual(['w-1', '(departed)']);
    expect(newestStampAt).toBe(stamp);
  });
}

function describeProbe(opened: Opened): void {
  it('finds nothing wrong where nothing is, and writes nothing to find out', async () => {
    const { log, reader } = opened();
    await log.report(reportOf('one'));
    const before = await reader.evidence('hook');
    for (const each of [log, reader]) {
      const findings = await each.probe();
      expect(findings.filter(({ state }) => state !== 'ok')).toEqual([]);
      expect(findings.map(({ name }) => name)).toEqual(expect.arrayContaining(['integrity', 'clock']));
    }
    expect(await reader.evidence('hook')).toEqual(before);
  });

  it('finds that the clock was set back', async () => {
    const { place, log, reader } = opened();
    await log.report(reportOf('one'));
    place.clock.setWall(place.clock.now() - hourMs);
    const clock = (await reader.probe()).find(({ name }) => name === 'clock');
    expect(clock).toMatchObject({ state: 'warning', message: expect.stringContaining('1h ahead') as string });
  });
}
