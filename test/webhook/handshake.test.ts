import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { answerHandshake } from '../../src/webhook/handshake.ts';
import { add, committed, settled, valueOf } from '../cache/support.ts';
import { openTestReceiver } from './support.ts';

async function open() {
  const receiver = await openTestReceiver();
  const { cache, usage, world } = receiver;
  const parts = { cache, usage, clock: world.clock, secret: 'verify-token' };
  const ask = (query: string) => answerHandshake(parts, `/webhook?${query}`);
  return { ...receiver, parts, ask };
}

function query(token: string, challenge = '1158201444'): string {
  return new URLSearchParams({
    'hub.mode': 'subscribe',
    'hub.verify_token': token,
    'hub.challenge': challenge,
  }).toString();
}

const refused = { ok: false, status: 403, reason: 'handshake-refused' };
const malformed = { ok: false, status: 400, reason: 'handshake-malformed' };

describe('a handshake', () => {
  test('with the verify token gets its challenge, and counts as a use that was answered', async () => {
    const { ask, usage } = await open();
    expect(await ask(query(valueOf('t1')))).toEqual({ ok: true, challenge: '1158201444', versionId: 't1' });
    expect(usage.calls).toEqual(['matched verify-token t1 true', 'answered verify-token t1 true']);
  });

  test('is accepted with every accepted token, the one that only a refetch brings included', async () => {
    const { ask, world, parts } = await open();
    await world.clock.advance(30_000);
    await world.put(committed(settled('verify-token', 't1'), add('t2')));
    expect(await ask(query(valueOf('t2')))).toMatchObject({ ok: true, versionId: 't2' });
    expect(await ask(query(valueOf('t1')))).toMatchObject({ ok: true, versionId: 't1' });
    const whole = `https://hooks.example.com/webhook?${query(valueOf('t1'))}#fragment`;
    expect(await answerHandshake(parts, whole)).toMatchObject({ ok: true, challenge: '1158201444' });
  });

  test('with a wrong token is refused; where the token may be unknown only here, it is to come again', async () => {
    const { ask, world, usage } = await open();
    expect(await ask(query('wrong'))).toEqual(refused);
    await world.clock.advance(5_000);
    world.store.control.unreachable = true;
    const later = { ok: false, status: 503, reason: 'store-unreachable', retryAfterSeconds: 5 };
    expect(await ask(query('wrong'))).toEqual(later);
    expect(usage.calls).toEqual([]);
  });

  test('before the first snapshot is to come again', async () => {
    const { parts } = await open();
    const answer = await answerHandshake({ ...parts, secret: 'lost' }, `/?${query(valueOf('t1'))}`);
    expect(answer).toMatchObject({ status: 503, reason: 'no-accepted-version' });
  });

  const token = encodeURIComponent(valueOf('t1'));
  const odd: readonly (readonly [string, string, object])[] = [
    ['nothing', '', refused],
    ['no mode', `hub.verify_token=${token}&hub.challenge=1`, refused],
    ['another mode', `hub.mode=unsubscribe&hub.verify_token=${token}&hub.challenge=1`, refused],
    ['no token', 'hub.mode=subscribe&hub.challenge=1', refused],
    ['an empty token', 'hub.mode=subscribe&hub.verify_token=&hub.challenge=1', refused],
    ['two tokens', `hub.mode=subscribe&hub.verify_token=${token}&hub.verify_token=x&hub.challenge=1`, refused],
    ['two modes', `hub.mode=subscribe&hub.mode=subscribe&hub.verify_token=${token}&hub.challenge=1`, refused],
    ['a token as an array', `hub.mode=subscribe&hub.verify_token[]=${token}&hub.challenge=1`, refused],
    ['no challenge', `hub.mode=subscribe&hub.verify_token=${token}`, malformed],
    ['an empty challenge', `hub.mode=subscribe&hub.verify_token=${token}&hub.challenge=`, malformed],
    ['two challenges', `${query(valueOf('t1'))}&hub.challenge=2`, malformed],
    ['a challenge over 1 KB', query(valueOf('t1'), '1'.repeat(1_025)), malformed],
    ['a challenge with a line break', query(valueOf('t1'), '1\r\nset-cookie: a=b'), malformed],
    ['a challenge that is not ASCII', query(valueOf('t1'), 'é'), malformed],
  ];
  test.each(odd)('with %s is not answered', async (_name, text, answer) => {
    expect(await (await open()).ask(text)).toEqual(answer);
  });

  test('never throws, and never comes back but for the token', async () => {
    const { parts } = await open();
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string({ unit: 'binary' }), fc.webQueryParameters()), async (text) => {
        expect((await answerHandshake(parts, `/?${text}`)).ok).toBe(false);
      }),
    );
  });
});
