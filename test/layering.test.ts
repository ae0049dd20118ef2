import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ESLint } from 'eslint';
import tseslint from 'typescript-eslint';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const cruiser = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs');
const everything = '.dependency-cruiser.mjs';
const loading = '.dependency-cruiser.loading.mjs';

interface Violation {
  readonly from: string;
  readonly to: string;
  readonly rule: string;
}

/** What `npm run layers` finds in a folder with one of its two configurations. */
async function violations(folder: string, config: string): Promise<Violation[]> {
  const run = promisify(execFile);
  const found = await run(process.execPath, [cruiser, '--config', config, '-T', 'json', 'src', 'providers', 'bin'], {
    cwd: folder,
    maxBuffer: 64 * 1024 * 1024,
  }).catch((error: unknown) => error as { stdout: string; stderr: string });
  if (found.stdout === '') throw new Error(`dependency-cruiser printed nothing: ${found.stderr}`);
  const { summary } = JSON.parse(found.stdout) as {
    summary: { violations: { from: string; to: string; rule: { name: string } }[] };
  };
  return summary.violations.map(({ from, to, rule }) => ({ from, to, rule: rule.name }));
}

async function ruleNames(config: string): Promise<string[]> {
  const { default: rules } = (await import(join(root, config))) as { default: { forbidden: { name: string }[] } };
  return rules.forbidden.map(({ name }) => name);
}

/** One forbidden import per rule: the file, what is put at its end, and the names of the rules that see it. */
const forbidden: readonly { file: string; text: string; rules: string[]; loadingRules?: string[] }[] = [
  { file: 'src/model/added-io.ts', text: "import 'node:fs';", rules: ['model-and-decide-are-pure'] },
  { file: 'src/decide/added-clock.ts', text: "import 'node:timers/promises';", rules: ['model-and-decide-are-pure'] },
  { file: 'src/decide/added-random.ts', text: "import 'node:crypto';", rules: ['model-and-decide-are-pure'] },
  { file: 'src/decide/added-database.ts', text: "import 'node:sqlite';", rules: ['model-and-decide-are-pure'] },
  { file: 'src/model/added-port.ts', text: "import type {} from '../ports/system.ts';", rules: ['model-points-left'] },
  { file: 'src/ports/added.ts', text: "import '../decide/added-clock.ts';", rules: ['ports-points-left'] },
  { file: 'src/decide/added-cache.ts', text: "import '../cache/types.ts';", rules: ['decide-points-left'] },
  { file: 'src/cache/added.ts', text: "import '../webhook/added.ts';", rules: ['memory-cache-usage-points-left'] },
  { file: 'src/webhook/added.ts', text: "import '../orchestrator/added.ts';", rules: ['webhook-points-left'] },
  { file: 'src/orchestrator/added.ts', text: "import '../simulator/added.ts';", rules: ['orchestrator-points-left'] },
  { file: 'src/simulator/added.ts', text: "import '../cli/added.ts';", rules: ['simulator-points-left'] },
  { file: 'src/cli/added-dashboard.ts', text: "import '../dashboard/added.ts';", rules: ['cli-apart-from-its-peers'] },
  { file: 'src/dashboard/added.ts', text: "import '../cli/added.ts';", rules: ['dashboard-apart-from-its-peers'] },
  { file: 'src/testing/added.ts', text: "import '../cli/added.ts';", rules: ['testing-apart-from-its-peers'] },
  { file: 'src/memory/added.ts', text: "import '../usage/types.ts';", rules: ['memory-apart-from-its-peers'] },
  { file: 'src/cache/added-usage.ts', text: "import '../usage/types.ts';", rules: ['cache-apart-from-its-peers'] },
  { file: 'src/usage/added-memory.ts', text: "import '../memory/added.ts';", rules: ['usage-apart-from-its-peers'] },
  { file: 'src/usage/added-code.ts', text: "import '../cache/types.ts';", rules: ['cache-types-are-only-types'] },
  {
    file: 'src/cache/added-provider.ts',
    text: "import '../../providers/added.ts';",
    rules: ['src-imports-no-provider'],
  },
  { file: 'providers/added.ts', text: "import '../bin/added.ts';", rules: ['providers-import-no-bin'] },
  { file: 'bin/added.ts', text: "import '../test/added.ts';", rules: ['product-imports-no-test'] },
  { file: 'src/cli/added.ts', text: "import '../../examples/added.ts';", rules: ['src-imports-no-example'] },
  { file: 'src/cli/added-entry.ts', text: "import '../index.ts';", rules: ['parts-do-not-import-the-entry'] },
  {
    file: 'src/cli/added-express.ts',
    text: "import 'express';",
    rules: ['cli-imports-few-packages', 'no-dev-dependencies'],
  },
  { file: 'src/orchestrator/added-zod.ts', text: "import 'zod';", rules: ['orchestrator-imports-few-packages'] },
  { file: 'src/model/policy/added.ts', text: "import 'commander';", rules: ['policy-schema-imports-few-packages'] },
  { file: 'src/model/calendar.ts', text: "import 'zod';", rules: ['calendar-imports-few-packages'] },
  { file: 'src/decide/added-croner.ts', text: "import 'croner';", rules: ['src-imports-no-package'] },
  { file: 'src/model/policy/added-croner.ts', text: "import 'croner';", rules: ['policy-schema-imports-few-packages'] },
  { file: 'src/webhook/added-zod.ts', text: "import 'zod';", rules: ['src-imports-no-package'] },
  { file: 'providers/added-sdk.ts', text: "import 'node-vault';", rules: ['optional-peers-are-imported-lazily'] },
  { file: 'providers/added-package.ts', text: "import 'acorn';", rules: ['no-undeclared-packages'] },
  { file: 'providers/added-nothing.ts', text: "import './added-nowhere.ts';", rules: ['no-unresolvable'] },
  { file: 'src/model/added-cycle-a.ts', text: "import type {} from './added-cycle-b.ts';", rules: ['no-circular'] },
  { file: 'src/model/added-cycle-b.ts', text: "import type {} from './added-cycle-a.ts';", rules: ['no-circular'] },
  { file: 'src/decide/added-dead.ts', text: 'export {};', rules: ['no-dead-modules'] },
  { file: 'providers/stores/added.ts', text: 'export {};', rules: [] },
  { file: 'providers/registry.ts', text: "import './stores/added.ts';", rules: ['registry-imports-adapters-lazily'] },
  {
    file: 'src/index.ts',
    text: "import type {} from './model/policy/zod.ts';\nimport './webhook/added.ts';",
    rules: ['library-entry-reaches-no-package', 'library-entry-reaches-no-orchestrator'],
    loadingRules: ['receivers-load-no-orchestrator'],
  },
  { file: 'src/model/policy/zod.ts', text: "import 'zod';", rules: [] },
  {
    file: 'providers/open.ts',
    text: "import '../src/model/policy/zod.ts';\nimport '../src/orchestrator/added.ts';",
    rules: [],
    loadingRules: ['receivers-load-no-package', 'receivers-load-no-orchestrator'],
  },
  {
    file: 'providers/policy-file.ts',
    text: "import '../src/model/policy/zod.ts';",
    rules: [],
    loadingRules: ['policies-without-mistakes-load-no-schema'],
  },
];

/** What must stay possible: the same imports where, or in the way in which, they are right. */
const allowed: readonly { file: string; text: string }[] = [
  { file: 'src/model/policy/good.ts', text: "import 'zod';\nimport 'jsonc-parser';\nimport 'fastest-levenshtein';" },
  { file: 'src/model/added-path.ts', text: "import 'node:path';" },
  { file: 'src/usage/added-types.ts', text: "import type {} from '../cache/types.ts';" },
  { file: 'src/cli/added-good.ts', text: "import 'commander';\nimport 'p-limit';" },
  { file: 'providers/usage/sqlite.ts', text: "void import('../../src/model/policy/zod.ts');" },
];

describe('the real tree', () => {
  test.each([everything, loading])('keeps every rule of %s', async (config) => {
    expect(await violations(root, config)).toEqual([]);
  });
});

describe('one forbidden import per rule', () => {
  let folder: string;
  let found: readonly Violation[];
  let foundLoading: readonly Violation[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'keyturn-layers-'));
    await copyTree(folder);
    for (const { file, text } of [...forbidden, ...allowed]) await append(join(folder, file), text);
    for (const file of ['test/added.ts', 'examples/added.ts']) await append(join(folder, file), 'export {};');
    [found, foundLoading] = await Promise.all([violations(folder, everything), violations(folder, loading)]);
  });

  afterAll(() => rm(folder, { recursive: true }));

  const seen = (among: readonly Violation[], file: string): string[] =>
    among.filter(({ from, to }) => from === file || to === file).map(({ rule }) => rule);

  test.each(forbidden.filter(({ rules }) => rules.length > 0))('$file is refused by $rules', ({ file, rules }) => {
    expect(seen(found, file)).toEqual(expect.arrayContaining(rules));
  });

  test.each(forbidden.filter(({ loadingRules }) => loadingRules !== undefined))(
    '$file loads too much, by $loadingRules',
    ({ file, loadingRules }) => {
      expect(seen(foundLoading, file)).toEqual(expect.arrayContaining(loadingRules ?? []));
    },
  );

  test.each(allowed)('$file is let through', ({ file }) => {
    const others = seen(found, file).filter((rule) => rule !== 'no-dead-modules' && !rule.startsWith('library-entry'));
    expect(others).toEqual([]);
    expect(foundLoading.filter(({ from }) => from === file)).toEqual([]);
  });

  test('leaves no rule without an example', async () => {
    const names = await Promise.all([everything, loading].map(ruleNames));
    const shown = forbidden.flatMap(({ rules, loadingRules = [] }) => [...rules, ...loadingRules]);
    expect([...new Set(shown)].sort()).toEqual(names.flat().sort());
  });
});

describe('the globals that src may not touch', () => {
  // These rules read syntax alone; without the type checker they answer at once.
  const eslint = new ESLint({ cwd: root, overrideConfig: [tseslint.configs.disableTypeChecked] });
  const uses = [
    'Date.now()',
    'new Date()',
    'Date()',
    'performance.now()',
    'Math.random()',
    'setTimeout(String, 1)',
    'setInterval(String, 1)',
    'setImmediate(String)',
    'clearTimeout(1)',
    'globalThis.setTimeout(String, 1)',
    "fetch('http://127.0.0.1/')",
    "globalThis.fetch('http://127.0.0.1/')",
    'AbortSignal.timeout(1)',
    'crypto.randomUUID()',
    'crypto.getRandomValues(new Uint8Array(1))',
    'crypto.webcrypto',
  ];
  const imports = [
    "import { randomBytes } from 'node:crypto';",
    "import { randomUUID } from 'crypto';",
    "import { webcrypto } from 'node:crypto';",
    "import * as crypto from 'node:crypto';",
    "import crypto from 'node:crypto';",
    "import { setTimeout } from 'node:timers/promises';",
    "import { performance } from 'node:perf_hooks';",
  ];
  const statements = uses.map((use, index) => `export const use${String(index)} = () => ${use};`);

  /** The numbers of the lines that a `no-restricted-…` rule reports. */
  async function restricted(filePath: string, text: string): Promise<number[]> {
    const [result] = await eslint.lintText(text, { filePath: join(root, filePath) });
    const hits = result!.messages.filter(({ ruleId }) => ruleId?.startsWith('no-restricted-'));
    expect(result!.messages.filter(({ fatal }) => fatal)).toEqual([]);
    return [...new Set(hits.map(({ line }) => line))].sort((a, b) => a - b);
  }

  test.each([
    ['global', statements],
    ['import', imports],
  ])('are reported in src, each %s', async (_, lines) => {
    const reported = await restricted('src/model/id.ts', lines.join('\n'));
    expect(reported.map((line) => lines[line - 1])).toEqual(lines);
  });

  test.each(['src/ports/real.ts', 'providers/open.ts'])('are allowed in %s', async (file) => {
    expect(await restricted(file, [...statements, ...imports].join('\n'))).toEqual([]);
  });

  test('do not include what is pure', async () => {
    const pure = [
      "import { createHmac } from 'node:crypto';",
      'export const at = new Date(0);',
      'export const largest = Math.max(1, 2);',
      "export const mac = () => createHmac('sha256', 'x');",
      'export const send = (fetch: (url: string) => void) => { fetch(String(at)); };',
    ];
    expect(await restricted('src/model/id.ts', pure.join('\n'))).toEqual([]);
  });
});

async function copyTree(to: string): Promise<void> {
  const present = new Set(await readdir(root));
  const wanted = ['src', 'providers', 'bin', 'package.json', 'tsconfig.json', everything, loading];
  for (const name of wanted.filter((name) => present.has(name))) {
    await cp(join(root, name), join(to, name), { recursive: true });
  }
  await symlink(join(root, 'node_modules'), join(to, 'node_modules'), 'dir');
}

/** Imports may stand anywhere at the top level, so the end of an existing file is as good as its beginning. */
async function append(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `\n${text}\n`, { flag: 'a' });
}
