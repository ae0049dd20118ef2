import { describedAtMost, failed, finding, ok, readFindings, unknown, warning } from '../../../src/ports/probe.ts';
import type { ProbeFinding, ProbeRequest, SecretStore, StoreProbe } from '../../../src/ports/secret-store.ts';
import type { Wanted } from '../key.ts';
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
  if (request.use === 'orchestrator')
    others.push(...(await settings(versions, request)), ...(await rights(versions, request)));
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

/** What each use takes on a secret that is there. */
const needsOf: Readonly<Record<string, readonly string[]>> = {
  commit: ['secretmanager.versions.add', 'secretmanager.versions.get', 'secretmanager.versions.list'],
  purge: ['secretmanager.versions.destroy'],
  'plain-write': ['secretmanager.versions.add', 'secretmanager.versions.get', 'secretmanager.versions.list'],
};

interface Place {
  readonly wanted: Wanted;
  readonly uses: readonly string[];
}

/** As Google itself answers what the account may do with what is there; one finding for each use. */
async function rights(versions: GoogleVersions, { names, plainKeys }: ProbeRequest): Promise<readonly ProbeFinding[]> {
  const keyrings = names.slice(0, describedAtMost).map(({ secret, key }): Place => {
    return { wanted: { key, what: `The keyring of ${secret}` }, uses: ['commit', 'purge'] };
  });
  const copies = plainKeys.slice(0, describedAtMost).map((key): Place => {
    return { wanted: { key, what: `The plain copy ${key}` }, uses: ['plain-write'] };
  });
  const places = [...keyrings, ...copies];
  const lacks = new Map<string, string[]>();
  try {
    for (const { wanted, uses } of places) {
      const has = await permissionsOn(versions, wanted, uses);
      if (has === null) continue;
      for (const use of uses) {
        const lacking = (needsOf[use] ?? []).filter((need) => !has.has(need));
        const before = lacks.get(use) ?? [];
        const on = `${lacking.join(' and ')} on ${versions.resourceOf(wanted)}`;
        lacks.set(use, lacking.length === 0 ? before : [...before, on]);
      }
    }
  } catch (error) {
    return [failed('commit', error)];
  }
  return [...new Set(places.flatMap(({ uses }) => uses))].map((use) => rightFinding(use, lacks.get(use) ?? null));
}

/** Null where nobody tells; of a secret that is not there nobody has any. */
async function permissionsOn(
  versions: GoogleVersions,
  wanted: Wanted,
  uses: readonly string[],
): Promise<ReadonlySet<string> | null> {
  if (typeof (await versions.secret(wanted)) === 'string') return null;
  return versions.allowed(wanted, [...new Set(uses.flatMap((use) => needsOf[use] ?? []))]);
}

function rightFinding(use: string, lacks: readonly string[] | null): ProbeFinding {
  const hint = 'deploy/google/orchestrator-role.yaml has all that it takes.';
  if (lacks === null) return unknown(use, 'Nothing is there yet that could be asked, or nobody answers that.', hint);
  if (lacks.length === 0) return ok(use, 'The account has the permissions for it.');
  return { name: use, state: 'failed', message: `The account lacks ${lacks.join(', ')}.`, hint };
}
