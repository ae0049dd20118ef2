import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';

const root = join(import.meta.dirname, '..');

/** Runs vitest as `npm test` does over the given test files alone. */
function runVitest(files: Readonly<Record<string, string>>): { status: number | null; lines: string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-reporter-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  mkdirSync(join(folder, 'test'));
  for (const name of ['node_modules', 'src', 'test/conformance', 'test/servers']) {
    symlinkSync(join(root, name), join(folder, name), 'dir');
  }
  for (const name of ['vitest.config.ts', 'test/reporter.ts', 'test/sequencer.ts']) {
    copyFileSync(join(root, name), join(folder, name));
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(folder, 'test', name), `import { beforeAll, describe, test } from 'vitest';\n${text}\n`);
  }
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const { status, stdout } = spawnSync(process.execPath, [vitest, 'run'], { cwd: folder, encoding: 'utf8' });
  return { status, lines: stdout.trimEnd().split('\n') };
}

test('a run that passes ends with its totals, after the skipped tests and their reasons', () => {
  const { status, lines } = runVitest({
    'good.test.ts': `
      test('passes', () => {});
      test.skip('is left out', () => {});
      test('needs more', ({ skip }) => skip('needs a second disk'));`,
  });
  expect(status).toBe(0);
  expect(lines.slice(-3)).toEqual([
    'skipped: test/good.test.ts > is left out: no reason given',
    'skipped: test/good.test.ts > needs more: needs a second disk',
    '1 passed, 0 failed, 2 skipped',
  ]);
});

test('a failed test, a hook that throws, a stray rejection and a file that does not load are failures', () => {
  const { status, lines } = runVitest({
    'bad.test.ts': `
      test('fails', () => { throw new Error('bad'); });
      describe('suite', () => {
        beforeAll(() => { throw new Error('bad'); });
        test('never runs', () => {});
      });`,
    'stray.test.ts': `
      test('passes', async () => {
        void Promise.reject(new Error('stray'));
        await new Promise((resolve) => setImmediate(resolve));
      });`,
    'unloadable.test.ts': "import './nowhere.ts';",
  });
  expect(status).toBe(1);
  expect(lines.slice(-2)).toEqual([
    'skipped: test/bad.test.ts > suite > never runs: what its suite prepares failed',
    '1 passed, 4 failed, 1 skipped',
  ]);
});

test('a run that finds no test has failed', () => {
  const { status, lines } = runVitest({});
  expect(status).toBe(1);
  expect(lines.at(-1)).toBe('0 passed, 1 failed, 0 skipped');
});
