import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { type Later, listening, type Running, startNode, type StartOptions } from '../process/support/processes.ts';
import { keyturnProgram, temporaryFolder } from '../process/support/world.ts';
import { Disk } from './disk.ts';
import { retryHorizonMs, upstreamToken } from './terms.ts';
import { UpstreamState } from './upstream-state.ts';

const own = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const faultAt = own('../process/support/fault-at.ts');

/** Everything that the torture is about: a folder, its disks, and the processes that live on them. */
export class Town {
  readonly folder: string;
  readonly names: readonly string[];
  readonly disks: Readonly<Record<'journal' | 'secrets' | 'usage', Disk>>;
  /** What the upstream knows; it is looked at, never written. */
  readonly state: UpstreamState;
  /** Orchestrator processes that have not ended. */
  readonly orchestrators = new Set<Running>();
  /** All that any process said, where values are looked for; the last of each, so that memory has a bound. */
  readonly said: string[] = [];
  readonly #later: Later;
  readonly #port: number;

  constructor(later: Later, names: readonly string[], port: number) {
    this.#later = later;
    this.#port = port;
    this.names = names;
    this.folder = temporaryFolder(later);
    this.disks = {
      journal: new Disk(later, join(this.folder, 'journal'), 24),
      secrets: new Disk(later, join(this.folder, 'secrets'), 8),
      usage: new Disk(later, join(this.folder, 'usage'), 24),
    };
    writeFileSync(join(this.folder, 'rotation-policy.json'), JSON.stringify(policyOf(names, port), null, 2));
    mkdirSync(join(this.folder, 'upstream'));
    this.sendTo([]);
    const path = join(this.folder, 'upstream/upstream.db');
    new UpstreamState(path).close();
    this.state = new UpstreamState(path, { readOnly: true });
    later(() => this.state.close());
  }

  /** Where the upstream delivers to from now on. */
  sendTo(urls: readonly string[]): void {
    const file = join(this.folder, 'upstream/receivers.json');
    writeFileSync(`${file}.new`, JSON.stringify(urls));
    renameSync(`${file}.new`, file);
  }

  async startUpstream(seed: number, hears: (text: string) => void): Promise<Running> {
    const upstream = this.#start(own('upstream.ts'), [], {
      cwd: join(this.folder, 'upstream'),
      env: { PORT: String(this.#port), SEED: String(seed) },
      hears,
    });
    await listening(upstream, 'the upstream');
    return upstream;
  }

  async startReceiver(id: string): Promise<{ readonly url: string; readonly process: Running }> {
    const env = { SECRETS: this.names.join(), ID: id };
    const receiver = this.#start(own('../process/support/receiver.ts'), [], { cwd: this.folder, env });
    return { url: await listening(receiver, `receiver ${id}`), process: receiver };
  }

  /** `keyturn …`, with the right token; `struckAt` and `fault` as `fault-at.ts` has them. */
  keyturn(args: readonly string[], options: KeyturnOptions = {}): Running {
    const { struckAt, fault = 'kill', ...more } = options;
    const strikes =
      struckAt === undefined
        ? {}
        : { preload: faultAt, env: { FAULT_AT: struckAt, FAULT: fault, HOOK_TOKEN: upstreamToken } };
    const running = this.#start(keyturnProgram, args, {
      cwd: this.folder,
      env: { HOOK_TOKEN: upstreamToken },
      ...more,
      ...strikes,
    });
    this.orchestrators.add(running);
    void running.finished.finally(() => this.orchestrators.delete(running));
    return running;
  }

  /** The runs of a secret, oldest first. */
  runs(secret: string): readonly { readonly id: string; readonly state: string }[] {
    const rows = this.query('SELECT id, state FROM runs WHERE secret = ? ORDER BY seq', secret);
    return rows.map(({ id, state }) => ({ id: String(id), state: String(state) }));
  }

  query(sql: string, ...values: readonly string[]): readonly Readonly<Record<string, SQLOutputValue>>[] {
    return query(join(this.folder, 'journal/journal.db'), sql, ...values);
  }

  #start(program: string, args: readonly string[], options: StartOptions): Running {
    const running = startNode(this.#later, program, args, { longestMs: 24 * 3_600_000, ...options });
    void running.finished.then(({ all }) => {
      this.said.push(all.slice(-200_000));
      if (this.said.length > 2_000) this.said.shift();
    });
    return running;
  }
}

export interface KeyturnOptions extends Pick<StartOptions, 'input' | 'hears'> {
  readonly struckAt?: string;
  readonly fault?: 'kill' | 'throw' | 'full';
}

/** Reads a database that others write; what it throws may pass, such as a disk that is full. */
export function query(
  path: string,
  sql: string,
  ...values: readonly string[]
): readonly Readonly<Record<string, SQLOutputValue>>[] {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
  try {
    return database.prepare(sql).all(...values);
  } finally {
    database.close();
  }
}

/** Every secret alike: short gates, and a retry tail that is respected. */
function policyOf(names: readonly string[], port: number): object {
  return {
    version: 1,
    journal: { kind: 'sqlite', path: 'journal/journal.db' },
    usage: { kind: 'sqlite', path: 'usage/usage.db' },
    stores: { local: { kind: 'file', path: 'secrets' } },
    defaults: {
      scheme: 'github',
      // So that its URL encoding differs from itself.
      generate: { prefix: 'w/+=%&' },
      receivers: { expect: 2, reportEvery: '300ms', missingAfter: '3s', refreshEvery: '500ms' },
      gates: { grace: '300ms', quiet: '700ms' },
    },
    secrets: Object.fromEntries(names.map((name) => [name, { upstream: upstreamOf(name, port) }])),
  };
}

function upstreamOf(name: string, port: number): object {
  return {
    kind: 'http',
    allowHosts: ['127.0.0.1'],
    credentials: { token: { env: 'HOOK_TOKEN' } },
    capabilities: {
      ...{ valueOrigin: 'ours', activation: 'on-push', overlap: 'none', retriesResigned: 'no' },
      ...{ retryHorizon: `${String(retryHorizonMs)}ms`, switchLag: '0ms', redelivers: true },
    },
    steps: {
      activate: {
        method: 'PATCH',
        url: `http://127.0.0.1:${String(port)}/${name}`,
        headers: { authorization: 'Bearer {{credentials.token}}' },
        json: { secret: '{{new}}' },
        expect: [200],
        timeout: '2s',
      },
    },
  };
}
