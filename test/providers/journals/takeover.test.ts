import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSqliteJournal } from '../../../providers/journals/sqlite.ts';
import { localProcesses } from '../../../providers/processes.ts';
import { createSeededRandom } from '../../../src/memory/clock.ts';
import { withTenure } from '../../../src/orchestrator/tenure.ts';
import type { Holder, Lease, ProcessIdentity } from '../../../src/ports/journal.ts';
import { realClock as clock } from '../../../src/ports/real.ts';
import type { FullJournal } from '../../conformance/journal.ts';
import { OtherProcess, removeFolder, temporaryFolder } from '../sqlite-support.ts';

const processes = localProcesses();
const self = processes.self();

describe.skipIf(self === null)('a lease among the processes of one machine', () => {
  const holder: Holder = { name: 'the next one', process: self };
  let folder: string;
  let journal: FullJournal;
  const children: OtherProcess[] = [];

  beforeEach(async () => {
    folder = await temporaryFolder();
    journal = await createSqliteJournal({ path: join(folder, 'journal.db'), clock, random: createSeededRandom(3) });
  });

  afterEach(async () => {
    for (const child of children.splice(0)) await child.kill();
    await journal.close();
    await removeFolder(folder);
  });

  /** Another process that has the lease, and until when. */
  async function held(ttlMs: number): Promise<{ readonly child: OtherProcess; readonly lease: Lease }> {
    const child = new OtherProcess('hold-lease', join(folder, 'journal.db'), ttlMs);
    children.push(child);
    return { child, lease: ((await child.answer()) as { lease: Lease }).lease };
  }

  /** Waits for the lease as a rotation does; the token that it got. */
  function takeOver(waitMs: number): Promise<number> {
    const deps = { leases: journal, clock, holder, processes };
    return withTenure(deps, 'hook', { waitMs }, (tenure) => Promise.resolve(tenure.lease.token));
  }

  it('is taken over at once from one that was killed', async () => {
    const { child, lease } = await held(60_000);
    await child.kill();
    expect(await takeOver(120_000)).toBe(lease.token + 1);
    expect(clock.now()).toBeLessThan(lease.expiresAt);
  });

  it('is taken over by who does not wait at all, as the scheduler', async () => {
    const { child, lease } = await held(60_000);
    await child.kill();
    expect(await takeOver(0)).toBe(lease.token + 1);
  });

  it('stays with one that lives, and with one that was stopped until it has run out', async () => {
    const { child, lease } = await held(4_000);
    await expect(takeOver(0)).rejects.toMatchObject({ code: 'lease-busy' });
    child.stop();
    const token = await takeOver(20_000);
    expect(clock.now()).toBeGreaterThanOrEqual(lease.expiresAt);
    expect(token).toBe(lease.token + 1);
    child.wakeUp();
    child.goOn();
    expect(await child.answer()).toEqual({ code: 'lease-lost' });
  });

  it('is taken over where the pid of its holder belongs to another by now', async () => {
    const before: ProcessIdentity | null = self === null ? null : { ...self, startedAt: '1' };
    await journal.acquire('hook', { name: 'one long ago', process: before }, 60_000);
    expect(await takeOver(0)).toBe(2);
  });

  it('is waited for where its holder is of another machine, or did not tell', async () => {
    for (const process of [self === null ? null : { ...self, boot: 'another', startedAt: '1' }, null]) {
      const answer = await journal.acquire('hook', { name: 'somebody', process }, 60_000);
      await expect(takeOver(0)).rejects.toMatchObject({ code: 'lease-busy' });
      if ('lease' in answer) await journal.release(answer.lease);
    }
  });
});
