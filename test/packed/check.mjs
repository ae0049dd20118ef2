/**
 * What a user gets: packs the built package, installs it into an empty folder, and uses it from there.
 * Run it with `npm run packed`, which builds first.
 */
import { execFileSync } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
const subpaths = Object.keys(manifest.exports);
const code = subpaths.filter((subpath) => !subpath.endsWith('.json'));

/** These may load any package; the others load nothing outside `node:` but what is named here. */
const heavy = ['./policy'];
const light = {
  './stores/file': ['p-limit', 'yocto-queue'],
  './stores/vault': ['p-limit', 'yocto-queue'],
  './stores/aws': ['p-limit', 'yocto-queue'],
  './stores/google': ['p-limit', 'yocto-queue'],
  './usage/sqlite': ['p-limit', 'yocto-queue'],
};

const shipped = ['README.md', 'LICENSE', 'rotation-policy.example.json', 'rotation-policy.schema.json'];

/** The environment of a person's shell rather than of the script that runs this. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^npm_(package|lifecycle)_|^npm_config_local_prefix$|^NODE_OPTIONS$/.test(name),
  ),
);

const folder = await mkdtemp(join(tmpdir(), 'keyturn-packed-'));
try {
  await check();
  console.log(
    `packed: ${code.length} exports import, require and type-check from the installed package; its command answers`,
  );
} catch (error) {
  console.error(`packed: ${error.message}${error.stdout ? `\n${error.stdout}` : ''}`);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function check() {
  await install();
  await checkCommand();
  await checkEsm();
  await checkCommonJs();
  await checkTypes();
}

async function install() {
  const [packed] = Object.values(
    JSON.parse(run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], root)),
  );
  const files = packed.files.map(({ path }) => path);
  for (const file of shipped) if (!files.includes(file)) fail(`${file} is not in the package`);
  const stray = files.filter((file) => /^(src|providers|bin|test|bench|examples|dist\/(test|bench))\//.test(file));
  if (stray.length > 0) fail(`files that nobody needs are in the package: ${stray.join(', ')}`);

  await writeFile(join(folder, 'package.json'), '{ "private": true }');
  run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', join(folder, packed.filename)]);
}

async function checkCommand() {
  const command = join(folder, 'node_modules/keyturn', manifest.bin.keyturn);
  await access(join(root, manifest.bin.keyturn), constants.X_OK);
  if (!(await readFile(command, 'utf8')).startsWith('#!/usr/bin/env node\n')) fail(`${command} has no shebang`);
  const help = run('npx', ['--no', 'keyturn', '--help']);
  if (!/usage/i.test(help)) fail(`\`npx keyturn --help\` does not say how to use it:\n${help}`);
}

async function checkEsm() {
  await writeFile(
    join(folder, 'loaded.mjs'),
    `import { registerHooks } from 'node:module';
const loaded = [];
registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context); } });
const exported = await import(process.argv[2]);
console.log(JSON.stringify({ names: Object.keys(exported), loaded }));
`,
  );
  for (const subpath of code) {
    const { names, loaded } = JSON.parse(run('node', ['loaded.mjs', nameOf(subpath)]));
    if (names.length === 0) fail(`${nameOf(subpath)} exports nothing`);
    if (names.includes('default'))
      fail(`${nameOf(subpath)} has a default export, which import and require see differently`);
    const own = ['keyturn/dist', ...(light[subpath] ?? [])].map((name) => `/node_modules/${name}/`);
    const foreign = loaded.filter((url) => !url.startsWith('node:') && !own.some((path) => url.includes(path)));
    if (!heavy.includes(subpath) && foreign.length > 0) fail(`${nameOf(subpath)} loads ${foreign[0]}`);
  }
  await writeFile(
    join(folder, 'json.mjs'),
    subpaths
      .filter((subpath) => !code.includes(subpath))
      .map((subpath) => `import ${JSON.stringify(nameOf(subpath))} with { type: 'json' };\n`)
      .join(''),
  );
  run('node', ['json.mjs']);
}

async function checkCommonJs() {
  const names = JSON.stringify(subpaths.map(nameOf));
  await writeFile(
    join(folder, 'require.cjs'),
    `for (const name of ${names}) if (Object.keys(require(name)).length === 0) throw new Error(name + ' exports nothing');`,
  );
  run('node', ['require.cjs']);
}

/** The declarations are complete with what `npm install keyturn` brings and the types of Node. */
async function checkTypes() {
  const lines = code.map(
    (subpath, index) => `import * as part${index} from '${nameOf(subpath)}';\nvoid part${index};\n`,
  );
  await writeFile(join(folder, 'esm.mts'), lines.join(''));
  await writeFile(join(folder, 'commonjs.cts'), lines.join(''));
  const nodeTypes = 'node_modules/@types/node';
  await mkdir(join(folder, 'node_modules/@types'), { recursive: true });
  await symlink(join(root, nodeTypes), join(folder, nodeTypes), 'dir');
  const compilerOptions = {
    target: 'es2024',
    lib: ['es2024', 'esnext.disposable'],
    module: 'nodenext',
    strict: true,
    noEmit: true,
    types: ['node'],
  };
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: ['esm.mts', 'commonjs.cts'] }),
  );
  run('node', [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.']);
}

function nameOf(subpath) {
  return manifest.name + subpath.slice(1);
}

function run(command, args, cwd = folder) {
  return execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function fail(message) {
  throw new Error(message);
}
