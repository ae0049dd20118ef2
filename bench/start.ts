import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { atMost, median, type Bench, type BenchRow } from './bench.ts';

const command = fileURLToPath(new URL('../dist/bin/keyturn.js', import.meta.url));
const library = fileURLToPath(new URL('../dist/src/index.js', import.meta.url));
const rounds = 21;

/** Whole processes of this Node, from the outside: what a cron job and a cold start pay. */
export async function startBench(): Promise<Bench> {
  for (const path of [command, library]) {
    if (!existsSync(path)) throw new Error(`${path} is missing: run \`npm run build\` first.`);
  }
  assertOnlyNode();
  const [nothing, help, crypto, imported] = medians([
    ['-e', '0'],
    [command, '--help'],
    ['--input-type=module', '-e', "import 'node:crypto'"],
    ['--input-type=module', '-e', `import ${JSON.stringify(pathToFileURL(library).href)}`],
  ]);
  return {
    name: 'start',
    rows: [
      row('keyturn --help', 'node -e 0', help, nothing, 1.5),
      row('importing cache and verifier', 'importing node:crypto', imported, crypto, 3),
    ],
  };
}

function row(name: string, against: string, took = Number.NaN, base = Number.NaN, target: number): BenchRow {
  return atMost(name, target, { against, ratio: took / base, value: took, unit: 'ms' });
}

/** Milliseconds from spawn to exit; everybody has a turn in each round. */
function medians(commands: readonly (readonly string[])[]): readonly number[] {
  const samples = commands.map((): number[] => []);
  for (let round = 0; round <= rounds; round += 1) {
    for (const [at, args] of commands.entries()) {
      const begin = performance.now();
      run(args);
      // The first round fills the caches of the machine.
      if (round > 0) samples[at]?.push(performance.now() - begin);
    }
  }
  return samples.map(median);
}

/** Asks the loader for the address of everything that importing the library brings in. */
function assertOnlyNode(): void {
  const script = `
    import { registerHooks } from 'node:module';
    const loaded = [];
    registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
    await import(${JSON.stringify(pathToFileURL(library).href)});
    console.log(JSON.stringify(loaded));`;
  const loaded = JSON.parse(run(['--input-type=module', '-e', script])) as readonly string[];
  const own = pathToFileURL(fileURLToPath(new URL('../dist/', import.meta.url))).href;
  const foreign = loaded.filter((url) => !url.startsWith('node:') && !url.startsWith(own));
  if (loaded.length === 0 || foreign.length > 0) {
    throw new Error(`Importing the library must load nothing outside node:, but it loads ${foreign.join(', ')}`);
  }
}

function run(args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`node ${args.slice(0, 2).join(' ')} ended with ${String(status)}: ${stderr}`);
  return stdout;
}
