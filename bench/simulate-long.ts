import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { loadPolicy } from '../providers/policy-file.ts';
import { simulate } from '../src/simulator/simulate.ts';
import { addTally, emptyTally, type Tally } from '../src/simulator/tally.ts';
import { collectGarbage } from './collect.ts';

/**
 * `npm run simulate:long -- [WORLDS] [STATE.json]`: worlds with hard faults under the policies of the example, one seed
 * after the other. It may be stopped at any time, and goes on from where its state file says.
 */

const [worlds = '1000000', stateFile = 'simulation.json'] = process.argv.slice(2);

/** How many seeds are run between two states. */
const batch = 100;

interface State {
  readonly nextSeed: number;
  readonly tally: Tally;
  /** Of processor time. */
  readonly seconds: number;
}

process.exitCode = await main(Number(worlds));

async function main(wanted: number): Promise<number> {
  if (!Number.isSafeInteger(wanted) || wanted < 1) {
    console.error(`${JSON.stringify(worlds)} is no number of worlds.`);
    return 2;
  }
  let state: State = existsSync(stateFile)
    ? (JSON.parse(readFileSync(stateFile, 'utf8')) as State)
    : { nextSeed: 1, tally: emptyTally(), seconds: 0 };
  const { policy } = await loadPolicy('rotation-policy.example.json', {});
  while (state.nextSeed <= wanted) {
    const from = process.cpuUsage();
    const { nextSeed, tally } = state;
    const secret = policy.secrets[Math.floor(nextSeed / batch) % policy.secrets.length];
    if (secret === undefined) throw new Error('the example has no secret');
    const runs = Math.min(batch, wanted - nextSeed + 1);
    const { found, ...result } = await simulate(secret, { runs, seed: nextSeed, faults: 'hard' });
    if (found !== null) {
      console.error(JSON.stringify({ secret: secret.secret, ...found }, null, 2));
      return 1;
    }
    addTally(tally, result.tally);
    const seconds = state.seconds + process.cpuUsage(from).user / 1_000_000;
    state = { nextSeed: nextSeed + runs, tally, seconds };
    writeFileSync(`${stateFile}.new`, JSON.stringify(state, null, 2));
    renameSync(`${stateFile}.new`, stateFile);
    collectGarbage();
    const { rss, heapUsed } = process.memoryUsage();
    const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);
    console.log(
      `seeds 1 to ${nextSeed + runs - 1}: ${tally.rotations} rotations, ${tally.messages} messages, ${Math.round(tally.events / seconds)} events a second, ${mib(heapUsed)} MiB in use, ${mib(rss)} MiB resident`,
    );
  }
  console.log(JSON.stringify(state, null, 2));
  return 0;
}
