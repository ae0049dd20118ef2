import { recentExclusive } from '../../decide/evidence.ts';
import { formatDuration } from '../../model/duration.ts';
import { acceptedVersions } from '../../model/keyring.ts';
import { holdOf } from '../../model/run.ts';
import type { Orchestrator, SecretState } from '../../orchestrator/orchestrator.ts';
import { mustType } from '../ask.ts';
import type { Context } from '../context.ts';

/** Says what a rotation under compromise will refuse, and has it confirmed: the secret's name typed, or `--yes`. */
export async function confirmCompromised(
  context: Context,
  orchestrator: Orchestrator,
  secret: string,
  isConfirmed: boolean,
): Promise<void> {
  const state = await orchestrator.look(secret);
  // It will be refused, so that there is nothing to ask.
  if (state.live !== null && holdOf(state.live.run) !== null) return;
  for (const line of costLines(context, state)) context.output.note(line);
  if (isConfirmed) return;
  await mustType(
    context,
    secret,
    `A rotation of ${secret} under compromise`,
    `If you mean it: keyturn rotate ${secret} --compromised --yes`,
  );
}

function costLines(context: Context, { keyring, seen, live, policy }: SecretState): readonly string[] {
  const { secret } = policy;
  const versions = keyring === null ? [] : acceptedVersions(keyring).map(({ id }) => id);
  if (versions.length === 0) return [`${secret} has no value yet, so nothing will be refused.`];
  const lines = [
    `${secret}: as soon as the upstream has taken a new value, ${versions.join(', ')} will be refused. No gate is waited for.`,
  ];
  if (live !== null) lines.push(`  Run ${live.run.id} ends, superseded.`);
  if (seen.usage.state === 'failed') {
    return [...lines, `  What is in use now is not known: ${seen.usage.error.message}`];
  }
  const now = context.clock.now();
  const { perMinute, total } = recentExclusive(seen.usage.evidence, versions, seen.usage.evidence.now);
  const [first] = perMinute;
  const { retriesResigned, retryHorizonMs } = policy.upstream.capabilities;
  const retries =
    retriesResigned === 'yes' || retryHorizonMs === 0
      ? ''
      : ` Retries of earlier deliveries, which may come for ${formatDuration(retryHorizonMs)}, are refused too.`;
  if (first === undefined) return [...lines, `  In the last minutes no delivery used them.${retries}`];
  const since = formatDuration(now - first.minute * 60_000);
  const busiest = Math.max(...perMinute.map(({ exclusive }) => exclusive));
  return [
    ...lines,
    `  In the last ${since} they alone explained ${String(total)} deliveries, at most ${String(busiest)} in a minute: what is still on its way when the upstream switches is refused.${retries}`,
  ];
}
