import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { frameOf, stepsLine, type RunView } from '../../src/cli/progress.ts';
import type { VersionTraffic } from '../../src/cli/traffic.ts';
import type { Check } from '../../src/model/check.ts';
import { runOf } from '../conformance/run-samples.ts';
import { Emulator } from './emulator.ts';

const now = Date.parse('2026-03-01T12:00:00.000Z');
const plain = { hasColors: false, hasSymbols: true };
const wide = { columns: 110, rows: 40 };

function checkOf(over: Partial<Check>): Check {
  const nothing = { ok: false, reason: 'not-yet', message: '', since: null, eta: null, command: null, evidence: {} };
  return { name: 'grace', waitingFor: 'time', ...nothing, ...over };
}

const checks: readonly Check[] = [
  checkOf({ name: 'grace', message: 'The minimum of 1m since the switch is not over.', eta: now + 42_000 }),
  checkOf({ name: 'roster', ok: true, message: 'Everybody reports.' }),
  checkOf({ name: 'new-seen', message: 'No delivery came yet.', command: 'keyturn confirm hook' }),
];

const versions: readonly VersionTraffic[] = [
  { id: 'v2', stage: 'primary', isNew: true, matched: 120, share: 0.75, lastUsedAt: now - 300, lastUsedBy: null },
  {
    id: 'v1',
    stage: 'deprecated',
    isNew: false,
    matched: 400,
    share: 0.25,
    lastUsedAt: now - 4_000,
    lastUsedBy: 'web-2',
  },
];

function viewOf(over: Partial<RunView> = {}, secret = 'hook'): RunView {
  return {
    run: runOf(secret, `run-of-${secret}`, { startedAt: now - 65_000 }),
    step: 'monitor',
    enteredAt: new Map([
      ['generate', now - 65_000],
      ['deploy', now - 64_500],
      ['update', now - 50_000],
      ['monitor', now - 18_000],
    ]),
    doing: null,
    wait: { kind: 'wait', step: 'monitor', checks, problem: null },
    traffic: versions,
    ...over,
  };
}

/** Columns that a row takes on a terminal. */
function widthOf(row: string): number {
  const emulator = new Emulator({ columns: 500, rows: 2 });
  emulator.write(stripVTControlCharacters(row));
  return emulator.column;
}

describe('what is shown of a run', () => {
  it('is its steps, the checks that fail with the time left, and who uses what', () => {
    expect(frameOf([viewOf()], ['1 secret'], wide, plain, now)).toEqual([
      'hook  run run-of-hook, 1m 5s',
      '  ✓ generate 500ms  ✓ deploy 14s  ✓ update 32s  ▸ monitor 18s  · revoke',
      '  ✗ grace: The minimum of 1m since the switch is not over. [42s left]',
      '  ✗ new-seen: No delivery came yet. → keyturn confirm hook',
      '  new v2  primary     ████████████░░░░  75%  120 matched  last used 300ms ago',
      '  old v1  deprecated  ████░░░░░░░░░░░░  25%  400 matched  last used 4s ago by web-2',
      '1 secret',
    ]);
  });

  it('counts the time down between two looks', () => {
    const later = frameOf([viewOf()], [], wide, plain, now + 2_000).join('\n');
    expect(later).toContain('[40s left]');
    expect(later).toContain('▸ monitor 20s');
    expect(later).toContain('last used 6s ago by web-2');
  });

  it('is what is being done, in the place of the checks, while something is', () => {
    const frame = frameOf([viewOf({ doing: 'Now revoking everything but the primary.' })], [], wide, plain, now);
    expect(frame).toContain('  ▸ Now revoking everything but the primary.');
    expect(frame.join('\n')).not.toContain('grace');
  });

  it('has all steps done when the run is completed', () => {
    const run = runOf('hook', 'r1', { state: 'completed', step: 'revoke', endedAt: now });
    const enteredAt = new Map([...viewOf().enteredAt, ['revoke', now - 250] as const]);
    expect(stepsLine(viewOf({ run, step: 'revoke', enteredAt }), plain, now + 5_000)).toBe(
      'hook  ✓ generate 500ms  ✓ deploy 14s  ✓ update 32s  ✓ monitor 17s  ✓ revoke 250ms',
    );
  });

  it('has colours where they are wanted, and letters alone where there are no symbols', () => {
    const colourful = frameOf([viewOf()], [], wide, { hasColors: true, hasSymbols: true }, now).join('\n');
    expect(colourful).toContain('\u001B[32m✓ generate 500ms\u001B[39m');
    expect(stripVTControlCharacters(colourful)).toBe(frameOf([viewOf()], [], wide, plain, now).join('\n'));
    const simple = frameOf([viewOf()], [], wide, { hasColors: false, hasSymbols: false }, now).join('\n');
    expect(simple).toContain('+ generate 500ms');
    expect(simple.replaceAll('→', '->')).toMatch(/^[\x20-\x7E\n]*$/);
  });

  it('shows no bar filled while nothing matches, and says so of what was never used', () => {
    const unused = { ...versions[0]!, matched: 0, share: null, lastUsedAt: null };
    const frame = frameOf([viewOf({ traffic: [unused] })], [], wide, plain, now);
    expect(frame.at(-1)).toBe('  new v2  primary     ░░░░░░░░░░░░░░░░  0 matched  never used');
  });

  it('shows no escape code that a receiver or an upstream sent', () => {
    const bad = '\u001B[2J\u0007\r\nevil\u202Ename';
    const [first] = checks;
    const view = viewOf({
      doing: null,
      wait: { kind: 'wait', step: 'monitor', checks: [{ ...first!, message: bad }], problem: null },
      traffic: [{ ...versions[1]!, lastUsedBy: bad, id: bad }],
    });
    for (const row of frameOf([view], [], wide, plain, now)) expect(row).not.toMatch(/\p{C}/u);
  });
});

describe('a terminal that is small', () => {
  const message = '拒否されました: 署名が一致しません。もう一度お試しください。 Please try it again. 🔑';
  const long = viewOf({
    wait: {
      kind: 'wait',
      step: 'monitor',
      checks: [checkOf({ name: 'upstream', message: message.repeat(2) })],
      problem: null,
    },
  });

  it.for([40, 41, 57, 80, 200])('of %i columns has no row that is too wide', (columns) => {
    const frame = frameOf(
      [long],
      ['a closing line that has some more words than would fit into forty'],
      { columns, rows: 60 },
      plain,
      now,
    );
    for (const row of frame) expect(widthOf(row), row).toBeLessThan(Math.min(columns, 121));
    const words = frame.join(' ').replaceAll(/\s+/g, '');
    expect(words).toContain(message.replaceAll(/\s+/g, ''));
    expect(words).toContain('deprecated');
  });

  it.for([3, 6, 12, 24])('of %i rows has no more of them, and keeps one for the cursor', (rows) => {
    const many = Array.from({ length: 30 }, (_, index) => viewOf({}, `hook-${String(index)}`));
    const frame = frameOf(many, ['30 secrets'], { columns: 80, rows }, plain, now);
    expect(frame.length).toBeLessThan(rows);
    expect(frame.at(-1)).toBe('30 secrets');
    if (rows > 3) expect(frame[0]).toContain('hook-0');
  });

  it('shows the first run whole, and of the others what they wait for', () => {
    const frame = frameOf(
      ['one', 'two', 'three'].map((name) => viewOf({}, name)),
      [],
      { columns: 90, rows: 10 },
      plain,
      now,
    );
    expect(frame.slice(6)).toEqual([
      'two  4/5 monitor  waits for grace, new-seen',
      'three  4/5 monitor  waits for grace, new-seen',
    ]);
  });

  it('is one of no size at all: nothing fails', () => {
    for (const columns of [1, 2, 5]) {
      for (const rows of [1, 2]) expect(frameOf([long], ['end'], { columns, rows }, plain, now)).toHaveLength(1);
    }
  });
});
