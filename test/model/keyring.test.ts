import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatKeyring, parseKeyring } from '../../src/model/document.ts';
import { isKeyturnError, KeyturnError } from '../../src/model/errors.ts';
import {
  acceptedVersions,
  emptyKeyring,
  findVersion,
  isSettled,
  maxCommits,
  maxTombstones,
  nextKeyring,
  primaryOf,
  validated,
  type Claim,
  type Keyring,
  type KeyringMove,
  type Stage,
  type Version,
} from '../../src/model/keyring.ts';

const createdAt = '2026-01-01T00:00:00.000Z';
const revokedAt = '2026-01-02T00:00:00.000Z';

const add = (version: string, value = `value of ${version}`): KeyringMove => ({
  kind: 'add',
  version,
  value,
  createdAt,
});
const promote = (version: string): KeyringMove => ({ kind: 'promote', version });
const revoke = (version: string): KeyringMove => ({ kind: 'revoke', version, at: revokedAt });
const compromise = (version: string): KeyringMove => ({ kind: 'compromise', version });
const claimOf = (run: string, journal: string): Claim => ({
  run,
  journal,
  kind: 'rotation',
  from: null,
  to: 'v1',
  deadline: null,
});
const claim = (run: string, journal = 'j1'): KeyringMove => ({ kind: 'claim', claim: claimOf(run, journal) });
const takeOver = (run: string): KeyringMove => ({ kind: 'take-over', claim: claimOf(run, 'j2') });
const release: KeyringMove = { kind: 'release' };

function commit(base: Keyring, ...moves: readonly KeyringMove[]): Keyring {
  return nextKeyring(base, moves, { id: `c${String(base.revision + 1)}`, highestRevision: 0 });
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof KeyturnError) return error.code;
    throw error;
  }
  return 'ok';
}

function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(frozen);
  return value;
}

describe('the table of legal moves', () => {
  type Start = 'absent' | Stage;
  type Moved = Stage | 'illegal-move';

  /** A keyring with `x` at that stage beside a primary `p`; where x is primary, p is deprecated. */
  function starting(stage: Start, marked: boolean): Keyring {
    const settled = commit(emptyKeyring('hook'), add('p'), promote('p'));
    if (stage === 'absent') return settled;
    const pending = commit(settled, add('x'));
    const at: Record<Stage, () => Keyring> = {
      pending: () => pending,
      primary: () => commit(pending, promote('x')),
      deprecated: () => commit(pending, promote('x'), promote('p')),
      revoked: () => commit(pending, revoke('x')),
    };
    return marked ? commit(at[stage](), compromise('x')) : at[stage]();
  }

  const refused = 'illegal-move';
  const table: readonly (readonly [start: Start, Record<'add' | 'promote' | 'revoke' | 'compromise', Moved>])[] = [
    ['absent', { add: 'pending', promote: refused, revoke: refused, compromise: refused }],
    ['pending', { add: refused, promote: 'primary', revoke: 'revoked', compromise: 'pending' }],
    ['primary', { add: refused, promote: refused, revoke: refused, compromise: 'primary' }],
    ['deprecated', { add: refused, promote: 'primary', revoke: 'revoked', compromise: 'deprecated' }],
    ['revoked', { add: refused, promote: refused, revoke: refused, compromise: 'revoked' }],
  ];
  const moves = {
    add: add('x', 'another value'),
    promote: promote('x'),
    revoke: revoke('x'),
    compromise: compromise('x'),
  };

  const cases = table.flatMap(([start, row]) =>
    (['add', 'promote', 'revoke', 'compromise'] as const).flatMap((move) =>
      [false, true].flatMap((marked) => {
        if (start === 'absent' && marked) return [];
        const outcome = marked && move === 'promote' ? refused : row[move];
        return [{ start, marked: marked ? 'a compromised' : 'a', move, outcome }];
      }),
    ),
  );

  test.each(cases)('$move on $marked version that is $start: $outcome', ({ start, marked, move, outcome }) => {
    const base = frozen(starting(start, marked === 'a compromised'));
    if (outcome === 'illegal-move') {
      expect(codeOf(() => commit(base, moves[move]))).toBe('illegal-move');
      return;
    }
    const next = commit(base, moves[move]);
    expect(findVersion(next, 'x')?.stage).toBe(outcome);
    expect(primaryOf(next)?.id).toBe(outcome === 'primary' ? 'x' : 'p');
  });

  test('a promotion makes the old primary deprecated in the same commit, both ways', () => {
    const pending = commit(emptyKeyring('hook'), add('v1'), promote('v1'), add('v2'));
    const forward = commit(pending, promote('v2'));
    const back = commit(forward, promote('v1'));
    const stages = (keyring: Keyring): readonly Stage[] => keyring.versions.map((version) => version.stage);
    expect(stages(forward)).toEqual(['deprecated', 'primary']);
    expect(stages(back)).toEqual(['primary', 'deprecated']);
  });

  test('the first promotion needs no old primary', () => {
    expect(primaryOf(commit(emptyKeyring('hook'), add('v1'), promote('v1')))?.id).toBe('v1');
  });

  test('several versions may be pending at once', () => {
    const keyring = commit(emptyKeyring('hook'), add('v1'), add('v2'), add('v3'));
    expect(acceptedVersions(keyring).map((version) => version.id)).toEqual(['v3', 'v2', 'v1']);
  });

  test.each([
    ['there is none', null, claim('r1'), 'ok'],
    ['it is ours', claim('r1'), claim('r1'), 'ok'],
    ["it is another run's", claim('r1'), claim('r2'), 'illegal-move'],
    ["it is the same run's id in another journal", claim('r1'), claim('r1', 'j2'), 'illegal-move'],
  ])('I3: a claim where %s', (_what, before, after, outcome) => {
    const base = before === null ? emptyKeyring('hook') : commit(emptyKeyring('hook'), before);
    expect(codeOf(() => commit(base, after))).toBe(outcome);
  });

  test('a refused claim names the run and the journal that have it', () => {
    const base = commit(emptyKeyring('hook'), claim('r1'));
    expect(() => commit(base, claim('r2'))).toThrow(/run r1 of journal j1/);
  });

  test('releasing what nobody has claimed is no mistake', () => {
    expect(commit(emptyKeyring('hook'), release).claim).toBeNull();
  });

  test('a value is refused while an accepted version has it, and no message shows it', () => {
    const base = commit(emptyKeyring('hook'), add('v1', 'whsec_marker'), promote('v1'));
    expect(() => commit(base, add('v2', 'whsec_marker'))).toThrow(
      expect.objectContaining({ code: 'illegal-move', message: expect.not.stringContaining('marker') }),
    );
  });

  test('an empty value is refused', () => {
    expect(codeOf(() => commit(emptyKeyring('hook'), add('v1', '')))).toBe('keyring-invalid');
  });

  test('one refused move refuses the whole commit', () => {
    const base = frozen(commit(emptyKeyring('hook'), add('v1'), promote('v1')));
    expect(codeOf(() => commit(base, add('v2'), promote('v2'), revoke('v2')))).toBe('illegal-move');
    expect(base.versions.map((version) => version.id)).toEqual(['v1']);
  });
});

/** What a keyring may hold, said once more and otherwise: a map of stages, the arrows between them, and one claim. */
interface Expected {
  readonly versions: ReadonlyMap<string, { stage: Stage; value: string | null; compromised: boolean }>;
  readonly holder: string | null;
}

const arrows: Readonly<Record<'promote' | 'revoke', readonly Stage[]>> = {
  promote: ['pending', 'deprecated'],
  revoke: ['pending', 'deprecated'],
};

/** The expected keyring after one move, or null where the move has to be refused. */
function expectedAfter({ versions, holder }: Expected, move: KeyringMove): Expected | null {
  const next = new Map(versions);
  switch (move.kind) {
    case 'add': {
      const isTaken = versions.has(move.version) || [...versions.values()].some(({ value }) => value === move.value);
      if (isTaken || move.value === '') return null;
      return { holder, versions: next.set(move.version, { stage: 'pending', value: move.value, compromised: false }) };
    }
    case 'promote': {
      const version = versions.get(move.version);
      if (version === undefined || version.compromised || !arrows.promote.includes(version.stage)) return null;
      for (const [id, each] of versions) if (each.stage === 'primary') next.set(id, { ...each, stage: 'deprecated' });
      return { holder, versions: next.set(move.version, { ...version, stage: 'primary' }) };
    }
    case 'revoke': {
      const version = versions.get(move.version);
      if (version === undefined || !arrows.revoke.includes(version.stage)) return null;
      return { holder, versions: next.set(move.version, { ...version, stage: 'revoked', value: null }) };
    }
    case 'compromise': {
      const version = versions.get(move.version);
      return version === undefined
        ? null
        : { holder, versions: next.set(move.version, { ...version, compromised: true }) };
    }
    case 'claim': {
      const who = `${move.claim.run} of ${move.claim.journal}`;
      return holder === null || holder === who ? { versions, holder: who } : null;
    }
    case 'take-over':
      return { versions, holder: `${move.claim.run} of ${move.claim.journal}` };
    case 'release':
      return { versions, holder: null };
  }
}

function expectedOf(keyring: Keyring): Expected {
  return {
    versions: new Map(
      keyring.versions.map(({ id, stage, value, compromised }) => [id, { stage, value, compromised }] as const),
    ),
    holder: keyring.claim === null ? null : `${keyring.claim.run} of ${keyring.claim.journal}`,
  };
}

const anyVersion = fc.constantFrom('v1', 'v2', 'v3', 'v4', 'v5');
const anyValue = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g') },
  { weight: 3, arbitrary: fc.string({ minLength: 1, unit: 'binary' }) },
  { weight: 1, arbitrary: fc.constant('') },
);
const anyMove: fc.Arbitrary<KeyringMove> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(anyVersion, anyValue).map(([version, value]) => add(version, value)) },
  { weight: 4, arbitrary: anyVersion.map(promote) },
  { weight: 3, arbitrary: anyVersion.map(revoke) },
  { weight: 1, arbitrary: anyVersion.map(compromise) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom('r1', 'r2'), fc.constantFrom('j1', 'j2'))
      .map(([who, where]) => claim(who, where)),
  },
  { weight: 1, arbitrary: fc.constantFrom('r1', 'r2').map(takeOver) },
  { weight: 1, arbitrary: fc.constant(release) },
);
const anyCommits = fc.array(
  fc.record({ moves: fc.array(anyMove, { minLength: 1, maxLength: 3 }), highestRevision: fc.nat({ max: 60 }) }),
  { minLength: 1, maxLength: 40 },
);

/** Every keyring that a sequence of commits goes through, with what was tried on it; refused commits change nothing. */
function walk(
  commits: readonly { readonly moves: readonly KeyringMove[]; readonly highestRevision: number }[],
  look: (step: {
    readonly base: Keyring;
    readonly moves: readonly KeyringMove[];
    readonly highestRevision: number;
    readonly id: string;
    readonly outcome: Keyring | KeyturnError;
  }) => void,
): Keyring {
  return commits.reduce((base, { moves, highestRevision }, index) => {
    const id = `c${String(index)}`;
    let outcome: Keyring | KeyturnError;
    try {
      outcome = nextKeyring(frozen(base), moves, { id, highestRevision });
    } catch (error) {
      if (!isKeyturnError(error, 'illegal-move', 'keyring-invalid')) throw error;
      outcome = error;
    }
    look({ base, moves, highestRevision, id, outcome });
    return outcome instanceof KeyturnError ? base : outcome;
  }, emptyKeyring('hook'));
}

describe('any sequence of moves', () => {
  test('a move is made exactly where the arrows allow it, and one refused move refuses its commit', () => {
    fc.assert(
      fc.property(anyCommits, (commits) => {
        walk(commits, ({ base, moves, outcome }) => {
          const expected = moves.reduce<Expected | null>(
            (state, move) => (state === null ? null : expectedAfter(state, move)),
            expectedOf(base),
          );
          if (outcome instanceof KeyturnError) expect(expected).toBeNull();
          else expect(expectedOf(outcome)).toEqual(expected);
        });
      }),
      { numRuns: 400 },
    );
  });

  test('the result is valid, its revision exceeds every known one, and its commit is the newest of at most eight', () => {
    fc.assert(
      fc.property(anyCommits, (commits) => {
        walk(commits, ({ base, highestRevision, id, outcome }) => {
          if (outcome instanceof KeyturnError) return;
          expect(validated(outcome)).toBe(outcome);
          expect(outcome.revision).toBeGreaterThan(base.revision);
          expect(outcome.revision).toBeGreaterThan(highestRevision);
          expect(outcome.commits).toEqual([...base.commits, id].slice(-maxCommits));
        });
      }),
    );
  });

  test('at most one version is primary, revoked is final, and a tombstone has no value', () => {
    fc.assert(
      fc.property(anyCommits, (commits) => {
        walk(commits, ({ base, outcome }) => {
          if (outcome instanceof KeyturnError) return;
          expect(outcome.versions.filter((version) => version.stage === 'primary').length).toBeLessThanOrEqual(1);
          for (const version of outcome.versions) {
            expect(version.value === null).toBe(version.stage === 'revoked');
            expect(version.value).not.toBe('');
            expect(version.revokedAt === null).toBe(version.stage !== 'revoked');
          }
          for (const gone of base.versions.filter((version) => version.stage === 'revoked')) {
            expect(findVersion(outcome, gone.id)).toMatchObject({ stage: 'revoked', value: null });
          }
        });
      }),
    );
  });

  test('a version keeps its value, its age and its place for as long as it is accepted', () => {
    fc.assert(
      fc.property(anyCommits, (commits) => {
        walk(commits, ({ base, outcome }) => {
          if (outcome instanceof KeyturnError) return;
          const kept = outcome.versions.slice(0, base.versions.length);
          expect(kept.map(({ id, createdAt: made }) => [id, made])).toEqual(
            base.versions.map(({ id, createdAt: made }) => [id, made]),
          );
          for (const version of kept) {
            if (version.value !== null) expect(version.value).toBe(findVersion(base, version.id)?.value);
          }
        });
      }),
    );
  });

  test('a compromised version that is not primary never becomes primary', () => {
    fc.assert(
      fc.property(anyCommits, (commits) => {
        walk(commits, ({ base, outcome }) => {
          if (outcome instanceof KeyturnError) return;
          for (const marked of base.versions.filter((version) => version.compromised && version.stage !== 'primary')) {
            expect(findVersion(outcome, marked.id)).toMatchObject({ compromised: true });
            expect(findVersion(outcome, marked.id)?.stage).not.toBe('primary');
          }
        });
      }),
    );
  });

  test('I3: only a release ends a claim, and only a take-over puts another run in its place', () => {
    fc.assert(
      fc.property(anyCommits, (commits) => {
        walk(commits, ({ base, moves, outcome }) => {
          if (outcome instanceof KeyturnError || base.claim === null) return;
          if (moves.some((move) => move.kind === 'release' || move.kind === 'take-over')) return;
          expect(outcome.claim).toMatchObject({ run: base.claim.run, journal: base.claim.journal });
        });
      }),
    );
  });

  test('no refusal shows a value', () => {
    fc.assert(
      fc.property(
        anyCommits,
        fc.string({ minLength: 12, maxLength: 20, unit: fc.constantFrom('Q', 'Z') }),
        (commits, mark) => {
          const marked = commits.map((each) => ({
            ...each,
            moves: each.moves.map((move) =>
              move.kind === 'add' && move.value !== '' ? { ...move, value: `${mark}${move.value}` } : move,
            ),
          }));
          walk(marked, ({ outcome }) => {
            if (outcome instanceof KeyturnError) expect(`${outcome.message} ${outcome.hint ?? ''}`).not.toContain(mark);
          });
        },
      ),
    );
  });

  test('what is formatted is parsed back as it was', () => {
    fc.assert(
      fc.property(anyCommits, (commits) => {
        const last = walk(commits, () => undefined);
        if (last.revision > 0) expect(parseKeyring(formatKeyring(last), 'here', 'hook')).toEqual(last);
      }),
    );
  });

  test('I6: settled means one primary, nothing else accepted and no claim', () => {
    fc.assert(
      fc.property(anyCommits, (commits) => {
        walk(commits, ({ outcome }) => {
          if (outcome instanceof KeyturnError) return;
          const stages = outcome.versions.map((version) => version.stage).filter((stage) => stage !== 'revoked');
          expect(isSettled(outcome)).toBe(outcome.claim === null && stages.join() === 'primary');
        });
      }),
    );
  });
});

describe('tombstones', () => {
  test(`the newest ${String(maxTombstones)} stay, in order, and what is accepted is never dropped`, () => {
    let keyring = commit(emptyKeyring('hook'), add('v0'), promote('v0'));
    for (let number = 1; number <= maxTombstones + 3; number++) {
      const version = `v${String(number)}`;
      keyring = commit(keyring, add(version), promote(version), revoke(`v${String(number - 1)}`));
    }
    const tombstones = keyring.versions.filter((version) => version.stage === 'revoked').map((version) => version.id);
    expect(tombstones).toEqual(Array.from({ length: maxTombstones }, (_none, index) => `v${String(index + 3)}`));
    expect(acceptedVersions(keyring).map((version) => version.id)).toEqual([`v${String(maxTombstones + 3)}`]);
  });
});

describe('what is no keyring', () => {
  const version: Version = {
    id: 'v1',
    stage: 'primary',
    value: 'whsec_marker',
    createdAt,
    revokedAt: null,
    compromised: false,
  };
  const whole: Keyring = { secret: 'hook', revision: 1, commits: ['c1'], versions: [version], claim: null };
  const other: Version = { ...version, id: 'v2', value: 'whsec_other', stage: 'deprecated' };

  test('the whole one is one', () => {
    expect(validated(whole)).toBe(whole);
    expect(validated(emptyKeyring('hook'))).toEqual(emptyKeyring('hook'));
  });

  test.each<[string, Partial<Keyring>]>([
    ['no whole number', { revision: 1.5 }],
    ['no whole number', { revision: -1 }],
    ['no whole number', { revision: Number.MAX_SAFE_INTEGER + 1 }],
    ['no whole number', { revision: Number.NaN }],
    ['more than 8 commits', { commits: Array.from({ length: 9 }, (_none, index) => `c${String(index)}`) }],
    ['appears twice', { versions: [version, { ...other, id: 'v1' }] }],
    ['has no id', { versions: [{ ...version, id: '' }] }],
    ['still has a value', { versions: [version, { ...other, stage: 'revoked', revokedAt }] }],
    ['has no value', { versions: [{ ...version, value: null }] }],
    ['empty value', { versions: [{ ...version, value: '' }] }],
    ['revocation time', { versions: [version, { ...other, stage: 'revoked', value: null }] }],
    ['revocation time', { versions: [{ ...version, revokedAt }] }],
    ['same value', { versions: [version, { ...other, value: version.value }] }],
    ['two primary', { versions: [version, { ...other, stage: 'primary' }] }],
    ['no primary one', { versions: [other] }],
  ])('%s', (why, over) => {
    expect(() => validated({ ...whole, ...over })).toThrow(
      expect.objectContaining({ code: 'keyring-invalid', message: expect.stringContaining(why) }),
    );
    expect(() => validated({ ...whole, ...over })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('whsec') }),
    );
  });
});

test('a revision that a receiver made up is refused before it makes the document unreadable', () => {
  const highestRevision = Number.MAX_SAFE_INTEGER;
  expect(codeOf(() => nextKeyring(emptyKeyring('hook'), [add('v1')], { id: 'c1', highestRevision }))).toBe(
    'keyring-invalid',
  );
});
