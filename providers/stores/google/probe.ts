import { describedAtMost, finding, ok, readFindings, unknown, warning } from '../../../src/ports/probe.ts';
import type { ProbeFinding, ProbeRequest, SecretStore, StoreProbe } from '../../../src/ports/secret-store.ts';
import type { GoogleVersions } from './versions.ts';

/** Reach; what else ends or moves these secrets; the reads themselves. Nothing is written. */
export async function probeGoogle(
  store: SecretStore,
  versions: GoogleVersions,
  request: ProbeRequest,
): Promise<StoreProbe> {
  const others: ProbeFinding[] = [];
  const reach = await finding('reach', async () => {
    const [first] = request.names;
    if (first === undefined) return unknown('reach', 'No keyring is kept there, so nobody was asked.');
    await versions.access({ key: first.key, what: `The keyring of ${first.secret}` }, 1);
    return ok('reach', `The ${store.label} answers, and knows the credentials.`);
  });
  const none = { version: null, clockAheadMs: null };
  if (reach.state === 'failed') return { ...none, findings: [reach] };
  if (request.use === 'orchestrator') others.push(...(await settings(versions, request)), ...rights());
  return { ...none, findings: [reach, ...others, ...(await readFindings(store, request))] };
}

async function settings(versions: GoogleVersions, { names }: ProbeRequest): Promise<readonly ProbeFinding[]> {
  const [expiring, rotating]: [string[], string[]] = [[], []];
  const look = await finding('settings', async () => {
    for (const { secret, key } of names.slice(0, describedAtMost)) {
      const found = await versions.secret({ key, what: `The keyring of ${secret}` });
      if (typeof found === 'string') continue;
      if ((found.expireTime ?? null) !== null) expiring.push(secret);
      if ((found.rotation?.nextRotationTime ?? null) !== null) rotating.push(secret);
    }
    const most =
      names.length > describedAtMost ? `the first ${String(describedAtMost)} of these secrets` : 'these secrets';
    return ok('settings', `Nothing else ends or moves ${most}.`);
  });
  if (look.state === 'failed') return [look];
  const findings: ProbeFinding[] = [];
  if (expiring.length > 0) {
    findings.push(
      warning(
        'expiry',
        `Secret Manager deletes when their time is over: ${expiring.join(', ')}.`,
        'Take the expiry away: gcloud secrets update --remove-expiration.',
      ),
    );
  }
  if (rotating.length > 0) {
    findings.push(
      warning(
        'rotation',
        `Secret Manager tells somebody to rotate: ${rotating.join(', ')}. A version of theirs is no keyring.`,
        'Take the schedule away: gcloud secrets update --remove-rotation-schedule.',
      ),
    );
  }
  return findings.length === 0 ? [look] : findings;
}

/** Not every installation answers what an account may do; a list of permissions would be one call more for each secret. */
function rights(): readonly ProbeFinding[] {
  const hint = 'deploy/google/orchestrator-role.yaml has all that it takes.';
  return [
    unknown('commit', 'Whether it may write cannot be told without writing.', hint),
    unknown('purge', 'Whether it may destroy versions cannot be told without destroying one.', hint),
  ];
}
