import { describe, expect, it } from 'vitest';
import { InTerminal, noTerminal } from './support/terminal.ts';
import { until } from './support/until.ts';
import { answers } from './support/upstream.ts';
import { traceLines, World } from './support/world.ts';

const title = noTerminal === null ? 'progress on a terminal' : `progress on a terminal (skipped: ${noTerminal})`;

/** What stays of a followed run, in this order. */
const history = [
  /^hook {4}Run r\w+ started: asked for\.$/,
  /^hook {2}1\/5 generate {2}/,
  /^hook {4}Done: storing the new version/,
  /^hook {2}2\/5 deploy {2}/,
  /^hook {2}3\/5 update {2}/,
  /^hook {4}Done: telling the upstream to use version/,
  /^hook {2}4\/5 monitor {2}/,
];

function expectInOrder(rows: readonly string[], patterns: readonly RegExp[]): void {
  const places = patterns.map((pattern) => rows.findIndex((row) => pattern.test(row)));
  expect(places, rows.join('\n')).not.toContain(-1);
  expect(places).toEqual(places.toSorted((one, other) => one - other));
  for (const pattern of patterns)
    expect(
      rows.filter((row) => pattern.test(row)),
      String(pattern),
    ).toHaveLength(1);
}

const isHead = (row: string): boolean => /^hook {2}run r\w+, /.test(row);

describe.skipIf(noTerminal !== null).concurrent(title, { timeout: 240_000 }, () => {
  it('of `rotate --wait` is redrawn in place, below what has happened', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished, { hook: { gates: { grace: '5s', quiet: '3s' } } });
    await world.begin();
    // Wide enough for a row of traffic to stay one row, however long host, pid and counts are.
    const terminal = new InTerminal(onTestFinished, world, ['rotate', 'hook', '--wait'], { columns: 160, rows: 30 });
    await terminal.shows(/✗ grace: .* \[\d+m?s left\]/);
    expect(terminal.emulator.isCursorShown).toBe(false);
    await terminal.shows(/✓ generate .*✓ deploy .*✓ update .*▸ monitor \d+s {2}· revoke/);
    await terminal.shows(/old v\w+ +deprecated .* \d+ matched\s+last used \S+ ago by \S+/);
    await terminal.shows(/new v\w+ +primary +█+░* +\d+% {2}\d+ matched\s+last used \S+ ago$/m);
    expect(await terminal.finished).toBe(0);

    const { emulator } = terminal;
    const rows = emulator.all;
    expectInOrder(rows, [
      ...history,
      /^hook {2}5\/5 revoke {2}/,
      /^hook {4}Done: revoking everything but the primary\.$/,
      /^hook {2}✓ generate \S+ {2}✓ deploy \S+ {2}✓ update \S+ {2}✓ monitor \S+ {2}✓ revoke \S+$/,
      /^hook: rotated in /,
    ]);
    expect(rows.join('\n')).not.toMatch(/waits for|✗|run r\w+, /);
    expect(emulator.isCursorShown).toBe(true);
    expect(emulator.isStyled).toBe(true);
    const left = emulator.shown.flatMap((seen) => /✗ grace: .* \[(\w+) left\]/.exec(seen.join('\n'))?.[1] ?? []);
    expect(new Set(left).size, 'it counts down').toBeGreaterThan(1);
    // From the first moment to the last, whatever was printed meanwhile.
    const withHead = emulator.shown.map((seen) => seen.filter(isHead).length);
    const [first, last] = [withHead.indexOf(1), withHead.lastIndexOf(1)];
    expect(new Set(withHead.slice(first, last + 1))).toEqual(new Set([1]));
    expect(world.refusals()).toEqual({});
    expect(world.leaks()).toEqual([]);
  });

  it('fits a terminal of 40 columns, and one that a person makes smaller and larger', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    await world.begin();
    world.hook().send(0);
    const env = { NO_COLOR: '1' };
    const terminal = new InTerminal(onTestFinished, world, ['rotate', 'hook', '--wait'], {
      columns: 100,
      rows: 30,
      env,
    });
    await terminal.shows(/✗ new-seen: /);
    const whole = (): boolean =>
      terminal.emulator.screen.filter(isHead).length === 1 &&
      terminal.text.split('✗ new-seen:').length === 2 &&
      terminal.text.split('deprecated').length === 2;
    for (const [columns, rows] of [
      [40, 30],
      [120, 40],
      [60, 25],
    ] as const) {
      const drawn = terminal.emulator.shown.length;
      terminal.resize(columns, rows);
      await until('it is drawn for that size', () => terminal.emulator.shown.length > drawn + 2 && whole()).catch(
        (error: unknown) => expect.fail(`${String(error)}\n${terminal.text}`),
      );
      expect(terminal.emulator.columns).toBe(columns);
      for (const row of terminal.emulator.screen) expect(row.length).toBeLessThanOrEqual(columns);
    }
    terminal.resize(200, 50);
    terminal.pressCtrlC();
    expect(await terminal.finished).toBe(130);
    expectInOrder(terminal.emulator.all, [...history, /^ {2}Run r\w+ goes on where it stopped/]);
    expect(terminal.emulator.screen.filter(isHead)).toEqual([]);
    expect(terminal.emulator.isStyled).toBe(false);
  });

  it('gives the terminal back after Ctrl-C, SIGTERM and SIGHUP', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    await world.begin();
    world.hook().send(0);
    for (const [code, stop] of [
      [130, (terminal: InTerminal) => terminal.pressCtrlC()],
      [143, (terminal: InTerminal) => terminal.kill('SIGTERM')],
      [129, (terminal: InTerminal) => terminal.kill('SIGHUP')],
    ] as const) {
      const terminal = new InTerminal(onTestFinished, world, ['rotate', 'hook', '--wait']);
      await terminal.shows(/✗ new-seen: /);
      expect(terminal.emulator.isCursorShown).toBe(false);
      stop(terminal);
      expect(await terminal.finished).toBe(code);
      expect(terminal.emulator.isCursorShown).toBe(true);
      expect(traceLines(terminal.text)).toEqual([]);
    }
  });

  it('gives the terminal back after an error, and at once after a second Ctrl-C', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished, { hook: { timeout: '60s' } });
    await world.begin();
    world.hook().react(answers(422));
    const refused = new InTerminal(onTestFinished, world, ['rotate', 'hook', '--wait']);
    expect(await refused.finished).toBe(1);
    expect(refused.text).toMatch(/hook: failed in step 3\/5 update/);
    expect(refused.emulator.isCursorShown).toBe(true);

    world.hook().react({ kind: 'hold', takes: 'when released' });
    const calling = new InTerminal(onTestFinished, world, ['rotate', 'hook', '--wait']);
    await until('the upstream is called', () => world.hook().calls.length > 1);
    calling.pressCtrlC();
    await calling.shows(/\^C/);
    calling.pressCtrlC();
    expect(await calling.finished).toBe(130);
    expect(calling.emulator.isCursorShown).toBe(true);
    world.hook().calls.at(-1)?.release();
  });

  it('of `demo` too: its rotation in place, its last lines as everywhere', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    const terminal = new InTerminal(onTestFinished, world, ['demo'], { columns: 110, rows: 40 });
    await terminal.shows(
      /▸ monitor .*\n[^]*new v\w+ +primary[^]*old v\w+ +deprecated .*\n\d+ messages answered, 0 refused$/,
    );
    expect(await terminal.finished).toBe(0);
    const { all, isCursorShown } = terminal.emulator;
    expect(isCursorShown).toBe(true);
    expectInOrder(all, [
      /^ {2}1\/5 generate: /,
      /^ {2}5\/5 revoke: /,
      /^A plain swap, /,
      /^keyturn rotated the secret \(generate/,
    ]);
    expect(all.join('')).toContain('and not one was refused');
    expect(all.join('\n')).not.toMatch(/traffic: |messages answered/);
  });

  it('is none with --json, --quiet, --verbose, TERM=dumb or CI: no escape code is sent', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    const cases: readonly (readonly [readonly string[], Readonly<Record<string, string>>])[] = [
      [['--json'], {}],
      [['--quiet'], {}],
      [['--verbose'], {}],
      [[], { TERM: 'dumb' }],
      [[], { CI: 'true' }],
    ];
    for (const [more, env] of cases) {
      const terminal = new InTerminal(onTestFinished, world, ['rotate', 'hook', '--wait=500ms', ...more], { env });
      expect(await terminal.finished).toBe(3);
      expect(terminal.raw).not.toContain('\u001B');
      expect(terminal.raw).toContain('hook');
    }
  });
});
