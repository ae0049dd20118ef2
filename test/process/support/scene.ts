import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { createFileStore } from 'keyturn/stores/file';
import { filesBelow, leaks } from './leaks.ts';
import type { Finished, Later, Running } from './processes.ts';
import { type CliOptions, type KeyringFile, World } from './world.ts';

/** How the commands of one scene are started: what they say more than they must. */
export interface Loudness {
  readonly name: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly isEncrypted: boolean;
}

/** One command that was run, for the list that is printed. */
export interface Played {
  readonly command: string;
  readonly ends: 'well' | 'badly';
  readonly args: readonly string[];
}

const sampleEveryMs = 150;

/**
 * A world in which every value is known and every place is watched where one could show: what processes say, the
 * arguments and environments of all of them, and files, those too that are gone in the end.
 */
export class Scene {
  readonly world: World;
  readonly loudness: Loudness;
  readonly played: Played[] = [];
  readonly #values = new Set<string>();
  readonly #texts = new Map<string, Buffer | string>();
  /** Files that are there to hold values, by a part of their path. */
  readonly #holders: readonly RegExp[];
  readonly #identity: string | null;
  #bytes = 0;

  private constructor(world: World, loudness: Loudness, holders: readonly RegExp[], identity: string | null) {
    this.world = world;
    this.loudness = loudness;
    this.#holders = holders;
    this.#identity = identity;
  }

  static async open(
    later: Later,
    loudness: Loudness,
    holders: readonly RegExp[],
    identity: string | null,
  ): Promise<Scene> {
    const scene = new Scene(await World.open(later), loudness, holders, identity);
    const timer = setInterval(() => scene.look(), sampleEveryMs);
    later(() => clearInterval(timer));
    return scene;
  }

  /** These must show nowhere. */
  keep(...values: readonly string[]): void {
    for (const value of values) this.#values.add(value);
  }

  start(args: readonly string[], options: CliOptions = {}): Running {
    // By this every process of the scene is known, whoever starts it.
    // Node's own cache of compiled code is everybody's.
    const cache = { NODE_COMPILE_CACHE: join(tmpdir(), 'node-compile-cache') };
    const env = { TMPDIR: this.world.folder, ...cache, ...this.loudness.env, ...options.env };
    return this.world.start([...args, ...this.loudness.args], { ...options, env: { ...env, HOOK_TOKEN: '' } });
  }

  /** Runs a command that is to end like that, and looks at all it left. */
  async plays(ends: 'well' | 'badly', args: readonly string[], options: CliOptions = {}): Promise<Finished> {
    const done = await this.start(args, options).finished;
    await this.note(ends, args, done);
    return done;
  }

  async note(ends: 'well' | 'badly', args: readonly string[], done: Finished): Promise<void> {
    const [command = ''] = args;
    this.played.push({ command, ends, args });
    const said = `keyturn ${args.join(' ')}`;
    expect(done.signal, said).toBeNull();
    if (ends === 'well') expect(done.code, `${said}\n${done.all.slice(-3_000)}`).toBe(0);
    else expect(done.code, `${said}\n${done.all.slice(-3_000)}`).not.toBe(0);
    this.#texts.set(`output of ${said}`, done.all);
    this.look();
    await this.#keepKeyrings();
  }

  /** What must not show and does, and how much was looked through. */
  async found(): Promise<{ readonly shown: readonly string[]; readonly scanned: string }> {
    await this.#keepKeyrings();
    this.look();
    for (const hook of Object.values(this.world.upstream.hooks())) this.keep(...hook.values);
    const files = filesBelow(this.world.folder);
    for (const [path, content] of files) this.#take(path, content);
    for (const text of this.#texts.values()) this.#bytes += text.length;
    return {
      shown: leaks(this.#values, this.#texts),
      scanned: `${String(this.#values.size)} values in ${String(this.#texts.size)} outputs, processes and files, ${String(Math.round(this.#bytes / 1024))} KiB`,
    };
  }

  /** What is there now and may be gone in a moment. */
  look(): void {
    for (const [pid, { args, env }] of processesOf(this.world.folder)) {
      this.#texts.set(`arguments of ${pid}: ${args.slice(0, 200)}`, args);
      this.#texts.set(`environment of ${pid}: ${args.slice(0, 200)}`, env);
    }
    for (const name of readdirSync(this.world.folder).filter((each) => each.startsWith('keyturn-demo-'))) {
      this.#lookAtDemo(name);
    }
  }

  /** The demo removes its folder when it ends. */
  #lookAtDemo(name: string): void {
    let files: ReadonlyMap<string, Buffer>;
    try {
      files = filesBelow(join(this.world.folder, name));
    } catch {
      // It is being removed.
      return;
    }
    for (const [path, content] of files) {
      // One that was made a moment ago is empty yet.
      if ((path === 'token' || path === 'naive-secret') && content.length > 0) this.keep(content.toString());
      if (/secrets\/.*\.json$/.test(path)) this.#keepDocument(content);
      this.#take(`${name}/${path}`, content);
    }
  }

  #take(path: string, content: Buffer): void {
    if (!this.#holders.some((holder) => holder.test(path))) this.#texts.set(path, content);
  }

  #keepDocument(content: Buffer): void {
    try {
      const { versions } = JSON.parse(content.toString()) as KeyringFile;
      this.keep(...versions.flatMap(({ value }) => value ?? []));
    } catch {
      // Encrypted, or cut by a test.
    }
  }

  async #keepKeyrings(): Promise<void> {
    const folder = join(this.world.folder, '.keyturn/secrets');
    const identity = this.#identity;
    const age = identity === null ? null : { identity: () => Promise.resolve(identity) };
    const store = createFileStore({ path: folder, age });
    const names = Object.keys(this.world.upstream.hooks()).map((secret) => ({ secret, key: secret }));
    for (const read of (await store.read(names)).values()) {
      if (read.state === 'present') this.keep(...read.keyring.versions.flatMap(({ value }) => value ?? []));
    }
    await store.close();
  }
}

/** Arguments and environments of all processes that were started, by whomever, with that text in their environment. */
function processesOf(text: string): ReadonlyMap<string, { readonly args: string; readonly env: string }> {
  const found = new Map<string, { readonly args: string; readonly env: string }>();
  if (process.platform !== 'linux') return found;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const env = readFileSync(`/proc/${pid}/environ`, 'utf8');
      if (!env.includes(text)) continue;
      found.set(pid, { args: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '), env });
    } catch {
      // It ended meanwhile, or is somebody else's.
    }
  }
  return found;
}
