import { describe, expect, it } from 'vitest';
import { TrafficMeter } from '../../src/cli/traffic.ts';
import { emptyKeyring, nextKeyring, type Keyring } from '../../src/model/keyring.ts';
import type { ReceiverEvidence, UsageEvidence, VersionUseEvidence } from '../../src/ports/usage-log.ts';

const at = 1_767_225_600_000;
const createdAt = '2026-01-01T00:00:00.000Z';

const keyring: Keyring = nextKeyring(
  emptyKeyring('hook'),
  [
    { kind: 'add', version: 'v1', value: 'first-value-0123456789', createdAt },
    { kind: 'promote', version: 'v1' },
    { kind: 'add', version: 'v2', value: 'second-value-0123456789', createdAt },
  ],
  { id: 'c1', highestRevision: 0 },
);

function receiver(id: string, matched: Readonly<Record<string, number>>, lastExclusiveAt: number): ReceiverEvidence {
  const uses = Object.entries(matched).map(([version, count]): VersionUseEvidence => ({
    ...{ version, matched: count, exclusive: count, notOk: 0, recent: [] },
    ...{ firstMatchedAt: at, lastMatchedAt: lastExclusiveAt, lastExclusiveAt },
  }));
  return {
    ...{ id, instance: `${id}-1`, pool: 'web', coveredSince: at, lastReportAt: at, signedOffAt: null },
    ...{ forgottenAt: null, revision: 1, holds: ['v1', 'v2'], primary: 'v1', uses },
  };
}

const seen = (...receivers: readonly ReceiverEvidence[]) => {
  const evidence: UsageEvidence = { now: at, newestStampAt: at, receivers };
  return { keyring, evidence, to: 'v2' };
};

describe('the traffic of the versions', () => {
  it('is counted over all receivers, and names the one that used the old version last', () => {
    const meter = new TrafficMeter({ reportEveryMs: 1_000 });
    const both = seen(receiver('web-1', { v1: 10 }, at + 5), receiver('web-2', { v1: 30, v2: 2 }, at + 9));
    expect(meter.measure(both, 0)).toEqual([
      { id: 'v2', stage: 'pending', isNew: true, matched: 2, share: null, lastUsedAt: at + 9, lastUsedBy: null },
      { id: 'v1', stage: 'primary', isNew: false, matched: 40, share: null, lastUsedAt: at + 9, lastUsedBy: 'web-2' },
    ]);
  });

  it('is shared by what matched of late, not by what ever did', () => {
    const meter = new TrafficMeter({ reportEveryMs: 1_000 });
    const shares = (v1: number, v2: number, atMs: number): readonly (number | null)[] =>
      meter.measure(seen(receiver('web-1', { v1, v2 }, at)), atMs).map(({ share }) => share);
    expect(shares(1_000, 0, 0)).toEqual([null, null]);
    expect(shares(1_030, 10, 1_000)).toEqual([0.25, 0.75]);
    expect(shares(1_030, 100, 4_000)).toEqual([100 / 130, 30 / 130]);
    expect(shares(1_030, 200, 8_000), 'what came before is over').toEqual([1, 0]);
    expect(shares(1_030, 200, 20_000), 'nothing came since').toEqual([null, null]);
    expect(shares(1_031, 200, 40_000)).toEqual([0, 1]);
  });

  it('of late is longer where reports come seldom', () => {
    const meter = new TrafficMeter({ reportEveryMs: 10_000 });
    const shares = (v1: number, atMs: number): number | null | undefined =>
      meter.measure(seen(receiver('web-1', { v1 }, at)), atMs)[1]?.share;
    expect(shares(5, 0)).toBeNull();
    expect(shares(9, 1_000)).toBe(1);
    expect(shares(9, 18_000)).toBe(1);
    expect(shares(9, 40_000)).toBeNull();
  });
});
