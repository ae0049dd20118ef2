import { dirname } from 'node:path';
import { formatDuration } from '../model/duration.ts';
import { shellWord } from '../model/shell.ts';
import type { Policy } from '../model/policy.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import { ownProgram } from './practice/children.ts';

/** A scheduler that was not here for so long is taken to be off, ms. */
export const silentAfterMs = 5 * 60_000;

/** Who will move what waits: the scheduler where it comes by, else the crontab line that makes it. */
export async function schedulerWords(
  orchestrator: Orchestrator,
  policy: Policy,
  secret: string,
  now: number,
): Promise<readonly string[]> {
  const seenAt = await orchestrator.schedulerSeenAt();
  if (seenAt !== null && now - seenAt < silentAfterMs) {
    return [`  keyturn run moves it on; it was here ${formatDuration(now - seenAt)} ago.`];
  }
  const last = seenAt === null ? 'never' : `${formatDuration(now - seenAt)} ago`;
  const variables = variablesOf(policy);
  return [
    `  What moves it on is keyturn run, last seen ${last}. Add this crontab line:`,
    `    ${crontabLine(policy.source)}`,
    ...(variables.length === 0 ? [] : [`  cron has no variables of yours: set ${variables.join(', ')} there too.`]),
    `  or follow it here: keyturn rotate ${secret} --wait`,
  ];
}

/**
 * A crontab line for the keyturn that runs now, by this very Node: cron has a `PATH` of its own, where neither may be. It
 * takes `%` for the end of a line, in quotes too, unless a backslash stands before it.
 */
export function crontabLine(policy: string): string {
  const words = [process.execPath, ownProgram('bin/keyturn'), 'run', '--quiet', '--policy', policy];
  const command = `cd ${shellWord(dirname(policy))} && ${words.map(shellWord).join(' ')}`;
  return `* * * * * ${command.replaceAll('%', '\\%')}`;
}

/** The environment variables that the policy takes credentials from. */
function variablesOf(policy: Policy): readonly string[] {
  const references = policy.secrets.flatMap(({ upstream }) => Object.values(upstream.credentials));
  return [...new Set(references.flatMap((reference) => ('env' in reference ? [reference.env] : [])))].toSorted();
}
