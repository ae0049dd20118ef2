import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { parseMetrics } from '../cli/prometheus.ts';
import { root } from './support/processes.ts';
import { until, untilItSays } from './support/until.ts';
import { hookToken } from './support/upstream.ts';
import { keyturnProgram, World, type StatusDocument } from './support/world.ts';

const deploy = join(root, 'deploy');

/** What the shipped files say for the things that each machine has in a place of its own. */
const shipped = {
  node: '/usr/bin/node',
  program: '/srv/hooks/node_modules/keyturn/dist/bin/keyturn.js',
  folder: '/srv/hooks',
  state: '%S/keyturn',
};

/** A shipped text for this machine and the world's folder. */
function madeFor(world: World, content: string): string {
  return content
    .replaceAll(shipped.program, keyturnProgram)
    .replaceAll(shipped.node, process.execPath)
    .replaceAll(shipped.folder, world.folder)
    .replaceAll(shipped.state, world.folder);
}

/** The lines of a crontab that start something, without their five fields. */
function commandsOf(crontab: string): readonly string[] {
  return crontab
    .split('\n')
    .filter((line) => /^\S/.test(line) && !line.startsWith('#'))
    .map((line) => line.replace(/^(?:[\d*/,-]+\s+){5}/, ''));
}

/** What cron does with a command: the shell gets it up to the first bare %, and almost no environment. */
async function asCron(
  world: World,
  command: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number | null; readonly said: string }> {
  const [script = ''] = command.split(/(?<!\\)%/);
  const child = spawn('/bin/sh', ['-c', script.replaceAll('\\%', '%')], {
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', SHELL: '/bin/sh', HOME: world.folder, LOGNAME: 'keyturn', ...variables },
  });
  child.stdin.end();
  const said = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, said: (await said).join('') };
}

interface Unit {
  readonly values: (key: string) => readonly string[];
}

function unit(name: string): Unit {
  const content = readFileSync(join(deploy, 'systemd', name), 'utf8');
  const pairs = [...content.matchAll(/^(\w+)=(.*)$/gm)].map(([, key = '', value = '']) => ({ key, value }));
  return { values: (wanted) => pairs.filter(({ key }) => key === wanted).map(({ value }) => value) };
}

/** The words that the unit starts keyturn with, after Node and the program. */
function argumentsOf(world: World, { values }: Unit): readonly string[] {
  const [command = '', ...more] = values('ExecStart');
  expect(more).toEqual([]);
  const [node, program, ...args] = madeFor(world, command).split(' ');
  expect({ node, program }).toEqual({ node: process.execPath, program: keyturnProgram });
  return args;
}

describe('what is shipped for schedulers', () => {
  it('starts the program that the package installs', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { bin: { keyturn: string } };
    expect(shipped.program).toBe(join(shipped.folder, 'node_modules/keyturn', manifest.bin.keyturn));
  });

  const systemd = spawnSync('systemd-analyze', ['--version']).error === undefined;
  it.skipIf(!systemd)(
    `passes \`systemd-analyze verify\`${systemd ? '' : ' (skipped: needs systemd)'}`,
    async ({ onTestFinished }) => {
      const world = await World.open(onTestFinished);
      const files = readdirSync(join(deploy, 'systemd')).map((name) => {
        const path = join(world.folder, name);
        writeFileSync(path, madeFor(world, readFileSync(join(deploy, 'systemd', name), 'utf8')));
        return path;
      });
      expect(files.map((path) => basename(path)).toSorted()).toEqual([
        'keyturn-run.service',
        'keyturn-run.timer',
        'keyturn-watch.service',
      ]);
      const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', ...files], { encoding: 'utf8' });
      expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: '' });
    },
  );

  it.for(['keyturn-run.service', 'keyturn-watch.service'])('confines %s', (name) => {
    const { values } = unit(name);
    for (const [key, value] of Object.entries({
      NoNewPrivileges: 'yes',
      ProtectSystem: 'strict',
      ReadWritePaths: '/srv/hooks/.keyturn',
      KillSignal: 'SIGTERM',
      CapabilityBoundingSet: '',
      User: 'keyturn',
    }))
      expect(values(key), key).toEqual([value]);
    expect(values('MemoryDenyWriteExecute'), 'Node compiles while it runs').toEqual([]);
    expect(values('LoadCredential').join()).toMatch(/^[\w-]+:\/etc\//);
    expect(values('TimeoutStopSec')).toHaveLength(1);
  });
});

describe.concurrent('what is shipped for schedulers does its work', { timeout: 240_000 }, () => {
  it('the crontab line: silent, and the run goes on', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    const [command = '', ...more] = commandsOf(madeFor(world, readFileSync(join(deploy, 'crontab'), 'utf8')));
    expect(more).toEqual([]);
    expect(await world.run(['rotate', 'hook'])).toMatchObject({ code: 0 });
    const receiver = await world.startReceiver('node');
    await until('cron completes it', async () => {
      expect(await asCron(world, command, { HOOK_TOKEN: hookToken })).toEqual({ code: 0, said: '' });
      return world.runs().every(({ state }) => state === 'completed');
    });
    receiver.process.kill('SIGTERM');
    expect(world.hook().calls).not.toHaveLength(0);
  });

  it('the crontab line that `rotate` prints, as it is, from a folder with a name of its own', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    const folder = `it's 100% "ours"`;
    mkdirSync(join(world.folder, folder));
    const policy = join(world.folder, folder, 'rotation-policy.json');
    cpSync(join(world.folder, 'rotation-policy.json'), policy);
    const { code, stdout } = await world.run(['rotate', 'hook'], { policy });
    expect(code).toBe(0);
    expect(stdout).toContain('last seen never');
    expect(stdout).toContain('cron has no variables of yours: set HOOK_TOKEN there too.');
    const line = /^ {4}(\* \* \* \* \* .*)$/m.exec(stdout)?.[1] ?? '';
    const [command = ''] = commandsOf(line);
    expect(await asCron(world, command)).toEqual({ code: 0, said: '' });
    const status = await world.run(['status', '--json'], { policy });
    expect((JSON.parse(status.stdout) as StatusDocument).scheduler.lastRunAt).not.toBeNull();
    const again = await world.run(['rotate', 'hook'], { policy });
    expect(again.stdout).toMatch(/keyturn run moves it on; it was here \S+ ago\./);
  });

  it('the crontab line says what failed, and nothing else', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished);
    const [command = ''] = commandsOf(madeFor(world, readFileSync(join(deploy, 'crontab'), 'utf8')));
    writeFileSync(join(world.folder, 'rotation-policy.json'), '{');
    const { code, said } = await asCron(world, command);
    expect(code).toBe(2);
    expect(said).toMatch(/^keyturn: .*rotation-policy\.json/);
  });

  it('the command lines of the units: one visit, and a watch that ends as its unit expects', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    const visit = await world.run(argumentsOf(world, unit('keyturn-run.service')));
    expect(visit).toMatchObject({ code: 0, stdout: '', stderr: '' });
    const metrics = join(world.folder, 'keyturn.prom');
    expect(parseMetrics(readFileSync(metrics, 'utf8')).get('keyturn_run_failures')).toBe(0);

    const service = unit('keyturn-watch.service');
    const watching = world.start(argumentsOf(world, service));
    await untilItSays(watching, /Watching 1 secret/);
    watching.kill(service.values('KillSignal')[0] as NodeJS.Signals);
    const { code } = await watching.finished;
    expect(service.values('SuccessExitStatus')).toEqual([String(code)]);
  });
});
