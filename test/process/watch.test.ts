import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseMetrics } from '../cli/prometheus.ts';
import type { Running } from './support/processes.ts';
import { deliver } from './support/sender.ts';
import { InTerminal, noTerminal } from './support/terminal.ts';
import { until, untilItSays } from './support/until.ts';
import { answers } from './support/upstream.ts';
import { eventLines, replaceFile, World } from './support/world.ts';

async function stopped(watching: Running, signal: NodeJS.Signals = 'SIGTERM') {
  watching.kill(signal);
  return watching.finished;
}

/** Puts a folder in the place of a file, which stays as it is at `PATH.away`. */
function obstruct(path: string): void {
  renameSync(path, `${path}.away`);
  for (;;) {
    try {
      mkdirSync(path);
      return;
    } catch {
      // Whoever missed the file in between has made a new one.
      rmSync(path, { force: true });
    }
  }
}

function count(text: string, part: string | RegExp): number {
  return text.split(part).length - 1;
}

const due = { secrets: { hook: { rotateEvery: '1s' } } };
const notDue = { secrets: { hook: { rotateEvery: '30d' } } };

describe.concurrent('keyturn run --watch', { timeout: 240_000 }, () => {
  it('rotates what is due, tells what changed and no more, takes an edit of the policy, ends with 143 (I1 I5 I6)', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    world.writePolicy(notDue);
    const { old, receiver } = await world.begin();
    const metrics = join(world.folder, 'keyturn.prom');
    const watching = world.start(['run', '--watch', '--every', '200ms', '--metrics-file', 'keyturn.prom']);
    await untilItSays(watching, /Watching 1 secret of .*rotation-policy\.json, every 200ms\./);
    await until('it wrote metrics', () => readdirSync(world.folder).includes('keyturn.prom'));
    expect(parseMetrics(readFileSync(metrics, 'utf8')).get('keyturn_secret_run_step{secret="hook"}')).toBe(0);

    expect((await world.run(['status'])).stdout).toMatch(/^keyturn run was last seen \d+m?s ago\.$/m);

    // A broken edit is told once, however many visits it lasts.
    const policy = join(world.folder, 'rotation-policy.json');
    const whole = readFileSync(policy, 'utf8');
    replaceFile(policy, whole.replace('"version": 1', '"version": one'));
    await untilItSays(watching, /policy: .*/);
    const lookedAt = (): number =>
      parseMetrics(readFileSync(metrics, 'utf8')).get('keyturn_run_last_timestamp_seconds') ?? NaN;
    const brokenAt = lookedAt();
    await until('it visited some times more', () => lookedAt() > brokenAt + 1);
    expect(count(watching.stderr(), /^policy: /m)).toBe(1);
    expect(watching.stderr()).toContain('The last policy that was whole stays in force.');
    replaceFile(policy, whole);
    await untilItSays(watching, /policy: goes well again\./);

    // Whatever the machine passes by meanwhile, this wait comes right after the call, in the same visit.
    world.hook().reactOnce(answers(429, { headers: { 'retry-after': '3' } }));
    world.writePolicy(due);
    await untilItSays(watching, /hook {4}Run r\w+ started: due\./);
    // What is due again is another question.
    world.writePolicy(notDue);
    const ends = (): number => count(watching.stderr(), 'is primary and everything else is revoked.');
    await until('it has told the end of each run', () => ends() > 0 && ends() === world.runs().length);
    const runs = world.runs();
    const { code, signal, stderr, stdout } = await stopped(watching);
    expect({ code, signal, stdout }).toEqual({ code: 143, signal: null, stdout: '' });
    for (const step of ['1/5 generate', '2/5 deploy', '3/5 update', '4/5 monitor', '5/5 revoke'])
      expect(count(stderr, `hook  ${step}`), step).toBe(runs.length);
    expect(stderr).toMatch(/hook {6}waits for upstream: /);
    expect(stderr.endsWith('Stopped. What is under way goes on with the next visit.\n')).toBe(true);
    expect(statSync(metrics).mode & 0o777).toBe(0o644);
    expect(parseMetrics(readFileSync(metrics, 'utf8')).get('keyturn_run_failures')).toBe(0);
    await until('the old value is refused', async () => (await deliver(receiver.url, old)) === 401);
    expect(world.refusals()).toEqual({});
    expect(world.leaks()).toEqual([]);
    expect(world.traces()).toEqual([]);
  });

  it('finishes the call in flight when it is told to stop, and gives the lease back (I5)', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    world.writePolicy(due);
    await world.begin();
    world.hook().reactOnce({ kind: 'hold', takes: 'when released' });
    const watching = world.start(['run', '--watch', '--every', '200ms']);
    const [call] = await until('the upstream is called', () => world.hook().calls.length > 0 && world.hook().calls);
    watching.kill('SIGTERM');
    call?.release();
    expect(await watching.finished).toMatchObject({ code: 143 });
    expect(call?.wasLeft).toBe(false);
    expect(world.events()).toContain('activate-done');
    // Nobody has the lease: who does not wait for it gets it.
    world.writePolicy(notDue);
    expect(await world.run(['rotate', 'hook', '--lock-timeout', '0ms'])).toMatchObject({ code: 0 });
    expect(await world.run(['rotate', 'hook', '--wait'])).toMatchObject({ code: 0 });
    expect(world.refusals()).toEqual({});
    expect(world.traces()).toEqual([]);
  });

  it('ends with 130 at Ctrl-C, also in the middle of a pause', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    const watching = world.start(['run', '--watch', '--every', '1h']);
    await untilItSays(watching, /hook: has no value yet/);
    expect(await stopped(watching, 'SIGINT')).toMatchObject({ code: 130, signal: null });
  });

  it('shares the work with another one and with cron: each run once, nothing twice (I1 I3)', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    world.writePolicy(notDue);
    await world.begin();
    const watches = [1, 2].map(() => world.start(['run', '--watch', '--every', '150ms']));
    await Promise.all(watches.map((each) => untilItSays(each, /Watching/)));
    // It waits for a second receiver until both have seen it, however seldom one of them gets to look.
    world.writePolicy({ secrets: { hook: { rotateEvery: '1s', receivers: { expect: 2 } } } });
    await Promise.all(watches.map((each) => untilItSays(each, /started: due\./)));
    world.writePolicy(notDue);
    await world.startReceiver('express');
    await until('the runs are completed', async () => {
      for (const { code, stderr } of await Promise.all([world.run(['run']), world.run(['run'])])) {
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      }
      return world.runs().every(({ state }) => state === 'completed');
    });
    expect(world.runs()).toHaveLength(1);
    // Once to switch, once more before the old one is revoked.
    expect(world.hook().calls).toHaveLength(2);
    for (const each of watches) {
      await untilItSays(each, /is primary and everything else is revoked\./);
      const { code, stderr } = await stopped(each);
      expect(code).toBe(143);
      expect(count(stderr, 'is primary and everything else is revoked.'), stderr).toBe(1);
      expect(stderr).not.toMatch(/another process|failed|goes well again/);
    }
    expect(world.refusals()).toEqual({});
    expect(world.traces()).toEqual([]);
  });

  it('survives a journal, a usage log and a store that fail, and says so once', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    world.writePolicy(notDue);
    await world.adopt();
    const watching = world.start(['run', '--watch', '--every', '100ms', '--metrics-file', 'keyturn.prom']);
    const failures = (): number =>
      parseMetrics(readFileSync(join(world.folder, 'keyturn.prom'), 'utf8')).get('keyturn_run_failures') ?? NaN;
    await untilItSays(watching, /Watching/);
    await until('it wrote metrics', () => readdirSync(world.folder).includes('keyturn.prom'));

    // The second time what comes back is a copy, as from a backup.
    for (const [name, about, isCopied] of [
      ['journal.db', 'visit', false],
      ['secrets/hook.json', 'hook', false],
      ['journal.db', 'visit', true],
    ] as const) {
      const path = join(world.folder, '.keyturn', name);
      const before = count(watching.stderr(), `${about}: goes well again.`);
      if (name === 'journal.db') obstruct(path);
      else {
        copyFileSync(path, `${path}.away`);
        replaceFile(path, '{');
      }
      await until(`${name} fails twice`, () => failures() >= 2);
      if (name === 'journal.db') rmdirSync(path);
      if (isCopied) copyFileSync(`${path}.away`, `${path}.copied`);
      renameSync(isCopied ? `${path}.copied` : `${path}.away`, path);
      await until(`${name} goes well again`, () => count(watching.stderr(), `${about}: goes well again.`) > before);
      await until('the metrics say so', () => failures() === 0);
    }
    const { code, stderr } = await stopped(watching);
    expect(code).toBe(143);
    expect(count(stderr, /^visit: The journal /m)).toBe(2);
    expect(count(stderr, /^hook: (?!goes)/m)).toBe(1);
    expect(world.traces()).toEqual([]);

    expect(await world.run(['rotate', 'hook'])).toMatchObject({ code: 0 });
    const usage = join(world.folder, '.keyturn/usage/usage.db');
    obstruct(usage);
    const again = world.start(['run', '--watch', '--every', '100ms']);
    await untilItSays(again, /hook {6}waits for usage-log: /);
    rmdirSync(usage);
    renameSync(`${usage}.away`, usage);
    await untilItSays(again, /hook {6}waits for roster: /);
    expect(await stopped(again)).toMatchObject({ code: 143, stdout: '' });
    expect(count(again.stderr(), 'waits for usage-log')).toBe(1);
  });

  it('with --json is an object a line; with --quiet nothing where nothing fails', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    world.writePolicy(notDue);
    await world.begin();
    const watching = world.start(['run', '--watch', '--every', '200ms', '--json', '--metrics-file', 'json.prom']);
    const quiet = world.start(['run', '--watch', '--every', '200ms', '--quiet']);
    await until('it has visited', () => readdirSync(world.folder).includes('json.prom'));
    world.writePolicy(due);
    await until('a run ended', () => /"event":"(completed|ended)"/.test(watching.stdout()));
    const ended = await stopped(watching);
    expect(ended).toMatchObject({ code: 143, stderr: '' });
    const events = eventLines(ended.stdout);
    expect(events.map(({ event }) => event)).toEqual(
      expect.arrayContaining(['started', 'step-entered', 'revoke-done']),
    );
    expect(events[0]).toMatchObject({ event: 'policy-read', source: join(world.folder, 'rotation-policy.json') });
    for (const { at, secret } of events.slice(1))
      expect({ at, secret }).toEqual({ at: expect.any(String), secret: 'hook' });
    expect(await stopped(quiet)).toMatchObject({ code: 143, stdout: '', stderr: '' });
  });

  it('does not begin without a policy that is whole, nor with options that make no sense', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    const refused = async (...args: readonly string[]) => world.run(['run', ...args]);
    expect(await refused('--every', '5s')).toMatchObject({ code: 2, stderr: expect.stringContaining('--watch') });
    expect(await refused('--watch', '--every', '10ms')).toMatchObject({ code: 2 });
    expect(await refused('--watch', 'nobody')).toMatchObject({ code: 2, stderr: expect.stringContaining('nobody') });
    writeFileSync(join(world.folder, 'rotation-policy.json'), '{');
    expect(await refused('--watch')).toMatchObject({ code: 2 });
    expect(world.traces()).toEqual([]);
  });

  const terminalTitle = noTerminal === null ? '' : ` (skipped: ${noTerminal})`;
  it.skipIf(noTerminal !== null)(
    `shows on a terminal what is under way${terminalTitle}`,
    async ({ onTestFinished }) => {
      const world = await World.open(onTestFinished);
      await world.begin();
      world.hook().send(0);
      await world.followUntil(/waits for new-seen: /);
      const terminal = new InTerminal(onTestFinished, world, ['run', '--watch', '--every', '1s'], { columns: 100 });
      await terminal.shows(/✗ new-seen: /);
      await terminal.shows(/^1 secret, 1 under way; next visit in \d+m?s$/m);
      expect(terminal.text, 'what was before is not told again').not.toMatch(/1\/5 generate/);
      world.hook().send(40);
      await terminal.shows(/hook {4}Version \w+ is primary and everything else is revoked\.\nhook {2}✓ generate/);
      await terminal.shows(/✓ revoke \S+\n1 secret, 0 under way; /);
      terminal.pressCtrlC();
      expect(await terminal.finished).toBe(130);
      expect(terminal.emulator.isCursorShown).toBe(true);
      expect(terminal.text).not.toMatch(/under way; /);
    },
  );
});

describe.concurrent('keyturn run --metrics-file', { timeout: 240_000 }, () => {
  it('writes them for a cron job: what is under way, what failed, when it last went well', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    await world.begin();
    world.hook().send(0);
    await world.followUntil(/waits for new-seen: /);
    const path = join(world.folder, 'out.prom');
    const samples = () => parseMetrics(readFileSync(path, 'utf8'));
    expect(await world.run(['run', '--metrics-file', path, '--quiet'])).toMatchObject({
      code: 0,
      stdout: '',
      stderr: '',
    });
    const first = samples();
    expect(first.get('keyturn_secret_run_step{secret="hook"}')).toBe(4);
    expect(first.get('keyturn_secret_waiting{secret="hook",check="new-seen"}')).toBe(1);
    expect(first.get('keyturn_secret_accepted_versions{secret="hook"}')).toBe(2);
    expect(first.get('keyturn_run_failures')).toBe(0);
    expect(first.get('keyturn_run_last_success_timestamp_seconds')).toBe(
      first.get('keyturn_run_last_timestamp_seconds'),
    );

    const document = join(world.folder, '.keyturn/secrets/hook.json');
    renameSync(join(world.folder, '.keyturn/journal.db'), join(world.folder, 'away'));
    mkdirSync(join(world.folder, '.keyturn/journal.db'));
    expect(await world.run(['run', '--metrics-file', path])).toMatchObject({ code: 1 });
    expect(samples().get('keyturn_run_failures')).toBe(1);
    expect(samples().get('keyturn_run_last_success_timestamp_seconds')).toBe(
      first.get('keyturn_run_last_success_timestamp_seconds'),
    );
    rmdirSync(join(world.folder, '.keyturn/journal.db'));
    renameSync(join(world.folder, 'away'), join(world.folder, '.keyturn/journal.db'));

    const unwritable = await world.run(['run', '--metrics-file', join(document, 'no.prom')]);
    expect(unwritable).toMatchObject({ code: 1, stderr: '' });
    expect(unwritable.stdout).toContain('waiting in step 4/5 monitor');
    expect(unwritable.stdout).toContain('metrics: The metrics file');
    const asJson = await world.run(['run', '--json', '--metrics-file', join(document, 'no.prom')]);
    expect(JSON.parse(asJson.stdout)).toMatchObject({ metrics: { error: { code: 'metrics-unwritable' } } });
    expect(world.leaks()).toEqual([]);
    expect(world.traces()).toEqual([]);
  });
});
