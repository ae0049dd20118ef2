import { accessSync, constants, lstatSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { shellWord } from '../src/model/shell.ts';
import { failed, ok, unknown, warning } from '../src/ports/probe.ts';
import type { ProbeFinding } from '../src/ports/secret-store.ts';
import { KeyturnError } from '../src/model/errors.ts';
import { modeText, systemCode } from './files.ts';
import type { DatabaseKind } from './sqlite-session.ts';
import { readSchemaVersion } from './sqlite.ts';

/** Files of this machine, looked at before anything opens them: to open a database makes it, and gives it its mode. */

export interface DatabaseFile {
  readonly path: string;
  /** Permission bits that it should have. */
  readonly mode: number;
}

export interface PlaceLook {
  readonly findings: readonly ProbeFinding[];
  /** False where it is better not opened: it would be made, or changed. */
  readonly mayOpen: boolean;
}

/** Never throws. */
export function lookAtDatabase(kind: Pick<DatabaseKind, 'noun' | 'migrations'>, file: DatabaseFile): PlaceLook {
  const { path } = file;
  const found = modeAt(path);
  // Whoever opens it says why, and can make nothing there.
  if (found === 'hidden') return { findings: [], mayOpen: true };
  if (found === null) return { findings: [missing(kind, path)], mayOpen: false };
  const findings = [modesOf(kind, file, found), ...diskFindings(dirname(path))];
  try {
    const version = readSchemaVersion(path);
    if (version < kind.migrations.length)
      return { findings: [...findings, older(kind, path, version)], mayOpen: false };
  } catch {
    // Whoever opens it next says what is wrong with it.
  }
  return { findings, mayOpen: true };
}

/** Its permission bits; null where it is not there, `hidden` where it may not be looked at. */
function modeAt(path: string): number | 'hidden' | null {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.mode ?? null;
  } catch {
    return 'hidden';
  }
}

/** The first command that needs it makes it, if it may. */
function missing({ noun }: Pick<DatabaseKind, 'noun'>, path: string): ProbeFinding {
  const folder = nearestFolder(dirname(path));
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return unknown('file', `${noun} ${path} is not there yet: the first command that writes to it makes it.`);
  } catch (error) {
    const why = `${noun} ${path} is not there, and this user may not make it in ${folder} (${systemCode(error) ?? 'unknown'}).`;
    const hint = `Let this user write there, or correct the path in the policy; look with: ls -ld ${shellWord(folder)}`;
    return failed('file', new KeyturnError('unexpected', why, { hint }));
  }
}

function nearestFolder(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found !== undefined || dirname(path) === path ? path : nearestFolder(dirname(path));
}

function modesOf({ noun }: Pick<DatabaseKind, 'noun'>, { path, mode }: DatabaseFile, found: number): ProbeFinding {
  const surplus = found & 0o777 & ~mode;
  if (surplus === 0) return ok('modes', `${noun} has mode ${modeText(found)}.`);
  return warning(
    'modes',
    `${noun} ${path} has mode ${modeText(found)}, which lets others in; ${modeText(mode)} is enough.`,
    `chmod ${modeText(mode)} ${shellWord(path)}`,
  );
}

function older(
  { noun, migrations }: Pick<DatabaseKind, 'noun' | 'migrations'>,
  path: string,
  found: number,
): ProbeFinding {
  return warning(
    'format',
    `${noun} ${path} has format ${String(found)}; the next command that opens it brings it to ${String(migrations.length)}.`,
    'Update keyturn in every process that uses it, then run one: keyturn status',
  );
}

/** Where locks and renames of several machines do not hold what they promise: NFS, SMB 1 and 2, CIFS, 9p. */
const networkFileSystems: ReadonlyMap<number, string> = new Map([
  [0x69_69, 'NFS'],
  [0x51_7b, 'SMB'],
  [0xfe_53_4d_42, 'SMB'],
  [0xff_53_4d_42, 'CIFS'],
  [0x01_02_19_97, '9p'],
]);

/** Below this much space a journal may find no room for its next lines, bytes. */
const littleSpace = 64 * 1024 * 1024;

/** The disk of a folder: none is a finding of its own where it is not there. */
export function diskFindings(folder: string): readonly ProbeFinding[] {
  try {
    const { type, bavail, bsize } = statfsSync(nearestFolder(folder));
    const network = networkFileSystems.get(type);
    const free = bavail * bsize;
    return [
      free < littleSpace
        ? warning(
            'disk',
            `Only ${megabytes(free)} are free in ${folder}.`,
            `Free some space: df -h ${shellWord(folder)}`,
          )
        : ok('disk', `${megabytes(free)} are free.`),
      ...(network === undefined
        ? []
        : [
            warning(
              'file-system',
              `${folder} is on ${network}, where the locks of several machines cannot be relied on.`,
              'Keep it on a disk of one machine.',
            ),
          ]),
    ];
  } catch {
    return [];
  }
}

function megabytes(bytes: number): string {
  return `${String(Math.floor(bytes / 1_048_576)).replace(/\B(?=(\d{3})+$)/g, ',')} MiB`;
}
