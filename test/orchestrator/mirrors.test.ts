import { afterEach, describe, expect, it } from 'vitest';
import type { MirrorPolicy } from '../../src/model/policy.ts';
import { cron, cronToEnd, expectSettled, look, toDeploy, toMonitor, waitsFor } from './story.ts';
import { oldValue, policyOf, secret, World } from './world.ts';

let world = new World();
afterEach(() => world.close());

const plain: MirrorPolicy = { key: 'plain', property: null, format: 'plain' };
const shared: MirrorPolicy = { key: 'shared', property: 'HOOK', format: 'plain' };
const documents: MirrorPolicy = { key: 'documents', property: null, format: 'active_secrets' };

const mirrored = (...mirrors: readonly MirrorPolicy[]): World => new World([policyOf({ mirrors })]);

const copy = (key: string): string => world.place.plain(key) ?? '';

async function statuses(): Promise<readonly string[]> {
  const all = JSON.parse(copy('documents')) as Record<string, { active_secrets: { status: string }[] }>;
  return all[secret]?.active_secrets.map(({ status }) => status) ?? [];
}

describe('plain copies', () => {
  it('show the primary at each step, and every accepted version to those who read them all', async () => {
    world = mirrored(plain, shared, documents);
    world.place.writePlain('shared', '{"OTHER":"stays","HOOK":"something else"}');
    await toDeploy(world);
    expect([copy('plain'), JSON.parse(copy('shared'))]).toEqual([oldValue, { OTHER: 'stays', HOOK: oldValue }]);
    expect(await statuses()).toEqual(expect.arrayContaining(['primary', 'deprecated']));
    await world.seconds(8);
    await world.orchestrator.advance(secret);
    expect((await look(world)).step).toBe('monitor');
    const fresh = await world.primaryValue();
    expect([copy('plain'), JSON.parse(copy('shared'))]).toEqual([fresh, { OTHER: 'stays', HOOK: fresh }]);
    expect(await statuses()).toHaveLength(2);
    expect((await cronToEnd(world)).state).toBe('completed');
    expect(await statuses()).toEqual(['primary']);
    await expectSettled(world, 'new');
  });

  it('show the old value again on the way back', async () => {
    world = mirrored(plain, documents);
    await toMonitor(world);
    expect(copy('plain')).not.toBe(oldValue);
    await world.orchestrator.abort(secret, 'no');
    expect(copy('plain')).toBe(oldValue);
    expect((await cronToEnd(world)).state).toBe('aborted');
    expect([copy('plain'), await statuses()]).toEqual([oldValue, ['primary']]);
    await expectSettled(world, 'old');
  });

  it('that somebody changed are made right by the next rotation', async () => {
    world = mirrored(plain);
    await world.begin();
    world.place.writePlain('plain', 'by hand');
    await world.orchestrator.rotate(secret);
    expect(copy('plain')).toBe(oldValue);
    expect((await cronToEnd(world)).state).toBe('completed');
    expect(copy('plain')).toBe(await world.primaryValue());
  });

  it('of a first rotation come with its first primary, and never show a pending value', async () => {
    world = mirrored(plain);
    world.receiver();
    world.receiver();
    await world.orchestrator.rotate(secret);
    expect(world.place.plain('plain')).toBeNull();
    expect((await cronToEnd(world)).state).toBe('completed');
    expect(copy('plain')).toBe(await world.primaryValue());
  });

  it('that cannot be written stop the run before the switch, and it goes on when a person has mended them (I8)', async () => {
    world = mirrored(plain);
    await world.begin();
    world.place.writePlain('plain', '{"somebody":"else"}');
    expect(waitsFor(await world.orchestrator.rotate(secret))).toEqual(['mirror']);
    await cron(world, 60);
    const seen = await look(world);
    expect(seen.waits).toEqual(['mirror']);
    expect(seen.says).toContain('the mirror would replace all of it');
    expect(seen.says).toContain(`keyturn rotate ${secret}`);
    expect(world.upstream.calls()).toHaveLength(0);
    world.place.writePlain('plain', '');
    await world.orchestrator.rotate(secret);
    expect((await cronToEnd(world)).state).toBe('completed');
    expect(copy('plain')).toBe(await world.primaryValue());
    await expectSettled(world, 'new');
  });

  it('that cannot be written stop the revocation, so that their readers are not left with a dead value (I2)', async () => {
    world = mirrored(plain);
    await toDeploy(world);
    world.place.writePlain('plain', '{"somebody":"else"}');
    await cron(world, 90);
    expect(await look(world)).toMatchObject({ step: 'monitor', waits: ['mirror'] });
    expect(await world.stages()).toEqual(['deprecated', 'primary']);
    world.place.writePlain('plain', '');
    await world.orchestrator.rotate(secret);
    expect((await cronToEnd(world)).state).toBe('completed');
    await expectSettled(world, 'new');
  });

  it('that cannot be written keep nobody waiting under compromise, and are asked for at the end', async () => {
    world = mirrored(plain);
    await world.begin();
    world.place.writePlain('plain', '{"somebody":"else"}');
    expect(waitsFor(await world.orchestrator.rotate(secret, { compromised: true }))).toEqual(['mirror']);
    expect(await world.stages()).toEqual(['revoked', 'primary']);
    expect((await world.keyring()).claim).toBeNull();
    expect(world.upstream.signsWith()).toBe(await world.primaryValue());
    world.place.writePlain('plain', '');
    await world.seconds(1);
    await world.orchestrator.rotate(secret);
    expect(copy('plain')).toBe(await world.primaryValue());
    await expectSettled(world, 'new');
  });
});
