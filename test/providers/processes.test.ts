import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { localProcesses } from '../../providers/processes.ts';
import type { ProcessIdentity } from '../../src/ports/journal.ts';
import { OtherProcess, removeFolder, temporaryFolder } from './sqlite-support.ts';

const processes = localProcesses();
const self = processes.self();
const us: ProcessIdentity = self ?? { host: '', boot: '', pidNamespace: '', pid: 0, startedAt: '' };

const children: OtherProcess[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) await child.kill();
  for (const folder of folders.splice(0)) await removeFolder(folder);
});

function start(...act: readonly (string | number)[]): OtherProcess {
  const child = new OtherProcess(...act);
  children.push(child);
  return child;
}

async function statOf(pid: number): Promise<string> {
  return readFile(`/proc/${String(pid)}/stat`, 'utf8');
}

function statText(state: string, threads: number): string {
  return `${String(process.pid)} (node) ${state} ${'0 '.repeat(16)}${String(threads)} 0 77 0\n`;
}

/** A folder that looks like `/proc` as far as it goes. */
async function lookalike(self: string): Promise<string> {
  const folder = await temporaryFolder();
  folders.push(folder);
  await mkdir(join(folder, String(process.pid), 'ns'), { recursive: true });
  await mkdir(join(folder, 'sys/kernel/random'), { recursive: true });
  await writeFile(join(folder, 'sys/kernel/random/boot_id'), 'a-boot\n');
  await symlink('pid:[1]', join(folder, String(process.pid), 'ns/pid'));
  await writeFile(join(folder, String(process.pid), 'stat'), statText('S', 7));
  await symlink(self, join(folder, 'self'));
  return folder;
}

describe.skipIf(self === null)('the processes of this machine', () => {
  it('tell this one apart from every other', async () => {
    expect(us.pid).toBe(process.pid);
    const child = start('be-odd');
    const { self: other } = (await child.answer()) as { self: ProcessIdentity };
    expect(other.pid).toBe(child.pid);
    expect(other).toMatchObject({ host: us.host, boot: us.boot, pidNamespace: us.pidNamespace });
    expect(other.startedAt).not.toBe(us.startedAt);
    expect(localProcesses().self()).toEqual(us);
  });

  it('are alive while they run, whatever they are called, and dead once they were killed', async () => {
    const child = start('be-odd');
    const { self: other, stat } = (await child.answer()) as { self: ProcessIdentity; stat: string };
    expect(stat).toContain('() Z 1 (2) x)');
    expect(processes.isDead(us)).toBe(false);
    expect(processes.isDead(other)).toBe(false);
    await child.kill();
    expect(processes.isDead(other)).toBe(true);
  });

  it('are not dead when they are merely stopped', async () => {
    const child = start('be-odd');
    const { self: other } = (await child.answer()) as { self: ProcessIdentity };
    child.stop();
    await expect.poll(async () => statOf(other.pid), { timeout: 20_000 }).toMatch(/\) T /);
    expect(processes.isDead(other)).toBe(false);
    child.wakeUp();
  });

  it('are dead as zombies, whose parent has not asked for their end', async ({ onTestFinished }) => {
    const parent = spawn('sh', ['-c', 'cat <&3 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
    });
    onTestFinished(async () => {
      const exited = once(parent, 'exit');
      parent.kill('SIGKILL');
      await exited;
    });
    const [line] = (await once(parent.stdout!, 'data')) as [Buffer];
    const pid = Number(line.toString());
    const startedAt = (await statOf(pid)).split(' ')[21] ?? '';
    expect(processes.isDead({ ...us, pid, startedAt })).toBe(false);
    await expect.poll(async () => statOf(parent.pid ?? 0), { timeout: 20_000 }).toContain('(sleep)');
    parent.stdio[3]?.destroy();
    await expect.poll(async () => statOf(pid), { timeout: 20_000 }).toMatch(/\) Z /);
    expect(processes.isDead({ ...us, pid, startedAt })).toBe(true);
  });

  it('are dead where their pid was given to another', () => {
    expect(processes.isDead({ ...us, startedAt: '1' })).toBe(true);
  });

  it('are not known, and not dead, where their pid is counted elsewhere', async () => {
    const child = start('be-odd');
    const { self: gone } = (await child.answer()) as { self: ProcessIdentity };
    await child.kill();
    expect(processes.isDead(gone)).toBe(true);
    for (const elsewhere of [{ host: 'far' }, { boot: 'another' }, { pidNamespace: 'pid:[1]' }]) {
      expect(processes.isDead({ ...gone, ...elsewhere })).toBe(false);
    }
  });

  it('are not known where /proc is missing, incomplete, or counts pids of another namespace', async () => {
    expect(localProcesses(await lookalike(String(process.pid))).self()).toEqual({
      ...us,
      boot: 'a-boot',
      pidNamespace: 'pid:[1] time',
      startedAt: '77',
    });
    const foreign = localProcesses(await lookalike('1'));
    const missing = localProcesses('/nowhere');
    for (const told of [foreign, missing]) {
      expect(told.self()).toBeNull();
      expect(told.isDead({ ...us, startedAt: '1' })).toBe(false);
    }
  });

  it('are not dead where they cannot be looked at', async () => {
    const folder = await lookalike(String(process.pid));
    const processes = localProcesses(folder);
    const seen = { ...processes.self()!, startedAt: '78' };
    expect(processes.isDead(seen)).toBe(true);
    await writeFile(join(folder, String(process.pid), 'stat'), '');
    expect(processes.isDead(seen)).toBe(false);
  });

  it('are not dead while a thread of theirs has not ended', async () => {
    const folder = await lookalike(String(process.pid));
    const processes = localProcesses(folder);
    await writeFile(join(folder, String(process.pid), 'stat'), statText('Z', 2));
    expect(processes.isDead(processes.self()!)).toBe(false);
    await writeFile(join(folder, String(process.pid), 'stat'), statText('Z', 1));
    expect(processes.isDead(processes.self()!)).toBe(true);
  });
});
