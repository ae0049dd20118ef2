import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createSecretCache } from '../../src/cache/cache.ts';
import type { Snapshot } from '../../src/cache/types.ts';
import { createFakeClock, createSeededRandom } from '../../src/memory/clock.ts';
import { isKeyturnError } from '../../src/model/errors.ts';
import { acceptedVersions, emptyKeyring, type Keyring, type KeyringMove } from '../../src/model/keyring.ts';
import type { KeyringReader } from '../../src/ports/secret-store.ts';
import { add, claim, committed, promote, release, revoke, storeError } from './support.ts';

type Step =
  | {
      readonly kind: 'commit';
      readonly move: 'add' | 'promote' | 'revoke' | 'claim' | 'release';
      readonly pick: number;
    }
  | { readonly kind: 'answer'; readonly how: 'newest' | 'stale' | 'failed' | 'absent' | 'hangs'; readonly pick: number }
  | { readonly kind: 'load'; readonly how: 'refresh' | 'refetch' | 'time'; readonly ms: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('commit' as const),
    move: fc.constantFrom('add', 'promote', 'revoke', 'claim', 'release'),
    pick: fc.nat(),
  }),
  fc.record({
    kind: fc.constant('answer' as const),
    how: fc.constantFrom('newest', 'newest', 'stale', 'failed', 'absent', 'hangs'),
    pick: fc.nat(),
  }),
  fc.record({
    kind: fc.constant('load' as const),
    how: fc.constantFrom('refresh', 'refetch', 'time'),
    ms: fc.integer({ min: 0, max: 90_000 }),
  }),
);

/** A legal commit of that kind on the newest document, or the document as it is where the model refuses it. */
function afterCommit(keyring: Keyring, step: Step & { kind: 'commit' }): Keyring {
  const accepted = acceptedVersions(keyring);
  const picked = accepted[step.pick % Math.max(1, accepted.length)]?.id ?? 'nobody';
  const moves: Record<typeof step.move, KeyringMove> = {
    add: add(`v${String(keyring.revision + 1)}`),
    promote: promote(picked),
    revoke: revoke(picked),
    claim: claim(picked),
    release,
  };
  try {
    return committed(keyring, moves[step.move]);
  } catch (error) {
    if (isKeyturnError(error, 'illegal-move')) return keyring;
    throw error;
  }
}

test('whatever the store answers, the revision never goes back and a version leaves only by its tombstone', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { minLength: 5, maxLength: 60 }), fc.integer(), async (steps, seed) => {
      const clock = createFakeClock();
      const documents = [committed(emptyKeyring('hook'), add('v1'), promote('v1'))];
      let answer: Step & { kind: 'answer' } = { kind: 'answer', how: 'newest', pick: 0 };
      const store: KeyringReader = {
        read: async () => {
          if (answer.how === 'hangs') return new Promise(() => undefined);
          if (answer.how === 'failed')
            return new Map([['hook', { state: 'failed', error: storeError('store-denied') }]]);
          if (answer.how === 'absent') return new Map([['hook', { state: 'absent', token: null }]]);
          const keyring = answer.how === 'newest' ? documents.at(-1)! : documents[answer.pick % documents.length]!;
          return new Map([['hook', { state: 'present', keyring, token: 't' }]]);
        },
      };
      const cache = createSecretCache({ store, secrets: ['hook'], clock, random: createSeededRandom(seed) });
      const seen: Snapshot[] = [];
      const look = (): void => {
        const snapshot = cache.snapshot('hook');
        if (snapshot !== null && snapshot !== seen.at(-1)) seen.push(snapshot);
      };
      cache.onChange(look);
      const pending: Promise<unknown>[] = [];
      for (const step of steps) {
        if (step.kind === 'commit') documents.push(afterCommit(documents.at(-1)!, step));
        else if (step.kind === 'answer') answer = step;
        else if (step.how !== 'time') pending.push(cache[step.how]('hook'));
        await clock.advance(step.kind === 'load' ? step.ms : 0);
        look();
      }
      answer = { kind: 'answer', how: 'newest', pick: 0 };
      await clock.advance(200_000);
      look();
      await Promise.all(pending);
      await cache.close();

      const newest = documents.at(-1)!;
      expect(seen.at(-1)!.revision).toBe(newest.revision);
      expect(seen.at(-1)!.accepted.map(({ id }) => id)).toEqual(acceptedVersions(newest).map(({ id }) => id));
      for (const [index, snapshot] of seen.entries()) {
        const before = seen[index - 1];
        if (before === undefined) continue;
        expect(snapshot.revision).toBeGreaterThanOrEqual(before.revision);
        if (snapshot.revision === before.revision) expect(snapshot.accepted).toBe(before.accepted);
        const held = new Set(snapshot.accepted.map(({ id }) => id));
        const source = documents.find(({ revision }) => revision === snapshot.revision)!;
        for (const gone of before.accepted.filter(({ id }) => !held.has(id))) {
          expect(source.versions.find(({ id }) => id === gone.id)?.stage).toBe('revoked');
        }
        for (const version of snapshot.accepted) {
          const old = before.accepted.find(({ id }) => id === version.id);
          if (old?.stage === version.stage) expect(version).toBe(old);
        }
      }
    }),
    { numRuns: 200 },
  );
});

test('documents that lose versions without a tombstone take none of them away', async () => {
  const lossy = fc.array(fc.record({ keep: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }) }), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(lossy, async (losses) => {
      const clock = createFakeClock();
      let document = committed(emptyKeyring('hook'), add('v1'), promote('v1'), add('v2'), add('v3'), add('v4'));
      const store: KeyringReader = {
        read: async () => new Map([['hook', { state: 'present', keyring: document, token: 't' }]]),
      };
      const cache = createSecretCache({ store, secrets: ['hook'], clock });
      await cache.ready();
      const whole = document.versions;
      for (const { keep } of losses) {
        const versions = whole.filter((version, index) => version.stage === 'primary' || keep[index] === true);
        document = { ...document, revision: document.revision + 1, versions };
        await cache.refresh();
        expect(cache.accepted('hook').map(({ id }) => id)).toEqual(['v4', 'v3', 'v2', 'v1']);
        expect(cache.status('hook').drift === null).toBe(versions.length === whole.length);
        expect(cache.snapshot('hook')!.revision).toBe(document.revision);
      }
      await cache.close();
    }),
    { numRuns: 100 },
  );
});
