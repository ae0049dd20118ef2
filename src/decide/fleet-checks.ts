import type { Check } from '../model/check.ts';
import { formatDuration, formatElapsed } from '../model/duration.ts';
import type { ReceiverEvidence } from '../ports/usage-log.ts';
import { check } from './check.ts';
import { latest, requiredPools, withStanding, type Coverage } from './evidence.ts';
import type { GateView } from './gate-view.ts';
import { clockBoundMs } from './leg.ts';

/** Checks on the fleet: who reports, whom to miss, who holds the version. They are about pools of which reports are required. */

/** How far in the future a stamp may lie before the clock counts as set back. */
const stampBoundMs = 1_000;

/** Stands in the place of every check that needs reports. */
export function usageUnread(why: string): Check {
  return check('usage-log', false, 'receivers', {
    reason: 'usage-log-unread',
    message: `The usage log cannot be read, so nothing is known of the receivers: ${why}`,
  });
}

export function clock({ evidence, now }: GateView): Check {
  const offMs = Math.abs(now - evidence.now);
  const aheadMs = (evidence.newestStampAt ?? 0) - evidence.now;
  const facts = { evidence: { offMs, aheadMs: Math.max(0, aheadMs) } };
  if (aheadMs > stampBoundMs) {
    return check('clock', false, 'time', {
      ...facts,
      reason: 'clock-jumped',
      message: `The clock was set back: the newest report is stamped ${formatDuration(aheadMs)} ahead of it. Reports count again when the clock gets there.`,
      eta: now + aheadMs,
    });
  }
  if (offMs > clockBoundMs) {
    return check('clock', false, 'person', {
      ...facts,
      reason: 'clock-jumped',
      message: `This machine's clock and the usage log's differ by ${formatDuration(offMs)}. Set them by NTP; reports count when they agree.`,
    });
  }
  return check('clock', true, 'time', { ...facts, reason: 'clocks-agree', message: 'The clocks agree.' });
}

export function roster({ run, roster: entries }: GateView): Check {
  const live = withStanding(entries, 'live');
  const pools = requiredPools(run.policy.receivers).map(([pool, { expect }]) => {
    const names = live.filter((receiver) => receiver.pool === pool).map((receiver) => receiver.id);
    return { pool, expect, live: names.length, receivers: names };
  });
  const short = pools.find((pool) => pool.live < Math.max(1, pool.expect));
  const ok = short === undefined && live.length > 0;
  const say = (pool: (typeof pools)[number]): string =>
    `${String(pool.live)} of ${String(pool.expect)} in pool ${pool.pool}`;
  return check('roster', ok, 'receivers', {
    reason: ok ? 'all-live' : (short?.live ?? 0) === 0 ? 'nobody-reports' : 'too-few-live',
    message: ok
      ? `Enough receivers report: ${pools.map(say).join(', ')}.`
      : `Too few receivers report: ${pools.map(say).join(', ')}. Start them, or correct receivers.expect for the next run; one that has just started reports within moments.`,
    evidence: { pools },
  });
}

/**
 * Before the switch, time alone drops nobody where a refused delivery does not come again: a receiver that cannot reach
 * the usage log may still be serving, without the new version.
 */
export function missingBeforeSwitch(view: GateView): Check {
  if (view.run.policy.upstream.capabilities.redelivers) return missing(view);
  const silent = withStanding(view.roster, 'missing', 'vanished');
  // One that is merely late may still come; after `missingAfter` only a person can tell what became of it.
  const isLong = withStanding(view.roster, 'vanished').length > 0;
  return missingCheck(view, silent, null, isLong ? 'person' : 'receivers');
}

export function missing(view: GateView): Check {
  const silent = withStanding(view.roster, 'missing');
  const eta = latest(silent.map((receiver) => receiver.lastReportAt + view.run.policy.receivers.missingAfterMs));
  return missingCheck(view, silent, eta, 'receivers');
}

function missingCheck(
  { run, evidence }: GateView,
  silent: readonly ReceiverEvidence[],
  eta: number | null,
  waitingFor: 'person' | 'receivers',
): Check {
  const [first] = silent;
  if (first === undefined) {
    return check('missing', true, 'receivers', { reason: 'nobody-missing', message: 'No receiver is missing.' });
  }
  const names = silent.map((receiver) => receiver.id);
  const silentMs = evidence.now - Math.min(...silent.map((receiver) => receiver.lastReportAt));
  return check('missing', false, waitingFor, {
    reason: 'receiver-missing',
    message: `${names.join(', ')} stopped reporting ${formatDuration(silentMs)} ago without signing off, and may still be serving. If ${names.length === 1 ? 'it is' : 'they are'} gone for good, say so.`,
    since: Math.min(...silent.map((receiver) => receiver.lastReportAt)),
    eta,
    command: `keyturn forget ${first.id} --reason "it is gone"`,
    evidence: { receivers: names, secret: run.secret },
  });
}

export function holding({ leg: { target }, roster: entries }: GateView): Check {
  const live = withStanding(entries, 'live');
  const without = live.filter((receiver) => !receiver.holds.includes(target)).map((receiver) => receiver.id);
  const ok = live.length > 0 && without.length === 0;
  return check('holding', ok, 'receivers', {
    reason: ok ? 'all-hold' : live.length === 0 ? 'nobody-reports' : 'some-lack-it',
    message: ok
      ? live.length === 1
        ? 'The one live receiver holds the new version.'
        : `All ${String(live.length)} receivers hold the new version.`
      : live.length === 0
        ? 'No receiver reports that it holds the new version.'
        : `${String(live.length - without.length)} of ${String(live.length)} receivers hold the new version; not yet: ${without.join(', ')}.`,
    evidence: { version: target, without },
  });
}

export function covered({ run, evidence }: GateView, coverage: Coverage): Check {
  const { quietMs } = run.policy.gates;
  const forMs = Math.max(0, coverage.until - coverage.from);
  const ok = coverage.until > 0 && forMs >= quietMs;
  const because = coverage.because === null ? '' : `; the last gap was that of ${coverage.because}`;
  return check('coverage', ok, 'receivers', {
    reason: ok ? 'covered' : 'gap-in-reports',
    message: ok
      ? `Reports of all receivers cover the last ${formatDuration(Math.min(forMs, quietMs))} without a gap.`
      : `Reports of all receivers cover ${formatElapsed(forMs)} of the ${formatDuration(quietMs)} needed without a gap${because}.`,
    since: coverage.from > 0 ? coverage.from : null,
    eta: coverage.until > 0 ? Math.max(coverage.from + quietMs, evidence.now) : null,
    evidence: { from: coverage.from, until: coverage.until, because: coverage.because },
  });
}
