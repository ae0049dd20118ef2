#!/usr/bin/env node
import { packageVersion } from '../providers/version.ts';
import { asksForHelp, helpText } from '../src/cli/help.ts';

const argv = process.argv.slice(2);

// Whoever reads our output may stop reading, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(process.exitCode ?? 0);
});

if (asksForHelp(argv)) {
  process.stdout.write(helpText());
} else if (isTooOld(process.versions.node)) {
  process.stderr.write(`keyturn needs Node 22.18 or later; this is ${process.versions.node}.\n`);
  process.exitCode = 1;
} else {
  const { enableCompileCache } = await import('node:module');
  enableCompileCache();
  process.exitCode = await runCommand(stopSignal());
}

function isTooOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major < 22 || (major === 22 && minor < 18);
}

/** Aborts at the first SIGINT or SIGTERM; a second one ends the process at once: who asks twice does not want to wait. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const [name, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(code);
      stop.abort(name);
    });
  }
  return stop.signal;
}

async function runCommand(signal: AbortSignal): Promise<number> {
  const { main } = await import('../src/cli/main.ts');
  return main(
    {
      async loadPolicy(file) {
        const { loadPolicy } = await import('../providers/policy-file.ts');
        const { formatProblem } = await import('../src/model/policy/problems.ts');
        const { policy, warnings } = await loadPolicy(file, process.env);
        return { policy, warnings: warnings.map((warning) => formatProblem(warning, policy.source)) };
      },
      async missingCredentials(policy) {
        return (await import('../providers/open.ts')).credentialWarnings(policy);
      },
      async openExamination(policy, log) {
        return (await import('../providers/examination.ts')).openExamination(policy, log);
      },
      async openOrchestrator(policy, log, command) {
        return (await import('../providers/open.ts')).openOrchestrator({ policy, log, command });
      },
    },
    { argv, env: process.env, stdout: process.stdout, stderr: process.stderr, signal, version: packageVersion },
  );
}
