import { defineConfig } from 'vitest/config';

/** The package's own name resolves to its sources, as it does for `node --conditions=keyturn-source`. */
const conditions = ['keyturn-source', 'module', 'node', 'development|production'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/servers/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    execArgv: ['--conditions=keyturn-source'],
    // Tests that start processes share two cores with everything else; a hang is still found.
    testTimeout: 30_000,
    hookTimeout: 120_000,
    teardownTimeout: 10_000,
    reporters: ['default', './test/reporter.ts'],
  },
});
