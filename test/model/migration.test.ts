import { describe, expect, it } from 'vitest';
import { nextKeyring, type Keyring, type KeyringMove } from '../../src/model/keyring.ts';
import { isMigration, leftKeyring, migrationClaim, migrationState } from '../../src/model/migration.ts';
import { adding, firstKeyring, next } from '../conformance/secret-store.ts';
import { emptyKeyring } from '../../src/model/keyring.ts';

const stores = { from: 'old', to: 'new' };
const at = '2026-01-01T00:00:00.000Z';
const claim = migrationClaim('g0000000000', 'j1', stores);
const release: KeyringMove = { kind: 'release' };

const source = firstKeyring('hook');
const nothing = emptyKeyring('hook');
const left = leftKeyring(source, { claim, commit: 'c-left', highestRevision: 0 });
const freed = nextKeyring(left, [release], { id: 'c-freed', highestRevision: 0 });

/** So many commits later that none of the first ones is listed any more, with the first version revoked. */
function muchLater(keyring: Keyring): Keyring {
  let now = next(keyring, adding('v-later', 'a-later-value'), { kind: 'promote', version: 'v-later' });
  now = next(now, { kind: 'revoke', version: keyring.versions[0]?.id ?? '', at });
  for (let i = 0; i < 10; i++) now = next(now, { kind: 'compromise', version: 'v-later' });
  return now;
}

describe('what a migration has to do', () => {
  it.each([
    ['nothing is in the source', nothing, nothing, 'absent'],
    ['nothing is in the target', source, nothing, 'copy'],
    ['the target has the very same', source, source, 'copy'],
    ['the target has an earlier state', next(source, adding('v2', 'x')), source, 'copy'],
    ['the target has a much earlier state', muchLater(source), source, 'copy'],
    ['the copy was written, and the source is free', source, left, 'copy'],
    ['the copy was written, and the source went on', muchLater(source), left, 'copy'],
    ['both are claimed', left, left, 'copy'],
    ['the source is claimed, and the target lost', left, nothing, 'copy'],
    ['the target is free', left, freed, 'done'],
    ['the target has moved on', left, muchLater(freed), 'done'],
  ] as const)('where %s', (_, from, to, expected) => {
    expect(migrationState(from, to, stores)).toBe(expected);
  });

  it('goes back where the target was left before', () => {
    const back = { from: 'new', to: 'old' };
    expect(migrationState(freed, left, back)).toBe('copy');
    expect(migrationState(muchLater(freed), left, back)).toBe('copy');
  });

  const runs = { run: 'r0000000000', journal: 'j2', kind: 'rotation', from: 'v1', to: 'v2', deadline: null } as const;
  const claimed = next(source, { kind: 'claim', claim: runs });

  it.each([
    ['a run moves the source', claimed, nothing, 'foreign-claim'],
    ['a run moves what is in the target', source, claimed, 'wrong-state'],
    ['the target is another’s', source, firstKeyring('hook', 'another-value'), 'wrong-state'],
    ['the target is ahead', source, next(source, adding('v2', 'x')), 'wrong-state'],
    ['the target is much ahead', source, muchLater(source), 'wrong-state'],
    [
      'the source was taken elsewhere',
      next(source, { kind: 'claim', claim: { ...claim, to: 'third' } }),
      nothing,
      'wrong-state',
    ],
    [
      'the source is an unfinished copy',
      next(source, { kind: 'claim', claim: { ...claim, from: 'third', to: 'old' } }),
      nothing,
      'wrong-state',
    ],
  ] as const)('is refused where %s', (_, from, to, code) => {
    expect(() => migrationState(from, to, stores)).toThrow(expect.objectContaining({ code }) as Error);
  });

  it('is refused where a version of the target has another value in the source', () => {
    const two = next(source, adding('v2', 'x'));
    const forked = { ...muchLater(two), versions: muchLater(two).versions.map((each) => ({ ...each })) };
    const target = {
      ...forked,
      commits: ['c-other'],
      versions: forked.versions.map((each) => (each.value === null ? each : { ...each, value: `${each.value}!` })),
    };
    expect(() => migrationState(forked, target, stores)).toThrow(
      expect.objectContaining({ code: 'wrong-state' }) as Error,
    );
  });
});

describe('the claim of a migration', () => {
  it('is told from that of a run, and is taken once', () => {
    expect([isMigration(claim), isMigration({ run: 'r0000000000' })]).toEqual([true, false]);
    expect(leftKeyring(left, { claim: { ...claim, run: 'g1111111111' }, commit: 'c2', highestRevision: 9 })).toBe(left);
    expect(leftKeyring(source, { claim, commit: 'c', highestRevision: 41 }).revision).toBe(42);
  });
});
