import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { World } from './support/world.ts';

/** The journal in the hands of somebody. */
function by(world: World, sql: string): void {
  const database = new DatabaseSync(join(world.folder, '.keyturn/journal.db'), { timeout: 5_000 });
  database.exec(sql);
  database.close();
}

interface Verified {
  readonly whole: boolean;
  readonly keyed: boolean;
  readonly events: number;
  readonly fault: { readonly kind: string; readonly id: number; readonly secret: string; readonly at: string } | null;
}

async function verified(
  world: World,
  ...more: readonly string[]
): Promise<Verified & { readonly code: number | null }> {
  const { code, stdout, stderr } = await world.run(['audit', 'verify', '--json', ...more]);
  expect(stderr).toBe('');
  return { ...(JSON.parse(stdout) as Verified), code };
}

describe('keyturn audit', { timeout: 120_000 }, () => {
  it('says who did what, when, why and from where, and that nobody changed it since', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    await world.adopt();
    expect((await world.run(['rotate', 'hook', '--reason', 'it is time'])).code).toBe(0);
    const { data } = world.eventData().find(({ event }) => event === 'started')!;
    expect(data['who']).toMatch(/^\S+@\S+$/);
    expect(data['from']).toMatchObject({ command: 'rotate', version: expect.stringMatching(/^keyturn\/\d/) as string });
    expect(data['from']).toMatchObject({ pid: expect.any(Number) as number, host: expect.any(String) as string });

    const head = await world.run(['audit', 'head']);
    expect(head).toMatchObject({ code: 0, stderr: '' });
    expect(head.stdout).toMatch(/^\d+:[0-9a-f]{64}\n/);
    writeFileSync(join(world.folder, 'head.txt'), head.stdout);
    writeFileSync(join(world.folder, 'head.json'), (await world.run(['audit', 'head', '--json'])).stdout);
    expect((await world.run(['hold', 'hook', '--reason', 'not today'])).code).toBe(0);
    for (const file of ['head.txt', 'head.json']) {
      const done = await world.run(['audit', 'verify', '--head-file', file]);
      expect(done).toMatchObject({ code: 0, stderr: '' });
      expect(done.stdout).toMatch(
        /^The audit trail of journal \S+ is whole: \d+ events, 0 pruned\.\n {2}It has no key: /,
      );
      expect(done.stdout).toMatch(/The given head is in it: nothing up to event \d+ was changed or cut off\./);
    }

    by(world, "UPDATE events SET message = 'Nobody did anything.' WHERE event = 'hold'");
    const done = await world.run(['audit', 'verify']);
    expect(done).toMatchObject({ code: 5, stderr: '' });
    expect(done.stdout).toMatch(
      /is not as it was written\.\n {2}Event \d+ was changed\.\n {2}There now: \d{4}-\S+ {2}hook {2}hold {2}Nobody/,
    );
    expect(await verified(world)).toMatchObject({ code: 5, whole: false, fault: { kind: 'changed', secret: 'hook' } });
  });

  it('is sealed with a key: from the first event, from a word on, and with a new key', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    const keyed = (file: string): void => {
      world.writePolicy({ secrets: { hook: {} }, more: { journal: { kind: 'sqlite', auditKey: { file } } } });
    };
    const keys = ['first.key', 'second.key'].map((name, index) => {
      const key = `${String(index)}a9c`.repeat(16);
      writeFileSync(join(world.folder, name), `${key}\n`, { mode: 0o600 });
      return key;
    });
    await world.adopt();
    keyed('first.key');
    const refused = await world.run(['rotate', 'hook']);
    expect(refused).toMatchObject({ code: 5, stdout: '' });
    expect(refused.stderr).toContain('is not sealed with the key that the policy names');
    expect((await world.run(['audit', 'seal', '--reason', 'we have a key now'])).code).toBe(0);
    expect((await world.run(['rotate', 'hook'])).code).toBe(0);
    expect(await verified(world)).toMatchObject({ code: 0, keyed: true });

    keyed('second.key');
    expect((await world.run(['hold', 'hook', '--reason', 'x'])).stderr).toMatch(
      /is sealed with the key \w+, and the policy names the key \w+\./,
    );
    expect((await world.run(['audit', 'seal', '--reason', 'the key is new'])).code).toBe(0);
    expect((await world.run(['hold', 'hook', '--reason', 'x'])).code).toBe(0);
    const { events, ...sealed } = await verified(world);
    expect(sealed).toMatchObject({ code: 0, keyed: true, fault: null });
    by(world, 'DELETE FROM events WHERE id = (SELECT max(id) FROM events)');
    expect(await verified(world)).toMatchObject({ code: 5, fault: { kind: 'cut-off', id: events } });
    const journal = readFileSync(join(world.folder, '.keyturn/journal.db'), 'latin1');
    for (const key of keys) expect(journal).not.toContain(key);
  });

  it('verifies a trail that was pruned', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    world.writePolicy({ secrets: { hook: {} }, more: { retain: { runs: 1 } } });
    await world.adopt();
    for (let round = 0; round < 3; round += 1) {
      expect((await world.run(['rotate', 'hook'])).code).toBe(0);
      expect((await world.run(['abort', 'hook', '--reason', 'again'])).code).toBe(0);
    }
    expect((await world.run(['history', '--prune'])).stdout).toContain('Removed 2 ended runs');
    const done = await world.run(['audit', 'verify']);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.stdout).toMatch(/is whole: \d+ events, [1-9]\d* pruned\./);
    by(world, 'DELETE FROM audit_pruned');
    expect(await verified(world)).toMatchObject({ code: 5, fault: { kind: 'removed', id: 1 } });
  });
});
