import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { Later } from './support/processes.ts';
import { World } from './support/world.ts';

/** An endpoint that answers everything so, and verifies nothing. */
async function startEndpoint(later: Later, status: number): Promise<string> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(status, { connection: 'close' }).end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  later(() => void server.close());
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/hook`;
}

function sendCanariesTo(world: World, url: string): void {
  world.writePolicy({ secrets: { hook: { more: { canary: { url, count: 3 } } } } });
}

describe('canaries of real processes', { timeout: 120_000 }, () => {
  it('are taken by a receiver, reach no handler, and the upstream is told right after (I1, I7)', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    const { receiver } = await world.begin();
    sendCanariesTo(world, receiver.url);
    const done = await world.run(['rotate', 'hook', '--wait']);
    expect(done, done.all).toMatchObject({ code: 0 });
    expect(done.stderr).toContain('Done: asking the receivers by canaries whether they take version');
    const events = world.events();
    expect(events.indexOf('canary-done')).toBe(events.indexOf('activate-started') - 2);
    const { canaries } = world.eventData().find(({ event }) => event === 'canary-done')!.data;
    expect(canaries).toMatchObject([
      ...Array.from({ length: 3 }, () => ({ signedBy: 'new-version', status: 200, reason: null })),
      { signedBy: 'random-key', status: 401, reason: 'signature-mismatch' },
    ]);
    await world.moreDeliveries(5);
    expect([world.refusals(), world.leaks(), world.traces()]).toEqual([{}, [], []]);
    // One that a handler had got would have been answered "ok", and counted.
    const [refused] = receiver.process.stderr().match(/"reason":"signature-mismatch"/g) ?? [];
    expect(refused).toBeDefined();
  });

  it('hold a run before the switch where they are not taken, until somebody mends or overrules it', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    const { receiver } = await world.begin();
    sendCanariesTo(world, await startEndpoint(onTestFinished, 404));
    const waiting = await world.run(['rotate', 'hook', '--wait=4s']);
    expect(waiting, waiting.all).toMatchObject({ code: 3 });
    expect(waiting.stderr).toContain('waits for canary: Not all canaries of hook were answered by 127.0.0.1:');
    expect(waiting.stderr).toContain('canary 1, 2, 3 answered 404.');
    expect(world.hook().calls).toEqual([]);
    const accepted = await world.run(['unhold', 'hook', '--accept', 'canary', '--reason', 'it moves tomorrow']);
    expect(accepted, accepted.all).toMatchObject({ code: 0 });
    const done = await world.run(['rotate', 'hook', '--wait']);
    expect(done, done.all).toMatchObject({ code: 0 });
    expect(world.hook().calls.length).toBeGreaterThan(0);
    await world.moreDeliveries(5);
    expect([world.refusals(), world.leaks(), receiver.process.hasEnded()]).toEqual([{}, [], false]);
  });

  it('call for a person where an endpoint takes anything', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    await world.begin();
    sendCanariesTo(world, await startEndpoint(onTestFinished, 200));
    const stopped = await world.run(['rotate', 'hook', '--wait']);
    expect(stopped, stopped.all).toMatchObject({ code: 4 });
    expect(stopped.stderr).toContain(
      'took a message that a random key had signed (answered 200): it verifies nothing.',
    );
    expect((await world.status()).state).toBe('needs-person');
    const back = await world.run(['abort', 'hook', '--reason', 'look first']);
    expect(back, back.all).toMatchObject({ code: 0 });
    expect([world.hook().calls, world.refusals(), world.leaks()]).toEqual([[], {}, []]);
  });
});
