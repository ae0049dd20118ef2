import { requiredPools, rosterOf, withStanding } from '../../decide/evidence.ts';
import { formatDuration } from '../../model/duration.ts';
import type { Policy, SecretPolicy } from '../../model/policy.ts';
import { schedulerSeenAt } from '../../orchestrator/upkeep.ts';
import type { Journal, Leases } from '../../ports/journal.ts';
import { ok, warning } from '../../ports/probe.ts';
import type { ProbeFinding } from '../../ports/secret-store.ts';
import type { UsageEvidence, UsageLog } from '../../ports/usage-log.ts';
import { crontabLine, silentAfterMs } from '../scheduler.ts';

/** Who should be at work, and whether they are: receivers by their reports, the scheduler by its visits. */

export async function fleetFindings(
  usage: UsageLog,
  secrets: readonly SecretPolicy[],
  places: { readonly policy: Policy; readonly host: string },
): Promise<readonly ProbeFinding[]> {
  const lacking: string[] = [];
  const hosts = new Set<string>();
  for (const policy of secrets) {
    const evidence = await usage.evidence(policy.secret);
    lacking.push(...lackingPools(policy, evidence));
    for (const host of hostsOf(policy, evidence)) hosts.add(host);
  }
  return [rosterFinding(lacking), ...machineFindings([...hosts].toSorted(), places)];
}

function lackingPools({ secret, receivers }: SecretPolicy, evidence: UsageEvidence): readonly string[] {
  const live = withStanding(rosterOf(evidence, receivers), 'live');
  return requiredPools(receivers).flatMap(([pool, { expect }]) => {
    const count = live.filter((receiver) => receiver.pool === pool).length;
    return count >= expect ? [] : [`${secret}: ${String(count)} of ${String(expect)} in pool ${pool}`];
  });
}

const mostNamed = 3;

function rosterFinding(lacking: readonly string[]): ProbeFinding {
  if (lacking.length === 0) return ok('roster', 'As many receivers report as the policy expects.');
  const more = lacking.length > mostNamed ? `; and ${String(lacking.length - mostNamed)} more` : '';
  return warning(
    'roster',
    `Fewer receivers report here than the policy expects: ${lacking.slice(0, mostNamed).join('; ')}${more}.`,
    'Start them with this usage log. Receivers on other machines cannot write to a file of this one; where fewer are meant, correct "expect".',
  );
}

/** By the ids that receivers give themselves: host, process, some letters. What people call theirs says nothing. */
function hostsOf({ receivers }: SecretPolicy, evidence: UsageEvidence): readonly string[] {
  const live = withStanding(rosterOf(evidence, receivers), 'live', 'missing');
  return live.flatMap(({ id }) => /^(.+)-\d+-[0-9a-z]{4}$/.exec(id)?.[1] ?? []);
}

function machineFindings(
  hosts: readonly string[],
  { policy, host }: { readonly policy: Policy; readonly host: string },
): readonly ProbeFinding[] {
  const others = hosts.filter((each) => each !== host);
  if (others.length === 0) return [];
  const files = Object.entries(policy.stores).flatMap(([name, { kind }]) =>
    kind === 'file' ? [`the store ${name}`] : [],
  );
  return [
    warning(
      'machines',
      `Receivers report from ${hosts.join(', ')}, and ${['the usage log', ...files].join(' and ')} ${files.length === 0 ? 'is a file' : 'are files'} of one machine.`,
      'Containers of one machine may share them by a volume; over a network their locks do not hold. For several machines use a store on a server, and keep to one usage log that all of them reach.',
    ),
  ];
}

/** Whether somebody runs `keyturn run`, where something is to be moved or started by it. */
export async function schedulerFindings(
  journal: Journal & Leases,
  secrets: readonly SecretPolicy[],
  { policy, now }: { readonly policy: Policy; readonly now: number },
): Promise<readonly ProbeFinding[]> {
  const seenAt = await schedulerSeenAt({ leases: journal });
  if (seenAt !== null && now - seenAt < silentAfterMs) {
    return [ok('last-run', `keyturn run was here ${formatDuration(Math.max(0, now - seenAt))} ago.`)];
  }
  const live = (await journal.liveSecrets()).length;
  const scheduled = secrets.filter(({ rotateEveryMs }) => rotateEveryMs !== null).length;
  const last = seenAt === null ? 'was never here' : `was last here ${formatDuration(now - seenAt)} ago`;
  if (live === 0 && scheduled === 0) return [ok('last-run', `keyturn run ${last}, and nothing waits for it.`)];
  const waiting = live > 0 ? 'rotations under way wait for it' : 'rotations by schedule wait for it';
  return [
    warning('last-run', `keyturn run ${last}, and ${waiting}.`, `Add this crontab line: ${crontabLine(policy.source)}`),
  ];
}
