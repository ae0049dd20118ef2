import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Later } from '../process/support/processes.ts';

/** Why no small disk can be mounted here; null where one can. */
export const noMounts = findNoMounts();

function findNoMounts(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs Linux and root';
  const probe = '/tmp/keyturn-mount-probe';
  mkdirSync(probe, { recursive: true });
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe]);
  if (status === 0) spawnSync('umount', ['--lazy', probe]);
  rmSync(probe, { recursive: true, force: true });
  return status === 0 ? null : 'needs the right to mount';
}

/** A folder that can get full, or read-only: a small disk of its own where one can be mounted. */
export class Disk {
  readonly folder: string;
  readonly isMounted: boolean;

  constructor(later: Later, folder: string, sizeMb: number) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.isMounted = noMounts === null;
    if (!this.isMounted) return;
    run('mount', '-t', 'tmpfs', '-o', `size=${String(sizeMb)}m,mode=0700`, 'tmpfs', folder);
    later(() => run('umount', '--lazy', folder));
  }

  /** Takes all the room that is left. */
  fill(): void {
    const { bavail, bsize } = statfsSync(this.folder);
    for (let size = bavail * bsize; size > 0; size = Math.floor(size / 2)) {
      try {
        writeFileSync(join(this.folder, `filler-${String(size)}`), Buffer.alloc(size));
      } catch {
        // Somebody else took some of it meanwhile.
      }
    }
  }

  empty(): void {
    for (const name of readdirSync(this.folder)) {
      if (name.startsWith('filler-')) rmSync(join(this.folder, name));
    }
  }

  /** Nothing may have a file open in it for writing, where it is mounted. */
  makeReadOnly(): void {
    if (this.isMounted) run('mount', '-o', 'remount,ro', this.folder);
    else this.#allow(0o500, 0o400);
  }

  makeWritable(): void {
    if (this.isMounted) run('mount', '-o', 'remount,rw', this.folder);
    else this.#allow(0o700, 0o600);
  }

  #allow(folderMode: number, fileMode: number): void {
    chmodSync(this.folder, 0o700);
    for (const name of readdirSync(this.folder)) chmodSync(join(this.folder, name), fileMode);
    chmodSync(this.folder, folderMode);
  }
}

function run(command: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}
