import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { mergeKeyring, usableKeyring, type Held, type Merge } from '../../src/cache/snapshot.ts';
import { emptyKeyring, type Keyring, type Version } from '../../src/model/keyring.ts';
import { add, claim, committed, promote, release, revoke, settled, valueOf } from './support.ts';

function heldAfter(...merges: readonly Keyring[]): Held {
  return merges.reduce<Held | null>((held, keyring, index) => taken(mergeKeyring(held, keyring, index)), null)!;
}

function taken(merge: Merge): Held {
  if (merge.outcome !== 'replaced' && merge.outcome !== 'confirmed') throw new Error(merge.outcome);
  return merge.held;
}

function idsOf(held: Held): string[] {
  return held.snapshot.accepted.map((version) => `${version.id} ${version.stage}`);
}

function driftOf(merge: Merge): string | null {
  return merge.outcome === 'overtaken' ? null : merge.drift;
}

/** The same document, one revision higher, with other versions, as somebody's editor would leave it. */
function edited(keyring: Keyring, versions: readonly Version[]): Keyring {
  return { ...keyring, revision: keyring.revision + 1, versions };
}

const first = settled('hook');
const second = committed(first, add('v2'), claim('v2'));
const third = committed(second, promote('v2'));
const fourth = committed(third, revoke('v1'), release);

describe('a snapshot', () => {
  test('has the accepted versions newest first, the values primary first', () => {
    const held = heldAfter(second);
    expect(idsOf(held)).toEqual(['v2 pending', 'v1 primary']);
    expect(held.values).toEqual([valueOf('v1'), valueOf('v2')]);
    expect(held.snapshot.primary?.id).toBe('v1');
    expect(held.snapshot.primary?.value).toBe(valueOf('v1'));
  });

  test('is settled only with one primary, nothing else accepted, and no claim', () => {
    expect(heldAfter(first).snapshot.settled).toBe(true);
    expect(heldAfter(second).snapshot.settled).toBe(false);
    expect(heldAfter(third).snapshot.settled).toBe(false);
    expect(heldAfter(fourth).snapshot.settled).toBe(true);
    expect(heldAfter(committed(first, claim('v1'))).snapshot.settled).toBe(false);
    expect(heldAfter(committed(emptyKeyring('hook'), add('v1'))).snapshot.settled).toBe(false);
  });

  test('cannot be changed by whoever gets it', () => {
    const { snapshot, values } = heldAfter(second);
    expect([snapshot, snapshot.accepted, snapshot.accepted[0], values].every((part) => Object.isFrozen(part))).toBe(
      true,
    );
  });

  test('shows no value when it is printed or made JSON', () => {
    const { snapshot } = heldAfter(second);
    const text = inspect(snapshot, { depth: null, showHidden: true }) + JSON.stringify(snapshot);
    expect(text).not.toContain('value-of');
    expect(text).toContain('v2');
  });
});

describe('a higher revision', () => {
  test('replaces, and an unchanged version stays the same object', () => {
    const before = heldAfter(first);
    const after = taken(mergeKeyring(before, second, 1));
    expect(after.snapshot.revision).toBe(2);
    expect(after.snapshot.accepted[1]).toBe(before.snapshot.accepted[0]);
    const promoted = taken(mergeKeyring(after, third, 2));
    expect(idsOf(promoted)).toEqual(['v2 primary', 'v1 deprecated']);
    expect(promoted.snapshot.accepted[0]).not.toBe(after.snapshot.accepted[0]);
  });

  test('keeps the arrays where only the claim changed', () => {
    const before = heldAfter(first);
    const after = taken(mergeKeyring(before, committed(first, claim('v1')), 1));
    expect(after.snapshot.accepted).toBe(before.snapshot.accepted);
    expect(after.values).toBe(before.values);
    expect(after.snapshot.settled).toBe(false);
  });

  test('takes a version away by its tombstone alone', () => {
    const merge = mergeKeyring(heldAfter(third), fourth, 1);
    expect(idsOf(taken(merge))).toEqual(['v2 primary']);
    expect(driftOf(merge)).toBeNull();
  });

  test('keeps a version that is merely absent, and calls it drift', () => {
    const merge = mergeKeyring(heldAfter(second), edited(second, [second.versions[0]!]), 1);
    expect(idsOf(taken(merge))).toEqual(['v2 pending', 'v1 primary']);
    expect(driftOf(merge)).toContain('version v2 is gone from the store without having been revoked');
    expect(taken(merge).snapshot.settled).toBe(false);
  });

  test('makes an absent primary deprecated where the store names another one', () => {
    const merge = mergeKeyring(heldAfter(first), edited(first, settled('hook', 'v9').versions), 1);
    expect(idsOf(taken(merge))).toEqual(['v9 primary', 'v1 deprecated']);
    expect(taken(merge).values).toEqual([valueOf('v9'), valueOf('v1')]);
  });

  test('leaves an absent primary primary where the store names none', () => {
    const merge = mergeKeyring(heldAfter(first), edited(first, []), 1);
    expect(idsOf(taken(merge))).toEqual(['v1 primary']);
    expect(taken(merge).values).toEqual([valueOf('v1')]);
  });

  test('goes on calling it drift while the version stays absent, and no longer once its tombstone is there', () => {
    const without = edited(second, [second.versions[0]!]);
    const held = taken(mergeKeyring(heldAfter(second), without, 1));
    const again = mergeKeyring(held, without, 2);
    expect(again.outcome).toBe('confirmed');
    expect(driftOf(again)).toContain('version v2 is gone');
    const revoked = committed(second, revoke('v2'));
    const healed = mergeKeyring(held, { ...revoked, revision: 9 }, 3);
    expect(idsOf(taken(healed))).toEqual(['v1 primary']);
    expect(driftOf(healed)).toBeNull();
  });

  test('does not bring a revoked version back, as a restored copy of the document would', () => {
    const merge = mergeKeyring(heldAfter(third, fourth), { ...third, revision: 9 }, 2);
    expect(idsOf(taken(merge))).toEqual(['v2 primary']);
    expect(driftOf(merge)).toContain('version v1 is back in the store although it was revoked');
    expect(taken(merge).snapshot.settled).toBe(false);
  });

  test('is refused where a version changed its value', () => {
    const merge = mergeKeyring(heldAfter(first), edited(first, [{ ...first.versions[0]!, value: 'another-value' }]), 1);
    expect(merge.outcome).toBe('refused');
    expect(driftOf(merge)).toContain('version v1 has another value');
    expect(driftOf(merge)).not.toContain('another-value');
  });
});

describe('the same revision', () => {
  test('keeps the arrays and renews the proof of when it was loaded', () => {
    const before = heldAfter(second);
    const merge = mergeKeyring(before, second, 40);
    expect(merge.outcome).toBe('confirmed');
    expect(taken(merge).snapshot.accepted).toBe(before.snapshot.accepted);
    expect(taken(merge).values).toBe(before.values);
    expect(taken(merge).snapshot.loadBeganAt).toBe(40);
  });

  test('is drift where the versions differ, and changes nothing', () => {
    const merge = mergeKeyring(heldAfter(second), { ...third, revision: second.revision }, 40);
    expect(merge.outcome).toBe('refused');
    expect(driftOf(merge)).toContain('under the same revision 2');
  });
});

describe('a lower revision', () => {
  test('changes nothing and is drift', () => {
    const merge = mergeKeyring(heldAfter(third), second, 40);
    expect(merge.outcome).toBe('refused');
    expect(driftOf(merge)).toBe('the store shows revision 2, below 3 which is held');
  });

  test('is no drift from a load that began before the one that is held', () => {
    const held = taken(mergeKeyring(null, third, 40));
    expect(mergeKeyring(held, second, 39)).toEqual({ outcome: 'overtaken' });
    expect(mergeKeyring(held, third, 39)).toEqual({ outcome: 'overtaken' });
    expect(mergeKeyring(held, fourth, 39).outcome).toBe('replaced');
  });
});

describe('a keyring that cannot be used', () => {
  test('has an empty value', () => {
    const broken = { ...first, versions: [{ ...first.versions[0]!, value: '' }] };
    expect(usableKeyring('hook', broken)).toMatchObject({
      code: 'store-corrupt',
      message: expect.stringContaining('has an empty value'),
    });
  });

  test('is another secret\u2019s', () => {
    expect(usableKeyring('other', first)).toMatchObject({
      code: 'store-corrupt',
      message: 'What the secret store has for other is the keyring of hook.',
    });
  });
});
