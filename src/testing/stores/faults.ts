import assert from 'node:assert/strict';
import { isKeyturnError, messageOf, type ErrorCode, type KeyturnError } from '../../model/errors.ts';
import type { SecretStore, StoreName } from '../../ports/secret-store.ts';
import { adding, errorOf, expectFailed, expectNoLeak, firstKeyring, next, readOne, readPresent } from '../keyrings.ts';
import { given, type CaseContext, type StoreCase } from './case.ts';
import { marker } from './contents.ts';
import { retryAfterMs, type Disturbance } from './place.ts';

/** What an adapter may answer to a call that was disturbed, beside going well. */
const excuses: Readonly<Record<Disturbance, readonly ErrorCode[]>> = {
  refuse: ['store-unreachable'],
  'lose-answer': ['store-unreachable'],
  'cut-answer': ['store-unreachable', 'store-corrupt'],
  'late-answer': ['store-unreachable'],
  'late-call': ['store-unreachable'],
  double: [],
  throttle: ['store-throttled'],
  nonsense: ['store-unreachable', 'store-corrupt'],
};

const words: Readonly<Record<Disturbance, string>> = {
  refuse: 'does not arrive',
  'lose-answer': 'loses its answer',
  'cut-answer': 'gets half an answer',
  'late-answer': 'gets its answer too late',
  'late-call': 'arrives too late',
  double: 'arrives twice',
  throttle: 'is put off',
  nonsense: 'is answered with nonsense',
};

const disturbances = Object.keys(words) as readonly Disturbance[];

/** No operation makes more calls that are worth disturbing one by one. */
const mostCalls = 6;

/**
 * An operation with its first call disturbed, then with its second, and so on. It may go well all the same, or say that the
 * store was not reached; then the same again on a calm network has to go well. `check` looks at what is there then.
 */
async function disturbEach(
  on: CaseContext,
  disturbance: Disturbance,
  prepare: (round: string) => Promise<{ readonly run: () => Promise<void>; readonly check: () => Promise<void> }>,
): Promise<void> {
  // What only the adapter's own time limit ends takes that long each time.
  const most = disturbance.startsWith('late') ? 2 : mostCalls;
  for (let call = 0; call < most; call += 1) {
    const { run, check } = await prepare(`n${String(call)}`);
    on.network.disturb(disturbance, [call]);
    const error = await run().then(
      () => null,
      (thrown: unknown) => thrown,
    );
    const { calls } = on.network;
    await on.network.calm();
    await on.propagate();
    if (error !== null) {
      assert.ok(
        isKeyturnError(error, ...excuses[disturbance]) && excuses[disturbance].length > 0,
        `it ended with ${messageOf(error)}`,
      );
      expectNoLeak(marker, error);
      expectRetryAfter(error);
      await run();
      await on.propagate();
    }
    await check();
    if (calls <= call) return;
  }
}

function expectRetryAfter(error: KeyturnError): void {
  if (error.code !== 'store-throttled') return;
  const said = error.details['retryAfterMs'];
  assert.ok(said === retryAfterMs || said === null, `it says to wait ${String(said)} ms`);
}

function disturbedCommit(disturbance: Disturbance): StoreCase {
  return {
    id: `commit-${disturbance}`,
    title: `commits once, whichever call of it ${words[disturbance]}`,
    needs: ['network', disturbance],
    async run(on) {
      await disturbEach(on, disturbance, async (round) => {
        const name = on.name(`first-${round}`);
        const keyring = firstKeyring(name.secret, marker);
        return {
          run: () => on.store.commit(name, keyring, null),
          check: async () => assert.deepEqual((await readPresent(on.store, name)).keyring, keyring),
        };
      });
      await disturbEach(on, disturbance, async (round) => {
        const name = on.name(`later-${round}`);
        const first = await on.commitFirst(name, marker);
        const { token } = await readPresent(on.store, name);
        const second = next(first, adding('v2', `${marker}2`));
        return {
          run: () => on.store.commit(name, second, token),
          check: async () => {
            const read = await readPresent(on.store, name);
            assert.deepEqual(read.keyring, second);
            await on.store.commit(name, next(second, { kind: 'promote', version: 'v2' }), read.token);
          },
        };
      });
    },
  };
}

function disturbedRead(disturbance: Disturbance): StoreCase {
  return {
    id: `read-${disturbance}`,
    title: `never takes a keyring for absent, whichever call of the read ${words[disturbance]}`,
    needs: ['network', disturbance],
    async run(on) {
      const name = on.name('read');
      const keyring = await on.commitFirst(name, marker);
      await disturbEach(on, disturbance, () =>
        Promise.resolve({
          run: async () => {
            const read = await readOne(on.store, name);
            if (read.state === 'failed') throw read.error;
            assert.equal(read.state, 'present');
          },
          check: async () => assert.deepEqual((await readPresent(on.store, name)).keyring, keyring),
        }),
      );
    },
  };
}

function disturbedPurge(disturbance: Disturbance): StoreCase {
  return {
    id: `purge-${disturbance}`,
    title: `purges and keeps the document, whichever call of it ${words[disturbance]}`,
    needs: ['network', disturbance],
    async run(on) {
      await disturbEach(on, disturbance, async (round) => {
        const name = on.name(`purged-${round}`);
        const first = await on.commitFirst(name, marker);
        const { token } = await readPresent(on.store, name);
        const second = next(first, adding('v2', 'the second value'));
        await on.store.commit(name, second, token);
        await on.propagate();
        return {
          run: () => on.store.purge(name),
          check: async () => assert.deepEqual((await readPresent(on.store, name)).keyring, second),
        };
      });
    },
  };
}

function disturbedPlain(disturbance: Disturbance): StoreCase {
  return {
    id: `plain-${disturbance}`,
    title: `writes a plain copy, whichever call of it ${words[disturbance]}`,
    needs: ['network', disturbance],
    async run(on) {
      await disturbEach(on, disturbance, async (round) => {
        const key = on.name(`copy-${round}`).key;
        await on.store.plain.write(key, () => JSON.stringify({ theirs: 'kept', ours: 'old' }));
        const text = JSON.stringify({ theirs: 'kept', ours: marker });
        return {
          run: () => on.store.plain.write(key, () => text),
          check: async () => assert.deepEqual(JSON.parse((await on.store.plain.read(key)) ?? 'null'), JSON.parse(text)),
        };
      });
    },
  };
}

/** Everything that an adapter does, with what each throws. */
async function everyError(store: SecretStore, name: StoreName): Promise<readonly KeyturnError[]> {
  return [
    await expectedFailure(store, name),
    await errorOf(store.commit(name, firstKeyring(name.secret, marker), null)),
    await errorOf(store.purge(name)),
    await errorOf(store.plain.read('copy')),
    await errorOf(store.plain.write('copy', () => marker)),
  ];
}

async function expectedFailure(store: SecretStore, name: StoreName): Promise<KeyturnError> {
  const read = await readOne(store, name);
  if (read.state !== 'failed') throw new Error(`it was expected to fail, and is ${read.state}`);
  return read.error;
}

export const faults: readonly StoreCase[] = [
  ...disturbances.map(disturbedCommit),
  ...disturbances.map(disturbedRead),
  ...disturbances.map(disturbedPurge),
  ...disturbances.map(disturbedPlain),
  {
    id: 'late-commit-overtaken',
    title: 'lets a commit that arrives after another one change nothing',
    needs: ['network', 'late-call'],
    async run(on) {
      for (const call of [0, 1]) {
        const name = on.name(`overtaken-${String(call)}`);
        const first = await on.commitFirst(name);
        const { token } = await readPresent(on.store, name);
        on.network.disturb('late-call', [call]);
        const late = next(first, adding('v2', 'late'));
        const mine = await on.store.commit(name, late, token).then(
          () => true,
          () => false,
        );
        const other = await on.another();
        const read = await readPresent(other, name);
        const won = next(read.keyring, adding('v3', 'the one that came first'));
        await other.commit(name, won, read.token);
        await on.network.calm();
        await on.propagate();
        const { keyring } = await readPresent(on.store, name);
        assert.deepEqual(keyring, won);
        if (!mine) assert.ok(!keyring.versions.some(({ value }) => value === 'late'));
      }
    },
  },
  {
    id: 'unreachable',
    title: 'says store-unreachable to everything while nothing gets through, and finds that out by a probe',
    needs: ['network', 'refuse'],
    async run(on) {
      const name = on.name('cut-off');
      const keyring = await on.commitFirst(name, marker);
      on.network.disturb('refuse');
      for (const error of await everyError(on.store, name)) {
        assert.equal(error.code, 'store-unreachable', error.message);
        expectNoLeak(marker, error);
      }
      const { findings } = await on.store.probe({ use: 'orchestrator', names: [name], plainKeys: [] });
      assert.ok(findings.some(({ state }) => state === 'failed'));
      assert.ok(findings.every(({ state, hint }) => state !== 'failed' || /\w/.test(hint ?? '')));
      await on.network.calm();
      assert.deepEqual((await readPresent(on.store, name)).keyring, keyring);
    },
  },
  {
    id: 'throttled',
    title: 'says store-throttled to everything while the store asks to wait',
    needs: ['network', 'throttle'],
    async run(on) {
      const name = on.name('put-off');
      const keyring = await on.commitFirst(name, marker);
      on.network.disturb('throttle');
      for (const error of await everyError(on.store, name)) {
        assert.equal(error.code, 'store-throttled', error.message);
        expectRetryAfter(error);
        expectNoLeak(marker, error);
      }
      await on.network.calm();
      assert.deepEqual((await readPresent(on.store, name)).keyring, keyring);
    },
  },
  {
    id: 'denied',
    title: 'says store-denied, never absent, to who has no rights, and finds that out by a probe',
    needs: ['denied'],
    async run(on) {
      const name = on.name('forbidden');
      await on.commitFirst(name, marker);
      const store = on.closing(await given(on.place.denied, 'denied')());
      for (const forbidden of [name, on.name('forbidden-and-absent')]) {
        for (const error of await everyError(store, forbidden)) {
          assert.equal(error.code, 'store-denied', error.message);
          assert.match(error.hint ?? '', /\w/);
          expectNoLeak(marker, error);
        }
      }
      const { findings } = await store.probe({ use: 'receiver', names: [name], plainKeys: [] });
      assert.ok(findings.some(({ name: what, state }) => what === 'read' && state === 'failed'));
      await expectFailed(store, name, 'store-denied');
    },
  },
];
