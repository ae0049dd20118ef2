import { describedAtMost, finding, ok, readFindings, unknown, warning } from '../../../src/ports/probe.ts';
import type { ProbeFinding, ProbeRequest, SecretStore, StoreProbe } from '../../../src/ports/secret-store.ts';
import type { AwsClient } from './client.ts';
import type { AwsSecrets, Described } from './secrets.ts';

interface Probing {
  readonly client: AwsClient;
  readonly secrets: AwsSecrets;
}

/** A secret takes about twenty labels; one in use has three. */
const manyLabels = 12;

/** Reach and clock by a description; what else moves these secrets; the reads themselves. Nothing is written. */
export async function probeAws(store: SecretStore, on: Probing, request: ProbeRequest): Promise<StoreProbe> {
  const described = new Map<string, Described>();
  const reach = await finding('reach', async () => {
    const [first] = request.names;
    if (first === undefined) return unknown('reach', 'No keyring is kept there, so nobody was asked.');
    for (const { secret, key } of request.names.slice(0, describedAtMost)) {
      // A receiver may read, and not describe.
      if (request.use === 'receiver') break;
      const found = await on.secrets.describe({ key, what: `The keyring of ${secret}` });
      if (found !== null) described.set(secret, found);
    }
    if (request.use === 'receiver') await on.secrets.read({ key: first.key, what: `The keyring of ${first.secret}` });
    return ok('reach', `The ${on.client.label} answers, and knows the credentials.`);
  });
  const { clockAheadMs } = on.client;
  // Who was answered at all is told of the rest too: describing may be what is not allowed.
  if (reach.state === 'failed' && clockAheadMs === null) return { version: null, clockAheadMs, findings: [reach] };
  const findings = [reach, ...others(described), ...rights(request), ...(await readFindings(store, request))];
  return { version: null, clockAheadMs, findings };
}

function others(described: ReadonlyMap<string, Described>): readonly ProbeFinding[] {
  const of = (is: (each: Described) => boolean): readonly string[] =>
    [...described].filter(([, each]) => is(each)).map(([secret]) => secret);
  const findings: ProbeFinding[] = [];
  const rotating = of(({ rotates }) => rotates);
  if (rotating.length > 0) {
    findings.push(
      warning(
        'rotation',
        `Secrets Manager rotates by itself: ${rotating.join(', ')}. Its Lambda would write over the keyring.`,
        'Cancel it: aws secretsmanager cancel-rotate-secret.',
      ),
    );
  }
  const owned = of(({ ownedBy }) => ownedBy !== null);
  if (owned.length > 0) {
    findings.push(
      warning('owner', `Another service of AWS manages: ${owned.join(', ')}.`, 'Give the keyring a key of its own.'),
    );
  }
  const pending = of(({ versions }) => [...versions.values()].some((labels) => labels.includes('AWSPENDING')));
  const crowded = of(({ versions }) => [...versions.values()].flat().length > manyLabels);
  if (pending.length + crowded.length > 0) {
    findings.push(
      warning(
        'labels',
        `Labels that keyturn does not set are on versions of ${[...new Set([...pending, ...crowded])].join(', ')}.`,
        'Find out who sets them; remove AWSPENDING where nothing rotates there any more.',
      ),
    );
  }
  return findings;
}

/** IAM has no question that tells without trying, and trying would write. */
function rights({ use }: ProbeRequest): readonly ProbeFinding[] {
  if (use === 'receiver') return [];
  const hint = 'deploy/aws/orchestrator.json has all that it takes.';
  return [
    unknown('commit', 'Whether it may write cannot be told without writing.', hint),
    unknown('purge', 'Whether it may move labels cannot be told without moving one.', hint),
  ];
}
