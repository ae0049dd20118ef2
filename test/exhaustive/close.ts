import { isKeyturnError } from '../../src/model/errors.ts';
import { createSeededRandom } from '../../src/memory/clock.ts';
import { failing } from '../../src/model/check.ts';
import { acceptedVersions, isSettled } from '../../src/model/keyring.ts';
import { Orchestrator } from '../../src/orchestrator/orchestrator.ts';
import { secret } from '../orchestrator/world.ts';
import { Violation, type Ground } from './ground.ts';
import type { Scene } from './scene.ts';

/** More visits than any run needs that has nothing to wait for but time. */
const maxVisits = 40;

/** What cron does once nothing goes wrong any more, until no run is live; then judges what became of the secret. */
export async function close(scene: Scene, ground: Ground): Promise<void> {
  const crons = ground.journals.map((_, journal) => cronOf(ground, journal));
  for (let visits = 0; await isLive(ground); visits++) {
    if (visits > maxVisits) throw new Violation(`I8: it did not end: ${await whyNot(ground)}`);
    for (const cron of crons) await obey(cron, visits > 10);
    for (const cron of crons) {
      for (const visit of await cron.run()) {
        if ('error' in visit && visit.error.cause !== undefined && !isKeyturnError(visit.error.cause))
          throw visit.error;
      }
      await ground.look();
      ground.judge();
      if (ground.violation !== null) throw ground.violation;
    }
    await ground.pass(2_000);
  }
  await ground.pass(4_000);
  if (ground.violation !== null) throw ground.violation;
  await judgeEnd(ground);
  await scene.judge?.(ground);
}

function cronOf(ground: Ground, journal: number): Orchestrator {
  const seed = ground.world.clock.monotonic() * 100 + journal + 50;
  return new Orchestrator({
    ...ground.partsOf(journal),
    random: createSeededRandom(seed),
    holder: { name: 'cron', process: null },
    processes: { self: () => null, isDead: (process) => ground.isDead(process) },
  });
}

/** A person does what a run that waits for one says is to be done. */
async function obey(process: Orchestrator, isLate: boolean): Promise<void> {
  const { live } = await process.look(secret);
  if (live?.next.kind !== 'wait') return;
  const { problem, checks } = live.next;
  const saysAgain = failing(checks).some(({ message }) => message.includes(`keyturn rotate ${secret}`));
  if (problem === null && saysAgain && isLate) await process.rotate(secret, { lockTimeoutMs: 0 }).catch(ignoreBusy);
  if (problem?.code === 'run-held') await process.unhold(secret, 'go on');
  if (problem?.code === 'drift' && problem.hint?.includes(`keyturn abort ${secret}`)) {
    await process.abort(secret, 'as it says', { lockTimeoutMs: 0 }).catch(ignoreBusy);
  }
}

function ignoreBusy(error: unknown): void {
  if (!isKeyturnError(error, 'lease-busy')) throw error;
}

async function isLive({ journals }: Ground): Promise<boolean> {
  for (const journal of journals) if ((await journal.liveSecrets()).length > 0) return true;
  return false;
}

async function whyNot(ground: Ground): Promise<string> {
  const looks = await Promise.all(ground.journals.map((_, journal) => cronOf(ground, journal).look(secret)));
  return looks.map(({ live }) => JSON.stringify(live?.next)).join('; ');
}

/** I5, I6, and that everybody has the same. */
async function judgeEnd({ world }: Ground): Promise<void> {
  const keyring = await world.keyring();
  if (!isSettled(keyring)) throw new Violation('I5 I6: it ended unsettled');
  if (world.upstream.signsWith() !== (await world.primaryValue())) {
    throw new Violation('I5: in the end the upstream signs with what is not primary');
  }
  const accepted = acceptedVersions(keyring).map(({ id }) => id);
  for (const { cache } of world.receivers) {
    const held = cache.accepted(secret).map(({ id }) => id);
    if (held.join() !== accepted.join()) throw new Violation('I6: in the end a receiver accepts something else');
  }
  if (world.undelivered > 0) throw new Violation('I1: in the end a message was never delivered');
}
