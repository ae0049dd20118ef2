import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import type { ProcessIdentity } from '../src/ports/journal.ts';
import type { Processes } from '../src/ports/system.ts';
import { systemCode } from './files.ts';

/** For systems that do not tell: nobody is known, so nobody is taken for dead. */
const untold: Processes = { self: () => null, isDead: () => false };

/**
 * The processes of this machine as Linux shows them in `/proc`; elsewhere nothing is known of any.
 *
 * A pid means something only to those who count it alike: on the same host, in the same start of the machine, in the
 * same namespaces. Of any other process nothing is known, and it is not taken for dead. That goes for another start of a
 * host of the same name too: after a restart the process would be dead, but containers and machines that were copied
 * share names, and then it may be at work elsewhere.
 */
export function localProcesses(folder = '/proc'): Processes {
  const self = identityOfSelf(folder);
  if (self === null) return untold;
  return {
    self: () => self,
    isDead: (identity) => isCountedAlike(self, identity) && hasEnded(folder, identity),
  };
}

/** Null where `/proc` is missing, or counts pids of another namespace than this process's own. */
function identityOfSelf(folder: string): ProcessIdentity | null {
  const { pid } = process;
  try {
    if (readlinkSync(`${folder}/self`) !== String(pid)) return null;
    const status = statusOf(folder, pid);
    if (status === null) return null;
    return {
      host: hostname(),
      boot: readFileSync(`${folder}/sys/kernel/random/boot_id`, 'utf8').trim(),
      pidNamespace: [namespaceOf(folder, 'pid'), namespaceOf(folder, 'time')].join(' '),
      pid,
      startedAt: status.startedAt,
    };
  } catch {
    return null;
  }
}

/** Such as `pid:[4026531836]`; a kernel that has no such namespaces has one for all. */
function namespaceOf(folder: string, kind: 'pid' | 'time'): string {
  try {
    return readlinkSync(`${folder}/self/ns/${kind}`);
  } catch (error) {
    if (kind === 'time' && systemCode(error) === 'ENOENT') return 'time';
    throw error;
  }
}

function isCountedAlike(self: ProcessIdentity, other: ProcessIdentity): boolean {
  return self.host === other.host && self.boot === other.boot && self.pidNamespace === other.pidNamespace;
}

/** Gone, its pid given to another, or a zombie. What cannot be seen counts as alive. */
function hasEnded(folder: string, { pid, startedAt }: ProcessIdentity): boolean {
  // Asked first: /proc may hide processes of other users, the system call hides none.
  if (!exists(pid)) return true;
  const status = statusOf(folder, pid);
  return status !== null && (status.startedAt !== startedAt || isZombie(status));
}

/** While a killed process ends, its first thread may be a zombie before the others have finished what they were at. */
function isZombie({ state, threads }: ProcessStatus): boolean {
  return (state === 'Z' || state === 'X') && threads <= 1;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) !== 'ESRCH';
  }
}

interface ProcessStatus {
  readonly state: string;
  readonly threads: number;
  readonly startedAt: string;
}

/** Null where the process cannot be looked at. */
function statusOf(folder: string, pid: number): ProcessStatus | null {
  try {
    const text = readFileSync(`${folder}/${pid}/stat`, 'utf8');
    // The second field is the program's name in parentheses, and may hold any of them and spaces.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [state, threads, startedAt] = [fields[0], fields[17], fields[19]];
    return state === undefined || startedAt === undefined ? null : { state, threads: Number(threads), startedAt };
  } catch {
    return null;
  }
}
