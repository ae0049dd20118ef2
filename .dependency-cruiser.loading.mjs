import everything from './.dependency-cruiser.mjs';

/** What receives webhooks, and the parts that a library user puts together. */
const from = {
  path: ['^src/index\\.ts$', '^src/(webhook|cache|usage|memory)/', '^providers/(open|stores/file|usage/sqlite)\\.ts$'],
};

/**
 * What is loaded as soon as an entry is imported: static imports only, without those of types.
 * `import { type A } from 'x'` does load x, and counts.
 */
export default {
  forbidden: [
    {
      name: 'receivers-load-no-package',
      comment:
        'A process that receives webhooks loads neither zod nor commander nor an SDK before it asks for one. ' +
        'p-limit is small enough for an adapter.',
      severity: 'error',
      from,
      to: {
        path: '(^|/)node_modules/|^(zod|commander)$',
        pathNot: 'node_modules/(p-limit|yocto-queue)/',
        reachable: true,
      },
    },
    {
      name: 'policies-without-mistakes-load-no-schema',
      comment: 'A receiver and every command read the policy; the schema library is for one with a mistake.',
      severity: 'error',
      from: { path: '^providers/policy-file\\.ts$' },
      to: { path: '(^|/)node_modules/zod/|^zod$', reachable: true },
    },
    {
      name: 'receivers-load-no-orchestrator',
      comment: 'What rotates is loaded when somebody rotates.',
      severity: 'error',
      from,
      to: { path: '^(src/(orchestrator|simulator|cli|dashboard)|bin)/', reachable: true },
    },
  ],
  options: { ...everything.options, tsPreCompilationDeps: false, exclude: { dynamic: true } },
};
