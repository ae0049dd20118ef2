import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { folder, output, root } from './folder.ts';
import { kinds } from './kinds.ts';
import type { Installed, RunningServer, ServerKind, ServerName } from './types.ts';

/** What is known of a server that was started here; a file in the ignored folder, so that any process may end it. */
interface Started extends RunningServer {
  /** Null where docker compose has it. */
  readonly pid: number | null;
  /** The moment the process began, as the kernel counts: a pid that was given again is another process. */
  readonly began: string | null;
}

const stateOf = (name: ServerName): string => join(folder, 'run', `${name}.json`);
const logOf = (name: ServerName): string => join(folder, 'logs', `${name}.log`);

/** How long a server may take to answer after its start. */
const patienceMs = 60_000;

/** Where the server is: where the environment says, or where it was started. Null where it does not answer. */
export async function find(kind: ServerKind): Promise<RunningServer | null> {
  const named = process.env[kind.variable];
  const known = named === undefined || named === '' ? await started(kind.name) : named;
  if (known === null) return null;
  const server =
    typeof known === 'string'
      ? {
          name: kind.name,
          address: known.replace(/\/+$/, ''),
          rest: process.env[`${kind.variable}_REST`] ?? null,
          version: `at ${known}`,
        }
      : known;
  try {
    const version = await kind.answers(server.address);
    return { name: server.name, address: server.address, rest: server.rest, version: version ?? server.version };
  } catch {
    return null;
  }
}

async function started(name: ServerName): Promise<Started | null> {
  const text = await readFile(stateOf(name), 'utf8').catch(() => null);
  return text === null ? null : (JSON.parse(text) as Started);
}

/** Finds it, or starts it from where it is, or brings it. Throws with a sentence where that is not possible. */
export async function up(kind: ServerKind, say: (line: string) => void): Promise<RunningServer> {
  const found = await find(kind);
  if (found !== null) return found;
  if (process.env[kind.variable] !== undefined) {
    throw new Error(`nothing answers at ${kind.variable}=${String(process.env[kind.variable])}`);
  }
  await down(kind);
  const installed = (await kind.installed()) ?? (await installedNow(kind, say));
  return installed instanceof Error ? startInCompose(kind, installed) : start(kind, installed);
}

async function installedNow(kind: ServerKind, say: (line: string) => void): Promise<Installed | Error> {
  if (kind.install === null) return new Error('no registry carries it');
  say(`${kind.name}: installing it into .servers`);
  try {
    await kind.install();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
  return (await kind.installed()) ?? new Error('it was installed, and is not there');
}

async function start(kind: ServerKind, installed: Installed): Promise<RunningServer> {
  const [port, restPort] = await freePorts();
  const { command, args, env, cwd } = installed.launch(port, restPort);
  mkdirSync(join(folder, 'logs'), { recursive: true });
  const log = openSync(logOf(kind.name), 'w');
  const child = spawn(command, args, {
    cwd: cwd ?? folder,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const failed = new Promise<Error>((resolve) => child.once('error', resolve));
  const exited = new Promise<Error>((resolve) => {
    child.once('exit', (code) => resolve(new Error(`it ended with ${String(code)}; see ${logOf(kind.name)}`)));
  });
  child.unref();
  const address = `http://127.0.0.1:${String(port)}`;
  const rest = kind.hasRest ? `http://127.0.0.1:${String(restPort)}` : null;
  const pid = child.pid ?? null;
  const server = { name: kind.name, address, rest, version: installed.version };
  await writeState({ ...server, pid, began: pid === null ? null : await beganAt(pid) });
  const answered = await Promise.race([untilAnswers(kind, address), failed, exited]);
  if (answered instanceof Error) {
    await down(kind);
    throw answered;
  }
  return { ...server, version: answered ?? server.version };
}

async function untilAnswers(kind: ServerKind, address: string): Promise<string | null | Error> {
  const end = Date.now() + patienceMs;
  for (;;) {
    try {
      return await kind.answers(address);
    } catch (error) {
      if (Date.now() > end) return new Error(`it did not answer; see ${logOf(kind.name)}`, { cause: error });
    }
    await sleep(100);
  }
}

async function startInCompose(kind: ServerKind, why: Error): Promise<RunningServer> {
  const { name, composePort } = kind;
  if (composePort === null) throw why;
  try {
    await output('docker', ['compose', 'up', '--detach', '--quiet-pull', name], root);
    const published = async (port: number): Promise<string> => {
      const place = await output('docker', ['compose', 'port', name, String(port)], root);
      return `http://${place.trim()}`;
    };
    const server = {
      name,
      address: await published(composePort),
      rest: kind.hasRest ? await published(8080) : null,
      version: `${name} in docker compose`,
    };
    await writeState({ ...server, pid: null, began: null });
    const answered = await untilAnswers(kind, server.address);
    if (answered instanceof Error) throw answered;
    return { ...server, version: answered ?? server.version };
  } catch {
    throw new Error(firstLine(why.message));
  }
}

/** Ends what `up` started, and nothing else. */
export async function down(kind: ServerKind): Promise<boolean> {
  const state = await started(kind.name);
  if (state === null) return false;
  if (state.pid === null)
    await output('docker', ['compose', 'rm', '--stop', '--force', kind.name], root).catch(() => '');
  else await end(state.pid, state.began);
  await rm(stateOf(kind.name), { force: true });
  return true;
}

/** The whole group of that process, which it leads: a wrapper has children. */
async function end(pid: number, began: string | null): Promise<void> {
  if ((await beganAt(pid)) !== began) return;
  for (const [signal, waitMs] of [
    ['SIGTERM', 5_000],
    ['SIGKILL', 2_000],
  ] as const) {
    signalGroup(pid, signal);
    const until = Date.now() + waitMs;
    while (Date.now() < until) {
      if (!signalGroup(pid, 0)) return;
      await sleep(50);
    }
  }
}

function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

/** Null where the system does not tell, or no such process runs. */
async function beganAt(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${String(pid)}/stat`, 'utf8').catch(() => null);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
}

async function writeState(state: Started): Promise<void> {
  await mkdir(join(folder, 'run'), { recursive: true });
  await writeFile(stateOf(state.name), `${JSON.stringify(state)}\n`);
}

async function freePorts(): Promise<readonly [number, number]> {
  const servers = [createServer(), createServer()];
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) => {
          server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return [ports[0] ?? 0, ports[1] ?? 0];
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? text;
}

/** One line for each server: used, or skipped with what brings it. */
export function lines(found: ReadonlyMap<ServerName, RunningServer>): readonly string[] {
  const used = kinds.filter(({ isUsed }) => isUsed);
  return used.map(({ name }) => {
    const server = found.get(name);
    return server === undefined
      ? `server ${name}: skipped, npm run servers -- up ${name}`
      : `server ${name}: used (${server.version})`;
  });
}

export async function findAll(): Promise<ReadonlyMap<ServerName, RunningServer>> {
  const found = await Promise.all(kinds.map(find));
  return new Map(found.flatMap((server) => (server === null ? [] : [[server.name, server] as const])));
}
