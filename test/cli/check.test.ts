import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { loadPolicy } from '../../providers/policy-file.ts';
import { main } from '../../src/cli/main.ts';
import { formatProblem } from '../../src/model/policy/problems.ts';
import { hook, smallest, smallestWith } from '../model/policy/fixture.ts';

interface Outcome {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function check(policy: string, missing: readonly string[], ...more: readonly string[]): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-check-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'policy.json');
  writeFileSync(file, policy);
  const written = { stdout: '', stderr: '' };
  const exit = await main(
    {
      async loadPolicy(path) {
        const { policy: parsed, warnings } = await loadPolicy(path, {});
        return { policy: parsed, warnings: warnings.map((warning) => formatProblem(warning, 'policy.json')) };
      },
      missingCredentials: () => Promise.resolve(missing),
      openExamination: () => Promise.reject(new Error('it opens nothing')),
      openOrchestrator: () => Promise.reject(new Error('it opens nothing')),
    },
    {
      argv: ['check', '--policy', file, ...more],
      env: {},
      stdout: { write: (text: string) => (written.stdout += text) },
      stderr: { write: (text: string) => (written.stderr += text) },
      signal: new AbortController().signal,
      version: () => '0',
    },
  );
  return { exit, ...written };
}

const unsafe = JSON.stringify({ ...smallestWith([...hook, 'rotateEvery'], '91d'), naming: 'x' }, null, 1);

describe('check', () => {
  it('says that a policy is valid', async () => {
    const { exit, stdout } = await check(smallest, []);
    expect([exit, stdout]).toEqual([0, expect.stringMatching(/policy\.json: valid, 1 secret\.\n$/)]);
  });

  it('lists the warnings with their places, and exits 0', async () => {
    const { exit, stdout } = await check(unsafe, ['TOKEN is not set.']);
    expect(exit).toBe(0);
    expect(stdout.split('\n').slice(0, -1)).toEqual([
      expect.stringMatching(/: valid, 1 secret, 3 warnings\.$/),
      expect.stringMatching(
        /^ {2}warning: policy\.json:4:3 secrets\.my-hook: its name does not match naming: .+\. .+\.$/,
      ),
      expect.stringMatching(
        /^ {2}warning: policy\.json:5:19 secrets\.my-hook\.rotateEvery: .+ above "90d": .+\. .+\.$/,
      ),
      '  warning: TOKEN is not set.',
    ]);
  });

  it('gives the same to programs', async () => {
    const { exit, stdout } = await check(unsafe, [], '--json');
    expect(exit).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      format: 'keyturn.check/1',
      valid: true,
      secrets: ['my-hook'],
      warnings: [expect.stringContaining('policy.json:4:3'), expect.stringContaining('policy.json:5:19')],
    });
  });

  it('exits 2 with --strict where there is a warning, and says no less', async () => {
    expect(await check(smallest, [], '--strict')).toMatchObject({ exit: 0 });
    const relaxed = await check(unsafe, [], '--json');
    expect(await check(unsafe, [], '--json', '--strict')).toMatchObject({ exit: 2 });
    expect(JSON.parse(relaxed.stdout)).toMatchObject({ valid: true });
    expect(await check(smallest, ['TOKEN is not set.'], '--strict')).toMatchObject({ exit: 2 });
  });

  it('refuses what is invalid, whatever else there is to warn of', async () => {
    const { exit, stderr } = await check(unsafe.replace('"91d"', '"91 days"'), []);
    expect([exit, stderr]).toEqual([2, expect.stringContaining('secrets.my-hook.rotateEvery: must be a duration')]);
  });
});
