import { createHmac } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createSecretCache } from '../../src/cache/cache.ts';
import type { Result } from '../../src/webhook/result.ts';
import { canaryHeader, isCanary, signedCanary } from '../../src/webhook/canary.ts';
import { createVerifier, type VerifyRequest } from '../../src/webhook/verifier.ts';
import { add, claim, committed, createWorld, promote, revoke, settled, steady, valueOf } from '../cache/support.ts';
import { createRecordingLog, createRecordingUsage, header, openTestReceiver, signatureOf, signed } from './support.ts';

const body = Buffer.from('{"message":"grüße"}');

/** A verifier on a keyring with v1 as its primary, and a world to change. */
async function open(keyring = settled('hook')) {
  const world = createWorld();
  await world.put(keyring);
  const { clock, store } = world;
  const cache = createSecretCache({ store, secrets: ['hook'], clock, random: steady });
  await cache.ready();
  const usage = createRecordingUsage();
  const log = createRecordingLog();
  const verifier = createVerifier({ cache, secret: 'hook', scheme: 'github', usage, clock, log });
  return { ...world, keyring, cache, usage, log, verifier };
}

describe('a signature', () => {
  test('of any accepted version is accepted, in both ways, and counted', async () => {
    const { verifier, usage, cache } = await open(committed(settled('hook'), add('v2'), promote('v2'), add('v3')));
    for (const [versionId, stage] of [
      ['v1', 'deprecated'],
      ['v2', 'primary'],
      ['v3', 'pending'],
    ] as const) {
      const matched = { ok: true, versionId, stage, alsoMatched: [], canary: false };
      expect(verifier.verifySync({ headers: signed(versionId, body), body })).toEqual(matched);
      expect(await verifier.verify({ headers: new Headers(signed(versionId, body)), body })).toEqual(matched);
    }
    expect(usage.calls).toEqual(['v1', 'v1', 'v2', 'v2', 'v3', 'v3'].map((id) => `matched hook ${id} true`));
    await cache.close();
  });

  test('is checked over exact bytes: empty, not UTF-8, large, text, ArrayBuffer', async () => {
    const { verifier } = await open();
    const invalid = Buffer.from([0xff, 0xfe, 0x00, 0x80, 0xc3]);
    const bodies = [
      Buffer.alloc(0),
      invalid,
      Buffer.alloc(65_536, 1),
      Buffer.alloc(200_000, 2),
      new Uint8Array(invalid),
    ];
    for (const each of bodies) {
      expect(verifier.verifySync({ headers: signed('v1', each), body: each }).ok).toBe(true);
    }
    expect(verifier.verifySync({ headers: signed('v1', 'grüße'), body: 'grüße' }).ok).toBe(true);
    expect(
      verifier.verifySync({ headers: signed('v1', 'text'), body: new TextEncoder().encode('text').buffer }).ok,
    ).toBe(true);
    const decoded = invalid.toString('utf8');
    expect(verifier.verifySync({ headers: signed('v1', invalid), body: decoded })).toMatchObject({ status: 401 });
  });

  const hex = signatureOf(valueOf('v1'), body).slice('sha256='.length);
  const sha1 = `sha1=${createHmac('sha1', valueOf('v1')).update(body).digest('hex')}`;
  const bad: readonly (readonly [string, VerifyRequest['headers'], string])[] = [
    ['missing', {}, 'header-missing'],
    ['missing in Headers', new Headers(), 'header-missing'],
    ['doubled', [header, `sha256=${hex}`, header, `sha256=${hex}`], 'header-malformed'],
    ["doubled and joined by Node's parser", { [header]: `sha256=${hex}, sha256=${hex}` }, 'header-malformed'],
    ['empty', { [header]: '' }, 'header-malformed'],
    ['without its prefix', { [header]: hex }, 'prefix-wrong'],
    ['with another prefix', { [header]: `sha512=${hex}` }, 'prefix-wrong'],
    ['with the prefix in another case', { [header]: `SHA256=${hex}` }, 'prefix-wrong'],
    ['one digit short', { [header]: `sha256=${hex.slice(1)}` }, 'header-malformed'],
    ['one byte short', { [header]: `sha256=${hex.slice(2)}` }, 'header-malformed'],
    ['one byte long', { [header]: `sha256=${hex}00` }, 'header-malformed'],
    ['not hexadecimal', { [header]: `sha256=${'z'.repeat(64)}` }, 'header-malformed'],
    ['a megabyte long', { [header]: `sha256=${'a'.repeat(1024 * 1024)}` }, 'header-malformed'],
    ['SHA-1 alone', { 'x-hub-signature': sha1 }, 'algorithm-refused'],
    ['SHA-1 in the header of SHA-256', { [header]: sha1 }, 'prefix-wrong'],
  ];
  test.each(bad)('that is %s gets 401 with its own reason, and costs no refetch', async (_name, headers, reason) => {
    const { verifier, clock, store, usage } = await open();
    await clock.advance(10_000);
    const before = store.control.calls.reads;
    expect(verifier.verifySync({ headers, body })).toEqual({ ok: false, reason, status: 401 });
    expect(await verifier.verify({ headers, body })).toEqual({ ok: false, reason, status: 401 });
    expect(verifier.checkHeaders(headers)).toEqual({ ok: false, reason, status: 401 });
    expect(store.control.calls.reads).toBe(before);
    expect(usage.calls).toEqual([]);
  });

  test('in upper-case hexadecimal, and beside one of SHA-1, is accepted', async () => {
    const { verifier } = await open();
    const headers = { 'X-Hub-Signature-256': `sha256=${hex.toUpperCase()}`, 'X-Hub-Signature': sha1 };
    expect(verifier.verifySync({ headers, body }).ok).toBe(true);
  });

  test('over a body that was parsed gets 500, and a log line that says how to get the bytes', async () => {
    const { verifier, log } = await open();
    for (const parsed of [{ message: 'hello' }, undefined, null, 7, [1, 2, 3]]) {
      const request = { headers: signed('v1', body), body: parsed } as unknown as VerifyRequest;
      const refused = { ok: false, reason: 'body-already-parsed', status: 500 };
      expect(verifier.verifySync(request)).toEqual(refused);
      expect(await verifier.verify(request)).toEqual(refused);
    }
    expect(log.lines).toHaveLength(10);
    expect(log.lines[0]).toMatchObject({ level: 'error', message: expect.stringContaining('express.json()') });
  });

  test('is judged by whatever is accepted now', async () => {
    const { verifier, cache, put, keyring } = await open();
    const second = committed(keyring, add('v2'));
    await put(second);
    await cache.refresh();
    expect(verifier.verifySync({ headers: signed('v2', body), body })).toMatchObject({ ok: true, stage: 'pending' });
    const third = committed(second, promote('v2'));
    await put(third);
    await cache.refresh();
    expect(verifier.verifySync({ headers: signed('v2', body), body })).toMatchObject({ ok: true, stage: 'primary' });
    expect(verifier.verifySync({ headers: signed('v1', body), body })).toMatchObject({ ok: true, stage: 'deprecated' });
    await put(committed(third, revoke('v1')));
    await cache.refresh();
    expect(verifier.verifySync({ headers: signed('v1', body), body })).toMatchObject({ ok: false, status: 401 });
    expect(verifier.verifySync({ headers: signed('v2', body), body }).ok).toBe(true);
  });

  test('is found in whatever order versions take turns', async () => {
    const { verifier } = await open(committed(settled('hook'), add('v2'), promote('v2'), add('v3')));
    fc.assert(
      fc.property(fc.array(fc.constantFrom('v1', 'v2', 'v3', 'v9')), (order) => {
        for (const version of order) {
          const result = verifier.verifySync({ headers: signed(version, body), body });
          expect(result.ok ? result.versionId : result.reason).toBe(version === 'v9' ? 'signature-mismatch' : version);
        }
      }),
    );
  });

  test('checked concurrently is never mixed up with another', async () => {
    const { verifier, clock } = await open();
    await clock.advance(10_000);
    const bodies = Array.from({ length: 200 }, (_, index) => Buffer.alloc(index * 7, index));
    const results = await Promise.all(
      bodies.map((each, index) => {
        const headers = signed(index % 3 === 0 ? 'v9' : 'v1', each);
        return verifier.verify({ headers, body: each });
      }),
    );
    expect(results.map((result) => result.ok)).toEqual(bodies.map((_, index) => index % 3 !== 0));
  });
});

describe('401 or 503 for a signature that nothing explains', () => {
  const junk: VerifyRequest = { headers: signed('v9', body), body };
  const forGood = { ok: false, reason: 'signature-mismatch', status: 401 };
  const tryAgain = { ok: false, reason: 'signature-mismatch', status: 503, retryAfterSeconds: 5 };
  const outOfReach = { ok: false, reason: 'store-unreachable', status: 503, retryAfterSeconds: 5 };

  test('a snapshot younger than a second: 401 without asking the store', async () => {
    const { verifier, clock, store } = await open();
    await clock.advance(999);
    expect(verifier.verifySync(junk)).toEqual(forGood);
    expect(await verifier.verify(junk)).toEqual(forGood);
    expect(store.control.calls.reads).toBe(1);
  });

  test('an older one: one refetch shared by all, then 401; without a refetch, 503', async () => {
    const { verifier, clock, store } = await open();
    await clock.advance(1_000);
    expect(verifier.verifySync(junk)).toEqual(tryAgain);
    const results = await Promise.all(Array.from({ length: 20 }, () => verifier.verify(junk)));
    expect(results).toEqual(results.map(() => forGood));
    expect(store.control.calls.reads).toBe(2);
    expect(verifier.verifySync(junk)).toEqual(forGood);
  });

  test('a version that the refetch brings is accepted at once', async () => {
    const { verifier, clock, put, keyring } = await open();
    await clock.advance(30_000);
    await put(committed(keyring, add('v2')));
    expect(await verifier.verify({ headers: signed('v2', body), body })).toMatchObject({ ok: true, versionId: 'v2' });
  });

  /** Two refetches that brought nothing, and then too early for the third. */
  async function exhausted(keyring = settled('hook')) {
    const opened = await open(keyring);
    const { verifier, clock, store } = opened;
    await clock.advance(5_000);
    await verifier.verify(junk);
    await clock.advance(1_000);
    await verifier.verify(junk);
    await clock.advance(1_500);
    expect(store.control.calls.reads).toBe(3);
    return opened;
  }

  test('no budget, and the young snapshot shows a settled secret: 401', async () => {
    const { verifier, store } = await exhausted();
    expect(await verifier.verify(junk)).toEqual(forGood);
    expect(store.control.calls.reads).toBe(3);
  });

  test('no budget while a rotation is under way: 503', async () => {
    const { verifier, store } = await exhausted(committed(settled('hook'), claim('v2'), add('v2')));
    expect(await verifier.verify(junk)).toEqual(tryAgain);
    expect(store.control.calls.reads).toBe(3);
  });

  test('the store does not answer: 503, and what is known is still accepted', async () => {
    const { verifier, clock, store } = await open();
    await clock.advance(5_000);
    store.control.unreachable = true;
    expect(await verifier.verify(junk)).toEqual(outOfReach);
    expect((await verifier.verify({ headers: signed('v1', body), body })).ok).toBe(true);
  });

  test('no budget and the store out of reach for longer than an interval: 503', async () => {
    const { verifier, clock, store } = await open();
    store.control.unreachable = true;
    await clock.advance(5 * 60_000);
    expect(await verifier.verify(junk)).toEqual(outOfReach);
    expect(await verifier.verify(junk)).toEqual(outOfReach);
  });

  test('before the first snapshot: 503, for the reason there is', async () => {
    const { verifier, world, cache, log } = await openTestReceiver();
    const { clock, store } = world;
    const none = { ok: false, reason: 'no-accepted-version', status: 503, retryAfterSeconds: 5 };
    expect(await verifier('lost').verify(junk)).toEqual(none);
    expect(verifier('lost').verifySync(junk)).toEqual(none);
    store.control.unreachable = true;
    const unreached = createSecretCache({ store, secrets: ['hook'], clock, random: steady });
    await unreached.ready().catch(() => {});
    const other = createVerifier({ cache: unreached, secret: 'hook', scheme: 'meta', clock, log });
    expect(await other.verify(junk)).toEqual(outOfReach);
    expect(other.verifySync(junk)).toEqual(outOfReach);
    expect(other.verifySync({ headers: {}, body })).toMatchObject({ reason: 'header-missing', status: 401 });
    await cache.close();
    await unreached.close();
  });
});

describe('an outcome', () => {
  test('is counted once for a match of this verifier, and as ok only for 2xx', async () => {
    const { verifier, usage, cache, clock } = await open();
    const request = { headers: signed('v1', body), body };
    const other = createVerifier({ cache, secret: 'hook', scheme: 'github', usage, clock });
    for (const status of [200, 204, 299, 199, 300, 400, 500, 0, Number.NaN]) {
      const result = verifier.verifySync(request);
      other.outcome(result, 200);
      verifier.outcome(result, status);
      verifier.outcome(result, 200);
    }
    const answers = usage.calls.filter((call) => call.startsWith('answered'));
    const oks = [true, true, true, false, false, false, false, false, false];
    expect(answers).toEqual(oks.map((ok) => `answered hook v1 ${String(ok)}`));
  });

  test('of a refusal, or of something that is no result, counts nothing', async () => {
    const { verifier, usage } = await open();
    verifier.outcome(verifier.verifySync({ headers: {}, body }), 401);
    const match = verifier.verifySync({ headers: signed('v1', body), body });
    const strangers = [{ ...match }, null, undefined, 'ok', 7];
    for (const stranger of strangers) verifier.outcome(stranger as Result, 200);
    expect(usage.calls).toEqual(['matched hook v1 true']);
  });
});

describe('a verifier', () => {
  test('never throws, whatever it is handed', async () => {
    const { verifier } = await open();
    const hostile = new Proxy(
      {},
      {
        get: () => {
          throw new Error('hostile');
        },
      },
    );
    const anything = fc.oneof(fc.anything(), fc.constant(hostile));
    const request = fc.oneof(anything, fc.record({ headers: anything, body: anything }, { requiredKeys: [] }));
    await fc.assert(
      fc.asyncProperty(request, async (garbage) => {
        const given = garbage as VerifyRequest;
        const results = [verifier.verifySync(given), await verifier.verify(given)];
        for (const result of results) expect(result.ok).toBe(false);
        verifier.outcome(given as unknown as Result, 200);
        verifier.checkHeaders(given as unknown as VerifyRequest['headers']);
      }),
      { numRuns: 500 },
    );
  });

  test('refuses every signature text that is not the right one', async () => {
    const { verifier } = await open();
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^sha256=[0-9a-f]{60,68}$/)), (text) => {
        const result = verifier.verifySync({ headers: { [header]: text }, body });
        expect(result).toMatchObject({ ok: false, status: 401 });
      }),
    );
  });

  test('names a request in its log lines, and lives with one that cannot be named', async () => {
    const { verifier, log } = await open();
    const parsed = { headers: signed('v1', body), body: {} as string };
    verifier.verifySync({ ...parsed, requestId: 'q7' });
    expect(log.lines.at(-1)!.fields).toEqual({ reason: 'body-already-parsed', secret: 'hook', requestId: 'q7' });
    const hostile = Object.defineProperty({ ...parsed }, 'requestId', {
      get: () => {
        throw new Error('no');
      },
    });
    expect(verifier.verifySync(hostile)).toMatchObject({ status: 500 });
    expect(log.lines.at(-1)!.fields).toEqual({ reason: 'body-already-parsed', secret: 'hook' });
  });

  test('does not exist for a secret that the cache does not hold, or for a scheme it does not know', async () => {
    const { cache } = await open();
    const make = (secret: string, scheme: string) => () => createVerifier({ cache, secret, scheme });
    expect(make('other', 'github')).toThrow(expect.objectContaining({ code: 'secret-unknown' }));
    expect(make('hook', 'stripe')).toThrow(expect.objectContaining({ code: 'not-in-this-version' }));
  });

  test('shows no value and no signature when it is printed', async () => {
    const { verifier, log } = await open();
    const result = verifier.verifySync({ headers: signed('v1', body), body });
    const printed = inspect([verifier, result, log.lines], { depth: 10, showHidden: true });
    expect(printed).not.toContain(valueOf('v1'));
    expect(printed).not.toContain(signatureOf(valueOf('v1'), body).slice(7));
  });

  test('answers 503 rather than 401 when something on its own side breaks', async () => {
    const { cache, clock, log } = await open();
    const broken = {
      ...createRecordingUsage(),
      matched: () => {
        throw new Error('broken');
      },
    };
    const verifier = createVerifier({ cache, secret: 'hook', scheme: 'github', usage: broken, clock, log });
    expect(verifier.verifySync({ headers: signed('v1', body), body })).toMatchObject({ status: 503 });
    expect(log.lines).toHaveLength(1);
  });
});

describe('a canary', () => {
  const id = 'm0123456789';
  const ring = () => committed(settled('hook'), add('v2'));

  test('is accepted and says so, whichever version signed it, and is counted as no delivery', async () => {
    const { verifier, usage } = await open(ring());
    for (const [versionId, stage] of [
      ['v2', 'pending'],
      ['v1', 'primary'],
    ] as const) {
      const message = signedCanary('github', valueOf(versionId), id);
      const accepted = { ok: true, versionId, stage, alsoMatched: [], canary: true };
      expect(verifier.verifySync(message)).toEqual(accepted);
      const result = await verifier.verify(message);
      expect(result).toEqual(accepted);
      verifier.outcome(result, 200);
      verifier.outcome(result, 500);
    }
    expect(usage.calls).toEqual([]);
  });

  test('with a signature of anything else is refused as any message', async () => {
    const { verifier, usage } = await open(ring());
    const stray = signedCanary('github', 'a random key', id);
    expect(await verifier.verify(stray)).toEqual({ ok: false, reason: 'signature-mismatch', status: 401 });
    const moved = { ...signedCanary('github', valueOf('v2'), id), body: signedCanary('github', 'x', 'm1').body };
    expect(await verifier.verify(moved)).toMatchObject({ ok: false, status: 401 });
    expect(usage.calls).toEqual([]);
  });

  test('is none by its header: a delivery with the header of one stays a delivery', async () => {
    const { verifier, usage } = await open(ring());
    for (const about of [id, '', 'true', 'm1, m2']) {
      const result = await verifier.verify({ headers: { ...signed('v1', body), [canaryHeader]: about }, body });
      expect(result).toMatchObject({ ok: true, canary: false });
    }
    expect(usage.calls).toEqual(Array.from({ length: 4 }, () => 'matched hook v1 true'));
  });

  test('stays one without its header, or with another: it is no sign of what the upstream signs with', async () => {
    const { verifier, usage } = await open(ring());
    const { headers, body: text } = signedCanary('github', valueOf('v2'), id);
    const signature = { [header]: headers[header] };
    for (const each of [signature, { ...signature, [canaryHeader]: 'm9' }]) {
      expect(await verifier.verify({ headers: each, body: text })).toMatchObject({ ok: true, canary: true });
    }
    expect(usage.calls).toEqual([]);
  });

  test('changes nothing of what is tried first', async () => {
    const { verifier } = await open(ring());
    for (let sent = 0; sent < 6; sent++) {
      expect(verifier.verifySync(signedCanary('github', valueOf('v1'), id))).toMatchObject({ versionId: 'v1' });
    }
    expect(verifier.verifySync({ headers: signed('v2', body), body })).toMatchObject({ versionId: 'v2' });
  });

  test.each([
    '{"keyturn":"canary"}',
    '{"keyturn":"canary","id":""}',
    '{"keyturn":"canary","id":"m1","more":1}',
    '{"keyturn":"canary","id":"M1"}',
    '{"keyturn":"canary","id":"m 1"}',
    '{"keyturn": "canary","id":"m1"}',
    '{"keyturn":"canary","id":7}',
    ` {"keyturn":"canary","id":"m1"}`,
    `{"keyturn":"canary","id":"${'m'.repeat(41)}"}`,
    '{"keyturn":"canarx","id":"m1"}',
    '',
  ])('is no other message: %s', async (text) => {
    const { verifier, usage } = await open();
    expect(verifier.verifySync({ headers: signed('v1', text), body: text })).toMatchObject({ ok: true, canary: false });
    expect(usage.calls).toEqual(['matched hook v1 true']);
  });

  test('is exactly what is made as one, whatever bytes there are', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9]{1,40}$/), fc.uint8Array({ maxLength: 80 }), (name, bytes) => {
        const canary = Buffer.from(signedCanary('github', 'x', name).body);
        expect(isCanary(canary)).toBe(true);
        expect(isCanary(bytes)).toBe(false);
        for (const at of canary.keys()) {
          const changed = Buffer.from(canary);
          changed[at] = 0x2e;
          expect(isCanary(changed)).toBe(false);
        }
      }),
      { numRuns: 50 },
    );
  });
});
