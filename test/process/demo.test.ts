import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { freePort } from './support/free-port.ts';
import { interrupt, startNode } from './support/processes.ts';
import { keyturnProgram, temporaryFolder, traceLines } from './support/world.ts';
import { until, untilItSays } from './support/until.ts';

const steps = ['generate', 'deploy', 'update', 'monitor', 'revoke'];

/** Processes of this machine whose environment has that text: they inherit it from whoever started them. */
function processesWith(text: string): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`).includes(text);
      } catch {
        // It ended meanwhile, or is somebody else's.
        return false;
      }
    });
}

/** Node itself may keep its compile cache there. */
function leftIn(folder: string): readonly string[] {
  return readdirSync(folder).filter((name) => name !== 'node-compile-cache');
}

describe('keyturn demo', { timeout: 240_000 }, () => {
  it('--json is one document: nothing refused by a rotation, something by a plain swap; nothing stays (I1)', async ({
    onTestFinished,
  }) => {
    const folder = temporaryFolder(onTestFinished);
    const env = { TMPDIR: folder };
    const done = await startNode(onTestFinished, keyturnProgram, ['demo', '--json'], { cwd: folder, env }).finished;
    expect(done).toMatchObject({ code: 0, stderr: '' });
    const result = JSON.parse(done.stdout) as Record<string, unknown>;
    expect(result).toEqual({
      deliveries: expect.any(Number),
      rejected: 0,
      steps: steps.map((step) => ({ step, ms: expect.any(Number) })),
      naive: { deliveries: expect.any(Number), rejected: expect.any(Number) },
    });
    expect(result).toMatchObject({ deliveries: expect.toSatisfy((count: number) => count > 100) });
    expect(result['naive']).toMatchObject({ rejected: expect.toSatisfy((count: number) => count > 0) });
    expect(leftIn(folder)).toEqual([]);
    expect(processesWith(folder)).toEqual([]);
  });
});

describe.concurrent('keyturn demo, ended early', { timeout: 240_000 }, () => {
  it('Ctrl-C, which reaches its processes too, ends it with 130 and without alarm, and nothing stays', async ({
    onTestFinished,
  }) => {
    const folder = temporaryFolder(onTestFinished);
    const options = { cwd: folder, env: { TMPDIR: folder }, ownGroup: true };
    const demo = startNode(onTestFinished, keyturnProgram, ['demo'], options);
    await untilItSays(demo, /2\/5 deploy/);
    interrupt(demo);
    const ended = await demo.finished;
    expect(ended).toMatchObject({ code: 130, signal: null });
    expect(ended.all).not.toMatch(/Unexpected|fetch failed|did not complete|must never happen/);
    expect(traceLines(ended.all)).toEqual([]);
    await until('no process is left', () => processesWith(folder).length === 0);
    expect(leftIn(folder)).toEqual([]);
  });

  it('SIGTERM to it alone ends it with 143, and nothing stays', async ({ onTestFinished }) => {
    const folder = temporaryFolder(onTestFinished);
    const demo = startNode(onTestFinished, keyturnProgram, ['demo'], { cwd: folder, env: { TMPDIR: folder } });
    await untilItSays(demo, /2\/5 deploy/);
    demo.kill('SIGTERM');
    const ended = await demo.finished;
    expect(ended).toMatchObject({ code: 143, signal: null });
    expect(traceLines(ended.all)).toEqual([]);
    await until('no process is left', () => processesWith(folder).length === 0);
    expect(leftIn(folder)).toEqual([]);
  });

  it('kill -9 leaves no process behind', async ({ onTestFinished }) => {
    const folder = temporaryFolder(onTestFinished);
    const demo = startNode(onTestFinished, keyturnProgram, ['demo'], { cwd: folder, env: { TMPDIR: folder } });
    await untilItSays(demo, /2\/5 deploy/);
    demo.kill('SIGKILL');
    await demo.finished;
    await until('no process is left', () => processesWith(folder).length === 0);
  });
});

describe('the way that `keyturn init` shows', { timeout: 240_000 }, () => {
  it('init, practice, rotate twice, Ctrl-C: nothing is refused, to the end (I1)', async ({ onTestFinished }) => {
    const folder = temporaryFolder(onTestFinished);
    const options = { cwd: folder, env: { TMPDIR: folder } };
    const keyturn = (...args: readonly string[]) => startNode(onTestFinished, keyturnProgram, args, options).finished;
    const init = await keyturn('init');
    expect(init).toMatchObject({ code: 0, stderr: '' });
    expect(init.stdout).toMatch(/keyturn practice[^]*keyturn rotate practice-hook --wait/);
    const policy = join(folder, 'rotation-policy.json');
    writeFileSync(policy, readFileSync(policy, 'utf8').replace(':4747/', `:${String(await freePort())}/`));

    const practice = startNode(onTestFinished, keyturnProgram, ['practice'], { ...options, ownGroup: true });
    await untilItSays(practice, /It sends nothing until it has a secret/);
    expect(await keyturn('rotate', 'practice-hook', '--wait')).toMatchObject({ code: 0 });
    expect(await keyturn('rotate', 'practice-hook', '--wait')).toMatchObject({ code: 0 });
    interrupt(practice);
    const ended = await practice.finished;
    expect(ended).toMatchObject({ code: 0, signal: null });
    expect(ended.stdout).toMatch(/^Stopped after \d\d+ deliveries, 0 refused\.\n$/);
    expect(traceLines(ended.all)).toEqual([]);
    await until('no process is left', () => processesWith(folder).length === 0);
  });
});
