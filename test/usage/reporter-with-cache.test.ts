import { expect, test } from 'vitest';
import { createSecretCache } from '../../src/cache/cache.ts';
import { createMemoryUsageLog } from '../../src/memory/usage-log.ts';
import { createSeededRandom } from '../../src/memory/clock.ts';
import { createUsageReporter } from '../../src/usage/reporter.ts';
import { add, committed, createWorld, promote, revoke, settled, steady } from '../cache/support.ts';

test('a receiver\u2019s evidence follows its cache, and no moment in it is earlier than the truth', async () => {
  const { clock, store, put } = createWorld();
  const first = settled('hook');
  await put(first);
  const log = createMemoryUsageLog({ clock });
  const cache = createSecretCache({ store, secrets: ['hook'], clock, random: steady });
  const createdAt = clock.now();
  const usage = createUsageReporter({ log, cache, receiverId: 'web-1', clock, random: createSeededRandom(1) });
  const receiver = async () => (await log.evidence('hook')).receivers[0]!;

  await clock.advance(0);
  expect(await receiver()).toMatchObject({ id: 'web-1', revision: 1, holds: ['v1'], primary: 'v1', uses: [] });
  expect((await receiver()).coveredSince).toBe(createdAt);

  const second = committed(first, add('v2'));
  await put(second);
  await clock.advance(60_000);
  expect(await receiver()).toMatchObject({ revision: 2, holds: ['v2', 'v1'], lastReportAt: clock.now() });

  await clock.advance(3_000);
  const matchedAt = clock.now();
  usage.matched('hook', 'v2', true);
  usage.answered('hook', 'v2', true);
  await clock.advance(20_000);
  const [use] = (await receiver()).uses;
  expect(use).toMatchObject({ version: 'v2', matched: 1, exclusive: 1, notOk: 0 });
  for (const moment of [use!.firstMatchedAt!, use!.lastMatchedAt!, use!.lastExclusiveAt!]) {
    expect(moment).toBeGreaterThanOrEqual(matchedAt);
    expect(moment).toBeLessThanOrEqual(matchedAt + 10_000);
  }

  await put(committed(second, promote('v2'), revoke('v1')));
  await clock.advance(60_000);
  expect(await receiver()).toMatchObject({ revision: 3, holds: ['v2'], primary: 'v2', signedOffAt: null });
  await usage.close();
  await cache.close();
  expect((await receiver()).signedOffAt).toBe(clock.now());
});
