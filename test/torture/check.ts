import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { filesBelow, leaks } from '../process/support/leaks.ts';
import { deliver } from '../process/support/sender.ts';
import { until } from '../process/support/until.ts';
import { type KeyringFile, traceLines } from '../process/support/world.ts';
import { upstreamToken } from './terms.ts';
import { query, type Town } from './town.ts';

/** How long what takes its time may take on a busy machine, ms: retries, refreshes. */
const patienceMs = 60_000;

/** All that must be true of a secret whose rotation has ended, though everything around it goes on being struck. */
export async function findWrong(town: Town, name: string, urls: () => readonly string[]): Promise<readonly string[]> {
  const wrong: string[] = [];
  const endedAt = Date.now();
  const { versions, claim } = keyringOf(town, name);
  const accepted = versions.filter(({ stage }) => stage !== 'revoked');
  const [primary] = accepted;
  if (accepted.length !== 1 || primary?.stage !== 'primary' || claim !== undefined) {
    wrong.push(
      `I6: ${name} is not settled: ${versions.map(({ stage }) => stage).join()}${claim === undefined ? '' : ', claimed'}`,
    );
  }
  if (town.state.signing().get(name) !== primary?.value) {
    wrong.push(`I2: the upstream does not sign ${name} with the primary`);
  }
  wrong.push(...(await damaged('journal', join(town.folder, 'journal/journal.db'))));
  wrong.push(...(await tampered(town)));
  for (const value of town.state.values(name)) {
    const expected = value === primary?.value ? 200 : 401;
    wrong.push(...(await notAnswered(name, value, expected, urls)));
  }
  await until(`nothing of ${name} is left to deliver`, () => town.state.pending(name, endedAt) === 0, {
    timeoutMs: patienceMs,
    everyMs: 200,
  }).catch((error: unknown) => wrong.push(`I1: ${String(error)}`));
  wrong.push(...town.state.lost(name).map((line) => `I1: ${name}: ${line}`));
  return wrong;
}

/** All receivers there are, whichever that is meanwhile, answer a delivery under that value with that status. */
async function notAnswered(
  name: string,
  value: string,
  expected: number,
  urls: () => readonly string[],
): Promise<readonly string[]> {
  let last: readonly string[] = [];
  const allDo = async (): Promise<boolean> => {
    const answers = await Promise.all(urls().map(async (url) => deliver(`${url}/${name}`, value).catch(String)));
    last = answers.map(String);
    return last.every((answer) => answer === String(expected));
  };
  const what = `every receiver answers ${String(expected)} to a version of ${name}`;
  return until(what, allDo, { timeoutMs: patienceMs, everyMs: 300 }).then(
    () => [],
    (error: unknown) => [`${expected === 200 ? 'I1' : 'I6'}: ${String(error)}: ${last.join()}`],
  );
}

/** What SQLite finds wrong with a database; one that cannot be read just now is asked again. */
export async function damaged(what: string, path: string): Promise<readonly string[]> {
  const rows = await until(`the ${what} can be read`, () => patient(() => query(path, 'PRAGMA integrity_check')));
  const found = rows.map(({ integrity_check: line }) => String(line));
  return found.join() === 'ok' ? [] : [`the ${what} is damaged: ${found.join('; ')}`];
}

/** What `audit verify` finds of the trail, which no death may have damaged; one that is killed, or meets a bad disk, is asked again. */
async function tampered(town: Town): Promise<readonly string[]> {
  const found = await until(
    'the audit trail is verified',
    async () => {
      const { code, all } = await town.keyturn(['audit', 'verify']).finished;
      return code === 0 || code === 5 ? { code, all } : null;
    },
    { everyMs: 200 },
  );
  return found.code === 0 ? [] : [`the audit trail is damaged: ${found.all}`];
}

/** Null where a disk that is full, or read-only, keeps it from being read: that passes. */
export function patient<T>(ask: () => T): T | null {
  try {
    return ask();
  } catch (error) {
    if (error instanceof Error && 'errcode' in error) return null;
    throw error;
  }
}

/** Where values show that nobody was to write: in what processes said, and in all files but keyrings and the upstream's. */
export function findLeaks(town: Town): readonly string[] {
  const texts = new Map<string, Buffer | string>(filesBelow(town.folder));
  for (const path of texts.keys()) {
    const isKeyring = town.names.some((name) => path === `secrets/${name}.json`);
    if (isKeyring || path.startsWith('upstream/')) texts.delete(path);
  }
  texts.set('what processes said', town.said.join('\n'));
  const values = town.names.flatMap((name) => town.state.values(name));
  return leaks([upstreamToken, ...values], texts).map((line) => `I7: ${line}`);
}

export function findTraces(town: Town): readonly string[] {
  return town.said.flatMap(traceLines).map((line) => `a stack trace: ${line}`);
}

function keyringOf(town: Town, name: string): KeyringFile {
  return JSON.parse(readFileSync(join(town.folder, `secrets/${name}.json`), 'utf8')) as KeyringFile;
}
