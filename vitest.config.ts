import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/sequencer.ts';

/** The package's own name resolves to its sources, as it does for `node --conditions=keyturn-source`. */
const conditions = ['keyturn-source', 'node', 'development|production'];

/** Packages are what Node takes them for: the modules that some ship for bundlers cannot be run as they are. */
const mainFields = ['main'];

export default defineConfig({
  resolve: { conditions, mainFields },
  ssr: { resolve: { conditions, mainFields } },
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
    sequence: { sequencer: LongestFirst },
    reporters: ['default', './test/reporter.ts'],
  },
});
