import { readFileSync } from 'node:fs';

/**
 * Which module may know which, types included. What is loaded when an entry is imported is the other file's business:
 * `.dependency-cruiser.loading.mjs`.
 */

const manifest = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

/** The modules that users and shells start from. */
const entries = Object.values(manifest.exports)
  .map((target) => target['keyturn-source'])
  .filter((path) => path !== undefined)
  .map((path) => `^${path.slice(2).replaceAll('.', '\\.')}$`);

/** Programs and preloads that are started by their path, which no import shows. */
const started = ['^src/cli/practice/end-with-parent\\.ts$'];

/** From the left to the right; a layer knows those left of it and itself. Folders of one layer do not know each other. */
const layers = [
  ['model'],
  ['ports'],
  ['decide'],
  ['memory', 'cache', 'usage'],
  ['webhook'],
  ['orchestrator'],
  ['simulator'],
  ['cli', 'dashboard', 'testing'],
];

const within = (folders) => `^src/(${folders.join('|')})/`;

const pointLeft = layers.flatMap((layer, index) => {
  const right = layers.slice(index + 1).flat();
  if (right.length === 0) return [];
  return {
    name: `${layer.join('-')}-points-left`,
    comment: `Inside src an import points left: ${layers.map((folders) => folders.join(' | ')).join(' ← ')}.`,
    severity: 'error',
    from: { path: within(layer) },
    to: { path: within(right) },
  };
});

const peersApart = layers
  .filter((layer) => layer.length > 1)
  .flatMap((layer) =>
    layer.map((folder) => ({
      name: `${folder}-apart-from-its-peers`,
      comment: 'Folders of one layer do not know each other; only the types of src/cache/types.ts are common to them.',
      severity: 'error',
      from: { path: within([folder]) },
      to: { path: within(layer.filter((other) => other !== folder)), pathNot: '^src/cache/types\\.ts$' },
    })),
  );

/** Packages that whoever has a store of that kind installs. */
const optionalPeers = Object.keys(manifest.peerDependencies);

/** What is in `node_modules`, installed or not. */
const npm = ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-bundled', 'npm-no-pkg', 'npm-unknown'];

/** The packages that a part of `src` may import; every other part imports none. */
const packages = [
  { name: 'policy-schema', from: '^src/model/policy/', may: ['zod', 'jsonc-parser', 'fastest-levenshtein'] },
  { name: 'calendar', from: '^src/model/calendar\\.ts$', may: ['croner'] },
  { name: 'orchestrator', from: '^src/orchestrator/', may: ['p-limit'] },
  { name: 'cli', from: '^src/cli/', may: ['commander', 'p-limit', 'log-update', 'wrap-ansi'] },
];

const packagesOfSrc = [
  ...packages.map(({ name, from, may }) => ({
    name: `${name}-imports-few-packages`,
    comment: `It may import ${may.join(', ')}.`,
    severity: 'error',
    from: { path: from },
    to: { dependencyTypes: npm, pathNot: `(^|/)node_modules/(${may.join('|')})/` },
  })),
  {
    name: 'src-imports-no-package',
    comment: `src imports no SDK; packages are for ${packages.map(({ from }) => from).join(', ')} alone.`,
    severity: 'error',
    from: { path: '^src/', pathNot: packages.map(({ from }) => from) },
    to: { dependencyTypes: npm },
  },
];

export default {
  forbidden: [
    ...pointLeft,
    ...peersApart,
    ...packagesOfSrc,
    {
      name: 'cache-types-are-only-types',
      comment: 'The peers of the cache share its types, never its code.',
      severity: 'error',
      from: { path: '^src/(memory|usage)/' },
      to: { path: '^src/cache/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'src-imports-no-provider',
      comment: 'bin → providers → src: src gets its adapters handed in.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(providers|bin)/' },
    },
    {
      name: 'providers-import-no-bin',
      comment: 'bin → providers → src.',
      severity: 'error',
      from: { path: '^providers/' },
      to: { path: '^bin/' },
    },
    {
      name: 'product-imports-no-test',
      comment: 'What is shipped knows nothing of what tests or measures it.',
      severity: 'error',
      from: { path: '^(src|providers|bin)/' },
      to: { path: '^(test|bench)/' },
    },
    {
      name: 'src-imports-no-example',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^examples/' },
    },
    {
      name: 'parts-do-not-import-the-entry',
      comment: 'src/index.ts is for users; a part of src names the module it means.',
      severity: 'error',
      from: { path: '^src/[^/]+/' },
      to: { path: '^src/index\\.ts$' },
    },
    {
      name: 'model-and-decide-are-pure',
      comment: 'No input, no output, no clock, no randomness: of Node only node:path.',
      severity: 'error',
      from: { path: '^src/(model|decide)/' },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?path$' },
    },
    {
      name: 'library-entry-reaches-no-package',
      comment: "`import 'keyturn'` depends on nothing outside node:, not even for its types.",
      severity: 'error',
      from: { path: '^src/index\\.ts$' },
      to: { path: '(^|/)node_modules/|^(zod|commander)$', reachable: true },
    },
    {
      name: 'library-entry-reaches-no-orchestrator',
      comment: 'A library user loads cache and verifier, never what rotates.',
      severity: 'error',
      from: { path: '^src/index\\.ts$' },
      to: { path: '^(src/(orchestrator|simulator|cli|dashboard)|providers|bin)/', reachable: true },
    },
    {
      name: 'registry-imports-adapters-lazily',
      comment: 'An adapter and its SDK are loaded when a policy names them.',
      severity: 'error',
      from: { path: '^providers/registry\\.ts$' },
      to: { path: '^providers/[^/]+/', dynamic: false, dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'no-dev-dependencies',
      comment:
        'What is shipped runs without them, and its types are read without them. ' +
        'An optional peer is a dev dependency too: its store alone imports it, when it is opened.',
      severity: 'error',
      from: { path: '^(src|providers|bin)/' },
      to: { dependencyTypes: ['npm-dev'], pathNot: optionalPeers.map((name) => `node_modules/${name}/`) },
    },
    {
      name: 'optional-peers-are-imported-lazily',
      comment: 'By an adapter or its helpers, dynamically or for types alone: who has another store does not have it.',
      severity: 'error',
      from: { path: '^(src|providers|bin)/' },
      to: {
        path: optionalPeers.map((name) => `node_modules/${name}/`),
        dynamic: false,
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'no-undeclared-packages',
      comment: 'A package that package.json does not name is there by chance.',
      severity: 'error',
      from: {},
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    {
      name: 'no-circular',
      comment: 'Two modules that know each other are one; cycles of types count.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-dead-modules',
      comment: 'Neither the command nor an export of the package leads to it.',
      severity: 'error',
      from: { path: ['^bin/', ...entries, ...started] },
      to: { path: '^(src|providers)/', pathNot: [...entries, ...started], reachable: false },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['keyturn-source', 'import', 'node', 'default', 'types'],
    },
  },
};
