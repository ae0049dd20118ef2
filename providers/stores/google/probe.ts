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
  if (request.use === 'orchestrator') {
    const describe = describing(versions);
    others.push(...(await settings(describe, request)), ...(await rights(versions, describe, request)));
  }
  return { ...none, findings: [reach, ...others, ...(await readFindings(store, request))] };
}

type Describe = GoogleVersions['secret'];

/** Each secret is asked for once, whatever is looked for in it. */
function describing(versions: GoogleVersions): Describe {
  const known = new Map<string, ReturnType<Describe>>();
  return (wanted) => {
    const described = known.get(wanted.key) ?? versions.secret(wanted);
    known.set(wanted.key, described);
    return described;
  };
}

async function settings(describe: Describe, { names }: ProbeRequest): Promise<readonly ProbeFinding[]> {
  const [expiring, rotating]: [string[], string[]] = [[], []];
  const look = await finding('settings', async () => {
    for (const { secret, key } of names.slice(0, describedAtMost)) {
      const found = await describe({ key, what: `The keyring of ${secret}` });
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

type Use = 'commit' | 'purge' | 'plain-write';

const writes = ['secretmanager.versions.add', 'secretmanager.versions.get', 'secretmanager.versions.list'];

/** What each use takes on a secret that is there. */
const needsOf: Readonly<Record<Use, readonly string[]>> = {
  commit: writes,
  purge: ['secretmanager.versions.destroy'],
  'plain-write': writes,
};

interface Place {
  readonly wanted: Wanted;
  readonly uses: readonly Use[];
}

/** Of a place about which Google told. */
interface Told extends Place {
  readonly has: ReadonlySet<string>;
}

/** As Google itself answers what the account may do with what is there; one finding for each use. */
async function rights(
  versions: GoogleVersions,
  describe: Describe,
  { names, plainKeys }: ProbeRequest,
): Promise<readonly ProbeFinding[]> {
  const keyrings = names.slice(0, describedAtMost).map(({ secret, key }): Place => {
    return { wanted: { key, what: `The keyring of ${secret}` }, uses: ['commit', 'purge'] };
  });
  const copies = plainKeys.slice(0, describedAtMost).map((key): Place => {
    return { wanted: { key, what: `The plain copy ${key}` }, uses: ['plain-write'] };
  });
  const places = [...keyrings, ...copies];
  const told: Told[] = [];
  try {
    for (const place of places) {
      // Nobody has any right to what is not there.
      if (typeof (await describe(place.wanted)) === 'string') continue;
      const needs = place.uses.flatMap((use) => needsOf[use]);
      const has = await versions.allowed(place.wanted, needs);
      if (has !== null) told.push({ ...place, has });
    }
  } catch (error) {
    return [failed('commit', error)];
  }
  return [...new Set(places.flatMap(({ uses }) => uses))].map((use) => rightFinding(versions, use, told));
}

function rightFinding(versions: GoogleVersions, use: Use, told: readonly Told[]): ProbeFinding {
  const here = told.filter(({ uses }) => uses.includes(use));
  const lacking = here.flatMap(({ wanted, has }) => {
    const lacks = needsOf[use].filter((need) => !has.has(need));
    return lacks.length === 0 ? [] : [`${lacks.join(' and ')} on ${versions.resourceOf(wanted)}`];
  });
  const hint = 'deploy/google/orchestrator-role.yaml has all that it takes.';
  if (here.length === 0) {
    return unknown(use, 'Nothing is there yet that could be asked, or nobody answers that.', hint);
  }
  if (lacking.length === 0) return ok(use, 'The account has the permissions for it.');
  return { name: use, state: 'failed', message: `The account lacks ${lacking.join(', ')}.`, hint };
}
