import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finished, Later } from './support/processes.ts';
import { deliver } from './support/sender.ts';
import { accepts, answers, TestUpstream } from './support/upstream.ts';
import { until } from './support/until.ts';
import { eventLines, type Receiver, traceLines, World } from './support/world.ts';

const names = [
  'unauthorized',
  'not-found',
  'too-many',
  'broken',
  'hanging',
  'cut',
  'refusing',
  'redirecting',
  'unset-token',
  'deaf',
  'deaf-with-traffic',
];

describe.concurrent('an upstream that does not do as it is told', { timeout: 240_000 }, () => {
  const closers: Parameters<Later>[0][] = [];
  let world: World;
  let receiver: Receiver;
  /** One that can be off while the others are on. */
  let shaky: TestUpstream;
  /** Where a redirect points to; nobody may ever go there. */
  let elsewhere: string;
  let strayCalls = 0;

  beforeAll(async () => {
    const later: Later = (stop) => closers.push(stop);
    shaky = await TestUpstream.start(later);
    await shaky.stop();
    const stray = createServer((_request, response) => {
      strayCalls += 1;
      response.end('{}');
    }).listen(0, '127.0.0.1');
    await once(stray, 'listening');
    later(() => void stray.close());
    elsewhere = `http://127.0.0.1:${String((stray.address() as AddressInfo).port)}/elsewhere`;
    world = await World.open(later, {
      ...Object.fromEntries(names.map((name) => [name, {}])),
      hanging: { timeout: '1s' },
      refusing: { url: `${shaky.url}/refusing` },
      'unset-token': { tokenVariable: 'TOKEN_THAT_NOBODY_SET' },
    });
    receiver = await world.startReceiver(names);
  });

  afterAll(async () => {
    for (const close of closers.reverse()) await close();
  });

  async function begin(name: string): Promise<string> {
    const old = await world.adopt(name);
    await until(`the receiver has ${name}`, async () => (await deliver(`${receiver.url}/${name}`, old)) === 200);
    world.hook(name).send(15, `${receiver.url}/${name}`);
    await world.moreDeliveries(3, name);
    return old;
  }

  /** After it was mended, `rotate` again completes the same run, and nothing was ever refused. */
  async function expectMended(name: string, old: string, env: Record<string, string> = {}): Promise<void> {
    const again = await world.run(['rotate', name, '--wait', '--json'], { env });
    expect(again, name).toMatchObject({ code: 0, stderr: '' });
    expect(eventLines(again.stdout).at(-1)).toMatchObject({ event: 'ended', outcome: 'completed' });
    expect(world.runs(name)).toMatchObject([{ state: 'completed' }]);
    expect(world.keyring(name).versions.map(({ stage }) => stage)).toEqual(['revoked', 'primary']);
    await until('the old value is refused', async () => (await deliver(`${receiver.url}/${name}`, old)) === 401);
    expect(world.refusals(name)).toEqual({});
  }

  /** Says which secret, what happened and what to do, and nothing that only a programmer reads. */
  function expectWords(finished: Finished, ...words: readonly (string | RegExp)[]): void {
    for (const word of words) expect(finished.all).toMatch(word);
    expect(traceLines(finished.all)).toEqual([]);
    expect(finished.all).not.toMatch(/undefined|\[object|NaN/);
  }

  it('401: it fails at once, names the credential and its variable, and goes on when that is right (I1 I5)', async () => {
    const name = 'unauthorized';
    const old = await begin(name);
    const failed = await world.run(['rotate', name, '--wait'], { env: { HOOK_TOKEN: 'not-the-right-one-1234' } });
    expect(failed.code).toBe(1);
    expectWords(failed, name, /answered 401/, /HOOK_TOKEN/, `keyturn rotate ${name}`);
    expect(failed.all).not.toContain('not-the-right-one-1234');
    expect(world.keyring(name).versions.map(({ stage }) => stage)).toEqual(['primary', 'pending']);
    await expectMended(name, old);
  });

  it('404: it fails at once and names the place in the policy (I1 I5)', async () => {
    const name = 'not-found';
    const old = await begin(name);
    world.hook(name).react(answers(404, { body: { message: 'No such hook' } }));
    const failed = await world.run(['rotate', name, '--wait']);
    expect(failed.code).toBe(1);
    expectWords(failed, name, /answered 404/, /No such hook/, /steps\.activate\.url/);
    const status = await world.status(name);
    expect(status).toMatchObject({
      state: 'failed',
      run: { step: 'update', checks: [{ name: 'upstream', ok: false }] },
    });
    world.hook(name).react(accepts);
    await expectMended(name, old);
  });

  it('429: it waits as long as the upstream asks, and says so (I1 I5)', async () => {
    const name = 'too-many';
    const old = await begin(name);
    world.hook(name).reactOnce(answers(429, { headers: { 'retry-after': '4' } }));
    const waited = await world.run(['rotate', name, '--wait']);
    expect(waited.code).toBe(0);
    expectWords(waited, name, /answered 429/, /tried again/);
    const [first, second] = world.hook(name).calls;
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(4_000);
    await until('the old value is refused', async () => (await deliver(`${receiver.url}/${name}`, old)) === 401);
    expect(world.refusals(name)).toEqual({});
  });

  it('500: it tries again, and `rotate` again tries at once (I1 I5)', async () => {
    const name = 'broken';
    const old = await begin(name);
    world.hook(name).react(answers(500));
    const failed = await world.followUntil(/Tried 2 times/, name);
    expectWords(failed, name, /answered 500/);
    expect(world.hook(name).calls.length).toBeGreaterThanOrEqual(2);
    world.hook(name).react(accepts);
    await expectMended(name, old);
  });

  it('no answer: the call is given up in time, and may have happened (I1 I5)', async () => {
    const name = 'hanging';
    const old = await begin(name);
    world.hook(name).react({ kind: 'hold', takes: 'never' });
    const waiting = await world.followUntil(/no whole answer within 1s/, name);
    expectWords(waiting, name, /may have changed/);
    await until('the upstream notices', () => world.hook(name).calls[0]?.wasLeft);
    world.hook(name).react(accepts);
    await expectMended(name, old);
  });

  it('an answer that breaks off after the change: the next look proves the switch (I1 I5)', async () => {
    const name = 'cut';
    const old = await begin(name);
    world.hook(name).reactOnce({ kind: 'cut', takes: true });
    const first = await world.run(['rotate', name, '--wait']);
    expect(first.code).toBe(0);
    expectWords(first, name, /without a whole answer/, /may have changed/);
    expect(world.runs(name)).toMatchObject([{ state: 'completed' }]);
    await until('the old value is refused', async () => (await deliver(`${receiver.url}/${name}`, old)) === 401);
    expect(world.refusals(name)).toEqual({});
  });

  it('nobody listens there: it says that nothing was sent, and goes on when somebody does (I1 I5)', async () => {
    const name = 'refusing';
    const old = await begin(name);
    const waiting = await world.followUntil(/ECONNREFUSED/, name);
    expectWords(waiting, name, /Nothing was sent/, new URL(shaky.url).host);
    await shaky.listen();
    // The other one signs the traffic of this secret.
    const { calls } = shaky.hook(name);
    const mended = world.start(['rotate', name, '--wait']);
    const [call] = await until('it is called', () => calls.length > 0 && calls);
    world.hook(name).signWith(call?.value ?? '');
    expect(await mended.finished).toMatchObject({ code: 0 });
    await expectNothingRefused(name, old);
  });

  async function expectNothingRefused(name: string, old: string): Promise<void> {
    expect(world.runs(name)).toMatchObject([{ state: 'completed' }]);
    await until('the old value is refused', async () => (await deliver(`${receiver.url}/${name}`, old)) === 401);
    expect(world.refusals(name)).toEqual({});
  }

  it('a redirect is not followed, and the message names where it points to (I7)', async () => {
    const name = 'redirecting';
    const old = await begin(name);
    world.hook(name).react(answers(307, { headers: { location: elsewhere } }));
    const failed = await world.run(['rotate', name, '--wait']);
    expect(failed.code).toBe(1);
    expectWords(failed, name, /answered 307/, /redirects are not followed/, new URL(elsewhere).host, /allowHosts/);
    expect(strayCalls).toBe(0);
    world.hook(name).react(accepts);
    await expectMended(name, old);
  });

  it('a credential that is not there: exit 1 with the name of its variable, and nothing is sent (I5 I7)', async () => {
    const name = 'unset-token';
    const old = await begin(name);
    const failed = await world.run(['rotate', name, '--wait']);
    expect(failed.code).toBe(1);
    expectWords(failed, name, /TOKEN_THAT_NOBODY_SET is not set/);
    expect(world.hook(name).calls).toEqual([]);
    const checked = await world.run(['check']);
    expect(checked.code).toBe(0);
    expectWords(checked, /warning: .*TOKEN_THAT_NOBODY_SET/);
    const document = await world.run(['rotate', name, '--wait', '--json']);
    expect(document.code).toBe(1);
    expect(eventLines(document.stdout).at(-1)).toMatchObject({ event: 'ended', outcome: 'failed' });
    await expectMended(name, old, { TOKEN_THAT_NOBODY_SET: 'tok/en+5f4e=3d2c1b' });
  });

  it('200 without a change, and no traffic: it waits to see the new value, until a person confirms (I2 I8)', async () => {
    const name = 'deaf';
    const old = await begin(name);
    world.hook(name).send(0);
    world.hook(name).react(answers(200));
    const waiting = await world.followUntil(/waits for new-seen: /, name);
    expectWords(waiting, name, `keyturn confirm ${name}`);
    expect(await deliver(`${receiver.url}/${name}`, old), 'the old value is accepted all the time').toBe(200);
    const [call] = world.hook(name).calls;
    world.hook(name).react(accepts);
    world.hook(name).signWith(call?.value ?? '');
    const confirmed = await world.run(['confirm', name, '--reason', 'set by hand']);
    expect(confirmed).toMatchObject({ code: 0, stderr: '' });
    await expectMended(name, old);
  });

  it('200 with an error body, and old traffic: it keeps waiting whoever confirms, and says why (I1 I2 I8)', async () => {
    const name = 'deaf-with-traffic';
    const old = await begin(name);
    world.hook(name).react(answers(200, { body: { ok: false, error: { message: 'unknown field: secret' } } }));
    expectWords(await world.followUntil(/new-seen: No delivery signed with the new version has arrived/, name));
    expect(await world.run(['confirm', name])).toMatchObject({ code: 0 });
    expectWords(await world.followUntil(/new-seen: The newest delivery was signed with the old version/, name));
    expect(world.keyring(name).versions.map(({ stage }) => stage)).toEqual(['deprecated', 'primary']);
    expect(world.refusals(name)).toEqual({});
    // What it was told takes effect at last.
    world.hook(name).react(accepts);
    world.hook(name).signWith(world.hook(name).calls[0]?.value ?? '');
    await expectMended(name, old);
  });
});
