import { defineConfig, globalIgnores } from 'eslint/config';
import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** `src` gets time, randomness and the network from `src/ports`; the real ones are made in this file alone. */
const realPorts = 'src/ports/real.ts';

const injected = 'Take it from src/ports by constructor, so that a test can turn it.';

const timers = ['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'clearImmediate'];

const randomFromCrypto = [
  'randomBytes',
  'randomUUID',
  'randomInt',
  'randomFill',
  'randomFillSync',
  'getRandomValues',
  'webcrypto',
];

const bannedProperties = [
  ['Date', 'now'],
  ['Math', 'random'],
  ['process', 'hrtime'],
  ['AbortSignal', 'timeout'],
  ...['now', 'timeOrigin', 'mark', 'measure'].map((property) => ['performance', property]),
  ...randomFromCrypto.map((property) => ['crypto', property]),
].map(([object, property]) => ({ object, property, message: injected }));

const bannedModules = ['timers', 'timers/promises', 'perf_hooks']
  .flatMap((name) => [name, `node:${name}`])
  .map((name) => ({ name, message: injected }));

const bannedFromCrypto = ['crypto', 'node:crypto'].map((name) => ({
  name,
  importNames: ['default', ...randomFromCrypto],
  message: injected,
}));

const injectedOnly = {
  'no-restricted-globals': [
    'error',
    {
      globals: [...timers, 'fetch', 'performance'].map((name) => ({ name, message: injected })),
      checkGlobalObject: true,
    },
  ],
  'no-restricted-properties': ['error', ...bannedProperties],
  'no-restricted-imports': ['error', { paths: [...bannedModules, ...bannedFromCrypto] }],
  'no-restricted-syntax': [
    'error',
    { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: injected },
    { selector: "CallExpression[callee.name='Date']", message: injected },
  ],
};

const everywhere = {
  eqeqeq: 'error',
  'no-console': 'error',
  'object-shorthand': 'error',
  'prefer-const': 'error',
};

const typed = {
  ...everywhere,
  '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
  '@typescript-eslint/consistent-type-exports': 'error',
  // `import { type A } from 'x'` still loads x when types are merely stripped.
  '@typescript-eslint/no-import-type-side-effects': 'error',
  '@typescript-eslint/no-floating-promises': 'error',
  '@typescript-eslint/switch-exhaustiveness-check': 'error',

  // A number in a message prints as everybody expects; objects and undefined stay refused.
  '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
  // `() => emitter.close()` is plain enough.
  '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
  // `for (;;)` and `while (true)` are loops, not mistakes.
  '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: 'only-allowed-literals' }],
  // A port's method is async so that its errors are rejections, whether or not this adapter awaits.
  '@typescript-eslint/require-await': 'off',
  // `() => {}` and `async close() {}` say "do nothing" well.
  '@typescript-eslint/no-empty-function': ['error', { allow: ['arrowFunctions', 'methods', 'asyncMethods'] }],
  // `declare global { namespace Express { … } }` is the only way to add to a framework's request.
  '@typescript-eslint/no-namespace': ['error', { allowDeclarations: true }],
  // The underscore says that a signature asks for a parameter which this function does not need.
  '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', caughtErrors: 'all' }],
};

const inTests = {
  'no-console': 'off',
  // Parsed JSON and vitest's asymmetric matchers are `any`; a wrong guess about them fails the test itself.
  '@typescript-eslint/no-unsafe-assignment': 'off',
  '@typescript-eslint/no-unsafe-member-access': 'off',
  // `list[0]!` throws in the test that expects an element.
  '@typescript-eslint/no-non-null-assertion': 'off',
  // `expect(port.method).toHaveBeenCalled()`.
  '@typescript-eslint/unbound-method': 'off',
};

export default defineConfig(
  globalIgnores(['dist/', 'coverage/', '.keyturn/', '.servers/']),
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts'],
    extends: [js.configs.recommended, tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: typed,
  },
  {
    files: ['{src,providers,bin}/**/*.ts'],
    rules: { 'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }] },
  },
  { files: ['src/**/*.ts'], ignores: [realPorts], rules: injectedOnly },
  {
    // The fake clock lets what is pending settle between two steps; that takes a turn of the event loop, never time.
    files: ['src/memory/clock.ts'],
    rules: { 'no-restricted-imports': ['error', { paths: bannedFromCrypto }] },
  },
  {
    // `json<T>()` takes its caller's word for the body's type.
    files: ['src/webhook/**/*.ts'],
    rules: { '@typescript-eslint/no-unnecessary-type-parameters': 'off' },
  },
  { files: ['test/**/*.ts'], rules: inTests },
  { files: ['{bench,examples}/**/*.ts'], rules: { 'no-console': 'off' } },
  {
    files: ['**/*.{js,mjs,cjs}'],
    extends: [js.configs.recommended],
    languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly' } },
    rules: { ...everywhere, 'no-console': 'off' },
  },
);
