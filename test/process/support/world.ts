import { mkdtempSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { filesBelow, leaks } from './leaks.ts';
import { type Finished, type Later, listening, root, type Running, startNode, type StartOptions } from './processes.ts';
import { type Hook, hookToken, TestUpstream } from './upstream.ts';
import { until, untilItSays } from './until.ts';

/** What a test may want different about one secret of its policy. */
export interface SecretOptions {
  readonly receivers?: Readonly<Record<string, unknown>>;
  readonly gates?: Readonly<Record<string, unknown>>;
  readonly rotateEvery?: string;
  /** How long one call to the upstream may take. */
  readonly timeout?: string;
  readonly url?: string;
  /** The variable that the token is read from. */
  readonly tokenVariable?: string;
  /** Any other fields of it. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export interface PolicyOptions {
  readonly secrets: Readonly<Record<string, SecretOptions>>;
  readonly journal?: string;
  /** Any other fields of the file. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export function policyOf(upstream: string, { secrets, journal, more }: PolicyOptions): object {
  return {
    version: 1,
    ...more,
    ...(journal === undefined ? {} : { journal: { kind: 'sqlite', path: journal } }),
    secrets: Object.fromEntries(
      Object.entries(secrets).map(([name, options]) => [name, secretOf(options, `${upstream}/${name}`)]),
    ),
  };
}

function secretOf(options: SecretOptions, defaultUrl: string): object {
  const {
    receivers,
    gates,
    rotateEvery,
    timeout = '10s',
    url = defaultUrl,
    tokenVariable = 'HOOK_TOKEN',
    more,
  } = options;
  return {
    scheme: 'github',
    ...more,
    ...(rotateEvery === undefined ? {} : { rotateEvery }),
    // So that its URL encoding differs from itself.
    generate: { prefix: 'w/+=%&' },
    receivers: { expect: 1, reportEvery: '150ms', missingAfter: '60s', refreshEvery: '300ms', ...receivers },
    gates: { grace: '300ms', quiet: '500ms', ...gates },
    upstream: {
      kind: 'http',
      allowHosts: ['127.0.0.1'],
      credentials: { token: { env: tokenVariable } },
      capabilities: { valueOrigin: 'ours', activation: 'on-push', overlap: 'none', retriesResigned: 'yes' },
      steps: {
        activate: {
          method: 'PATCH',
          url,
          headers: { authorization: 'Bearer {{credentials.token}}' },
          json: { secret: '{{new}}' },
          expect: [200],
          timeout,
        },
      },
    },
  };
}

/** The keyring document as it is on the disk. */
export interface KeyringFile {
  readonly revision: number;
  readonly versions: readonly { readonly id: string; readonly stage: string; readonly value?: string }[];
  readonly claim?: { readonly run: string; readonly journal: string; readonly deadline: string | null };
}

/** An effect as it is in the journal. */
export interface IntentFile {
  readonly effect: string;
  /** Epoch ms. */
  readonly at: number;
  readonly deadline: number;
}

/** A line of `rotate --wait --json`. */
export interface EventLine {
  readonly at: string;
  readonly secret: string;
  readonly run: string;
  readonly step: string;
  readonly event: string;
  readonly outcome?: string;
  readonly message?: string;
  readonly failing?: readonly string[];
  readonly waitingFor?: { readonly kind: string; readonly until: string | null; readonly command: string | null };
}

export interface StatusCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly reason: string;
  readonly message: string;
}

export interface SecretStatus {
  readonly secret: string;
  readonly state: string;
  readonly versions: readonly { readonly id: string; readonly stage: string; readonly holders: number }[];
  readonly run: {
    readonly id: string;
    readonly step: string;
    readonly waitingFor: { readonly kind: string } | null;
    readonly checks: readonly StatusCheck[];
  } | null;
  readonly receivers: readonly { readonly id: string; readonly holds: readonly string[] }[];
  readonly due: { readonly at: string | null; readonly overdue: boolean };
}

export interface StatusDocument {
  readonly format: string;
  readonly secrets: readonly SecretStatus[];
  readonly scheduler: { readonly lastRunAt: string | null };
}

export interface Receiver {
  readonly url: string;
  readonly process: Running;
}

export interface CliOptions extends StartOptions {
  readonly policy?: string;
}

export const keyturnProgram = join(root, 'bin/keyturn.ts');
const faultAt = fileURLToPath(new URL('fault-at.ts', import.meta.url));

/** A folder with a policy, an upstream, and every process that a test starts about them. */
export class World {
  readonly folder: string;
  readonly upstream: TestUpstream;
  readonly #later: Later;
  readonly #processes: Running[] = [];

  private constructor(folder: string, upstream: TestUpstream, later: Later) {
    this.folder = folder;
    this.upstream = upstream;
    this.#later = later;
  }

  static async open(later: Later, secrets: PolicyOptions['secrets'] = { hook: {} }): Promise<World> {
    const folder = temporaryFolder(later);
    const world = new World(folder, await TestUpstream.start(later), later);
    world.writePolicy({ secrets });
    return world;
  }

  writePolicy(options: PolicyOptions, file = 'rotation-policy.json'): void {
    for (const name of Object.keys(options.secrets)) this.hook(name);
    replaceFile(join(this.folder, file), JSON.stringify(policyOf(this.upstream.url, options), null, 2));
  }

  hook(name = 'hook'): Hook {
    return this.upstream.hook(name);
  }

  /** Starts `keyturn …` in the folder, with the right token unless `env` says otherwise. */
  start(args: readonly string[], options: CliOptions = {}): Running {
    const { policy, env, ...more } = options;
    const policyArgs = policy === undefined ? [] : ['--policy', policy];
    const running = startNode(this.#later, keyturnProgram, [...args, ...policyArgs], {
      cwd: this.folder,
      ...more,
      env: { HOOK_TOKEN: hookToken, ...env },
    });
    this.#processes.push(running);
    return running;
  }

  async run(args: readonly string[], options: CliOptions = {}): Promise<Finished> {
    return this.start(args, options).finished;
  }

  /** The same, with `kill -9`, a stop or an error at that place; see `fault-at.ts`. */
  startStruckAt(
    place: string,
    fault: 'kill' | 'stop' | 'throw' | 'full',
    args: readonly string[],
    options: CliOptions = {},
  ): Running {
    return this.start(args, { ...options, preload: faultAt, env: { ...options.env, FAULT_AT: place, FAULT: fault } });
  }

  async runStruckAt(
    place: string,
    fault: 'kill' | 'throw',
    args: readonly string[],
    options: CliOptions = {},
  ): Promise<Finished> {
    return this.startStruckAt(place, fault, args, options).finished;
  }

  /** Follows a rotation until it says that, and leaves it there, as Ctrl-C does. */
  async followUntil(pattern: RegExp, name = 'hook'): Promise<Finished> {
    const following = this.start(['rotate', name, '--wait']);
    await untilItSays(following, pattern);
    following.kill('SIGINT');
    const left = await following.finished;
    expect(left.code, left.all).toBe(130);
    return left;
  }

  /** Brings a rotation into a step, by a process that dies as soon as that is journalled. */
  async killIn(step: string, name = 'hook', options: CliOptions = {}): Promise<void> {
    const place = `step-entered/${step}:after`;
    const killed = await this.runStruckAt(place, 'kill', ['rotate', name, '--wait'], options);
    expect(killed, killed.all).toMatchObject({ signal: 'SIGKILL' });
  }

  /** One of `examples/`, or for several secrets the one of these tests, which has a path for each. */
  async startReceiver(
    program: 'express' | 'fetch' | 'node' | readonly string[],
    options: Pick<CliOptions, 'uid' | 'env'> = {},
  ): Promise<Receiver> {
    const isExample = typeof program === 'string';
    const file = isExample
      ? join(root, `examples/receiver-${program}.ts`)
      : fileURLToPath(new URL('receiver.ts', import.meta.url));
    const running = startNode(this.#later, file, [], {
      ...options,
      cwd: this.folder,
      env: { ...options.env, ...(isExample ? { SECRET: 'hook', PORT: '0' } : { SECRETS: program.join() }) },
      longestMs: 60 * 60_000,
    });
    this.#processes.push(running);
    // First in order, so that it signs off and closes what it has open.
    this.#later(async () => {
      running.kill('SIGTERM');
      await until('the receiver has ended', () => running.hasEnded(), { timeoutMs: 3_000 }).catch(() => undefined);
    });
    return { url: await listening(running, file), process: running };
  }

  /** Gives the secret a value that the upstream signs with: what every rotation but the first starts from. */
  async adopt(name = 'hook'): Promise<string> {
    const value = `adopted/+=%&-${name}-4d7a1c9e0b52`;
    // Several at once wait for each other.
    const done = await this.run(['adopt', name, '--stdin', '--lock-timeout', '2m'], { input: value });
    expect(done, 'adopting').toMatchObject({ code: 0, stderr: '' });
    this.hook(name).signWith(value);
    return value;
  }

  /** What most tests begin with: a value in use, a receiver that has it, and signed deliveries at that rate a second. */
  async begin(ratePerSecond = 40): Promise<{ readonly old: string; readonly receiver: Receiver }> {
    const old = await this.adopt();
    const receiver = await this.startReceiver('node');
    this.hook().send(ratePerSecond, receiver.url);
    await this.moreDeliveries(5);
    return { old, receiver };
  }

  /** Waits until the upstream has made so many deliveries more. */
  async moreDeliveries(count: number, name = 'hook'): Promise<void> {
    const { traffic } = this.hook(name);
    const wanted = traffic.deliveries + count;
    await until(`${String(count)} more deliveries`, () => traffic.deliveries >= wanted);
  }

  /** Deliveries that were not answered 2xx, by reason; nothing is there while every one was. */
  refusals(name = 'hook'): Readonly<Record<string, number>> {
    return this.hook(name).traffic.refusals;
  }

  keyring(name = 'hook'): KeyringFile {
    return JSON.parse(readFileSync(join(this.folder, `.keyturn/secrets/${name}.json`), 'utf8')) as KeyringFile;
  }

  async status(name = 'hook'): Promise<SecretStatus> {
    const { stdout } = await this.run(['status', name, '--json']);
    return (JSON.parse(stdout) as StatusDocument).secrets[0]!;
  }

  /** Ids and states of all runs of a secret in a journal, oldest first. */
  runs(name = 'hook', journal = '.keyturn/journal.db'): readonly { readonly id: string; readonly state: string }[] {
    const sql = 'SELECT id, state FROM runs WHERE secret = ? ORDER BY seq';
    return this.#query(journal, sql, name).map(({ id, state }) => ({ id: String(id), state: String(state) }));
  }

  /** The effects that a secret's newest run wrote down before it performed them, oldest first. */
  intents(name = 'hook'): readonly IntentFile[] {
    const sql = 'SELECT document FROM runs WHERE secret = ? ORDER BY seq DESC LIMIT 1';
    const [run] = this.#query('.keyturn/journal.db', sql, name);
    return (JSON.parse(String(run?.['document'])) as { readonly intents: readonly IntentFile[] }).intents;
  }

  /** The events of a secret's runs in the journal, oldest first. */
  events(name = 'hook'): readonly string[] {
    const sql = 'SELECT event FROM events WHERE secret = ? ORDER BY id';
    return this.#query('.keyturn/journal.db', sql, name).map(({ event }) => String(event));
  }

  /** What the events of a secret's runs say for programs, oldest first. */
  eventData(name = 'hook'): readonly { readonly event: string; readonly data: Readonly<Record<string, unknown>> }[] {
    const sql = 'SELECT event, data FROM events WHERE secret = ? ORDER BY id';
    return this.#query('.keyturn/journal.db', sql, name).map(({ event, data }) => ({
      event: String(event),
      data: JSON.parse(String(data)) as Record<string, unknown>,
    }));
  }

  /** Starts another program in the folder; what it says is looked through by `leaks`. */
  startProgram(file: string, env: Readonly<Record<string, string>> = {}): Running {
    const running = startNode(this.#later, file, [], { cwd: this.folder, env });
    this.#processes.push(running);
    return running;
  }

  /** Where a value shows that is not its keyring document: in what any process said, or in any file of the folder. */
  leaks(): readonly string[] {
    const hooks = Object.entries(this.upstream.hooks());
    const texts = new Map<string, Buffer | string>(filesBelow(this.folder));
    for (const [name] of hooks) texts.delete(`.keyturn/secrets/${name}.json`);
    for (const running of this.#processes)
      texts.set(`output of ${String(running.pid)}`, running.stdout() + running.stderr());
    return leaks([hookToken, ...hooks.flatMap(([, { values }]) => [...values])], texts);
  }

  /** Lines of stack traces in anything that a process said. */
  traces(): readonly string[] {
    return this.#processes.flatMap((running) => traceLines(running.stdout() + running.stderr()));
  }

  #query(journal: string, sql: string, name: string): readonly Readonly<Record<string, SQLOutputValue>>[] {
    const database = new DatabaseSync(join(this.folder, journal), { readOnly: true, timeout: 5_000 });
    try {
      return database.prepare(sql).all(name);
    } finally {
      database.close();
    }
  }
}

/** Whoever reads it meanwhile sees the old content or the new one. */
export function replaceFile(path: string, content: string): void {
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
}

/** Lines that are part of a stack trace: no user should see one. */
export function traceLines(text: string): readonly string[] {
  return text.split('\n').filter((line) => /^\s+at .*(?::\d+:\d+\)?|<anonymous>\)?|native\)?)$/.test(line));
}

/** The lines of `rotate --wait --json`. */
export function eventLines(stdout: string): readonly EventLine[] {
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as EventLine);
}

export function temporaryFolder(later: Later): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'keyturn-process-')));
  later(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}
