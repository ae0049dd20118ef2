import type { Due } from '../../decide/schedule.ts';
import { lastUseOf, matchedBy, rosterOf, type RosterEntry } from '../../decide/evidence.ts';
import { foreignClaimWords } from '../../decide/problems.ts';
import { formatDuration } from '../../model/duration.ts';
import { primaryOf, type Claim, type Version } from '../../model/keyring.ts';
import type { SecretState } from '../../orchestrator/orchestrator.ts';
import { withOrchestrator, type Context } from '../context.ts';
import { checkLines, errorJson, isHeld, needsPerson, stepLabel, waitJson } from '../describe.ts';
import { exit, type Exit } from '../exit.ts';
import { jsonTime } from '../output.ts';
import { namedSecrets } from '../secrets.ts';
import { runJson } from './rotate.ts';

/** How many tombstones are shown. */
const shownTombstones = 3;

export async function status(context: Context, args: readonly string[]): Promise<Exit> {
  return withOrchestrator(context, async (orchestrator, policy) => {
    const secrets = namedSecrets(policy, args, context.options);
    const states = await Promise.all(secrets.map(({ secret }) => orchestrator.look(secret)));
    const seenAt = await orchestrator.schedulerSeenAt();
    const now = context.clock.now();
    const scheduler = `keyturn run was last seen ${seenAt === null ? 'never' : `${formatDuration(now - seenAt)} ago`}.`;
    context.output.result([...states.flatMap((state) => statusLines(state, now)), scheduler], () => ({
      format: 'keyturn.status/1',
      secrets: states.map((state) => statusJson(state)),
      scheduler: { lastRunAt: jsonTime(seenAt) },
    }));
    return exit.ok;
  });
}

type StateWord = 'absent' | 'idle' | 'rotating' | 'waiting' | 'needs-person' | 'held' | 'failed';

function stateWord({ seen, keyring, live }: SecretState): StateWord {
  if (seen.keyring.state === 'failed') return 'failed';
  if (orphanOf(keyring, live) !== null) return 'needs-person';
  if (live === null) return keyring === null || primaryOf(keyring) === null ? 'absent' : 'idle';
  if (live.next.kind !== 'wait') return 'rotating';
  if (isHeld(live.next)) return 'held';
  if (live.next.problem !== null && !live.next.problem.retryable) return 'failed';
  return needsPerson(live.next) ? 'needs-person' : 'waiting';
}

/** The claim of a run that this journal does not know: another one's, or that of one that is lost. */
function orphanOf(keyring: SecretState['keyring'], live: SecretState['live']): Claim | null {
  return live === null ? (keyring?.claim ?? null) : null;
}

interface VersionUse {
  readonly version: Version;
  readonly lastUsedAt: number | null;
  readonly uses: number;
  readonly holders: number;
}

function versionsOf({ keyring, seen, policy }: SecretState): readonly VersionUse[] {
  const evidence = seen.usage.state === 'read' ? seen.usage.evidence : null;
  const live =
    evidence === null ? [] : rosterOf(evidence, policy.receivers).filter((entry) => entry.standing === 'live');
  const versions = keyring?.versions ?? [];
  const dead = versions.filter((version) => version.stage === 'revoked').slice(-shownTombstones);
  return versions
    .filter((version) => version.stage !== 'revoked' || dead.includes(version))
    .toReversed()
    .map((version) => ({
      version,
      lastUsedAt: evidence === null ? null : lastUseOf(evidence, version.id),
      uses: evidence === null ? 0 : matchedBy(evidence, version.id),
      holders: live.filter(({ receiver }) => receiver.holds.includes(version.id)).length,
    }));
}

function rosterIn({ seen, policy }: SecretState): readonly RosterEntry[] {
  if (seen.usage.state === 'failed') return [];
  return rosterOf(seen.usage.evidence, policy.receivers).filter((entry) => entry.standing !== 'departed');
}

function statusLines(state: SecretState, now: number): readonly string[] {
  const ago = (at: number | null): string => (at === null ? 'never used' : `last used ${formatDuration(now - at)} ago`);
  const versions = versionsOf(state).map(
    ({ version, lastUsedAt, uses, holders }) =>
      `  ${version.id}  ${version.stage.padEnd(10)}  ${ago(lastUsedAt)}, ${String(uses)} uses, held by ${String(holders)}`,
  );
  const receivers = rosterIn(state).map(
    ({ receiver, standing }) =>
      `  receiver ${receiver.id} (${receiver.pool}): ${standing}, reported ${formatDuration(now - receiver.lastReportAt)} ago, holds ${receiver.holds.join(', ') || 'nothing'}`,
  );
  return [
    `${state.policy.secret}: ${stateWord(state)}; ${dueWords(state.due, now)}`,
    ...storeFailureLines(state),
    ...orphanLines(state),
    ...versions,
    ...receivers,
    ...liveLines(state, now),
  ];
}

function orphanLines({ policy, keyring, live }: SecretState): readonly string[] {
  const claim = orphanOf(keyring, live);
  if (claim === null) return [];
  const { message, hint } = foreignClaimWords(policy.secret, claim);
  return [`  ${message}`, `    ${hint}`];
}

function liveLines({ live }: SecretState, now: number): readonly string[] {
  if (live === null) return [];
  const { run, next } = live;
  const head = `  run ${run.id} (${run.reason}, ${run.startedBy}) since ${formatDuration(now - run.startedAt)}: step ${stepLabel(next.step)}`;
  return next.kind === 'wait' ? [head, ...checkLines(next.checks, now).map((line) => `    waits for ${line}`)] : [head];
}

export function storeFailureLines({ seen }: SecretState): readonly string[] {
  return [
    ...(seen.keyring.state === 'failed' ? [`  store: ${seen.keyring.error.message}`] : []),
    ...(seen.usage.state === 'failed' ? [`  usage log: ${seen.usage.error.message}`] : []),
  ];
}

export function dueWords(due: Due, now: number): string {
  if (due.at === null) return 'no rotation is scheduled';
  return due.overdue
    ? `overdue by ${formatDuration(now - due.at)}`
    : `next rotation due in ${formatDuration(due.at - now)}`;
}

function statusJson(state: SecretState): object {
  const { policy, live, due, seen } = state;
  const wait = live?.next.kind === 'wait' ? live.next : null;
  const orphan = orphanOf(state.keyring, live);
  const error = seen.keyring.state === 'failed' ? errorJson(seen.keyring.error) : null;
  return {
    secret: policy.secret,
    state: stateWord(state),
    error: error ?? (orphan === null ? null : { code: 'foreign-claim', ...foreignClaimWords(policy.secret, orphan) }),
    versions: versionsOf(state).map(({ version, lastUsedAt, uses, holders }) => ({
      id: version.id,
      stage: version.stage,
      createdAt: version.createdAt,
      revokedAt: version.revokedAt,
      lastUsedAt: jsonTime(lastUsedAt),
      uses,
      holders,
    })),
    run: live === null ? null : { ...runJson(live.run), step: live.next.step, ...waitJson(wait) },
    receivers: rosterIn(state).map(({ receiver, standing }) => ({
      id: receiver.id,
      pool: receiver.pool,
      standing,
      lastSeenAt: jsonTime(receiver.lastReportAt),
      holds: receiver.holds,
    })),
    due: { at: jsonTime(due.at), overdue: due.overdue },
  };
}
